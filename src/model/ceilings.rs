//! How far numbers that every member may count up are believed: incarnations and Lamport times.
//!
//! A process that can put a message in can claim any number. Without a bound one message brings a counter to its end, and a
//! bound on jumps is overcome by many messages, or keeps out a newcomer that was away for long. A ceiling that rises
//! with the wall clock, the same for everyone and far above what honest members reach, leaves room whatever was claimed:
//! a second later there is more. Wall clocks that differ by less than an hour do no harm.

use super::incarnation::Incarnation;
use super::lamport::LamportTime;
use super::moment::Moment;

/// The date from which ceilings rise: the start of 2026, in seconds of Unix time. A clock before that, as of a
/// small host that has not asked for the time yet, counts as it.
const SINCE: u64 = 1_767_225_600;
/// The ceiling of incarnations at that date; it rises by one a second.
const INCARNATIONS: u64 = 1 << 31;
/// How much lower the ceiling of what others say of a member is: an hour, so that its answer is believed everywhere.
const ANSWERS: u64 = 3600;
/// The ceiling of Lamport times at that date, three quarters of all, and how much it rises in a second.
const LAMPORT_TIMES: u64 = 3 << 62;
const LAMPORT_TIMES_A_SECOND: u64 = 1 << 30;

/// The ceilings at any moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ceilings {
    /// Seconds from the date until the clock of the rules began.
    start: u64,
}

impl Ceilings {
    /// At the start of the clock of the rules it was this Unix time, in seconds.
    pub fn new(unix_time: u64) -> Ceilings {
        Ceilings { start: unix_time.saturating_sub(SINCE) }
    }

    fn seconds(self, now: Moment) -> u64 {
        self.start.saturating_add(now.since_start().as_secs())
    }

    /// The highest incarnation that a member may claim for itself.
    pub fn incarnation(self, now: Moment) -> Incarnation {
        let ceiling = INCARNATIONS.saturating_add(self.seconds(now));
        Incarnation(u32::try_from(ceiling).unwrap_or(u32::MAX))
    }

    /// The highest incarnation to which others may bring a member by accusing it.
    pub fn accusation(self, now: Moment) -> Incarnation {
        Incarnation(self.incarnation(now).0 - ANSWERS as u32)
    }

    /// The latest Lamport time that is believed.
    pub fn lamport_time(self, now: Moment) -> LamportTime {
        LamportTime(LAMPORT_TIMES.saturating_add(self.seconds(now).saturating_mul(LAMPORT_TIMES_A_SECOND)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn ceilings_rise_with_the_clock_and_are_the_same_for_everyone() {
        let early = Ceilings::new(SINCE + 100);
        let late = Ceilings::new(SINCE + 160);
        let minute = Moment::ZERO + Duration::from_secs(60);
        assert_eq!(early.incarnation(minute), late.incarnation(Moment::ZERO));
        assert_eq!(early.incarnation(Moment::ZERO), Incarnation((1 << 31) + 100));
        assert_eq!(early.accusation(Moment::ZERO), Incarnation((1 << 31) + 100 - 3600));
        assert_eq!(early.lamport_time(minute), late.lamport_time(Moment::ZERO));
        assert!(early.lamport_time(minute) > early.lamport_time(Moment::ZERO));
        assert_eq!(Ceilings::new(0), Ceilings::new(SINCE), "a clock that stands at 1970");
    }

    #[test]
    fn the_end_of_time_saturates() {
        let end = Ceilings::new(u64::MAX);
        assert_eq!(end.incarnation(Moment::NEVER), Incarnation::LAST);
        assert_eq!(end.lamport_time(Moment::NEVER), LamportTime(u64::MAX));
    }
}
