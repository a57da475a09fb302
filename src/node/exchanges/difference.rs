//! An exchange of what differs: one side of it, from the first message to the last. What is said is in
//! `wire/difference.rs`, what the table has to do with it in `membership/difference.rs`.
//!
//! * Rows are walked over in slices, so that others have the table in between; what changes meanwhile is found by the
//!   next exchange.
//! * Names of rows are listed, and the rows read when they are sent. Each piece is taken in when it comes, so that what
//!   has come is not lost when the stream breaks.
//! * A row of a member that is known to be gone here is answered with its tombstone: tombstones differ for
//!   ever, and are not compared.

use super::effects::{ExchangeEffect, ExchangeTurn};
use crate::membership::{Effects, Members, NewsBudget, bucket_of, buckets_for, id_of};
use crate::model::{Footprint, NodeName, UserEvent};
use crate::wire::difference::{Compare, DifferenceMessage, Hello, Ids, MAX_BUCKETS, RowId, Rows, Salt};
use crate::wire::message::{PeerRow, SerfState};
use fastrand::Rng;
use std::collections::{BTreeMap, BTreeSet};

/// How many rows are walked over while the table is locked once.
pub(super) const SLICE: usize = 4096;
/// Although the sums agree, one of so many exchanges compares the rows.
const SUSPICIOUS: u8 = 10;

/// The most memory of rows that the other has wrong and is sent at once, in bytes: more than an honest piece brings
/// about.
const MAX_OWED: usize = 512 * 1024;

/// One side of an exchange under way.
#[derive(Debug)]
pub(super) struct Dialogue {
    /// With whom, if this process has opened it.
    pub partner: Option<NodeName>,
    budget: NewsBudget,
    /// What this process remembers of events, until it is clear whether the other needs it.
    serf: SerfState,
    /// The sum of these events.
    events: u64,
    theirs: Option<Hello>,
    /// The sum of all rows here when it began.
    before: u64,
    salt: Salt,
    /// How many buckets there are.
    buckets: usize,
    /// Whether the opener has said what is in them.
    has_ids: bool,
    step: Step,
    /// Rows that the other lacks.
    to_send: Vec<NodeName>,
    /// Rows that the other has wrong.
    owed: Vec<PeerRow>,
    /// Rows that this process lacks.
    want: Vec<RowId>,
    /// The rows in buckets that differ, for when the other asks for them.
    listed: BTreeMap<RowId, NodeName>,
}

#[derive(Debug)]
enum Step {
    /// The next message is awaited.
    Listens,
    /// The answerer sums up its rows.
    Sums { after: Option<NodeName>, sums: Vec<u32> },
    /// The opener sums up its rows, to compare them with these.
    Lists { after: Option<NodeName>, hashes: Vec<(u64, NodeName)>, sums: Vec<u32> },
    /// The answerer looks which of its rows are not among these, and which of these it lacks.
    Matches { after: Option<NodeName>, theirs: BTreeMap<u8, BTreeSet<RowId>> },
}

/// What comes of a message, or of a slice of work.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// There is work to do.
    Works,
    /// This is to be said, and an answer awaited.
    Says(DifferenceMessage),
    /// It is over, with this as the last word if there is one.
    Over(Option<DifferenceMessage>),
    /// That message makes no sense now.
    Unexpected,
}

impl Dialogue {
    /// Begins one, with the first message.
    pub(super) fn open(
        partner: NodeName,
        is_newcomer: bool,
        serf: SerfState,
        members: &Members,
        rng: &mut Rng,
    ) -> (Dialogue, DifferenceMessage) {
        let suspicious = rng.u8(0..SUSPICIOUS) == 0;
        let dialogue = Dialogue::new(Some(partner), is_newcomer, serf, members);
        let hello = dialogue.hello(suspicious, members, rng);
        (dialogue, DifferenceMessage::Hello(hello))
    }

    /// Another has begun one; the answer follows when the work is done.
    pub(super) fn answer(theirs: Hello, serf: SerfState, members: &Members, rng: &mut Rng) -> Dialogue {
        let mut dialogue = Dialogue::new(None, false, serf, members);
        rng.fill(&mut dialogue.salt);
        if theirs.total != members.total() || theirs.suspicious {
            dialogue.buckets = buckets_for(members.present());
        }
        if theirs.events == dialogue.events {
            // They may have megabytes.
            dialogue.serf.events = Vec::new();
        }
        dialogue.theirs = Some(theirs);
        dialogue.step = Step::Sums { after: None, sums: vec![0; dialogue.buckets] };
        dialogue
    }

    fn new(partner: Option<NodeName>, is_newcomer: bool, serf: SerfState, members: &Members) -> Dialogue {
        Dialogue {
            partner,
            budget: members.news_budget(is_newcomer),
            events: sum_of_events(&serf.events),
            serf,
            theirs: None,
            before: members.total(),
            salt: Salt::default(),
            buckets: 0,
            has_ids: false,
            step: Step::Listens,
            to_send: Vec::new(),
            owed: Vec::new(),
            want: Vec::new(),
            listed: BTreeMap::new(),
        }
    }

    fn hello(&self, suspicious: bool, members: &Members, rng: &mut Rng) -> Hello {
        Hello {
            node: members.me().clone(),
            total: members.total(),
            digest: members.digest(),
            suspicious,
            ltime: members.time(),
            event_ltime: self.serf.event_ltime,
            query_ltime: self.serf.query_ltime,
            events: self.events,
            failed: members.mention_failed(rng),
        }
    }

    /// How much memory it takes, about.
    pub(super) fn held(&self) -> usize {
        /// An entry of a set or a map.
        const ENTRY: usize = 32;
        let ids = match &self.step {
            Step::Listens | Step::Sums { .. } => 0,
            Step::Lists { hashes, .. } => hashes.len() * size_of::<(u64, NodeName)>(),
            Step::Matches { theirs, .. } => theirs.values().map(BTreeSet::len).sum::<usize>() * ENTRY / 2,
        };
        let names = self.to_send.capacity() * size_of::<NodeName>() + self.listed.len() * ENTRY;
        let rows: usize = self.owed.iter().map(Footprint::footprint).sum();
        ids + names + rows + self.want.capacity() * size_of::<RowId>() + self.serf.footprint()
    }

    /// Whether [`Dialogue::work`] has something to do.
    pub(super) fn has_work(&self) -> bool {
        !matches!(self.step, Step::Listens)
    }

    /// A slice of the work.
    pub(super) fn work(&mut self, members: &Members, rng: &mut Rng) -> Outcome {
        match &mut self.step {
            Step::Listens => Outcome::Unexpected,
            Step::Sums { after, sums } => {
                if !sums.is_empty() {
                    let count = sums.len();
                    let add = |hash, _: &_| sums[bucket_of(hash, count)] ^= hash as u32;
                    *after = members.hash_rows(&self.salt, after.as_ref(), SLICE, add);
                    if after.is_some() {
                        return Outcome::Works;
                    }
                }
                let sums = std::mem::take(sums);
                self.step = Step::Listens;
                let Some(theirs) = self.theirs.take() else { return Outcome::Unexpected };
                let compare = Compare {
                    hello: self.hello(false, members, rng),
                    salt: self.salt,
                    sums,
                    rows: members.left_of(&theirs.failed),
                    serf: self.serf_for(&theirs),
                };
                self.theirs = Some(theirs);
                Outcome::Says(DifferenceMessage::Compare(compare))
            }
            Step::Lists { after, hashes, sums } => {
                let add = |hash, name: &NodeName| hashes.push((hash, name.clone()));
                *after = members.hash_rows(&self.salt, after.as_ref(), SLICE, add);
                if after.is_some() {
                    return Outcome::Works;
                }
                let (hashes, sums) = (std::mem::take(hashes), std::mem::take(sums));
                self.step = Step::Listens;
                self.say_ids(hashes, sums, members)
            }
            Step::Matches { after, theirs } => {
                let (count, to_send) = (self.buckets, &mut self.to_send);
                let compare = |hash, name: &NodeName| {
                    if let Some(ids) = theirs.get_mut(&(bucket_of(hash, count) as u8))
                        && !ids.remove(&id_of(hash))
                    {
                        to_send.push(name.clone());
                    }
                };
                *after = members.hash_rows(&self.salt, after.as_ref(), SLICE, compare);
                if after.is_some() {
                    return Outcome::Works;
                }
                self.want = std::mem::take(theirs).into_values().flatten().collect();
                self.step = Step::Listens;
                self.say_rows(false, members)
            }
        }
    }

    /// The opener has the other's sums: says what it has in the buckets that differ.
    fn say_ids(&mut self, hashes: Vec<(u64, NodeName)>, sums: Vec<u32>, members: &Members) -> Outcome {
        let count = sums.len();
        let mut differ = sums;
        for (hash, _) in &hashes {
            differ[bucket_of(*hash, count)] ^= *hash as u32;
        }
        let mut buckets: BTreeMap<u8, Vec<RowId>> = differ
            .iter()
            .enumerate()
            .filter(|(_, sum)| **sum != 0)
            .map(|(b, _)| (b as u8, Vec::new()))
            .collect();
        if buckets.is_empty() {
            // The other has the last word, so that both take note of the end.
            return self.say_rows(false, members);
        }
        for (hash, name) in hashes {
            if let Some(ids) = buckets.get_mut(&(bucket_of(hash, count) as u8)) {
                ids.push(id_of(hash));
                self.listed.insert(id_of(hash), name);
            }
        }
        let rows = std::mem::take(&mut self.owed);
        let serf = self.theirs.clone().and_then(|theirs| self.serf_for(&theirs));
        let buckets = buckets.into_iter().collect();
        Outcome::Says(DifferenceMessage::Ids(Ids { buckets, rows, serf }))
    }

    /// The next piece. `they_are_done`: the other has nothing more.
    fn say_rows(&mut self, they_are_done: bool, members: &Members) -> Outcome {
        let mut rows = std::mem::take(&mut self.owed);
        rows.extend(members.piece(&mut self.to_send));
        let want = std::mem::take(&mut self.want);
        let serf = self.theirs.clone().and_then(|theirs| self.serf_for(&theirs));
        if they_are_done && rows.is_empty() && want.is_empty() && serf.is_none() {
            return Outcome::Over(Some(DifferenceMessage::Done));
        }
        let last = self.to_send.is_empty();
        Outcome::Says(DifferenceMessage::Rows(Rows { rows, want, serf, last }))
    }

    /// What this process remembers of events, unless the other remembers the same or has heard it.
    fn serf_for(&mut self, theirs: &Hello) -> Option<SerfState> {
        let memory = std::mem::take(&mut self.serf);
        (!memory.events.is_empty() && self.events != theirs.events).then_some(memory)
    }

    /// A message of the other side.
    pub(super) fn hear(&mut self, message: DifferenceMessage, turn: &mut ExchangeTurn) -> Outcome {
        if self.has_work() {
            // It has not been answered yet.
            return Outcome::Unexpected;
        }
        match message {
            // A dialogue begins with it.
            DifferenceMessage::Hello(_) => Outcome::Unexpected,
            DifferenceMessage::Compare(m) => {
                if self.partner.is_none() || self.theirs.is_some() || !is_fit(m.sums.len()) {
                    return Outcome::Unexpected;
                }
                self.merge(&m.rows, turn);
                let memory = m.serf.unwrap_or(SerfState {
                    event_ltime: m.hello.event_ltime,
                    query_ltime: m.hello.query_ltime,
                    events: Vec::new(),
                });
                merge_serf(memory, turn);
                turn.table.members.hear_time(m.hello.ltime, turn.now);
                self.owed.extend(turn.table.members.left_of(&m.hello.failed));
                (self.salt, self.theirs) = (m.salt, Some(m.hello));
                if m.sums.is_empty() {
                    return self.say_rows(true, &turn.table.members);
                }
                self.step = Step::Lists { after: None, hashes: Vec::new(), sums: m.sums };
                Outcome::Works
            }
            DifferenceMessage::Ids(m) => {
                if self.partner.is_some() || self.buckets == 0 || self.has_ids {
                    return Outcome::Unexpected;
                }
                self.has_ids = true;
                self.merge(&m.rows, turn);
                self.take_serf(m.serf, turn);
                let theirs = m.buckets.into_iter().map(|(b, ids)| (b, ids.into_iter().collect())).collect();
                self.step = Step::Matches { after: None, theirs };
                Outcome::Works
            }
            DifferenceMessage::Rows(m) => {
                self.merge(&m.rows, turn);
                self.take_serf(m.serf, turn);
                self.to_send.extend(m.want.iter().filter_map(|id| self.listed.remove(id)));
                self.say_rows(m.last, &turn.table.members)
            }
            DifferenceMessage::Done => Outcome::Over(None),
        }
    }

    fn merge(&mut self, rows: &[PeerRow], turn: &mut ExchangeTurn) {
        if rows.is_empty() {
            return;
        }
        let (now, budget, mut fx) = (turn.now, &mut self.budget, Effects::default());
        let mut room = MAX_OWED;
        let better = turn.table.members.merge_piece(rows, budget, now, &mut fx).into_iter();
        self.owed.extend(better.take_while(|row| {
            room = room.saturating_sub(row.footprint());
            room > 0
        }));
        let out = turn.table.post(fx, None);
        turn.fx.push(ExchangeEffect::Table(out));
    }

    fn take_serf(&mut self, serf: Option<SerfState>, turn: &mut ExchangeTurn) {
        if let Some(serf) = serf {
            merge_serf(serf, turn);
        }
    }

    /// It has come to its end: remembers if it was for nothing.
    pub(super) fn end(&self, turn: &mut ExchangeTurn) {
        let members = &mut turn.table.members;
        if let Some(theirs) = &self.theirs
            && members.total() == self.before
        {
            members.note_fruitless(theirs.digest, turn.now);
        }
        if let Some(partner) = &self.partner {
            members.exchanged(partner, true);
        }
    }
}

fn merge_serf(theirs: SerfState, turn: &mut ExchangeTurn) {
    turn.fx.push(ExchangeEffect::MergeSerf { theirs, ignore_past: false });
}

/// Whether there can be so many sums.
fn is_fit(sums: usize) -> bool {
    sums == 0 || sums.is_power_of_two() && sums <= MAX_BUCKETS
}

fn sum_of_events(events: &[UserEvent]) -> u64 {
    events.iter().fold(0, |sum, event| {
        let UserEvent { ltime, name, payload, .. } = event;
        let bytes = ltime.0.to_le_bytes().into_iter().chain(name.as_bytes().iter().copied());
        let hash =
            bytes.chain([0]).chain(payload.iter().copied()).fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
                (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
            });
        sum ^ hash
    })
}
