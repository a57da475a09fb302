//! The heartbeat: probing, how news travels, and the order in which what has arrived is taken in.

use super::table::{Outgoing, Table};
use crate::membership::{Effects, Members, Prober, StreamPing, receive};
use crate::messaging::wave::{Arrived, WaveTurn, Waves};
use crate::messaging::{Datagram, Ticket};
use crate::model::{LamportTime, Moment};
use crate::wire::Shared;
use crate::wire::message::{Message, ProbeMessage, SerfMessage};
use fastrand::Rng;
use std::net::SocketAddr;

/// What has come in since the last turn.
#[derive(Debug, Default)]
pub struct Batch {
    /// What each datagram holds, with the address it came from.
    pub arrived: Vec<(SocketAddr, Arrived)>,
    /// What this process wants everyone to hear.
    pub said: Vec<Message>,
    /// What was new of the memory of each member that the conversation has taken in.
    pub merged: Vec<Vec<Message>>,
    /// How pings over TCP went, each with its sequence number.
    pub stream_pings: Vec<(u32, StreamPing)>,
}

/// What comes of a turn. To be carried out after the table has been released: datagrams first.
#[derive(Debug, Default)]
pub struct HeartbeatTurn {
    /// News on its way, and what is said of it.
    pub datagrams: Vec<Datagram>,
    /// What else the table asks for.
    pub out: Outgoing,
    /// For the conversation, in the order in which it came.
    pub serf: Vec<SerfMessage>,
    /// For the queue of gossip.
    pub gossip: Vec<(Shared, Option<Ticket>)>,
    /// Tickets of news that is known to those that were to confirm it.
    pub finished: Vec<Ticket>,
}

/// The state of the heartbeat.
#[derive(Debug)]
pub struct Heartbeat {
    /// Probing.
    pub prober: Prober,
    /// How news travels.
    pub waves: Waves,
}

/// What is still to be done about a batch, for which the table is changed.
#[derive(Debug, Default)]
pub struct Rest {
    messages: Vec<(SocketAddr, Message)>,
    stream_pings: Vec<(u32, StreamPing)>,
}

impl Rest {
    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        self.messages.is_empty() && self.stream_pings.is_empty()
    }
}

/// What both halves of a turn need.
#[derive(Debug)]
pub struct BeatContext<'a> {
    /// The Lamport times of events and of queries.
    pub clocks: [LamportTime; 2],
    /// The moment.
    pub now: Moment,
    /// A random source.
    pub rng: &'a mut Rng,
}

impl Heartbeat {
    /// Nothing has been heard yet.
    pub fn new(members: &Members, now: Moment, rng: &mut Rng) -> Heartbeat {
        Heartbeat { prober: Prober::new(members, now, rng), waves: Waves::default() }
    }

    /// When the next turn is due.
    pub fn plan(&mut self, members: &Members, now: Moment) -> Moment {
        self.prober.plan(members, now).min(self.waves.next_deadline())
    }

    /// The first half of a turn, for which the table is only read: news is passed on before anything else
    /// is done about it. If nothing remains and the prober has nothing to do, that was all.
    pub fn hear(
        &mut self,
        batch: Batch,
        members: &Members,
        context: &mut BeatContext,
        turn: &mut HeartbeatTurn,
    ) -> Rest {
        let mut rest = Rest { messages: Vec::new(), stream_pings: batch.stream_pings };
        let mut waves = wave_turn(members, context, &mut turn.datagrams);
        for (from, arrived) in batch.arrived {
            for message in self.waves.arrived(from, arrived, &mut waves) {
                match message {
                    Message::Serf(message) => turn.serf.push(message),
                    message => rest.messages.push((from, message)),
                }
            }
        }
        for found in batch.merged {
            self.waves.merged(found, &mut waves);
        }
        self.waves.spread(batch.said.into_iter().map(|message| (message, None)), &mut waves);
        self.waves.tick(&mut waves);
        self.take_from_waves(turn);
        rest
    }

    /// The second half: takes in what concerns members, then does what has come due.
    ///
    /// Results of pings first: an answer that is there counts although its deadline is, too.
    pub fn change(
        &mut self,
        rest: Rest,
        table: &mut Table,
        context: &mut BeatContext,
        turn: &mut HeartbeatTurn,
    ) {
        let mut fx = Effects::default();
        let now = context.now;
        let members = &mut table.members;
        for (seq_no, outcome) in rest.stream_pings {
            self.prober.stream_ping_done(seq_no, outcome, members, now, context.rng, &mut fx);
        }
        let received = receive(rest.messages, members, &mut self.prober, now, context.rng, &mut fx);
        turn.serf.extend(received.serf);
        self.prober.tick(members, now, context.rng, &mut fx);
        self.say_what_was_heard(members, &mut fx);
        turn.out = table.post(fx, None);
        self.spread(table, context, turn);
    }

    /// Passes on what the table's outbox holds.
    pub fn spread(&mut self, table: &mut Table, context: &mut BeatContext, turn: &mut HeartbeatTurn) {
        let broadcasts = table.broadcasts.take();
        let mut waves = wave_turn(&table.members, context, &mut turn.datagrams);
        self.waves.spread(broadcasts, &mut waves);
        self.waves.tick(&mut waves);
        self.take_from_waves(turn);
    }

    fn take_from_waves(&mut self, turn: &mut HeartbeatTurn) {
        turn.gossip.extend(self.waves.take_gossip());
        turn.finished.extend(self.waves.take_finished());
    }

    /// Adds to probes and acks what has been heard, for members that understand it.
    fn say_what_was_heard(&self, members: &Members, fx: &mut Effects) {
        let Some(digests) = self.waves.digests() else { return };
        for transmit in fx.transmits.iter_mut().filter(|transmit| transmit.piggybacks) {
            let is_probe = |message: &Message| {
                matches!(message, Message::Probe(ProbeMessage::Ping(_) | ProbeMessage::Ack(_)))
            };
            let understands = |addr| members.present_at(addr).is_some_and(|row| row.versions.speaks_waves());
            if transmit.messages.iter().any(is_probe) && understands(transmit.to.addr) {
                transmit.messages.push(digests.into());
            }
        }
    }
}

fn wave_turn<'a>(
    members: &'a Members,
    context: &'a mut BeatContext,
    out: &'a mut Vec<Datagram>,
) -> WaveTurn<'a> {
    WaveTurn { members, clocks: context.clocks, now: context.now, rng: context.rng, out }
}
