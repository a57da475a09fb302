//! Push/pull: every combination of what two members believe, bad entries, and when to exchange.

use super::*;

/// Status and incarnation in short: `suspect 5`.
fn state(b: &Bench, node: &str) -> String {
    match b.status(node) {
        "none" => "none".into(),
        _ if b.is_suspect(node) => format!("suspect {}", b.incarnation(node)),
        status => format!("{status} {}", b.incarnation(node)),
    }
}

/// A member that believes this of `a` in incarnation 5, with others enough to confirm.
fn believing(what: &str) -> Bench {
    let mut b = Bench::with_many(5);
    if what != "none" {
        b.alive("a", 5);
    }
    match what {
        "suspect" => b.suspect("a", 5, "m1"),
        "failed" => b.dead("a", 5, "m1"),
        "left" => b.dead("a", 5, "a"),
        _ => {}
    }
    b.forget();
    b
}

#[test]
fn push_pull_of_every_combination_of_states() {
    use PeerState::{Alive, Dead, Left, Suspect};
    // What is believed here of `a` in incarnation 5; what the other one says, and in which
    // incarnation; what is believed then.
    let table = [
        ("none", Alive, ["alive 4", "alive 5", "alive 6"]),
        ("none", Suspect, ["suspect 4", "suspect 5", "suspect 6"]),
        ("none", Dead, ["none"; 3]),
        ("none", Left, ["none"; 3]),
        ("alive", Alive, ["alive 5", "alive 5", "alive 6"]),
        ("alive", Suspect, ["alive 5", "suspect 5", "suspect 6"]),
        ("alive", Dead, ["alive 5", "suspect 5", "suspect 6"]),
        ("alive", Left, ["alive 5", "left 5", "left 6"]),
        ("suspect", Alive, ["suspect 5", "suspect 5", "alive 6"]),
        ("suspect", Suspect, ["suspect 5", "suspect 5", "suspect 6"]),
        ("suspect", Dead, ["suspect 5", "suspect 5", "suspect 6"]),
        ("suspect", Left, ["suspect 5", "left 5", "left 6"]),
        ("failed", Alive, ["failed 5", "failed 5", "alive 6"]),
        ("failed", Suspect, ["failed 5", "failed 5", "suspect 6"]),
        ("failed", Dead, ["failed 5", "failed 5", "failed 6"]),
        ("failed", Left, ["failed 5", "left 5", "left 6"]),
        ("left", Alive, ["left 5", "left 5", "alive 6"]),
        ("left", Suspect, ["left 5", "left 5", "suspect 6"]),
        ("left", Dead, ["left 5", "left 5", "left 6"]),
        ("left", Left, ["left 5", "left 5", "left 6"]),
    ];
    for (mine, theirs, expected) in table {
        for (incarnation, expected) in [4, 5, 6].into_iter().zip(expected) {
            let mut b = believing(mine);
            b.merge(vec![peer_row("a", incarnation, theirs)]);
            assert_eq!(state(&b, "a"), expected, "{mine} 5 merged with {theirs:?} {incarnation}");
            let joins = b.delivered().iter().filter(|e| e.starts_with("member-join")).count();
            let returned =
                matches!(mine, "none" | "failed" | "left") && b.members.row("a").is_some_and(Row::is_present);
            assert_eq!(joins, usize::from(returned), "{mine} 5 merged with {theirs:?} {incarnation}");
            b.forget();
            b.merge(vec![peer_row("a", incarnation, theirs)]);
            assert_eq!(state(&b, "a"), expected, "the same again");
            b.silent();
        }
    }
}

#[test]
fn a_member_that_another_believes_dead_is_suspected_in_ones_own_name_and_may_refute() {
    let mut b = Bench::with_many(5);
    b.merge(vec![peer_row("m0", 1, PeerState::Dead)]);
    assert_eq!(b.said(), ["suspect m0 1 by me"]);
    b.alive("m0", 2);
    assert!(!b.is_suspect("m0"));
}

#[test]
fn one_bad_entry_does_not_block_a_join() {
    let mut b = Bench::alone();
    let good = || peer_row("good", 1, PeerState::Alive);
    let at = |at: &str, node| PeerRow { addr: at.parse().unwrap(), ..peer_row(node, 1, PeerState::Alive) };
    let bad = vec![
        at("10.0.0.1:0", "no-port"),
        at("0.0.0.0:7946", "no-address"),
        at("[::]:7946", "no-address-either"),
        PeerRow { meta: vec![0; 513], ..peer_row("oversized", 1, PeerState::Alive) },
        PeerRow {
            versions: Versions { protocol_min: 0, ..Versions::OURS },
            ..peer_row("old", 1, PeerState::Suspect)
        },
        PeerRow {
            versions: Versions { delegate_min: 99, delegate_max: 99, ..Versions::OURS },
            ..peer_row("new", 1, PeerState::Alive)
        },
        PeerRow { status_ltime: LamportTime(u64::MAX), ..peer_row("late", 1, PeerState::Alive) },
        PeerRow { meta: vec![255, 0xc1], ..peer_row("odd-tags", 1, PeerState::Alive) },
        good(),
    ];
    b.merge(bad);
    let known: Vec<String> = b.members.rows().map(|r| r.name.to_string()).collect();
    assert_eq!(known, ["good", "late", "me", "odd-tags"]);
    assert_eq!(b.members.row("late").unwrap().status_ltime, LamportTime::ZERO);
}

/// HashiCorp's agents forget where the dead were before they forget that they left.
#[test]
fn intents_without_a_row_count() {
    let mut b = Bench::with(&["a", "b"]);
    b.dead("a", 1, "b");
    b.forget();
    let intent = |node: &str, ltime, left| PeerIntent { node: name(node), ltime: LamportTime(ltime), left };
    let intents = vec![intent("a", 20, true), intent("b", 21, false), intent("c", 22, true)];
    b.merge_all(&PushPull { intents, ..push_pull(vec![]) });
    assert_eq!(b.delivered(), ["member-leave a left"]);
    assert_eq!(b.members.row("b").unwrap().status_ltime, LamportTime(21));
    b.alive("c", 1);
    assert_eq!(b.status("c"), "leaving", "what was said before it came");
    assert!(b.said().iter().all(|said| said.starts_with("alive")), "nothing of it is passed on");
}

#[test]
fn a_member_that_joins_an_existing_cluster_does_not_repeat_its_members_to_it() {
    let rows = || (0..10).map(|i| peer_row(&format!("m{i}"), 1, PeerState::Alive)).collect::<Vec<_>>();
    let mut newcomer = Bench::alone();
    newcomer.merge(rows());
    assert_eq!((newcomer.said(), newcomer.delivered().len()), (vec![], 10));
    let mut resident = Bench::with(&["a"]);
    resident.merge(rows());
    assert_eq!(resident.said().len(), 10, "two clusters that meet inform each other");
}

#[test]
fn a_merge_brings_the_clock_and_intents_along_without_passing_them_on() {
    let mut b = Bench::with(&["a", "b", "c"]);
    b.leave("c", 30);
    b.forget();
    let intent = |node: &str, leaving, ltime| PeerRow {
        leaving,
        status_ltime: LamportTime(ltime),
        ..peer_row(node, 1, PeerState::Alive)
    };
    let rows = vec![intent("a", true, 20), intent("b", false, 21), intent("c", false, 30)];
    b.merge_all(&PushPull {
        join: false,
        ltime: LamportTime(50),
        rows,
        intents: vec![],
        serf: Default::default(),
        ..PushPull::default()
    });
    b.silent();
    assert_eq!((b.status("a"), b.status("c"), b.members.time()), ("leaving", "alive", LamportTime(50)));
    assert_eq!(b.members.row("b").unwrap().status_ltime, LamportTime(21));
}

#[test]
fn a_forced_leave_reaches_members_that_missed_it_and_is_reported_once() {
    let mut b = believing("failed");
    let left = PeerRow { status_ltime: LamportTime(9), ..peer_row("a", 5, PeerState::Left) };
    b.merge(vec![left.clone(), left]);
    assert_eq!((b.delivered(), b.said()), (vec!["member-leave a left".into()], vec![]));
}

#[test]
fn what_one_says_is_what_another_learns() {
    let mut b = Bench::with(&["alive", "suspect", "failed", "left", "leaving"]);
    b.suspect("suspect", 1, "x");
    b.dead("failed", 1, "x");
    b.dead("left", 1, "left");
    b.leave("leaving", 9);
    let said = b.members.push_pull(true, Default::default());
    let mut c = Bench::with(&["left"]);
    c.merge_all(&said);
    let seen: Vec<_> =
        c.members.rows().map(|r| format!("{} {}", r.name, state(&c, &r.name.to_lossy()))).collect();
    let expected = ["alive alive 1", "leaving leaving 1", "left left 1", "me alive 1", "suspect suspect 1"];
    assert_eq!(seen, expected, "the failed are not learnt of");
    assert_eq!((said.join, c.members.time()), (true, b.members.time()));
}

// ---- when --------------------------------------------------------------------------------

#[test]
fn exchanges_come_once_a_period_and_once_more_soon_after_a_join() {
    let mut b = Bench::with(&["a", "b"]);
    let mut schedule = ExchangeSchedule::new(&b.members, b.now, &mut b.rng);
    let start = b.now;
    assert!(schedule.next_deadline() <= start + S(30));
    schedule.joined(b.now, &mut b.rng);
    let mut at = Vec::new();
    while b.now.since(start) < S(300) {
        let next = schedule.next_deadline();
        assert!(next >= b.now);
        b.now = next;
        at.push(next.since(start));
        assert!(schedule.tick(&b.members, b.now, &mut b.rng).is_some());
        assert!(schedule.next_deadline() > b.now, "the same deadline twice");
        assert_eq!(schedule.tick(&b.members, b.now, &mut b.rng), None);
    }
    assert!((11..=12).contains(&at.len()), "{at:?}");
    assert!(at.iter().any(|at| (S(1)..=S(3)).contains(at)), "{at:?}");
}

/// Whom one of HashiCorp's agents has come to, and how many there are of either kind.
fn round_among(hashicorp: usize, ours: usize) -> (Bench, ExchangeSchedule) {
    let mut b = Bench::with_many(ours - 1);
    let versions = Versions { protocol_max: 5, ..Versions::OURS };
    for i in 0..hashicorp {
        b.news(Message::from(Alive { versions, ..alive(&format!("h{i}"), 1) }));
    }
    let mut schedule = ExchangeSchedule::new(&b.members, b.now, &mut b.rng);
    schedule.hashicorp_member_came(&b.members, b.now, &mut b.rng);
    (b, schedule)
}

#[test]
fn when_one_of_hashicorps_agents_has_come_ours_exchange_with_a_share_of_them() {
    for (hashicorp, ours, expected) in [(9, 1, 9), (3, 3, 1), (5, 3, 2), (1, 9, 1), (0, 5, 0), (30, 3, 0)] {
        let (mut b, mut schedule) = round_among(hashicorp, ours);
        let start = b.now;
        let mut with = Vec::new();
        while schedule.next_deadline() < start + S(10) {
            b.now = schedule.next_deadline();
            let request = schedule.tick(&b.members, b.now, &mut b.rng);
            assert!(schedule.next_deadline() > b.now, "the same deadline twice");
            if let Some(StreamRequest::PushPull { node, .. }) = request {
                with.push(node.to_string());
            }
        }
        with.retain(|node| node.starts_with('h'));
        let different: std::collections::BTreeSet<&String> = with.iter().collect();
        // One of the period may come between.
        assert!((expected..=expected + 1).contains(&with.len()), "{hashicorp} and {ours}: {with:?}");
        assert!(different.len() >= expected, "{hashicorp} and {ours}: {with:?}");
    }
}

#[test]
fn only_the_living_are_exchanged_with_and_only_while_this_process_is_here() {
    let mut b = Bench::with(&["alive", "suspect", "failed", "left"]);
    b.suspect("suspect", 1, "x");
    b.dead("failed", 1, "x");
    b.dead("left", 1, "left");
    for _ in 0..50 {
        let partner = b.members.exchange_partner(&mut b.rng).unwrap();
        assert!(matches!(partner, StreamRequest::PushPull { node, .. } if node == name("alive")));
    }
    b.act(|m, now, fx| m.begin_leave(now, fx));
    let mut schedule = ExchangeSchedule::new(&b.members, b.now, &mut b.rng);
    for _ in 0..10 {
        b.now = schedule.next_deadline();
        assert_eq!(schedule.tick(&b.members, b.now, &mut b.rng), None);
        assert!(schedule.next_deadline() > b.now);
    }
}
