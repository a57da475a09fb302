//! The components that log lines are distinguished by, spelled as Serf spells them.
//!
//! Use them as `log::info!(target: target::SERF, "...")`. Scripts that search Serf's log look
//! for these words.

/// The daemon itself: start, stop, configuration, handlers.
pub const AGENT: &str = "agent";
/// The control protocol's server.
pub const IPC: &str = "agent.ipc";
/// Probes, suspicion, datagrams, push/pull.
pub const MEMBERLIST: &str = "memberlist";
/// Members, events and queries.
pub const SERF: &str = "serf";
