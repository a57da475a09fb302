//! Serf: a daemon that runs on every host of a cluster and keeps an answer ready: *which members are
//! here?* This crate is the library behind two programs, `serf` and `serf-ctl`.
//!
//! # The map
//!
//! ## Floors
//!
//! An import only ever goes down, and imports between files have no circles (tests hold both). A line
//! of code belongs on the lowest floor that can hold it.
//!
//! ```text
//! bin/          serf.rs, serf-ctl.rs: a few lines each
//! cli/          one file per command, for people and scripts
//! manual/       the topics of `serf help`, and how they are printed
//! agent/        the threads: sockets, clocks, processes, files
//! rpc/          the control protocol: one table of commands, records, a connection, a client
//! config/       one table of settings, flags, files, the validated configuration
//! node/         one member without its threads: how the rules are wired    (rules, no I/O)
//! messaging/    what is said: waves, gossip, user events, queries          (rules, no I/O)
//! membership/   which members are here, and where: table, probes, push/pull (rules, no I/O)
//! wire/         messages and their bytes: dialects and framing            (no sockets)
//! model/        the nouns: Member, Tags, LamportTime, Incarnation, Moment, Coordinate
//! telemetry/    counters and the logger; any floor may count and log
//! channel.rs    bounded channels between threads, below all floors
//! ```
//!
//! **Rules do no I/O.** They take an input, `now` and a random source, and fill an out-parameter with
//! what should happen ([`membership::Effects`], [`node::conversation::ConversationEffect`],
//! [`node::exchanges::ExchangeEffect`]). `.clippy.toml` forbids clocks, files, sockets, threads and global
//! random sources. `agent/`, `cli/`, the blocking client in `rpc/`, `config/` for its files and
//! `telemetry/` for what writes the log allow them again.
//!
//! **The simulator runs what ships.** How the rules are wired is a rule, too: the machines in `node/` are
//! each owned by one thread of the agent, and all of them by one [`node::Node`] in `tests/simulation`.
//! `agent/` moves bytes, time and processes.
//!
//! ## Threads
//!
//! | thread | owns | waits on | does |
//! | --- | --- | --- | --- |
//! | `serf-probe` | the UDP socket's receiving end, the [`node::heartbeat::Heartbeat`]: [`membership::Prober`] and [`messaging::wave::Waves`] | mio, until the next deadline | answers pings; passes news on in waves and checks with neighbours; applies alive, suspect, dead; probes; learns coordinates |
//! | `serf-gossip` | the [`messaging::Gossip`] queue | its channel, until the next tick | gossips news about members, and all news where few take part in waves |
//! | `serf-sync` | the TCP listener and its streams, the [`node::Exchanges`] | mio, until the next deadline | push/pull, joins, TCP pings |
//! | `serf-events` | the [`node::Conversation`] | its channel, until the next deadline | answers, collects, delivers in order |
//! | `serf-handlers` | running scripts | mio: their pipes, SIGCHLD, its channel | runs event handlers, each in a lane of its own |
//! | `serf-rpc` | control connections | mio, until the next deadline | serves clients |
//! | `serf-snapshot` | the snapshot file, its [`node::snapshot::Notes`] | its channel | disk, and nothing but disk |
//! | `serf-mdns` | what multicast DNS has announced; only with `-discover` | what the library finds | joins it |
//! | `serf-log` | standard output, the way to syslog | its channel | writes the lines that are shown there |
//! | `serf-metrics` | the ways to statsd and statsite, Prometheus' connections | mio, until the next report | reports; exists only if asked for |
//! | main | signals, the [`node::Departure`], the [`node::Rejoin`], start and stop | mio | waits |
//!
//! Each is an actor inside, which owns what the table says, and a handle outside; `agent/thread.rs` builds,
//! stops and waits for all of them in one way. They start in an order with reasons and end in the opposite
//! one (`agent/main/running.rs`). `serf-log` is built alike, and apart, below the agent.
//!
//! `serf-dump` exists while a dump of the metrics is written to standard error, `serf-resolve` while
//! a host name is looked up, because the system's resolver blocks; with `-discover` there is also
//! `mDNS_daemon`, which belongs to the library `mdns-sd`.
//!
//! ## What they share
//!
//! One `RwLock` around the membership table with its outboxes (`agent/table.rs`, `node/table.rs`): events
//! and broadcasts are put there while the table is locked, so that they are delivered in the order in
//! which the changes came about. Everything else has one owner, and others send it a message; all
//! channels are declared in `agent/channels.rs`. The keyring is a value that is replaced as a whole.
//!
//! ## Invariants
//!
//! * Nothing blocks while the table is locked: no I/O, no send that could wait, no code of others.
//!   Even logging only keeps a line, and hands it on without waiting.
//! * A thread wakes only when it has work: that no handler, monitor or terminal wants something is known
//!   where it is sent. Threads wait in a poll or parked (`agent/mailbox.rs`), never in a channel.
//! * Every queue between threads is bounded, and counts what it drops; so are the outboxes of the table. A
//!   consumer that does not keep up loses its own messages and no others.
//! * `serf-probe` waits for no other thread.
//! * Bytes are chosen per receiver ([`wire::Dialect`]), never globally.
//! * A datagram never exceeds its budget, counted with every overhead.
//! * Nothing is sent to an address that only a message names, but the answer to a process that was
//!   refused a name here and asks which member has it.
//! * A member's SWIM state and its Serf status are one row, so that they cannot contradict.
//! * Nothing that input can reach panics; a panic that happens all the same ends the process.
//!
//! ## To add a …
//!
//! The compiler names the places after the first one; no match has a silent arm.
//!
//! * **Setting**: its row in `config/options/settings.rs`, its field in `config/agent.rs`, the file that uses
//!   it. (The table in `manual/settings.md` is generated.)
//! * **RPC command**: its records in `rpc/record/`, its row in `rpc/commands.rs`, what it means in
//!   `agent/control.rs`; if another thread answers it, a message in `agent/channels.rs` and that thread's
//!   file. As a command of the programs: `cli/`, its row in `cli/mod.rs`, its flags in
//!   `config/options/control.rs`.
//! * **Gossip message**: `wire/message.rs`, its bytes in `wire/native.rs` and `wire/hashicorp/`, the rule
//!   that deals with it (`membership/receive.rs`, or `node/conversation/mod.rs` for Serf's), and
//!   `messaging/queue.rs` for how it supersedes others.
//! * **Member event**: its row in `model/event.rs`, the rule that finds it in `membership/`, its counter in
//!   `telemetry/counters.rs`.
//! * **Metric**: its row in `telemetry/counters.rs` or `telemetry/metrics.rs`, and where it is counted.
//! * **Topic of the manual**: a file in `manual/`, and its name in `manual/mod.rs`.
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
mod channel;
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
