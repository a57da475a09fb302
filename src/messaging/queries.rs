//! Queries: questions to the cluster, the answers that are collected, and those that are given.
//!
//! Whoever asks expects an answer of everyone who is present and passes the filters. A query ends
//! at its timeout, as in Serf, or as soon as everyone expected has answered or said that it will
//! not: our own agents say so.

use super::filter::anchored;
use super::internal::CONFLICT;
use super::query_params::{QueryParams, QueryProgress};
use crate::membership::{Effects, Members, Row, Target, Transmit};
use crate::model::{LamportClock, LamportTime, Moment, NodeName, QueryEvent, QueryKey, Status};
use crate::telemetry::{RateLimit, counters};
use crate::wire::message::{Answer, Message, Query, QueryFilter, QueryResponse, Relay, Source};
use crate::wire::{Dialect, encode};
use fastrand::Rng;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

/// Lamport times of queries that are remembered, to recognise each (Serf's `QueryBuffer`, wider).
pub const KEPT_TIMES: usize = 4096;
/// The most queries of one Lamport time.
const MAX_PER_TIME: usize = 256;
/// The most queries that this process asks at once, and the most that it may still answer.
pub const MAX_OPEN: usize = 4096;
/// Serf's `QueryTimeoutMult`.
const TIMEOUT_MULT: u32 = 16;
/// The longest timeout that is believed.
pub const MAX_TIMEOUT: Duration = Duration::from_secs(3600);
/// So many queries of an agent that was refused its name are answered in [`RIVAL_INTERVAL`].
const RIVAL_ANSWERS: u32 = 2;
const RIVAL_INTERVAL: Duration = Duration::from_secs(30);
/// The dialect in which sizes are limited: the longest, so that what is accepted reaches everyone;
/// and HashiCorp's, so that both programs accept the same.
const LONGEST: Dialect = Dialect::Hashicorp;
/// Names that begin so belong to agents themselves.
pub const INTERNAL_PREFIX: &str = "_serf_";

/// Limits of sizes, in bytes; Serf's defaults.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueryLimits {
    /// Of an encoded query.
    pub query: usize,
    /// Of an encoded answer.
    pub response: usize,
}

impl Default for QueryLimits {
    fn default() -> Self {
        QueryLimits { query: 1024, response: 1024 }
    }
}

/// Why a query was not asked or not answered. The texts are Serf's where it has any.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum QueryError {
    /// It is larger than this many bytes.
    TooLarge(usize),
    /// The answer is larger than this many bytes.
    ResponseTooLarge(usize),
    /// A filter is no expression.
    Filter(String),
    /// Too many queries are open.
    TooMany,
    /// No such query can be answered (any more).
    Unknown,
    /// This process has answered it already.
    AlreadyAnswered,
    /// Whoever asked is not a member any more.
    AskerGone,
}

impl fmt::Display for QueryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            QueryError::TooLarge(limit) => write!(f, "query exceeds limit of {limit} bytes"),
            QueryError::ResponseTooLarge(limit) => write!(f, "response exceeds limit of {limit} bytes"),
            QueryError::Filter(why) => f.write_str(why),
            QueryError::TooMany => write!(f, "too many queries are open ({MAX_OPEN})"),
            QueryError::Unknown => f.write_str("response is past the deadline"),
            QueryError::AlreadyAnswered => f.write_str("response already sent"),
            QueryError::AskerGone => f.write_str("whoever asked is not a member any more"),
        }
    }
}

impl std::error::Error for QueryError {}

/// A query of this process that is still collecting.
#[derive(Debug)]
struct Asked {
    deadline: Moment,
    wants_acks: bool,
    acked: BTreeSet<NodeName>,
    answered: BTreeSet<NodeName>,
    /// Who has not acknowledged, if that is wanted, and who has not yet answered or said that it
    /// will not.
    silent: BTreeSet<NodeName>,
    undecided: BTreeSet<NodeName>,
}

impl Asked {
    fn is_complete(&self) -> bool {
        self.silent.is_empty() && self.undecided.is_empty()
    }
}

/// A query of anyone that this process may still answer.
#[derive(Debug)]
struct Pending {
    source: Source,
    deadline: Moment,
    relay_factor: u8,
    answered: bool,
    /// Whether someone who was refused its name may ask this as well.
    for_rivals: bool,
}

/// What to do about a query that was heard.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Heard {
    /// It is to be passed on.
    pub pass_on: bool,
    /// It is for this process.
    pub event: Option<QueryEvent>,
}

/// What has been heard and asked of queries.
#[derive(Debug)]
pub struct Queries {
    clock: LamportClock,
    seen: BTreeMap<LamportTime, Vec<u32>>,
    floor: LamportTime,
    asked: BTreeMap<QueryKey, Asked>,
    pending: BTreeMap<QueryKey, Pending>,
    limits: QueryLimits,
    /// Holds back answers to those who were refused their names: a forged claim must not draw
    /// more than it costs.
    rivals: RateLimit<SocketAddr>,
}

impl Queries {
    /// Nothing heard yet.
    pub fn new(limits: QueryLimits) -> Self {
        let mut clock = LamportClock::default();
        clock.increment();
        let (seen, floor, asked, pending) = Default::default();
        let rivals = RateLimit::new(RIVAL_ANSWERS, RIVAL_INTERVAL);
        Queries { clock, seen, floor, asked, pending, limits, rivals }
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
    pub fn witness(&mut self, theirs: LamportTime) {
        // One less: no query with that time has been asked yet. An absurd time is ignored.
        let _ = self.clock.witness(theirs.previous());
    }

    /// Goes on after an earlier life in which queries up to `last` were told: none of them is news.
    pub fn resume(&mut self, last: LamportTime) {
        if last > LamportTime::ZERO && self.clock.witness(last) {
            self.floor = self.floor.max(last.next());
        }
    }

    // ---- asking ------------------------------------------------------------------------

    /// Makes a query of this process, to be heard here and to be told to everyone.
    pub fn ask(
        &mut self,
        params: QueryParams,
        members: &Members,
        now: Moment,
        rng: &mut Rng,
    ) -> Result<Query, QueryError> {
        if self.asked.len() >= MAX_OPEN {
            return Err(QueryError::TooMany);
        }
        let timeout = params.timeout.unwrap_or_else(|| default_timeout(members)).min(MAX_TIMEOUT);
        let mut filters = Vec::new();
        if !params.nodes.is_empty() {
            filters.push(QueryFilter::Nodes(params.nodes));
        }
        for (tag, expression) in params.tags {
            anchored(&expression).map_err(|e| QueryError::Filter(e.to_string()))?;
            filters.push(QueryFilter::Tag { tag, expression });
        }
        let me = members.my_row();
        let query = Query {
            ltime: self.clock.time(),
            id: rng.u32(..),
            source: Source { node: me.name.clone(), addr: me.addr },
            filters,
            ack: params.request_ack,
            no_broadcast: false,
            relay_factor: params.relay_factor,
            timeout_ms: u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX),
            name: params.name,
            payload: params.payload,
        };
        if encode(LONGEST, &Message::from(query.clone())).len() > self.limits.query {
            return Err(QueryError::TooLarge(self.limits.query));
        }
        self.clock.increment();
        let expected: BTreeSet<NodeName> = members
            .rows()
            .filter(|row| row.status() == Status::Alive && passes(&query.filters, row))
            .map(|row| row.name.clone())
            .collect();
        let asked = Asked {
            deadline: now + timeout,
            wants_acks: query.ack,
            acked: BTreeSet::new(),
            answered: BTreeSet::new(),
            silent: if query.ack { expected.clone() } else { BTreeSet::new() },
            undecided: expected,
        };
        self.asked.insert(key(&query), asked);
        Ok(query)
    }

    /// An answer came. Says which query it belongs to and what is to be told of it.
    pub fn response(&mut self, msg: QueryResponse) -> Option<(QueryKey, Vec<QueryProgress>)> {
        let key = QueryKey { ltime: msg.ltime, id: msg.id };
        let Some(asked) = self.asked.get_mut(&key) else {
            log::debug!(target: "serf", "reply for non-running query (LTime: {}, ID: {}) From: {}", msg.ltime, msg.id, msg.from);
            return None;
        };
        let mut progress = Vec::new();
        let from = msg.from;
        let acked = asked.acked.insert(from.clone());
        asked.silent.remove(&from);
        match msg.answer {
            Answer::Ack | Answer::AckOnly => {
                if msg.answer == Answer::AckOnly {
                    asked.undecided.remove(&from);
                }
                if !acked {
                    counters::QUERY_DUPLICATE_ACKS.inc();
                } else if asked.wants_acks {
                    counters::QUERY_ACKS.inc();
                    progress.push(QueryProgress::Ack { from });
                }
            }
            Answer::Nothing | Answer::Payload => {
                // An answer whose ack was lost is as good as both.
                if acked && asked.wants_acks {
                    counters::QUERY_ACKS.inc();
                    progress.push(QueryProgress::Ack { from: from.clone() });
                }
                asked.undecided.remove(&from);
                if msg.answer == Answer::Payload {
                    if asked.answered.insert(from.clone()) {
                        counters::QUERY_RESPONSES.inc();
                        progress.push(QueryProgress::Response { from, payload: msg.payload });
                    } else {
                        counters::QUERY_DUPLICATE_RESPONSES.inc();
                    }
                }
            }
        }
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
            asked.silent.remove(name);
            asked.undecided.remove(name);
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
        let asked = self.asked.values().map(|a| a.deadline);
        let pending = self.pending.values().map(|p| p.deadline);
        asked.chain(pending).min().unwrap_or(Moment::NEVER)
    }

    /// Ends what has timed out. Returns the queries of this process that are over.
    pub fn tick(&mut self, now: Moment) -> Vec<QueryKey> {
        self.pending.retain(|_, p| p.deadline > now);
        let over: Vec<QueryKey> =
            self.asked.iter().filter(|(_, a)| a.deadline <= now).map(|(key, _)| *key).collect();
        for key in &over {
            self.asked.remove(key);
        }
        over
    }

    // ---- answering ---------------------------------------------------------------------

    /// A query was heard, from here or from elsewhere.
    pub fn hear(&mut self, query: &Query, members: &Members, now: Moment) -> Heard {
        if !self.clock.witness(query.ltime) {
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
        let mut heard = Heard { pass_on: !query.no_broadcast, event: None };
        if passes(&query.filters, members.my_row()) && self.pending.len() < MAX_OPEN {
            let timeout = Duration::from_millis(query.timeout_ms).min(MAX_TIMEOUT);
            let (key, deadline) = (key(query), now + timeout);
            let (source, relay_factor) = (query.source.clone(), query.relay_factor);
            let for_rivals = query.name == CONFLICT
                && members.rival_at(&source).is_some()
                && self.rivals.pass(source.addr, "conflict", now).is_some();
            self.pending.insert(key, Pending { source, deadline, relay_factor, answered: false, for_rivals });
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
        let pending = self.pending.get_mut(&key).ok_or(QueryError::Unknown)?;
        let is_final = matches!(answer, Answer::Payload | Answer::Nothing);
        if is_final && pending.answered {
            return Err(QueryError::AlreadyAnswered);
        }
        let from = members.me().clone();
        let response = QueryResponse { ltime: key.ltime, id: key.id, from, answer, payload };
        if encode(LONGEST, &Message::from(response.clone())).len() > self.limits.response {
            return Err(QueryError::ResponseTooLarge(self.limits.response));
        }
        pending.answered |= is_final;
        let source = &pending.source;
        if source.node == *members.me() && source.addr == members.my_row().addr {
            return Ok(Some(response));
        }
        let rival = || members.rival_at(source).filter(|_| pending.for_rivals);
        let Some(versions) = members.member_at(source).or_else(rival) else {
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
        let k = usize::from(pending.relay_factor);
        let helpers = members.random_rows(k, rng, |r| r.is_alive() && r.name != source.node);
        for helper in helpers {
            let relay = Relay { to: pending.source.clone(), response: response.clone() };
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
            fx.transmits.push(Transmit { to, messages, probe: None, rides: false });
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

fn key(query: &Query) -> QueryKey {
    QueryKey { ltime: query.ltime, id: query.id }
}

/// Whether a member is meant. A filter that does not compile is passed by nobody.
fn passes(filters: &[QueryFilter], row: &Row) -> bool {
    filters.iter().all(|filter| match filter {
        QueryFilter::Nodes(nodes) => nodes.contains(&row.name),
        QueryFilter::Tag { tag, expression } => {
            anchored(expression).is_ok_and(|re| re.is_match(row.tags.value(tag).unwrap_or_default()))
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::membership::tests::{Bench, MS, S, addr};
    use crate::wire::message::{SerfMessage, Source};
    use std::collections::BTreeMap;

    fn name(s: &str) -> NodeName {
        NodeName::new(s).unwrap()
    }

    fn load() -> QueryParams {
        QueryParams { name: "load".into(), request_ack: true, ..QueryParams::default() }
    }

    fn ask(q: &mut Queries, b: &mut Bench, params: QueryParams) -> Query {
        q.ask(params, &b.members, b.now, &mut b.rng).unwrap()
    }

    fn response(query: &Query, from: &str, answer: Answer) -> QueryResponse {
        let payload = if answer == Answer::Payload { b"1".to_vec() } else { vec![] };
        QueryResponse { ltime: query.ltime, id: query.id, from: name(from), answer, payload }
    }

    fn told(progress: Option<(QueryKey, Vec<QueryProgress>)>) -> Vec<String> {
        let show = |p| match p {
            QueryProgress::Ack { from } => format!("ack {from}"),
            QueryProgress::Response { from, .. } => format!("response {from}"),
            QueryProgress::Done => "done".to_string(),
        };
        progress.map(|(_, p)| p.into_iter().map(show).collect()).unwrap_or_default()
    }

    #[test]
    fn who_was_refused_its_name_is_told_who_has_it_but_not_often_and_nothing_else() {
        let mut b = Bench::with(&["x", "a"]);
        let mut q = Queries::new(QueryLimits::default());
        let rival = Source { node: name("x"), addr: addr("rival") };
        let question = |id, name: &str| Query {
            ltime: LamportTime(5),
            id,
            source: rival.clone(),
            filters: vec![],
            ack: false,
            no_broadcast: false,
            relay_factor: 0,
            timeout_ms: 60_000,
            name: name.into(),
            payload: b"x".to_vec(),
        };
        let answer = |q: &mut Queries, b: &mut Bench, query: &Query| {
            q.hear(query, &b.members, b.now).event.expect("it is for everyone");
            let (key, mut fx) = (key(query), Effects::default());
            let result = q.answer(key, Answer::Payload, vec![1], &b.members, &mut b.rng, &mut fx);
            (result.map(|_| ()), fx.transmits.iter().map(|t| t.to.addr).collect::<Vec<_>>())
        };
        let refused = (Err(QueryError::AskerGone), vec![]);
        assert_eq!(answer(&mut q, &mut b, &question(1, CONFLICT)), refused, "its claim was never heard");
        b.alive_at("x", 1, addr("rival"));
        assert_eq!(answer(&mut q, &mut b, &question(2, "load")), refused, "another question");
        for id in 3..5 {
            assert_eq!(answer(&mut q, &mut b, &question(id, CONFLICT)), (Ok(()), vec![addr("rival")]));
        }
        assert_eq!(answer(&mut q, &mut b, &question(5, CONFLICT)), refused, "too often");
        b.now += S(30);
        assert_eq!(answer(&mut q, &mut b, &question(6, CONFLICT)).0, Ok(()));
    }

    #[test]
    fn an_answer_to_a_namesake_is_not_taken_for_ones_own() {
        let mut b = Bench::with(&["a"]);
        let mut q = Queries::new(QueryLimits::default());
        let query = ask(&mut q, &mut b, load());
        let to = Source { node: name("me"), addr: addr("rival") };
        let response = response(&query, "a", Answer::Payload);
        let mut fx = Effects::default();
        assert_eq!(relay(Relay { to, response: response.clone() }, &b.members, &mut fx), None);
        assert!(fx.is_empty());
        let to = Source { node: name("me"), addr: addr("me") };
        assert_eq!(relay(Relay { to, response: response.clone() }, &b.members, &mut fx), Some(response));
    }

    #[test]
    fn a_query_ends_when_everyone_has_acknowledged_and_answered() {
        let mut b = Bench::with(&["a", "b"]);
        let mut q = Queries::new(QueryLimits::default());
        let query = ask(&mut q, &mut b, load());
        assert_eq!(told(q.response(response(&query, "a", Answer::Ack))), ["ack a"]);
        assert!(told(q.response(response(&query, "a", Answer::Ack))).is_empty(), "a relayed copy");
        assert_eq!(told(q.response(response(&query, "a", Answer::Payload))), ["response a"]);
        assert!(told(q.response(response(&query, "a", Answer::Payload))).is_empty());
        assert_eq!(told(q.response(response(&query, "me", Answer::AckOnly))), ["ack me"]);
        let last = told(q.response(response(&query, "b", Answer::Payload)));
        assert_eq!(last, ["ack b", "response b", "done"], "its ack was lost");
        assert!(q.response(response(&query, "b", Answer::Ack)).is_none());
        assert_eq!(q.next_deadline(), Moment::NEVER);
    }

    #[test]
    fn it_ends_at_its_timeout_and_waits_for_nobody_who_has_gone() {
        let mut b = Bench::with(&["a", "b"]);
        let mut q = Queries::new(QueryLimits::default());
        let query = ask(&mut q, &mut b, load());
        assert_eq!(Duration::from_millis(query.timeout_ms), MS(3200), "200 ms x 16 x ceil(log10(4))");
        for from in ["me", "a"] {
            q.response(response(&query, from, Answer::AckOnly));
        }
        assert_eq!(q.gone(&name("b")), [key(&query)]);
        let query = ask(&mut q, &mut b, load());
        assert!(q.tick(b.now + MS(3199)).is_empty());
        assert_eq!(q.tick(b.now + MS(3200)), [key(&query)]);
        assert_eq!(q.open(), 0);
    }

    #[test]
    fn only_those_who_pass_the_filters_are_expected_and_answer() {
        let mut b = Bench::with(&["a", "b"]);
        let mut q = Queries::new(QueryLimits::default());
        let only_a = QueryParams { nodes: vec![name("a")], ..load() };
        let query = ask(&mut q, &mut b, only_a);
        assert!(q.hear(&query, &b.members, b.now).event.is_none(), "it is not for this process");
        assert_eq!(told(q.response(response(&query, "a", Answer::AckOnly))), ["ack a", "done"]);
        let tags = BTreeMap::from([("role".to_string(), "(".to_string())]);
        let bad = q.ask(QueryParams { tags, ..load() }, &b.members, b.now, &mut b.rng);
        assert!(matches!(bad, Err(QueryError::Filter(why)) if why.starts_with("Failed to compile regex")));
    }

    #[test]
    fn sizes_are_refused_at_the_source() {
        let mut b = Bench::with(&["a"]);
        let mut q = Queries::new(QueryLimits::default());
        let large = QueryParams { payload: vec![0; 1100], ..load() };
        let error = q.ask(large, &b.members, b.now, &mut b.rng).unwrap_err();
        assert_eq!(error.to_string(), "query exceeds limit of 1024 bytes");
        let query = from("a", 1);
        q.hear(&query, &b.members, b.now);
        let large = q.answer(key(&query), Answer::Payload, vec![0; 1100], &b.members, &mut b.rng, &mut b.fx);
        assert_eq!(large, Err(QueryError::ResponseTooLarge(1024)));
    }

    /// A query of another member.
    fn from(node: &str, ltime: u64) -> Query {
        Query {
            ltime: LamportTime(ltime),
            id: 7,
            source: Source { node: name(node), addr: addr(node) },
            filters: vec![],
            ack: true,
            no_broadcast: false,
            relay_factor: 0,
            timeout_ms: 1000,
            name: "load".into(),
            payload: vec![],
        }
    }

    #[test]
    fn each_query_is_heard_once_and_answered_once_in_time() {
        let mut b = Bench::with(&["a"]);
        let mut q = Queries::new(QueryLimits::default());
        let query = from("a", 5);
        let heard = q.hear(&query, &b.members, b.now);
        assert!(heard.pass_on && heard.event.is_some());
        assert_eq!(q.hear(&query, &b.members, b.now), Heard::default());
        assert_eq!(q.time(), LamportTime(6));
        let mut answer =
            |q: &mut Queries, a| q.answer(key(&query), a, vec![], &b.members, &mut b.rng, &mut b.fx);
        assert_eq!(answer(&mut q, Answer::Ack), Ok(None));
        assert_eq!(answer(&mut q, Answer::Payload), Ok(None));
        assert_eq!(answer(&mut q, Answer::Payload), Err(QueryError::AlreadyAnswered));
        q.tick(b.now + S(1));
        assert_eq!(answer(&mut q, Answer::Payload), Err(QueryError::Unknown));
        assert_eq!(b.fx.transmits.len(), 2);
        let absurd = from("a", u64::MAX);
        assert_eq!(q.hear(&absurd, &b.members, b.now), Heard::default());
    }

    #[test]
    fn answers_and_relays_go_to_members_at_their_addresses_only() {
        let mut b = Bench::with(&["a", "b"]);
        let mut q = Queries::new(QueryLimits::default());
        let mut forged = from("a", 1);
        forged.source.addr = "10.99.99.99:1".parse().unwrap();
        q.hear(&forged, &b.members, b.now);
        let refused = q.answer(key(&forged), Answer::Ack, vec![], &b.members, &mut b.rng, &mut b.fx);
        assert_eq!(refused, Err(QueryError::AskerGone));
        let answer = response(&forged, "b", Answer::Payload);
        relay(Relay { to: forged.source, response: answer.clone() }, &b.members, &mut b.fx);
        assert!(b.fx.transmits.is_empty());
        let to = Source { node: name("a"), addr: addr("a") };
        assert!(relay(Relay { to, response: answer.clone() }, &b.members, &mut b.fx).is_none());
        assert_eq!(b.fx.transmits[0].to.addr, addr("a"));
        let to = Source { node: name("me"), addr: addr("me") };
        assert_eq!(relay(Relay { to, response: answer.clone() }, &b.members, &mut b.fx), Some(answer));
    }

    #[test]
    fn the_relay_factor_sends_copies_through_others() {
        let mut b = Bench::with(&["a", "b", "c", "d"]);
        let mut q = Queries::new(QueryLimits::default());
        let query = Query { relay_factor: 2, ..from("a", 1) };
        q.hear(&query, &b.members, b.now);
        q.answer(key(&query), Answer::Payload, vec![1], &b.members, &mut b.rng, &mut b.fx).unwrap();
        let kinds: Vec<bool> =
            b.fx.transmits
                .iter()
                .map(|t| matches!(t.messages[0], Message::Serf(SerfMessage::Relay(_))))
                .collect();
        assert_eq!(kinds, [true, true, false]);
        assert!(b.fx.transmits[..2].iter().all(|t| t.to.addr != addr("a")));
    }
}
