//! The prober: rounds, help from others, local health, lateness.

use super::*;
use crate::wire::message::{Ack, Nack};

impl Bench {
    /// Wakes the prober until it starts a round; says whom it pings and with which number.
    pub(crate) fn next_round(&mut self) -> (String, u32) {
        for _ in 0..20 {
            let at = self.prober.plan(&self.members, self.now);
            let before = self.fx.transmits.len();
            self.wake_at(at);
            if let Some(t) = self.fx.transmits[before..].iter().rfind(|t| t.probe.is_some())
                && let Some(Message::Probe(ProbeMessage::Ping(ping))) = t.messages.first()
            {
                return (ping.node.to_string(), ping.seq_no);
            }
        }
        panic!("no round was started");
    }

    pub(crate) fn ack(&mut self, from: &str, seq_no: u32) -> Vec<ProbeOutcome> {
        self.hear(from, vec![ack(seq_no, None)])
    }

    fn health(&self) -> u32 {
        self.members.awareness().score()
    }
}

pub(crate) fn ack(seq_no: u32, digest: Option<u64>) -> Message {
    Message::from(Ack { seq_no, digest, payload: vec![] })
}

fn nack(seq_no: u32) -> Message {
    Message::from(Nack { seq_no })
}

#[test]
fn a_late_ack_is_no_sign_that_this_process_was_held_up() {
    let mut b = Bench::with(&["a"]);
    b.members.awareness.apply(3);
    let (_, seq) = b.next_round();
    // With this health the round lasts 4 s, so that the next one is long overdue at 2.9 s.
    b.run(MS(2900));
    b.ack("a", seq);
    assert_eq!(b.health(), 2);
    b.forget();
    b.next_round();
    assert_eq!(b.health(), 2, "nothing was missed");
}

#[test]
fn a_confirmation_that_ends_a_suspicion_is_no_sign_that_this_process_was_held_up() {
    let mut b = Bench::with_many(8);
    b.suspect("m0", 1, "m1");
    b.pass(S(10));
    b.suspect("m0", 1, "m2");
    b.suspect("m0", 1, "m3");
    assert_eq!(b.patience("m0"), S(0));
    let at = b.prober.plan(&b.members, b.now);
    assert_eq!(at, b.now);
    b.wake_at(at);
    assert_eq!((b.status("m0"), b.health()), ("failed", 0));
}

// ---- a round -----------------------------------------------------------------------------

#[test]
fn a_round_goes_ping_then_tcp_then_help_then_suspicion() {
    let mut b = Bench::with(&["a", "b", "c", "d", "e"]);
    let (who, _) = b.next_round();
    assert_eq!(b.sent(), [(addr(&who), format!("ping {who}"))]);
    b.run(MS(99));
    b.silent();
    b.run(MS(1));
    assert_eq!(b.streamed(), [format!("ping {who}")]);
    b.run(MS(399));
    b.silent();
    b.run(MS(1));
    let asked = b.sent();
    assert_eq!(asked.len(), 3);
    assert!(asked.iter().all(|(to, what)| *to != addr(&who) && *what == format!("please ping {who}")));
    assert!(!b.is_suspect(&who));
    b.run(MS(500));
    assert_eq!(b.said(), [format!("suspect {who} 1 by me")]);
    let record = b.members.row(&who).unwrap().probes;
    assert_eq!(record, ProbeRecord { udp_failed: 1, tcp_failed: 1, ..Default::default() });
}

/// A process that mistrusts itself may be the reason why acks are late.
#[test]
fn tcp_waits_for_the_whole_timeout_in_bad_health_and_if_refusals_are_no_evidence() {
    let mut ill = Bench::with(&["a", "b"]);
    ill.members.awareness.apply(1);
    let mut off = Bench::configured(Config { crash_patience: S(0), ..Config::for_profile(Profile::Lan) });
    off.alive("a", 1);
    for mut b in [ill, off] {
        let (who, _) = b.next_round();
        b.run(MS(499));
        assert_eq!(b.streamed(), [""; 0]);
        b.run(MS(1));
        assert_eq!(b.streamed(), [format!("ping {who}")]);
    }
}

#[test]
fn an_ack_ends_the_round_and_shows_the_round_trip() {
    let mut b = Bench::with(&["a"]);
    b.members.awareness.apply(1);
    let (_, seq) = b.next_round();
    b.run(MS(20));
    assert_eq!(b.ack("a", seq.wrapping_add(7)), [], "this is no answer to anything");
    let outcome = ProbeOutcome { node: name("a"), round_trip: MS(20), payload: vec![] };
    assert_eq!(b.ack("a", seq), [outcome]);
    assert_eq!(b.ack("a", seq), []);
    b.forget();
    b.run(MS(970));
    b.silent();
    assert_eq!((b.health(), b.members.row("a").unwrap().probes.udp_ok), (0, 1));
}

#[test]
fn an_answer_through_others_saves_the_member_but_shows_no_round_trip() {
    let mut b = Bench::with(&["a", "b"]);
    let (who, seq) = b.next_round();
    b.run(MS(700));
    assert_eq!(b.ack("b", seq), []);
    b.run(MS(250));
    assert_eq!(b.said(), Vec::<String>::new());
    assert!(!b.is_suspect(&who));
}

#[test]
fn a_member_that_answers_over_tcp_only_is_not_suspected_and_both_outcomes_are_counted() {
    let mut b = Bench::with(&["a"]);
    b.members.awareness.apply(2);
    let (_, seq) = b.next_round();
    b.run(MS(600));
    b.stream_ping(seq.wrapping_add(1), StreamPing::Answered);
    b.stream_ping(seq, StreamPing::Answered);
    b.run(MS(2400));
    assert_eq!((b.said(), b.health()), (vec![], 1));
    let record = b.members.row("a").unwrap().probes;
    assert_eq!((record.udp_ok, record.udp_failed, record.tcp_ok, record.tcp_failed), (0, 1, 1, 0));
}

#[test]
fn a_member_that_does_not_answer_over_tcp_either_is_suspected() {
    let mut b = Bench::with(&["a"]);
    let (_, seq) = b.next_round();
    b.run(MS(600));
    b.stream_ping(seq, StreamPing::Failed);
    b.run(MS(400));
    assert!(b.is_suspect("a"));
}

#[test]
fn a_ping_that_cannot_be_sent_has_failed_at_once() {
    let mut b = Bench::with(&["a", "b"]);
    let (who, seq) = b.next_round();
    b.forget();
    b.prober.send_failed(seq.wrapping_add(1), b.now);
    b.run(MS(1));
    b.silent();
    b.prober.send_failed(seq, b.now);
    b.run(MS(1));
    assert_eq!(b.streamed(), [format!("ping {who}")]);
    b.prober.send_failed(seq, b.now);
    b.run(MS(10));
    assert_eq!(b.streamed(), Vec::<String>::new(), "others are asked once");
    assert_eq!(b.members.row(&who).unwrap().probes.udp_failed, 1);
    b.run(MS(988));
    assert!(b.is_suspect(&who));
}

#[test]
fn a_suspect_is_informed_when_it_is_probed() {
    let mut b = Bench::with(&["a"]);
    b.suspect("a", 1, "x");
    b.forget();
    b.next_round();
    assert_eq!(b.sent(), [(addr("a"), "ping a + suspect a 1 by me".into())]);
}

#[test]
fn a_member_that_refutes_during_the_round_is_not_suspected_for_it() {
    let mut b = Bench::with(&["a"]);
    b.next_round();
    b.run(MS(600));
    b.alive("a", 2);
    b.forget();
    b.run(MS(400));
    assert_eq!(b.said(), Vec::<String>::new());
}

#[test]
fn a_member_that_leaves_during_the_round_is_not_asked_after_and_does_not_count_as_a_failed_probe() {
    let mut b = Bench::with(&["a"]);
    b.next_round();
    b.dead("a", 1, "a");
    b.forget();
    b.run(MS(3000));
    b.silent();
    assert_eq!(b.health(), 0);
}

#[test]
fn everyone_is_probed_once_in_a_round_and_the_newest_within_two() {
    let mut b = Bench::with_many(20);
    let mut probed = Vec::new();
    for i in 0..80 {
        let (who, seq) = b.next_round();
        b.ack(&who, seq);
        probed.push(who);
        if i == 25 {
            b.alive("late", 1);
        }
    }
    for round in probed[..20].chunks(20) {
        let names: std::collections::BTreeSet<_> = round.iter().collect();
        assert_eq!(names.len(), 20, "{round:?}");
    }
    assert!(probed[26..68].contains(&"late".to_string()));
}

#[test]
fn nobody_slips_past_a_round_because_others_are_forgotten() {
    let mut b = Bench::with_many(20);
    let mut probed = std::collections::BTreeSet::new();
    for _ in 0..5 {
        let (who, seq) = b.next_round();
        b.ack(&who, seq);
        b.dead(&who, 1, "x");
        b.prune(&who, 100);
        probed.insert(who);
    }
    for _ in 0..15 {
        let (who, seq) = b.next_round();
        b.ack(&who, seq);
        probed.insert(who);
    }
    assert_eq!(probed.len(), 20);
}

#[test]
fn a_member_alone_or_gone_probes_nobody_and_wakes_once_an_interval() {
    let mut b = Bench::alone();
    assert!(b.run(S(60)) <= 61);
    b.silent();
    let mut b = Bench::with(&["a"]);
    b.act(|m, now, fx| m.finish_leave(now, fx));
    b.forget();
    assert!(b.run(S(60)) <= 61);
    b.silent();
}

#[test]
fn the_prober_never_spins_while_all_others_are_silent() {
    for profile in [Profile::Lan, Profile::Wan, Profile::Local] {
        let mut b = Bench::configured(Config::for_profile(profile));
        for i in 0..30 {
            b.alive(&format!("m{i}"), 1);
        }
        let wakes = b.run(S(3600));
        assert!(wakes < 2 * 3600, "{profile:?}: {wakes}");
        assert_eq!(b.members.present(), 1, "{profile:?}: everyone has failed");
    }
}

// ---- local health ------------------------------------------------------------------------

#[test]
fn only_missing_nacks_count_when_others_were_asked() {
    for (nacks, health) in [(0, 3), (1, 2), (3, 0), (9, 0)] {
        let mut b = Bench::with(&["a", "b", "c", "d"]);
        let (_, seq) = b.next_round();
        b.hear("b", vec![nack(seq)]);
        b.run(MS(600));
        for _ in 0..nacks {
            b.hear("b", vec![nack(seq), nack(seq.wrapping_add(1))]);
        }
        b.run(MS(400));
        assert_eq!(b.health(), health, "{nacks} nacks; the one before asking does not count");
    }
}

#[test]
fn with_nobody_to_ask_the_failure_itself_counts() {
    let mut b = Bench::with(&["a"]);
    b.next_round();
    b.run(S(1));
    assert_eq!(b.health(), 1);
}

#[test]
fn bad_health_gives_the_probed_more_time_before_they_are_suspected() {
    let mut b = Bench::with(&["a"]);
    b.members.awareness.apply(2);
    b.next_round();
    b.run(MS(2999));
    assert!(!b.is_suspect("a"));
    b.run(MS(1));
    assert!(b.is_suspect("a"));
}

// ---- lateness ----------------------------------------------------------------------------

#[test]
fn a_late_tick_discards_the_round_and_excuses_suspects() {
    let mut b = Bench::with_many(8);
    b.next_round();
    b.run(MS(600));
    b.suspect("m0", 1, "m1");
    b.forget();
    let (patience, planned) = (b.patience("m0"), b.prober.plan(&b.members, b.now));
    let lateness = S(40);
    let start = b.now;
    b.wake_at(planned + lateness);
    assert_eq!(b.said(), Vec::<String>::new(), "nobody is suspected for silence that was not heard");
    assert_eq!(b.health(), 1);
    assert_eq!(b.patience("m0") + b.now.since(start), patience + lateness + S(1));
    let probes = b.sent();
    assert_eq!(probes.len(), 1, "a new round starts at once: {probes:?}");
}

#[test]
fn a_suspect_whose_time_ended_while_this_process_was_held_up_gets_time_to_be_heard() {
    let mut b = Bench::with(&["a"]);
    b.act(|m, now, fx| m.begin_leave(now, fx));
    b.act(|m, now, fx| m.finish_leave(now, fx));
    b.suspect("a", 1, "x");
    b.run(MS(3900));
    let planned = b.prober.plan(&b.members, b.now);
    assert_eq!(planned, b.now + b.patience("a"), "the suspicion is what it waits for");
    b.wake_at(planned + S(3600));
    assert!(b.is_suspect("a"));
    b.run(S(1));
    assert_eq!(b.status("a"), "failed");
}

/// Its first round may be held up again, and so may be who should answer.
#[test]
fn after_a_late_tick_who_is_silent_is_suspected_after_a_second_long_round() {
    let mut b = Bench::with(&["a"]);
    b.next_round();
    let planned = b.prober.plan(&b.members, b.now);
    b.wake_at(planned + S(3));
    // The round that begins then, of twice the length since it mistrusts itself; and the second.
    b.run(MS(2000));
    assert!(!b.is_suspect("a"), "not after the first round");
    b.run(MS(9999));
    assert!(!b.is_suspect("a"), "the second takes ten seconds");
    b.run(MS(1));
    assert!(b.is_suspect("a"));
}

#[test]
fn what_is_long_past_is_no_reason_to_ask_twice() {
    let mut b = Bench::with(&["a"]);
    let planned = b.prober.plan(&b.members, b.now);
    b.wake_at(planned + S(3));
    let (start, seq_no) = (b.now, b.last_ping());
    b.ack("a", seq_no);
    while b.now.since(start) < S(30) {
        let (_, seq_no) = b.next_round();
        b.ack("a", seq_no);
    }
    b.next_round();
    b.run(S(1));
    assert!(b.is_suspect("a"));
}

#[test]
fn an_answer_in_the_second_round_ends_the_doubt() {
    let mut b = Bench::with_many(8);
    let planned = b.prober.plan(&b.members, b.now);
    b.wake_at(planned + S(3));
    let first = b.sent()[0].1.clone();
    b.run(MS(1999));
    b.forget();
    let (again, seq_no) = b.next_round();
    assert_eq!(first, format!("ping {again}"), "the same one is asked again at once");
    b.ack(&again, seq_no);
    let (next, _) = b.next_round();
    assert_ne!(next, again);
    assert!(!b.is_suspect(&again));
}

#[test]
fn a_slight_delay_is_no_lateness_but_help_gets_its_whole_time() {
    let mut b = Bench::configured(Config::for_profile(Profile::Wan));
    for who in ["a", "b", "c"] {
        b.alive(who, 1);
    }
    let (who, _) = b.next_round();
    b.forget();
    // Help is due after 3 s, the end of the round after 5 s.
    let planned = b.prober.plan(&b.members, b.now);
    b.wake_at(planned + MS(2900));
    assert_eq!((b.health(), b.sent().len()), (0, 2));
    assert!(!b.is_suspect(&who), "nobody was asked in time");
    b.run(MS(1999));
    assert!(!b.is_suspect(&who));
    b.run(MS(1));
    assert!(b.is_suspect(&who));
}

#[test]
fn a_round_reaches_everyone_once_although_some_go_come_or_are_disputed_meanwhile() {
    for seed in 0..200 {
        let mut b = Bench::alone();
        (b.rng, b.now) = (Rng::with_seed(seed), b.now + S(1));
        let mut unprobed: Vec<String> = (0..12).map(|i| format!("m{i}")).collect();
        unprobed.iter().for_each(|who| b.alive(who, 1));
        let mut probed = Vec::new();
        for step in 0..100 {
            match b.rng.u8(0..6) {
                0 => {
                    let who = format!("new{step}");
                    b.alive(&who, 1);
                    unprobed.push(who);
                }
                1 if unprobed.len() + probed.len() > 3 => {
                    // Some are gone for good at once, some hear gossip for a while yet.
                    let at = b.rng.usize(0..unprobed.len() + probed.len());
                    let who = if at < unprobed.len() {
                        unprobed.swap_remove(at)
                    } else {
                        probed.swap_remove(at - unprobed.len())
                    };
                    let by = if b.rng.bool() { "x" } else { &who };
                    b.dead(&who, 1, by);
                }
                2 if !unprobed.is_empty() => {
                    let who = unprobed[b.rng.usize(0..unprobed.len())].clone();
                    b.members.probe_next(&name(&who));
                    let Bench { members, rng, .. } = &mut b;
                    assert_eq!(members.next_to_probe(rng).unwrap().name, name(&who), "seed {seed}");
                    unprobed.retain(|other| *other != who);
                    probed.push(who);
                }
                _ => {
                    if unprobed.is_empty() {
                        std::mem::swap(&mut unprobed, &mut probed);
                    }
                    let Bench { members, rng, .. } = &mut b;
                    let who = members.next_to_probe(rng).unwrap().name.to_string();
                    assert!(unprobed.contains(&who), "{who} once more, before {unprobed:?} (seed {seed})");
                    unprobed.retain(|other| *other != who);
                    probed.push(who);
                }
            }
            b.members.check_invariants();
        }
    }
}

#[test]
fn many_that_die_at_once_are_dealt_with_piece_by_piece() {
    let mut b = Bench::alone();
    for i in 0..1000 {
        let who = format!("m{i}");
        b.alive(&who, 1);
        b.suspect(&who, 1, "x");
    }
    b.forget();
    b.now += S(600);
    let mut pieces = Vec::new();
    while b.members.next_deadline() <= b.now {
        let before = b.members.failed();
        b.act(|members, now, fx| members.tick(now, fx));
        pieces.push(b.members.failed() - before);
    }
    assert_eq!(pieces, [256, 256, 256, 232]);
}

#[test]
fn nobody_answers_in_the_place_of_another() {
    let mut b = Bench::with(&["a", "b"]);
    let (target, seq) = b.next_round();
    let other = if target == "a" { "b" } else { "a" };
    assert_eq!(b.ack(other, seq), [], "a member that was not asked");
    let outcome = b.ack("another address of the host", seq);
    assert_eq!(outcome.len(), 1, "a host may answer from another of its addresses");
    // And no number follows from the one before.
    let mut numbers = Vec::new();
    for _ in 0..8 {
        let (who, seq) = b.next_round();
        b.ack(&who, seq);
        numbers.push(seq);
    }
    numbers.dedup_by(|later, earlier| later.wrapping_sub(*earlier) < 1 << 16);
    assert!(numbers.len() > 6, "{numbers:?}");
}
