//! Exchanges that have brought nothing although the two tables differ: one of the two refuses what the other believes.
//! Until something changes in one of them, there is no use in another one.

use crate::model::Moment;
use std::collections::VecDeque;
use std::time::Duration;

/// How long it is remembered. After that it is tried once more: what was refused may have been out of date only.
const KEPT: Duration = Duration::from_secs(600);
/// The most that are remembered; beyond it the oldest is forgotten.
const MAX: usize = 256;

/// The digests of both sides, of each exchange that brought nothing, and when that was.
#[derive(Debug, Default)]
pub(super) struct Fruitless(VecDeque<(u64, u64, Moment)>);

impl Fruitless {
    /// An exchange between tables with these digests has changed neither.
    pub(super) fn note(&mut self, mine: u64, theirs: u64, now: Moment) {
        self.0.retain(|(a, b, at)| (*a, *b) != (mine, theirs) && now.since(*at) < KEPT);
        if self.0.len() >= MAX {
            self.0.pop_front();
        }
        self.0.push_back((mine, theirs, now));
    }

    /// Whether an exchange between tables with these digests brings nothing, as far as is known.
    pub(super) fn contains(&self, mine: u64, theirs: u64, now: Moment) -> bool {
        self.0.iter().any(|(a, b, at)| (*a, *b) == (mine, theirs) && now.since(*at) < KEPT)
    }
}
