//! How long a suspect has to refute: Lifeguard's shrinking timeout (§IV-B).
//!
//! A suspicion starts with a long timeout. Every independent confirmation brings it closer to
//! the short one, because the more members see the same, the less likely it is that the fault
//! lies with the one that sees it.

use crate::model::{Moment, NodeName};
use std::time::Duration;

/// One running suspicion of one member.
#[derive(Clone, Debug)]
pub struct Suspicion {
    start: Moment,
    min: Duration,
    max: Duration,
    /// How many confirmations bring the timeout down to `min`.
    wanted: u32,
    /// The members that suspect: the first accuser, then those that confirmed. At most `wanted + 1`.
    accusers: Vec<NodeName>,
    /// Whether it was postponed before.
    postponed: bool,
    /// When this process, being one of them, next informs the suspect.
    remind_at: Moment,
}

impl Suspicion {
    /// Starts a suspicion raised by `from`. With `wanted` = 0 the timeout is `min` at once.
    pub fn new(from: NodeName, wanted: u32, min: Duration, max: Duration, now: Moment) -> Self {
        let accusers = vec![from];
        Suspicion { start: now, min, max, wanted, accusers, postponed: false, remind_at: Moment::NEVER }
    }

    /// Counts a further accuser. Says whether this was news, to be passed on: an accuser
    /// counts once, and no more are counted than are wanted.
    pub fn confirm(&mut self, from: &NodeName) -> bool {
        if self.confirmations() >= self.wanted || self.accusers.contains(from) {
            return false;
        }
        self.accusers.push(from.clone());
        true
    }

    /// Independent confirmations so far, without the first accuser.
    pub fn confirmations(&self) -> u32 {
        self.accusers.len() as u32 - 1
    }

    /// When the member is to be declared dead.
    pub fn deadline(&self) -> Moment {
        self.start + timeout(self.confirmations(), self.wanted, self.min, self.max)
    }

    /// When the suspect is next to be informed by this process, or to be declared dead.
    pub fn due(&self) -> Moment {
        self.deadline().min(self.remind_at)
    }

    /// Sets when the suspect is next to be informed by this process; never, unless it is an accuser.
    pub fn remind(&mut self, at: Moment) {
        self.remind_at = at;
    }

    /// Gives the suspect `by` more time: this process did not run, so it cannot have heard a
    /// refutation. The first time there is `grace` on top, or a suspect whose time was to end
    /// right then would fail before its refutation could arrive; but only the first time, or a
    /// process that is always late would never declare anyone dead.
    pub fn postpone(&mut self, by: Duration, grace: Duration) {
        self.start += if self.postponed { by } else { by + grace };
        self.postponed = true;
    }
}

/// The timeout after `confirmations` of the `wanted`: from `max` down to `min`, on a
/// logarithmic scale, in whole milliseconds (memberlist's `remainingSuspicionTime`).
fn timeout(confirmations: u32, wanted: u32, min: Duration, max: Duration) -> Duration {
    if wanted == 0 {
        return min;
    }
    let fraction = f64::from(confirmations + 1).ln() / f64::from(wanted + 1).ln();
    let seconds = max.as_secs_f64() - fraction * (max.as_secs_f64() - min.as_secs_f64());
    let millis = (seconds * 1000.0).floor().max(0.0) as u64;
    Duration::from_millis(millis).max(min)
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: fn(u64) -> Duration = Duration::from_secs;

    fn name(s: &str) -> NodeName {
        NodeName::new(s).unwrap()
    }

    #[test]
    fn each_confirmation_shortens_the_timeout() {
        let at = |n| timeout(n, 3, S(2), S(30)).as_millis();
        assert_eq!([0, 1, 2, 3].map(at), [30_000, 16_000, 7_810, 2_000]);
        assert_eq!(timeout(0, 0, S(2), S(30)), S(2));
        assert_eq!(timeout(9, 3, S(2), S(30)), S(2));
    }

    #[test]
    fn an_accuser_counts_once() {
        let mut s = Suspicion::new(name("a"), 2, S(1), S(10), Moment::ZERO);
        assert_eq!(s.deadline(), Moment::ZERO + S(10));
        assert!(!s.confirm(&name("a")));
        assert!(s.confirm(&name("b")));
        assert!(!s.confirm(&name("b")));
        assert!(s.confirm(&name("c")));
        assert!(!s.confirm(&name("d")), "enough is enough");
        assert_eq!(s.deadline(), Moment::ZERO + S(1));
        s.postpone(S(5), S(2));
        assert_eq!(s.deadline(), Moment::ZERO + S(8));
        s.postpone(S(5), S(2));
        assert_eq!(s.deadline(), Moment::ZERO + S(13), "grace is given once");
    }
}
