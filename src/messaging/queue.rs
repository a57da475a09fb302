//! The broadcast queue: what is still to be said, and how often each of it has been.
//!
//! Newer news about a member replaces older before it costs bandwidth, the least-said goes
//! first, and every kind of news has its share of each datagram, so that a storm of one kind
//! never starves another. All operations are logarithmic in the queue's length.

use crate::model::{Footprint, NodeName};
use crate::telemetry::counters;
use crate::wire::datagram::{PART_OVERHEAD, Packer};
use crate::wire::message::{Message, SerfMessage};
use crate::wire::{Dialect, Shared};
use std::cmp::Reverse;
use std::collections::BTreeMap;

/// The least bound of each kind's queue (Serf's `MaxQueueDepth`); it grows with the cluster.
pub(crate) const MIN_DEPTH: usize = 4096;

/// The most memory that all broadcasts take, in bytes. Most of them are shared with what travels in waves.
pub(crate) const MAX_BYTES: usize = 3 << 20;
/// What a broadcast takes in the queue, besides the message.
const ENTRY_BYTES: usize = 160;

/// How many kinds there are.
const KINDS: usize = 4;

/// What kind of news a broadcast is. Each kind has a lane of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Alive, suspect, dead.
    Membership,
    /// Join and leave intents.
    Intent,
    /// Queries.
    Query,
    /// User events.
    Event,
}

/// Names a broadcast whose end someone waits for. Given by the caller that queues it.
pub type Ticket = u64;

/// What a broadcast is about. A newer one about the same replaces the older.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Subject(NodeName);

/// The order of sending: what was sent least comes first, and of that the newest.
type Rank = (u32, Reverse<u64>);

#[derive(Debug)]
struct Broadcast {
    message: Shared,
    topic: Option<Subject>,
    ticket: Option<Ticket>,
}

#[derive(Debug, Default)]
struct BroadcastLane {
    entries: BTreeMap<Rank, Broadcast>,
    topics: BTreeMap<Subject, Rank>,
    bytes: usize,
}

/// All that is still to be said.
#[derive(Debug, Default)]
pub struct BroadcastQueue {
    lanes: [BroadcastLane; KINDS],
    next_id: u64,
    /// Tickets of broadcasts that are over: sent often enough, replaced or dropped.
    finished: Vec<Ticket>,
}

fn classify(message: &Message) -> (Kind, Option<Subject>) {
    match message {
        Message::Membership(m) => {
            let kind = if m.is_intent() { Kind::Intent } else { Kind::Membership };
            (kind, Some(Subject(m.subject().clone())))
        }
        Message::Serf(SerfMessage::Query(_)) => (Kind::Query, None),
        Message::Serf(SerfMessage::UserEvent(_)) => (Kind::Event, None),
        // These go to one receiver and are never broadcast; were one queued, it would spread like
        // any other news.
        Message::Serf(SerfMessage::QueryResponse(_) | SerfMessage::Relay(_))
        | Message::Probe(_)
        | Message::Wave(_) => (Kind::Membership, None),
    }
}

impl BroadcastQueue {
    /// Queues a message. `members` is the size of the cluster, which bounds the queue: beyond
    /// max(4096, 2 × members) of one kind, what has been sent most is dropped.
    pub fn push(&mut self, message: Shared, ticket: Option<Ticket>, members: usize) {
        let (kind, topic) = classify(message.message());
        let lane = &mut self.lanes[kind as usize];
        self.next_id += 1;
        let rank = (0, Reverse(self.next_id));
        if let Some(topic) = &topic
            && let Some(old) = lane.topics.insert(topic.clone(), rank)
            && let Some(old) = lane.entries.remove(&old)
        {
            lane.bytes -= cost(&old.message);
            counters::BROADCASTS_SUPERSEDED.inc();
            self.finished.extend(old.ticket);
        }
        lane.bytes += cost(&message);
        lane.entries.insert(rank, Broadcast { message, topic, ticket });
        counters::BROADCASTS_QUEUED.inc();
        while lane.entries.len() > MIN_DEPTH.max(2 * members) {
            self.finished.extend(lane.drop_last());
        }
        // Of what is too large together, the kind goes that takes most.
        while self.lanes.iter().map(|lane| lane.bytes).sum::<usize>() > MAX_BYTES
            && let Some(largest) = self.lanes.iter_mut().max_by_key(|lane| lane.bytes)
        {
            self.finished.extend(largest.drop_last());
        }
    }

    /// A broadcast is over before it was queued.
    pub fn give_up(&mut self, ticket: Option<Ticket>) {
        counters::BROADCASTS_DROPPED.inc();
        self.finished.extend(ticket);
    }

    /// How many broadcasts of one kind are queued.
    pub fn len(&self, kind: Kind) -> usize {
        self.lanes[kind as usize].entries.len()
    }

    /// Whether nothing is left to say.
    pub fn is_empty(&self) -> bool {
        self.lanes.iter().all(|lane| lane.entries.is_empty())
    }

    /// Whether anything has been sent fewer than `times` times.
    pub fn has_fresh(&self, times: u32) -> bool {
        self.lanes.iter().any(|lane| lane.entries.first_key_value().is_some_and(|(r, _)| r.0 < times))
    }

    /// Adds broadcasts to a datagram as far as they fit; see [`BroadcastQueue::select`].
    pub fn fill(&mut self, packer: &mut Packer, dialect: Dialect, sent_below: u32, limit: u32) {
        let parts = packer.parts_left();
        for message in self.select(packer.room(), parts, dialect, sent_below, limit) {
            let fits = packer.push(message.bytes(dialect));
            debug_assert!(fits, "selected by the same arithmetic");
        }
    }

    /// Chooses up to `parts` broadcasts for one datagram whose first message may have `room`
    /// bytes, and counts them as sent once more. Only those sent fewer than `sent_below` times
    /// are considered; at `limit` times one is over.
    pub fn select(
        &mut self,
        room: usize,
        parts: usize,
        dialect: Dialect,
        sent_below: u32,
        limit: u32,
    ) -> Vec<Shared> {
        let waiting = self.lanes.iter().filter(|lane| !lane.entries.is_empty()).count();
        if waiting == 0 {
            return Vec::new();
        }
        // `room` leaves out the overhead of the first part.
        let mut left = Room { bytes: room + PART_OVERHEAD, parts };
        // Each kind first gets an equal share of the room; what one leaves goes to all.
        let share = left.bytes / waiting;
        let mut chosen: [Vec<Rank>; KINDS] = Default::default();
        let mut messages = Vec::new();
        for share in [share, usize::MAX] {
            for (lane, chosen) in self.lanes.iter().zip(&mut chosen) {
                lane.choose(&mut left, dialect, sent_below, share, chosen, &mut messages);
            }
        }
        for (lane, chosen) in self.lanes.iter_mut().zip(chosen) {
            for rank in chosen {
                self.finished.extend(lane.count(rank, limit));
            }
        }
        messages
    }

    /// Drops everything.
    pub fn clear(&mut self) {
        for lane in std::mem::take(&mut self.lanes) {
            self.finished.extend(lane.entries.into_values().filter_map(|b| b.ticket));
        }
    }

    /// Tickets of broadcasts that ended since the last call.
    pub fn take_finished(&mut self) -> Vec<Ticket> {
        std::mem::take(&mut self.finished)
    }

    /// Panics if the indexes do not agree with the entries. For tests and the simulator.
    pub fn check_invariants(&self, members: usize) {
        for lane in &self.lanes {
            assert!(lane.entries.len() <= MIN_DEPTH.max(2 * members), "queue beyond its bound");
            let with_topic = lane.entries.values().filter(|b| b.topic.is_some()).count();
            assert_eq!(with_topic, lane.topics.len(), "topics do not match the entries");
            let bytes: usize = lane.entries.values().map(|b| cost(&b.message)).sum();
            assert_eq!(bytes, lane.bytes, "bytes do not match the entries");
        }
    }
}

/// What is left of a datagram.
struct Room {
    bytes: usize,
    parts: usize,
}

/// What a broadcast takes in memory.
fn cost(message: &Shared) -> usize {
    ENTRY_BYTES + message.footprint()
}

impl BroadcastLane {
    /// Drops what has been sent most. Answers what waited for its end.
    fn drop_last(&mut self) -> Option<Ticket> {
        let (_, dropped) = self.entries.pop_last()?;
        self.bytes -= cost(&dropped.message);
        counters::BROADCASTS_DROPPED.inc();
        if let Some(topic) = &dropped.topic {
            self.topics.remove(topic);
        }
        dropped.ticket
    }

    /// Chooses what fits into `share` bytes and is not in `chosen` yet.
    fn choose(
        &self,
        left: &mut Room,
        dialect: Dialect,
        sent_below: u32,
        mut share: usize,
        chosen: &mut Vec<Rank>,
        messages: &mut Vec<Shared>,
    ) {
        /// Broadcasts that did not fit before the search for smaller ones ends.
        const MISSES: usize = 8;
        let mut misses = 0;
        for (rank, broadcast) in &self.entries {
            if rank.0 >= sent_below || misses >= MISSES || left.parts == 0 {
                break;
            }
            if chosen.contains(rank) {
                continue;
            }
            let cost = broadcast.message.bytes(dialect).len() + PART_OVERHEAD;
            // The first of each kind may be larger than the share, or large news would wait for as
            // long as there is any of another kind.
            if (cost <= share || chosen.is_empty()) && cost <= left.bytes {
                share = share.saturating_sub(cost);
                left.bytes -= cost;
                left.parts -= 1;
                chosen.push(*rank);
                messages.push(broadcast.message.clone());
            } else {
                misses += 1;
            }
        }
    }

    /// Counts one broadcast as sent once more; returns its ticket if that was the last time.
    fn count(&mut self, rank: Rank, limit: u32) -> Option<Ticket> {
        let broadcast = self.entries.remove(&rank)?;
        let times = rank.0 + 1;
        if times >= limit {
            self.bytes -= cost(&broadcast.message);
            if let Some(topic) = &broadcast.topic {
                self.topics.remove(topic);
            }
            return broadcast.ticket;
        }
        let rank = (times, rank.1);
        if let Some(topic) = &broadcast.topic {
            self.topics.insert(topic.clone(), rank);
        }
        self.entries.insert(rank, broadcast);
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Incarnation, LamportTime};
    use crate::wire::message::{Dead, JoinIntent, Suspect};
    use crate::wire::{datagram, decode};

    fn name(s: impl AsRef<[u8]>) -> NodeName {
        NodeName::new(s).unwrap()
    }

    fn dead(node: &str, incarnation: u32) -> Message {
        let (node, from) = (name(node), name("x"));
        Message::from(Dead { incarnation: Incarnation(incarnation), node, from })
    }

    fn join(node: &str) -> Message {
        Message::from(JoinIntent { ltime: LamportTime(1), node: name(node) })
    }

    fn drain(queue: &mut BroadcastQueue, budget: usize, limit: u32) -> Vec<Message> {
        let mut packer = Packer::new(budget);
        queue.fill(&mut packer, Dialect::Native, u32::MAX, limit);
        if packer.is_empty() {
            return Vec::new();
        }
        let datagram = packer.finish();
        assert!(datagram.len() <= budget);
        datagram::open(&datagram).unwrap().into_iter().map(|m| decode(m).unwrap()).collect()
    }

    #[test]
    fn newer_news_about_a_member_replaces_older() {
        let mut q = BroadcastQueue::default();
        let suspect = Suspect { incarnation: Incarnation(1), node: name("a"), from: name("x") };
        q.push(Shared::new(Message::from(suspect)), Some(7), 5);
        q.push(Shared::new(dead("a", 1)), Some(8), 5);
        assert_eq!(q.len(Kind::Membership), 1);
        assert_eq!(q.take_finished(), [7], "the one that waited for the replaced one is notified");
        assert_eq!(drain(&mut q, 1400, 2), [dead("a", 1)]);
        assert!(q.take_finished().is_empty());
        assert_eq!(drain(&mut q, 1400, 2), [dead("a", 1)]);
        assert_eq!(q.take_finished(), [8]);
        assert!(q.is_empty());
        q.check_invariants(5);
    }

    #[test]
    fn the_least_said_goes_first_then_the_newest() {
        let mut q = BroadcastQueue::default();
        q.push(Shared::new(dead("old", 1)), None, 5);
        drain(&mut q, 1400, 9);
        q.push(Shared::new(dead("a", 1)), None, 5);
        q.push(Shared::new(dead("b", 1)), None, 5);
        assert_eq!(drain(&mut q, 1400, 9), [dead("b", 1), dead("a", 1), dead("old", 1)]);
        assert!(!q.has_fresh(1) && q.has_fresh(2));
    }

    #[test]
    fn no_kind_starves_another() {
        let mut q = BroadcastQueue::default();
        for i in 0..1000 {
            q.push(Shared::new(dead(&format!("member-{i}"), 1)), None, 1000);
        }
        q.push(Shared::new(join("a")), None, 1000);
        for _ in 0..3 {
            let said = drain(&mut q, 1400, 3);
            assert!(said.contains(&join("a")));
            assert!(said.len() > 50, "the share that intents leave is used: {}", said.len());
        }
        assert_eq!(q.len(Kind::Intent), 0);
    }

    #[test]
    fn the_queue_is_bounded_and_drops_what_was_said_most() {
        let mut q = BroadcastQueue::default();
        q.push(Shared::new(dead("said", 1)), Some(1), 5);
        drain(&mut q, 1400, 9);
        for i in 0..MIN_DEPTH {
            q.push(Shared::new(dead(&format!("m{i}"), 1)), None, 5);
        }
        assert_eq!(q.len(Kind::Membership), MIN_DEPTH);
        assert_eq!(q.take_finished(), [1]);
        q.check_invariants(5);
    }

    #[test]
    fn news_larger_than_its_share_is_said_while_another_kind_is_waiting() {
        let mut q = BroadcastQueue::default();
        for i in 0..100 {
            q.push(Shared::new(join(&format!("member-{i}"))), None, 100);
        }
        for i in 0..20 {
            q.push(Shared::new(dead(&format!("{}{i}", "x".repeat(200)), 1)), None, 100);
        }
        for _ in 0..20 {
            drain(&mut q, 300, 1);
        }
        assert_eq!(q.len(Kind::Membership), 0);
        assert!(q.len(Kind::Intent) < 100, "and the others still have their turn");
    }

    #[test]
    fn what_is_too_large_does_not_block_what_fits() {
        let mut q = BroadcastQueue::default();
        q.push(Shared::new(dead("small", 1)), None, 5);
        q.push(Shared::new(dead(&"x".repeat(200), 1)), None, 5);
        assert_eq!(drain(&mut q, 100, 9), [dead("small", 1)]);
    }
}
