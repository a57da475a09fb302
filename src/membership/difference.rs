//! What a table has to do with an exchange of what differs: sums and ids of rows, the rows themselves in pieces, and
//! taking in those of another. What the two sides say to each other is in `node/exchanges/difference.rs`.

use super::effects::Effects;
use super::exchange::NewsBudget;
use super::row::{Row, State};
use super::table::Members;
use crate::model::{Moment, NodeName};
use crate::wire::difference::{MAX_BUCKETS, MAX_MENTIONED, RowId, Salt};
use crate::wire::message::{PeerRow, PeerState};
use fastrand::Rng;
use std::ops::Bound::{Excluded, Unbounded};

/// The most rows of one piece.
const PIECE_ROWS: usize = 256;
/// The most bytes of one piece, about.
const PIECE_BYTES: usize = 32 * 1024;
/// Bytes of a row besides its name and its tags, about.
const ROW_BYTES: usize = 40;
/// How many rows there are for each bucket before there is another.
const ROWS_A_BUCKET: usize = 16;

/// The number of buckets for so many rows: a power of two.
pub(crate) fn buckets_for(rows: usize) -> usize {
    (rows / ROWS_A_BUCKET).next_power_of_two().clamp(1, MAX_BUCKETS)
}

/// The bucket of a keyed hash, of so many.
pub(crate) fn bucket_of(hash: u64, buckets: usize) -> usize {
    (hash >> 56) as usize & (buckets - 1)
}

/// The id of a keyed hash.
pub(crate) fn id_of(hash: u64) -> RowId {
    let [a, b, c, d, e, ..] = hash.to_le_bytes();
    [a, b, c, d, e]
}

/// A name in 32 bits (FNV-1a).
fn name_hash(name: &NodeName) -> u32 {
    name.as_bytes().iter().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193))
}

impl Members {
    /// Calls `each` with the keyed hash and the name of up to `most` members that are present and follow `after` in the
    /// order of names. Answers with the last of them, unless there are no more.
    pub(crate) fn hash_rows(
        &self,
        salt: &Salt,
        after: Option<&NodeName>,
        most: usize,
        mut each: impl FnMut(u64, &NodeName),
    ) -> Option<NodeName> {
        let from = after.map_or(Unbounded, Excluded);
        let mut last = None;
        for (name, row) in self.rows.range::<NodeName, _>((from, Unbounded)).take(most) {
            if row.is_present() {
                each(row.keyed_hash(salt), name);
            }
            last = Some(name);
        }
        last.cloned()
    }

    /// Some members that have failed, as hashes of their names.
    pub(crate) fn mention_failed(&self, rng: &mut Rng) -> Vec<u32> {
        let skip = rng.usize(0..=self.failed().saturating_sub(MAX_MENTIONED));
        self.failed_rows().skip(skip).take(MAX_MENTIONED).map(|row| name_hash(&row.name)).collect()
    }

    /// Those of members mentioned as failed that have left, as far as is known here.
    pub(crate) fn left_of(&self, mentioned: &[u32]) -> Vec<PeerRow> {
        let mentioned = mentioned.get(..MAX_MENTIONED).unwrap_or(mentioned);
        if mentioned.is_empty() {
            return Vec::new();
        }
        let left = self.left_rows().filter(|row| mentioned.contains(&name_hash(&row.name)));
        left.take(MAX_MENTIONED).map(Row::peer_row).collect()
    }

    /// The rows of the first of these names, as many as fit a piece; the names are taken away.
    pub(crate) fn piece(&self, names: &mut Vec<NodeName>) -> Vec<PeerRow> {
        let (mut rows, mut bytes) = (Vec::new(), 0);
        while rows.len() < PIECE_ROWS && bytes < PIECE_BYTES {
            let Some(name) = names.pop() else { break };
            if let Some(row) = self.row(&name) {
                bytes += ROW_BYTES + row.text();
                rows.push(row.peer_row());
            }
        }
        rows
    }

    /// Takes in a piece of what another member knows. Answers with what it should know instead, where this process
    /// knows better: that a member is gone, when it has last said something, or how this process itself is.
    pub(crate) fn merge_piece(
        &mut self,
        theirs: &[PeerRow],
        budget: &mut NewsBudget,
        now: Moment,
        fx: &mut Effects,
    ) -> Vec<PeerRow> {
        let mut better = Vec::new();
        for row in theirs {
            let was_known = self.row(&row.node).is_some_and(Row::is_present);
            self.merge_within(row, budget, now, fx);
            let Some(mine) = self.row(&row.node).or_else(|| self.forgotten.get(&row.node)) else { continue };
            let is_present = matches!(row.state, PeerState::Alive | PeerState::Suspect);
            let gone = matches!(mine.state, State::Dead | State::Left);
            // What was not among the rows that were compared: its tombstone knew something that counts.
            let is_other = PeerRow { state: row.state, ..mine.peer_row() } != *row;
            let was_compared = was_known && mine.name != self.me;
            if is_present && (gone || is_other && !was_compared) || mine.name == self.me && is_other {
                better.push(mine.peer_row());
            }
        }
        better
    }

    /// Whether an exchange with a member that says this digest brings nothing, as far as is known.
    pub(crate) fn is_fruitless(&self, theirs: u64, now: Moment) -> bool {
        self.fruitless.contains(self.digest(), theirs, now)
    }

    /// An exchange has changed nothing here, although the digests of the two differ.
    pub(crate) fn note_fruitless(&mut self, theirs: u64, now: Moment) {
        let mine = self.digest();
        if mine != theirs {
            self.fruitless.note(mine, theirs, now);
        }
    }
}
