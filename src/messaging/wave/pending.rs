//! What is still to be said about news, and when: in waves, to neighbours, by a newcomer, and to members that take no
//! part in waves.

use super::turn::How;
use crate::model::Moment;
use crate::wire::message::NewsId;
use fastrand::Rng;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

/// The least time between two waves of one origin on the first ring: the first of a burst goes at once, and what comes
/// within this time shares datagrams.
pub(super) const FIRST_RING_SPACING: Duration = Duration::from_millis(20);
/// How much later than the first ring the second starts, and the least time between two waves on it. What it is for has
/// come by the first ring already, unless that was lost; so it may wait for more to share datagrams with.
pub(super) const SECOND_RING: Duration = Duration::from_millis(5);
pub(super) const SECOND_RING_SPACING: Duration = Duration::from_millis(60);
/// How many pieces of news about members travel in waves in a second, in the whole cluster's datagrams: so many shared
/// by all members, each of which passes on every piece. Beyond that, as when hundreds join at once, they go with the
/// turns of gossip, where dozens share a datagram, and neighbours check what is missing.
const MEMBERSHIP_WAVES: usize = 5000;
/// And this many in any cluster, so that what happens to a few members travels at once in the largest.
const LEAST_MEMBERSHIP_WAVES: usize = 10;
/// How long after news a member informs its neighbours, in milliseconds.
const PATIENCE_MS: std::ops::Range<u64> = 10..20;
/// The least time between two such messages.
const SPACING: Duration = Duration::from_millis(150);
/// The same while much is said of members.
pub(super) const BUSY_SPACING: Duration = Duration::from_secs(1);
/// How many bytes are sent in a second to members that ask for something.
const MAX_BYTES: usize = 512 * 1024;
/// How much later everything is sent once more, in milliseconds.
const AGAIN_MS: std::ops::Range<u64> = 200..400;
/// The most news that waits to be sent again.
const MAX_WAITING: usize = 8192;

/// How much is said of members.
#[derive(Debug, Default)]
pub(super) struct Bustle {
    since: Moment,
    this_second: usize,
    last_second: usize,
}

impl Bustle {
    /// A piece of news about a member.
    pub(super) fn note(&mut self, now: Moment) {
        self.turn_over(now);
        self.this_second += 1;
    }

    /// Whether there is too much of it for waves, among so many members.
    pub(super) fn is_great(&mut self, members: usize, now: Moment) -> bool {
        self.turn_over(now);
        let most = (MEMBERSHIP_WAVES / members.max(1)).max(LEAST_MEMBERSHIP_WAVES);
        self.this_second.max(self.last_second) > most
    }

    fn turn_over(&mut self, now: Moment) {
        let age = now.since(self.since);
        if age >= Duration::from_secs(1) {
            self.last_second = if age < Duration::from_secs(2) { self.this_second } else { 0 };
            (self.since, self.this_second) = (now, 0);
        }
    }
}

/// News for the next wave of this process on one ring.
#[derive(Debug, Default)]
pub(super) struct Starts {
    news: Vec<NewsId>,
    at: Option<Moment>,
    last: Moment,
}

impl Starts {
    /// Adds news to the next wave, which starts at `earliest`, and not before `spacing` since the last.
    pub(super) fn add(&mut self, id: NewsId, earliest: Moment, spacing: Duration) {
        self.news.push(id);
        self.at.get_or_insert(earliest.max(self.last + spacing));
    }

    pub(super) fn next_deadline(&self) -> Moment {
        self.at.unwrap_or(Moment::NEVER)
    }

    /// The news of the wave that is to start now, if one is.
    pub(super) fn take(&mut self, now: Moment) -> Option<Vec<NewsId>> {
        self.at.take_if(|at| *at <= now)?;
        self.last = now;
        Some(std::mem::take(&mut self.news))
    }
}

/// What neighbours are still to be informed of.
#[derive(Debug, Default)]
pub(super) struct Checks {
    pub(super) unchecked: Vec<NewsId>,
    pub(super) check_at: Option<Moment>,
    pub(super) last: Moment,
    /// When to look at a side again, about what, and which side.
    pub(super) retries: BTreeSet<(Moment, NewsId, usize)>,
    pub(super) asked: BTreeMap<NewsId, Moment>,
    /// What was sent to members that asked, since when.
    pub(super) served: (Moment, usize),
    /// When it was looked into what another has heard and this process has not, or the other way round.
    pub(super) compared: Option<Moment>,
}

impl Checks {
    /// Something is to be checked; with the rest, if it `can_wait`.
    pub(super) fn learned(&mut self, id: NewsId, how: How, can_wait: bool, now: Moment, rng: &mut Rng) {
        self.unchecked.push(id);
        let soon = now + Duration::from_millis(rng.u64(PATIENCE_MS));
        let at = match how {
            _ if can_wait => soon.max(self.last + BUSY_SPACING),
            How::Check => now,
            How::Local | How::Wave | How::Gossip => soon.max(self.last + SPACING),
        };
        self.check_at = Some(self.check_at.map_or(at, |planned| planned.min(at)));
    }

    pub(super) fn next_deadline(&self) -> Moment {
        let retry = self.retries.first().map_or(Moment::NEVER, |(at, ..)| *at);
        self.check_at.unwrap_or(Moment::NEVER).min(retry)
    }

    /// Whether so much more may be sent to members that ask for something.
    pub(super) fn may_serve(&mut self, bytes: usize, now: Moment) -> bool {
        if now.since(self.served.0) >= Duration::from_secs(1) {
            self.served = (now, 0);
        }
        self.served.1 += bytes;
        self.served.1 <= MAX_BYTES
    }
}

/// How a newcomer asks for news.
#[derive(Debug, Default)]
pub(super) struct Asking {
    /// How many took part when an exchange was last taken in.
    pub(super) known: usize,
    /// How many ids it asks for next time.
    pub(super) most: usize,
    pub(super) next: Option<Moment>,
    pub(super) until: Moment,
}

impl Asking {
    pub(super) fn next_deadline(&self) -> Moment {
        self.next.unwrap_or(Moment::NEVER)
    }
}

/// What those that this process looks after have still to be sent.
#[derive(Debug, Default)]
pub(super) struct Charges {
    pub(super) now: Vec<NewsId>,
    pub(super) again: VecDeque<(Moment, NewsId)>,
    /// When something is due; what is due earlier than the front of `again` waits for it.
    pub(super) due: Option<Moment>,
}

impl Charges {
    pub(super) fn learned(&mut self, id: NewsId, now: Moment, rng: &mut Rng) {
        self.now.push(id);
        self.due = Some(now);
        if self.again.len() < MAX_WAITING {
            self.again.push_back((now + Duration::from_millis(rng.u64(AGAIN_MS)), id));
        }
    }

    pub(super) fn next_deadline(&self) -> Moment {
        let again = self.again.front().map_or(Moment::NEVER, |(at, _)| *at);
        self.due.unwrap_or(Moment::NEVER).min(again)
    }

    /// What is to be sent now, for the first time and again.
    pub(super) fn take(&mut self, now: Moment) -> (Vec<NewsId>, Vec<NewsId>) {
        self.due = None;
        let mut again = Vec::new();
        while self.again.front().is_some_and(|(at, _)| *at <= now)
            && let Some((_, id)) = self.again.pop_front()
        {
            again.push(id);
        }
        (std::mem::take(&mut self.now), again)
    }

    /// Whether something is still to be sent again.
    pub(super) fn waits_for(&self, id: NewsId) -> bool {
        self.again.iter().any(|(_, waiting)| *waiting == id)
    }
}
