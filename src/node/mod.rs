//! One member without its threads: how the rules of the lower floors are wired together. No I/O.
//!
//! Each machine here is a plain struct with one owner: a thread of the agent in the program that
//! ships, a [`Node`] in the simulator. It takes an input, the moment and a random source, and fills
//! an out-parameter with what should happen; its owner carries that out.
//!
//! | file | machine | thread that owns it |
//! | --- | --- | --- |
//! | `table`, `broadcasts` | the membership table with its outboxes | shared by all, behind one lock |
//! | `heartbeat` | probes, and the order in which a batch of datagrams is taken in | `serf-probe` |
//! | `news` | from the table's outbox to the broadcast queue, and what is piggybacked | `serf-gossip` |
//! | `exchanges` | joins, push/pull, exchanges of what differs, reaching for failed members and seeds, TCP pings | `serf-sync` |
//! | `conversation` | events, queries, coalescing, internal queries, keys, the vote about a name | `serf-events` |
//! | `departure`, `rejoin` | leaving; rejoining the members of a snapshot | main |
//! | `snapshot` | the lines of a snapshot, and what is known from them | `serf-snapshot` |
//! | `packing` | direct messages into one datagram | all that send |
//! | `outbox`, `whole` | all of them together, for the simulator | |
//!
//! Architecture invariant: what an exchange answers, which members get news first, how a leave proceeds and
//! what an internal query does is decided here or below, and nowhere else.

pub mod broadcasts;
pub mod conversation;
pub mod departure;
pub mod exchanges;
pub mod heartbeat;
pub mod news;
pub mod outbox;
pub mod packing;
pub mod rejoin;
pub mod snapshot;
pub mod table;
pub mod whole;

pub use conversation::Conversation;
pub use departure::Departure;
pub use exchanges::Exchanges;
pub use rejoin::Rejoin;
pub use table::Table;
pub use whole::Node;
