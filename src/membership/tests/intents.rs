//! Serf's layer: join and leave intents, leaving and coming back, `force-leave`, prune.

use super::*;
use crate::model::Ceilings;

impl Bench {
    fn force_leave(&mut self, node: &str, prune: bool) {
        self.act(|m, now, fx| m.force_leave(&name(node), prune, now, fx));
    }

    fn time(&self) -> u64 {
        self.members.time().0
    }
}

// ---- the order of intents ----------------------------------------------------------------

#[test]
fn the_later_of_join_and_leave_counts_whichever_comes_first() {
    for (first_join, expected) in [(5, "leaving"), (7, "alive")] {
        let (mut b, mut c) = (Bench::with(&["a"]), Bench::with(&["a"]));
        b.join("a", first_join);
        b.leave("a", 6);
        c.leave("a", 6);
        c.join("a", first_join);
        assert_eq!((b.status("a"), c.status("a")), (expected, expected));
    }
}

#[test]
fn a_join_and_a_leave_of_the_same_time_end_as_a_join_whichever_comes_first() {
    let (mut b, mut c) = (Bench::with(&["a"]), Bench::with(&["a"]));
    b.join("a", 6);
    b.leave("a", 6);
    c.leave("a", 6);
    c.forget();
    c.join("a", 6);
    assert_eq!((b.status("a"), c.status("a")), ("alive", "alive"));
    assert_eq!(b.members.digest(), c.members.digest());
    assert_eq!(c.said(), ["join a 6"]);
    c.join("a", 6);
    c.leave("a", 6);
    c.silent();
}

#[test]
fn the_same_intent_twice_is_a_no_op() {
    for state in ["alive", "leaving", "failed", "left", "unknown"] {
        let mut b = Bench::with(&["a", "b"]);
        match state {
            "leaving" => b.leave("a", 3),
            "failed" => b.dead("a", 1, "b"),
            "left" => b.dead("a", 1, "a"),
            _ => {}
        }
        let who = if state == "unknown" { "nobody" } else { "a" };
        for ltime in [10, 11] {
            b.forget();
            b.leave(who, ltime);
            assert_eq!(b.said(), [format!("leave {who} {ltime}")], "{state}");
            b.forget();
            b.leave(who, ltime);
            b.join(who, ltime - 1);
            b.silent();
        }
        b.join(who, 12);
        assert_eq!(b.said(), [format!("join {who} 12")], "{state}");
        b.join(who, 12);
        b.leave(who, 12);
        b.silent();
    }
}

#[test]
fn two_members_never_echo_intents_to_each_other() {
    let (mut a, mut b) = (Bench::with(&["x", "y"]), Bench::with(&["x", "y"]));
    let mut under_way = vec![
        Message::from(leave("x", 5)),
        Message::from(join("x", 5)),
        Message::from(LeaveIntent { prune: true, ..leave("x", 6) }),
        Message::from(join("y", 7)),
        Message::from(leave("y", 7)),
        Message::from(leave("nobody", 8)),
    ];
    for _ in 0..6 {
        a.hear("b", std::mem::take(&mut under_way));
        b.hear("a", std::mem::take(&mut a.fx.broadcasts));
        under_way = std::mem::take(&mut b.fx.broadcasts);
    }
    assert_eq!(under_way, [], "they still exchange messages");
}

#[test]
fn an_early_intent_waits_for_its_member() {
    let mut b = Bench::alone();
    b.leave("a", 5);
    b.join("b", 5);
    b.leave("b", 4);
    assert_eq!(b.said(), ["leave a 5", "join b 5"]);
    assert_eq!(b.members.early_intents(), 2);
    b.alive("a", 1);
    b.alive("b", 1);
    assert_eq!(b.delivered(), ["member-join a leaving", "member-join b alive"]);
    assert_eq!(b.members.early_intents(), 0);
    b.join("a", 6);
    assert_eq!(b.status("a"), "alive");
}

#[test]
fn a_suspected_member_that_announced_to_leave_has_left_and_not_failed() {
    let mut b = Bench::with(&["a", "b"]);
    b.leave("a", 5);
    b.suspect("a", 1, "b");
    b.forget();
    b.pass(S(30));
    assert_eq!(b.delivered(), ["member-leave a left"]);
}

#[test]
fn lamport_times_above_the_ceiling_are_refused() {
    let mut b = Bench::with(&["a"]);
    let ceiling = Ceilings::default().lamport_time(b.now).0;
    for ltime in [u64::MAX, ceiling + 1] {
        b.leave("a", ltime);
        b.join("a", ltime);
        b.leave("nobody", ltime);
        b.merge_all(&PushPull {
            join: true,
            ltime: LamportTime(ltime.saturating_add(1)),
            rows: vec![],
            intents: vec![],
            serf: Default::default(),
            ..PushPull::default()
        });
        b.merge(vec![PeerRow {
            status_ltime: LamportTime(ltime),
            leaving: true,
            ..peer_row("a", 1, PeerState::Alive)
        }]);
    }
    b.merge_all(&PushPull {
        join: true,
        ltime: LamportTime(u64::MAX),
        rows: vec![],
        intents: vec![],
        serf: Default::default(),
        ..PushPull::default()
    });
    b.silent();
    assert_eq!((b.time(), b.status("a")), (1, "alive"));
    b.leave("a", ceiling);
    assert_eq!((b.time(), b.status("a")), (ceiling + 1, "leaving"));
    // There is always room for what comes next.
    b.now += S(1);
    b.join("a", ceiling + 1);
    b.force_leave("a", false);
    assert_eq!((b.time(), b.status("a")), (ceiling + 3, "leaving"));
}

// ---- leaving and coming back -------------------------------------------------------------

#[test]
fn leaving_is_announced_first_and_done_then() {
    let mut b = Bench::with(&["a"]);
    b.act(|m, now, fx| m.begin_leave(now, fx));
    assert_eq!((b.said(), b.status("me")), (vec!["leave me 1".into()], "leaving"));
    b.act(|m, now, fx| m.begin_leave(now, fx));
    b.join("me", 1);
    b.alive("me", 4);
    b.suspect("me", 1, "a");
    b.silent();
    b.act(|m, now, fx| m.finish_leave(now, fx));
    assert_eq!(
        (b.said(), b.delivered()),
        (vec!["dead me 1 by me".into()], vec!["member-leave me left".into()])
    );
    b.act(|m, now, fx| m.finish_leave(now, fx));
    b.act(|m, now, fx| m.begin_leave(now, fx));
    b.alive("me", 4);
    b.dead("me", 4, "a");
    b.silent();
    assert_eq!((b.status("me"), b.members.present()), ("left", 1));
}

#[test]
fn others_see_a_leave_as_left_whether_or_not_they_heard_the_intent() {
    for heard in [true, false] {
        let mut b = Bench::with(&["a"]);
        if heard {
            b.leave("a", 1);
            assert_eq!(b.status("a"), "leaving");
        }
        b.dead("a", 1, "a");
        assert_eq!(b.delivered(), ["member-leave a left"]);
    }
}

#[test]
fn leave_then_join_in_one_process() {
    let (mut b, mut other) = (Bench::with(&["a"]), Bench::with(&["b"]));
    let as_b = |m: Message| match m {
        Message::Membership(MembershipMessage::Alive(m)) => {
            Message::from(Alive { node: name("b"), addr: addr("b"), ..m })
        }
        Message::Membership(MembershipMessage::Dead(m)) => {
            Message::from(Dead { node: name("b"), from: name("b"), ..m })
        }
        Message::Membership(MembershipMessage::JoinIntent(m)) => {
            Message::from(JoinIntent { node: name("b"), ..m })
        }
        Message::Membership(MembershipMessage::LeaveIntent(m)) => {
            Message::from(LeaveIntent { node: name("b"), ..m })
        }
        other => other,
    };
    for _ in 0..2 {
        b.act(|m, now, fx| m.begin_leave(now, fx));
        b.act(|m, now, fx| m.finish_leave(now, fx));
        other.hear("b", b.fx.broadcasts.drain(..).map(as_b).collect());
        assert_eq!((other.status("b"), b.members.presence()), ("left", Presence::Gone));
        b.act(|m, now, fx| m.come_back(now, fx));
        b.act(|m, now, fx| m.announce_join(now, fx));
        other.hear("b", b.fx.broadcasts.drain(..).map(as_b).collect());
        assert_eq!((other.status("b"), b.status("me")), ("alive", "alive"));
        assert_eq!(b.delivered(), ["member-leave me left", "member-join me alive"]);
    }
    b.forget();
    b.act(|m, now, fx| m.come_back(now, fx));
    b.silent();
}

#[test]
fn a_leave_that_is_called_off_half_way_is_no_event_but_is_restated() {
    let mut b = Bench::with(&["a"]);
    b.act(|m, now, fx| m.begin_leave(now, fx));
    b.forget();
    b.act(|m, now, fx| m.come_back(now, fx));
    assert_eq!((b.said(), b.delivered()), (vec!["alive me 2".into()], vec![]));
    b.act(|m, now, fx| m.announce_join(now, fx));
    assert_eq!((b.said(), b.delivered()), (vec!["alive me 2".into(), "join me 2".into()], vec![]));
}

/// Its partner may be unable to spread it.
#[test]
fn a_member_that_joins_informs_those_that_hear_of_it_from_nobody_else() {
    let (mut b, mut other) = (Bench::with(&["a"]), Bench::named("other", Config::for_profile(Profile::Lan)));
    b.act(|m, now, fx| m.announce_join(now, fx));
    let said: Vec<Message> = b.fx.broadcasts.drain(..).collect();
    for _ in 0..2 {
        other.hear("me", said.clone());
    }
    assert_eq!((other.status("me"), other.delivered()), ("alive", vec!["member-join me alive".into()]));
}

#[test]
fn a_leave_intent_that_this_process_never_meant_is_refuted_by_a_later_join() {
    let mut b = Bench::with(&["a"]);
    b.leave("me", 9);
    assert_eq!((b.said(), b.status("me")), (vec!["join me 10".into()], "alive"));
    b.leave("me", 9);
    b.silent();
    let (mine, theirs) = (Bench::with(&["a"]), peer_row("me", 1, PeerState::Alive));
    let mut b = mine;
    b.merge(vec![PeerRow { leaving: true, status_ltime: LamportTime(20), ..theirs }]);
    assert_eq!(b.said(), ["join me 21"]);
}

// ---- force-leave -------------------------------------------------------------------------

#[test]
fn force_leave_turns_a_failed_member_into_one_that_left() {
    let mut b = Bench::with(&["a", "b"]);
    b.dead("a", 1, "b");
    b.forget();
    b.force_leave("a", false);
    assert_eq!((b.said(), b.delivered()), (vec!["leave a 1".into()], vec!["member-leave a left".into()]));
    assert_eq!(b.time(), 2);
}

#[test]
fn force_leave_of_a_living_member_lasts_until_it_objects() {
    let mut b = Bench::with(&["a"]);
    b.force_leave("a", false);
    assert_eq!((b.status("a"), b.delivered()), ("leaving", vec![]));
    b.join("a", 2);
    assert_eq!(b.status("a"), "alive");
}

#[test]
fn force_leave_of_an_unknown_member_is_passed_on_for_members_that_know_it() {
    let mut b = Bench::with(&["a"]);
    b.force_leave("nobody", true);
    assert_eq!((b.said(), b.delivered()), (vec!["prune nobody 1".into()], vec![]));
}

#[test]
fn force_leave_of_this_process_is_refuted() {
    let mut b = Bench::with(&["a"]);
    b.force_leave("me", true);
    assert_eq!((b.status("me"), b.said()), ("alive", vec!["join me 2".into()]));
    b.pass(S(10));
    assert_eq!(b.status("me"), "alive");
}

// ---- prune -------------------------------------------------------------------------------

/// HashiCorp's agents date a leave one later with each exchange that mentions it.
#[test]
fn a_prune_reaches_members_that_date_the_leave_later() {
    let (mut b, mut other) = (Bench::with(&["a", "b"]), Bench::with(&["a", "b"]));
    for (bench, ltime) in [(&mut b, 5), (&mut other, 15)] {
        bench.dead("a", 1, "b");
        bench.leave("a", ltime);
        assert_eq!(bench.status("a"), "left");
        bench.forget();
    }
    b.force_leave("a", true);
    other.hear("me", std::mem::take(&mut b.fx.broadcasts));
    assert_eq!((b.status("a"), other.status("a")), ("none", "none"));
}

#[test]
fn pruning_a_failed_or_left_member_forgets_it_at_once() {
    for from in ["b", "a"] {
        let mut b = Bench::with(&["a", "b"]);
        b.dead("a", 1, from);
        b.forget();
        b.prune("a", 5);
        assert_eq!(b.status("a"), "none");
        assert_eq!(b.said(), ["prune a 5"]);
        let delivered = b.delivered();
        assert_eq!(delivered.last().unwrap(), "member-reap a left");
        assert_eq!(delivered.len(), if from == "b" { 2 } else { 1 }, "{delivered:?}");
    }
}

#[test]
fn pruning_a_living_member_is_scheduled_and_never_done_inline() {
    let mut b = Bench::with(&["a"]);
    b.prune("a", 5);
    assert_eq!((b.status("a"), b.said()), ("leaving", vec!["prune a 5".into()]));
    assert_eq!(b.members.next_deadline(), b.now + S(6));
    b.pass(S(6));
    assert_eq!(b.delivered(), ["member-leave a left", "member-reap a left"]);
    assert_eq!((b.status("a"), b.said()), ("none", vec!["dead a 1 by a".into()]));
    assert_eq!(b.members.next_deadline(), Moment::NEVER);
}

#[test]
fn a_member_that_objects_is_not_pruned() {
    let mut b = Bench::with(&["a"]);
    b.prune("a", 5);
    b.join("a", 6);
    b.forget();
    b.pass(S(60));
    b.silent();
    assert_eq!(b.status("a"), "alive");
}

#[test]
fn the_next_run_of_a_member_that_was_to_be_pruned_is_not() {
    let mut b = Bench::with(&["a"]);
    b.prune("a", 5);
    b.dead("a", 1, "a");
    b.pass(S(1));
    b.alive("a", 2);
    b.forget();
    b.pass(S(60));
    b.silent();
    assert_eq!(b.status("a"), "alive");
}

#[test]
fn a_leaving_process_is_not_pruned_from_its_own_table() {
    let mut b = Bench::with(&["a"]);
    b.act(|m, now, fx| m.begin_leave(now, fx));
    b.prune("me", 9);
    b.act(|m, now, fx| m.finish_leave(now, fx));
    b.prune("me", 10);
    b.pass(S(60));
    assert_eq!(b.status("me"), "left");
}

#[test]
fn neither_an_old_alive_nor_an_old_intent_resurrects_a_pruned_name() {
    let mut b = Bench::with(&["a", "b"]);
    b.dead("a", 1, "b");
    b.prune("a", 5);
    b.forget();
    b.alive("a", 1);
    b.join("a", 4);
    b.leave("a", 5);
    b.suspect("a", 1, "b");
    b.merge(vec![peer_row("a", 1, PeerState::Dead), peer_row("a", 1, PeerState::Alive)]);
    b.silent();
    assert_eq!((b.status("a"), b.members.early_intents()), ("none", 0));
    b.alive("a", 2);
    assert_eq!(b.delivered(), ["member-join a alive"], "a later run is another matter");
}

#[test]
fn a_pruned_member_that_joins_anew_in_its_first_incarnation_is_seen_at_once() {
    let mut b = Bench::with(&["a", "b"]);
    b.alive("a", 7);
    b.dead("a", 7, "b");
    b.prune("a", 5);
    b.forget();
    b.join("a", 8);
    b.merge(vec![PeerRow { status_ltime: LamportTime(8), ..peer_row("a", 1, PeerState::Alive) }]);
    assert_eq!(b.delivered(), ["member-join a alive"]);
}

#[test]
fn a_second_prune_is_passed_on_for_those_whom_the_first_one_missed() {
    let (mut b, mut missed) = (Bench::with(&["a", "b"]), Bench::with(&["a", "b"]));
    b.dead("a", 1, "b");
    missed.dead("a", 1, "b");
    b.force_leave("a", true);
    b.forget();
    b.force_leave("a", true);
    missed.hear("me", std::mem::take(&mut b.fx.broadcasts));
    assert_eq!((b.status("a"), missed.status("a")), ("none", "none"));
    b.prune("a", 2);
    b.silent();
}
