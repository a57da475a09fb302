//! Where members are: what acks say of it, and what is made of that.

use super::*;
use crate::model::Coordinate;
use crate::telemetry::counters;
use crate::wire::message::{Ack, Ping, Source};
use crate::wire::{Dialect, coordinate, encode};

fn at(first: f64) -> Coordinate {
    Coordinate::new([first, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0], 0.5, 0.0, 0.001).unwrap()
}

fn saying(seq_no: u32, payload: Vec<u8>) -> Message {
    Message::from(Ack { seq_no, digest: None, payload })
}

impl Bench {
    /// Pings and is answered with this payload after a while.
    fn answered(&mut self, after: Duration, payload: Vec<u8>) -> String {
        let (who, seq_no) = self.next_round();
        self.pass(after);
        self.hear(&who, vec![saying(seq_no, payload)]);
        who
    }

    fn own(&self) -> Coordinate {
        *self.members.coordinate("me").unwrap()
    }

    fn aloof() -> Bench {
        Bench::configured(Config { coordinates: false, ..Config::for_profile(Profile::Lan) })
    }

    /// The payload of the ack to a ping with this source.
    fn payload_for(&mut self, source: Source) -> Vec<u8> {
        self.forget();
        let ping = Message::from(Ping { seq_no: 9, node: name("me"), source });
        self.hear_from(addr("origin"), vec![ping]);
        match self.fx.transmits.iter().flat_map(|t| &t.messages).next() {
            Some(Message::Probe(ProbeMessage::Ack(ack))) => ack.payload.clone(),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn acks_show_members_where_this_one_is_and_strangers_nothing() {
    let mut b = Bench::with(&["a"]);
    b.answered(MS(20), coordinate::encode(&at(0.1)));
    let member = Source { node: name("a"), addr: addr("a") };
    let payload = b.payload_for(member.clone());
    assert_eq!(coordinate::decode(&payload), Ok(Some(b.own())));
    let longest = saying(u32::MAX, payload);
    assert!(encode(Dialect::Native, &longest).len() <= 160);
    for (node, at) in [("a", "victim"), ("stranger", "stranger")] {
        assert_eq!(b.payload_for(Source { node: name(node), addr: addr(at) }), [0; 0]);
    }
    let mut aloof = Bench::aloof();
    aloof.alive("a", 1);
    assert_eq!(aloof.payload_for(member), [0; 0]);
}

#[test]
fn an_answer_moves_this_member_and_shows_where_the_other_is() {
    let mut b = Bench::with(&["a"]);
    assert_eq!((b.own(), b.members.coordinate("a")), (Coordinate::origin(), None));
    b.answered(MS(20), coordinate::encode(&at(0.1)));
    assert_eq!(b.members.coordinate("a"), Some(&at(0.1)));
    assert_ne!(b.own(), Coordinate::origin());
    let first = b.own().distance_to(&at(0.1));
    for _ in 0..50 {
        b.answered(MS(20), coordinate::encode(&at(0.1)));
    }
    let last = b.own().distance_to(&at(0.1));
    assert!(first > MS(50) && last.abs_diff(MS(20)) < MS(5), "{first:?} {last:?}");
    assert_eq!((b.members.coordinate("nobody"), b.members.coordinate_resets()), (None, Some(0)));
}

#[test]
fn what_cannot_be_is_counted_and_changes_nothing() {
    let mut b = Bench::with(&["a"]);
    b.answered(MS(20), coordinate::encode(&at(0.1)));
    let (own, good) = (b.own(), coordinate::encode(&at(0.2)));
    let infinite = {
        let mut bytes = good.clone();
        let last = bytes.len() - 8;
        bytes[last..].copy_from_slice(&f64::INFINITY.to_be_bytes());
        bytes
    };
    let before = counters::REFUSED_COORDINATE.value();
    let bad = [good[..100].to_vec(), vec![7], vec![0xff; 1000], infinite];
    for payload in bad.clone() {
        b.answered(MS(20), payload);
        assert_eq!((b.own(), b.members.coordinate("a")), (own, Some(&at(0.1))));
    }
    assert!(counters::REFUSED_COORDINATE.value() >= before + bad.len() as u64);
    // A member that says nothing is refused nothing.
    b.answered(MS(20), vec![]);
    assert_eq!(b.own(), own);
    b.answered(MS(20), good);
    assert_ne!(b.own(), own);
    assert_eq!(b.members.coordinate("a"), Some(&at(0.2)));
}

#[test]
fn answers_that_come_late_or_through_others_show_nothing() {
    let mut b = Bench::with(&["a", "b"]);
    // Read late, before others were asked.
    b.answered(MS(500), coordinate::encode(&at(0.1)));
    assert_eq!(b.own(), Coordinate::origin());
    let (who, seq_no) = b.next_round();
    b.run(MS(600));
    b.hear(&who, vec![saying(seq_no, coordinate::encode(&at(0.1)))]);
    assert_eq!((b.own(), b.members.coordinate(&who)), (Coordinate::origin(), None));
    // Just in time.
    b.answered(MS(499), coordinate::encode(&at(0.1)));
    assert_ne!(b.own(), Coordinate::origin());
}

#[test]
fn a_member_that_is_forgotten_is_nowhere() {
    let mut b = Bench::with(&["a"]);
    b.answered(MS(20), coordinate::encode(&at(0.1)));
    b.news(Message::from(dead("a", 1, "x")));
    assert_eq!(b.members.coordinate("a"), Some(&at(0.1)), "as in Serf");
    let Bench { members, now, fx, .. } = &mut b;
    members.force_leave(&name("a"), true, *now, fx);
    assert!(b.members.row("a").is_none());
    assert_eq!(b.members.coordinate("a"), None);
}

#[test]
fn a_member_that_takes_no_part_learns_nothing() {
    let mut b = Bench::aloof();
    b.alive("a", 1);
    b.answered(MS(20), coordinate::encode(&at(0.1)));
    assert_eq!((b.members.coordinate("a"), b.members.coordinate("me")), (None, None));
    assert!(b.members.row("a").unwrap().located.is_none());
    assert_eq!(b.members.coordinate_resets(), None);
}
