//! The harness: real agents on loopback addresses of their own, driven as an operator drives them.
//!
//! Everything here goes through the programs' command lines, the control protocol and the sockets;
//! nothing else looks inside the library (`rpc` borrows its client of the control protocol). That keeps the tests valid for any program with Serf's
//! command line, HashiCorp's included (see `program`).
//!
//! Rules of the house: each test claims a [`Network`], each wait is a poll with a deadline
//! ([`wait_until`]), each process is ended by its own id when its [`Agent`] is dropped.
#![allow(dead_code, unused_imports, reason = "each test program uses its own part of the harness")]

mod agent;
pub mod complaints;
pub mod mixed;
pub mod netns;
mod network;
pub mod packets;
pub mod peers;
mod program;
mod relay;
pub mod rpc;
mod scratch;
pub mod stand_in;
mod wait;

pub use agent::{Agent, AgentSpec, Member, Signal, all_have, all_list, all_see};
pub use network::{Network, free_ipv6_addresses};
pub use program::{Answer, Output, run, run_with_env, serf, serf_ctl};
pub use relay::Relay;
pub use scratch::Scratch;
pub use wait::{Within, promised, settle, soon, stays, wait_until, within};
