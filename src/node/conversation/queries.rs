//! Queries: asking, hearing, answering, and what becomes of the answers.

use super::effects::{ConversationEffect, ConversationReply, ConversationTurn, StartedQuery};
use super::{Asker, Conversation, deliver};
use crate::membership::Effects;
use crate::messaging::filter::EventFilter;
use crate::messaging::internal::InternalQuery;
use crate::messaging::queries::{self, Filtered, QueryError};
use crate::messaging::{QueryParams, QueryProgress};
use crate::model::{Event, QueryKey, Token};
use crate::node::snapshot::line::{ClockKind, Line};
use crate::telemetry::{counters, metrics};
use crate::wire::message::{Answer, Message, Query, QueryResponse, Relay};
use std::time::Duration;

impl Conversation {
    /// A control connection asks a query.
    pub fn ask(
        &mut self,
        params: impl Into<Filtered<QueryParams>>,
        token: Token,
        turn: &mut ConversationTurn,
    ) {
        let asked = self.prepare(params, turn);
        let started = asked.as_ref().map_err(Clone::clone).map(|Filtered { query, .. }| StartedQuery {
            key: query.key(),
            deadline: turn.now + Duration::from_millis(query.timeout_ms),
        });
        // Before the first answer, which may come from this very process.
        turn.fx.push(ConversationEffect::Reply(token, ConversationReply::QueryStarted(started)));
        if let Ok(query) = asked {
            self.begin(query, Asker::Client(token), turn);
        }
    }

    /// Makes a query of this process.
    pub(super) fn prepare(
        &mut self,
        params: impl Into<Filtered<QueryParams>>,
        turn: &mut ConversationTurn,
    ) -> Result<Filtered<Query>, QueryError> {
        self.queries.ask(params, turn.members, turn.now, turn.rng)
    }

    /// Lets everyone hear a query of this process. What comes of it goes to `asker`, see
    /// [`Conversation::report`].
    pub(super) fn begin(&mut self, query: Filtered<Query>, asker: Asker, turn: &mut ConversationTurn) {
        self.askers.insert(query.query.key(), asker);
        turn.fx.push(ConversationEffect::Broadcast(Message::from(query.query.clone())));
        self.hear_query(&query, turn);
    }

    pub(super) fn hear_query(&mut self, query: &Filtered<Query>, turn: &mut ConversationTurn) {
        let heard = self.queries.hear(query, turn.members, turn.now);
        let (key, wants_ack) = (query.query.key(), query.query.ack);
        if let Some(bad) = heard.bad_filter
            && let Some(passed) = self.complaints.pass((), "filter", turn.now)
        {
            let (expression, problem) = (bad.expression, bad.problem);
            log::warn!(target: "serf", "failed to compile filter regex ({expression}): {problem}{passed}");
        }
        let Some(event) = heard.event else { return };
        counters::QUERIES.inc();
        metrics::QUERIES_BY_NAME.inc(&event.name.to_lossy());
        turn.fx.push(ConversationEffect::Keep(Line::Clock(ClockKind::Query, key.ltime)));
        if let Some(asked) = InternalQuery::of(&event) {
            return self.hear_internal(asked, key, wants_ack, turn);
        }
        let event = Event::Query(event);
        let may_answer = self.handlers.iter().chain(&self.streams).any(|filter| filter.passes(&event));
        self.acknowledge(key, wants_ack, may_answer, turn);
        deliver(event, turn);
    }

    /// Says that a query has arrived, and whether an answer may follow.
    pub(super) fn acknowledge(
        &mut self,
        key: QueryKey,
        wants_ack: bool,
        may_answer: bool,
        turn: &mut ConversationTurn,
    ) {
        let answer = match (wants_ack, may_answer) {
            (true, true) => Answer::Ack,
            (true, false) => Answer::AckOnly,
            (false, true) => return,
            (false, false) => Answer::Nothing,
        };
        self.notify_asker(key, answer, turn);
    }

    /// Sends an answer without content. That it cannot be sent is nobody's fault here: the query may be
    /// over, or its asker gone.
    fn notify_asker(&mut self, key: QueryKey, answer: Answer, turn: &mut ConversationTurn) {
        if let Err(why) = self.answer(key, answer, Vec::new(), turn)
            && let Some(passed) = self.complaints.pass((), "acknowledge", turn.now)
        {
            log::debug!(target: "serf", "Failed to acknowledge a query: {why}{passed}");
        }
    }

    pub(super) fn answer(
        &mut self,
        key: QueryKey,
        answer: Answer,
        payload: Vec<u8>,
        turn: &mut ConversationTurn,
    ) -> Result<(), QueryError> {
        let mut fx = Effects::default();
        let mine = self.queries.answer(key, answer, payload, turn.members, turn.rng, &mut fx)?;
        send(fx, turn);
        if let Some(response) = mine {
            self.hear_response(response, turn);
        }
        Ok(())
    }

    /// A control connection answers a query.
    pub fn respond(&mut self, query: QueryKey, payload: Vec<u8>, token: Token, turn: &mut ConversationTurn) {
        let result = self.answer(query, Answer::Payload, payload, turn);
        turn.fx.push(ConversationEffect::Reply(token, ConversationReply::Responded(result)));
    }

    /// A handler has answered a query. Another one may have done so before, or may yet if this answer
    /// is too large.
    pub fn handler_answered(&mut self, key: QueryKey, payload: Vec<u8>, turn: &mut ConversationTurn) {
        match self.answer(key, Answer::Payload, payload, turn) {
            Ok(()) | Err(QueryError::AlreadyAnswered) => {}
            Err(why) => {
                if let Some(passed) = self.complaints.pass((), "answer", turn.now) {
                    log::warn!(target: "agent", "Failed to answer a query: {why}{passed}");
                }
            }
        }
    }

    /// The handlers are through with a query, and none has answered.
    pub fn handlers_declined(&mut self, key: QueryKey, turn: &mut ConversationTurn) {
        // A stream may still answer; its client cannot say that it will not.
        if !self.streams.iter().any(EventFilter::may_pass_queries) {
            self.notify_asker(key, Answer::Nothing, turn);
        }
    }

    pub(super) fn hear_response(&mut self, response: QueryResponse, turn: &mut ConversationTurn) {
        if let Some((key, progress)) = self.queries.response(response) {
            for progress in progress {
                self.report(key, progress, turn);
            }
        }
    }

    pub(super) fn relay(&mut self, relay: Relay, turn: &mut ConversationTurn) {
        let mut fx = Effects::default();
        let mine = queries::relay(relay, turn.members, &mut fx);
        send(fx, turn);
        if let Some(response) = mine {
            self.hear_response(response, turn);
        }
    }

    pub(super) fn end(&mut self, over: Vec<QueryKey>, turn: &mut ConversationTurn) {
        for key in over {
            self.report(key, QueryProgress::Done, turn);
        }
    }

    /// Reports to the asker what has come of its query.
    fn report(&mut self, key: QueryKey, progress: QueryProgress, turn: &mut ConversationTurn) {
        let asker = match progress {
            QueryProgress::Done => self.askers.remove(&key),
            QueryProgress::Ack { .. } | QueryProgress::Response { .. } => self.askers.get(&key).copied(),
        };
        match asker {
            Some(Asker::Client(token)) => {
                turn.fx.push(ConversationEffect::Reply(token, ConversationReply::Progress(progress)));
            }
            Some(Asker::Keys(token)) => self.hear_about_keys(key, progress, token, turn),
            Some(Asker::NameVote) => self.hear_vote(key, progress, turn),
            None => {}
        }
    }
}

fn send(fx: Effects, turn: &mut ConversationTurn) {
    turn.fx.extend(fx.transmits.into_iter().map(ConversationEffect::Send));
}
