//! Queries in virtual time: which members are expected to answer, when one is
//! over, where answers go.

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
    q.ask(params, &b.members, b.now, &mut b.rng).unwrap().query
}

fn hear(q: &mut Queries, query: &Query, b: &Bench) -> Heard {
    q.hear(&query.clone().into(), &b.members, b.now)
}

fn response(query: &Query, from: &str, answer: Answer) -> QueryResponse {
    let payload = if answer == Answer::Payload { b"1".to_vec() } else { vec![] };
    QueryResponse { ltime: query.ltime, id: query.id, from: name(from), answer, payload }
}

fn reported(progress: Option<(QueryKey, Vec<QueryProgress>)>) -> Vec<String> {
    let show = |p| match p {
        QueryProgress::Ack { from } => format!("ack {from}"),
        QueryProgress::Response { from, .. } => format!("response {from}"),
        QueryProgress::Done => "done".to_string(),
    };
    progress.map(|(_, p)| p.into_iter().map(show).collect()).unwrap_or_default()
}

#[test]
fn an_agent_that_was_refused_its_name_hears_who_has_it_but_not_often_and_nothing_else() {
    let mut b = Bench::with(&["x", "a"]);
    let mut q = Queries::new(QueryLimits::default(), Ceilings::default());
    let rival = Source { node: name("x"), addr: addr("rival") };
    let asking = |id, name: &str| Query {
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
        hear(q, query, b).event.expect("it is for everyone");
        let (key, mut fx) = (query.key(), Effects::default());
        let result = q.answer(key, Answer::Payload, vec![1], &b.members, &mut b.rng, &mut fx);
        (result.map(|_| ()), fx.transmits.iter().map(|t| t.to.addr).collect::<Vec<_>>())
    };
    let refused = (Err(QueryError::AskerGone), vec![]);
    assert_eq!(answer(&mut q, &mut b, &asking(1, CONFLICT)), refused, "its claim was never heard");
    b.alive_at("x", 1, addr("rival"));
    assert_eq!(answer(&mut q, &mut b, &asking(2, "load")), refused, "another query");
    for id in 3..5 {
        assert_eq!(answer(&mut q, &mut b, &asking(id, CONFLICT)), (Ok(()), vec![addr("rival")]));
    }
    assert_eq!(answer(&mut q, &mut b, &asking(5, CONFLICT)), refused, "too often");
    b.now += S(30);
    assert_eq!(answer(&mut q, &mut b, &asking(6, CONFLICT)).0, Ok(()));
}

#[test]
fn an_answer_to_a_namesake_is_not_taken_for_ones_own() {
    let mut b = Bench::with(&["a"]);
    let mut q = Queries::new(QueryLimits::default(), Ceilings::default());
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
    let mut q = Queries::new(QueryLimits::default(), Ceilings::default());
    let query = ask(&mut q, &mut b, load());
    assert_eq!(reported(q.response(response(&query, "a", Answer::Ack))), ["ack a"]);
    assert!(reported(q.response(response(&query, "a", Answer::Ack))).is_empty(), "a relayed copy");
    assert_eq!(reported(q.response(response(&query, "a", Answer::Payload))), ["response a"]);
    assert!(reported(q.response(response(&query, "a", Answer::Payload))).is_empty());
    assert_eq!(reported(q.response(response(&query, "me", Answer::AckOnly))), ["ack me"]);
    let last = reported(q.response(response(&query, "b", Answer::Payload)));
    assert_eq!(last, ["ack b", "response b", "done"], "its ack was lost");
    assert!(q.response(response(&query, "b", Answer::Ack)).is_none());
    assert_eq!(q.next_deadline(), Moment::NEVER);
}

#[test]
fn it_ends_at_its_timeout_and_waits_for_no_member_that_has_gone() {
    let mut b = Bench::with(&["a", "b"]);
    let mut q = Queries::new(QueryLimits::default(), Ceilings::default());
    let query = ask(&mut q, &mut b, load());
    assert_eq!(Duration::from_millis(query.timeout_ms), MS(3200), "200 ms x 16 x ceil(log10(4))");
    for from in ["me", "a"] {
        q.response(response(&query, from, Answer::AckOnly));
    }
    assert_eq!(q.gone(&name("b")), [query.key()]);
    let query = ask(&mut q, &mut b, load());
    assert!(q.tick(b.now + MS(3199)).is_empty());
    assert_eq!(q.tick(b.now + MS(3200)), [query.key()]);
    assert_eq!(q.open(), 0);
}

#[test]
fn only_those_that_pass_the_filters_are_expected_and_answer() {
    let mut b = Bench::with(&["a", "b"]);
    let mut q = Queries::new(QueryLimits::default(), Ceilings::default());
    let only_a = QueryParams { nodes: Some(vec![name("a")]), ..load() };
    let query = ask(&mut q, &mut b, only_a);
    assert!(hear(&mut q, &query, &b).event.is_none(), "it is not for this process");
    assert_eq!(reported(q.response(response(&query, "a", Answer::AckOnly))), ["ack a", "done"]);
    let tags = BTreeMap::from([("role".into(), "(".into())]);
    let bad = q.ask(QueryParams { tags, ..load() }, &b.members, b.now, &mut b.rng);
    assert!(matches!(bad, Err(QueryError::Filter(why)) if why.expression == "("));
}

#[test]
fn sizes_are_refused_at_the_source() {
    let mut b = Bench::with(&["a"]);
    let mut q = Queries::new(QueryLimits::default(), Ceilings::default());
    let large = QueryParams { payload: vec![0; 1100], ..load() };
    let error = q.ask(large, &b.members, b.now, &mut b.rng).unwrap_err();
    assert_eq!(error.to_string(), "query exceeds limit of 1024 bytes");
    let query = from("a", 1);
    hear(&mut q, &query, &b);
    let large = q.answer(query.key(), Answer::Payload, vec![0; 1100], &b.members, &mut b.rng, &mut b.fx);
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
    let mut q = Queries::new(QueryLimits::default(), Ceilings::default());
    let query = from("a", 5);
    let heard = hear(&mut q, &query, &b);
    assert!(heard.pass_on && heard.event.is_some());
    assert_eq!(hear(&mut q, &query, &b), Heard::default());
    assert_eq!(q.time(), LamportTime(6));
    let mut answer = |q: &mut Queries, a| q.answer(query.key(), a, vec![], &b.members, &mut b.rng, &mut b.fx);
    assert_eq!(answer(&mut q, Answer::Ack), Ok(None));
    assert_eq!(answer(&mut q, Answer::Payload), Ok(None));
    assert_eq!(answer(&mut q, Answer::Payload), Err(QueryError::AlreadyAnswered));
    q.tick(b.now + S(1));
    assert_eq!(answer(&mut q, Answer::Payload), Err(QueryError::Unknown));
    assert_eq!(b.fx.transmits.len(), 2);
    let absurd = from("a", u64::MAX);
    assert_eq!(hear(&mut q, &absurd, &b), Heard::default());
}

#[test]
fn answers_and_relays_go_to_members_at_their_addresses_only() {
    let mut b = Bench::with(&["a", "b"]);
    let mut q = Queries::new(QueryLimits::default(), Ceilings::default());
    let mut forged = from("a", 1);
    forged.source.addr = "10.99.99.99:1".parse().unwrap();
    hear(&mut q, &forged, &b);
    let refused = q.answer(forged.key(), Answer::Ack, vec![], &b.members, &mut b.rng, &mut b.fx);
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
    let mut q = Queries::new(QueryLimits::default(), Ceilings::default());
    let query = Query { relay_factor: 2, ..from("a", 1) };
    hear(&mut q, &query, &b);
    q.answer(query.key(), Answer::Payload, vec![1], &b.members, &mut b.rng, &mut b.fx).unwrap();
    let kinds: Vec<bool> =
        b.fx.transmits
            .iter()
            .map(|t| matches!(t.messages[0], Message::Serf(SerfMessage::Relay(_))))
            .collect();
    assert_eq!(kinds, [true, true, false]);
    assert!(b.fx.transmits[..2].iter().all(|t| t.to.addr != addr("a")));
}
