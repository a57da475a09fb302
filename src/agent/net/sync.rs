//! The thread `serf-sync`: everything over TCP. It owns the streams; what is said on them is
//! decided by `node/exchanges`. All streams are non-blocking with deadlines, so that no other side
//! can hold anyone up.

mod inbound;
pub(crate) mod room;

use super::datagrams::DatagramSender;
use super::recalls::Recalls;
use super::refusals;
use super::resolve;
use super::stream::{Stream, StreamError, StreamOptions};
use crate::agent::channels::{Channels, JoinRequest, ToEvents, ToProbe, ToSync};
use crate::agent::clock::Clock;
use crate::agent::table::SharedTable;
use crate::agent::thread::{Actor, Stop, wait};
use crate::channel::Receiver;
use crate::membership::{Members, Target};
use crate::model::Moment;
use crate::node::exchanges::{
    DialogueId, DialogueLine, ExchangeEffect, ExchangeTurn, Exchanges, JoinId, Plan, Purpose, StreamFailure,
    StreamId,
};
use crate::node::table::Outgoing;
use crate::telemetry::{Passed, RateLimit, counters, metrics};
use crate::wire::difference::DifferenceMessage;
use crate::wire::message::SerfState;
use crate::wire::stream::StreamMessage;
use fastrand::Rng;
use mio::net::TcpListener;
use mio::{Events, Interest, Poll, Token};
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// Token of the listener in the thread's poll.
pub(crate) const LISTENER: Token = Token(0);
/// Token of the waker in the thread's poll.
pub(crate) const WAKER: Token = Token(1);
const FIRST_STREAM: usize = 2;

/// The most streams that this process opens at once.
pub(crate) const MAX_OUTBOUND: usize = 128;
/// How long an exchange of what differs waits for the next message.
const PATIENCE: Duration = Duration::from_secs(10);

/// What a stream is doing.
#[derive(Debug)]
enum Role {
    /// Another opened it, and its request is awaited.
    Listens,
    /// The answer is being put together.
    Prepares,
    /// An exchange of what differs is under way, that the other has begun.
    Converses,
    /// The answer is being sent; the stream ends with that.
    Answers,
    /// This process opened it, for this.
    Asks(Purpose),
}

impl Role {
    fn is_inbound(&self) -> bool {
        match self {
            Role::Listens | Role::Prepares | Role::Converses | Role::Answers => true,
            Role::Asks(_) => false,
        }
    }
}

/// The thread's state.
pub(crate) struct SyncActor {
    exchanges: Exchanges,
    poll: Poll,
    listener: TcpListener,
    table: SharedTable,
    messages: Receiver<ToSync>,
    channels: Channels,
    sender: DatagramSender,
    clock: Clock,
    rng: Rng,
    streams: BTreeMap<Token, (Stream, Role)>,
    next_token: usize,
    /// The streams of dialogues that this process has opened.
    dialogues: BTreeMap<DialogueId, Token>,
    /// Joins under way, to answer them.
    joins: BTreeMap<JoinId, JoinRequest>,
    /// Whether others may wait to be accepted: mio reports it only once.
    others_wait: bool,
    recalls: Recalls,
    /// How much the conversation remembered when it was last asked, in bytes.
    remembered: usize,
    complaints: RateLimit<IpAddr>,
    options: StreamOptions,
}

/// What a [`SyncActor`] is made of.
pub(crate) struct SyncParts {
    /// Registered with the listener and the waker.
    pub poll: Poll,
    /// Where others connect.
    pub listener: TcpListener,
    /// The table.
    pub table: SharedTable,
    /// What other threads say.
    pub messages: Receiver<ToSync>,
    /// To the other threads.
    pub channels: Channels,
    /// Where a member is sent the news that another claims its name.
    pub sender: DatagramSender,
    /// What streams go and must come in.
    pub options: StreamOptions,
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
            let works = self.exchanges.has_work() || self.others_wait && self.has_room();
            let timeout = if works { Some(Duration::ZERO) } else { self.clock.until(self.next_deadline()) };
            if !wait(Self::NAME, &mut self.poll, &mut events, timeout) {
                return;
            }
            while let Ok(message) = self.messages.try_recv() {
                self.take(message);
            }
            if stop.is_raised() {
                return;
            }
            for event in &events {
                match event.token() {
                    LISTENER => self.others_wait = true,
                    WAKER => {}
                    token => self.drive(token),
                }
            }
            self.accept();
            // A slice, so that neither the table nor this thread is kept from others for long.
            self.look(|exchanges, members, rng, fx| exchanges.work(members, rng, fx));
            self.expire();
            self.bound_buffers();
            self.ask_for_copy();
            let now = self.clock.now();
            self.look(|exchanges, members, rng, fx| exchanges.tick(members, now, rng, fx));
        }
    }
}

impl SyncActor {
    /// Puts the parts together.
    pub(crate) fn new(mut parts: SyncParts) -> Self {
        let now = parts.clock.now();
        let exchanges = Exchanges::new(&parts.table.read().members, now, &mut parts.rng);
        SyncActor {
            exchanges,
            poll: parts.poll,
            listener: parts.listener,
            table: parts.table,
            messages: parts.messages,
            channels: parts.channels,
            sender: parts.sender,
            clock: parts.clock,
            rng: parts.rng,
            streams: BTreeMap::new(),
            next_token: FIRST_STREAM,
            dialogues: BTreeMap::new(),
            joins: BTreeMap::new(),
            others_wait: false,
            recalls: Recalls::default(),
            remembered: 0,
            complaints: refusals::complaints(),
            options: parts.options,
        }
    }

    fn next_deadline(&self) -> Moment {
        self.exchanges.next_deadline().min(self.next_room()).min(self.next_accept())
    }

    fn take(&mut self, message: ToSync) {
        match message {
            ToSync::Join(request) => self.join(request),
            ToSync::Resolved(request, addrs, errors) => self.contact(request, addrs, errors),
            ToSync::KeepSeeds(seeds, origin) => self.exchanges.keep_seeds(seeds, origin),
            ToSync::SeedFound(seed, addrs) => self.seed_found(&seed, addrs),
            ToSync::Stream(request) => self.look(|exchanges, _, _, fx| exchanges.open(request, fx)),
            ToSync::Recalled(serf) => self.recalled(serf),
            ToSync::HashicorpMemberCame => {
                let now = self.clock.now();
                self.look(|exchanges, members, rng, _| exchanges.hashicorp_member_came(members, now, rng));
            }
        }
    }

    // ---- what the rules want -------------------------------------------------------------

    /// One input of the exchanges that may change the table; what they ask for is done after the
    /// table has been released.
    fn turn(&mut self, input: impl FnOnce(&mut Exchanges, &mut ExchangeTurn)) {
        let mut fx = Vec::new();
        {
            let mut table = self.table.write();
            let (now, rng) = (self.clock.now(), &mut self.rng);
            input(&mut self.exchanges, &mut ExchangeTurn { table: &mut table, now, rng, fx: &mut fx });
        }
        self.carry_out(fx);
    }

    /// One input of the exchanges that only looks at the table.
    fn look(&mut self, input: impl FnOnce(&mut Exchanges, &Members, &mut Rng, &mut Vec<ExchangeEffect>)) {
        let mut fx = Vec::new();
        input(&mut self.exchanges, &self.table.read().members, &mut self.rng, &mut fx);
        self.carry_out(fx);
    }

    fn carry_out(&mut self, effects: Vec<ExchangeEffect>) {
        for effect in effects {
            match effect {
                ExchangeEffect::Recall(plan) => self.recall(plan),
                ExchangeEffect::Connect { to, message, purpose } => self.connect(to, message, purpose),
                ExchangeEffect::Say { line, message, last } => self.say(line, message, last),
                ExchangeEffect::End(line) => {
                    if let Some(token) = self.token_of(line) {
                        self.remove(token);
                    }
                }
                ExchangeEffect::Reply(stream, message) => self.reply(Token(stream.0), message),
                ExchangeEffect::Close(stream) => self.remove(Token(stream.0)),
                ExchangeEffect::MergeSerf { theirs, ignore_past } => {
                    self.send_to_events(ToEvents::MergeSerf { serf: theirs, ignore_past });
                }
                ExchangeEffect::Hear(from, message) => {
                    if self.channels.probe.send(ToProbe::Heard(from, message)).is_err() {
                        counters::NEWS_DROPPED.inc();
                    }
                }
                ExchangeEffect::Table(out) => self.changed(&out),
                ExchangeEffect::PingDone { seq_no, outcome } => {
                    // When the channel is full the prober's deadline decides.
                    let _ = self.channels.probe.send(ToProbe::StreamPingDone { seq_no, outcome });
                }
                ExchangeEffect::Joined(id, result) => {
                    if let Some(request) = self.joins.remove(&id) {
                        request.answer(result);
                    }
                }
                ExchangeEffect::LookUp(seed) => self.look_up_seed(seed),
            }
        }
    }

    /// The table was changed here.
    fn changed(&mut self, out: &Outgoing) {
        debug_assert!(out.streams.is_empty(), "only the prober asks for exchanges");
        for transmit in &out.transmits {
            // Lost like any datagram; the sender counts it.
            let _ = self.sender.transmit(transmit, &[]);
        }
        self.channels.wake(out, self.clock.now());
        // A full channel wakes that thread as well.
        let _ = self.channels.probe.send(ToProbe::TableChanged);
    }

    fn send_to_events(&mut self, message: ToEvents) {
        if self.channels.events.send(message).is_err() {
            counters::NEWS_DROPPED.inc();
        }
    }

    /// Asks `serf-events` for its part of a push/pull as soon as it is its turn; [`SyncActor::proceed`] goes on with it.
    fn recall(&mut self, plan: Plan) {
        if let Some(stream) = plan.answers()
            && let Some((_, role)) = self.streams.get_mut(&Token(stream.0))
        {
            *role = Role::Prepares;
        }
        self.recalls.push(plan);
        self.ask_for_copy();
    }

    fn proceed(&mut self, plan: Plan, serf: SerfState) {
        if let Some(stream) = plan.answers() {
            match (self.streams.get_mut(&Token(stream.0)), &plan) {
                (Some((_, role)), Plan::AnswerHello { .. }) => *role = Role::Converses,
                (Some(_), _) => {}
                // It was closed meanwhile.
                (None, _) => return,
            }
        }
        self.look(|exchanges, members, rng, fx| exchanges.proceed(plan, serf, members, rng, fx));
    }

    // ---- streams that others open ------------------------------------------------------

    /// A request has come.
    fn heard(&mut self, token: Token, message: StreamMessage) {
        let Some((stream, _)) = self.streams.get(&token) else { return };
        let (id, peer) = (StreamId(token.0), stream.peer);
        self.turn(|exchanges, turn| exchanges.heard(id, peer, message, turn));
    }

    /// The stream of a dialogue.
    fn token_of(&self, line: DialogueLine) -> Option<Token> {
        match line {
            DialogueLine::Theirs(stream) => Some(Token(stream.0)),
            DialogueLine::Ours(id) => self.dialogues.get(&id).copied(),
        }
    }

    /// Says something in an exchange of what differs.
    fn say(&mut self, line: DialogueLine, message: DifferenceMessage, last: bool) {
        let Some(token) = self.token_of(line) else { return };
        let now = self.clock.now();
        let Some((stream, role)) = self.streams.get_mut(&token) else { return };
        if last {
            *role = Role::Answers;
            self.dialogues.retain(|_, other| *other != token);
        }
        stream.extend(now + PATIENCE);
        let queued = stream.queue(StreamMessage::Difference(message), now).map_err(StreamError::Io);
        match queued {
            Ok(()) if last => self.drive(token),
            // What the other answers is read when it is there: not from here, or two that are fast would
            // go deeper with each message.
            Ok(()) => {
                if let Err(why) = stream.finish(now) {
                    self.give_up(token, &why);
                }
            }
            Err(why) => self.give_up(token, &why),
        }
    }

    /// Answers on a stream, which ends with that.
    fn reply(&mut self, token: Token, message: StreamMessage) {
        let now = self.clock.now();
        let Some((stream, role)) = self.streams.get_mut(&token) else { return };
        *role = Role::Answers;
        match stream.queue(message, now) {
            Ok(()) => self.drive(token),
            Err(e) => self.give_up(token, &StreamError::Io(e)),
        }
    }

    // ---- streams that this process opens -----------------------------------------------

    fn connect(&mut self, to: Target, message: StreamMessage, purpose: Purpose) {
        let (addr, role) = (to.addr, Role::Asks(purpose));
        if self.streams.values().filter(|(_, role)| !role.is_inbound()).count() >= MAX_OUTBOUND {
            return self.failed(role, addr, &StreamError::Busy);
        }
        counters::STREAMS_OPENED.inc();
        let now = self.clock.now();
        match Stream::connect(to, (now, now + self.tcp_timeout()), self.options.clone(), message) {
            Ok(stream) => {
                if let Role::Asks(Purpose::Dialogue(id)) = &role {
                    self.dialogues.insert(*id, Token(self.next_token));
                }
                if let Some(token) = self.add(stream, role)
                    && let Some((stream, _)) = self.streams.get_mut(&token)
                {
                    stream.begin(now);
                }
            }
            Err(e) => self.failed(role, addr, &StreamError::Io(e)),
        }
    }

    /// An answer has come: the stream has done its work.
    fn answered(&mut self, token: Token, message: StreamMessage) {
        if let Some((stream, Role::Asks(Purpose::Dialogue(id)))) = self.streams.get(&token)
            && let StreamMessage::Difference(_) = message
        {
            let (purpose, peer) = (Purpose::Dialogue(*id), stream.peer);
            return self.turn(|exchanges, turn| exchanges.answered(purpose, peer, message, turn));
        }
        let Some((stream, role)) = self.remove_stream(token) else { return };
        let Role::Asks(purpose) = role else { return };
        if let StreamMessage::PushPull(_) = message {
            let left = stream.deadline.until(self.clock.now());
            metrics::PUSH_PULL_TIME.record_time(self.tcp_timeout().saturating_sub(left));
        }
        self.turn(|exchanges, turn| exchanges.answered(purpose, stream.peer, message, turn));
    }

    /// A stream has not done its work.
    fn failed(&mut self, role: Role, peer: SocketAddr, why: &StreamError) {
        match role {
            Role::Listens | Role::Prepares | Role::Converses | Role::Answers => {
                counters::STREAMS_FAILED.inc();
                if let Some(passed) = self.complain(peer, "receive") {
                    log::debug!(target: "memberlist", "Failed to receive a stream from {peer}: {why}{passed}");
                }
            }
            Role::Asks(purpose) => {
                let why = StreamFailure::from(why);
                self.turn(|exchanges, turn| exchanges.failed(purpose, peer, &why, turn));
            }
        }
    }

    /// Ends a stream that has not done its work.
    fn give_up(&mut self, token: Token, why: &StreamError) {
        if let Some((stream, role)) = self.remove_stream(token) {
            self.failed(role, stream.peer, why);
        }
    }

    // ---- joins -------------------------------------------------------------------------

    fn join(&mut self, request: JoinRequest) {
        let port = self.table.read().members.my_row().addr.port();
        match resolve::literals(&request.addrs, port) {
            Some(addrs) => self.contact(request, addrs, Vec::new()),
            None => resolve::look_up(request, port, self.channels.sync.clone()),
        }
    }

    fn look_up_seed(&mut self, seed: String) {
        let port = self.table.read().members.my_row().addr.port();
        match resolve::literals(std::slice::from_ref(&seed), port) {
            Some(addrs) => self.seed_found(&seed, addrs),
            None => resolve::look_up_seed(seed, port, self.channels.sync.clone()),
        }
    }

    fn seed_found(&mut self, seed: &str, addrs: Vec<SocketAddr>) {
        self.look(|exchanges, members, rng, fx| exchanges.seed_found(seed, addrs, members, rng, fx));
    }

    fn contact(&mut self, request: JoinRequest, addrs: Vec<SocketAddr>, errors: Vec<String>) {
        let (id, replay) = (self.exchanges.next_join(), request.replay);
        self.joins.insert(id, request);
        self.turn(|exchanges, turn| exchanges.join(id, addrs, errors, replay, turn));
    }

    // ---- upkeep ------------------------------------------------------------------------

    /// Whether a line of this kind about this peer may be logged now.
    fn complain(&mut self, peer: SocketAddr, kind: &'static str) -> Option<Passed> {
        self.complaints.pass(peer.ip(), kind, self.clock.now())
    }

    fn tcp_timeout(&self) -> Duration {
        self.table.read().members.config().tcp_timeout
    }

    /// Waits for a stream with the others. Answers with its token, unless that failed.
    fn add(&mut self, mut stream: Stream, role: Role) -> Option<Token> {
        let token = Token(self.next_token);
        self.next_token += 1;
        let interest = Interest::READABLE | Interest::WRITABLE;
        if let Err(e) = self.poll.registry().register(stream.socket(), token, interest) {
            self.failed(role, stream.peer, &StreamError::Io(e));
            return None;
        }
        self.streams.insert(token, (stream, role));
        Some(token)
    }

    fn drive(&mut self, token: Token) {
        self.drive_one(token);
        self.bound_buffers();
    }

    fn drive_one(&mut self, token: Token) {
        let now = self.clock.now();
        let Some((stream, role)) = self.streams.get_mut(&token) else { return };
        let asks = match role {
            Role::Prepares => return,
            Role::Answers => {
                if stream.finish(now).is_err() || stream.is_flushed() {
                    self.remove(token);
                }
                return;
            }
            Role::Listens | Role::Converses => false,
            Role::Asks(_) => true,
        };
        match (stream.drive(now), asks) {
            (Ok(None), _) => {}
            (Ok(Some(message)), false) => self.heard(token, message),
            (Ok(Some(message)), true) => self.answered(token, message),
            (Err(why), asks) => self.broke(token, &why, asks),
        }
    }

    /// A stream has ended before its time.
    fn broke(&mut self, token: Token, why: &StreamError, asks: bool) {
        let now = self.clock.now();
        if let (StreamError::Wire(e), Some((stream, _))) = (why, self.streams.get_mut(&token)) {
            refusals::count(e);
            if !asks {
                // Say why, if the other side still listens: a stranger with another setting learns
                // it there, not only in our log.
                if let Some(passed) = self.complaints.pass(stream.peer.ip(), refusals::cause(e), now) {
                    let (peer, hint) = (stream.peer, refusals::hint(e));
                    log::warn!(target: "memberlist", "Ignoring a stream from {peer}: {e}{hint}{passed}");
                }
                stream.refuse(e, now);
            }
        }
        self.give_up(token, why);
    }

    fn remove_stream(&mut self, token: Token) -> Option<(Stream, Role)> {
        let (mut stream, role) = self.streams.remove(&token)?;
        match &role {
            Role::Asks(Purpose::Dialogue(id)) => drop(self.dialogues.remove(id)),
            Role::Asks(_) => {}
            // Whatever was said on it last, it may have been a dialogue.
            Role::Listens | Role::Prepares | Role::Converses | Role::Answers => {
                self.exchanges.closed(StreamId(token.0));
                self.recalls.forget(StreamId(token.0));
            }
        }
        // Deregistering can only fail for a socket that was not registered.
        let _ = self.poll.registry().deregister(stream.socket());
        stream.shut();
        Some((stream, role))
    }

    fn remove(&mut self, token: Token) {
        drop(self.remove_stream(token));
    }

    fn expire(&mut self) {
        let now = self.clock.now();
        let due: Vec<Token> =
            self.streams.iter().filter(|(_, (s, _))| s.deadline <= now).map(|(t, _)| *t).collect();
        for token in due {
            self.give_up(token, &StreamError::Timeout);
        }
        self.end_stalled();
    }
}
