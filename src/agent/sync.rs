//! The thread `serf-sync`: everything over TCP. Push/pull both ways, joins, TCP pings. All streams
//! are non-blocking with deadlines, so that no other side can hold anyone up.

use super::channels::{Corridors, JoinRequest, JoinResult, TalkPlan, ToEvents, ToProbe, ToSync};
use super::clock::Clock;
use super::datagrams::DatagramSender;
use super::refusals;
use super::resolve;
use super::stream::{Manner, Stream, StreamError};
use super::table::SharedTable;
use super::thread::{Actor, Stop, wait};
use crate::membership::{Effects, ExchangeSchedule, ReconnectSchedule, Seeds, StreamRequest, Target};
use crate::model::{Moment, NodeName};
use crate::telemetry::{Passed, RateLimit, counters, metrics};
use crate::wire::message::{Ack, Message, Ping, PushPull, SerfState};
use crate::wire::stream::StreamMessage;
use crossbeam_channel::Receiver;
use fastrand::Rng;
use mio::net::TcpListener;
use mio::{Events, Interest, Poll, Token};
use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

/// Token of the listener in the thread's poll.
pub const LISTENER: Token = Token(0);
/// Token of the waker in the thread's poll.
pub const WAKER: Token = Token(1);
const FIRST_STREAM: usize = 2;

/// The most streams that others may have open here at once (memberlist's `maxPushPullRequests`).
/// One more and the one that has idled longest is closed.
pub const MAX_INBOUND: usize = 128;
/// The most streams that this process opens at once.
pub const MAX_OUTBOUND: usize = 128;
/// The most bytes that all streams together buffer of unfinished messages; beyond it, the one that
/// buffers most is closed.
pub const MAX_BUFFERED: usize = 32 << 20;

/// Why a stream exists.
#[derive(Debug)]
enum Purpose {
    /// Someone connected.
    Inbound,
    /// Its answer is being put together.
    Preparing,
    /// Its answer is queued; it ends when that is sent.
    Answering,
    /// One address of a join.
    Join(u64),
    /// The periodic exchange, or one that rules asked for.
    Exchange(NodeName),
    /// An exchange with someone who may well not answer.
    Reach(String),
    /// A TCP ping for the prober.
    Ping(u32),
}

/// A join under way: how many addresses are still open, and how the others went.
struct Join {
    pending: usize,
    joined: usize,
    errors: Vec<String>,
    request: JoinRequest,
}

/// The thread's state.
pub struct SyncActor {
    poll: Poll,
    listener: TcpListener,
    table: SharedTable,
    schedule: ExchangeSchedule,
    reconnect: ReconnectSchedule,
    seeds: Seeds,
    messages: Receiver<ToSync>,
    corridors: Corridors,
    sender: DatagramSender,
    clock: Clock,
    rng: Rng,
    streams: BTreeMap<Token, (Stream, Purpose)>,
    next_token: usize,
    joins: BTreeMap<u64, Join>,
    next_join: u64,
    complaints: RateLimit<IpAddr>,
    manner: Manner,
}

/// What a [`SyncActor`] is made of.
pub struct SyncParts {
    /// Registered with the listener and the waker.
    pub poll: Poll,
    /// Where others connect.
    pub listener: TcpListener,
    /// The table.
    pub table: SharedTable,
    /// What other threads say.
    pub messages: Receiver<ToSync>,
    /// To the other threads.
    pub corridors: Corridors,
    /// Where a member is told that another claims its name.
    pub sender: DatagramSender,
    /// What streams go and must come in.
    pub manner: Manner,
    /// Time.
    pub clock: Clock,
    /// The thread's own random source.
    pub rng: Rng,
}

impl Actor for SyncActor {
    const NAME: &'static str = "serf-sync";

    fn run(mut self, stop: &Stop) {
        let mut events = Events::with_capacity(128);
        loop {
            let timeout = self.clock.until(self.next_deadline());
            if !wait(Self::NAME, &mut self.poll, &mut events, timeout) {
                return;
            }
            self.take_messages();
            if stop.is_raised() {
                return;
            }
            for event in &events {
                match event.token() {
                    LISTENER => self.accept(),
                    WAKER => {}
                    token => self.drive(token),
                }
            }
            self.expire();
            self.tick();
        }
    }
}

impl SyncActor {
    /// Puts the parts together.
    pub fn new(mut parts: SyncParts) -> Self {
        let now = parts.clock.now();
        let (schedule, reconnect, seeds) = {
            let (table, rng) = (parts.table.read(), &mut parts.rng);
            let members = &table.members;
            let schedule = ExchangeSchedule::new(members, now, rng);
            (schedule, ReconnectSchedule::new(members, now, rng), Seeds::new(members, now, rng))
        };
        SyncActor {
            poll: parts.poll,
            listener: parts.listener,
            table: parts.table,
            schedule,
            reconnect,
            seeds,
            messages: parts.messages,
            corridors: parts.corridors,
            sender: parts.sender,
            clock: parts.clock,
            rng: parts.rng,
            streams: BTreeMap::new(),
            next_token: FIRST_STREAM,
            joins: BTreeMap::new(),
            next_join: 0,
            complaints: refusals::complaints(),
            manner: parts.manner,
        }
    }

    fn next_deadline(&self) -> Moment {
        let streams = self.streams.values().map(|(s, _)| s.deadline).min();
        let recovery = self.reconnect.next_deadline().min(self.seeds.next_deadline());
        self.schedule.next_deadline().min(recovery).min(streams.unwrap_or(Moment::NEVER))
    }

    fn take_messages(&mut self) {
        while let Ok(message) = self.messages.try_recv() {
            match message {
                ToSync::Join(request) => self.join(request),
                ToSync::Resolved(request, addrs, errors) => self.contact(request, addrs, errors),
                ToSync::KeepSeeds(seeds, origin) => self.seeds.keep(seeds, origin),
                ToSync::SeedFound(seed, addrs) => self.seed_found(&seed, addrs),
                ToSync::Stream(request) => self.open(request),
                ToSync::Talk(plan, talk) => self.proceed(plan, talk),
                ToSync::ForeignerCame => {
                    let now = self.clock.now();
                    self.schedule.foreigner_came(&self.table.read().members, now, &mut self.rng);
                }
            }
        }
    }

    /// Does what the rules want done by now.
    fn tick(&mut self) {
        let now = self.clock.now();
        let (exchange, failed, seed) = {
            let (table, rng) = (self.table.read(), &mut self.rng);
            let members = &table.members;
            let exchange = self.schedule.tick(members, now, rng);
            (exchange, self.reconnect.tick(members, now, rng), self.seeds.tick(members, now, rng))
        };
        for request in [exchange, failed].into_iter().flatten() {
            self.open(request);
        }
        if let Some(seed) = seed {
            self.look_up_seed(seed);
        }
    }

    // ---- streams that others open ------------------------------------------------------

    fn accept(&mut self) {
        loop {
            match self.listener.accept() {
                Ok((socket, peer)) => {
                    counters::STREAMS_ACCEPTED.inc();
                    if let Some(passed) = self.complain(peer, "connection") {
                        log::debug!(target: "memberlist", "Stream connection from {peer}{passed}");
                    }
                    self.make_room();
                    let deadline = self.clock.now() + self.tcp_timeout();
                    self.add(Stream::accepted(socket, peer, deadline, self.manner.clone()), Purpose::Inbound);
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => {
                    // Out of descriptors, or the other side went away again. What stays in the
                    // backlog is tried with the next connection.
                    if let Some(passed) =
                        self.complaints.pass(IpAddr::V4(Ipv4Addr::UNSPECIFIED), "accept", self.clock.now())
                    {
                        log::warn!(target: "memberlist", "Failed to accept a stream: {e}{passed}");
                    }
                    return;
                }
            }
        }
    }

    /// Closes the inbound stream that is nearest to its deadline when there are too many.
    fn make_room(&mut self) {
        let inbound = self.streams.iter().filter(|(_, (_, purpose))| {
            matches!(purpose, Purpose::Inbound | Purpose::Preparing | Purpose::Answering)
        });
        let (count, oldest) = inbound
            .map(|(token, (stream, _))| (stream.deadline, *token))
            .fold((0, None), |(n, oldest), s| (n + 1, Some(oldest.map_or(s, |o: (Moment, Token)| o.min(s)))));
        if count >= MAX_INBOUND
            && let Some((_, token)) = oldest
        {
            counters::STREAMS_REFUSED.inc();
            self.remove(token);
        }
    }

    fn answer(&mut self, token: Token, message: StreamMessage) {
        let Some((stream, _)) = self.streams.get_mut(&token) else { return };
        let reply = match message {
            StreamMessage::PushPull(theirs) => return self.answer_exchange(token, theirs),
            StreamMessage::Ping(Ping { node, seq_no, .. }) => {
                let members = &self.table.read().members;
                if node == *members.me() {
                    let digest = Some(members.digest());
                    StreamMessage::Ack(Ack { seq_no, digest, payload: Vec::new() })
                } else {
                    StreamMessage::Error(format!("this is '{}', not '{node}'", members.me()))
                }
            }
            StreamMessage::Error(why) => {
                if let Some(passed) = self.complaints.pass(stream.peer.ip(), "error", self.clock.now()) {
                    log::warn!(target: "memberlist", "{} reports an error: {why}{passed}", stream.peer);
                }
                return self.remove(token);
            }
            StreamMessage::User(message) => {
                self.hear(message);
                return self.remove(token);
            }
            StreamMessage::Ack(_) => {
                let peer = stream.peer;
                if let Some(passed) = self.complain(peer, "answer") {
                    log::debug!(target: "memberlist", "{peer} sent an answer to nothing{passed}");
                }
                return self.remove(token);
            }
        };
        self.reply(token, &reply);
    }

    fn answer_exchange(&mut self, token: Token, theirs: PushPull) {
        let refused = self.refuses(&theirs);
        let Some((stream, purpose)) = self.streams.get_mut(&token) else { return };
        let Some(why) = refused else {
            *purpose = Purpose::Preparing;
            self.want_talk(TalkPlan::Answer { stream: token.0, join: theirs.join });
            return self.merge(theirs, false);
        };
        let peer = stream.peer;
        if let Some(passed) = self.complain(peer, "versions") {
            log::warn!(target: "memberlist", "Refusing a push/pull from {peer}: {why}{passed}");
        }
        self.reply(token, &StreamMessage::Error(why));
    }

    /// Answers on a stream, which ends with that.
    fn reply(&mut self, token: Token, message: &StreamMessage) {
        let Some((stream, purpose)) = self.streams.get_mut(&token) else { return };
        *purpose = Purpose::Answering;
        match stream.queue(message) {
            Ok(()) => self.drive(token),
            Err(e) => {
                if let Some((stream, purpose)) = self.take(token) {
                    self.failed(purpose, stream.peer, &StreamError::Io(e));
                }
            }
        }
    }

    /// Takes in what is otherwise said in datagrams.
    fn hear(&mut self, message: Message) {
        match message {
            Message::JoinIntent(m) => self.change(|table, now, _, fx| table.members.join_intent(&m, now, fx)),
            Message::LeaveIntent(m) => {
                self.change(|table, now, _, fx| table.members.leave_intent(&m, now, fx))
            }
            talk => {
                if self.corridors.events.try_send(ToEvents::Talk(vec![talk])).is_err() {
                    counters::NEWS_DROPPED.inc();
                }
            }
        }
    }

    /// Asks `serf-events` for its part of a push/pull; [`SyncActor::proceed`] goes on with it.
    fn want_talk(&mut self, plan: TalkPlan) {
        if let Err(refused) = self.corridors.events.try_send(ToEvents::WantTalk(plan))
            && let ToEvents::WantTalk(plan) = refused.into_inner()
        {
            // Members matter more than events; those come with the next exchange.
            self.proceed(plan, SerfState::default());
        }
    }

    /// Sends this process's side of a push/pull.
    fn proceed(&mut self, plan: TalkPlan, talk: SerfState) {
        let state = |join| StreamMessage::PushPull(self.table.read().members.push_pull(join, talk));
        match plan {
            TalkPlan::Answer { stream, join } => {
                let message = state(join);
                self.reply(Token(stream), &message);
            }
            TalkPlan::Exchange { node, to } => {
                let message = state(false);
                self.connect(to, message, Purpose::Exchange(node));
            }
            TalkPlan::Reach { whom, to } => {
                let message = state(false);
                self.connect(to, message, Purpose::Reach(whom));
            }
            TalkPlan::Join { id, addr } => {
                let message = state(true);
                // Whoever was there before may have been replaced by another kind of agent.
                let to = self.table.read().members.stranger(addr);
                self.connect(to, message, Purpose::Join(id));
            }
        }
    }

    /// Why an exchange is refused as a whole, if it is. The table is free again afterwards.
    fn refuses(&self, theirs: &PushPull) -> Option<String> {
        let why = self.table.read().members.refuses(theirs);
        if why.is_some() {
            counters::REFUSED_MALFORMED.inc();
        }
        why
    }

    fn merge(&mut self, theirs: PushPull, ignore_past: bool) {
        self.change(|table, now, rng, fx| table.members.merge(&theirs, now, rng, fx));
        let message = ToEvents::MergeSerf { serf: theirs.serf, ignore_past };
        if self.corridors.events.try_send(message).is_err() {
            counters::NEWS_DROPPED.inc();
        }
    }

    /// Changes the table and carries out what the rules ask for.
    fn change(&mut self, rule: impl FnOnce(&mut super::table::Table, Moment, &mut Rng, &mut Effects)) {
        let mut fx = Effects::default();
        let out = {
            let mut table = self.table.write();
            let now = self.clock.now();
            rule(&mut table, now, &mut self.rng, &mut fx);
            table.post(fx, None)
        };
        debug_assert!(out.streams.is_empty(), "only the prober asks for exchanges");
        for transmit in &out.transmits {
            // Lost like any datagram; the sender counts it.
            let _ = self.sender.transmit(transmit, &[]);
        }
        self.corridors.ring(out.gossip, out.events);
        // A full corridor wakes that thread as well.
        let _ = self.corridors.probe.send(ToProbe::TableChanged);
    }

    // ---- streams that this process opens -----------------------------------------------

    fn open(&mut self, request: StreamRequest) {
        let (to, message, purpose) = match request {
            StreamRequest::Ping { to, ping } => {
                let seq_no = ping.seq_no;
                (to, StreamMessage::Ping(ping), Purpose::Ping(seq_no))
            }
            StreamRequest::PushPull { node, to } => {
                return self.want_talk(TalkPlan::Exchange { node, to });
            }
            StreamRequest::Reach { whom, to } => {
                log::info!(target: "serf", "attempting reconnect to {whom} {}", to.addr);
                return self.want_talk(TalkPlan::Reach { whom, to });
            }
        };
        self.connect(to, message, purpose);
    }

    fn connect(&mut self, to: Target, message: StreamMessage, purpose: Purpose) {
        let addr = to.addr;
        let outbound = self
            .streams
            .values()
            .filter(|(_, p)| !matches!(p, Purpose::Inbound | Purpose::Preparing | Purpose::Answering));
        if outbound.count() >= MAX_OUTBOUND {
            return self.failed(purpose, addr, &StreamError::Busy);
        }
        counters::STREAMS_OPENED.inc();
        let deadline = self.clock.now() + self.tcp_timeout();
        match Stream::connect(to, deadline, self.manner.clone(), &message) {
            Ok(stream) => self.add(stream, purpose),
            Err(e) => self.failed(purpose, addr, &StreamError::Io(e)),
        }
    }

    fn succeeded(&mut self, purpose: Purpose, message: StreamMessage, peer: SocketAddr) {
        if let StreamMessage::PushPull(theirs) = &message
            && let Some(why) = self.refuses(theirs)
        {
            return self.failed(purpose, peer, &StreamError::Unfit(why));
        }
        match (purpose, message) {
            (Purpose::Join(id), StreamMessage::PushPull(theirs)) => {
                let ignore_past = self.joins.get(&id).is_some_and(|join| !join.request.replay);
                self.merge(theirs, ignore_past);
                self.joined(id, Ok(()));
            }
            (Purpose::Exchange(_), StreamMessage::PushPull(theirs)) => self.merge(theirs, false),
            (Purpose::Reach(whom), StreamMessage::PushPull(theirs)) => {
                log::info!(target: "serf", "{whom} ({peer}) answers");
                self.merge(theirs, false);
                let now = self.clock.now();
                self.schedule.joined(now, &mut self.rng);
            }
            (Purpose::Ping(seq_no), StreamMessage::Ack(ack)) if ack.seq_no == seq_no => {
                self.ping_done(seq_no, true);
            }
            (purpose, StreamMessage::Error(why)) => self.failed(purpose, peer, &StreamError::Refused(why)),
            (purpose, _) => self.failed(purpose, peer, &StreamError::Unexpected),
        }
    }

    fn failed(&mut self, purpose: Purpose, peer: SocketAddr, why: &StreamError) {
        counters::STREAMS_FAILED.inc();
        match purpose {
            Purpose::Inbound | Purpose::Preparing | Purpose::Answering => {
                if let Some(passed) = self.complain(peer, "receive") {
                    log::debug!(target: "memberlist", "Failed to receive a stream from {peer}: {why}{passed}");
                }
            }
            Purpose::Join(id) => {
                log::debug!(target: "memberlist", "Failed to join {peer}: {why}");
                self.joined(id, Err(format!("Failed to join {peer}: {why}")));
            }
            Purpose::Exchange(node) => {
                if let Some(passed) = self.complain(peer, "exchange") {
                    log::error!(target: "memberlist", "Push/Pull with {node} ({peer}) failed: {why}{passed}");
                }
            }
            // Someone is there who will have nothing to do with this agent.
            Purpose::Reach(whom)
                if matches!(why, StreamError::Wire(_) | StreamError::Refused(_) | StreamError::Unfit(_)) =>
            {
                if let Some(passed) = self.complain(peer, "reach") {
                    log::warn!(target: "serf", "{whom} ({peer}) cannot be reconnected to: {why}{passed}");
                }
            }
            // That is how it goes with those who have failed.
            Purpose::Reach(whom) => log::debug!(target: "serf", "{whom} ({peer}) is out of reach: {why}"),
            Purpose::Ping(seq_no) => {
                if let Some(passed) = self.complain(peer, "ping") {
                    log::debug!(target: "memberlist", "Failed fallback TCP ping of {peer}: {why}{passed}");
                }
                self.ping_done(seq_no, false);
            }
        }
    }

    fn ping_done(&self, seq_no: u32, answered: bool) {
        // When the corridor is full the prober's deadline decides.
        let _ = self.corridors.probe.send(ToProbe::StreamPingDone { seq_no, answered });
    }

    // ---- joins -------------------------------------------------------------------------

    fn join(&mut self, request: JoinRequest) {
        let port = self.table.read().members.my_row().addr.port();
        match resolve::literals(&request.addrs, port) {
            Some(addrs) => self.contact(request, addrs, Vec::new()),
            None => resolve::look_up(request, port, self.corridors.sync.clone()),
        }
    }

    fn look_up_seed(&mut self, seed: String) {
        let port = self.table.read().members.my_row().addr.port();
        match resolve::literals(std::slice::from_ref(&seed), port) {
            Some(addrs) => self.seed_found(&seed, addrs),
            None => resolve::look_up_seed(seed, port, self.corridors.sync.clone()),
        }
    }

    fn seed_found(&mut self, seed: &str, addrs: Vec<SocketAddr>) {
        let request = self.seeds.found(seed, addrs, &self.table.read().members, &mut self.rng);
        if let Some(request) = request {
            self.open(request);
        }
    }

    fn contact(&mut self, request: JoinRequest, addrs: Vec<SocketAddr>, errors: Vec<String>) {
        self.change(|table, now, _, fx| table.members.come_back(now, fx));
        self.next_join += 1;
        let id = self.next_join;
        // One more than addresses, so that the join does not end while it still begins.
        let pending = addrs.len() + 1;
        self.joins.insert(id, Join { pending, joined: 0, errors, request });
        for addr in addrs {
            self.want_talk(TalkPlan::Join { id, addr });
        }
        self.part_over(id);
    }

    fn joined(&mut self, id: u64, outcome: Result<(), String>) {
        let Some(join) = self.joins.get_mut(&id) else { return };
        match outcome {
            Ok(()) => {
                join.joined += 1;
                if join.joined == 1 {
                    self.change(|table, now, _, fx| table.members.announce_join(now, fx));
                    let now = self.clock.now();
                    self.schedule.joined(now, &mut self.rng);
                }
            }
            Err(why) => join.errors.push(why),
        }
        self.part_over(id);
    }

    fn part_over(&mut self, id: u64) {
        let Some(join) = self.joins.get_mut(&id) else { return };
        join.pending -= 1;
        if join.pending == 0
            && let Some(join) = self.joins.remove(&id)
        {
            let result: JoinResult = match join.joined {
                0 if join.errors.is_empty() => Err("no address to join was given".to_string()),
                0 => Err(join.errors.join("; ")),
                n => Ok(n),
            };
            join.request.answer(result);
        }
    }

    // ---- upkeep ------------------------------------------------------------------------

    /// Whether a line of this kind about this peer may be logged now.
    fn complain(&mut self, peer: SocketAddr, kind: &'static str) -> Option<Passed> {
        self.complaints.pass(peer.ip(), kind, self.clock.now())
    }

    fn tcp_timeout(&self) -> Duration {
        self.table.read().members.config().tcp_timeout
    }

    fn add(&mut self, mut stream: Stream, purpose: Purpose) {
        let token = Token(self.next_token);
        self.next_token += 1;
        let interest = Interest::READABLE | Interest::WRITABLE;
        match self.poll.registry().register(stream.socket(), token, interest) {
            Ok(()) => drop(self.streams.insert(token, (stream, purpose))),
            Err(e) => self.failed(purpose, stream.peer, &StreamError::Io(e)),
        }
    }

    fn drive(&mut self, token: Token) {
        self.drive_one(token);
        self.bound_buffers();
    }

    /// Keeps what all streams together buffer within bounds: whoever holds most has to go, so that
    /// a flood of unfinished messages does not turn away the innocent.
    fn bound_buffers(&mut self) {
        while self.streams.values().map(|(s, _)| s.buffered()).sum::<usize>() > MAX_BUFFERED {
            let largest = self.streams.iter().max_by_key(|(_, (s, _))| s.buffered()).map(|(t, _)| *t);
            let Some((stream, purpose)) = largest.and_then(|token| self.take(token)) else { return };
            self.failed(purpose, stream.peer, &StreamError::Budget);
        }
    }

    fn drive_one(&mut self, token: Token) {
        let Some((stream, purpose)) = self.streams.get_mut(&token) else { return };
        if let Purpose::Preparing = purpose {
            return;
        }
        if let Purpose::Answering = purpose {
            let over = stream.finish().is_err() || stream.is_flushed();
            return if over {
                self.remove(token)
            };
        }
        match stream.drive() {
            Ok(None) => {}
            Ok(Some(message)) if matches!(purpose, Purpose::Inbound) => self.answer(token, message),
            Ok(Some(message)) => {
                if let Some((stream, purpose)) = self.take(token) {
                    if let StreamMessage::PushPull(_) = message {
                        let left = stream.deadline.until(self.clock.now());
                        metrics::PUSH_PULL_TIME.record_time(self.tcp_timeout().saturating_sub(left));
                    }
                    self.succeeded(purpose, message, stream.peer);
                }
            }
            Err(why) => {
                if let StreamError::Wire(e) = &why {
                    refusals::count(e);
                }
                if let (Purpose::Inbound, StreamError::Wire(e)) = (&*purpose, &why) {
                    // Say why, if the other side still listens: a stranger with another setting
                    // learns it there, not only in our log.
                    if let Some(passed) =
                        self.complaints.pass(stream.peer.ip(), refusals::cause(e), self.clock.now())
                    {
                        let (peer, hint) = (stream.peer, refusals::hint(e));
                        log::warn!(target: "memberlist", "Ignoring a stream from {peer}: {e}{hint}{passed}");
                    }
                    stream.refuse(e);
                }
                if let Some((stream, purpose)) = self.take(token) {
                    self.failed(purpose, stream.peer, &why);
                }
            }
        }
    }

    fn take(&mut self, token: Token) -> Option<(Stream, Purpose)> {
        let (mut stream, purpose) = self.streams.remove(&token)?;
        // Deregistering can only fail for a socket that was not registered.
        let _ = self.poll.registry().deregister(stream.socket());
        stream.shut();
        Some((stream, purpose))
    }

    fn remove(&mut self, token: Token) {
        drop(self.take(token));
    }

    fn expire(&mut self) {
        let now = self.clock.now();
        let due: Vec<Token> =
            self.streams.iter().filter(|(_, (s, _))| s.deadline <= now).map(|(t, _)| *t).collect();
        for token in due {
            if let Some((stream, purpose)) = self.take(token) {
                self.failed(purpose, stream.peer, &StreamError::Timeout);
            }
        }
    }
}
