//! `-retry-join`: join in the background, again and again until it works.

use crate::model::Moment;
use std::time::Duration;

/// Between the first attempt and the second there are some more, so long after each other: hosts that start together find
/// each other as soon as the first of them listens, and not half a minute later. They count for nothing.
const EARLY: [Duration; 4] =
    [Duration::from_secs(1), Duration::from_secs(2), Duration::from_secs(4), Duration::from_secs(8)];

/// When to try to join again, and when to give up.
#[derive(Debug)]
pub struct RetryJoin {
    interval: Duration,
    /// How many attempts between the first and the second were made.
    early: usize,
    /// When the next attempt is due that counts.
    counts_at: Moment,
    /// When the last attempt began.
    began_at: Moment,
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
        RetryJoin { interval, early: 0, counts_at: now, began_at: now, max, failed: 0, next: now }
    }

    /// When [`RetryJoin::tick`] has something to do; never during an attempt.
    pub fn next_deadline(&self) -> Moment {
        self.next
    }

    /// Whether an attempt is to begin now.
    pub fn tick(&mut self, now: Moment) -> bool {
        let due = now >= self.next;
        if due {
            (self.next, self.began_at) = (Moment::NEVER, now);
        }
        due
    }

    /// The attempt has failed.
    pub fn failed(&mut self, now: Moment) -> AfterFailure {
        if self.began_at >= self.counts_at {
            self.failed += 1;
            self.counts_at = now + self.interval;
        }
        if self.max > 0 && self.failed > self.max {
            return AfterFailure::GiveUp;
        }
        let early = EARLY.get(self.early).map(|after| now + *after).filter(|at| *at < self.counts_at);
        self.early = if early.is_some() { self.early + 1 } else { EARLY.len() };
        self.next = early.unwrap_or(self.counts_at).max(now);
        AfterFailure::Retry(self.next.since(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: fn(u64) -> Duration = Duration::from_secs;

    /// When attempts begin, each of which fails after `takes`, until it is given up.
    fn attempts(interval: Duration, max: u64, takes: Duration, most: usize) -> Vec<Duration> {
        let start = Moment::ZERO + S(5);
        let (mut now, mut begun) = (start, Vec::new());
        let mut retry = RetryJoin::new(interval, max, now);
        while begun.len() < most {
            now = now.max(retry.next_deadline());
            assert!(retry.tick(now));
            assert!(!retry.tick(now), "one attempt at a time");
            assert_eq!(retry.next_deadline(), Moment::NEVER);
            begun.push(now.since(start));
            now += takes;
            match retry.failed(now) {
                AfterFailure::Retry(after) => assert_eq!(retry.next_deadline(), now + after),
                AfterFailure::GiveUp => {
                    assert_eq!(retry.next_deadline(), Moment::NEVER);
                    return begun;
                }
            }
        }
        begun
    }

    #[test]
    fn tries_again_soon_at_first_then_after_each_interval_and_gives_up_after_the_most() {
        let expected: [(u64, u64, &[u64]); 4] = [
            (30, 2, &[0, 1, 3, 7, 15, 30, 60]),
            (4, 2, &[0, 1, 3, 4, 8]),
            (1, 2, &[0, 1, 2]),
            (30, 0, &[0, 1, 3, 7, 15, 30, 60, 90, 120, 150]),
        ];
        for (interval, max, at) in expected {
            let at: Vec<Duration> = at.iter().map(|s| S(*s)).collect();
            assert_eq!(attempts(S(interval), max, Duration::ZERO, 10), at, "every {interval} s, {max}");
        }
    }

    #[test]
    fn an_interval_begins_when_an_attempt_that_counts_has_failed() {
        let at = [0, 11, 23, 37, 47, 87, 127].map(S);
        assert_eq!(attempts(S(30), 3, S(10), 10), at);
    }
}
