//! A limit on repeated messages about one peer.
//!
//! A broken or hostile peer can cause the same complaint thousands of times a second. Each pair of
//! peer and kind of message is let through a few times per interval; what was held back is counted
//! and mentioned by the next message that passes. Pure: the caller says what time it is.

use super::counters;
use crate::model::Moment;
use std::collections::HashMap;
use std::fmt;
use std::hash::Hash;
use std::time::Duration;

/// The most pairs of peer and kind that are distinguished.
///
/// Peers beyond share one allowance for each interval, so that forged sender addresses can neither
/// fill the memory nor the log.
pub const MAX_KEYS: usize = 256;

/// Lets `limit` messages about one peer and of one kind pass in each `interval`.
#[derive(Debug)]
pub struct RateLimit<P> {
    limit: u32,
    interval: Duration,
    windows: HashMap<(P, &'static str), Window>,
    /// For all peers that found `windows` full.
    others: Window,
    /// When the next look for finished windows is worthwhile.
    sweep_at: Moment,
}

#[derive(Clone, Copy, Debug)]
struct Window {
    ends: Moment,
    passed: u32,
    suppressed: u64,
}

/// A message may pass; displays as nothing, or as ` (7 similar messages suppressed)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Passed {
    /// How many were held back since one passed last.
    pub suppressed: u64,
}

impl fmt::Display for Passed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.suppressed {
            0 => Ok(()),
            1 => f.write_str(" (1 similar message suppressed)"),
            n => write!(f, " ({n} similar messages suppressed)"),
        }
    }
}

impl<P: Hash + Eq> RateLimit<P> {
    /// A limit of `limit` messages (at least one) per `interval` for each peer and kind.
    pub fn new(limit: u32, interval: Duration) -> Self {
        let others = Window { ends: Moment::ZERO, passed: 0, suppressed: 0 };
        RateLimit { limit: limit.max(1), interval, windows: HashMap::new(), others, sweep_at: Moment::ZERO }
    }

    /// How many pairs of peer and kind are distinguished at the moment; at most [`MAX_KEYS`].
    pub fn len(&self) -> usize {
        self.windows.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.windows.is_empty()
    }

    /// Whether a message of `kind` about `peer` may be logged at `now`.
    ///
    /// ```
    /// # use serf::{model::Moment, telemetry::{RateLimit, target}};
    /// # let (addr, now) = ("10.0.0.9:7946", Moment::ZERO);
    /// let mut limit = RateLimit::new(5, std::time::Duration::from_secs(60));
    /// if let Some(passed) = limit.pass(addr, "checksum", now) {
    ///     log::warn!(target: target::MEMBERLIST, "bad checksum from {addr}{passed}");
    /// }
    /// ```
    pub fn pass(&mut self, peer: P, kind: &'static str, now: Moment) -> Option<Passed> {
        let key = (peer, kind);
        if self.windows.len() >= MAX_KEYS && !self.windows.contains_key(&key) {
            self.sweep(now);
        }
        let full = self.windows.len() >= MAX_KEYS;
        let window = match self.windows.get_mut(&key) {
            Some(window) => window,
            None if full => &mut self.others,
            None => {
                let fresh = Window { ends: now + self.interval, passed: 0, suppressed: 0 };
                self.windows.entry(key).or_insert(fresh)
            }
        };
        let verdict = window.pass(self.limit, self.interval, now);
        if verdict.is_none() {
            counters::LOG_LINES_SUPPRESSED.inc();
        }
        verdict
    }

    /// Forgets finished windows, at most once per interval so that a flood pays for it once.
    fn sweep(&mut self, now: Moment) {
        if now < self.sweep_at {
            return;
        }
        self.sweep_at = now + self.interval;
        let mut forgotten = 0u64;
        self.windows.retain(|_, window| {
            let live = now < window.ends;
            if !live {
                forgotten = forgotten.saturating_add(window.suppressed);
            }
            live
        });
        // What they held back is still owed a mention.
        self.others.suppressed = self.others.suppressed.saturating_add(forgotten);
    }
}

impl Window {
    fn pass(&mut self, limit: u32, interval: Duration, now: Moment) -> Option<Passed> {
        if now >= self.ends {
            self.ends = now + interval;
            self.passed = 0;
        }
        if self.passed >= limit {
            self.suppressed = self.suppressed.saturating_add(1);
            return None;
        }
        self.passed += 1;
        Some(Passed { suppressed: std::mem::take(&mut self.suppressed) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn at(ms: u64) -> Moment {
        Moment::from_start(Duration::from_millis(ms))
    }

    fn passed(suppressed: u64) -> Option<Passed> {
        Some(Passed { suppressed })
    }

    #[test]
    fn a_few_pass_and_the_next_reports_the_rest() {
        let mut limit = RateLimit::new(2, SECOND);
        assert_eq!(limit.pass("a", "checksum", at(0)), passed(0));
        assert_eq!(limit.pass("a", "checksum", at(1)), passed(0));
        for ms in 2..9 {
            assert_eq!(limit.pass("a", "checksum", at(ms)), None);
        }
        // Others, and other complaints, have their own allowance.
        assert_eq!(limit.pass("b", "checksum", at(9)), passed(0));
        assert_eq!(limit.pass("a", "label", at(9)), passed(0));

        assert_eq!(limit.pass("a", "checksum", at(1000)), passed(7));
        assert_eq!(limit.pass("a", "checksum", at(1001)), passed(0), "reported once");
        assert_eq!(limit.pass("a", "checksum", at(1002)), None);
    }

    #[test]
    fn strangers_without_number_share_one_allowance() {
        let mut limit = RateLimit::new(1, SECOND);
        let let_through = (0..100_000).filter(|peer| limit.pass(*peer, "x", at(5)).is_some()).count();
        assert_eq!(let_through, MAX_KEYS + 1);
        assert_eq!(limit.windows.len(), MAX_KEYS);

        // An interval later there is room again, and the tally is not lost.
        assert_eq!(limit.pass(-1, "x", at(1005)), passed(0));
        assert_eq!(limit.windows.len(), 1);
        assert_eq!(limit.others.suppressed, 100_000 - MAX_KEYS as u64 - 1);
    }

    #[test]
    fn what_a_forgotten_peer_held_back_is_still_reported() {
        let mut limit = RateLimit::new(1, SECOND);
        for peer in 0..MAX_KEYS {
            limit.pass(peer, "x", at(0));
            limit.pass(peer, "x", at(0));
        }
        // Sweeps, fills up again, and the first of the others reports.
        for peer in 0..MAX_KEYS {
            assert_eq!(limit.pass(1000 + peer, "x", at(2000)), passed(0));
        }
        assert_eq!(limit.pass(9999, "x", at(2001)), passed(MAX_KEYS as u64));
    }

    #[test]
    fn reads_well_at_the_end_of_a_message() {
        assert_eq!(Passed { suppressed: 0 }.to_string(), "");
        assert_eq!(Passed { suppressed: 1 }.to_string(), " (1 similar message suppressed)");
        assert_eq!(Passed { suppressed: 7 }.to_string(), " (7 similar messages suppressed)");
    }
}
