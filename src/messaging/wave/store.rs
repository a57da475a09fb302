//! The news that is known: whole for as long as somebody may want it, and the ids for longer, so that
//! nothing is taken for news twice.

use super::turn::{How, WAVES};
use crate::messaging::user_events::EVENT_SIZE_CEILING;
use crate::messaging::{Ticket, user_events};
use crate::model::{LamportTime, Moment, NodeName};
use crate::wire::message::{Message, NewsDigest, NewsId, SerfMessage};
use crate::wire::{Dialect, Shared};
use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::time::Duration;

/// How long news is kept whole.
const KEPT: Duration = Duration::from_secs(60);
/// How long news about members is of use to those that missed it. Later it may be stale, and the tables
/// are compared by the digests in acks.
const MEMBERSHIP_KEPT: Duration = Duration::from_secs(5);
/// The most news that is kept whole, and the most bytes of it.
const MAX_ITEMS: usize = 8192;
const MAX_BYTES: usize = 4 << 20;
/// Among how many times as many the latest that are of use are looked for.
const LOOKED_AT: usize = 4;
/// What an item takes besides its bytes.
const ITEM_OVERHEAD: usize = 256;
/// For how many Lamport times the ids of events and of queries are remembered.
const SEEN_TIMES: usize = user_events::MAX_TIMES;
/// The most ids of one Lamport time.
const MAX_PER_TIME: usize = 1024;
/// Over how many Lamport times a digest goes.
const DIGEST_TIMES: u64 = 256;

/// The members that are known to have an item, at most; only near neighbours are asked for.
const MAX_CONFIRMERS: usize = 8;

/// The kinds of news whose ids are remembered by Lamport time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Timed {
    Events,
    Queries,
}

/// Where a check with the neighbour on one side stands.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Check {
    /// How often that side was informed.
    pub(super) attempts: u8,
    /// Whether it has the news, or others there have, or all was tried.
    pub(super) done: bool,
    /// When it is to be looked at again.
    pub(super) again: Option<Moment>,
}

/// A piece of news.
#[derive(Debug)]
pub(super) struct NewsItem {
    pub(super) news: Shared,
    pub(super) learned: Moment,
    pub(super) how: How,
    /// Whether the rules have taken it for news. Only then it is forwarded.
    pub(super) accepted: bool,
    /// The parts of rings for which it is to be forwarded once it is accepted.
    pub(super) parts: Vec<(usize, u64)>,
    /// The rings on which it has been forwarded.
    pub(super) forwarded: [bool; WAVES],
    pub(super) ticket: Option<Ticket>,
    /// With the neighbours in front of and behind this process.
    pub(super) checks: [Check; 2],
    pub(super) confirmers: Vec<NodeName>,
    /// How often it was sent to a member that asked for it.
    pub(super) served: u8,
}

impl NewsItem {
    pub(super) fn new(news: Shared, how: How, now: Moment) -> NewsItem {
        NewsItem {
            news,
            learned: now,
            how,
            accepted: false,
            parts: Vec::new(),
            forwarded: [false; WAVES],
            ticket: None,
            checks: [Check::default(); 2],
            confirmers: Vec::new(),
            served: 0,
        }
    }

    /// Whether a member that lacks it is to be sent it.
    pub(super) fn is_of_use(&self, now: Moment) -> bool {
        let kept = match self.news.message() {
            Message::Membership(_) => MEMBERSHIP_KEPT,
            Message::Serf(_) | Message::Probe(_) | Message::Wave(_) => KEPT,
        };
        self.accepted && now.since(self.learned) < kept
    }

    pub(super) fn is_membership(&self) -> bool {
        matches!(self.news.message(), Message::Membership(_))
    }

    pub(super) fn confirm(&mut self, name: &NodeName) {
        if self.confirmers.len() < MAX_CONFIRMERS && !self.confirmers.contains(name) {
            self.confirmers.push(name.clone());
        }
    }

    pub(super) fn is_confirmed_by(&self, name: &NodeName) -> bool {
        self.confirmers.contains(name)
    }
}

/// Ids by Lamport time.
#[derive(Debug, Default)]
struct Seen {
    times: BTreeMap<LamportTime, Vec<NewsId>>,
    ids: HashSet<NewsId>,
    /// Earlier times are not known any more, or never were.
    floor: LamportTime,
    /// The latest time of what has been known for a while.
    settled: LamportTime,
}

/// All that is known.
#[derive(Debug, Default)]
pub(super) struct Store {
    /// Looked into several times for each datagram, and never walked through.
    items: HashMap<NewsId, NewsItem>,
    order: VecDeque<(Moment, NewsId)>,
    bytes: usize,
    /// The latest news about each member: how it is, and what it means to do.
    subjects: [BTreeMap<NodeName, NewsId>; 2],
    seen: [Seen; 2],
    /// What has not been known for a second.
    settling: VecDeque<(Moment, Timed, LamportTime)>,
}

/// The id of news: the same for everyone who has it, whichever dialect it came in. FNV-1a with a finish.
pub(super) fn id_of(news: &Shared) -> NewsId {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in news.bytes(Dialect::Native) {
        hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
    }
    hash = (hash ^ (hash >> 32)).wrapping_mul(0xd6e8_feb8_6659_fd93);
    hash ^ (hash >> 32)
}

/// The Lamport time of an event or a query.
pub(super) fn timed(message: &Message) -> Option<(Timed, LamportTime)> {
    match message {
        Message::Serf(SerfMessage::UserEvent(event)) => Some((Timed::Events, event.ltime)),
        Message::Serf(SerfMessage::Query(query)) => Some((Timed::Queries, query.ltime)),
        Message::Serf(SerfMessage::QueryResponse(_) | SerfMessage::Relay(_))
        | Message::Membership(_)
        | Message::Probe(_)
        | Message::Wave(_) => None,
    }
}

impl Store {
    pub(super) fn get(&self, id: NewsId) -> Option<&NewsItem> {
        self.items.get(&id)
    }

    pub(super) fn get_mut(&mut self, id: NewsId) -> Option<&mut NewsItem> {
        self.items.get_mut(&id)
    }

    pub(super) fn len(&self) -> usize {
        self.items.len()
    }

    /// Whether something with this id is known, kept or not.
    pub(super) fn knows(&self, id: NewsId, message: &Message) -> bool {
        self.items.contains_key(&id)
            || timed(message).is_some_and(|(kind, _)| self.seen[kind as usize].ids.contains(&id))
    }

    /// Whether an event or a query with this id was heard, kept or not.
    pub(super) fn has_seen(&self, id: NewsId) -> bool {
        self.seen.iter().any(|seen| seen.ids.contains(&id))
    }

    /// Whether an event or a query may be passed on before the rules have looked at it: what they would
    /// refuse for its size or its time, and what is too old for it to be known whether it was said before, may not.
    pub(super) fn is_plausible(message: &Message, clocks: [LamportTime; 2], ceiling: LamportTime) -> bool {
        let Some((kind, ltime)) = timed(message) else { return false };
        let clock = clocks[kind as usize];
        let fits = match message {
            Message::Serf(SerfMessage::UserEvent(event)) => {
                event.name.len() + event.payload.len() <= EVENT_SIZE_CEILING
            }
            _ => true,
        };
        fits && ltime <= ceiling && ltime.0.saturating_add(SEEN_TIMES as u64) > clock.0
    }

    /// Keeps an item. Of what is too much, the oldest goes.
    pub(super) fn insert(&mut self, id: NewsId, item: NewsItem) {
        self.bytes += item.news.bytes(Dialect::Native).len() + ITEM_OVERHEAD;
        self.order.push_back((item.learned, id));
        self.items.insert(id, item);
        while self.items.len() > MAX_ITEMS || self.bytes > MAX_BYTES {
            if !self.drop_oldest() {
                break;
            }
        }
    }

    /// Remembers the id of an event or a query, beyond the time for which it is kept.
    pub(super) fn remember(&mut self, id: NewsId, message: &Message, now: Moment) {
        let Some((kind, ltime)) = timed(message) else { return };
        let seen = &mut self.seen[kind as usize];
        let ids = seen.times.entry(ltime).or_default();
        if ids.len() < MAX_PER_TIME {
            ids.push(id);
            seen.ids.insert(id);
        }
        while seen.times.len() > SEEN_TIMES
            && let Some((oldest, ids)) = seen.times.pop_first()
        {
            for id in ids {
                seen.ids.remove(&id);
            }
            seen.floor = seen.floor.max(oldest.next());
        }
        self.settling.push_back((now, kind, ltime));
    }

    /// What is older than what is heard now counts as never heard: this process has only just come.
    pub(super) fn begin(&mut self, clocks: [LamportTime; 2]) {
        for (seen, clock) in self.seen.iter_mut().zip(clocks) {
            seen.floor = seen.floor.max(clock);
        }
    }

    /// Forgets what was kept long enough.
    pub(super) fn expire(&mut self, now: Moment) {
        while self.order.front().is_some_and(|(learned, _)| now.since(*learned) >= KEPT) {
            self.drop_oldest();
        }
        while let Some((at, kind, ltime)) = self.settling.front().copied()
            && now.since(at) >= Duration::from_secs(1)
        {
            self.settling.pop_front();
            let settled = &mut self.seen[kind as usize].settled;
            *settled = (*settled).max(ltime);
        }
    }

    fn drop_oldest(&mut self) -> bool {
        let Some((_, id)) = self.order.pop_front() else { return false };
        self.remove(id);
        true
    }

    /// Forgets an item; answers what waited for its end.
    fn remove(&mut self, id: NewsId) -> Option<Ticket> {
        let item = self.items.remove(&id)?;
        self.bytes -= item.news.bytes(Dialect::Native).len() + ITEM_OVERHEAD;
        if let Message::Membership(message) = item.news.message() {
            let subjects = &mut self.subjects[usize::from(message.is_intent())];
            if subjects.get(message.subject()) == Some(&id) {
                subjects.remove(message.subject());
            }
        }
        item.ticket
    }

    /// An item has been accepted: older news about the same is of no use any more. Answers what waited
    /// for its end.
    pub(super) fn supersede(&mut self, id: NewsId) -> Option<Ticket> {
        let news = self.items.get(&id)?.news.clone();
        let Message::Membership(message) = news.message() else { return None };
        let subjects = &mut self.subjects[usize::from(message.is_intent())];
        let older = subjects.insert(message.subject().clone(), id).filter(|older| *older != id)?;
        self.remove(older)
    }

    /// The ids of the latest `most` that are of use, the latest first. What is older than a few times as many is not
    /// looked at: much of it is of no use any more, and each member that asks would make for a walk over all.
    pub(super) fn latest(&self, most: usize, now: Moment) -> impl Iterator<Item = NewsId> {
        let of_use = move |id: &NewsId| self.items.get(id).is_some_and(|item| item.is_of_use(now));
        self.order.iter().rev().take(LOOKED_AT * most).map(|(_, id)| *id).filter(of_use).take(most)
    }

    /// The digest of what has been known for a while.
    pub(super) fn digest(&self, kind: Timed) -> Option<NewsDigest> {
        let seen = &self.seen[kind as usize];
        let to = seen.settled;
        let from = LamportTime(to.0.saturating_sub(DIGEST_TIMES)).max(seen.floor);
        (to > LamportTime::ZERO && from <= to).then(|| NewsDigest { from, to, ids: seen.sum(from, to) })
    }

    /// Whether this process has something else in the range of another's digest. `None` if it does not
    /// know all of that range.
    pub(super) fn differs(&self, kind: Timed, theirs: &NewsDigest) -> Option<bool> {
        let seen = &self.seen[kind as usize];
        let known = theirs.from >= seen.floor && theirs.from <= theirs.to;
        known.then(|| seen.sum(theirs.from, theirs.to) != theirs.ids)
    }
}

impl Seen {
    fn sum(&self, from: LamportTime, to: LamportTime) -> NewsId {
        self.times.range(from..=to).flat_map(|(_, ids)| ids).fold(0, |sum, id| sum ^ id)
    }
}
