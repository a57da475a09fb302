//! Exchanges as one member has them.

mod difference;

use super::*;
use crate::membership::tests::{Bench, addr, name, peer_row, push_pull};
use crate::membership::{Presence, Target};
use crate::node::table::Table;
use crate::wire::message::{PeerState, Source};

struct Peer {
    table: Table,
    exchanges: Exchanges,
    now: Moment,
    rng: Rng,
}

impl Peer {
    fn with(others: &[&str]) -> Peer {
        let Bench { members, now, mut rng, .. } = Bench::with(others);
        let exchanges = Exchanges::new(&members, now, &mut rng);
        Peer { table: Table::new(members), exchanges, now, rng }
    }

    fn turn(&mut self, input: impl FnOnce(&mut Exchanges, &mut ExchangeTurn)) -> Vec<ExchangeEffect> {
        let mut fx = Vec::new();
        let Peer { table, exchanges, now, rng } = self;
        input(exchanges, &mut ExchangeTurn { table, now: *now, rng, fx: &mut fx });
        fx
    }
}

fn from() -> SocketAddr {
    addr("a")
}

/// The effects but those of the table.
fn others(effects: Vec<ExchangeEffect>) -> Vec<ExchangeEffect> {
    effects.into_iter().filter(|effect| !matches!(effect, ExchangeEffect::Table(_))).collect()
}

#[test]
fn an_exchange_is_recalled_then_merged_then_answered_with_what_was_merged() {
    let mut peer = Peer::with(&["a"]);
    let theirs = push_pull(vec![peer_row("x", 1, PeerState::Alive)]);
    let message = StreamMessage::PushPull(theirs);
    let fx = others(peer.turn(|e, turn| e.heard(StreamId(5), from(), message, turn)));
    let [ExchangeEffect::Recall(plan), ExchangeEffect::MergeSerf { ignore_past: false, .. }] = &fx[..] else {
        panic!("{fx:?}");
    };
    assert_eq!(*plan, Plan::Answer { stream: StreamId(5), join: false, goes_on: true });
    let mut fx = Vec::new();
    let (plan, rng) = (plan.clone(), &mut Rng::with_seed(1));
    peer.exchanges.proceed(plan, SerfState::default(), &peer.table.members, rng, &mut fx);
    let [ExchangeEffect::Reply(StreamId(5), StreamMessage::PushPull(ours))] = &fx[..] else {
        panic!("{fx:?}");
    };
    assert!(ours.rows.iter().any(|row| row.node == name("x")), "the answer holds what has just come");
}

#[test]
fn a_ping_is_answered_for_this_member_only() {
    let mut peer = Peer::with(&["a"]);
    for (whom, answered) in [("me", true), ("other", false)] {
        let source = Source { node: name("a"), addr: from() };
        let ping = StreamMessage::Ping(Ping { seq_no: 3, node: name(whom), source });
        let fx = peer.turn(|e, turn| e.heard(StreamId(1), from(), ping, turn));
        match &fx[..] {
            [ExchangeEffect::Reply(_, StreamMessage::Ack(ack))] if answered => assert_eq!(ack.seq_no, 3),
            [ExchangeEffect::Reply(_, StreamMessage::Error(_))] if !answered => {}
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_join_counts_the_addresses_that_answer_and_names_the_errors_when_none_does() {
    let mut peer = Peer::with(&[]);
    let (a, b) = (addr("a"), addr("b"));
    let id = peer.exchanges.next_join();
    let fx = others(peer.turn(|e, turn| e.join(id, vec![a, b], Vec::new(), false, turn)));
    assert_eq!(fx.len(), 2, "one stream for each address: {fx:?}");
    let state = StreamMessage::PushPull(push_pull(vec![peer_row("a", 1, PeerState::Alive)]));
    let fx = others(peer.turn(|e, turn| e.answered(Purpose::Join(id), a, state, turn)));
    assert!(matches!(fx[..], [ExchangeEffect::MergeSerf { ignore_past: true, .. }]), "{fx:?}");
    let why = StreamFailure::Broken("timed out".to_string());
    let fx = peer.turn(|e, turn| e.failed(Purpose::Join(id), b, &why, turn));
    assert!(matches!(fx[..], [ExchangeEffect::Joined(joined, Ok(1))] if joined == id), "{fx:?}");

    let id = peer.exchanges.next_join();
    peer.turn(|e, turn| e.join(id, vec![b], vec!["Failed to resolve x".to_string()], true, turn));
    let fx = peer.turn(|e, turn| e.failed(Purpose::Join(id), b, &why, turn));
    let [ExchangeEffect::Joined(_, Err(error))] = &fx[..] else { panic!("{fx:?}") };
    assert_eq!(error.to_string(), format!("Failed to resolve x; Failed to join {b}: timed out"));

    let id = peer.exchanges.next_join();
    let fx = others(peer.turn(|e, turn| e.join(id, Vec::new(), Vec::new(), true, turn)));
    assert!(matches!(fx[..], [ExchangeEffect::Joined(_, Err(JoinError::NoAddress))]), "{fx:?}");
}

#[test]
fn a_newcomer_has_the_rest_of_another_member_if_the_first_took_long_to_answer() {
    let names: Vec<String> = (0..FIRST_ROWS + 10).map(|i| format!("n{i}")).collect();
    for (took, of_another) in [(Duration::from_millis(900), false), (SLOW, true)] {
        let mut peer = Peer::with(&[]);
        let seed = addr("n0");
        let id = peer.exchanges.next_join();
        peer.turn(|e, turn| e.join(id, vec![seed], Vec::new(), false, turn));
        peer.now += took;
        let rows = names.iter().map(|name| peer_row(name, 1, PeerState::Alive)).collect();
        let state = StreamMessage::PushPull(push_pull(rows));
        let fx = peer.turn(|e, turn| e.answered(Purpose::Join(id), seed, state, turn));
        let plans: Vec<_> = fx
            .iter()
            .filter_map(|effect| match effect {
                ExchangeEffect::Recall(Plan::Differ { to, is_newcomer: true, .. }) => Some(to.addr),
                _ => None,
            })
            .collect();
        let [to] = plans[..] else { panic!("{fx:?}") };
        assert_eq!(to != seed, of_another, "after {took:?}: {to}");
    }
}

#[test]
fn a_join_brings_a_member_back_that_has_left() {
    let mut peer = Peer::with(&["a"]);
    let now = peer.now;
    let _ = peer.table.change(|members, fx| {
        members.begin_leave(now, fx);
        members.finish_leave(now, fx);
    });
    assert_eq!(peer.table.members.presence(), Presence::Gone);
    let id = peer.exchanges.next_join();
    peer.turn(|e, turn| e.join(id, vec![from()], Vec::new(), true, turn));
    assert_eq!(peer.table.members.presence(), Presence::Here);
}

#[test]
fn messages_of_datagrams_and_answers_to_nothing_end_a_stream_and_nothing_else() {
    let mut peer = Peer::with(&["a"]);
    let dead = crate::membership::tests::dead("a", 1, "a");
    let ack = Ack { seq_no: 1, digest: None, payload: Vec::new() };
    for message in [
        StreamMessage::User(Message::from(dead)),
        StreamMessage::Ack(ack),
        StreamMessage::Error("no".to_string()),
    ] {
        let fx = peer.turn(|e, turn| e.heard(StreamId(9), from(), message, turn));
        assert!(matches!(fx[..], [ExchangeEffect::Close(StreamId(9))]), "{fx:?}");
    }
    assert_eq!(peer.table.members.present(), 2);
}

#[test]
fn a_ping_over_tcp_is_reported_to_the_prober_either_way() {
    let mut peer = Peer::with(&["a"]);
    let to = Target::member(from(), &crate::model::Versions::OURS);
    let source = Source { node: name("me"), addr: addr("me") };
    let ping = Ping { seq_no: 4, node: name("a"), source };
    let mut fx = Vec::new();
    peer.exchanges.open(StreamRequest::Ping { to, ping }, &mut fx);
    assert!(matches!(fx[..], [ExchangeEffect::Connect { purpose: Purpose::Ping(4), .. }]), "{fx:?}");
    let ack = |seq_no| StreamMessage::Ack(Ack { seq_no, digest: None, payload: Vec::new() });
    let is = |fx: &[ExchangeEffect], expected| {
        assert!(
            matches!(fx, [ExchangeEffect::PingDone { seq_no: 4, outcome }] if *outcome == expected),
            "{fx:?}"
        );
    };
    for (seq_no, expected) in [(4, StreamPing::Answered), (5, StreamPing::Failed)] {
        let fx = peer.turn(|e, turn| e.answered(Purpose::Ping(4), from(), ack(seq_no), turn));
        is(&fx, expected);
    }
    let refused = StreamFailure::NothingListens("connection refused".to_string());
    let another = StreamFailure::Refused("this is 'b', not 'a'".to_string());
    for (why, expected) in [(refused, StreamPing::Refused), (another, StreamPing::Failed)] {
        let fx = peer.turn(|e, turn| e.failed(Purpose::Ping(4), from(), &why, turn));
        is(&fx, expected);
    }
}

/// Its address has been given to another: nothing is sent there but a ping.
#[test]
fn a_failed_member_is_exchanged_with_only_if_its_address_answers_to_its_name() {
    let to = Target::member(from(), &crate::model::Versions::OURS);
    let source = Source { node: name("me"), addr: addr("me") };
    let purpose = Purpose::Reconnect { node: name("a"), seq_no: 4, to };
    let ack = |seq_no| StreamMessage::Ack(Ack { seq_no, digest: None, payload: Vec::new() });
    let theirs = StreamMessage::PushPull(push_pull(vec![peer_row("x", 1, PeerState::Alive)]));
    let mut peer = Peer::with(&["a"]);
    let mut fx = Vec::new();
    let ping = Ping { seq_no: 4, node: name("a"), source };
    peer.exchanges.open(StreamRequest::Reconnect { to, ping: ping.clone() }, &mut fx);
    let [ExchangeEffect::Connect { message: StreamMessage::Ping(sent), purpose: opened, .. }] = &fx[..]
    else {
        panic!("{fx:?}");
    };
    assert_eq!((sent, opened), (&ping, &purpose));

    let no = StreamMessage::Error("this is 'b', not 'a'".to_string());
    for answer in [no, ack(5), theirs] {
        let fx = peer.turn(|e, turn| e.answered(purpose.clone(), from(), answer, turn));
        assert!(fx.is_empty(), "{fx:?}");
    }
    assert_eq!(peer.table.members.present(), 2, "nobody has come");
    let fx = peer.turn(|e, turn| e.answered(purpose, from(), ack(4), turn));
    let [ExchangeEffect::Recall(Plan::Reach { whom, .. })] = &fx[..] else { panic!("{fx:?}") };
    assert_eq!(whom, "a");
}

/// Its datagrams may come through all the same, so that it stays alive.
#[test]
fn exchanges_are_counted_by_member() {
    let mut peer = Peer::with(&["a"]);
    let purpose = Purpose::Exchange(name("a"));
    let why = StreamFailure::Broken("timed out".to_string());
    for _ in 0..3 {
        peer.turn(|e, turn| e.failed(purpose.clone(), from(), &why, turn));
    }
    let theirs = StreamMessage::PushPull(push_pull(vec![peer_row("a", 1, PeerState::Alive)]));
    peer.turn(|e, turn| e.answered(purpose, from(), theirs, turn));
    let record = peer.table.members.row("a").unwrap().probes;
    assert_eq!((record.tcp_ok, record.tcp_failed), (1, 3));
}
