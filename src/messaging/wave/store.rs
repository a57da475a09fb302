//! The news that is known: whole for as long as somebody may want it, and the ids for longer, so that
//! nothing is taken for news twice.

use super::turn::{How, WAVES};
use crate::membership::{CHECK_RING, position};
use crate::messaging::user_events::EVENT_SIZE_CEILING;
use crate::messaging::{Ticket, user_events};
use crate::model::{Footprint, LamportTime, Moment, NodeName};
use crate::wire::message::{Message, NewsDigest, NewsId, SerfMessage};
use crate::wire::{Dialect, Shared};
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::time::Duration;

/// How long news is kept whole.
const KEPT: Duration = Duration::from_secs(60);
/// How long news about members is of use to those that missed it. Later it may be stale, and the tables
/// are compared by the digests in acks.
const MEMBERSHIP_KEPT: Duration = Duration::from_secs(5);
/// The most news that is kept whole.
const MAX_ITEMS: usize = 8192;
/// The most memory that it takes, in bytes.
pub const MAX_BYTES: usize = 3 << 20;
/// Among how many times as many the latest that are of use are looked for.
const LOOKED_AT: usize = 4;
/// So much is forgotten in time although nothing happens, and so much later, so that it is all forgotten at once.
const MANY: usize = 256;
const SLACK: Duration = Duration::from_secs(2);
/// What an item takes in the tables here, besides the message.
const ITEM_OVERHEAD: usize = size_of::<NewsItem>() + 128;
/// For how many Lamport times the ids of events and of queries are remembered.
const SEEN_TIMES: usize = user_events::MAX_TIMES;
/// The most ids of one Lamport time.
const MAX_PER_TIME: usize = 1024;
/// The most memory that the ids of one kind take, in bytes: one of each Lamport time, and some more.
pub const MAX_SEEN_BYTES: usize = 2 << 20;
/// What a Lamport time takes, and an id, in bytes.
const TIME_BYTES: usize = 88;
const ID_BYTES: usize = 28;
/// How exactly it is known since when news is known: of what came within this time, one note is kept.
const SETTLING_STEP: Duration = Duration::from_millis(50);
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

/// A member that has an item, by its place on a ring: it is looked for with every copy of every item, and names lie
/// elsewhere in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Confirmer(u64);

impl Confirmer {
    pub(super) fn new(name: &NodeName) -> Confirmer {
        Confirmer(position(name, CHECK_RING))
    }
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
    confirmers: Vec<Confirmer>,
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

    /// While much is said of members, the digests of tables are left to repair what is missed all the same.
    pub(super) fn is_left_to_digests(&self) -> bool {
        self.is_membership() && self.ticket.is_none()
    }

    pub(super) fn confirm(&mut self, who: Confirmer) {
        if self.confirmers.len() < MAX_CONFIRMERS && !self.confirmers.contains(&who) {
            self.confirmers.push(who);
        }
    }

    pub(super) fn is_confirmed_by(&self, who: Confirmer) -> bool {
        self.confirmers.contains(&who)
    }
}

/// Ids by Lamport time.
#[derive(Debug, Default)]
struct Seen {
    times: BTreeMap<LamportTime, Vec<NewsId>>,
    /// A hash table doubles at the wrong moment, to twice what the ids themselves take.
    ids: BTreeSet<NewsId>,
    /// How much memory they take, about.
    bytes: usize,
    /// Earlier times are not known any more, or never were.
    floor: LamportTime,
    /// The latest time of what has been known for a while.
    settled: LamportTime,
}

/// All that is known.
#[derive(Debug, Default)]
pub(super) struct Store {
    /// Looked into several times for each datagram, and never walked through. Boxed, or the table itself would take
    /// megabytes in one piece.
    items: HashMap<NewsId, Box<NewsItem>>,
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
        self.items.get(&id).map(Box::as_ref)
    }

    pub(super) fn get_mut(&mut self, id: NewsId) -> Option<&mut NewsItem> {
        self.items.get_mut(&id).map(Box::as_mut)
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
        self.bytes += cost(&item);
        self.order.push_back((item.learned, id));
        self.items.insert(id, Box::new(item));
        while self.items.len() > MAX_ITEMS || self.bytes > MAX_BYTES {
            if !self.drop_oldest() {
                break;
            }
        }
    }

    /// Remembers the id of an event or a query, beyond the time for which it is kept.
    pub(super) fn remember(&mut self, id: NewsId, message: &Message, now: Moment) {
        let Some((kind, ltime)) = timed(message) else { return };
        self.seen[kind as usize].remember(id, ltime);
        let last = self.settling.iter_mut().rev().take(2).find(|(_, of, _)| *of == kind);
        match last {
            // As if it had come later than it has, which is no harm: its end is put off, at most by a step.
            Some((at, _, latest)) if now < *at => *latest = (*latest).max(ltime),
            _ => self.settling.push_back((now + SETTLING_STEP, kind, ltime)),
        }
    }

    /// What is older than what is heard now counts as never heard: this process has only just come.
    pub(super) fn begin(&mut self, clocks: [LamportTime; 2]) {
        for (seen, clock) in self.seen.iter_mut().zip(clocks) {
            seen.floor = seen.floor.max(clock);
        }
    }

    /// When [`Store::expire`] is to be called although nothing else happens: much is kept, and of no use any more.
    pub(super) fn next_deadline(&self) -> Moment {
        match self.order.front() {
            Some((learned, _)) if self.items.len() >= MANY => *learned + KEPT + SLACK,
            _ => Moment::NEVER,
        }
    }

    /// Forgets what was kept long enough.
    pub(super) fn expire(&mut self, now: Moment) {
        while self.order.front().is_some_and(|(learned, _)| now.since(*learned) >= KEPT) {
            self.drop_oldest();
        }
        while let Some((at, kind, ltime)) = self.settling.front().copied()
            && now.since(at) >= Duration::from_secs(1) - SETTLING_STEP
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
        self.bytes -= cost(&item);
        // What a burst took is given back.
        let few = self.items.len().max(MANY);
        if self.items.capacity() > 8 * few {
            self.items.shrink_to(2 * few);
        }
        if self.order.capacity() > 8 * few.max(self.order.len()) {
            self.order.shrink_to(2 * few);
        }
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
    /// looked at: much of it is of no use any more, and each member that asks would make for a walk over all. What is
    /// said of members is left out if it is older than `oldest`.
    pub(super) fn latest(&self, most: usize, oldest: Duration, now: Moment) -> impl Iterator<Item = NewsId> {
        let is_offered = move |item: &NewsItem| {
            item.is_of_use(now) && (now.since(item.learned) <= oldest || !item.is_membership())
        };
        let of_use = move |id: &NewsId| self.items.get(id).is_some_and(|item| is_offered(item));
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

/// What an item takes in memory.
fn cost(item: &NewsItem) -> usize {
    ITEM_OVERHEAD + item.news.footprint()
}

impl Seen {
    /// Remembers an id. Of what is too much, the earliest times go.
    fn remember(&mut self, id: NewsId, ltime: LamportTime) {
        let bytes = &mut self.bytes;
        let ids = self.times.entry(ltime).or_insert_with(|| {
            *bytes += TIME_BYTES;
            // Mostly there is one.
            Vec::with_capacity(1)
        });
        if ids.len() < MAX_PER_TIME {
            *bytes += ID_BYTES;
            ids.push(id);
            self.ids.insert(id);
        }
        while (self.times.len() > SEEN_TIMES || self.bytes > MAX_SEEN_BYTES)
            && let Some((oldest, ids)) = self.times.pop_first()
        {
            self.bytes -= TIME_BYTES + ID_BYTES * ids.len();
            for id in ids {
                self.ids.remove(&id);
            }
            self.floor = self.floor.max(oldest.next());
        }
    }

    fn sum(&self, from: LamportTime, to: LamportTime) -> NewsId {
        self.times.range(from..=to).flat_map(|(_, ids)| ids).fold(0, |sum, id| sum ^ id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::UserEvent;
    use crate::wire::message::JoinIntent;

    fn event(ltime: u64, payload: u32) -> Message {
        let payload = payload.to_le_bytes().into();
        UserEvent { ltime: LamportTime(ltime), name: "e".into(), payload, coalesce: false }.into()
    }

    #[test]
    fn ids_of_many_times_and_of_few_stay_within_their_bytes() {
        for per_time in [1, 1_000] {
            let mut store = Store::default();
            for i in 0..300_000 {
                let message = event(i / per_time, 0);
                store.remember(i, &message, Moment::ZERO);
            }
            let seen = &store.seen[Timed::Events as usize];
            assert!(seen.bytes <= MAX_SEEN_BYTES);
            let ids: usize = seen.times.values().map(Vec::len).sum();
            assert_eq!((ids, seen.bytes), (seen.ids.len(), TIME_BYTES * seen.times.len() + ID_BYTES * ids));
            assert!(ids > if per_time == 1 { 16_000 } else { 50_000 }, "{ids}");
            assert!(store.settling.len() <= 2, "{}", store.settling.len());
        }
    }

    #[test]
    fn tiny_news_is_bounded_by_what_it_takes_in_memory() {
        let mut store = Store::default();
        for i in 0..20_000 {
            let news = Shared::new(event(1, i));
            store.insert(id_of(&news), NewsItem::new(news, How::Gossip, Moment::ZERO));
        }
        assert!(store.bytes <= MAX_BYTES && store.len() > 3_000, "{} items", store.len());
        assert_eq!(store.next_deadline(), Moment::ZERO + KEPT + SLACK);
        store.expire(Moment::ZERO + KEPT);
        assert_eq!(store.next_deadline(), Moment::NEVER);
        assert_eq!((store.len(), store.bytes), (0, 0));
        assert!(store.items.capacity() < 16 * MANY, "{}", store.items.capacity());
        assert!(store.order.capacity() < 16 * MANY, "{}", store.order.capacity());
    }

    #[test]
    fn what_is_offered_leaves_out_old_news_of_members_where_that_is_asked() {
        let at = |s| Moment::from_start(Duration::from_secs(s));
        let intent = |name: &str| -> Message {
            let node = NodeName::new(name).unwrap();
            JoinIntent { ltime: LamportTime(1), node }.into()
        };
        let mut store = Store::default();
        for (id, message, second) in [(1, event(1, 0), 0), (2, intent("a"), 0), (3, intent("b"), 2)] {
            let item =
                NewsItem { accepted: true, ..NewsItem::new(Shared::new(message), How::Wave, at(second)) };
            store.insert(id, item);
        }
        let offered = |most, oldest| store.latest(most, oldest, at(3)).collect::<Vec<_>>();
        assert_eq!(offered(9, Duration::MAX), [3, 2, 1]);
        assert_eq!(offered(9, Duration::from_secs(1)), [3, 1]);
        assert_eq!(offered(1, Duration::from_secs(1)), [3]);
    }

    #[test]
    fn what_is_known_for_a_while_shows_in_the_digest() {
        let at = |ms| Moment::from_start(Duration::from_millis(ms));
        let mut store = Store::default();
        for (ltime, ms) in [(5, 0), (6, 10), (7, 500)] {
            store.remember(ltime, &event(ltime, 0), at(ms));
        }
        for (ms, settled) in [(900, None), (1_000, Some(6)), (1_499, Some(6)), (1_500, Some(7))] {
            store.expire(at(ms));
            assert_eq!(store.digest(Timed::Events).map(|digest| digest.to.0), settled, "{ms} ms");
        }
    }
}
