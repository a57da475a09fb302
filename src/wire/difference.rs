//! What two members say to each other to find out what their tables differ in. Between native members only, over TCP:
//! each message is answered by one, until one side has nothing more to say.
//!
//! ```text
//! opener                                  answerer
//! Hello    how much is known      →
//!                                 ←       Compare   sums of its rows, by bucket
//! Ids      of rows in those that  →
//!          differ
//!                                 ←       Rows      that the opener lacks, and which it lacks itself
//! Rows     that were asked for    →
//!                                 ←       Rows …    until nothing is left
//! Done                            →
//! ```
//!
//! Sums and ids are keyed hashes with a key that the answerer draws anew each time: nobody can invent rows whose
//! differences cancel out.

use super::message::{PeerRow, SerfState};
use crate::model::{LamportTime, NodeName};
use serde::{Deserialize, Serialize};

/// The most buckets, which is also how many there are in large tables.
pub const MAX_BUCKETS: usize = 256;
/// The most names of failed members that are mentioned in a [`Hello`].
pub const MAX_MENTIONED: usize = 8;

/// The key of the hashes of one exchange.
pub type Salt = [u8; 16];

/// A row, in all that matters: the low 40 bits of its keyed hash, little-endian.
pub type RowId = [u8; 5];

/// How much one side knows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// Its name.
    pub node: NodeName,
    /// Sum of its rows, see `Row::fingerprint`; equal sums, equal tables, unless someone means harm.
    pub total: u64,
    /// The digest that it says in its acks.
    pub digest: u64,
    /// Whether rows are to be compared although the sums agree. (Sums without a key can be made to agree.)
    pub suspicious: bool,
    /// Its Lamport time of intents.
    pub ltime: LamportTime,
    /// That of user events.
    pub event_ltime: LamportTime,
    /// That of queries.
    pub query_ltime: LamportTime,
    /// A sum of the user events that it remembers.
    pub events: u64,
    /// Some members that have failed as far as it knows, as hashes of their names: perhaps the other knows that they
    /// have left.
    pub failed: Vec<u32>,
}

/// The answer to a [`Hello`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Compare {
    /// The other side's.
    pub hello: Hello,
    /// The key of all hashes in this exchange.
    pub salt: Salt,
    /// The low 32 bits of the sum of the rows in each bucket: a power of two of them, or none if the tables agree.
    pub sums: Vec<u32>,
    /// Members that were mentioned as failed, and have left.
    #[serde(deserialize_with = "super::bounded::rows")]
    pub rows: Vec<PeerRow>,
    /// What the sender remembers of events, if it differs.
    pub serf: Option<SerfState>,
}

/// The rows in buckets that differ.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ids {
    /// The number of each such bucket, and the sender's rows in it.
    #[serde(deserialize_with = "super::bounded::ids")]
    pub buckets: Vec<(u8, Vec<RowId>)>,
    /// Members that were mentioned as failed, and have left.
    #[serde(deserialize_with = "super::bounded::rows")]
    pub rows: Vec<PeerRow>,
    /// What the sender remembers of events, if it differs.
    pub serf: Option<SerfState>,
}

/// Rows that the other side lacks, a piece of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rows {
    /// The rows.
    #[serde(deserialize_with = "super::bounded::rows")]
    pub rows: Vec<PeerRow>,
    /// Which rows of the other side the sender lacks. In the first piece.
    pub want: Vec<RowId>,
    /// What the sender remembers of events, if it differs.
    pub serf: Option<SerfState>,
    /// Whether the sender has nothing more, as far as it knows yet.
    pub last: bool,
}

/// Everything that is said in such an exchange.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DifferenceMessage {
    /// The first message.
    Hello(Hello),
    /// Its answer.
    Compare(Compare),
    /// What is in the buckets that differ.
    Ids(Ids),
    /// Rows.
    Rows(Rows),
    /// That was all.
    Done,
}
