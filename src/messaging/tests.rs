//! Gossip in virtual time: when news goes out, to whom, how often, and that it ends.

use super::*;
use crate::membership::tests::{Bench, MS, S, addr, alive, dead, join, leave};
use crate::model::{Moment, UserEvent};
use crate::wire::datagram::{self, Packer};
use crate::wire::message::{Alive, Message};
use crate::wire::{Shared, decode};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

fn push(g: &mut Gossip, b: &Bench, message: Message) {
    g.push(Shared::new(message), None, &b.members, b.now);
}

/// Runs until nothing is left to do; says when each datagram went out and checks its size.
fn run(g: &mut Gossip, b: &mut Bench) -> Vec<(Moment, Datagram)> {
    let mut sent = Vec::new();
    for _ in 0..100_000 {
        let at = g.next_deadline();
        if at == Moment::NEVER {
            assert!(g.queue.is_empty(), "something waits for ever");
            return sent;
        }
        b.now = b.now.max(at);
        let due = g.tick(&b.members, b.now, &mut b.rng);
        assert!(g.next_deadline() > b.now, "the same deadline twice");
        assert!(due.iter().all(|d| d.bytes.len() <= b.members.config().datagram_budget));
        sent.extend(due.into_iter().map(|d| (b.now, d)));
        g.queue.check_invariants(b.members.present());
    }
    panic!("gossip never ends");
}

fn messages(datagram: &Datagram) -> Vec<Message> {
    datagram::open(&datagram.bytes).unwrap().into_iter().map(|m| decode(m).unwrap()).collect()
}

#[test]
fn news_goes_out_on_receipt_then_on_ticks_and_ends_at_the_transmit_limit() {
    let (mut b, mut g) = (Bench::without_waves(20), Gossip::default());
    push(&mut g, &b, Message::from(dead("m0", 1, "me")));
    let start = b.now;
    let sent = run(&mut g, &mut b);
    let after: Vec<u128> = sent.iter().map(|(at, _)| at.since(start).as_millis()).collect();
    assert_eq!(after, [0, 0, 0, 200, 200, 200, 400, 400, 400, 600, 600, 600]);
    let at_once: BTreeSet<_> = sent[..3].iter().map(|(_, d)| d.to.addr).collect();
    assert_eq!(at_once.len(), 3, "three different members");
}

/// Picked afresh each time, members would be passed by: with 12 transmissions, one of 9 in four.
#[test]
fn the_transmissions_of_one_broadcast_reach_as_many_members_as_they_can() {
    for n in [3, 9, 12, 40] {
        let (mut b, mut g) = (Bench::without_waves(n), Gossip::default());
        let limit = b.members.config().transmit_limit(n + 1) as usize;
        for round in 0..20 {
            push(&mut g, &b, Message::from(alive("m0", 100 + round)));
            let reached: BTreeSet<SocketAddr> = run(&mut g, &mut b).iter().map(|(_, d)| d.to.addr).collect();
            assert_eq!(reached.len(), n.min(limit), "of {n}");
        }
    }
}

#[test]
fn news_that_comes_in_quick_succession_shares_datagrams() {
    let (mut b, mut g) = (Bench::without_waves(20), Gossip::default());
    push(&mut g, &b, Message::from(dead("m0", 1, "me")));
    assert_eq!(g.tick(&b.members, b.now, &mut b.rng).len(), 3);
    for i in 1..10 {
        push(&mut g, &b, Message::from(dead(&format!("m{i}"), 1, "me")));
        assert_eq!(g.tick(&b.members, b.now, &mut b.rng), []);
    }
    b.now += MS(5);
    let burst = g.tick(&b.members, b.now, &mut b.rng);
    assert_eq!(burst.iter().map(|d| messages(d).len()).collect::<Vec<_>>(), [9, 9, 9]);
}

#[test]
fn with_nobody_to_inform_nothing_is_kept_and_nothing_wakes() {
    let (mut b, mut g) = (Bench::alone(), Gossip::default());
    assert_eq!(g.next_deadline(), Moment::NEVER);
    g.push(Shared::new(Message::from(join("me", 1))), Some(7), &b.members, b.now);
    assert_eq!(run(&mut g, &mut b), []);
    assert_eq!(g.queue.take_finished(), [7], "the one that waits for its end is notified");
}

#[test]
fn members_that_failed_recently_are_informed_and_those_that_left_are_not() {
    let (mut b, mut g) = (Bench::with(&["failed", "left"]), Gossip::default());
    b.dead("failed", 1, "x");
    b.dead("left", 1, "left");
    push(&mut g, &b, Message::from(dead("failed", 1, "x")));
    let sent = run(&mut g, &mut b);
    assert!(!sent.is_empty() && sent.iter().all(|(_, d)| d.to.addr == addr("failed")));
    b.pass(S(31));
    push(&mut g, &b, Message::from(dead("failed", 1, "x")));
    assert_eq!(run(&mut g, &mut b), []);
}

#[test]
fn news_that_fits_no_datagram_does_not_keep_gossip_awake() {
    let mut config = crate::membership::Config::for_profile(Default::default());
    config.datagram_budget = 100;
    let (mut b, mut g) = (Bench::configured(config), Gossip::default());
    b.alive("a", 1);
    for i in 0..20 {
        push(&mut g, &b, Message::from(dead(&format!("{}{i}", "x".repeat(200)), 1, "me")));
    }
    assert_eq!(run(&mut g, &mut b), []);
}

#[test]
fn events_that_fit_no_datagram_do_not_keep_others_from_being_sent() {
    let (mut b, mut g) = (Bench::without_waves(5), Gossip::default());
    let event = |name: &str, len: usize| {
        let (ltime, name) = (crate::model::LamportTime(1), name.to_string());
        UserEvent { ltime, name: name.into(), payload: vec![0; len], coalesce: false }
    };
    push(&mut g, &b, Message::from(event("small", 10)));
    // Newer, so that they come first.
    for i in 0..20 {
        push(&mut g, &b, Message::from(event(&i.to_string(), 8_000)));
    }
    g.push(Shared::new(Message::from(event("last", 8_000))), Some(7), &b.members, b.now);
    let said: Vec<Message> = run(&mut g, &mut b).iter().flat_map(|(_, d)| messages(d)).collect();
    assert_eq!(said, vec![Message::from(event("small", 10)); 12]);
    assert_eq!(g.queue.take_finished(), [7]);
}

#[test]
fn a_large_backlog_is_worked_off_and_every_part_of_it_said_as_often_as_it_should() {
    let (mut b, mut g) = (Bench::without_waves(30), Gossip::default());
    for i in 0..3000 {
        push(&mut g, &b, Message::from(dead(&format!("member-{i}"), 1, "me")));
    }
    push(&mut g, &b, Message::from(leave("m1", 5)));
    let sent = run(&mut g, &mut b);
    let mut said: BTreeMap<String, u32> = BTreeMap::new();
    for message in sent.iter().flat_map(|(_, d)| messages(d)) {
        *said.entry(format!("{message:?}")).or_default() += 1;
    }
    assert_eq!(said.len(), 3001);
    assert!(said.values().all(|times| *times == 12));
}

#[test]
fn what_is_piggybacked_counts_as_said() {
    let (mut b, mut g) = (Bench::without_waves(1), Gossip::default());
    push(&mut g, &b, Message::from(dead("x", 1, "me")));
    for _ in 0..12 {
        assert_eq!(g.piggyback(1000, &b.members).len(), 1);
    }
    assert_eq!(run(&mut g, &mut b), []);
}

/// News about a few members, of any size that there is.
fn news() -> impl Strategy<Value = Message> {
    ("[a-e]{1,2}", 0usize..220, 0usize..512, 1u32..4, 0u8..5).prop_map(|(n, long, meta, inc, what)| {
        let node = format!("{n}{}", "x".repeat(long));
        match what {
            0 => Message::from(Alive { meta: vec![0; meta], ..alive(&node, inc) }),
            1 => Message::from(dead(&node, inc, "me")),
            2 => Message::from(crate::membership::tests::suspect(&node, inc, "me")),
            3 => Message::from(join(&node, u64::from(inc))),
            _ => Message::from(leave(&node, u64::from(inc))),
        }
    })
}

proptest! {
    #[test]
    fn gossip_ends_and_never_exceeds_the_budget(
        news in proptest::collection::vec((news(), 0u64..300), 1..60),
        members in 0usize..20,
        budget in 30usize..1500,
    ) {
        let mut config = crate::membership::Config::for_profile(Default::default());
        config.datagram_budget = budget;
        let (mut b, mut g) = (Bench::configured(config), Gossip::default());
        for i in 0..members {
            b.alive(&format!("m{i}"), 1);
        }
        for (message, pause) in news {
            push(&mut g, &b, message);
            b.now += MS(pause);
            for datagram in g.tick(&b.members, b.now, &mut b.rng) {
                prop_assert!(datagram.bytes.len() <= budget);
            }
        }
        run(&mut g, &mut b);
    }

    #[test]
    fn the_queue_keeps_its_invariants_and_reports_the_end_of_each_broadcast_once(
        steps in proptest::collection::vec((news(), any::<bool>(), 20usize..1500, 1u32..5, 1u32..9), 1..80),
    ) {
        let mut queue = BroadcastQueue::default();
        let (mut tickets, mut finished) = (0, Vec::new());
        for (message, fill, budget, sent_below, limit) in steps {
            if fill {
                let mut packer = Packer::new(budget);
                queue.fill(&mut packer, crate::wire::Dialect::Native, sent_below, limit);
                prop_assert!(packer.is_empty() || packer.finish().len() <= budget);
            } else {
                queue.push(Shared::new(message), Some(tickets), 5);
                tickets += 1;
            }
            queue.check_invariants(5);
            finished.extend(queue.take_finished());
        }
        queue.clear();
        queue.check_invariants(5);
        finished.extend(queue.take_finished());
        finished.sort_unstable();
        prop_assert_eq!(finished, (0..tickets).collect::<Vec<_>>());
    }
}
