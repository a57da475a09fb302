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
use crate::model::{Moment, NodeName};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Tombstones after their time, with an index by age.
#[derive(Debug, Default)]
pub(super) struct Forgotten {
    rows: BTreeMap<NodeName, Row>,
    by_age: BTreeSet<(Moment, NodeName)>,
}

impl Forgotten {
    /// Remembers a row that has been taken out of the table.
    pub(crate) fn insert(&mut self, row: Row) {
        self.remove(&row.name);
        self.by_age.insert((row.since, row.name.clone()));
        self.rows.insert(row.name.clone(), row);
    }

    /// Ends the memory of one member.
    pub(crate) fn remove(&mut self, name: &NodeName) -> Option<Row> {
        let row = self.rows.remove(name)?;
        self.by_age.remove(&(row.since, name.clone()));
        Some(row)
    }

    /// The last that was known of a member.
    pub(crate) fn get(&self, name: &NodeName) -> Option<&Row> {
        self.rows.get(name)
    }

    /// Everyone, by name.
    pub(crate) fn rows(&self) -> impl Iterator<Item = &Row> {
        self.rows.values()
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }

    /// Ends the memory of all that have been gone for `keep`.
    pub(crate) fn expire(&mut self, keep: Duration, now: Moment) {
        while self.by_age.first().is_some_and(|(since, _)| *since + keep <= now) {
            self.drop_oldest();
        }
    }

    /// Ends the memory of the member that has been gone longest.
    pub(crate) fn drop_oldest(&mut self) {
        if let Some((_, name)) = self.by_age.pop_first() {
            self.rows.remove(&name);
        }
    }

    /// Panics if the index does not agree with the rows.
    pub(crate) fn check_invariants(&self) {
        assert_eq!(self.rows.len(), self.by_age.len());
        for (name, row) in &self.rows {
            assert!(!row.is_present(), "{name} is present and forgotten");
            assert!(self.by_age.contains(&(row.since, name.clone())), "{name} has no age");
        }
    }
}
