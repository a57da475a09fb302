//! Counts of what happened in a run, to show that it was not vacuous.

use crate::membership_laws::Seen;
use std::collections::BTreeMap;
use std::fmt;

/// Named counts, in the order of their names.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally(BTreeMap<&'static str, u64>);

impl Tally {
    /// Once more.
    pub(crate) fn count(&mut self, what: &'static str) {
        self.add(what, 1);
    }

    /// So many more.
    pub(crate) fn add(&mut self, what: &'static str, n: u64) {
        *self.0.entry(what).or_default() += n;
    }

    /// How many so far.
    pub(crate) fn of(&self, what: &str) -> u64 {
        self.0.get(what).copied().unwrap_or_default()
    }

    /// Adds all counts of another.
    pub(crate) fn absorb(&mut self, other: &Tally) {
        for (what, n) in &other.0 {
            self.add(what, *n);
        }
    }

    /// Adds what one observer saw.
    pub(crate) fn add_seen(&mut self, seen: &Seen) {
        self.add("suspicions", seen.suspicions);
        self.add("refutations", seen.refutations);
        self.add("returns from failed or left", seen.returns);
    }

    /// Fails unless each of these has happened.
    pub(crate) fn demand(&self, whats: &[&str]) {
        for what in whats {
            assert!(self.of(what) > 0, "never happened: {what}\n{self}");
        }
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (what, n) in &self.0 {
            writeln!(f, "{n:>12} {what}")?;
        }
        Ok(())
    }
}
