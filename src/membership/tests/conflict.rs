//! Two processes with one name: which is refused, which is informed, and how often.

use super::*;
use crate::membership::MAX_RIVALS;
use crate::wire::message::Source;

fn rival() -> SocketAddr {
    addr("rival")
}

fn source(node: &str, at: SocketAddr) -> Source {
    Source { node: name(node), addr: at }
}

#[test]
fn the_member_that_had_the_name_first_keeps_it_and_hears_of_the_other_once_a_minute() {
    let mut b = Bench::with(&["x", "a"]);
    for _ in 0..100 {
        b.alive_at("x", 1, rival());
        b.alive_at("x", 7, rival());
    }
    assert_eq!(b.members.row("x").unwrap().addr, addr("x"));
    assert_eq!(b.incarnation("x"), 1, "what the other says is not believed in any part");
    assert_eq!(b.sent(), [(addr("x"), "alive x 1".to_string())]);
    assert_eq!((b.said(), b.delivered()), (vec![], vec![]), "nothing of it is passed on");
    b.now += S(61);
    b.alive_at("x", 1, rival());
    assert_eq!(b.sent().len(), 1);
    b.silent();
}

#[test]
fn a_holder_of_hashicorps_is_not_informed_by_everyone_at_once() {
    let mut b = Bench::alone();
    let versions = Versions { protocol_max: 5, ..Versions::OURS };
    b.news(Message::from(Alive { versions, ..alive("h", 1) }));
    b.forget();
    b.alive_at("h", 1, rival());
    b.silent();
    assert!(b.members.rival_at(&source("h", rival())).is_some(), "its claim is noted all the same");
}

#[test]
fn the_holder_is_probed_next() {
    let mut b = Bench::with_many(20);
    b.alive("x", 1);
    b.alive_at("x", 1, rival());
    let Bench { members, rng, .. } = &mut b;
    assert_eq!(members.next_to_probe(rng).unwrap().name, name("x"));
}

#[test]
fn this_process_repeats_its_claim_in_the_incarnation_of_the_other() {
    let mut b = Bench::with(&["a"]);
    for _ in 0..100 {
        b.alive_at("me", 9, rival());
    }
    assert_eq!(b.fx.rival, Some(rival()));
    assert_eq!((b.said(), b.incarnation("me")), (vec!["alive me 9".to_string()], 9));
    assert_eq!(b.members.my_row().addr, addr("me"));
    b.forget();
    // The other hears that and is no further; nobody outbids anybody.
    b.alive_at("me", 9, rival());
    b.silent();
    b.now += S(61);
    b.alive_at("me", 9, rival());
    assert_eq!((b.said(), b.fx.rival), (vec!["alive me 9".to_string()], Some(rival())));
}

#[test]
fn an_absurd_claim_is_heard_but_not_matched() {
    let mut b = Bench::with(&["a"]);
    b.alive_at("me", u32::MAX, rival());
    assert_eq!((b.fx.rival, b.incarnation("me")), (Some(rival()), 1));
}

#[test]
fn a_memory_of_where_a_member_once_was_is_no_conflict() {
    let mut b = Bench::with(&["x"]);
    b.alive("x", 5);
    b.forget();
    b.alive_at("x", 4, rival());
    b.alive_at("me", 0, rival());
    b.silent();
}

#[test]
fn one_address_in_two_forms_is_no_conflict() {
    let mut b = Bench::with(&["x"]);
    let SocketAddr::V4(v4) = addr("x") else { panic!("test addresses are IPv4") };
    b.alive_at("x", 1, SocketAddr::from((v4.ip().to_ipv6_mapped(), v4.port())));
    b.silent();
}

#[test]
fn a_name_is_free_at_once_after_a_leave_and_a_while_after_a_failure() {
    let mut b = Bench::with(&["left", "failed"]);
    b.dead("left", 1, "left");
    b.dead("failed", 1, "me");
    b.alive_at("left", 2, rival());
    b.alive_at("failed", 2, rival());
    b.run(SILENCE);
    assert_eq!(b.members.row("left").unwrap().addr, rival());
    assert_eq!((b.status("left"), b.status("failed")), ("alive", "failed"));
    b.forget();
    b.now += S(30);
    b.alive_at("failed", 2, rival());
    b.run(SILENCE);
    assert_eq!(b.members.row("failed").unwrap().addr, rival());
    assert_eq!(b.delivered(), ["member-join failed alive"]);
}

#[test]
fn a_member_that_was_refused_can_be_answered_for_a_while_and_nobody_else_can() {
    let mut b = Bench::with(&["x"]);
    // Also in an incarnation that is over: the other cannot know which one is in force.
    b.alive_at("x", 0, rival());
    assert!(b.members.rival_at(&source("x", rival())).is_some());
    assert!(b.members.member_at(&source("x", rival())).is_none());
    assert!(b.members.rival_at(&source("x", addr("third"))).is_none());
    assert!(b.members.rival_at(&source("y", rival())).is_none());
    assert!(b.members.member_at(&source("x", addr("x"))).is_some());

    for port in 1..=1000 {
        b.now += MS(1);
        b.alive_at("x", 0, SocketAddr::from(([10, 9, 9, 9], port)));
    }
    assert_eq!(b.members.rivals.len(), MAX_RIVALS);
    assert!(b.members.rival_at(&source("x", rival())).is_none(), "the oldest goes first");
    b.now += S(301);
    b.alive_at("x", 0, rival());
    assert_eq!(b.members.rivals.len(), 1, "they are forgotten");
}
