//! Bounds: what is kept, for how long, how much of it, and what is refused.

use super::*;
use crate::model::{MAX_META_LEN, NameError};
use crate::wire::{WireError, datagram, decode};

const DAY: Duration = Duration::from_secs(24 * 3600);

// ---- forgetting --------------------------------------------------------------------------

#[test]
fn the_failed_and_the_left_are_reaped_after_a_day_each_from_its_own_time() {
    let mut b = Bench::with(&["failed", "left", "forced", "back"]);
    b.dead("failed", 1, "x");
    b.dead("forced", 1, "x");
    b.dead("back", 1, "x");
    b.pass(S(3600));
    b.dead("left", 1, "left");
    b.leave("forced", 5);
    b.alive("back", 2);
    b.forget();
    b.pass(DAY - S(3601));
    b.silent();
    b.pass(S(1));
    assert_eq!(b.delivered(), ["member-reap failed failed"]);
    b.pass(S(3600));
    assert_eq!(b.delivered(), ["member-reap forced left", "member-reap left left"]);
    assert_eq!(b.status("back"), "alive");
}

#[test]
fn a_process_that_left_a_day_ago_neither_spins_nor_keeps_others_from_being_reaped() {
    let mut b = Bench::with(&["a", "b"]);
    b.act(|m, now, fx| m.begin_leave(now, fx));
    b.act(|m, now, fx| m.finish_leave(now, fx));
    b.pass(S(60));
    b.dead("a", 1, "a");
    b.forget();
    b.pass(DAY + S(1));
    assert_eq!(b.delivered(), ["member-reap a left"]);
    assert_eq!((b.status("me"), b.status("a")), ("left", "none"));
    assert_eq!(b.members.next_deadline(), Moment::NEVER);
}

#[test]
fn a_hundred_thousand_churned_names_leave_a_bounded_table_and_the_oldest_go_first() {
    let mut b = Bench::alone();
    let Bench { members, now, fx, .. } = &mut b;
    let total = 100_000;
    for i in 0..total {
        let who = format!("churn-{i}");
        members.alive(&alive(&who, 1), *now, fx);
        members.dead(&dead(&who, 1, if i % 2 == 0 { "x" } else { &who }), *now, fx);
        *now += MS(50);
        if i % 20 == 0 {
            members.tick(*now, fx);
        }
        *fx = Effects::default();
    }
    members.check_invariants();
    assert_eq!(members.len(), MAX_TOMBSTONES + 1);
    let kept = |i: usize| members.row(format!("churn-{i}")).is_some();
    assert!(kept(total - 1) && kept(total - MAX_TOMBSTONES) && !kept(total - MAX_TOMBSTONES - 1));
    let bytes = crate::wire::stream::encode(
        crate::wire::Dialect::Native,
        &crate::wire::stream::StreamMessage::PushPull(members.push_pull(false, Default::default())),
    );
    assert!(bytes.len() < crate::wire::stream::MAX_FRAME / 4, "a join still works: {} bytes", bytes.len());
}

#[test]
fn a_process_that_leaves_when_the_tombstones_are_full_stays_within_their_bound() {
    let mut b = Bench::alone();
    for i in 0..MAX_TOMBSTONES {
        let who = format!("m{i}");
        b.members.alive(&alive(&who, 1), b.now, &mut b.fx);
        b.members.dead(&dead(&who, 1, &who), b.now, &mut b.fx);
        b.now += MS(1);
    }
    b.act(|m, now, fx| m.finish_leave(now, fx));
    assert_eq!((b.status("me"), b.status("m0"), b.members.left()), ("left", "none", MAX_TOMBSTONES));
}

#[test]
fn early_intents_are_bounded_oldest_first_and_expire() {
    let mut b = Bench::with(&["a"]);
    for i in 0..MAX_INTENTS + 10 {
        b.members.join_intent(&join(&format!("n{i}"), 5), b.now, &mut b.fx);
        b.now += MS(1);
    }
    assert_eq!(b.members.early_intents(), MAX_INTENTS);
    b.act(|m, now, fx| m.alive(&alive("n3", 1), now, fx));
    assert_eq!(b.members.row("n3").unwrap().status_ltime, LamportTime::ZERO, "the first ones are gone");
    b.pass(S(301));
    // Piece by piece, so that others have the table in between.
    for _ in 0..MAX_INTENTS / 256 {
        b.pass(S(1));
    }
    assert_eq!(b.members.early_intents(), 0);
}

#[test]
fn pruned_names_are_bounded_oldest_first_and_expire() {
    let mut b = Bench::alone();
    for i in 0..MAX_INTENTS + 2 {
        let who = format!("n{}", MAX_INTENTS + 2 - i);
        b.members.alive(&alive(&who, 1), b.now, &mut b.fx);
        b.members.dead(&dead(&who, 1, &who), b.now, &mut b.fx);
        let intent = LeaveIntent { prune: true, ..leave(&who, 5) };
        b.members.leave_intent(&intent, b.now, &mut b.fx);
        b.now += MS(1);
    }
    b.members.check_invariants();
    assert!(
        b.members.pruned.get(&name("n1")).is_some()
            && b.members.pruned.get(&name(format!("n{}", MAX_INTENTS + 2))).is_none()
    );
    b.pass(S(301));
    // Piece by piece, so that others have the table in between.
    for _ in 0..MAX_INTENTS / 256 {
        b.pass(S(1));
    }
    assert_eq!(b.members.pruned.len(), 0);
}

// ---- refusing ----------------------------------------------------------------------------

#[test]
fn alive_messages_without_a_usable_address_or_with_too_much_metadata_are_refused() {
    let mut b = Bench::with(&["known"]);
    for who in ["new", "known"] {
        for at in ["10.0.0.1:0", "0.0.0.0:7946", "[::]:7946", "[::ffff:0.0.0.0]:7946"] {
            b.alive_at(who, 2, at.parse().unwrap());
        }
        b.news(Message::from(Alive { meta: vec![b'x'; MAX_META_LEN + 1], ..alive(who, 2) }));
    }
    b.silent();
    assert_eq!((b.status("new"), b.incarnation("known")), ("none", 1));
    b.news(Message::from(Alive { meta: vec![b'x'; MAX_META_LEN], ..alive("new", 2) }));
    assert_eq!(b.status("new"), "alive");
}

#[test]
fn tags_that_do_not_decode_are_shown_as_none_and_passed_on_as_they_are() {
    let mut b = Bench::alone();
    b.news(Message::from(Alive { meta: vec![255, 0xc1], ..alive("a", 1) }));
    assert!(b.members.row("a").unwrap().meta.tags().0.is_empty());
    assert!(
        matches!(&b.fx.broadcasts[..], [Message::Membership(MembershipMessage::Alive(m))] if m.meta == [255, 0xc1])
    );
}

#[test]
fn empty_payloads_and_names_never_become_messages() {
    assert_eq!(datagram::open(&[]), Err(WireError::Empty));
    assert_eq!(decode(&[]), Err(WireError::Empty));
    assert_eq!(NodeName::new(""), Err(NameError::Empty));
    for tag in 0..=255 {
        assert!(decode(&[tag]).is_err(), "a bare message type {tag}");
        // An empty name in front of whatever follows.
        assert!(decode(&[tag, 1, 0, 0, 0, 0, 0, 0]).is_err(), "message type {tag}");
    }
    let mut b = Bench::with(&["a"]);
    assert_eq!(b.hear("a", vec![]), []);
    b.merge(vec![]);
    b.silent();
}

// ---- choosing ----------------------------------------------------------------------------

#[test]
fn in_small_clusters_random_selection_finds_everyone_there_is() {
    for others in 1..=7 {
        let mut b = Bench::with_many(others);
        for k in 1..=others {
            for _ in 0..200 {
                let chosen = b.members.random_rows(k, &mut b.rng, |_| true).len();
                assert_eq!(chosen, k, "{k} of {others}");
            }
        }
        for _ in 0..200 {
            let one = b.members.random_rows(3, &mut b.rng, |r| r.name == name("m0"));
            assert_eq!(one.len(), 1, "the only one that suits, of {others}");
        }
    }
}

#[test]
fn random_selection_in_large_clusters_is_even_and_finds_the_last_one_that_suits() {
    let mut b = Bench::with_many(1000);
    let mut times = std::collections::BTreeMap::<NodeName, u32>::new();
    for _ in 0..10_000 {
        let chosen = b.members.random_rows(3, &mut b.rng, |_| true);
        assert_eq!(chosen.len(), 3);
        for row in chosen {
            *times.entry(row.name.clone()).or_default() += 1;
        }
    }
    // 30 times each on average; seven standard deviations either way.
    assert_eq!(times.len(), 1000);
    assert!(times.values().all(|t| (1..70).contains(t)));
    assert_eq!(b.members.random_rows(3, &mut b.rng, |r| r.name == name("m77")).len(), 1);
    assert!(b.members.random_rows(0, &mut b.rng, |_| true).is_empty());
    assert!(b.members.random_rows(3, &mut b.rng, |_| false).is_empty());
}

#[test]
fn every_name_of_the_bench_has_an_address_of_its_own() {
    // Tests that look at addresses depend on it.
    let all: std::collections::BTreeSet<_> = (0..3000).map(|i| addr(&format!("m{i}"))).collect();
    assert_eq!(all.len(), 3000);
}
