//! All machines of one member together, each input carried through to what leaves the member.
//!
//! The agent has a thread for each machine and channels between them; here the same machines hand
//! their effects to each other in place. Nothing is decided here: what goes where is what the
//! threads do with the same effects.

use super::conversation::{
    Conversation, ConversationEffect, ConversationSettings, ConversationTurn, MERGED_AT_ONCE,
};
use super::departure::Departure;
use super::exchanges::{
    ExchangeEffect, ExchangeTurn, Exchanges, JoinError, JoinId, Purpose, StreamFailure, StreamId,
};
use super::heartbeat::{Batch, BeatContext, Heartbeat, HeartbeatTurn};
use super::news;
use super::outbox::{Outbox, OutgoingDatagram};
use super::packing::pack;
use super::rejoin::{NextAttempt, Rejoin};
use super::snapshot::{Known, Line, Notes};
use super::table::{Outgoing, Table};
use crate::membership::{Config, Effects, Members, Origin, SelfDescription, Transmit};
use crate::messaging::keys::{KeyCommand, KeyStep};
use crate::messaging::wave::Arrived;
use crate::messaging::{Gossip, QueryParams};
use crate::model::{Moment, NodeName, QueryKey, Tags, TagsError, Token};
use crate::wire::message::SerfMessage;
use crate::wire::stream::StreamMessage;
use crate::wire::{Shared, read_datagram};
use fastrand::Rng;
use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

/// What a member is set up with.
#[derive(Clone, Debug)]
pub struct NodeSettings {
    /// The numbers of the membership rules.
    pub rules: Config,
    /// Those of the conversation. How far the clocks were comes from `snapshot`.
    pub conversation: ConversationSettings,
    /// How long a leave waits for each of its announcements.
    pub broadcast_timeout: Duration,
    /// What a snapshot of an earlier run says; its members are rejoined.
    pub snapshot: Option<Known>,
}

/// One member.
#[derive(Debug)]
pub struct Node {
    /// The membership table with its outboxes.
    pub table: Table,
    /// Probing, and how news travels.
    pub heartbeat: Heartbeat,
    /// The broadcast queue.
    pub gossip: Gossip,
    /// Events and queries.
    pub conversation: Conversation,
    exchanges: Exchanges,
    departure: Option<Departure>,
    rejoin: Option<(JoinId, Rejoin)>,
    notes: Notes,
    /// News for the next datagram that is sent anyway.
    piggyback: Option<Vec<Shared>>,
    broadcast_timeout: Duration,
    rngs: Rngs,
}

/// Each machine draws from a source of its own, as each thread does.
#[derive(Debug)]
struct Rngs {
    heartbeat: Rng,
    gossip: Rng,
    exchanges: Rng,
    conversation: Rng,
    main: Rng,
}

impl Node {
    /// Starts a member that knows nobody but the members of its snapshot, which it rejoins.
    pub fn new(
        settings: NodeSettings,
        me: SelfDescription,
        now: Moment,
        mut rng: Rng,
        out: &mut Outbox,
    ) -> Result<Node, TagsError> {
        let known = settings.snapshot.unwrap_or_else(|| Known::new(false));
        let previous: Vec<(NodeName, SocketAddr)> =
            known.alive().map(|(name, addr)| (name.clone(), addr)).collect();
        let (name, addr) = (me.name.clone(), me.addr);
        let mut fx = Effects::default();
        let mut members = Members::new(settings.rules, me, now, &mut fx)?;
        members.resume(known.clocks().member, now);
        let heartbeat = Heartbeat::new(&members, now, &mut rng);
        let exchanges = Exchanges::new(&members, now, &mut rng);
        let conversation = ConversationSettings { resumed: known.clocks(), ..settings.conversation };
        let rejoin = Rejoin::begin(previous, (&name, addr), &mut rng);
        let mut node = Node {
            table: Table::new(members),
            heartbeat,
            gossip: Gossip::default(),
            conversation: Conversation::new(conversation, now),
            exchanges,
            departure: None,
            rejoin: None,
            notes: Notes::new(known),
            piggyback: None,
            broadcast_timeout: settings.broadcast_timeout,
            rngs: Rngs {
                heartbeat: rng.fork(),
                gossip: rng.fork(),
                exchanges: rng.fork(),
                conversation: rng.fork(),
                main: rng,
            },
        };
        let outgoing = node.table.post(fx, None);
        node.carry_out(outgoing, now, out);
        if let Some(rejoin) = rejoin {
            node.ask_to_rejoin(rejoin, now, out);
        }
        Ok(node)
    }

    /// The membership table.
    pub fn members(&self) -> &Members {
        &self.table.members
    }

    /// What is known from the snapshot and has been added to it.
    pub fn known(&self) -> &Known {
        self.notes.known()
    }

    /// Whether it is on its way out, or has left.
    pub fn is_leaving(&self) -> bool {
        self.departure.is_some()
    }

    /// Whether it has left, and its process may end.
    pub fn has_left(&self) -> bool {
        self.departure.as_ref().is_some_and(Departure::is_complete)
    }

    // ---- time --------------------------------------------------------------------------

    /// When [`Node::wake`] has something to do.
    pub fn deadline(&mut self, now: Moment) -> Moment {
        let departure = self.departure.as_ref().map_or(Moment::NEVER, Departure::deadline);
        [
            self.heartbeat.plan(&self.table.members, now),
            self.gossip.next_deadline(),
            self.exchanges.next_deadline(),
            self.conversation.next_deadline(),
            self.notes.next_deadline(),
            departure,
        ]
        .into_iter()
        .min()
        .unwrap_or(Moment::NEVER)
    }

    /// Does what has come due.
    pub fn wake(&mut self, now: Moment, out: &mut Outbox) {
        self.beat(Batch::default(), now, out);
        self.spread_news(now, out);
        let mut fx = Vec::new();
        self.exchanges.tick(&self.table.members, now, &mut self.rngs.exchanges, &mut fx);
        self.exchange_effects(fx, now, out);
        self.converse(now, out, Conversation::tick);
        if let Some(departure) = &mut self.departure {
            let outgoing = departure.advance(&mut self.table, now);
            self.carry_out(outgoing, now, out);
        }
        let time = self.table.members.time();
        self.notes.look_at_clock(|| time, now);
        out.snapshot.extend(self.notes.take_lines());
    }

    /// One turn of the broadcast queue.
    fn spread_news(&mut self, now: Moment, out: &mut Outbox) {
        self.pump(now, out);
        for datagram in self.gossip.tick(&self.table.members, now, &mut self.rngs.gossip) {
            out.datagrams.push(OutgoingDatagram { to: datagram.to.addr, bytes: datagram.bytes, probe: None });
        }
        if self.piggyback.is_none() {
            self.piggyback = news::piggyback(&mut self.gossip, &self.table.members);
        }
        for ticket in self.gossip.queue.take_finished() {
            if let Some(departure) = &mut self.departure {
                departure.spread(ticket, now);
            }
        }
    }

    // ---- the network -------------------------------------------------------------------

    /// Takes in datagrams that have arrived, all that there are, before deadlines are looked at.
    pub fn datagrams(&mut self, arrived: Vec<(SocketAddr, Vec<u8>)>, now: Moment, out: &mut Outbox) {
        let mut batch = Batch::default();
        for (from, bytes) in arrived {
            let mut content = Arrived::default();
            let read = read_datagram(&bytes, None, |message, bytes| content.push(message, bytes));
            batch.arrived.push((from, content));
            out.refused += u64::from(read.is_err());
            out.answered.push(from);
        }
        self.beat(batch, now, out);
    }

    /// A datagram on which a probe depends could not be sent.
    pub fn send_failed(&mut self, probe: u32, now: Moment) {
        self.heartbeat.prober.send_failed(probe, now);
    }

    /// A message came on a stream that another member opened.
    pub fn stream_heard(
        &mut self,
        stream: StreamId,
        peer: SocketAddr,
        message: StreamMessage,
        now: Moment,
        out: &mut Outbox,
    ) {
        self.exchange(now, out, |exchanges, turn| exchanges.heard(stream, peer, message, turn));
    }

    /// The answer came on a stream of this member.
    pub fn stream_answered(
        &mut self,
        purpose: Purpose,
        peer: SocketAddr,
        message: StreamMessage,
        now: Moment,
        out: &mut Outbox,
    ) {
        self.exchange(now, out, |exchanges, turn| exchanges.answered(purpose, peer, message, turn));
    }

    /// A stream that another member opened is gone.
    pub fn stream_closed(&mut self, stream: StreamId) {
        self.exchanges.closed(stream);
    }

    /// A stream of this member has not done its work.
    pub fn stream_failed(
        &mut self,
        purpose: Purpose,
        peer: SocketAddr,
        why: &StreamFailure,
        now: Moment,
        out: &mut Outbox,
    ) {
        self.exchange(now, out, |exchanges, turn| exchanges.failed(purpose, peer, why, turn));
    }

    // ---- what people want --------------------------------------------------------------

    /// Joins through addresses. A member that has left comes back with it.
    pub fn join(&mut self, addrs: Vec<SocketAddr>, replay: bool, now: Moment, out: &mut Outbox) -> JoinId {
        if self.has_left() {
            self.departure = None;
        }
        let id = self.exchanges.next_join();
        self.exchange(now, out, |exchanges, turn| exchanges.join(id, addrs, Vec::new(), replay, turn));
        id
    }

    /// Keeps addresses through which others may be found.
    pub fn keep_seeds(&mut self, seeds: Vec<String>, origin: Origin) {
        self.exchanges.keep_seeds(seeds, origin);
    }

    /// A seed leads to these addresses.
    pub fn seed_found(&mut self, seed: &str, addrs: Vec<SocketAddr>, now: Moment, out: &mut Outbox) {
        let mut fx = Vec::new();
        let (members, rng) = (&self.table.members, &mut self.rngs.exchanges);
        self.exchanges.seed_found(seed, addrs, members, rng, &mut fx);
        self.exchange_effects(fx, now, out);
    }

    /// Lets a control connection or a handler take part in the conversation.
    pub fn converse(
        &mut self,
        now: Moment,
        out: &mut Outbox,
        input: impl FnOnce(&mut Conversation, &mut ConversationTurn),
    ) {
        let mut fx = Vec::new();
        let (members, rng) = (&self.table.members, &mut self.rngs.conversation);
        input(&mut self.conversation, &mut ConversationTurn { members, now, rng, fx: &mut fx });
        self.conversation_effects(fx, now, out);
    }

    /// Sends a user event.
    pub fn fire(
        &mut self,
        name: &str,
        payload: &[u8],
        coalesce: bool,
        token: Token,
        now: Moment,
        out: &mut Outbox,
    ) {
        self.converse(now, out, |c, turn| c.fire(name.into(), payload.into(), coalesce, token, turn));
    }

    /// Asks a query.
    pub fn ask(&mut self, params: QueryParams, token: Token, now: Moment, out: &mut Outbox) {
        self.converse(now, out, |conversation, turn| conversation.ask(params, token, turn));
    }

    /// Asks everyone about keys.
    pub fn ask_about_keys(&mut self, command: &KeyCommand, token: Token, now: Moment, out: &mut Outbox) {
        self.converse(now, out, |conversation, turn| conversation.ask_about_keys(command, token, turn));
    }

    /// The keyring has been changed, or has not.
    pub fn key_changed(
        &mut self,
        query: QueryKey,
        step: KeyStep,
        result: Result<(), impl fmt::Display>,
        now: Moment,
        out: &mut Outbox,
    ) {
        self.converse(now, out, |c, turn| c.key_changed(query, step, result, turn));
    }

    /// Leaves the cluster; the rest follows by itself.
    pub fn leave(&mut self, now: Moment, out: &mut Outbox) {
        if self.departure.is_some() {
            return;
        }
        // A member that leaves does not come back by itself.
        self.rejoin = None;
        let (departure, outgoing) = Departure::begin(self.broadcast_timeout, &mut self.table, now);
        self.departure = Some(departure);
        self.carry_out(outgoing, now, out);
        self.keep(&Line::Leave, now);
        out.snapshot.extend(self.notes.take_lines());
    }

    /// Ends without leaving, and says so to other members that understand it.
    pub fn announce_shutdown(&mut self, now: Moment, out: &mut Outbox) {
        let rng = &mut self.rngs.main;
        let outgoing = self.table.change(|members, fx| members.part(now, rng, fx));
        self.carry_out(outgoing, now, out);
    }

    /// Makes a failed member one that has left, or forgets it.
    pub fn force_leave(&mut self, name: &NodeName, prune: bool, now: Moment, out: &mut Outbox) {
        let outgoing = self.table.change(|members, fx| members.force_leave(name, prune, now, fx));
        self.carry_out(outgoing, now, out);
    }

    /// Changes this member's tags.
    pub fn set_tags(&mut self, tags: Tags, now: Moment, out: &mut Outbox) -> Result<(), TagsError> {
        let mut fx = Effects::default();
        self.table.members.set_tags(tags, now, &mut fx)?;
        let outgoing = self.table.post(fx, None);
        self.carry_out(outgoing, now, out);
        Ok(())
    }

    // ---- from one machine to the next ----------------------------------------------------

    fn beat(&mut self, batch: Batch, now: Moment, out: &mut Outbox) {
        out.queued += batch.said.len() as u64;
        let turn = self.turn(now, |heartbeat, table, context, turn| {
            let rest = heartbeat.hear(batch, &table.members, context, turn);
            heartbeat.change(rest, table, context, turn);
        });
        self.after_turn(turn, now, out);
    }

    fn turn(
        &mut self,
        now: Moment,
        what: impl FnOnce(&mut Heartbeat, &mut Table, &mut BeatContext, &mut HeartbeatTurn),
    ) -> HeartbeatTurn {
        let (events, queries) = self.conversation.times();
        let mut context = BeatContext { clocks: [events, queries], now, rng: &mut self.rngs.heartbeat };
        let mut turn = HeartbeatTurn::default();
        what(&mut self.heartbeat, &mut self.table, &mut context, &mut turn);
        turn
    }

    fn after_turn(&mut self, turn: HeartbeatTurn, now: Moment, out: &mut Outbox) {
        for datagram in turn.datagrams {
            out.datagrams.push(OutgoingDatagram { to: datagram.to.addr, bytes: datagram.bytes, probe: None });
        }
        for (news, ticket) in turn.gossip {
            self.gossip.push(news, ticket, &self.table.members, now);
        }
        for ticket in turn.finished {
            if let Some(departure) = &mut self.departure {
                departure.spread(ticket, now);
            }
        }
        self.carry_out_with_news(turn.out, now, out);
        if !turn.serf.is_empty() {
            self.converse(now, out, |conversation, context| {
                turn.serf.into_iter().for_each(|message| conversation.hear(message.into(), context));
            });
        }
    }

    /// What a change of the table asks for; `serf-probe` has news to piggyback, the others have
    /// not, because they do not own the queue.
    fn carry_out(&mut self, outgoing: Outgoing, now: Moment, out: &mut Outbox) {
        for transmit in &outgoing.transmits {
            self.transmit(transmit, &[], out);
        }
        self.begin_exchanges(outgoing, now, out);
    }

    fn carry_out_with_news(&mut self, outgoing: Outgoing, now: Moment, out: &mut Outbox) {
        for transmit in &outgoing.transmits {
            let news = if transmit.piggybacks { self.piggyback.take() } else { None };
            self.transmit(transmit, &news.unwrap_or_default(), out);
        }
        self.begin_exchanges(outgoing, now, out);
    }

    fn begin_exchanges(&mut self, outgoing: Outgoing, now: Moment, out: &mut Outbox) {
        let mut fx = Vec::new();
        for request in outgoing.streams {
            self.exchanges.open(request, &mut fx);
        }
        self.exchange_effects(fx, now, out);
        self.pump(now, out);
    }

    fn transmit(&mut self, transmit: &Transmit, news: &[Shared], out: &mut Outbox) {
        match pack(transmit, news, self.table.members.config()) {
            Ok(bytes) => {
                out.datagrams.push(OutgoingDatagram { to: transmit.to.addr, bytes, probe: transmit.probe });
            }
            Err(why) => debug_assert!(false, "{why}"),
        }
    }

    /// Empties the outboxes of the table.
    fn pump(&mut self, now: Moment, out: &mut Outbox) {
        while !self.table.broadcasts.is_empty() || !self.table.events.is_empty() || self.table.rival.is_some()
        {
            out.queued += self.table.broadcasts.len() as u64;
            if !self.table.broadcasts.is_empty() {
                let turn =
                    self.turn(now, |heartbeat, table, context, turn| heartbeat.spread(table, context, turn));
                self.after_turn(turn, now, out);
            }
            let (events, rival) = (std::mem::take(&mut self.table.events), self.table.rival.take());
            out.member_events.extend(events.iter().cloned());
            let mut fx = Vec::new();
            let (members, rng) = (&self.table.members, &mut self.rngs.conversation);
            let mut turn = ConversationTurn { members, now, rng, fx: &mut fx };
            self.conversation.members_changed(events, rival, &mut turn);
            self.conversation_effects(fx, now, out);
        }
    }

    fn exchange(
        &mut self,
        now: Moment,
        out: &mut Outbox,
        input: impl FnOnce(&mut Exchanges, &mut ExchangeTurn),
    ) {
        let mut fx = Vec::new();
        let (table, rng) = (&mut self.table, &mut self.rngs.exchanges);
        input(&mut self.exchanges, &mut ExchangeTurn { table, now, rng, fx: &mut fx });
        self.exchange_effects(fx, now, out);
    }

    fn exchange_effects(&mut self, effects: Vec<ExchangeEffect>, now: Moment, out: &mut Outbox) {
        for effect in effects {
            match effect {
                ExchangeEffect::Recall(plan) => {
                    let mut fx = Vec::new();
                    let (members, rng) = (&self.table.members, &mut self.rngs.exchanges);
                    self.exchanges.proceed(plan, self.conversation.recall(), members, rng, &mut fx);
                    self.exchange_effects(fx, now, out);
                }
                ExchangeEffect::Connect { to, message, purpose } => out.connects.push((to, message, purpose)),
                ExchangeEffect::Say { line, message, last } => out.said.push((line, message, last)),
                ExchangeEffect::End(line) => out.ended.push(line),
                ExchangeEffect::Reply(stream, message) => out.replies.push((stream, message)),
                ExchangeEffect::Close(stream) => out.closes.push(stream),
                ExchangeEffect::MergeSerf { theirs, ignore_past } => {
                    for piece in theirs.pieces(MERGED_AT_ONCE) {
                        self.converse(now, out, |c, turn| c.merge(piece, ignore_past, turn));
                    }
                }
                ExchangeEffect::Hear(from, message) => self.hear(from, message, now, out),
                ExchangeEffect::Table(outgoing) => self.carry_out(outgoing, now, out),
                ExchangeEffect::PingDone { seq_no, outcome } => {
                    let stream_pings = vec![(seq_no, outcome)];
                    self.beat(Batch { stream_pings, ..Batch::default() }, now, out);
                }
                ExchangeEffect::Joined(id, result) => self.joined(id, result, now, out),
                ExchangeEffect::LookUp(seed) => out.lookups.push(seed),
            }
        }
        // The agent lets others have the table in between.
        while self.exchanges.has_work() {
            let mut fx = Vec::new();
            self.exchanges.work(&self.table.members, &mut self.rngs.exchanges, &mut fx);
            self.exchange_effects(fx, now, out);
        }
    }

    fn hear(&mut self, from: SocketAddr, message: SerfMessage, now: Moment, out: &mut Outbox) {
        let mut content = Arrived::default();
        content.push(message.into(), &[]);
        self.beat(Batch { arrived: vec![(from, content)], ..Batch::default() }, now, out);
    }

    fn conversation_effects(&mut self, effects: Vec<ConversationEffect>, now: Moment, out: &mut Outbox) {
        for effect in effects {
            match effect {
                ConversationEffect::Broadcast(message) => {
                    self.beat(Batch { said: vec![message], ..Batch::default() }, now, out);
                }
                ConversationEffect::Merged(found) => {
                    self.beat(Batch { merged: vec![found], ..Batch::default() }, now, out);
                }
                ConversationEffect::Send(transmit) => self.transmit(&transmit, &[], out),
                ConversationEffect::Keep(line) => self.keep(&line, now),
                ConversationEffect::Deliver(event) => out.delivered.push(event),
                ConversationEffect::Reply(token, reply) => out.answers.push((token, reply)),
                ConversationEffect::ChangeKey { change, query } => out.key_changes.push((change, query)),
                ConversationEffect::HashicorpMemberCame => {
                    let (members, rng) = (&self.table.members, &mut self.rngs.exchanges);
                    self.exchanges.hashicorp_member_came(members, now, rng);
                }
                ConversationEffect::NameLost(lost) => out.name_lost = Some(lost),
            }
        }
        out.snapshot.extend(self.notes.take_lines());
        self.pump(now, out);
    }

    fn keep(&mut self, line: &Line, now: Moment) {
        let time = self.table.members.time();
        self.notes.look_later(now);
        self.notes.learn(line, || time, now);
    }

    // ---- rejoining -----------------------------------------------------------------------

    fn ask_to_rejoin(&mut self, rejoin: Rejoin, now: Moment, out: &mut Outbox) {
        let (id, addr) = (self.exchanges.next_join(), rejoin.address());
        self.rejoin = Some((id, rejoin));
        self.exchange(now, out, |exchanges, turn| exchanges.join(id, vec![addr], Vec::new(), true, turn));
    }

    fn joined(&mut self, id: JoinId, result: Result<usize, JoinError>, now: Moment, out: &mut Outbox) {
        match self.rejoin.take_if(|(rejoins, _)| *rejoins == id) {
            None => out.joins.push((id, result)),
            Some((_, rejoin)) => match rejoin.heard(result.map(|_| ())) {
                NextAttempt::Rejoined => {}
                NextAttempt::Ask(rejoin) => self.ask_to_rejoin(rejoin, now, out),
                NextAttempt::KeepSeeds(seeds) => self.keep_seeds(seeds, Origin::Found),
            },
        }
    }
}
