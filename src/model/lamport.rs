//! Lamport times: the order of intents, events and queries without a common clock.

use serde::{Deserialize, Serialize};
use std::fmt;

/// The furthest a single message may move a clock forward.
///
/// At a thousand ticks a second it takes 34 years to get this far, so a greater jump is never
/// news but damage or malice. Without the bound a single message could push every clock of
/// the cluster to its end (a time of 2⁶⁴−1 once wrapped Serf's clock to 0).
pub const MAX_LAMPORT_JUMP: u64 = 1 << 40;

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

/// A Lamport clock. Starts at 0; never runs backwards, never wraps.
#[derive(Clone, Copy, Debug, Default)]
pub struct LamportClock(LamportTime);

impl LamportClock {
    /// The current time: the time the next message of this member will carry.
    pub fn time(&self) -> LamportTime {
        self.0
    }

    /// Ticks once and returns the new time.
    pub fn increment(&mut self) -> LamportTime {
        self.0 = self.0.next();
        self.0
    }

    /// Moves past `seen`, the time of a message that was heard.
    ///
    /// Returns `false`, and leaves the clock alone, when `seen` lies more than
    /// [`MAX_LAMPORT_JUMP`] ahead; the message that carried it is to be refused.
    #[must_use]
    pub fn witness(&mut self, seen: LamportTime) -> bool {
        if !self.admits(seen) {
            return false;
        }
        if seen >= self.0 {
            self.0 = seen.next();
        }
        true
    }

    /// Whether `seen` is near enough to be believed.
    pub fn admits(&self, seen: LamportTime) -> bool {
        seen.0 <= self.0.0.saturating_add(MAX_LAMPORT_JUMP)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn witness_moves_past_what_was_seen() {
        let mut c = LamportClock::default();
        assert_eq!(c.increment(), LamportTime(1));
        assert!(c.witness(LamportTime(41)));
        assert_eq!(c.time(), LamportTime(42));
        assert!(c.witness(LamportTime(41)));
        assert_eq!(c.time(), LamportTime(42));
        assert!(c.witness(LamportTime(42)));
        assert_eq!(c.time(), LamportTime(43));
    }

    #[test]
    fn absurd_times_are_refused_and_the_end_saturates() {
        let mut c = LamportClock::default();
        assert!(!c.witness(LamportTime(u64::MAX)));
        assert_eq!(c.time(), LamportTime::ZERO);
        let mut end = LamportClock(LamportTime(u64::MAX - 1));
        assert!(end.witness(LamportTime(u64::MAX)));
        assert_eq!(end.time(), LamportTime(u64::MAX));
        assert_eq!(end.increment(), LamportTime(u64::MAX));
    }
}
