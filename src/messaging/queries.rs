//! Queries: what is asked of the cluster, the answers that are collected, and those that are given.
//!
//! The asking agent expects an answer of every member that is present and passes the filters. A
//! query ends at its timeout, as in Serf, or as soon as every expected member has answered or said
//! that it will not: our own agents say so.

mod asked;
mod audience;
mod limits;
mod open;

pub use audience::Filtered;
pub use limits::{MAX_OPEN, QueryError, QueryLimits};

use super::expression::BadExpression;
use super::internal::CONFLICT;
use super::query_params::{QueryParams, QueryProgress};
use crate::membership::{Effects, Members, Target, Transmit};
use crate::model::{Ceilings, LamportClock, LamportTime, Moment, NodeName, QueryEvent, QueryKey, Status};
use crate::telemetry::{RateLimit, counters};
use crate::wire::message::{Answer, Message, Query, QueryResponse, Relay, Source};
use crate::wire::serf_size;
use asked::Asked;
use fastrand::Rng;
use open::{OpenQueries, OpenQuery};
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

/// Lamport times of queries that are remembered, to recognise each (Serf's `QueryBuffer`, wider).
pub const KEPT_TIMES: usize = 4096;
/// The most queries of one Lamport time.
const MAX_PER_TIME: usize = 256;
/// Serf's `QueryTimeoutMult`.
const TIMEOUT_MULT: u32 = 16;
/// The most members through which an answer is sent as well, whatever the query says: each costs two datagrams.
pub const MAX_RELAY_FACTOR: u8 = 5;
/// The longest timeout that is believed.
pub const MAX_TIMEOUT: Duration = Duration::from_secs(3600);
/// So many queries of an agent that was refused its name are answered in [`RIVAL_INTERVAL`].
const RIVAL_ANSWERS: u32 = 2;
const RIVAL_INTERVAL: Duration = Duration::from_secs(30);

/// What to do about a query that was heard.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Heard {
    /// It is to be passed on.
    pub pass_on: bool,
    /// It is for this process.
    pub event: Option<QueryEvent>,
    /// It is ignored here, as this filter of it is not valid.
    pub bad_filter: Option<BadExpression>,
}

/// What has been heard and asked of queries.
#[derive(Debug)]
pub struct Queries {
    clock: LamportClock,
    seen: BTreeMap<LamportTime, Vec<u32>>,
    floor: LamportTime,
    asked: BTreeMap<QueryKey, Asked>,
    /// Queries of this process that ended before their time to make room for others.
    ended_early: Vec<QueryKey>,
    open: OpenQueries,
    limits: QueryLimits,
    /// Holds back answers to agents that were refused their names: a forged claim must not draw
    /// more than it costs.
    rivals: RateLimit<SocketAddr>,
}

impl Queries {
    /// Nothing heard yet.
    pub fn new(limits: QueryLimits, ceilings: Ceilings) -> Self {
        let mut clock = LamportClock::new(ceilings);
        clock.increment();
        let (seen, floor, asked, ended_early, open) = Default::default();
        let rivals = RateLimit::new(RIVAL_ANSWERS, RIVAL_INTERVAL);
        Queries { clock, seen, floor, asked, ended_early, open, limits, rivals }
    }

    /// The Lamport time of queries.
    pub fn time(&self) -> LamportTime {
        self.clock.time()
    }

    /// How many queries of this process are still collecting.
    pub fn open(&self) -> usize {
        self.asked.len()
    }

    /// Takes note of another member's clock.
    pub fn witness(&mut self, theirs: LamportTime, now: Moment) {
        // One less: no query with that time has been asked yet. An absurd time is ignored.
        let _ = self.clock.witness(theirs.previous(), now);
    }

    /// Goes on after an earlier run in which queries up to `last` were delivered: none of them is
    /// news.
    pub fn resume(&mut self, last: LamportTime, now: Moment) {
        if last > LamportTime::ZERO && self.clock.witness(last, now) {
            self.floor = self.floor.max(last.next());
        }
    }

    // ---- asking ------------------------------------------------------------------------

    /// Makes a query of this process, to be heard here and to be sent to everyone.
    pub fn ask(
        &mut self,
        params: impl Into<Filtered<QueryParams>>,
        members: &Members,
        now: Moment,
        rng: &mut Rng,
    ) -> Result<Filtered<Query>, QueryError> {
        let Filtered { query: params, audience } = params.into();
        let timeout = params.timeout.unwrap_or_else(|| default_timeout(members)).min(MAX_TIMEOUT);
        let me = members.my_row();
        let query = Query {
            ltime: self.clock.time(),
            id: rng.u32(..),
            source: Source { node: me.name.clone(), addr: me.addr },
            filters: params.filters(),
            ack: params.request_ack,
            no_broadcast: false,
            relay_factor: params.relay_factor,
            timeout_ms: u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX),
            name: params.name,
            payload: params.payload,
        };
        if serf_size(&query.clone().into()) > self.limits.query {
            return Err(QueryError::TooLarge(self.limits.query));
        }
        let audience = audience.map_err(QueryError::Filter)?;
        self.clock.increment();
        let expected: BTreeSet<NodeName> = members
            .rows()
            .filter(|row| row.status() == Status::Alive && audience.includes(row))
            .map(|row| row.name.clone())
            .collect();
        while self.asked.len() >= MAX_OPEN
            && let Some((oldest, _)) = self.asked.pop_first()
        {
            // So that one client that asks without end keeps no other from asking.
            counters::QUERIES_EVICTED.inc();
            self.ended_early.push(oldest);
        }
        self.asked.insert(query.key(), Asked::new(expected, query.ack, now + timeout));
        Ok(Filtered { query, audience: Ok(audience) })
    }

    /// Makes a query of this process for one member, to be sent to it alone.
    pub fn ask_one(
        &mut self,
        node: &NodeName,
        params: QueryParams,
        members: &Members,
        now: Moment,
        rng: &mut Rng,
    ) -> Result<Query, QueryError> {
        let nodes = Some(vec![node.clone()]);
        let asked = self.ask(QueryParams { nodes, ..params }, members, now, rng)?;
        Ok(Query { no_broadcast: true, ..asked.query })
    }

    /// An answer came. Says which query it belongs to and what is to be reported of it.
    pub fn response(&mut self, msg: QueryResponse) -> Option<(QueryKey, Vec<QueryProgress>)> {
        let key = QueryKey { ltime: msg.ltime, id: msg.id };
        let Some(asked) = self.asked.get_mut(&key) else {
            log::debug!(target: "serf", "reply for non-running query (LTime: {}, ID: {}) From: {}", msg.ltime, msg.id, msg.from);
            return None;
        };
        let mut progress = asked.take(msg);
        if asked.is_complete() {
            self.asked.remove(&key);
            progress.push(QueryProgress::Done);
        }
        Some((key, progress))
    }

    /// A member failed or left: nobody waits for its answers any more. Returns the queries that
    /// are over by that.
    pub fn gone(&mut self, name: &NodeName) -> Vec<QueryKey> {
        for asked in self.asked.values_mut() {
            asked.gone(name);
        }
        let over: Vec<QueryKey> =
            self.asked.iter().filter(|(_, a)| a.is_complete()).map(|(key, _)| *key).collect();
        for key in &over {
            self.asked.remove(key);
        }
        over
    }

    /// When [`Queries::tick`] has something to do.
    pub fn next_deadline(&self) -> Moment {
        if !self.ended_early.is_empty() {
            return Moment::ZERO;
        }
        let asked = self.asked.values().map(Asked::deadline).min();
        asked.unwrap_or(Moment::NEVER).min(self.open.next_deadline())
    }

    /// Ends what has timed out. Returns the queries of this process that are over.
    pub fn tick(&mut self, now: Moment) -> Vec<QueryKey> {
        self.open.expire(now);
        let mut over = std::mem::take(&mut self.ended_early);
        let timed_out: Vec<QueryKey> =
            self.asked.iter().filter(|(_, a)| a.deadline() <= now).map(|(key, _)| *key).collect();
        for key in &timed_out {
            self.asked.remove(key);
        }
        over.extend(timed_out);
        over
    }

    // ---- answering ---------------------------------------------------------------------

    /// A query was heard, from here or from elsewhere.
    pub fn hear(&mut self, query: &Filtered<Query>, members: &Members, now: Moment) -> Heard {
        let Filtered { query, audience } = query;
        if !self.clock.witness(query.ltime, now) {
            counters::REFUSED_ABSURD.inc();
            return Heard::default();
        }
        if query.ltime < self.floor {
            counters::EVENTS_TOO_OLD.inc();
            return Heard::default();
        }
        let ids = self.seen.entry(query.ltime).or_default();
        if ids.contains(&query.id) || ids.len() >= MAX_PER_TIME {
            return Heard::default();
        }
        ids.push(query.id);
        while self.seen.len() > KEPT_TIMES {
            if let Some((time, _)) = self.seen.pop_first() {
                self.floor = self.floor.max(time.next());
            }
        }
        let mut heard = Heard { pass_on: !query.no_broadcast, ..Heard::default() };
        let audience = match audience {
            Ok(audience) => audience,
            Err(bad) => return Heard { bad_filter: Some(bad.clone()), ..heard },
        };
        if audience.includes(members.my_row()) {
            let timeout = Duration::from_millis(query.timeout_ms).min(MAX_TIMEOUT);
            let (key, deadline) = (query.key(), now + timeout);
            let (source, relay_factor) = (query.source.clone(), query.relay_factor.min(MAX_RELAY_FACTOR));
            let for_rivals = query.name == CONFLICT
                && members.rival_at(&source).is_some()
                && self.rivals.pass(source.addr, "conflict", now).is_some();
            let (answered, declined) = (false, false);
            let open = OpenQuery { source, deadline, relay_factor, answered, declined, for_rivals };
            self.open.insert(key, open);
            let (name, payload) = (query.name.clone(), query.payload.clone());
            heard.event = Some(QueryEvent { key, name, payload, deadline });
        }
        heard
    }

    /// Answers a query. A response to this process itself is returned instead of sent.
    pub fn answer(
        &mut self,
        key: QueryKey,
        answer: Answer,
        payload: Vec<u8>,
        members: &Members,
        rng: &mut Rng,
        fx: &mut Effects,
    ) -> Result<Option<QueryResponse>, QueryError> {
        let pending = self.open.get_mut(key).ok_or(QueryError::Unknown)?;
        match answer {
            Answer::Payload if pending.answered => return Err(QueryError::AlreadyAnswered),
            // There is nothing more to be said.
            Answer::Nothing if pending.answered || pending.declined => return Ok(None),
            Answer::Payload | Answer::Nothing | Answer::Ack | Answer::AckOnly => {}
        }
        let from = members.me().clone();
        let response = QueryResponse { ltime: key.ltime, id: key.id, from, answer, payload };
        if serf_size(&response.clone().into()) > self.limits.response {
            return Err(QueryError::ResponseTooLarge(self.limits.response));
        }
        match answer {
            Answer::Payload => pending.answered = true,
            Answer::Nothing | Answer::AckOnly => pending.declined = true,
            Answer::Ack => {}
        }
        let is_over = pending.answered || pending.declined;
        let (source, relay_factor, for_rivals) =
            (pending.source.clone(), pending.relay_factor, pending.for_rivals);
        if is_over {
            self.open.finished(key);
        }
        if source.node == *members.me() && source.addr == members.my_row().addr {
            return Ok(Some(response));
        }
        let rival = || members.rival_at(&source).filter(|_| for_rivals);
        let Some(versions) = members.member_at(&source).or_else(rival) else {
            // Nothing is sent to an address that only a message names.
            counters::REFUSED_UNKNOWN_SENDER.inc();
            return Err(QueryError::AskerGone);
        };
        let answer = match answer {
            // HashiCorp's agents know neither of these two.
            Answer::AckOnly if !versions.speaks_native() => Answer::Ack,
            Answer::Nothing if !versions.speaks_native() => return Ok(None),
            other => other,
        };
        let response = QueryResponse { answer, ..response };
        let k = usize::from(relay_factor);
        let helpers = members.random_rows(k, rng, |r| r.is_alive() && r.name != source.node);
        for helper in helpers {
            let relay = Relay { to: source.clone(), response: response.clone() };
            fx.send(helper.target(), Message::from(relay));
        }
        fx.send(Target::member(source.addr, &versions), Message::from(response));
        Ok(None)
    }
}

/// Passes another member's answer on. Only to members, at their addresses.
pub fn relay(msg: Relay, members: &Members, fx: &mut Effects) -> Option<QueryResponse> {
    if msg.to.node == *members.me() && msg.to.addr == members.my_row().addr {
        return Some(msg.response);
    }
    match members.member_at(&msg.to) {
        Some(versions) => {
            let (to, messages) = (Target::member(msg.to.addr, &versions), vec![Message::from(msg.response)]);
            fx.transmits.push(Transmit { to, messages, probe: None, piggybacks: false });
        }
        None => counters::REFUSED_UNKNOWN_SENDER.inc(),
    }
    None
}

/// The timeout of a query that names none: Serf's `DefaultQueryTimeout`.
pub fn default_timeout(members: &Members) -> Duration {
    let scale = ((members.present() + 1) as f64).log10().ceil() as u32;
    members.config().gossip_interval * TIMEOUT_MULT * scale.max(1)
}

#[cfg(test)]
mod tests;
