//! How news travels among members that take part in waves.
//!
//! Everyone knows everyone, so news needs no luck. The origin cuts the ring of members behind itself into a
//! few parts, and sends the first member of each the news with its part; each receiver cuts its part
//! likewise. A second ring, on which everyone has another place, starts a little later: the speed of
//! one copy with the safety of two. Then everyone checks with its neighbours on a third ring what
//! they have, and sends what they lack (`check`).
//!
//! (Broadcast by delegated intervals: El-Ansary et al. 2003; corrected gossip: Hoefler et al. 2017.)
//!
//! | file | what it knows |
//! | --- | --- |
//! | `arcs` | how a part of a ring is cut |
//! | `store` | what is known, and for how long |
//! | `check` | what neighbours, newcomers and members that missed something ask each other; `pending` what is still to be asked |
//! | `charges` | members that take no part, which are sent everything by three that do |
//!
//! Limits: news is forwarded once for each ring, within [`FRESH`] of when it was first heard, if it came from a member and
//! the rules take it for news; so whatever is forged or repeated costs a member eight datagrams a ring.

mod arcs;
mod charges;
mod check;
mod pending;
mod store;
#[cfg(test)]
mod tests;
mod turn;

use super::queue::Ticket;
use crate::membership::{Members, Row, State, position};
use crate::model::Moment;
use crate::telemetry::counters;
use crate::wire::Shared;
use crate::wire::datagram::Packer;
use crate::wire::message::{Forward, Message, NewsId, WaveMessage};
use pending::{
    Asking, Bustle, Charges, Checks, FIRST_RING_SPACING, SECOND_RING, SECOND_RING_SPACING, Starts,
};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;
use store::{Confirmer, NewsItem, Store, id_of};
use turn::{How, WAVES, send};

pub use store::{MAX_BYTES, MAX_SEEN_BYTES};
pub use turn::WaveTurn;

/// News that was first heard longer ago is not forwarded any more.
pub const FRESH: Duration = Duration::from_secs(2);
/// Waves are used if at least one member in so many takes part in them.
const LEAST_SHARE: usize = 5;

/// What came in one datagram, or on a stream.
#[derive(Debug, Default)]
pub struct Arrived {
    /// What is no news, in order.
    pub messages: Vec<Message>,
    /// News.
    pub news: Vec<Shared>,
    /// How news travels.
    pub waves: Vec<WaveMessage>,
}

impl Arrived {
    /// Adds a message, which came as these bytes.
    pub fn push(&mut self, message: Message, bytes: &[u8]) {
        match message {
            Message::Wave(message) => self.waves.push(message),
            message if message.is_news() => self.news.push(Shared::read(message, bytes)),
            message => self.messages.push(message),
        }
    }
}

/// All that is known of news, and what is still to be done about it.
#[derive(Debug, Default)]
pub struct Waves {
    store: Store,
    /// News for the next wave of this process on each ring.
    starts: [Starts; WAVES],
    /// How much was said of members lately.
    bustle: Bustle,
    checks: Checks,
    asking: Asking,
    charges: Charges,
    /// News for the queue of gossip.
    gossip: Vec<(Shared, Option<Ticket>)>,
    finished: Vec<Ticket>,
}

impl Waves {
    /// When [`Waves::tick`] has something to do.
    pub fn next_deadline(&self) -> Moment {
        let starts = self.starts.iter().map(Starts::next_deadline).min().unwrap_or(Moment::NEVER);
        starts
            .min(self.checks.next_deadline())
            .min(self.asking.next_deadline())
            .min(self.charges.next_deadline())
            .min(self.store.next_deadline())
    }

    /// News for the queue of gossip, with what waits for its end.
    pub fn take_gossip(&mut self) -> Vec<(Shared, Option<Ticket>)> {
        std::mem::take(&mut self.gossip)
    }

    /// Tickets of news that is known to those that were to confirm it.
    pub fn take_finished(&mut self) -> Vec<Ticket> {
        std::mem::take(&mut self.finished)
    }

    /// How much is kept.
    pub fn len(&self) -> usize {
        self.store.len()
    }

    /// Whether nothing is kept.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    // ---- what others send --------------------------------------------------------------

    /// Takes in what came from an address, and forwards what is to be forwarded. Answers with what the
    /// rules have to look at: messages in the order in which they came, and news that is new here.
    pub fn arrived(&mut self, from: SocketAddr, arrived: Arrived, turn: &mut WaveTurn) -> Vec<Message> {
        let sender = turn.members.present_at(from).filter(|row| row.name != *turn.members.me());
        let partner = sender.filter(|row| row.versions.speaks_waves());
        // One that has just left wants to know whether that is known, and what it says of that on the second ring
        // comes after those that heard it on the first have taken it in.
        let left = || turn.members.rows_at(from).find(|row| matches!(row.state, State::Left));
        let asker = partner.or_else(|| left().filter(|row| row.versions.speaks_waves()));
        let takes_part = |row: &Row| row.is_present() || turn.now.since(row.since) < FRESH;
        let part = asker.filter(|row| takes_part(row)).and_then(|_| forwarded_part(&arrived.waves));
        let how = match (partner, part) {
            (_, Some(_)) => How::Wave,
            (Some(_), None) => How::Check,
            (None, None) => How::Gossip,
        };
        let confirmer = sender.map(|row| Confirmer::new(&row.name));
        let mut messages = arrived.messages;
        let mut accepted = Vec::new();
        for news in arrived.news {
            let id = id_of(&news);
            if self.take_in(id, &news, how, part, turn) {
                messages.push(news.message().clone());
            }
            if let Some(item) = self.store.get_mut(id) {
                if let Some(who) = confirmer {
                    item.confirm(who);
                }
                if item.accepted {
                    accepted.push(id);
                }
            }
        }
        if let Some((ring, end)) = part {
            self.forward(ring, end, &accepted, turn);
        }
        if let Some(row) = asker {
            self.answer(row, arrived.waves, turn);
        }
        self.confirmed(&accepted, turn.members);
        messages
    }

    /// Takes one piece of news in. Says whether the rules are to look at it.
    fn take_in(
        &mut self,
        id: NewsId,
        news: &Shared,
        how: How,
        part: Option<(usize, u64)>,
        turn: &mut WaveTurn,
    ) -> bool {
        let (message, now) = (news.message(), turn.now);
        if let Some(item) = self.store.get_mut(id) {
            // Said again: the rules took it for news, or did not, a moment ago.
            let again = now.since(item.learned) >= FRESH && store::timed(message).is_none();
            if again && !item.accepted {
                item.parts.extend(part);
            }
            return again;
        }
        if self.store.knows(id, message) {
            return false;
        }
        let mut item = NewsItem::new(news.clone(), how, now);
        let timed = store::timed(message).is_some();
        let ceiling = turn.members.config().ceilings.lamport_time(now);
        if timed && !Store::is_plausible(message, turn.clocks, ceiling) {
            // The rules say what is wrong with it.
            return true;
        }
        if !timed {
            // What is said of members is accepted once the table has taken it for news.
            item.parts.extend(part);
        }
        self.store.insert(id, item);
        if timed {
            self.store.remember(id, message, now);
            let parts = self.accept(id, turn);
            debug_assert!(parts.is_empty(), "the datagram's part is forwarded with all that is in it");
        }
        true
    }

    /// The memory of another member has been taken in, and these events were new: others may lack them as
    /// well.
    pub fn merged(&mut self, found: Vec<Message>, turn: &mut WaveTurn) {
        for message in found {
            let news = Shared::new(message);
            let id = id_of(&news);
            if !self.store.knows(id, news.message()) && fits(&news, turn.members) {
                self.store.insert(id, NewsItem::new(news.clone(), How::Check, turn.now));
                self.store.remember(id, news.message(), turn.now);
                let parts = self.accept(id, turn);
                debug_assert!(parts.is_empty(), "it came by no wave");
            }
        }
        self.begin_to_ask(turn);
    }

    // ---- what this process says --------------------------------------------------------

    /// Takes what the rules want everyone to hear: news of this process, and what it has heard of members
    /// and taken for news.
    pub fn spread(
        &mut self,
        broadcasts: impl IntoIterator<Item = (Message, Option<Ticket>)>,
        turn: &mut WaveTurn,
    ) {
        // What came together goes on together.
        let mut forwards: BTreeMap<(usize, u64), Vec<NewsId>> = BTreeMap::new();
        for (message, ticket) in broadcasts {
            let news = Shared::new(message);
            if !fits(&news, turn.members) {
                counters::BROADCASTS_DROPPED.inc();
                self.finished.extend(ticket);
                continue;
            }
            if !is_used(turn.members) {
                self.gossip.push((news, ticket));
                continue;
            }
            if let Message::Membership(message) = news.message()
                && (!message.is_intent() || self.is_busy(turn))
            {
                self.gossip.push((news.clone(), None));
            }
            let id = id_of(&news);
            if self.store.get(id).is_none() {
                self.store.insert(id, NewsItem::new(news.clone(), How::Local, turn.now));
                self.store.remember(id, news.message(), turn.now);
            }
            let Some(item) = self.store.get_mut(id) else {
                self.finished.extend(ticket);
                continue;
            };
            let (is_waited_for, accepted) = (ticket.is_some(), item.accepted);
            if let Some(ticket) = ticket {
                self.finished.extend(item.ticket.replace(ticket));
            }
            if !accepted {
                for part in self.accept(id, turn) {
                    forwards.entry(part).or_default().push(id);
                }
            }
            if is_waited_for {
                self.ask_for_confirmation(id, turn);
            }
        }
        for ((ring, end), ids) in forwards {
            self.forward(ring, end, &ids, turn);
        }
    }

    /// The rules have taken an item for news, or will: it is passed on. Answers with the parts of rings for
    /// which it is to be forwarded.
    #[must_use]
    fn accept(&mut self, id: NewsId, turn: &mut WaveTurn) -> Vec<(usize, u64)> {
        let Some(item) = self.store.get_mut(id) else { return Vec::new() };
        item.accepted = true;
        let (how, parts, news) = (item.how, std::mem::take(&mut item.parts), item.news.clone());
        self.finished.extend(self.store.supersede(id));
        if !is_used(turn.members) {
            // What is said of members comes to the queue by `spread`.
            if store::timed(news.message()).is_some() {
                self.gossip.push((news, None));
            }
            return Vec::new();
        }
        let is_membership = matches!(news.message(), Message::Membership(_));
        if is_membership {
            self.bustle.note(turn.now);
        }
        let can_wait = is_membership && self.is_busy(turn);
        match how {
            How::Local | How::Gossip => self.starts[0].add(id, turn.now, FIRST_RING_SPACING),
            How::Wave | How::Check => {}
        }
        self.checks.learned(id, how, can_wait, turn.now, turn.rng);
        if turn.members.rings().beside() > 0
            && !matches!(news.message(), Message::Membership(m) if !m.is_intent())
        {
            self.charges.learned(id, turn.now, turn.rng);
        }
        parts
    }

    /// Whether so much is said of members that it is left to gossip.
    fn is_busy(&mut self, turn: &WaveTurn) -> bool {
        self.bustle.is_great(turn.members.rings().len(), turn.now)
    }

    // ---- waves -------------------------------------------------------------------------

    /// Sends news on to the members of a part of a ring, unless it was.
    fn forward(&mut self, ring: usize, end: u64, ids: &[NewsId], turn: &mut WaveTurn) {
        let news = self.not_yet_forwarded(ring, ids, turn);
        if news.is_empty() {
            return;
        }
        counters::WAVES_FORWARDED.inc();
        for delegate in arcs::cut(turn.members, ring, end) {
            send_part(&delegate, ring, &news, turn);
        }
    }

    /// What has not gone on this ring yet, and is to.
    fn not_yet_forwarded(&mut self, ring: usize, ids: &[NewsId], turn: &WaveTurn) -> Vec<Shared> {
        let (now, busy) = (turn.now, self.is_busy(turn));
        let mut news = Vec::new();
        for id in ids {
            if let Some(item) = self.store.get_mut(*id)
                && !std::mem::replace(&mut item.forwarded[ring], true)
                && now.since(item.learned) < FRESH
                && !(busy && item.is_membership())
            {
                news.push(item.news.clone());
            }
        }
        news
    }

    /// Does what has come due.
    pub fn tick(&mut self, turn: &mut WaveTurn) {
        let now = turn.now;
        if let Some(news) = self.starts[0].take(now) {
            counters::WAVES_STARTED.inc();
            self.begin_ring(0, &news, turn);
            if turn.members.rings().len() > arcs::SMALL {
                for id in news {
                    // What was heard from members that take no part comes from several of them anyway.
                    if self.store.get(id).is_some_and(|item| item.how == How::Local) {
                        self.starts[1].add(id, now + SECOND_RING, SECOND_RING_SPACING);
                    }
                }
            }
        }
        if let Some(news) = self.starts[1].take(now) {
            self.begin_ring(1, &news, turn);
        }
        self.look_after_charges(turn);
        self.check(turn);
        self.ask_for_news(turn);
        self.store.expire(now);
    }

    /// Starts a wave on one ring.
    fn begin_ring(&mut self, ring: usize, ids: &[NewsId], turn: &mut WaveTurn) {
        let news = self.not_yet_forwarded(ring, ids, turn);
        if news.is_empty() {
            return;
        }
        let me = position(turn.members.me(), ring);
        let small = turn.members.rings().len() <= arcs::SMALL;
        let delegates = if small { arcs::everyone(turn.members) } else { arcs::cut(turn.members, ring, me) };
        for delegate in delegates {
            send_part(&delegate, ring, &news, turn);
        }
    }
}

/// Whether news travels in waves: enough members take part. Otherwise it is gossiped.
fn is_used(members: &Members) -> bool {
    let rings = members.rings();
    rings.len() * LEAST_SHARE >= rings.len() + rings.beside()
}

/// The part of a ring for which a datagram is to be forwarded.
fn forwarded_part(waves: &[WaveMessage]) -> Option<(usize, u64)> {
    waves.iter().find_map(|message| match message {
        WaveMessage::Forward(Forward { ring, end }) if usize::from(*ring) < WAVES => {
            Some((usize::from(*ring), *end))
        }
        _ => None,
    })
}

/// Whether news fits a datagram, with what goes around it, in whichever dialect it is needed.
fn fits(news: &Shared, members: &Members) -> bool {
    let room = Packer::new(members.config().datagram_budget).room();
    news.bytes(members.widest_dialect()).len() + HEAD_ROOM <= room
}

/// What a [`Forward`] takes in a datagram at most.
const HEAD_ROOM: usize = 16;

fn send_part(delegate: &arcs::Delegate, ring: usize, news: &[Shared], turn: &mut WaveTurn) {
    // There are two rings.
    let head = Message::from(Forward { ring: ring as u8, end: delegate.end });
    send(delegate.row, Some(&head), news, turn);
}
