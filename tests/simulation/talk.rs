//! What one node says and hears beyond membership: user events and queries, wired as the agent's
//! thread for them wires the rules.

use fastrand::Rng;
use serf::membership::{Effects, Members, Transmit};
use serf::messaging::queries::{self, Queries, QueryError, QueryLimits};
use serf::messaging::user_events::{EventTooLarge, UserEvents};
use serf::messaging::{QueryParams, QueryProgress};
use serf::model::{LamportTime, Moment, NodeName, QueryKey, UserEvent};
use serf::wire::message::{Answer, Message, Query, QueryResponse, SerfMessage, SerfState};
use std::time::Duration;

/// Largest name and payload of an event together, in bytes (Serf's default).
const SIZE_LIMIT: usize = 512;

/// What a node's handlers make of queries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Habit {
    /// There are no handlers.
    #[default]
    Silent,
    /// They answer after a while.
    Answers(Duration),
    /// They look at it for a while and say nothing.
    Declines(Duration),
}

/// How an event came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Via {
    /// It was fired here.
    Fire,
    /// In a datagram.
    Gossip,
    /// In a push/pull.
    Exchange,
}

/// What happens at a node, for its handlers, the one who asked, and the checks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// An event is told to the handlers.
    Event(UserEvent, Via),
    /// From now on, events from before this time are not news.
    Ignores(LamportTime),
    /// A query was asked here, and ends by then at the latest.
    Asked { key: QueryKey, deadline: Moment, acks: bool },
    /// Whoever asked is told this.
    Progress(QueryKey, QueryProgress),
}

/// What a step asks to be done, besides what is told.
#[derive(Debug, Default)]
pub struct Said {
    /// To spread by gossip.
    pub broadcasts: Vec<Message>,
    /// To send to one member.
    pub transmits: Vec<Transmit>,
    /// What was told.
    pub told: Vec<Told>,
}

/// The rules of events and queries of one process.
#[derive(Debug)]
pub struct Talker {
    /// Events.
    pub events: UserEvents,
    /// Queries.
    pub queries: Queries,
    /// What handlers make of queries.
    pub habit: Habit,
    /// Queries that handlers are still looking at.
    looking: Vec<(Moment, QueryKey)>,
    rng: Rng,
}

impl Talker {
    /// Nothing heard yet.
    pub fn new(rng: Rng) -> Talker {
        let (events, queries) = (UserEvents::new(SIZE_LIMIT), Queries::new(QueryLimits::default()));
        Talker { events, queries, habit: Habit::default(), looking: Vec::new(), rng }
    }

    /// When [`Talker::tick`] has something to do.
    pub fn deadline(&self) -> Moment {
        let looking = self.looking.iter().map(|(at, _)| *at).min().unwrap_or(Moment::NEVER);
        self.queries.next_deadline().min(looking)
    }

    /// Does what has come due: handlers are through, queries are over.
    pub fn tick(&mut self, members: &Members, now: Moment, said: &mut Said) {
        let due = self.looking.extract_if(.., |(at, _)| *at <= now);
        for (_, key) in due.collect::<Vec<_>>() {
            let (answer, payload) = match self.habit {
                Habit::Answers(_) => (Answer::Payload, members.me().to_string().into_bytes()),
                _ => (Answer::Nothing, Vec::new()),
            };
            self.answer(key, answer, payload, members, said);
        }
        let over = self.queries.tick(now);
        end(over, said);
    }

    /// Fires an event.
    pub fn fire(
        &mut self,
        name: String,
        payload: Vec<u8>,
        now: Moment,
        said: &mut Said,
    ) -> Result<(), EventTooLarge> {
        let event = self.events.fire(name, payload, false, now)?;
        tell(event, Via::Fire, said);
        Ok(())
    }

    /// Asks a query.
    pub fn ask(
        &mut self,
        params: QueryParams,
        members: &Members,
        now: Moment,
        said: &mut Said,
    ) -> Result<QueryKey, QueryError> {
        let query = self.queries.ask(params, members, now, &mut self.rng)?;
        let key = QueryKey { ltime: query.ltime, id: query.id };
        let deadline = now + Duration::from_millis(query.timeout_ms);
        said.told.push(Told::Asked { key, deadline, acks: query.ack });
        self.hear_query(query, members, now, said);
        Ok(key)
    }

    /// A message came in a datagram.
    pub fn hear(&mut self, message: SerfMessage, members: &Members, now: Moment, said: &mut Said) {
        match message {
            SerfMessage::UserEvent(event) => self.hear_event(event, Via::Gossip, now, said),
            SerfMessage::Query(query) => self.hear_query(query, members, now, said),
            SerfMessage::QueryResponse(response) => self.hear_response(response, said),
            SerfMessage::Relay(relay) => {
                let mut fx = Effects::default();
                let mine = queries::relay(relay, members, &mut fx);
                said.transmits.extend(fx.transmits);
                if let Some(response) = mine {
                    self.hear_response(response, said);
                }
            }
        }
    }

    /// This process's part of a push/pull.
    pub fn talk(&self) -> SerfState {
        SerfState {
            event_ltime: self.events.time(),
            query_ltime: self.queries.time(),
            events: self.events.recent().cloned().collect(),
        }
    }

    /// The other's part of a push/pull.
    pub fn merge(&mut self, talk: &SerfState, ignore_past: bool, now: Moment, said: &mut Said) {
        self.events.witness(talk.event_ltime);
        self.queries.witness(talk.query_ltime);
        if ignore_past {
            self.events.ignore_before(talk.event_ltime);
            said.told.push(Told::Ignores(talk.event_ltime));
        }
        let mut events = talk.events.clone();
        events.sort_by_key(|event| event.ltime);
        events.into_iter().for_each(|event| self.hear_event(event, Via::Exchange, now, said));
    }

    /// A member is not there any more.
    pub fn gone(&mut self, name: &NodeName, said: &mut Said) {
        let over = self.queries.gone(name);
        end(over, said);
    }

    fn hear_event(&mut self, event: UserEvent, via: Via, now: Moment, said: &mut Said) {
        if self.events.hear(&event, now) {
            tell(event, via, said);
        }
    }

    fn hear_query(&mut self, query: Query, members: &Members, now: Moment, said: &mut Said) {
        let heard = self.queries.hear(&query, members, now);
        let wants_ack = query.ack;
        if heard.pass_on {
            said.broadcasts.push(Message::from(query));
        }
        let Some(event) = heard.event else { return };
        let answer = match (wants_ack, self.habit) {
            (true, Habit::Silent) => Some(Answer::AckOnly),
            (true, _) => Some(Answer::Ack),
            (false, Habit::Silent) => Some(Answer::Nothing),
            (false, _) => None,
        };
        if let Some(answer) = answer {
            self.answer(event.key, answer, Vec::new(), members, said);
        }
        if let Habit::Answers(after) | Habit::Declines(after) = self.habit {
            self.looking.push((now + after, event.key));
        }
    }

    /// What comes too late, or for someone who has gone, comes to nothing.
    fn answer(&mut self, key: QueryKey, answer: Answer, payload: Vec<u8>, m: &Members, said: &mut Said) {
        let mut fx = Effects::default();
        let mine = self.queries.answer(key, answer, payload, m, &mut self.rng, &mut fx);
        said.transmits.extend(fx.transmits);
        if let Ok(Some(response)) = mine {
            self.hear_response(response, said);
        }
    }

    fn hear_response(&mut self, response: QueryResponse, said: &mut Said) {
        if let Some((key, progress)) = self.queries.response(response) {
            said.told.extend(progress.into_iter().map(|progress| Told::Progress(key, progress)));
        }
    }
}

/// An event that is new here: tells it here, and passes it on.
fn tell(event: UserEvent, via: Via, said: &mut Said) {
    said.told.push(Told::Event(event.clone(), via));
    // What is remembered is not passed on, as in the agent.
    if via != Via::Exchange {
        said.broadcasts.push(Message::from(event));
    }
}

fn end(over: Vec<QueryKey>, said: &mut Said) {
    said.told.extend(over.into_iter().map(|key| Told::Progress(key, QueryProgress::Done)));
}
