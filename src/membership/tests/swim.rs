//! Alive, suspect, dead: the order of incarnations, refutation, suspicion.

use super::*;
use crate::wire::Dialect;

const LAST: u32 = u32::MAX;

// ---- alive -------------------------------------------------------------------------------

#[test]
fn a_new_member_is_reported_and_passed_on_once() {
    let mut b = Bench::alone();
    b.alive("a", 3);
    assert_eq!(b.delivered(), ["member-join a alive"]);
    assert_eq!(b.said(), ["alive a 3"]);
    b.alive("a", 3);
    b.alive("a", 2);
    b.silent();
}

#[test]
fn a_later_incarnation_with_other_tags_is_an_update_and_with_the_same_only_news() {
    let mut b = Bench::with(&["a"]);
    b.alive("a", 2);
    assert_eq!((b.delivered(), b.said()), (vec![], vec!["alive a 2".into()]));
    let meta = Tags::from_pairs(["role=web"]).unwrap().encode().unwrap();
    b.news(Message::from(Alive { meta, ..alive("a", 3) }));
    assert_eq!(b.delivered(), ["member-update a alive"]);
    assert_eq!(b.members.row("a").unwrap().meta.tags().value("role"), Some(&"web".into()));
}

#[test]
fn alive_is_applied_before_suspect_and_dead_of_the_same_datagram() {
    let mut b = Bench::with(&["a", "b"]);
    b.hear(
        "b",
        vec![
            Message::from(dead("a", 1, "b")),
            Message::from(suspect("a", 1, "b")),
            Message::from(alive("a", 2)),
        ],
    );
    assert_eq!(b.status("a"), "alive");
    assert!(!b.is_suspect("a"));
    assert_eq!(b.said(), ["alive a 2"]);
}

#[test]
fn a_member_that_comes_and_leaves_in_one_datagram_has_left() {
    let mut b = Bench::alone();
    let datagram =
        vec![Message::from(dead("a", 1, "a")), Message::from(leave("a", 4)), Message::from(alive("a", 1))];
    b.hear("a", datagram);
    assert_eq!(b.delivered(), ["member-join a alive", "member-leave a left"]);
}

#[test]
fn a_stale_alive_resurrects_neither_the_failed_nor_the_left() {
    let mut b = Bench::with(&["a", "b"]);
    b.alive("a", 5);
    b.dead("a", 5, "b");
    b.dead("b", 1, "b");
    b.forget();
    for incarnation in 0..=5 {
        b.alive("a", incarnation);
    }
    b.alive("b", 1);
    assert_eq!((b.status("a"), b.status("b")), ("failed", "left"));
    assert!(b.said().is_empty() && b.delivered().is_empty());
}

/// HashiCorp's agents forget the dead after a while. One of theirs that comes back begins with its
/// first incarnation, and nobody of theirs informs it of the one that is remembered here.
#[test]
fn a_member_that_returns_in_a_run_that_is_over_is_informed_and_raises_its_incarnation() {
    let mut b = Bench::with(&["a", "b"]);
    b.alive("a", 5);
    b.dead("a", 5, "b");
    b.pass(S(60));
    b.forget();
    for _ in 0..10 {
        b.alive("a", 1);
    }
    assert_eq!(b.sent(), [(addr("a"), "suspect a 5 by me".to_string())], "once, whatever the echo");
    b.alive_at("a", 1, addr("elsewhere"));
    assert!(b.sent().is_empty(), "nothing is sent to an address that only a message names");
    b.alive("a", 6);
    assert_eq!(
        (b.status("a"), b.delivered().as_slice()),
        ("alive", &["member-join a alive".to_string()][..])
    );
}

/// A member that may have been replaced by another kind of agent is addressed as a stranger is.
#[test]
fn the_suspected_and_the_dead_are_addressed_in_the_dialect_that_everyone_reads() {
    let mut b = Bench::with(&["a", "b"]);
    let dialect = |b: &Bench| b.members.row("a").unwrap().target().dialect;
    assert_eq!(dialect(&b), Dialect::Native);
    b.suspect("a", 1, "b");
    assert_eq!(dialect(&b), Dialect::Hashicorp);
    b.alive("a", 2);
    assert_eq!(dialect(&b), Dialect::Native);
    b.dead("a", 2, "b");
    assert_eq!(dialect(&b), Dialect::Hashicorp);
    assert_eq!(b.members.stranger(addr("c")).dialect, Dialect::Hashicorp);

    let mut b = Bench::configured(Config { native_only: true, ..Config::for_profile(Profile::Lan) });
    b.alive("a", 1);
    b.suspect("a", 1, "b");
    assert_eq!((dialect(&b), b.members.stranger(addr("c")).dialect), (Dialect::Native, Dialect::Native));
}

/// A member that ends without leaving may be followed by another kind of agent, before anyone
/// misses it.
#[test]
fn a_member_that_parts_is_addressed_as_a_stranger_until_its_successor_says_more() {
    let theirs = Versions { protocol_max: 5, ..Versions::OURS };
    let mut a = Bench::named("a", Config::for_profile(Profile::Lan));
    a.alive("b", 1);
    a.news(Message::from(Alive { versions: theirs, ..alive("h", 1) }));
    a.forget();
    let mut rng = Rng::with_seed(1);
    a.act(|members, now, fx| members.part(now, &mut rng, fx));
    let last = a.fx.transmits[0].messages[0].clone();
    assert_eq!(a.sent(), [(addr("b"), "alive a 2".to_string())], "it would address it natively");
    assert_eq!((a.delivered(), a.said()), (vec![], vec!["alive a 2".into()]));

    let mut b = Bench::with(&["a", "c"]);
    let dialect = |b: &Bench| b.members.row("a").unwrap().target().dialect;
    b.news(last);
    assert_eq!((b.status("a"), dialect(&b)), ("alive", Dialect::Hashicorp));
    assert_eq!((b.delivered(), b.said()), (vec![], vec!["alive a 2".into()]), "news, but no event");
    b.alive("a", 3);
    assert_eq!((b.delivered(), dialect(&b)), (vec![], Dialect::Native));
}

#[test]
fn a_member_that_has_left_or_speaks_one_dialect_only_parts_in_silence() {
    let mut left = Bench::with(&["a"]);
    left.act(|members, now, fx| members.begin_leave(now, fx));
    let mut strict = Bench::configured(Config { native_only: true, ..Config::for_profile(Profile::Lan) });
    strict.alive("a", 1);
    for bench in [&mut left, &mut strict] {
        bench.forget();
        bench.act(|members, now, fx| members.part(now, &mut Rng::with_seed(1), fx));
        bench.silent();
    }
}

#[test]
fn with_one_dialect_only_its_speakers_are_admitted() {
    let theirs = Versions { protocol_max: 5, ..Versions::OURS };
    for (native_only, admitted) in [(true, false), (false, true)] {
        let mut b = Bench::configured(Config { native_only, ..Config::for_profile(Profile::Lan) });
        b.news(Message::from(Alive { versions: theirs, ..alive("h", 1) }));
        b.merge(vec![PeerRow { versions: theirs, ..peer_row("p", 1, PeerState::Alive) }]);
        b.alive("ours", 1);
        let known = |who: &str| b.members.row(who).is_some();
        assert_eq!((known("h"), known("p"), known("ours")), (admitted, admitted, true));
    }
}

#[test]
fn the_incarnation_of_an_accusation_counts_whatever_the_state() {
    let mut b = Bench::with(&["a", "b"]);
    b.dead("a", 1, "b");
    b.suspect("a", 4, "b");
    assert_eq!((b.status("a"), b.incarnation("a")), ("failed", 4));
    b.alive("a", 4);
    assert_eq!(b.status("a"), "failed", "what was accused at 4 has to be refuted at 5");
    b.alive("a", 5);
    assert_eq!(b.status("a"), "alive");
}

#[test]
fn a_failed_member_that_returns_joins_once_and_has_a_clean_record() {
    let mut b = Bench::with(&["a", "b"]);
    b.members.rows.get_mut(&b"a"[..]).unwrap().probes.udp_failed = 9;
    b.dead("a", 1, "b");
    b.forget();
    b.alive("a", 2);
    assert_eq!(b.delivered(), ["member-join a alive"]);
    assert_eq!(b.members.row("a").unwrap().probes, ProbeRecord::default());
}

// ---- this very process -------------------------------------------------------------------

#[test]
fn a_member_that_says_otherwise_is_refuted_in_the_incarnation_after_theirs() {
    let mut b = Bench::with(&["a"]);
    b.suspect("me", 1, "a");
    b.dead("me", 7, "a");
    assert_eq!(b.said(), ["alive me 2", "alive me 8"]);
    assert_eq!(b.members.awareness().score(), 2, "others cannot reach this process in time");
    b.suspect("me", 3, "a");
    b.silent();
    assert_eq!(b.status("me"), "alive");
}

#[test]
fn a_restarted_member_learns_of_its_former_run_and_overrules_it() {
    // A member that remembers it, alive, suspected, failed or left, answers its join with that.
    for state in [PeerState::Alive, PeerState::Suspect, PeerState::Dead, PeerState::Left] {
        let mut b = Bench::alone();
        let mut mine = peer_row("me", 9, state);
        mine.meta = Tags::from_pairs(["was=other"]).unwrap().encode().unwrap();
        b.merge(vec![mine]);
        // A member that is said to have left says as well that it means to be here.
        let said: &[&str] =
            if state == PeerState::Left { &["alive me 10", "join me 1"] } else { &["alive me 10"] };
        assert_eq!(b.said(), said, "{state:?}");
        assert_eq!((b.status("me"), b.delivered()), ("alive", vec![]));
    }
}

#[test]
fn an_echo_of_what_this_process_said_is_ignored() {
    let mut b = Bench::with(&["a"]);
    b.alive("me", 1);
    b.alive("me", 0);
    b.silent();
}

#[test]
fn a_suspicion_at_the_largest_incarnation_evicts_nobody() {
    let mut b = Bench::with(&["a", "b"]);
    for accuse in [Bench::suspect, Bench::dead] {
        accuse(&mut b, "a", LAST, "b");
        accuse(&mut b, "me", LAST, "b");
        let back = b.incarnation("a") + 1;
        b.alive("a", back);
        assert_eq!((b.status("a"), b.status("me")), ("alive", "alive"));
        b.now += S(1);
    }
}

/// The highest incarnation that a member may claim now, and that to which others may bring it.
fn ceilings(b: &Bench) -> (u32, u32) {
    let ceilings = b.members.config().ceilings;
    (ceilings.incarnation(b.now).0, ceilings.accusation(b.now).0)
}

#[test]
fn what_is_claimed_above_the_ceiling_is_not_believed_and_the_member_is_asked() {
    let mut b = Bench::with(&["a", "b"]);
    let (ceiling, _) = ceilings(&b);
    b.alive("a", ceiling + 1);
    b.alive("stranger", ceiling + 1);
    assert_eq!((b.status("a"), b.incarnation("a"), b.streamed()), ("alive", 1, vec!["ask a".into()]));
    b.alive("a", LAST);
    b.alive("b", LAST);
    b.silent();
    b.now += MS(500);
    b.alive("a", LAST);
    b.alive("b", LAST);
    assert_eq!(b.streamed(), ["ask b"], "a was asked a moment ago");
    b.alive("a", ceiling);
    assert_eq!((b.said(), b.incarnation("a")), (vec![format!("alive a {ceiling}")], ceiling));
}

#[test]
fn an_accusation_counts_however_high_and_can_be_answered() {
    let mut b = Bench::with(&["a", "b"]);
    let (ceiling, most) = ceilings(&b);
    for accused in [most, ceiling, LAST - 1, LAST] {
        b.suspect("a", accused, "b");
        assert_eq!(b.incarnation("a"), most);
    }
    assert_eq!(b.said(), [format!("suspect a {most} by b")], "what is passed on is what is believed");
    b.alive("a", most + 1);
    assert_eq!(b.said(), [format!("alive a {}", most + 1)]);
    // Also in an incarnation to which only a lie can have brought it.
    b.alive("a", ceiling);
    b.said();
    b.dead("a", ceiling, "b");
    assert_eq!((b.status("a"), b.streamed()), ("failed", vec!["ask a".into()]), "and it is asked");
}

#[test]
fn a_member_answers_accusations_up_to_the_ceiling_and_no_faster_than_that_rises() {
    let mut b = Bench::with(&["a"]);
    let (ceiling, most) = ceilings(&b);
    b.suspect("me", LAST, "a");
    assert_eq!(b.said(), [format!("alive me {}", most + 1)], "above what others believe of the accusation");
    b.suspect("me", ceiling, "a");
    assert_eq!(b.said(), [format!("alive me {ceiling}")]);
    // It can be changed there, although not at once.
    b.act(|m, now, fx| m.set_tags(Tags::from_pairs(["a=b"]).unwrap(), now, fx)).unwrap();
    b.delivered();
    b.silent();
    b.now += S(1);
    b.act(|m, now, fx| m.tick(now, fx));
    assert_eq!(b.said(), [format!("alive me {}", ceiling + 1)]);
    assert_eq!(b.members.next_deadline(), Moment::NEVER);
}

#[test]
fn no_alive_message_about_this_process_drives_it_to_an_incarnation_that_others_refuse() {
    let mut b = Bench::with(&["a"]);
    let (ceiling, _) = ceilings(&b);
    let meta = Tags::from_pairs(["x=y"]).unwrap().encode().unwrap();
    for incarnation in [LAST, LAST - 1, ceiling + 1] {
        b.news(Message::from(Alive { meta: meta.clone(), ..alive("me", incarnation) }));
    }
    b.silent();
    assert_eq!(b.incarnation("me"), 1);
}

#[test]
fn what_a_member_says_itself_counts_up_and_down() {
    let mut b = Bench::with(&["a"]);
    let (ceiling, _) = ceilings(&b);
    b.alive("a", ceiling);
    b.said();
    b.alive("a", 7);
    assert_eq!(b.streamed(), ["ask a"], "its own word is far below what is known");
    let answer = |b: &mut Bench, from, incarnation| {
        let rows = [peer_row("a", incarnation, PeerState::Alive)];
        b.act(|m, now, fx| m.owner_answered(&name("a"), addr(from), &rows, now, fx));
    };
    answer(&mut b, "elsewhere", 7);
    answer(&mut b, "a", ceiling + 1);
    let oversized = vec![PeerRow { meta: vec![0; 513], ..peer_row("a", 7, PeerState::Alive) }];
    b.act(|m, now, fx| m.owner_answered(&name("a"), addr("a"), &oversized, now, fx));
    b.silent();
    answer(&mut b, "a", 7);
    assert_eq!((b.said(), b.incarnation("a")), (vec!["alive a 7".into()], 7));
    b.dead("a", 7, "x");
    b.delivered();
    b.said();
    answer(&mut b, "a", 7);
    assert_eq!(b.delivered(), ["member-join a alive"]);
}

// ---- suspicion ---------------------------------------------------------------------------

#[test]
fn suspicion_lasts_as_long_as_the_size_of_the_cluster_asks() {
    // Members, this process included; least and greatest timeout in milliseconds: LAN, WAN, local.
    let table = [
        (1, (4_000, 24_000), (30_000, 180_000), (3_000, 18_000)),
        (10, (4_000, 24_000), (30_000, 180_000), (3_000, 18_000)),
        (50, (6_795, 40_775), (50_969, 305_814), (5_096, 30_581)),
        (100, (8_000, 48_000), (60_000, 360_000), (6_000, 36_000)),
        (1_000, (12_000, 72_000), (90_000, 540_000), (9_000, 54_000)),
        (10_000, (16_000, 96_000), (120_000, 720_000), (12_000, 72_000)),
    ];
    for (members, lan, wan, local) in table {
        for (profile, expected) in [(Profile::Lan, lan), (Profile::Wan, wan), (Profile::Local, local)] {
            let (min, max) = Config::for_profile(profile).suspicion_timeouts(members);
            assert_eq!((min.as_millis(), max.as_millis()), expected, "{profile:?} {members}");
        }
    }
}

#[test]
fn a_suspect_that_says_nothing_fails_when_its_time_is_up() {
    let mut b = Bench::with_many(8);
    b.suspect("m0", 1, "m1");
    assert_eq!((b.status("m0"), b.patience("m0")), ("alive", S(24)));
    assert_eq!(b.said(), ["suspect m0 1 by m1"]);
    b.pass(MS(23_999));
    b.silent();
    b.pass(MS(1));
    assert_eq!(b.delivered(), ["member-failed m0 failed"]);
    assert_eq!(b.said(), ["dead m0 1 by me"]);
}

#[test]
fn each_confirmation_shortens_the_suspicion_and_is_passed_on_once() {
    let mut b = Bench::with_many(8);
    b.suspect("m0", 1, "m1");
    b.forget();
    b.suspect("m0", 1, "m1");
    b.silent();
    b.suspect("m0", 1, "m2");
    assert_eq!((b.said(), b.patience("m0")), (vec!["suspect m0 1 by m2".into()], MS(11_381)));
    b.suspect("m0", 1, "m3");
    assert_eq!((b.said(), b.patience("m0")), (vec!["suspect m0 1 by m3".into()], S(4)));
    b.suspect("m0", 1, "m4");
    b.silent();
    b.pass(S(4));
    assert_eq!(b.status("m0"), "failed");
}

#[test]
fn without_enough_others_to_confirm_a_suspicion_is_short_from_the_start() {
    // Two others besides this process and the suspect are needed for two confirmations.
    for (others, patience) in [(1, S(4)), (2, S(4)), (3, S(24)), (4, S(24))] {
        let mut b = Bench::with_many(others);
        b.suspect("m0", 1, "m1");
        assert_eq!(b.patience("m0"), patience, "{others} others");
    }
}

#[test]
fn a_refutation_ends_a_suspicion_without_an_event() {
    let mut b = Bench::with(&["a", "b"]);
    b.suspect("a", 1, "b");
    b.forget();
    b.alive("a", 1);
    assert!(b.is_suspect("a"), "the incarnation that is suspected proves nothing");
    b.alive("a", 2);
    assert_eq!((b.said(), b.delivered()), (vec!["alive a 2".into()], vec![]));
    b.suspect("a", 1, "b");
    b.dead("a", 1, "b");
    b.silent();
    b.pass(S(60));
    assert_eq!(b.status("a"), "alive");
}

#[test]
fn a_suspicion_of_a_later_incarnation_starts_from_the_beginning() {
    let mut b = Bench::with_many(8);
    b.suspect("m0", 1, "m1");
    b.pass(S(23));
    b.forget();
    // It has refuted meanwhile, which did not get here, and is suspected again.
    b.suspect("m0", 2, "m2");
    assert_eq!(b.said(), ["suspect m0 2 by m2"]);
    assert_eq!((b.incarnation("m0"), b.patience("m0")), (2, S(24)));
}

#[test]
fn accusations_of_the_unknown_the_failed_and_the_left_change_nothing() {
    let mut b = Bench::with(&["a", "b"]);
    b.dead("a", 1, "b");
    b.dead("b", 1, "b");
    b.forget();
    for who in ["a", "b", "nobody"] {
        b.suspect(who, 1, "x");
        b.dead(who, 1, "x");
        b.dead(who, 1, who);
    }
    b.silent();
    assert_eq!((b.status("a"), b.status("b"), b.status("nobody")), ("failed", "left", "none"));
}

#[test]
fn a_later_run_of_an_accuser_does_not_count_as_two() {
    let mut b = Bench::with_many(8);
    b.suspect("m0", 1, "m1");
    b.alive("m1", 2);
    b.suspect("m0", 1, "m1");
    assert_eq!(b.patience("m0"), S(24));
}

// ---- names and addresses -----------------------------------------------------------------

#[test]
fn the_name_of_a_member_that_left_is_free_at_once() {
    let mut b = Bench::with(&["a"]);
    b.dead("a", 1, "a");
    b.alive_at("a", 2, addr("elsewhere"));
    b.run(SILENCE);
    assert_eq!((b.status("a"), b.members.row("a").unwrap().addr), ("alive", addr("elsewhere")));
}

#[test]
fn the_name_of_a_failed_member_is_free_after_the_reclaim_time() {
    let mut b = Bench::with(&["a", "b"]);
    b.dead("a", 1, "b");
    b.pass(S(29));
    b.alive_at("a", 2, addr("elsewhere"));
    assert_eq!(b.status("a"), "failed");
    b.alive("a", 2);
    assert_eq!(b.status("a"), "alive", "at its own address it may return at any time");
    b.dead("a", 2, "b");
    b.pass(S(30));
    b.alive_at("a", 3, addr("elsewhere"));
    b.run(SILENCE);
    assert_eq!((b.status("a"), b.members.row("a").unwrap().addr), ("alive", addr("elsewhere")));
}

#[test]
fn the_address_of_a_present_member_is_not_taken_over() {
    let mut b = Bench::with(&["a", "b"]);
    b.alive_at("a", 2, addr("elsewhere"));
    b.suspect("b", 1, "a");
    b.forget();
    b.alive_at("b", 2, addr("elsewhere"));
    b.sent();
    b.silent();
    assert!(b.is_suspect("b"));
    assert_eq!((b.incarnation("a"), b.members.row("a").unwrap().addr), (1, addr("a")));
}

#[test]
fn the_two_forms_of_an_ipv4_address_are_one_address() {
    let mut b = Bench::with(&["a"]);
    let mapped = |node: &str| match addr(node).ip() {
        std::net::IpAddr::V4(ip) => SocketAddr::from((ip.to_ipv6_mapped(), 7946)),
        other => panic!("{other}"),
    };
    b.alive_at("a", 2, mapped("a"));
    assert_eq!((b.said(), b.delivered()), (vec!["alive a 2".into()], vec![]));
    assert_eq!(b.members.row("a").unwrap().addr, addr("a"));
    b.alive_at("me", 2, mapped("me"));
    assert_eq!(b.said(), ["alive me 3"], "this is no conflict");
}

// ---- tags --------------------------------------------------------------------------------

#[test]
fn new_tags_are_restated_and_the_same_tags_are_not() {
    let mut b = Bench::with(&["a"]);
    let tags = Tags::from_pairs(["role=web"]).unwrap();
    b.act(|m, now, fx| m.set_tags(tags.clone(), now, fx)).unwrap();
    assert_eq!((b.said(), b.delivered()), (vec!["alive me 2".into()], vec!["member-update me alive".into()]));
    b.act(|m, now, fx| m.set_tags(tags, now, fx)).unwrap();
    b.silent();
    let big = Tags::from_pairs([format!("k={}", "x".repeat(600))]).unwrap();
    assert!(b.act(|m, now, fx| m.set_tags(big, now, fx)).is_err());
    b.silent();
    assert_eq!(b.members.my_row().meta.tags().value("role"), Some(&"web".into()));
}

#[test]
fn new_tags_of_a_process_that_has_left_bring_it_back_for_nobody() {
    let mut b = Bench::with(&["a"]);
    b.act(|m, now, fx| m.finish_leave(now, fx));
    b.forget();
    b.act(|m, now, fx| m.set_tags(Tags::from_pairs(["role=web"]).unwrap(), now, fx)).unwrap();
    b.silent();
    b.act(|m, now, fx| m.come_back(now, fx));
    assert_eq!(b.said(), ["alive me 2"]);
    assert_eq!(b.members.my_row().meta.tags().value("role"), Some(&"web".into()));
}
