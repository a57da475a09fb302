//! Members that were reaped a short while ago: gone for everyone who asks, and remembered by the
//! rules for as long as other members may still take them for alive.
//!
//! A member is reaped when its timeout says so, and that may be set to seconds. A member that
//! has not heard yet that it is gone would then bring it back here as a stranger; it would be
//! announced to all, suspected, declared dead, reaped, and brought back by the next one that has
//! missed that. So the tombstone outlasts the reaping: stale news about it is not believed, and in
//! push/pull it is still reported as dead, which no member takes on that does not know it, and
//! which gives the member itself, if it is alive after all, the chance to refute.

use super::row::Row;
use super::timed::Timed;
use crate::model::{Moment, NodeName};
use std::time::Duration;

/// Tombstones after their time, each with the moment since when the member has been gone.
#[derive(Debug, Default)]
pub(super) struct Forgotten(Timed<Box<Row>>);

impl Forgotten {
    /// Remembers a row that has been taken out of the table.
    pub(crate) fn insert(&mut self, row: Box<Row>) {
        self.0.insert(row.name.clone(), row.since, row);
    }

    /// Ends the memory of one member.
    pub(crate) fn remove(&mut self, name: &NodeName) -> Option<Box<Row>> {
        self.0.remove(name)
    }

    /// The last that was known of a member.
    pub(crate) fn get(&self, name: &NodeName) -> Option<&Row> {
        self.0.get(name).map(|row| &**row)
    }

    /// Everyone, by name.
    pub(crate) fn rows(&self) -> impl Iterator<Item = &Row> {
        self.0.iter().map(|(_, row)| &**row)
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Ends the memory of all that have been gone for `keep`, but of no more than `most` at once.
    pub(crate) fn expire(&mut self, keep: Duration, most: usize, now: Moment) {
        for _ in 0..most {
            if self.0.earliest() + keep > now {
                break;
            }
            self.drop_oldest();
        }
    }

    /// Ends the memory of the member that has been gone longest.
    pub(crate) fn drop_oldest(&mut self) {
        drop(self.0.pop());
    }

    /// Panics if the index does not agree with the rows.
    pub(crate) fn check_invariants(&self) {
        self.0.check_invariants();
        for row in self.rows() {
            assert!(!row.is_present(), "{} is present and forgotten", row.name);
            assert_eq!(self.0.moment(&row.name), Some(row.since), "{}", row.name);
        }
    }
}
