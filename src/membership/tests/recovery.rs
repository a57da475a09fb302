//! Members that are missing: reaching for failed members and for seeds, reaping, and what is
//! remembered of the reaped.

use super::*;
use crate::model::MAX_PLAIN_NAME_LEN;

/// The numbers of a LAN with short timeouts.
fn short(seconds: u64) -> Config {
    let timeout = S(seconds);
    Config { reconnect_timeout: timeout, tombstone_timeout: timeout, ..Config::for_profile(Profile::Lan) }
}

fn with_timeouts(seconds: u64, names: &[&str]) -> Bench {
    let mut b = Bench::configured(short(seconds));
    for name in names {
        b.alive(name, 1);
    }
    b.forget();
    b
}

// ---- reaching for the failed -------------------------------------------------------------

/// Whom it reaches for within a time.
fn reached(b: &mut Bench, schedule: &mut ReconnectSchedule, by: Duration) -> Vec<String> {
    let (end, mut reached) = (b.now + by, Vec::new());
    while schedule.next_deadline() <= end {
        b.now = schedule.next_deadline();
        if let Some(request) = schedule.tick(&b.members, b.now, &mut b.rng) {
            b.fx.streams.push(request);
            reached.extend(b.streamed());
        }
        assert!(schedule.next_deadline() > b.now, "the same deadline twice");
    }
    b.now = end;
    reached
}

#[test]
fn failed_members_are_reached_for_about_once_an_interval_by_all_together() {
    let mut b = Bench::with_many(20);
    let mut schedule = ReconnectSchedule::new(&b.members, b.now, &mut b.rng);
    assert!(reached(&mut b, &mut schedule, S(3000)).is_empty(), "nobody has failed");
    b.dead("m0", 1, "x");
    b.dead("m1", 1, "x");
    b.dead("m2", 1, "m2");
    // Two failed, eighteen present: one in nine of the hundred intervals, in the mean.
    let tries = reached(&mut b, &mut schedule, S(30 * 900));
    assert!((60..140).contains(&tries.len()), "{}", tries.len());
    let of = |name: &str| tries.iter().filter(|t| **t == format!("reconnect to {name}")).count();
    assert!(of("m0") > 20 && of("m1") > 20, "each of the failed: {tries:?}");
    assert_eq!(of("m0") + of("m1"), tries.len(), "nobody else: {tries:?}");
}

/// Its address may be another's by now; before pings over TCP nobody could ask.
#[test]
fn a_failed_member_is_asked_for_by_its_name_if_it_knows_such_pings() {
    let mut b = Bench::with(&["a"]);
    let old = Versions { protocol_max: 2, protocol_cur: 2, ..Versions::OURS };
    b.news(Message::from(Alive { versions: old, ..alive("b", 1) }));
    for name in ["a", "b"] {
        b.dead(name, 1, "x");
    }
    let mut schedule = ReconnectSchedule::new(&b.members, b.now, &mut b.rng);
    let tries = reached(&mut b, &mut schedule, S(900));
    for (wanted, name) in [("reconnect to a", "a"), ("reach b", "b")] {
        assert!(tries.iter().any(|t| t == wanted), "{tries:?}");
        assert!(tries.iter().filter(|t| t.ends_with(name)).all(|t| t == wanted), "{tries:?}");
    }
}

#[test]
fn a_member_that_is_alone_with_the_failed_reaches_for_one_in_every_interval() {
    let mut b = Bench::with(&["a"]);
    b.dead("a", 1, "x");
    let mut schedule = ReconnectSchedule::new(&b.members, b.now, &mut b.rng);
    assert_eq!(reached(&mut b, &mut schedule, S(300)).len(), 10);
    b.act(|m, now, fx| m.begin_leave(now, fx));
    assert!(reached(&mut b, &mut schedule, S(300)).is_empty(), "a member that leaves reaches for nobody");
}

// ---- seeds -------------------------------------------------------------------------------

/// Which seeds it looks up within a time, all of which lead to `leads_to`, and what it then
/// wants of TCP.
fn tried(
    b: &mut Bench,
    seeds: &mut Seeds,
    by: Duration,
    leads_to: &[SocketAddr],
) -> (usize, Vec<SocketAddr>) {
    let (end, mut asked, mut tried) = (b.now + by, 0, Vec::new());
    while seeds.next_deadline() <= end {
        b.now = seeds.next_deadline();
        if let Some(seed) = seeds.tick(&b.members, b.now, &mut b.rng) {
            asked += 1;
            match seeds.found(&seed, leads_to.to_vec(), &b.members, &mut b.rng) {
                Some(StreamRequest::Reach { whom, to }) => {
                    assert_eq!(whom, seed);
                    tried.push(to.addr);
                }
                None => {}
                other => panic!("{other:?}"),
            }
        }
        assert!(seeds.next_deadline() > b.now, "the same deadline twice");
    }
    b.now = end;
    (asked, tried)
}

fn with_seed(b: &mut Bench) -> Seeds {
    let mut seeds = Seeds::new(&b.members, b.now, &mut b.rng);
    assert_eq!(seeds.next_deadline(), Moment::NEVER, "nothing to do without seeds");
    seeds.keep(["seed.example".to_string()], Origin::Configured);
    seeds
}

#[test]
fn a_member_that_is_alone_tries_its_seed_about_once_an_interval() {
    let mut b = Bench::alone();
    let mut seeds = with_seed(&mut b);
    let (asked, tried) = tried(&mut b, &mut seeds, S(30 * 100), &[addr("s")]);
    assert!((90..=115).contains(&asked), "{asked}");
    assert_eq!(tried.len(), asked);
}

#[test]
fn a_seed_that_is_present_is_looked_up_once_and_left_alone() {
    let mut b = Bench::with_many(30);
    b.alive("s", 1);
    let mut seeds = with_seed(&mut b);
    assert_eq!(tried(&mut b, &mut seeds, S(30 * 1000), &[addr("s")]), (1, vec![]));
    // One's own address is as good.
    let (mut b, mine) = (Bench::with_many(30), addr("me"));
    let mut seeds = with_seed(&mut b);
    assert_eq!(tried(&mut b, &mut seeds, S(30 * 1000), &[mine]), (1, vec![]));
}

#[test]
fn a_seed_that_is_missing_is_tried_even_though_nobody_has_failed() {
    for (others, least, most) in [(1, 40, 65), (4, 12, 30), (9, 4, 18), (500, 4, 18)] {
        let mut b = Bench::with_many(others);
        let mut seeds = with_seed(&mut b);
        let (_, tried) = tried(&mut b, &mut seeds, S(30 * 100), &[addr("s")]);
        assert!((least..=most).contains(&tried.len()), "{others} others: {}", tried.len());
        assert_eq!(b.members.failed(), 0);
    }
}

#[test]
fn of_the_addresses_of_a_seed_one_is_tried_that_no_present_member_has() {
    let mut b = Bench::with(&["a", "b", "c"]);
    b.dead("b", 1, "x");
    b.dead("c", 1, "c");
    let mut seeds = with_seed(&mut b);
    let all = ["a", "b", "c", "me", "unknown"].map(addr);
    let (_, mut tried) = tried(&mut b, &mut seeds, S(30 * 200), &all);
    tried.sort();
    tried.dedup();
    let mut expected = ["b", "c", "unknown"].map(addr).to_vec();
    expected.sort();
    assert_eq!(tried, expected);
}

#[test]
fn a_seed_is_looked_up_anew_and_stays_where_it_was_if_that_fails() {
    let mut b = Bench::alone();
    let mut seeds = with_seed(&mut b);
    assert_eq!(tried(&mut b, &mut seeds, S(60), &[]).1, [], "never looked up");
    let (_, before) = tried(&mut b, &mut seeds, S(60), &[addr("before")]);
    assert_eq!(before.last(), Some(&addr("before")));
    let (asked, meanwhile) = tried(&mut b, &mut seeds, S(300), &[]);
    assert_eq!(meanwhile, vec![addr("before"); asked]);
    let (_, after) = tried(&mut b, &mut seeds, S(60), &[addr("after")]);
    assert_eq!(after.last(), Some(&addr("after")));
}

#[test]
fn one_exchange_at_a_time_but_a_lost_answer_is_not_waited_for_for_ever() {
    let mut b = Bench::alone();
    let mut seeds = with_seed(&mut b);
    let mut asked = Vec::new();
    while b.now < Moment::ZERO + S(2000) {
        b.now = seeds.next_deadline();
        asked.extend(seeds.tick(&b.members, b.now, &mut b.rng).map(|_| b.now));
    }
    assert!(asked.len() > 3, "{asked:?}");
    assert!(asked.windows(2).all(|w| w[1].since(w[0]) >= S(120)), "{asked:?}");
}

#[test]
fn a_member_that_leaves_tries_no_seeds() {
    let mut b = Bench::alone();
    let mut seeds = with_seed(&mut b);
    b.act(|m, now, fx| m.begin_leave(now, fx));
    assert_eq!(tried(&mut b, &mut seeds, S(3000), &[addr("s")]), (0, vec![]));
}

#[test]
fn seeds_are_bounded_and_configured_ones_stay() {
    let mut b = Bench::alone();
    let mut seeds = with_seed(&mut b);
    let many = |kind: &str, n: usize| (0..n).map(|i| format!("{kind}-{i}")).collect::<Vec<_>>();
    seeds.keep(many("found", 2 * MAX_SEEDS), Origin::Found);
    assert_eq!(seeds.len(), MAX_SEEDS);
    seeds.keep(many("configured", 2 * MAX_SEEDS), Origin::Configured);
    seeds.keep(["late".to_string(), "seed.example".to_string()], Origin::Found);
    assert_eq!(seeds.len(), MAX_SEEDS);
    let mut asked = std::collections::BTreeSet::new();
    for _ in 0..20_000 {
        b.now = seeds.next_deadline();
        if let Some(seed) = seeds.tick(&b.members, b.now, &mut b.rng) {
            seeds.found(&seed, Vec::new(), &b.members, &mut b.rng);
            asked.insert(seed);
        }
    }
    assert!(asked.contains("seed.example"), "the first one is still there");
    assert!(asked.iter().all(|seed| !seed.starts_with("found")), "those that were found went first");
}

// ---- reaping -----------------------------------------------------------------------------

#[test]
fn the_failed_and_the_left_are_reaped_each_after_its_own_timeout() {
    let config = Config { reconnect_timeout: S(100), tombstone_timeout: S(40), ..short(0) };
    let mut b = Bench::configured(config);
    b.alive("failed", 1);
    b.alive("left", 1);
    b.dead("failed", 1, "x");
    b.dead("left", 1, "left");
    b.forget();
    b.pass(S(39));
    b.silent();
    b.pass(S(1));
    assert_eq!(b.delivered(), ["member-reap left left"]);
    b.pass(S(59));
    b.silent();
    b.pass(S(1));
    assert_eq!(b.delivered(), ["member-reap failed failed"]);
    assert_eq!((b.status("failed"), b.status("left"), b.members.len()), ("none", "none", 1));
}

// ---- stale gossip ------------------------------------------------------------------------

#[test]
fn stale_news_does_not_bring_back_a_member_that_was_reaped() {
    for how in ["gossip", "push/pull", "suspected in push/pull"] {
        for (from, status) in [("x", "failed"), ("a", "left")] {
            let mut b = with_timeouts(1, &["a", "b", "c"]);
            b.alive("a", 5);
            b.dead("a", 5, from);
            b.pass(S(1));
            assert_eq!(b.delivered().last().unwrap(), &format!("member-reap a {status}"));
            b.forget();
            for incarnation in [1, 4, 5] {
                match how {
                    "gossip" => b.alive("a", incarnation),
                    "push/pull" => b.merge(vec![peer_row("a", incarnation, PeerState::Alive)]),
                    _ => b.merge(vec![peer_row("a", incarnation, PeerState::Suspect)]),
                }
                assert_eq!(b.status("a"), "none", "{how}");
                b.silent();
            }
            // In a later incarnation it is there.
            b.alive("a", 6);
            assert_eq!(b.delivered(), ["member-join a alive"], "{how}");
            assert_eq!(b.members.remembered(), 0);
        }
    }
}

#[test]
fn a_member_that_was_reaped_and_is_alive_learns_it_and_comes_back() {
    let mut b = with_timeouts(1, &["a"]);
    b.dead("a", 1, "x");
    b.pass(S(1));
    b.forget();
    // The member itself, which was paused meanwhile, exchanges with this process.
    let mut a = Bench::named("a", short(1));
    let theirs = b.members.push_pull(false, Default::default());
    a.merge_all(&theirs);
    let mine = a.members.push_pull(false, Default::default());
    b.merge_all(&mine);
    assert_eq!((b.status("a"), b.incarnation("a")), ("alive", 2));
    assert_eq!((a.status("me"), a.status("a")), ("alive", "alive"));
}

#[test]
fn nobody_learns_of_the_dead_from_members_that_remember_them() {
    let mut b = with_timeouts(1, &["failed", "left", "there"]);
    b.dead("failed", 1, "x");
    b.dead("left", 1, "left");
    b.pass(S(1));
    let sent = b.members.push_pull(false, Default::default());
    assert_eq!(sent.rows.len(), 4, "it is sent for members that still believe them alive");
    let mut c = Bench::named("c", short(1));
    c.merge_all(&sent);
    let known: Vec<String> = c.members.rows().map(|r| r.name.to_string()).collect();
    assert_eq!(known, ["c", "me", "there"]);
    // A member that does believe one alive asks it.
    let mut d = Bench::named("d", short(1));
    d.alive("failed", 1);
    d.merge_all(&sent);
    assert!(d.is_suspect("failed"));
}

#[test]
fn the_memory_of_the_reaped_ends_and_with_the_usual_timeouts_never_begins() {
    let mut b = with_timeouts(1, &["a"]);
    b.dead("a", 1, "x");
    b.pass(S(1));
    assert_eq!(b.members.remembered(), 1);
    let memory = b.members.config().reaped_memory(1);
    b.pass(memory - S(2));
    assert_eq!(b.members.remembered(), 1);
    b.pass(S(1));
    assert_eq!(b.members.remembered(), 0);
    assert_eq!(b.members.push_pull(false, Default::default()).rows.len(), 1);

    let mut b = Bench::with(&["a"]);
    b.dead("a", 1, "x");
    b.pass(S(24 * 3600 + 1));
    assert_eq!((b.members.len(), b.members.remembered()), (1, 0));
}

#[test]
fn intents_of_before_do_not_touch_the_next_run() {
    let mut b = with_timeouts(1, &["a"]);
    b.leave("a", 10);
    b.dead("a", 1, "a");
    b.pass(S(1));
    b.forget();
    b.leave("a", 10);
    b.join("a", 9);
    b.silent();
    b.alive("a", 2);
    assert_eq!(b.status("a"), "alive");
    b.leave("a", 10);
    assert_eq!(b.status("a"), "alive", "that was its last run");
    b.leave("a", 11);
    assert_eq!(b.status("a"), "leaving");
}

// ---- names -------------------------------------------------------------------------------

#[test]
fn with_validation_only_plain_names_are_admitted() {
    let strict = Config { validate_names: true, ..Config::for_profile(Profile::Lan) };
    let (long, longest) = ("x".repeat(MAX_PLAIN_NAME_LEN + 1), "x".repeat(MAX_PLAIN_NAME_LEN));
    for (who, admitted) in [
        ("web-1.example", true),
        (longest.as_str(), true),
        ("web_1", false),
        ("a b", false),
        ("café", false),
        (long.as_str(), false),
    ] {
        let mut gossip = Bench::configured(strict.clone());
        gossip.alive(who, 1);
        let mut merged = Bench::configured(strict.clone());
        merged.merge(vec![
            peer_row(who, 1, PeerState::Alive),
            peer_row("good", 1, PeerState::Alive),
            peer_row(who, 2, PeerState::Suspect),
        ]);
        for b in [&gossip, &merged] {
            assert_eq!(b.members.row(who).is_some(), admitted, "{who}");
        }
        assert_eq!(merged.status("good"), "alive", "one bad name does not block the others");
        let mut lax = Bench::alone();
        lax.alive(who, 1);
        assert_eq!(lax.status(who), "alive");
    }
}
