//! Lamport times: the order of intents, events and queries without a common clock.

use serde::{Deserialize, Serialize};
use std::fmt;

/// A point in Lamport time. Later than everything its sender had seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct LamportTime(pub u64);

impl LamportTime {
    /// Before everything.
    pub const ZERO: LamportTime = LamportTime(0);

    /// One tick later; the last moment stays the last.
    pub fn next(self) -> LamportTime {
        LamportTime(self.0.saturating_add(1))
    }

    /// One tick earlier, not before zero.
    pub fn previous(self) -> LamportTime {
        LamportTime(self.0.saturating_sub(1))
    }
}

impl fmt::Display for LamportTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
