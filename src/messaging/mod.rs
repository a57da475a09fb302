//! What is said, and how it spreads: in waves among members that take part in them, by gossip among all
//! others. Rules, no I/O.

pub mod coalesce;
pub mod expression;
pub mod filter;
mod gossip;
pub mod internal;
pub mod keys;
pub mod name_vote;
pub mod queries;
mod query_params;
pub(crate) mod queue;
#[cfg(test)]
mod tests;
pub mod user_events;
pub mod wave;

pub use gossip::{Datagram, Gossip};
pub use query_params::{QueryParams, QueryProgress};
pub use queue::{BroadcastQueue, Kind, Ticket};
