//! Defects that the simulator has found, each as the shortest story that shows it.

use super::*;
use crate::model::{Incarnation, LamportTime, MemberEventKind, Moment, NodeName, Status, Tags, Versions};
use crate::wire::message::{
    Alive, Dead, JoinIntent, LeaveIntent, Message, PeerRow, PeerState, PushPull, Suspect,
};
use fastrand::Rng;
use std::net::SocketAddr;
use std::time::Duration;

const START: Moment = Moment::ZERO;

fn name(s: &str) -> NodeName {
    NodeName::new(s).unwrap()
}

fn addr(host: u8) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, host], 7946))
}

fn after(seconds: u64) -> Moment {
    START + Duration::from_secs(seconds)
}

fn alive(node: &str, host: u8, incarnation: u32) -> Alive {
    Alive {
        incarnation: Incarnation(incarnation),
        node: name(node),
        addr: addr(host),
        meta: Tags::default().encode().unwrap(),
        versions: Versions::OURS,
    }
}

fn suspect(node: &str, incarnation: u32, from: &str) -> Suspect {
    Suspect { incarnation: Incarnation(incarnation), node: name(node), from: name(from) }
}

fn join(node: &str, ltime: u64) -> JoinIntent {
    JoinIntent { ltime: LamportTime(ltime), node: name(node) }
}

fn leave(node: &str, ltime: u64) -> LeaveIntent {
    LeaveIntent { ltime: LamportTime(ltime), node: name(node), prune: false }
}

/// The table of "me", which knows these others; host numbers count from 2.
fn table(others: &[&str]) -> (Members, Rng) {
    let me = SelfDescription { name: name("me"), addr: addr(1), tags: Tags::default() };
    let (mut fx, rng) = (Effects::default(), Rng::with_seed(1));
    let mut members = Members::new(Config::for_profile(Profile::Lan), me, START, &mut fx).unwrap();
    for (i, other) in others.iter().enumerate() {
        members.alive(&alive(other, 2 + i as u8, 1), START, &mut fx);
    }
    (members, rng)
}

fn status(members: &Members, node: &str) -> Status {
    members.row(node).unwrap().status()
}

/// A member that hardly heard anything learned of a refutation only by the next accusation, and
/// declared the new incarnation dead when the time of the old one's suspicion was over.
#[test]
fn a_suspicion_of_a_later_incarnation_starts_anew() {
    let (mut members, _) = table(&["a", "b", "c", "d"]);
    let mut fx = Effects::default();
    members.suspect(&suspect("a", 1, "b"), after(0), &mut fx);
    let deadline = members.next_deadline();
    members.suspect(&suspect("a", 2, "c"), after(20), &mut fx);
    assert_eq!(members.next_deadline(), deadline + Duration::from_secs(20));
    let State::Suspect(suspicion) = &members.row("a").unwrap().state else { panic!("not suspected") };
    assert_eq!(suspicion.confirmations(), 0, "one that suspected the old one does not confirm the new");
    members.tick(deadline, &mut fx);
    assert_eq!(status(&members, "a"), Status::Alive);
}

/// An operator removes a member whose return he has not seen yet: join and leave intent have the
/// same time, and members that heard them in different order never agreed.
#[test]
fn a_join_outweighs_a_leave_of_the_same_time() {
    let (mut members, _) = table(&["a", "b"]);
    let mut fx = Effects::default();
    members.join_intent(&join("a", 9), START, &mut fx);
    members.leave_intent(&leave("a", 9), START, &mut fx);
    members.leave_intent(&leave("b", 9), START, &mut fx);
    assert_eq!(status(&members, "b"), Status::Leaving);
    members.join_intent(&join("b", 9), START, &mut fx);
    assert_eq!((status(&members, "a"), status(&members, "b")), (Status::Alive, Status::Alive));
    // A second time it is no news.
    fx.broadcasts.clear();
    members.join_intent(&join("b", 9), START, &mut fx);
    assert!(fx.broadcasts.is_empty());
    // By push/pull, too.
    members.leave_intent(&leave("b", 10), START, &mut fx);
    let row =
        PeerRow { status_ltime: LamportTime(10), leaving: false, ..members.row("b").unwrap().peer_row() };
    let theirs = PushPull {
        join: false,
        ltime: LamportTime(11),
        rows: vec![row],
        intents: vec![],
        serf: Default::default(),
        ..PushPull::default()
    };
    members.merge(&theirs, START, &mut fx);
    assert_eq!(status(&members, "b"), Status::Alive);
}

/// The member itself did not object to such a leave intent, nor to one that had made it leave
/// after it was believed to have failed.
#[test]
fn a_member_objects_to_a_leave_of_its_own_time_however_it_hears_of_it() {
    let (mut members, _) = table(&["a"]);
    let mut fx = Effects::default();
    members.join_intent(&join("me", 9), START, &mut fx);
    members.leave_intent(&leave("me", 9), START, &mut fx);
    assert_eq!(members.my_row().status_ltime, LamportTime(10));
    let left = PeerRow {
        state: PeerState::Left,
        leaving: false,
        status_ltime: LamportTime(20),
        ..members.my_row().peer_row()
    };
    let theirs = PushPull {
        join: false,
        ltime: LamportTime(21),
        rows: vec![left],
        intents: vec![],
        serf: Default::default(),
        ..PushPull::default()
    };
    members.merge(&theirs, START, &mut fx);
    assert!(members.my_row().status_ltime > LamportTime(20));
    assert_eq!(status(&members, "me"), Status::Alive);
    members.check_invariants();
}

/// Two runs of a member had come to the same incarnation with different tags, and nobody noticed.
#[test]
fn digests_differ_when_tags_do() {
    let (mut one, _) = table(&[]);
    let (mut other, _) = table(&[]);
    let meta = Tags::from_pairs(["version=2"]).unwrap().encode().unwrap();
    let mut fx = Effects::default();
    one.alive(&alive("a", 2, 3), START, &mut fx);
    other.alive(&Alive { meta, ..alive("a", 2, 3) }, START, &mut fx);
    assert_ne!(one.digest(), other.digest());
}

/// And members that knew one of the two could not learn of the other.
#[test]
fn two_runs_in_one_incarnation_are_distinguished_in_the_same_way_everywhere() {
    let meta = |v: u8| Tags::from_pairs([format!("version={v}")]).unwrap().encode().unwrap();
    let run = |v| Alive { meta: meta(v), ..alive("a", 2, 3) };
    for (first, second) in [(1, 2), (2, 1)] {
        let (mut members, _) = table(&["a"]);
        let mut fx = Effects::default();
        members.alive(&run(first), START, &mut fx);
        members.suspect(&suspect("a", 3, "x"), START, &mut fx);
        for _ in 0..2 {
            members.alive(&run(second), START, &mut fx);
        }
        assert_eq!(members.row("a").unwrap().meta.as_bytes(), meta(2));
        assert!(!members.row("a").unwrap().is_alive(), "it has not refuted");
        let updates = fx.events.iter().filter(|e| e.kind == MemberEventKind::Update).count();
        assert_eq!(updates, if first == 1 { 2 } else { 1 });
        // It neither moves nor comes back in this way.
        members.alive(&Alive { addr: addr(9), ..run(3) }, START, &mut fx);
        members.dead(&Dead { incarnation: Incarnation(3), node: name("a"), from: name("x") }, START, &mut fx);
        members.alive(&run(3), START, &mut fx);
        assert_eq!(
            (members.row("a").unwrap().meta.as_bytes().to_vec(), status(&members, "a")),
            (meta(2), Status::Failed)
        );
        members.check_invariants();
    }
}

/// Gossip about a suspicion ended during a short cut, the next probe of the suspect came too
/// late, and it was declared dead without having heard that it was suspected.
#[test]
fn accusers_remind_the_suspect_until_the_end() {
    let (mut members, _) = table(&["a", "b", "c", "d"]);
    let mut fx = Effects::default();
    members.suspect(&suspect("a", 1, "me"), START, &mut fx);
    members.suspect(&suspect("b", 1, "c"), START, &mut fx);
    fx.transmits.clear();
    let mut reminders = 0;
    while status(&members, "a") == Status::Alive {
        let now = members.next_deadline();
        members.tick(now, &mut fx);
        for transmit in fx.transmits.drain(..) {
            assert_eq!(transmit.to.addr, addr(2), "only an accuser reminds");
            assert_eq!(transmit.messages, [Message::from(suspect("a", 1, "me"))]);
            reminders += 1;
        }
    }
    // The longest suspicion of five lasts 24 s.
    assert_eq!(reminders, 23);
}

/// When a member had moved, others that missed that its old self was given up found out only when
/// the round of probes came to it: after minutes among hundreds.
#[test]
fn a_disputed_address_is_probed_next() {
    let (mut members, mut rng) = table(&["a", "b", "c", "d", "e", "f"]);
    let mut fx = Effects::default();
    for _ in 0..4 {
        members.next_to_probe(&mut rng);
    }
    for moved in ["a", "b", "c", "d", "e", "f"] {
        members.alive(&alive(moved, 99, 2), START, &mut fx);
        let probed = members.next_to_probe(&mut rng).map(|r| r.name.clone());
        assert_eq!(probed, Some(name(moved)));
    }
    members.check_invariants();
}

/// Forgetting one that had been probed shifted the others under the cursor.
#[test]
fn forgetting_a_member_leaves_nobody_out_of_the_round() {
    for seed in 0..20 {
        let (mut members, _) = table(&["a", "b", "c", "d"]);
        let (mut fx, mut rng) = (Effects::default(), Rng::with_seed(seed));
        let mut probe = |members: &mut Members| members.next_to_probe(&mut rng).unwrap().name.clone();
        let (first, second) = (probe(&mut members), probe(&mut members));
        let death = Dead { incarnation: Incarnation(1), node: first.clone(), from: name("x") };
        members.dead(&death, START, &mut fx);
        members.force_leave(&first, true, START, &mut fx);
        assert!(members.row(&first).is_none());
        let mut probed = [first, second, probe(&mut members), probe(&mut members)];
        probed.sort();
        assert_eq!(probed, ["a", "b", "c", "d"].map(name), "seed {seed}");
    }
}

/// A process that stays after it has left kept its own tombstone, which fell due after a day,
/// was never reaped, and so woke it without end and kept all later ones from being reaped.
#[test]
fn an_own_tombstone_is_never_due() {
    let (mut members, _) = table(&["a"]);
    let mut fx = Effects::default();
    members.begin_leave(START, &mut fx);
    members.finish_leave(START, &mut fx);
    members.leave_intent(&leave("a", 9), after(60), &mut fx);
    members.dead(&Dead { incarnation: Incarnation(1), node: name("a"), from: name("a") }, after(60), &mut fx);
    let day = members.config().tombstone_timeout;
    assert_eq!(members.next_deadline(), after(60) + day);
    fx.events.clear();
    members.tick(after(60) + day, &mut fx);
    assert_eq!(fx.events.iter().map(|e| e.kind).collect::<Vec<_>>(), [MemberEventKind::Reap]);
    assert_eq!(members.next_deadline(), Moment::NEVER);
}
