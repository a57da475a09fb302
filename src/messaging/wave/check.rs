//! What members say to each other about what they have: neighbours, newcomers, and those that missed something.
//!
//! A little after it has learnt something, a member says to its neighbours on the last ring that it has it. That
//! is an offer, an acknowledgement and a request in one: a neighbour that lacks it says so and is sent it,
//! and one that has it says the same by itself. Who stays silent is sent the news itself, and so is one more
//! behind it each time. The origin checks like everyone else: if all it sent was lost, it must notice.

use super::Waves;
use super::pending::BUSY_SPACING;
use super::store::{Confirmer, NewsItem, Timed};
use super::turn::{WaveTurn, finish, send};
use crate::membership::{CHECK_RING, Direction, Members, Row, neighbours, position};
use crate::messaging::Ticket;
use crate::model::NodeName;
use crate::telemetry::counters;
use crate::wire::datagram::{PART_OVERHEAD, Packer};
use crate::wire::message::{Ask, Digests, Have, Message, NewsDigest, NewsId, Want, WaveMessage};
use crate::wire::{Dialect, Shared, encode};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// How long to wait for a neighbour after each attempt, in milliseconds; then it is given up, and what the
/// acks say of what has been heard is left to repair it.
const WAITS_MS: [u64; 8] = [50, 50, 100, 200, 400, 800, 1600, 3200];
/// Up to which neighbour on a side news is sent.
const REACH: usize = 4;
/// The attempt with which two random members are sent the news as well: there are pairs that never hear
/// each other.
const RANDOM_ATTEMPT: u8 = 4;
/// After this attempt it is enough that another behind the neighbour has it: there are neighbours that are never heard.
/// Not earlier, or bad luck on both sides of one member would leave it to the next comparison, seconds later.
const PATIENT_ATTEMPTS: u8 = 6;
/// The most ids in one message.
const MAX_IDS: usize = 120;
/// The most ids with which a member that asks for news is answered: four datagrams.
const MOST_LISTED: usize = 4 * MAX_IDS;
/// How often one piece of news is sent to members that ask for it.
const MAX_SERVED: u8 = 24;
/// Something that was asked for is not asked for again in this time.
const ASKED: Duration = Duration::from_millis(20);
/// The most that is remembered to have been asked for.
const MAX_ASKED: usize = 1024;
/// The least time between two members with which it is looked into what differs.
const COMPARED: Duration = Duration::from_secs(1);
/// How long a newcomer asks for news, and how often.
const NEWCOMER_TIME: Duration = Duration::from_secs(2);
const NEWCOMER_INTERVAL: Duration = Duration::from_millis(200);

/// The neighbours on a side, the nearest first.
fn on_side(members: &Members, side: usize) -> impl Iterator<Item = &NodeName> {
    let direction = if side == 0 { Direction::Forward } else { Direction::Backward };
    let at = position(members.me(), CHECK_RING);
    neighbours(members.rings().ring(CHECK_RING), at, direction).map(|(_, name)| name)
}

/// The nearest neighbours on a side, at most [`REACH`].
fn side(members: &Members, side: usize) -> Vec<&Row> {
    on_side(members, side).take(REACH).filter_map(|name| members.row(name)).collect()
}

/// The nearest neighbour on a side.
fn nearest(members: &Members, side: usize) -> Option<&Row> {
    on_side(members, side).next().and_then(|name| members.row(name))
}

/// How many sides there are: one if there is only one other.
fn sides(members: &Members) -> usize {
    let others = members.rings().len() - usize::from(members.my_row().is_present());
    others.min(2)
}

impl Waves {
    /// Informs neighbours of what is new, and those that have not confirmed it, once more.
    pub(super) fn check(&mut self, turn: &mut WaveTurn) {
        let now = turn.now;
        if self.checks.check_at.is_some_and(|at| at <= now) {
            self.checks.check_at = None;
            self.checks.last = now;
            let ids = std::mem::take(&mut self.checks.unchecked);
            for side in 0..2 {
                self.inform_side(side, &ids, turn);
            }
            self.confirmed(&ids, turn.members);
        }
        let mut plan: BTreeMap<NodeName, BTreeSet<NewsId>> = BTreeMap::new();
        let mut due = Vec::new();
        let any = self.checks.retries.first().is_some_and(|(at, ..)| *at <= now);
        let near = [0, 1].map(|at| if any { side(turn.members, at) } else { Vec::new() });
        while let Some((at, id, side)) = self.checks.retries.first().copied()
            && at <= now
        {
            self.checks.retries.pop_first();
            self.plan_retry(id, side, &near[side], turn, &mut plan);
            due.push(id);
        }
        for (name, ids) in plan {
            let Some(row) = turn.members.row(&name) else { continue };
            counters::NEWS_SENT_AGAIN.add(ids.len());
            self.send_for_confirmation(row, &ids, turn);
        }
        self.confirmed(&due, turn.members);
    }

    /// The first message to the neighbour on one side.
    fn inform_side(&mut self, at: usize, ids: &[NewsId], turn: &mut WaveTurn) {
        let near = if at < sides(turn.members) { nearest(turn.members, at) } else { None };
        let busy = self.is_busy(turn);
        let neighbour = near.map(|row| Confirmer::new(&row.name));
        let mut offered = Vec::new();
        for id in ids {
            let Some(item) = self.store.get_mut(*id) else { continue };
            let is_left = busy && item.is_left_to_digests();
            let confirmed = is_left || neighbour.is_none_or(|who| item.is_confirmed_by(who));
            item.checks[at].attempts = 1;
            item.checks[at].done = confirmed;
            // It does not know that this process has it, even if it has said so of itself.
            offered.push(*id);
            if !confirmed {
                let again = turn.now + Duration::from_millis(WAITS_MS[0]);
                item.checks[at].again = Some(again);
                self.checks.retries.insert((again, *id, at));
            }
        }
        if let Some(row) = near {
            say_have(row, &offered, false, turn);
        }
    }

    /// Sends news that is waited for to the neighbours at once, and asks whether it has arrived.
    pub(super) fn ask_for_confirmation(&mut self, id: NewsId, turn: &mut WaveTurn) {
        for at in 0..sides(turn.members) {
            if let Some(row) = nearest(turn.members, at) {
                self.send_for_confirmation(row, &BTreeSet::from([id]), turn);
            }
        }
        self.confirmed(&[id], turn.members);
    }

    /// What a side that has not confirmed is sent.
    fn plan_retry(
        &mut self,
        id: NewsId,
        at: usize,
        near: &[&Row],
        turn: &mut WaveTurn,
        plan: &mut BTreeMap<NodeName, BTreeSet<NewsId>>,
    ) {
        let busy = self.is_busy(turn);
        let Some(item) = self.store.get_mut(id) else { return };
        let is_of_use = item.is_of_use(turn.now) && !(busy && item.is_left_to_digests());
        item.checks[at].attempts += 1;
        let attempt = item.checks[at].attempts;
        let wait = WAITS_MS.get(usize::from(attempt) - 1);
        let has = |row: &&Row| item.is_confirmed_by(Confirmer::new(&row.name));
        let is_settled = near.first().is_none_or(has) || attempt > PATIENT_ATTEMPTS && near.iter().any(has);
        let Some(wait) = wait.filter(|_| is_of_use && !is_settled) else {
            item.checks[at].done = true;
            return;
        };
        let reach = usize::from(attempt).saturating_sub(1).clamp(1, REACH);
        for row in near.iter().take(reach) {
            if has(row) {
                break;
            }
            plan.entry(row.name.clone()).or_default().insert(id);
        }
        if attempt == RANDOM_ATTEMPT {
            let others = |row: &Row| row.is_present() && row.versions.speaks_waves();
            for row in turn.members.random_rows(2, turn.rng, others) {
                plan.entry(row.name.clone()).or_default().insert(id);
            }
        }
        let again = turn.now + Duration::from_millis(*wait);
        item.checks[at].again = Some(again);
        self.checks.retries.insert((again, id, at));
    }

    /// Sends a member news, and asks which of it it has.
    fn send_for_confirmation(&self, row: &Row, ids: &BTreeSet<NewsId>, turn: &mut WaveTurn) {
        // What an id takes in the message that asks, and that message besides.
        const ID: usize = 10;
        const HEAD: usize = 8;
        let room = Packer::new(turn.members.config().datagram_budget).room();
        let mut packed: Vec<(NewsId, Shared)> = Vec::new();
        let mut left = room.saturating_sub(HEAD);
        for id in ids {
            let Some(item) = self.store.get(*id) else { continue };
            let cost = item.news.bytes(Dialect::Native).len() + PART_OVERHEAD + ID;
            if cost > left {
                send_and_ask(row, std::mem::take(&mut packed), turn);
                left = room.saturating_sub(HEAD);
            }
            left = left.saturating_sub(cost);
            packed.push((*id, item.news.clone()));
        }
        send_and_ask(row, packed, turn);
    }

    /// Ends what waits for news to be confirmed, if these confirmations were the last.
    pub(super) fn confirmed(&mut self, ids: &[NewsId], members: &Members) {
        for id in ids {
            let Some(item) = self.store.get_mut(*id).filter(|item| item.ticket.is_some()) else { continue };
            let is_done = |item: &NewsItem, at: usize| {
                let has = |row: &Row| item.is_confirmed_by(Confirmer::new(&row.name));
                item.checks[at].done || nearest(members, at).is_none_or(has)
            };
            let count = sides(members);
            let confirmed = (0..count).all(|at| is_done(item, at));
            let cared_for = members.rings().beside() == 0 || !self.charges.waits_for(*id);
            if confirmed && cared_for {
                let ticket: Option<Ticket> = item.ticket.take();
                self.finished.extend(ticket);
            }
        }
    }

    // ---- what others say ---------------------------------------------------------------

    /// Deals with what a member that takes part in waves says of news.
    pub(super) fn answer(&mut self, row: &Row, messages: Vec<WaveMessage>, turn: &mut WaveTurn) {
        for message in messages {
            match message {
                WaveMessage::Forward(_) => {}
                WaveMessage::Have(have) => self.hear_have(row, &have, turn),
                WaveMessage::Want(want) => self.hear_want(row, &want, turn),
                WaveMessage::Ask(ask) => self.hear_ask(row, ask, turn),
                WaveMessage::Digests(digests) => self.compare(row, &digests, turn),
            }
        }
    }

    fn hear_have(&mut self, row: &Row, have: &Have, turn: &mut WaveTurn) {
        let (mut had, mut wanted) = (Vec::new(), Vec::new());
        let near = [0, 1].map(|at| on_side(turn.members, at).next() == Some(&row.name));
        let who = Confirmer::new(&row.name);
        for id in have.ids.iter().take(MAX_IDS) {
            if let Some(item) = self.store.get_mut(*id) {
                item.confirm(who);
                // What is confirmed need not be looked at again.
                for (at, check) in item.checks.iter_mut().enumerate() {
                    if near[at]
                        && let Some(again) = check.again.take()
                    {
                        check.done = true;
                        self.checks.retries.remove(&(again, *id, at));
                    }
                }
                had.push(*id);
            } else if self.store.has_seen(*id) {
                had.push(*id);
            } else if self.checks.asked.get(id).is_none_or(|at| turn.now.since(*at) >= ASKED) {
                wanted.push(*id);
            }
        }
        if have.answer {
            say_have(row, &had, false, turn);
        }
        self.confirmed(&had, turn.members);
        if wanted.is_empty() {
            return;
        }
        if self.checks.asked.len() > MAX_ASKED {
            self.checks.asked.clear();
        }
        self.checks.asked.extend(wanted.iter().map(|id| (*id, turn.now)));
        counters::NEWS_WANTED.add(wanted.len());
        say(row, &Message::from(Want { ids: wanted }), turn);
    }

    fn hear_want(&mut self, row: &Row, want: &Want, turn: &mut WaveTurn) {
        let mut news = Vec::new();
        for id in want.ids.iter().take(MAX_IDS) {
            let Some(item) = self.store.get_mut(*id).filter(|item| item.is_of_use(turn.now)) else {
                continue;
            };
            let bytes = item.news.bytes(Dialect::Native).len();
            if item.served < MAX_SERVED && self.checks.may_serve(bytes, turn.now) {
                item.served += 1;
                news.push(item.news.clone());
            }
        }
        if !news.is_empty() {
            send(row, None, &news, turn);
        }
    }

    fn hear_ask(&mut self, row: &Row, ask: Ask, turn: &mut WaveTurn) {
        self.offer((ask.most as usize).min(MOST_LISTED), row, turn);
    }

    /// Says what there is to be had, at most so much, the latest. While much is said of members, a newcomer has most of
    /// it from the table it has just been sent: then only what came last.
    fn offer(&mut self, most: usize, row: &Row, turn: &mut WaveTurn) {
        let oldest = if self.is_busy(turn) { BUSY_SPACING } else { Duration::MAX };
        let mut ids: Vec<NewsId> = self.store.latest(most, oldest, turn.now).collect();
        // They are asked for, and sent, in the order in which they are listed here.
        ids.reverse();
        if self.checks.may_serve(ids.len() * size_of::<NewsId>(), turn.now) {
            say_have(row, &ids, false, turn);
        }
    }

    /// Compares what another has heard and known for a second. If that differs, one of them has missed something,
    /// and it cannot be seen which: this process asks what there is, and offers what it has, because the other
    /// does not see it if it has not been here for as long.
    fn compare(&mut self, row: &Row, theirs: &Digests, turn: &mut WaveTurn) {
        let differs =
            |kind: Timed, digest: Option<NewsDigest>| digest.and_then(|d| self.store.differs(kind, &d));
        let both = [differs(Timed::Events, theirs.events), differs(Timed::Queries, theirs.queries)];
        if both.contains(&Some(true)) && self.checks.compared.is_none_or(|at| turn.now.since(at) >= COMPARED)
        {
            self.checks.compared = Some(turn.now);
            counters::NEWS_COMPARED.inc();
            say(row, &Message::from(Ask { most: MOST_LISTED as u32 }), turn);
            self.offer(MOST_LISTED, row, turn);
        }
    }

    /// What this process has heard, for an ack. None if that was nothing.
    pub fn digests(&self) -> Option<Digests> {
        let digests =
            Digests { events: self.store.digest(Timed::Events), queries: self.store.digest(Timed::Queries) };
        (digests != Digests::default()).then_some(digests)
    }

    // ---- newcomers ---------------------------------------------------------------------

    /// This process may have just come, or have found half of the members: then it asks for news for a
    /// while. Not before an exchange has been taken in, with which the past comes in order, if it is wanted at
    /// all.
    pub(super) fn begin_to_ask(&mut self, turn: &mut WaveTurn) {
        let n = turn.members.rings().len();
        if n > 1 && n >= 2 * self.asking.known.max(1) {
            self.asking.until = turn.now + NEWCOMER_TIME;
            self.asking.next = Some(turn.now);
            self.asking.most = MOST_LISTED;
            self.store.begin(turn.clocks);
        }
        self.asking.known = self.asking.known.max(n);
    }

    /// Asks for news, if it is time to.
    pub(super) fn ask_for_news(&mut self, turn: &mut WaveTurn) {
        let (now, n) = (turn.now, turn.members.rings().len());
        if 2 * n < self.asking.known {
            self.asking.known = n;
        }
        if self.asking.next.is_none_or(|at| at > now) {
            return;
        }
        let others = |row: &Row| row.is_present() && row.versions.speaks_waves();
        for row in turn.members.random_rows(2, turn.rng, others) {
            say(row, &Message::from(Ask { most: self.asking.most as u32 }), turn);
        }
        // After that only what is newer.
        self.asking.most = MAX_IDS;
        // While much is said of members, neighbours check less often as well.
        let pause = if self.is_busy(turn) { BUSY_SPACING } else { NEWCOMER_INTERVAL };
        self.asking.next = Some(now + pause).filter(|at| *at <= self.asking.until);
    }
}

fn say_have(row: &Row, ids: &[NewsId], answer: bool, turn: &mut WaveTurn) {
    for ids in ids.chunks(MAX_IDS) {
        counters::NEWS_OFFERED.add(ids.len());
        say(row, &Message::from(Have { ids: ids.to_vec(), answer }), turn);
    }
}

fn send_and_ask(row: &Row, news: Vec<(NewsId, Shared)>, turn: &mut WaveTurn) {
    if news.is_empty() {
        return;
    }
    let (ids, news): (Vec<NewsId>, Vec<Shared>) = news.into_iter().unzip();
    send(row, Some(&Message::from(Have { ids, answer: true })), &news, turn);
}

fn say(row: &Row, message: &Message, turn: &mut WaveTurn) {
    let mut packer = Packer::new(turn.members.config().datagram_budget);
    let fits = packer.push(&encode(Dialect::Native, message));
    debug_assert!(fits, "what is said of news is small");
    finish(packer, row.target(), turn);
}
