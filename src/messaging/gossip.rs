//! The rhythm of gossip: when what is queued goes out, and to whom.
//!
//! memberlist sends on a tick only, so that news waits for a tick at every hop. Here the first
//! transmissions of a new broadcast go out on receipt (a few milliseconds apart under load), the
//! rest on ticks; the total stays the transmit limit. While nothing is queued, nothing wakes.

use super::queue::{BroadcastQueue, Ticket};
use crate::membership::{Members, Row, Target};
use crate::model::{Moment, NodeName};
use crate::wire::Shared;
use crate::wire::datagram::Packer;
use fastrand::Rng;
use std::collections::VecDeque;
use std::time::Duration;

/// The least time between two bursts of fresh news. Under load, what comes within it shares
/// datagrams.
const BURST_SPACING: Duration = Duration::from_millis(5);

/// Where gossip is only a second way for news, a tick comes this many times as seldom: most of what a tick costs is
/// the datagrams, not what they carry.
const SECOND_WAY_TICKS: u32 = 5;
/// The most rounds of datagrams on one tick.
const MAX_ROUNDS: usize = 8;
/// A datagram with less room than this is full: hardly any message is smaller.
const NEARLY_FULL: usize = 64;

/// The most broadcasts that are piggybacked in one datagram.
const MAX_PIGGYBACKED: usize = 32;

/// A datagram that is ready to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Datagram {
    /// To whom.
    pub to: Target,
    /// What.
    pub bytes: Vec<u8>,
}

/// The broadcast queue and its clockwork.
#[derive(Debug, Default)]
pub struct Gossip {
    /// What is still to be said.
    pub queue: BroadcastQueue,
    next_tick: Option<Moment>,
    next_burst: Option<Moment>,
    last_burst: Moment,
    /// The members that were sent news last, the latest at the end. Others come first, so that
    /// the transmissions of one broadcast reach as many members as they can; picked afresh each
    /// time, some would get it thrice and others never.
    reached: VecDeque<NodeName>,
}

/// Whether everyone takes part in waves, and checks with neighbours: then gossip is a second way for news, which may
/// wait, and share datagrams with more.
fn is_second_way(members: &Members) -> bool {
    members.rings().beside() == 0
}

/// How often each broadcast is sent; one tick's worth where that is enough.
fn transmit_limit(members: &Members) -> u32 {
    let config = members.config();
    let least = config.gossip_nodes as u32;
    if is_second_way(members) { least } else { config.transmit_limit(members.present()) }
}

/// The time between two ticks.
fn interval(members: &Members) -> Duration {
    let interval = members.config().gossip_interval;
    if is_second_way(members) { SECOND_WAY_TICKS * interval } else { interval }
}

impl Gossip {
    /// How long news may wait before it is queued: where gossip is only a second way, as long as for a tick.
    pub fn patience(members: &Members) -> Duration {
        if is_second_way(members) { interval(members) } else { Duration::ZERO }
    }

    /// Queues news and plans its first transmissions. What fits no datagram is over at once: it
    /// would never be sent, and enough of it would keep what is queued behind it from being found.
    pub fn push(&mut self, message: Shared, ticket: Option<Ticket>, members: &Members, now: Moment) {
        let room = Packer::new(members.config().datagram_budget).room();
        if message.bytes(members.widest_dialect()).len() > room {
            return self.queue.give_up(ticket);
        }
        self.queue.push(message, ticket, members.present());
        if !is_second_way(members) {
            self.next_burst.get_or_insert(now.max(self.last_burst + BURST_SPACING));
        }
        self.next_tick.get_or_insert(now + interval(members));
    }

    /// When [`Gossip::tick`] has something to do.
    pub fn next_deadline(&self) -> Moment {
        [self.next_tick, self.next_burst].into_iter().flatten().min().unwrap_or(Moment::NEVER)
    }

    /// The datagrams that are due.
    pub fn tick(&mut self, members: &Members, now: Moment, rng: &mut Rng) -> Vec<Datagram> {
        let mut out = Vec::new();
        if now < self.next_deadline() {
            return out;
        }
        let config = members.config();
        let fan_out = config.gossip_nodes;
        let on_tick = self.next_tick.is_some_and(|at| at <= now);
        if self.next_burst.is_some_and(|at| at <= now) {
            self.next_burst = None;
            self.last_burst = now;
            self.send(members, now, rng, fan_out as u32, &mut out);
            if self.queue.has_fresh(1) && !out.is_empty() {
                // More fresh news than fits one datagram.
                self.next_burst = Some(now + BURST_SPACING);
            }
        }
        if on_tick {
            // With a backlog, several full datagrams go out each tick, to others each time.
            for _ in 0..MAX_ROUNDS {
                if !self.send(members, now, rng, u32::MAX, &mut out) {
                    break;
                }
            }
            self.next_tick = Some(now + interval(members));
        }
        if out.is_empty() && (on_tick || members.gossip_targets(1, now, rng, |_| true).is_empty()) {
            // Nobody is left to inform, or nothing that is left fits a datagram: waiting changes
            // neither. A member that comes later learns everything by push/pull.
            self.queue.clear();
        }
        if self.queue.is_empty() {
            self.next_tick = None;
            self.next_burst = None;
        }
        out
    }

    /// One datagram each to a few random members, of broadcasts sent fewer than `sent_below`
    /// times. Says whether they were full, so that there is probably more.
    fn send(
        &mut self,
        members: &Members,
        now: Moment,
        rng: &mut Rng,
        sent_below: u32,
        out: &mut Vec<Datagram>,
    ) -> bool {
        let config = members.config();
        let limit = transmit_limit(members);
        let mut full = false;
        for row in self.targets(members, now, rng) {
            let to = row.target();
            let mut packer = Packer::new(config.datagram_budget);
            self.queue.fill(&mut packer, to.dialect, sent_below, limit);
            if packer.is_empty() {
                return false;
            }
            full = packer.room() < NEARLY_FULL;
            out.push(Datagram { to, bytes: packer.finish_in(to.wrapping(config)) });
            self.reached.push_back(row.name.clone());
        }
        while self.reached.len() > limit as usize {
            self.reached.pop_front();
        }
        full
    }

    /// A few random members that were not sent news lately, or failing that, longest ago.
    fn targets<'a>(&mut self, members: &'a Members, now: Moment, rng: &mut Rng) -> Vec<&'a Row> {
        let wanted = members.config().gossip_nodes;
        let mut targets = members.gossip_targets(wanted, now, rng, |row| !self.reached.contains(&row.name));
        while targets.len() < wanted
            && let Some(name) = self.reached.pop_front()
        {
            let again = members.row(&name).filter(|row| members.hears_gossip(row, now));
            if let Some(row) = again.filter(|row| !targets.iter().any(|other| other.name == row.name)) {
                targets.push(row);
            }
        }
        targets
    }

    /// Up to `room` bytes of queued news to be piggybacked on datagrams that are sent anyway,
    /// with probes and acks. Counts as a transmission.
    pub fn piggyback(&mut self, room: usize, members: &Members) -> Vec<Shared> {
        let limit = transmit_limit(members);
        self.queue.select(room, MAX_PIGGYBACKED, members.widest_dialect(), u32::MAX, limit)
    }
}
