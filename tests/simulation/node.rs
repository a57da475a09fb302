//! One agent without its threads: the rules, wired as the threads wire them. What goes out and
//! comes in are real bytes.

use crate::talk::{Said, Talker, Told};
use fastrand::Rng;
use serf::membership::{
    Config, Effects, ExchangeSchedule, Members, Presence, Prober, ReconnectSchedule, Seeds, SelfDescription,
    StreamRequest, Transmit, receive,
};
use serf::messaging::{Gossip, QueryParams};
use serf::model::{MemberEvent, Moment, NodeName, QueryKey, Tags};
use serf::wire::datagram::{self, Packer};
use serf::wire::message::{MembershipMessage, Message, PushPull};
use serf::wire::{self, Shared, WireError};
use std::net::SocketAddr;
use std::time::Duration;

/// The longest wait for the announcement of leaving to be spread (Serf's `BroadcastTimeout`).
const BROADCAST_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a process that has left stays so that the news gets around (Serf's
/// `LeavePropagateDelay`).
const LINGER: Duration = Duration::from_secs(1);
/// The ticket of the leave announcement.
const LEAVE_TICKET: u64 = 1;

/// How far a node is on its way out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leave {
    /// Means to stay.
    Stays,
    /// Has announced it and waits until that is spread, or until the moment comes.
    Announces(Moment),
    /// Has left, and lingers until then.
    Lingers(Moment),
    /// Is done.
    Done,
}

/// A datagram that a node hands to its socket.
#[derive(Debug)]
pub struct Outgoing {
    /// Where to.
    pub to: SocketAddr,
    /// What.
    pub bytes: Vec<u8>,
    /// The probe that depends on it.
    pub probe: Option<u32>,
}

/// What one step of a node asks the world to do.
#[derive(Debug, Default)]
pub struct Outbox {
    /// Datagrams, in order.
    pub datagrams: Vec<Outgoing>,
    /// Exchanges over TCP.
    pub streams: Vec<StreamRequest>,
    /// What handlers would be told.
    pub events: Vec<MemberEvent>,
    /// What was told of events and queries.
    pub told: Vec<Told>,
    /// Whoever sent the datagrams that were handled: an answer may go back there.
    pub answering: Vec<SocketAddr>,
    /// Datagrams that could not be read.
    pub refused: u64,
}

/// One agent.
#[derive(Debug)]
pub struct Node {
    /// Who is here.
    pub members: Members,
    /// Are you there?
    pub prober: Prober,
    /// What is said.
    pub gossip: Gossip,
    /// What is said besides.
    pub talker: Talker,
    exchange: ExchangeSchedule,
    reconnect: ReconnectSchedule,
    /// Addresses that it never forgets, as text.
    pub seeds: Seeds,
    /// How often it has looked a seed up.
    pub seeds_asked: u32,
    /// For reaching those who are missing.
    recovery_rng: Rng,
    rng: Rng,
    /// Whether it is on its way out.
    pub leave: Leave,
    /// How many news it has queued.
    pub queued: u64,
}

impl Node {
    /// Starts a process that knows nobody.
    pub fn new(config: Config, me: SelfDescription, now: Moment, mut rng: Rng, out: &mut Outbox) -> Node {
        let mut fx = Effects::default();
        let members = Members::new(config, me, now, &mut fx).expect("tags of the simulator are small");
        let prober = Prober::new(&members, now, &mut rng);
        let exchange = ExchangeSchedule::new(&members, now, &mut rng);
        let gossip = Gossip::default();
        let talker = Talker::new(rng.clone().fork());
        let mut recovery_rng = rng.clone();
        let reconnect = ReconnectSchedule::new(&members, now, &mut recovery_rng);
        let seeds = Seeds::new(&members, now, &mut recovery_rng);
        let mut node = Node {
            members,
            prober,
            gossip,
            talker,
            exchange,
            reconnect,
            seeds,
            seeds_asked: 0,
            recovery_rng,
            rng,
            leave: Leave::Stays,
            queued: 0,
        };
        node.carry_out(fx, now, out);
        node
    }

    /// When [`Node::wake`] has something to do.
    pub fn deadline(&mut self, now: Moment) -> Moment {
        let leave = match self.leave {
            Leave::Announces(at) | Leave::Lingers(at) => at,
            Leave::Stays | Leave::Done => Moment::NEVER,
        };
        let rules = self.prober.plan(&self.members, now).min(self.talker.deadline());
        let recovery = self.reconnect.next_deadline().min(self.seeds.next_deadline());
        rules.min(self.gossip.next_deadline()).min(self.exchange.next_deadline()).min(recovery).min(leave)
    }

    /// Does what has come due.
    pub fn wake(&mut self, now: Moment, out: &mut Outbox) {
        let mut fx = Effects::default();
        self.prober.tick(&mut self.members, now, &mut self.rng, &mut fx);
        self.carry_out(fx, now, out);
        for datagram in self.gossip.tick(&self.members, now, &mut self.rng) {
            out.datagrams.push(Outgoing { to: datagram.to.addr, bytes: datagram.bytes, probe: None });
        }
        if now >= self.exchange.next_deadline() {
            out.streams.extend(self.exchange.tick(&self.members, now, &mut self.rng));
        }
        out.streams.extend(self.reconnect.tick(&self.members, now, &mut self.recovery_rng));
        if let Some(seed) = self.seeds.tick(&self.members, now, &mut self.recovery_rng) {
            // Nobody has to be asked where an address is.
            self.seeds_asked += 1;
            let addrs = seed.parse().into_iter().collect();
            out.streams.extend(self.seeds.found(&seed, addrs, &self.members, &mut self.recovery_rng));
        }
        self.talk(now, out, |talker, members, said| talker.tick(members, now, said));
        self.continue_leaving(now, out);
    }

    /// Handles one datagram. The probe thread drains its socket before it looks at deadlines;
    /// so does whoever drives this: all datagrams first, then [`Node::wake`].
    pub fn datagram(&mut self, from: SocketAddr, bytes: &[u8], now: Moment, out: &mut Outbox) {
        out.answering.push(from);
        let messages = match open(bytes) {
            Ok(messages) => messages,
            Err(_) => return out.refused += 1,
        };
        let mut fx = Effects::default();
        let batch = messages.into_iter().map(|m| (from, m)).collect();
        let received = receive(batch, &mut self.members, &mut self.prober, now, &mut self.rng, &mut fx);
        self.carry_out(fx, now, out);
        self.talk(now, out, |talker, members, said| {
            received.serf.into_iter().for_each(|message| talker.hear(message, members, now, said));
        });
    }

    /// What this member knows.
    pub fn push_pull(&self, join: bool) -> PushPull {
        self.members.push_pull(join, self.talker.talk())
    }

    /// Takes in what another member knows; events of the past only if they are wanted.
    pub fn merge(&mut self, theirs: &PushPull, ignore_past: bool, now: Moment, out: &mut Outbox) {
        let mut fx = Effects::default();
        self.members.merge(theirs, now, &mut self.rng, &mut fx);
        self.carry_out(fx, now, out);
        self.talk(now, out, |talker, _, said| talker.merge(&theirs.serf, ignore_past, now, said));
    }

    /// Fires an event.
    pub fn fire(&mut self, name: &str, payload: &[u8], now: Moment, out: &mut Outbox) {
        self.talk(now, out, |talker, _, said| {
            talker.fire(name.into(), payload.into(), now, said).expect("events of the simulator are small");
        });
    }

    /// Asks a query.
    pub fn ask(&mut self, params: QueryParams, now: Moment, out: &mut Outbox) -> QueryKey {
        self.talk(now, out, |talker, members, said| {
            talker.ask(params, members, now, said).expect("queries of the simulator are few and small")
        })
    }

    /// After a join has succeeded.
    pub fn joined(&mut self, now: Moment, out: &mut Outbox) {
        if self.members.presence() == Presence::Here {
            self.rule(now, out, Members::announce_join);
            self.exchange.joined(now, &mut self.rng);
        }
    }

    /// Says that this member leaves; the rest follows by itself.
    pub fn begin_leave(&mut self, now: Moment, out: &mut Outbox) {
        if self.leave == Leave::Stays {
            self.leave = Leave::Announces(now + BROADCAST_TIMEOUT);
            self.rule(now, out, Members::begin_leave);
        }
    }

    /// Comes back after having left, in the same process.
    pub fn come_back(&mut self, now: Moment, out: &mut Outbox) {
        self.leave = Leave::Stays;
        self.rule(now, out, Members::come_back);
    }

    fn continue_leaving(&mut self, now: Moment, out: &mut Outbox) {
        let spread = self.gossip.queue.take_finished().contains(&LEAVE_TICKET);
        match self.leave {
            Leave::Announces(at) if spread || at <= now => {
                self.leave = Leave::Lingers(now + LINGER);
                self.rule(now, out, Members::finish_leave);
            }
            Leave::Lingers(at) if at <= now => self.leave = Leave::Done,
            _ => {}
        }
    }

    /// Removes a failed member.
    pub fn force_leave(&mut self, name: &NodeName, prune: bool, now: Moment, out: &mut Outbox) {
        self.rule(now, out, |members, now, fx| members.force_leave(name, prune, now, fx));
    }

    /// Changes this member's tags.
    pub fn set_tags(&mut self, tags: Tags, now: Moment, out: &mut Outbox) {
        self.rule(now, out, |members, now, fx| {
            members.set_tags(tags, now, fx).expect("tags of the simulator are small");
        });
    }

    fn rule(&mut self, now: Moment, out: &mut Outbox, f: impl FnOnce(&mut Members, Moment, &mut Effects)) {
        let mut fx = Effects::default();
        f(&mut self.members, now, &mut fx);
        self.carry_out(fx, now, out);
    }

    fn carry_out(&mut self, fx: Effects, now: Moment, out: &mut Outbox) {
        for transmit in fx.transmits {
            let outgoing = self.pack(&transmit);
            out.datagrams.push(outgoing);
        }
        for message in fx.broadcasts {
            let mine = matches!(&message, Message::Membership(MembershipMessage::LeaveIntent(m)) if m.node == *self.members.me());
            let ticket = (mine && matches!(self.leave, Leave::Announces(_))).then_some(LEAVE_TICKET);
            self.gossip.push(Shared::new(message), ticket, &self.members, now);
            self.queued += 1;
        }
        out.streams.extend(fx.streams);
        for event in fx.events {
            if event.kind.is_gone() {
                self.talk(now, out, |talker, _, said| talker.gone(&event.member.name, said));
            }
            out.events.push(event);
        }
    }

    fn talk<T>(
        &mut self,
        now: Moment,
        out: &mut Outbox,
        f: impl FnOnce(&mut Talker, &Members, &mut Said) -> T,
    ) -> T {
        let mut said = Said::default();
        let result = f(&mut self.talker, &self.members, &mut said);
        for message in said.broadcasts {
            self.gossip.push(Shared::new(message), None, &self.members, now);
        }
        for mut transmit in said.transmits {
            // The thread that sends it does not own the queue.
            transmit.rides = false;
            let outgoing = self.pack(&transmit);
            out.datagrams.push(outgoing);
        }
        out.told.extend(said.told);
        result
    }

    fn pack(&mut self, transmit: &Transmit) -> Outgoing {
        let mut packer = Packer::new(self.members.config().datagram_budget);
        for message in &transmit.messages {
            let bytes = wire::encode(transmit.to.dialect, message);
            assert!(packer.push(&bytes), "a direct message does not fit a datagram: {message:?}");
        }
        let room = if transmit.rides { packer.room() } else { 0 };
        for rider in self.gossip.riders(room, &self.members) {
            // What does not fit has other chances, as in the agent.
            let _ = packer.push(rider.bytes(transmit.to.dialect));
        }
        Outgoing { to: transmit.to.addr, bytes: packer.finish(), probe: transmit.probe }
    }
}

/// The messages of a datagram; one that cannot be read spoils the rest.
pub fn open(bytes: &[u8]) -> Result<Vec<Message>, WireError> {
    datagram::open(bytes)?.into_iter().map(wire::decode).collect()
}
