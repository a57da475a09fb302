//! The clock of Lamport times that each member keeps.

use super::ceilings::Ceilings;
use super::lamport::LamportTime;
use super::moment::Moment;

/// A Lamport clock. Starts at 0; never runs backwards, never wraps.
#[derive(Clone, Copy, Debug, Default)]
pub struct LamportClock {
    time: LamportTime,
    ceilings: Ceilings,
}

impl LamportClock {
    /// A clock that believes what is below these ceilings.
    pub fn new(ceilings: Ceilings) -> LamportClock {
        LamportClock { time: LamportTime::ZERO, ceilings }
    }

    /// The current time: the time the next message of this member will carry.
    pub fn time(&self) -> LamportTime {
        self.time
    }

    /// Ticks once and returns the new time.
    pub fn increment(&mut self) -> LamportTime {
        self.time = self.time.next();
        self.time
    }

    /// Moves past `seen`, the time of a message that was heard.
    ///
    /// Returns `false`, and leaves the clock alone, when `seen` lies above the ceiling; the message that
    /// carried it is to be refused.
    #[must_use]
    pub fn witness(&mut self, seen: LamportTime, now: Moment) -> bool {
        if !self.admits(seen, now) {
            return false;
        }
        if seen >= self.time {
            self.time = seen.next();
        }
        true
    }

    /// Whether `seen` is early enough to be believed.
    pub fn admits(&self, seen: LamportTime, now: Moment) -> bool {
        seen <= self.ceilings.lamport_time(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const NOW: Moment = Moment::ZERO;

    #[test]
    fn witness_moves_past_what_was_seen() {
        let mut c = LamportClock::default();
        assert_eq!(c.increment(), LamportTime(1));
        assert!(c.witness(LamportTime(41), NOW));
        assert_eq!(c.time(), LamportTime(42));
        assert!(c.witness(LamportTime(41), NOW));
        assert_eq!(c.time(), LamportTime(42));
        assert!(c.witness(LamportTime(42), NOW));
        assert_eq!(c.time(), LamportTime(43));
    }

    #[test]
    fn no_message_brings_a_clock_to_its_end() {
        let mut c = LamportClock::default();
        let ceiling = Ceilings::default().lamport_time(NOW);
        assert!(!c.witness(LamportTime(u64::MAX), NOW) && !c.witness(ceiling.next(), NOW));
        assert_eq!(c.time(), LamportTime::ZERO);
        assert!(c.witness(ceiling, NOW));
        // A second later there is room for a thousand million ticks.
        let later = NOW + Duration::from_secs(1);
        let ticked = LamportTime(c.time().0 + (1 << 30) - 1);
        assert!(!c.witness(ticked, NOW) && c.witness(ticked, later));
    }
}
