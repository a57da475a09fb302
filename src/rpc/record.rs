//! The records of the control protocol, with Serf's own field names: for each command a *call*,
//! which is what a client writes, and where there is more to say than yes or no, a *response*.
//! Their bytes are `codec`'s business.
//!
//! | file | what it holds |
//! | --- | --- |
//! | `headers` | what comes before each request, reply and streamed record |
//! | `session` | the connection itself: handshake, key, streams of events and log lines |
//! | `members` | members: listing, joining, leaving, tags |
//! | `messages` | user events and queries |
//! | `keys` | the keys of the cluster |
//! | `coordinates` | where members are on the network |
//! | `stats` | facts and counters of an agent |

mod coordinates;
mod headers;
mod keys;
mod members;
mod messages;
mod session;
mod stats;

pub use coordinates::*;
pub(crate) use headers::*;
pub use keys::*;
pub use members::*;
pub use messages::*;
pub use session::*;
pub use stats::*;

#[cfg(test)]
mod tests;
