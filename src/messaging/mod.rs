//! What is said, and how it spreads: the broadcast queue and the rhythm of gossip. Rules, no I/O.

pub mod coalesce;
mod gossip;
mod queue;
#[cfg(test)]
mod tests;

pub use gossip::{Datagram, Gossip};
pub use queue::{BroadcastQueue, Kind, Ticket};
