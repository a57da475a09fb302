//! The agent: the threads, and what they touch: sockets, clocks, processes, files. What a member does
//! is decided in `node/` and below; here it is carried out.
//!
//! | room | threads | what is in it |
//! | --- | --- | --- |
//! | `main/` | main | start and stop, the main loop, signals, joins, leaving, reload, tags, keys |
//! | `net/` | `serf-probe`, `serf-gossip`, `serf-sync`, `serf-mdns`, `serf-resolve` | the gossip sockets and what goes through them |
//! | `events` | `serf-events` | carries out what the conversation asks for |
//! | `handlers/` | `serf-handlers` | running scripts |
//! | `rpc/`, `control`, `stats` | `serf-rpc` | control connections, and what they can ask of the agent |
//! | `snapshot/` | `serf-snapshot` | the snapshot file |
//! | `metrics/` | `serf-metrics` | statsd, statsite and Prometheus, if one of them is configured |
//!
//! They share the membership table (`table`) and send each other messages (`channels`, each a `mailbox`). Each is built
//! and stopped in the same way (`thread`). `main/start` starts them, from `main/parts`; `main/running`
//! ends them in the opposite order.
#![allow(clippy::disallowed_methods, reason = "this is the floor that does the I/O")]

#[cfg(test)]
mod budgets;
mod channels;
mod clock;
mod control;
mod durable;
mod events;
mod handlers;
mod mailbox;
mod main;
mod metrics;
mod net;
pub mod rpc;
pub mod snapshot;
mod stats;
mod table;
mod thread;

pub use main::{keys, run};
