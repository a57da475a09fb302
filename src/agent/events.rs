//! The thread `serf-events`: what is said in the cluster. It owns the Lamport clocks of events and
//! queries, what has been heard of both, the open queries and the coalescers, and tells everyone
//! who wants to know, in order.
//!
//! Architecture invariant: it waits for nobody. A consumer that does not keep up loses its
//! messages, and only its own.

mod internal;
mod keys;

use super::channels::{Corridors, ToEvents, ToSync};
use super::clock::Clock;
use super::datagrams::DatagramSender;
use super::gossip::Depths;
use super::handlers::{self, HandlerSender};
use super::rpc::{RpcMessage, RpcSender};
use super::snapshot::SnapshotSender;
use super::snapshot::known::Clocks;
use super::table::SharedTable;
use crate::config::EventScript;
use crate::membership::Effects;
use crate::messaging::coalesce::{MemberCoalescer, UserCoalescer};
use crate::messaging::filter::EventFilter;
use crate::messaging::internal::InternalQuery;
use crate::messaging::keys::KeyReport;
use crate::messaging::name_vote::NameVote;
use crate::messaging::queries::{self, Queries, QueryError, QueryLimits};
use crate::messaging::user_events::{EventTooLarge, UserEvents};
use crate::messaging::{QueryParams, QueryProgress};
use crate::model::{Event, LamportTime, MemberEvent, MemberEventKind, Moment, NodeName, QueryKey, UserEvent};
use crate::rpc::record::{EventCall, QueryCall, RespondCall};
use crate::rpc::{RpcReply, Token};
use crate::telemetry::{RateLimit, counters, metrics};
use crate::wire::keyring::SharedKeyring;
use crate::wire::message::{self, Answer, Message, Query, QueryResponse, SerfState};
use crossbeam_channel::{Receiver, RecvTimeoutError};
use fastrand::Rng;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Messages that are taken in a row before deadlines are looked at.
const BATCH: usize = 256;

/// What the thread is made of.
pub struct EventParts {
    /// The table with the outboxes.
    pub table: SharedTable,
    /// What other threads say.
    pub messages: Receiver<ToEvents>,
    /// To the other threads.
    pub corridors: Corridors,
    /// Where answers to queries go out.
    pub sender: DatagramSender,
    /// To the event handlers.
    pub handlers: HandlerSender,
    /// The handlers, to know which queries they may answer.
    pub scripts: Vec<EventScript>,
    /// Largest name and payload of a user event together, in bytes.
    pub user_event_size_limit: usize,
    /// Largest queries and answers.
    pub query_limits: QueryLimits,
    /// Whether a vote decides on this agent's name when another claims it.
    pub resolve_names: bool,
    /// The keys, for whoever asks for a list of them.
    pub keyring: Option<SharedKeyring>,
    /// To control connections.
    pub rpc: RpcSender,
    /// To the snapshot, if one is kept.
    pub snapshot: Option<SnapshotSender>,
    /// How far the clocks were in an earlier life.
    pub resumed: Clocks,
    /// Lamport times, told to whoever asks for statistics.
    pub depths: Arc<Depths>,
    /// Time.
    pub clock: Clock,
    /// The thread's own random source.
    pub rng: Rng,
}

/// Who asked a query of this process.
#[derive(Clone, Copy, Debug)]
enum Asker {
    /// A control connection.
    Client(Token),
    /// A control connection, about keys.
    Keys(Token),
    /// The agent itself, about its name.
    NameVote,
}

/// The thread's state.
pub struct EventActor {
    parts: EventParts,
    members: MemberCoalescer,
    users: UserCoalescer,
    events: UserEvents,
    queries: Queries,
    /// Who asked the queries of this process.
    askers: BTreeMap<QueryKey, Asker>,
    /// What was answered so far to those of them that are about keys.
    key_reports: BTreeMap<QueryKey, KeyReport>,
    /// What becomes of this agent's name when another claims it.
    name_vote: NameVote,
    /// Filters of all streams of control connections together.
    streams: Vec<EventFilter>,
    /// About what peers ask, by kind: any of them could repeat it.
    complaints: RateLimit<()>,
}

impl EventActor {
    /// Puts the parts together.
    pub fn new(parts: EventParts) -> Self {
        let mut events = UserEvents::new(parts.user_event_size_limit);
        events.resume(parts.resumed.event);
        let mut queries = Queries::new(parts.query_limits);
        queries.resume(parts.resumed.query);
        EventActor {
            members: MemberCoalescer::default(),
            users: UserCoalescer::default(),
            events,
            queries,
            askers: BTreeMap::new(),
            key_reports: BTreeMap::new(),
            name_vote: NameVote::new(parts.resolve_names),
            streams: Vec::new(),
            complaints: RateLimit::new(5, Duration::from_secs(60)),
            parts,
        }
    }

    /// Runs until told to stop, and tells what there is even then.
    pub fn run(mut self) {
        loop {
            let message = match self.parts.clock.instant(self.next_deadline()) {
                Some(deadline) => self.parts.messages.recv_deadline(deadline),
                None => self.parts.messages.recv().map_err(|_| RecvTimeoutError::Disconnected),
            };
            let mut stop = matches!(message, Err(RecvTimeoutError::Disconnected));
            let mut next = message.ok();
            for _ in 0..BATCH {
                // Only within the batch: what is taken out of the corridor is dealt with.
                let Some(message) = next.take().or_else(|| self.parts.messages.try_recv().ok()) else {
                    break;
                };
                // Member events first: they were there when the message came.
                self.fetch();
                match message {
                    ToEvents::Stop => stop = true,
                    message => self.take(message),
                }
            }
            self.fetch();
            if stop {
                return self.tell_the_rest();
            }
            self.tick();
        }
    }

    fn next_deadline(&self) -> Moment {
        let coalesced = self.members.next_deadline().min(self.users.next_deadline());
        coalesced.min(self.queries.next_deadline()).min(self.name_vote.next_deadline())
    }

    fn tick(&mut self) {
        let now = self.now();
        for events in self.members.tick(now) {
            self.deliver(Event::Members(events));
        }
        for event in self.users.tick(now) {
            self.deliver(Event::User(event));
        }
        let over = self.queries.tick(now);
        self.end(over);
        self.vote_on_name();
        let shown = |time: LamportTime| usize::try_from(time.0).unwrap_or(usize::MAX);
        self.parts.depths.event_time.store(shown(self.events.time()), Ordering::Relaxed);
        self.parts.depths.query_time.store(shown(self.queries.time()), Ordering::Relaxed);
    }

    fn tell_the_rest(&mut self) {
        for events in self.members.flush() {
            self.deliver(Event::Members(events));
        }
        for event in self.users.flush() {
            self.deliver(Event::User(event));
        }
    }

    fn now(&self) -> Moment {
        self.parts.clock.now()
    }

    fn take(&mut self, message: ToEvents) {
        match message {
            ToEvents::Doorbell | ToEvents::Stop => {}
            ToEvents::Talk(talk) => talk.into_iter().for_each(|message| self.hear(message)),
            ToEvents::Fire { name, payload, coalesce, token } => {
                let result = self.fire(name, payload, coalesce);
                self.parts.rpc.reply(token, RpcReply::to::<EventCall>(result));
            }
            ToEvents::Ask { params, token } => self.ask_for_client(*params, token),
            ToEvents::AskKeys { command, token } => self.ask_about_keys(&command, token),
            ToEvents::KeyChanged { query, step, result } => self.key_changed(query, step, result),
            ToEvents::Respond { query, payload, token } => {
                let result = self.answer(query, Answer::Payload, payload);
                self.parts.rpc.reply(token, RpcReply::to::<RespondCall>(result));
            }
            ToEvents::Handled { query, answer } => self.handled(query, answer),
            ToEvents::Scripts(scripts) => self.parts.scripts = scripts,
            ToEvents::Streams(filters) => self.streams = filters,
            ToEvents::WantTalk(plan) => {
                let talk = self.talk();
                if self.parts.corridors.sync.send(ToSync::Talk(plan, talk)).is_err() {
                    counters::STREAMS_SKIPPED.inc();
                }
            }
            ToEvents::MergeSerf { serf, ignore_past } => self.merge(serf, ignore_past),
        }
    }

    // ---- members -----------------------------------------------------------------------

    /// Fetches what happened to members.
    fn fetch(&mut self) {
        {
            let table = self.parts.table.read();
            if table.events.is_empty() && table.rival.is_none() {
                return;
            }
        }
        let (events, rival) = {
            let mut table = self.parts.table.write();
            (std::mem::take(&mut table.events), table.rival.take())
        };
        let now = self.now();
        if let Some(rival) = rival {
            self.name_vote.claimed(rival, &self.parts.table.read().members, now);
        }
        let foreigner = |event: &MemberEvent| {
            event.kind == MemberEventKind::Join && !event.member.versions.speaks_native()
        };
        if events.iter().any(foreigner) {
            // Without this, what gossip among them has missed waits for their next exchange.
            let _ = self.parts.corridors.sync.send(ToSync::ForeignerCame);
        }
        for event in events {
            if matches!(event.kind, MemberEventKind::Failed | MemberEventKind::Leave | MemberEventKind::Reap)
            {
                self.gone(&event.member.name);
            }
            if let Some(snapshot) = &self.parts.snapshot {
                snapshot.member(&event);
            }
            for told in self.members.offer(event, now) {
                self.deliver(Event::Members(told));
            }
        }
    }

    fn gone(&mut self, name: &NodeName) {
        let over = self.queries.gone(name);
        self.end(over);
    }

    // ---- what others say ---------------------------------------------------------------

    fn hear(&mut self, message: Message) {
        match message {
            Message::UserEvent(event) => self.hear_event(event),
            Message::Query(query) => self.hear_query(query),
            Message::QueryResponse(response) => self.hear_response(response),
            Message::Relay(relay) => {
                let mut fx = Effects::default();
                let mine = queries::relay(relay, &self.parts.table.read().members, &mut fx);
                self.send(fx);
                if let Some(response) = mine {
                    self.hear_response(response);
                }
            }
            _ => debug_assert!(false, "the prober keeps everything else"),
        }
    }

    fn hear_event(&mut self, event: message::UserEvent) {
        let now = self.now();
        if self.events.hear(&event, now) {
            self.tell_event(event.clone());
            self.broadcast(Message::UserEvent(event));
        }
    }

    /// Tells an event that is new here.
    fn tell_event(&mut self, event: message::UserEvent) {
        let now = self.now();
        let message::UserEvent { ltime, name, payload, coalesce } = event;
        counters::USER_EVENTS.inc();
        metrics::USER_EVENTS_BY_NAME.inc(&name);
        for told in self.users.offer(UserEvent { ltime, name, payload, coalesce }, now) {
            self.deliver(Event::User(told));
        }
    }

    fn fire(&mut self, name: String, payload: Vec<u8>, coalesce: bool) -> Result<(), EventTooLarge> {
        let now = self.now();
        let event = self.events.fire(name, payload, coalesce, now)?;
        self.tell_event(event.clone());
        self.broadcast(Message::UserEvent(event));
        Ok(())
    }

    fn talk(&self) -> SerfState {
        SerfState {
            event_ltime: self.events.time(),
            query_ltime: self.queries.time(),
            events: self.events.recent().cloned().collect(),
        }
    }

    fn merge(&mut self, talk: SerfState, ignore_past: bool) {
        self.events.witness(talk.event_ltime);
        self.queries.witness(talk.query_ltime);
        if ignore_past {
            self.events.ignore_before(talk.event_ltime);
        }
        // In the order of Lamport times, whatever order the other side chose.
        let mut events = talk.events;
        events.sort_by_key(|event| event.ltime);
        let now = self.now();
        for event in events {
            // Not passed on: to whoever it comes from, and to most others, it is the past, and
            // gossip would bring it to newcomers who did not ask for that.
            if self.events.hear(&event, now) {
                self.tell_event(event);
            }
        }
    }

    // ---- queries -----------------------------------------------------------------------

    /// Asks for a control connection.
    fn ask_for_client(&mut self, params: QueryParams, token: Token) {
        let asked = self.prepare(params);
        let result = asked.as_ref().map(|_| ());
        // Before the first answer, which may come from this very process.
        self.parts.rpc.reply(token, RpcReply::to::<QueryCall>(result));
        if let Ok(query) = asked {
            self.ask(query, Asker::Client(token));
        }
    }

    /// Makes a query of this process.
    fn prepare(&mut self, params: QueryParams) -> Result<Query, QueryError> {
        let now = self.now();
        let table = self.parts.table.read();
        self.queries.ask(params, &table.members, now, &mut self.parts.rng)
    }

    /// Lets everyone hear a query of this process. What comes of it goes to `asker`, see
    /// [`EventActor::report`].
    fn ask(&mut self, query: Query, asker: Asker) {
        self.askers.insert(QueryKey { ltime: query.ltime, id: query.id }, asker);
        self.hear_query(query);
    }

    fn hear_query(&mut self, query: Query) {
        let now = self.now();
        let heard = self.queries.hear(&query, &self.parts.table.read().members, now);
        let (key, wants_ack) = (QueryKey { ltime: query.ltime, id: query.id }, query.ack);
        if heard.pass_on {
            self.broadcast(Message::Query(query));
        }
        let Some(event) = heard.event else { return };
        counters::QUERIES.inc();
        metrics::QUERIES_BY_NAME.inc(&event.name);
        if let Some(snapshot) = &self.parts.snapshot {
            snapshot.query(key.ltime);
        }
        if let Some(asked) = InternalQuery::of(&event) {
            return self.hear_internal(asked, key, wants_ack);
        }
        let event = Event::Query(event);
        let by_handlers = self.parts.scripts.iter().any(|script| script.matches(&event));
        let by_streams = self.streams.iter().any(|filter| filter.passes(&event));
        self.acknowledge(key, wants_ack, by_handlers || by_streams);
        self.deliver(event);
    }

    /// Says that a query has arrived, and whether an answer may follow.
    fn acknowledge(&mut self, key: QueryKey, wants_ack: bool, may_answer: bool) {
        let answer = match (wants_ack, may_answer) {
            (true, true) => Answer::Ack,
            (true, false) => Answer::AckOnly,
            (false, true) => return,
            (false, false) => Answer::Nothing,
        };
        if let Err(why) = self.answer(key, answer, Vec::new())
            && let Some(passed) = self.complaints.pass((), "acknowledge", self.now())
        {
            log::debug!(target: "serf", "Failed to acknowledge a query: {why}{passed}");
        }
    }

    fn answer(&mut self, key: QueryKey, answer: Answer, payload: Vec<u8>) -> Result<(), QueryError> {
        let mut fx = Effects::default();
        let mine = {
            let table = self.parts.table.read();
            self.queries.answer(key, answer, payload, &table.members, &mut self.parts.rng, &mut fx)
        }?;
        self.send(fx);
        if let Some(response) = mine {
            self.hear_response(response);
        }
        Ok(())
    }

    /// The handlers are through with a query.
    fn handled(&mut self, key: QueryKey, answer: handlers::HandlerAnswer) {
        let result = match answer {
            handlers::HandlerAnswer::Payload(payload) => self.answer(key, Answer::Payload, payload),
            // A stream may still answer; its client cannot say that it will not.
            handlers::HandlerAnswer::None if self.streams.iter().any(may_pass_queries) => return,
            handlers::HandlerAnswer::None => self.answer(key, Answer::Nothing, Vec::new()),
        };
        if let Err(why) = result
            && let Some(passed) = self.complaints.pass((), "answer", self.now())
        {
            log::warn!(target: "agent", "Failed to answer a query: {why}{passed}");
        }
    }

    fn hear_response(&mut self, response: QueryResponse) {
        if let Some((key, progress)) = self.queries.response(response) {
            for progress in progress {
                self.report(key, progress);
            }
        }
    }

    fn end(&mut self, over: Vec<QueryKey>) {
        for key in over {
            self.report(key, QueryProgress::Done);
        }
    }

    /// Tells whoever asked what has come of its query.
    fn report(&mut self, key: QueryKey, progress: QueryProgress) {
        let asker = match progress {
            QueryProgress::Done => self.askers.remove(&key),
            _ => self.askers.get(&key).copied(),
        };
        match asker {
            Some(Asker::Client(token)) => {
                self.parts.rpc.send(RpcMessage::QueryProgress { token, progress });
            }
            Some(Asker::Keys(token)) => self.hear_about_keys(key, progress, token),
            Some(Asker::NameVote) => self.hear_vote(key, progress),
            None => {}
        }
    }

    // ---- carrying out ------------------------------------------------------------------

    /// Tells handlers, streams and the log.
    fn deliver(&self, event: Event) {
        match &event {
            Event::Members(events) => log::info!(target: "agent", "Received event: {}", events.kind),
            Event::User(event) => log::info!(target: "agent", "Received event: user-event: {}", event.name),
            Event::Query(query) => log::info!(target: "agent", "Received event: query: {}", query.name),
        }
        match &event {
            Event::Query(_) => counters::QUERIES_TOLD.inc(),
            _ => counters::EVENTS_TOLD.inc(),
        }
        // Before anyone is told: after a crash it must not be told again.
        if let (Event::User(event), Some(snapshot)) = (&event, &self.parts.snapshot) {
            snapshot.event(event.ltime);
        }
        let event = Arc::new(event);
        // What finds no room is counted by each.
        self.parts.handlers.send(&event);
        self.parts.rpc.send(RpcMessage::Event(event));
    }

    fn broadcast(&self, message: Message) {
        self.parts.table.write().broadcasts.push_back((message, None));
        self.parts.corridors.ring(true, false);
    }

    fn send(&self, fx: Effects) {
        for transmit in &fx.transmits {
            // Lost like any datagram; the sender counts it. A relayed copy may get through.
            let _ = self.parts.sender.transmit(transmit, &[]);
        }
    }
}

fn may_pass_queries(filter: &EventFilter) -> bool {
    matches!(filter, EventFilter::All | EventFilter::Query(_))
}
