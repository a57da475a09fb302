//! A point in time as the rules see it.

use std::fmt;
use std::ops::{Add, AddAssign};
use std::time::Duration;

/// A point on a clock that never runs backwards, in nanoseconds since an arbitrary start.
///
/// Rules never read a clock; their driver (a thread of the agent, or the simulator)
/// passes the current moment in. That is what makes virtual time possible.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Moment(u64);

impl Moment {
    /// The start of the clock.
    pub const ZERO: Moment = Moment(0);
    /// Further away than any deadline that is ever reached.
    pub const NEVER: Moment = Moment(u64::MAX);

    /// The moment that lies `since_start` after the clock's start (saturating after 584 years).
    pub fn from_start(since_start: Duration) -> Self {
        Moment(u64::try_from(since_start.as_nanos()).unwrap_or(u64::MAX))
    }

    /// Nanoseconds since the clock's start.
    pub fn as_nanos(self) -> u64 {
        self.0
    }

    /// Time since the clock's start.
    pub fn since_start(self) -> Duration {
        Duration::from_nanos(self.0)
    }

    /// Time from `earlier` until `self`, or zero if `earlier` lies later.
    pub fn since(self, earlier: Moment) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// Time from `now` until `self`, or zero if `self` has passed.
    pub fn until(self, now: Moment) -> Duration {
        self.since(now)
    }
}

impl Add<Duration> for Moment {
    type Output = Moment;

    /// Saturates at [`Moment::NEVER`].
    fn add(self, rhs: Duration) -> Moment {
        Moment(self.0.saturating_add(u64::try_from(rhs.as_nanos()).unwrap_or(u64::MAX)))
    }
}

impl AddAssign<Duration> for Moment {
    fn add_assign(&mut self, rhs: Duration) {
        *self = *self + rhs;
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.3}s", self.since_start().as_secs_f64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arithmetic_saturates() {
        assert_eq!(Moment::NEVER + Duration::from_secs(1), Moment::NEVER);
        assert_eq!(Moment::ZERO.since(Moment::NEVER), Duration::ZERO);
        let t = Moment::ZERO + Duration::from_millis(1500);
        assert_eq!(t.since(Moment::ZERO), Duration::from_millis(1500));
        assert_eq!(t.to_string(), "1.500s");
    }
}
