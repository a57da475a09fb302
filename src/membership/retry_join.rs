//! `-retry-join`: join in the background, again and again until it works.

use crate::model::Moment;
use std::time::Duration;

/// When to try to join again, and when to give up.
#[derive(Debug)]
pub struct RetryJoin {
    interval: Duration,
    /// How many attempts may fail before the one that is the last; 0 is any number.
    max: u64,
    failed: u64,
    next: Moment,
}

/// What follows a failed attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AfterFailure {
    /// Another attempt after this long.
    Retry(Duration),
    /// Nothing more.
    GiveUp,
}

impl RetryJoin {
    /// The first attempt is due at once. Like Serf's, it gives up when an attempt fails after
    /// `max` others have.
    pub fn new(interval: Duration, max: u64, now: Moment) -> Self {
        RetryJoin { interval, max, failed: 0, next: now }
    }

    /// When [`RetryJoin::tick`] has something to do; never during an attempt.
    pub fn next_deadline(&self) -> Moment {
        self.next
    }

    /// Whether an attempt is to begin now.
    pub fn tick(&mut self, now: Moment) -> bool {
        let due = now >= self.next;
        if due {
            self.next = Moment::NEVER;
        }
        due
    }

    /// The attempt has failed.
    pub fn failed(&mut self, now: Moment) -> AfterFailure {
        self.failed += 1;
        if self.max > 0 && self.failed > self.max {
            return AfterFailure::GiveUp;
        }
        self.next = now + self.interval;
        AfterFailure::Retry(self.interval)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: fn(u64) -> Duration = Duration::from_secs;

    #[test]
    fn tries_again_after_each_interval_and_gives_up_after_the_most() {
        let mut now = Moment::ZERO + S(5);
        let mut retry = RetryJoin::new(S(30), 2, now);
        for _ in 0..2 {
            assert!(retry.tick(now));
            assert!(!retry.tick(now), "one attempt at a time");
            assert_eq!(retry.next_deadline(), Moment::NEVER);
            now += S(3);
            assert_eq!(retry.failed(now), AfterFailure::Retry(S(30)));
            assert_eq!(retry.next_deadline(), now + S(30));
            now += S(29);
            assert!(!retry.tick(now));
            now += S(1);
        }
        assert!(retry.tick(now));
        assert_eq!(retry.failed(now), AfterFailure::GiveUp);
        assert_eq!(retry.next_deadline(), Moment::NEVER);
    }

    #[test]
    fn without_a_most_it_never_gives_up() {
        let mut now = Moment::ZERO;
        let mut retry = RetryJoin::new(S(1), 0, now);
        for _ in 0..10_000 {
            assert!(retry.tick(now));
            assert_eq!(retry.failed(now), AfterFailure::Retry(S(1)));
            now += S(1);
        }
    }
}
