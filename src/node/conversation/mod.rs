//! What is said in the cluster: the Lamport clocks of events and queries, what has been heard of
//! both, the open queries, the coalescers, internal queries, and the vote about this agent's name.
//! Everything is delivered from here, in order.
//!
//! Here are members and user events; `queries`, `internal` and `keys` have the rest.

mod effects;
mod incoming;
mod internal;
mod keys;
mod queries;
#[cfg(test)]
mod tests;

pub use effects::{ConversationEffect, ConversationReply, ConversationTurn, KeysNotAsked, StartedQuery};
pub use incoming::Incoming;

use crate::messaging::coalesce::{MemberCoalescer, UserCoalescer};
use crate::messaging::filter::EventFilter;
use crate::messaging::keys::KeyReport;
use crate::messaging::name_vote::NameVote;
use crate::messaging::queries::{Queries, QueryLimits};
use crate::messaging::user_events::{EventTooLarge, UserEvents};
use crate::model::{
    Ceilings, Event, LamportTime, MemberEvent, Moment, QueryKey, Standing, Text, Token, UserEvent,
};
use crate::node::snapshot::line::{ClockKind, Clocks, Line};
use crate::telemetry::{RateLimit, counters, metrics};
use crate::wire::keyring::SharedKeyring;
use crate::wire::message::{Message, SerfState};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

/// How many events of another member's memory are taken in at once: what comes of each takes many times its memory.
pub const MERGED_AT_ONCE: usize = 256;

/// What a conversation is set up with.
#[derive(Clone, Debug)]
pub struct ConversationSettings {
    /// Largest user event, in bytes, encoded as it is for HashiCorp's agents.
    pub user_event_size_limit: usize,
    /// Largest queries and answers.
    pub query_limits: QueryLimits,
    /// Whether a vote decides on this agent's name when another claims it.
    pub resolve_names: bool,
    /// The keys, for members that ask for a list of them.
    pub keyring: Option<SharedKeyring>,
    /// How far the clocks were when this agent last ran.
    pub resumed: Clocks,
    /// How far Lamport times are believed.
    pub ceilings: Ceilings,
}

/// What asked a query of this process.
#[derive(Clone, Copy, Debug)]
enum Asker {
    /// A control connection.
    Client(Token),
    /// A control connection, about keys.
    Keys(Token),
    /// The agent itself, about its name.
    NameVote,
}

/// The state of the conversation.
#[derive(Debug)]
pub struct Conversation {
    members: MemberCoalescer,
    users: UserCoalescer,
    events: UserEvents,
    queries: Queries,
    /// What asked the queries of this process.
    askers: BTreeMap<QueryKey, Asker>,
    /// What was answered so far to those of them that are about keys.
    key_reports: BTreeMap<QueryKey, KeyReport>,
    /// What becomes of this agent's name when another claims it.
    name_vote: NameVote,
    keyring: Option<SharedKeyring>,
    /// Filters of all event handlers.
    handlers: Vec<EventFilter>,
    /// Filters of all streams of control connections.
    streams: Vec<EventFilter>,
    /// About what peers ask, by kind: any of them could repeat it.
    complaints: RateLimit<()>,
}

impl Conversation {
    /// Nothing has been said yet.
    pub fn new(settings: ConversationSettings, now: Moment) -> Self {
        let mut events = UserEvents::new(settings.user_event_size_limit, settings.ceilings);
        events.resume(settings.resumed.event, now);
        let mut queries = Queries::new(settings.query_limits, settings.ceilings);
        queries.resume(settings.resumed.query, now);
        Conversation {
            members: MemberCoalescer::default(),
            users: UserCoalescer::default(),
            events,
            queries,
            askers: BTreeMap::new(),
            key_reports: BTreeMap::new(),
            name_vote: NameVote::new(settings.resolve_names),
            keyring: settings.keyring,
            handlers: Vec::new(),
            streams: Vec::new(),
            complaints: RateLimit::new(5, Duration::from_secs(60)),
        }
    }

    /// From now on these are the filters of all event handlers together.
    pub fn set_handlers(&mut self, filters: Vec<EventFilter>) {
        self.handlers = filters;
    }

    /// From now on these are the filters of all streams of control connections together.
    pub fn set_streams(&mut self, filters: Vec<EventFilter>) {
        self.streams = filters;
    }

    /// The Lamport times of user events and of queries.
    pub fn times(&self) -> (LamportTime, LamportTime) {
        (self.events.time(), self.queries.time())
    }

    /// How many queries of this process are collecting answers.
    pub fn open_queries(&self) -> usize {
        self.queries.open()
    }

    /// What is remembered of user events, in the order of their Lamport times.
    pub fn recent_events(&self) -> impl Iterator<Item = &UserEvent> {
        self.events.recent()
    }

    // ---- time --------------------------------------------------------------------------

    /// When [`Conversation::tick`] has something to do.
    pub fn next_deadline(&self) -> Moment {
        let coalesced = self.members.next_deadline().min(self.users.next_deadline());
        let stale = self.events.next_deadline();
        coalesced.min(stale).min(self.queries.next_deadline()).min(self.name_vote.next_deadline())
    }

    /// Does what has come due.
    pub fn tick(&mut self, turn: &mut ConversationTurn) {
        for events in self.members.tick(turn.now) {
            deliver(Event::Members(events), turn);
        }
        for event in self.users.tick(turn.now) {
            deliver(Event::User(event), turn);
        }
        self.events.tick(turn.now);
        let over = self.queries.tick(turn.now);
        self.end(over, turn);
        self.vote_on_name(turn);
    }

    /// Delivers what the coalescers hold back: the agent stops.
    pub fn flush(&mut self, turn: &mut ConversationTurn) {
        for events in self.members.flush() {
            deliver(Event::Members(events), turn);
        }
        for event in self.users.flush() {
            deliver(Event::User(event), turn);
        }
    }

    // ---- members -----------------------------------------------------------------------

    /// Takes in what has happened to members, in order, and which process claims this agent's name.
    pub fn members_changed(
        &mut self,
        events: impl IntoIterator<Item = MemberEvent>,
        rival: Option<SocketAddr>,
        turn: &mut ConversationTurn,
    ) {
        if let Some(rival) = rival {
            self.name_vote.claimed(rival, turn.members, turn.now);
        }
        let mut hashicorp_came = false;
        for event in events {
            match event.kind.standing() {
                Standing::Came => hashicorp_came |= !event.member.versions.speaks_native(),
                Standing::Went | Standing::Forgotten => {
                    let over = self.queries.gone(&event.member.name);
                    self.end(over, turn);
                }
                Standing::Stays => {}
            }
            turn.fx.push(ConversationEffect::Keep(Line::of(&event)));
            for events in self.members.offer(event, turn.now) {
                deliver(Event::Members(events), turn);
            }
        }
        if hashicorp_came {
            // Without this, what gossip among them has missed waits for their next exchange.
            turn.fx.push(ConversationEffect::HashicorpMemberCame);
        }
    }

    // ---- what others say ---------------------------------------------------------------

    /// Takes in what another member says.
    pub fn hear(&mut self, message: Incoming, turn: &mut ConversationTurn) {
        match message {
            Incoming::UserEvent(event) => self.hear_event(event, turn),
            Incoming::Query(query) => self.hear_query(&query, turn),
            Incoming::QueryResponse(response) => self.hear_response(response, turn),
            Incoming::Relay(relay) => self.relay(relay, turn),
        }
    }

    fn hear_event(&mut self, event: UserEvent, turn: &mut ConversationTurn) {
        // It has been passed on: that is seen to before it comes here (`messaging/wave`).
        if self.events.hear(&event, turn.now) {
            self.deliver_event(event, turn);
        }
    }

    /// Delivers an event that is new here, now or when its burst is over.
    fn deliver_event(&mut self, event: UserEvent, turn: &mut ConversationTurn) {
        counters::USER_EVENTS.inc();
        metrics::USER_EVENTS_BY_NAME.inc(&event.name.to_lossy());
        for event in self.users.offer(event, turn.now) {
            deliver(Event::User(event), turn);
        }
    }

    /// A control connection sends a user event.
    pub fn fire(
        &mut self,
        name: Text,
        payload: Vec<u8>,
        coalesce: bool,
        token: Token,
        turn: &mut ConversationTurn,
    ) {
        let result = self.send_event(name, payload, coalesce, turn);
        turn.fx.push(ConversationEffect::Reply(token, ConversationReply::Fired(result)));
    }

    fn send_event(
        &mut self,
        name: Text,
        payload: Vec<u8>,
        coalesce: bool,
        turn: &mut ConversationTurn,
    ) -> Result<(), EventTooLarge> {
        let event = self.events.fire(name, payload, coalesce, turn.now)?;
        self.deliver_event(event.clone(), turn);
        turn.fx.push(ConversationEffect::Broadcast(Message::from(event)));
        Ok(())
    }

    // ---- exchanges ---------------------------------------------------------------------

    /// What is remembered of events and queries, for a push/pull.
    pub fn recall(&self) -> SerfState {
        SerfState {
            event_ltime: self.events.time(),
            query_ltime: self.queries.time(),
            events: self.events.recent().cloned().collect(),
        }
    }

    /// Takes in a piece of another member's memory of events and queries, see [`MERGED_AT_ONCE`]. With `ignore_past` its events are
    /// history, not news: a join without replay.
    pub fn merge(&mut self, theirs: SerfState, ignore_past: bool, turn: &mut ConversationTurn) {
        self.events.witness(theirs.event_ltime, turn.now);
        self.queries.witness(theirs.query_ltime, turn.now);
        if ignore_past {
            self.events.ignore_before(theirs.event_ltime, turn.now);
        }
        // In the order of Lamport times, whatever order the other side chose.
        let mut events = theirs.events;
        events.sort_by_key(|event| event.ltime);
        let mut found = Vec::new();
        for event in events {
            if self.events.hear(&event, turn.now) {
                found.push(Message::from(event.clone()));
                self.deliver_event(event, turn);
            }
        }
        // No wave of these: to the member they come from, and to most others, they are the past. A neighbour that
        // lacks them will say so.
        turn.fx.push(ConversationEffect::Merged(found));
    }
}

/// Delivers an event to handlers, streams and the log.
fn deliver(event: Event, turn: &mut ConversationTurn) {
    match &event {
        Event::Members(events) => log::info!(target: "agent", "Received event: {}", events.kind),
        Event::User(event) => log::info!(target: "agent", "Received event: user-event: {}", event.name),
        Event::Query(query) => log::info!(target: "agent", "Received event: query: {}", query.name),
    }
    match &event {
        Event::Query(_) => counters::QUERIES_DELIVERED.inc(),
        Event::Members(_) => counters::EVENTS_DELIVERED.inc(),
        Event::User(user) => {
            counters::EVENTS_DELIVERED.inc();
            // Before it is delivered: after a crash it must not be delivered again.
            turn.fx.push(ConversationEffect::Keep(Line::Clock(ClockKind::Event, user.ltime)));
        }
    }
    turn.fx.push(ConversationEffect::Deliver(event));
}
