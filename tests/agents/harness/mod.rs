//! The harness: real agents on loopback addresses of their own, driven as an operator drives them.
//!
//! Everything here goes through the programs' command lines, the control protocol and the sockets;
//! nothing else looks inside the library (`rpc` borrows its client of the control protocol, and
//! `stand_in` its codecs). That keeps the tests valid for any program with Serf's command line,
//! HashiCorp's included (see `program`).
//!
//! All tests share one process. So each claims a [`Network`], and nothing of a test is known by a
//! name or a place that another could have too; each wait is a poll with a deadline
//! ([`wait_until`]); each process is ended by its own id when its [`Agent`] is dropped. A test that
//! needs the machine for itself says so ([`Network::claim_alone`]).

mod agent;
pub(crate) mod complaints;
pub(crate) mod hostile_packets;
pub(crate) mod kernel;
pub(crate) mod machine;
mod members;
pub(crate) mod mixed_cluster;
pub(crate) mod netns;
mod network;
pub(crate) mod notes;
pub(crate) mod peers;
mod program;
pub(crate) mod raw_rpc;
mod relay;
pub(crate) mod rpc;
mod scratch;
mod spec;
pub(crate) mod stand_in;
mod wait;

pub(crate) use agent::{Agent, Signal};
pub(crate) use members::{all_have, all_list, all_see};
pub(crate) use network::{Network, free_ipv6_addresses};
pub(crate) use program::{Answer, Output, command, run, run_command, run_with_env, serf, serf_ctl};
pub(crate) use relay::Relay;
pub(crate) use scratch::Scratch;
pub(crate) use spec::AgentSpec;
pub(crate) use wait::{Within, promised, settle, soon, stays, wait_until, within};
