//! The agent: the threads, and what they touch: sockets, clocks, processes. One file or folder per thread.
//!
//! | thread | file | owns |
//! | --- | --- | --- |
//! | `serf-probe` | `probe` | the receiving end of the UDP socket, the prober |
//! | `serf-gossip` | `gossip` | the broadcast queue |
//! | `serf-sync` | `sync`, `stream` | the TCP listener and its streams |
//! | `serf-events` | `events` | clocks, windows and open queries; the order in which events are delivered |
//! | `serf-handlers` | `handlers` | running scripts |
//! | `serf-rpc` | `rpc` | control connections |
//! | `serf-snapshot` | `snapshot` | the snapshot file |
//! | `serf-mdns` | `mdns` | who was announced by multicast DNS; only with `-discover` |
//! | `serf-metrics` | `metrics` | statsd, statsite and Prometheus, if one of them is configured |
//! | main | `main_loop`; `inbox`, `signals`; `joins`; `reload`; `changes`, `tags`; `dump`; `notify` | start and stop, signals, joining and leaving, this member's tags |
//!
//! They share the membership table (`table`) and send each other messages (`channels`). Each is built and
//! stopped in the same way (`thread`). `start` starts them, from `parts`; `running` ends them in the
//! opposite order.
#![allow(clippy::disallowed_methods, reason = "this is the floor that does the I/O")]

mod bind;
mod changes;
mod channels;
mod clock;
mod control;
mod datagrams;
mod dump;
mod durable;
mod events;
mod gossip;
mod handlers;
mod host;
mod inbox;
mod joins;
pub mod keys;
mod main_loop;
mod mdns;
mod metrics;
mod notify;
mod parts;
mod probe;
mod refusals;
mod reload;
mod resolve;
pub mod rpc;
mod running;
mod signals;
pub mod snapshot;
mod sockets;
mod start;
mod start_error;
mod stream;
mod sync;
mod table;
mod tags;
mod terminal;
mod thread;

pub use main_loop::run;
