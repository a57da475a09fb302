//! Serf: a daemon that runs on every host of a cluster and keeps one question answered: *who is
//! here?* This crate is the library behind two programs, `serf` and `serf-ctl`.
//!
//! # The map
//!
//! ## Floors
//!
//! An import only ever goes down (a test holds it so). A line of code belongs on the lowest floor
//! that can hold it.
//!
//! ```text
//! bin/serf.rs   bin/serf-ctl.rs   a few lines each
//! cli/          one file per command; talks to a human
//! manual/       the topics of `serf help`, and how they are printed
//! agent/        the threads: sockets, clocks, processes. One file per thread
//! rpc/          the control protocol: records, a connection as a state machine, a client
//! config/       one table of options, flags, files, the validated configuration
//! messaging/    what is said: gossip, user events, queries, coalescing    (rules, no I/O)
//! membership/   who is here, and where: table, probes, push/pull, coordinates (rules, no I/O)
//! wire/         messages and their bytes: dialects and framing            (no sockets)
//! model/        the nouns: Member, Tags, LamportTime, Incarnation, Moment, Coordinate
//! telemetry/    counters and the logger; any floor may count and log
//! ```
//!
//! **Rules do no I/O.** They take a message, `now` and a random source, and answer with
//! [`membership::Effects`]: what should be sent, spread, told. Threads carry that out; the
//! simulator in `tests/simulation` does the same in virtual time. `.clippy.toml` forbids clocks,
//! sockets, threads and global random sources, and only `agent/`, `cli/` and the blocking client
//! in `rpc/` allow them again.
//!
//! ## Threads
//!
//! | thread | owns | waits on | does |
//! | --- | --- | --- | --- |
//! | `serf-probe` | the UDP socket's receiving end, the [`membership::Prober`] | mio, until the next deadline | answers pings; applies alive, suspect, dead; probes; learns coordinates |
//! | `serf-gossip` | the [`messaging::Gossip`] queue | its channel, until the next tick | spreads what is queued |
//! | `serf-sync` | the TCP listener and its streams | mio | push/pull, joins, TCP pings |
//! | `serf-events` | what was heard of user events and queries, open queries, the coalescers | its channel, until the next deadline | answers, collects, tells everyone in order |
//! | `serf-handlers` | running scripts | mio: their pipes, SIGCHLD, its channel | runs event handlers, each in a lane of its own |
//! | `serf-rpc` | control connections | mio | serves clients |
//! | `serf-snapshot` | the snapshot file | its channel | disk, and nothing but disk |
//! | `serf-mdns` | whom multicast DNS has announced; only with `-discover` | what the library finds | joins them |
//! | `serf-log` | standard output, the recent lines, the way to syslog | its channel | writes the log |
//! | `serf-metrics` | the ways to statsd and statsite, Prometheus' connections | mio, until the next report | reports; exists only if asked for |
//! | main | signals, the leave, start and stop | mio | waits |
//!
//! Each is an actor inside, which owns what the table says, and a handle outside; `agent/thread.rs` builds,
//! stops and waits for all of them in one way. They start in an order with reasons and end in the opposite
//! one (`agent/running.rs`).
//!
//! `serf-dump` exists while a dump of the metrics is written to standard error, `serf-resolve` while
//! a host name is looked up, because the system's resolver blocks; with `-discover` there is also
//! `mDNS_daemon`, which belongs to the library `mdns-sd`.
//!
//! ## What they share
//!
//! One `RwLock` around the membership table with two outboxes (`agent/table.rs`): events and
//! broadcasts are put there while the table is locked, so that they are told in the order in
//! which the changes came about. Everything else has one owner, and others send it a message;
//! all channels are declared in `agent/channels.rs`.
//!
//! ## Invariants
//!
//! * Nothing blocks while the table is locked: no I/O, no send that could wait, no foreign code.
//!   Even logging only hands a line to `serf-log`.
//! * Every queue is bounded or supersedes itself, and counts what it drops. Whoever does not keep
//!   up loses its own messages and nobody else's.
//! * `serf-probe` waits for nobody.
//! * Bytes are chosen per receiver ([`wire::Dialect`]), never globally.
//! * A datagram never exceeds its budget, counted with every overhead.
//! * Nothing is sent to an address that only a message names, but the answer to who was refused a
//!   name here and asks who has it.
//! * A member's SWIM state and its Serf status are one row, so that they cannot contradict.
//! * Nothing that input can reach panics; a panic that happens all the same ends the process.
//!
//! ## How to debug
//!
//! * `SERF_LOG` sets the level of the log by component, in the syntax of `env_logger`:
//!   `SERF_LOG=memberlist=trace serf agent`. For a control command, `SERF_LOG=debug` logs to standard
//!   error what it does.
//! * A simulation that fails prints its seed. `SERF_SIM_SEED=42 cargo test --test simulation NAME`
//!   replays that run and prints each thing that happens in it; `SERF_SIM_RUNS=1000` tries that many
//!   seeds.
//! * An agent that runs: `serf info` has its counters, SIGUSR1 makes it write all metrics, and
//!   `serf monitor -log-level=debug` follows its log at a finer level than its own.
//! * A new setting or metric belongs in the manual: `cargo test --test reference` names the lines
//!   that are missing, and with `SERF_UPDATE_MANUAL=1` it writes the tables anew.
//!
//! ## Deliberately absent
//!
//! No async runtime, no thread per connection or per packet, no timer threads (each thread sleeps
//! until its own next deadline), no global configuration, no callbacks into locked state.

pub mod agent;
pub mod cli;
pub mod config;
mod manual;
pub mod membership;
pub mod messaging;
pub mod model;
pub mod node;
pub mod rpc;
pub mod telemetry;
pub mod wire;
