//! A hundred thousand names that come and go: what a member keeps of them stays bounded.

use crate::bench::lan;
use fastrand::Rng;
use serf::membership::{Config, Effects, MAX_INTENTS, MAX_TOMBSTONES, Members, SelfDescription};
use serf::messaging::{BroadcastQueue, Kind};
use serf::model::{Incarnation, LamportTime, Moment, NodeName, Tags, Versions};
use serf::wire::message::{Alive, Dead, JoinIntent, LeaveIntent};
use serf::wire::stream::{self, MAX_FRAME, StreamMessage};
use serf::wire::{Dialect, Shared};
use std::time::Duration;

const NAMES: u32 = 100_000;

fn member(config: Config, now: Moment) -> Members {
    let name = NodeName::new("me").expect("a short name");
    let me =
        SelfDescription { name, addr: "10.255.0.1:7946".parse().expect("an address"), tags: Tags::default() };
    Members::new(config, me, now, &mut Effects::default()).expect("no tags")
}

/// Lets the table do all that is due at a moment: it does much of it piece by piece.
fn settle(members: &mut Members, now: Moment) {
    for _ in 0..100 {
        members.tick(now, &mut Effects::default());
    }
}

/// Every tenth of a second another short-lived name: it joins, is here for a few others' time,
/// then half of them leave and half of them fail.
#[test]
fn a_hundred_thousand_names_leave_a_bounded_trace() {
    let mut now = Moment::ZERO + Duration::from_secs(1);
    let mut members = member(lan(), now);
    let mut queue = BroadcastQueue::default();
    let meta = Tags::from_pairs(["role=batch", "zone=a"]).and_then(|t| t.encode()).expect("small tags");
    let name = |i: u32| NodeName::new(format!("batch-{i:06}")).expect("a short name");
    let (mut most_rows, mut most_bytes, mut events) = (0, 0, 0);
    for i in 0..NAMES {
        now += Duration::from_millis(100);
        let mut fx = Effects::default();
        let [a, b, c] = [(i >> 16) as u8, (i >> 8) as u8, i as u8];
        let addr = std::net::SocketAddr::from(([10, a, b, c], 7946));
        let (incarnation, versions) = (Incarnation(1), Versions::OURS);
        let alive = Alive { incarnation, node: name(i), addr, meta: meta.clone(), versions };
        let ltime = LamportTime(u64::from(2 * i + 10));
        members.alive(&alive, now, &mut fx);
        members.join_intent(&JoinIntent { ltime, node: name(i) }, now, &mut fx);
        if let Some(gone) = i.checked_sub(20) {
            let leaves = gone % 2 == 0;
            if leaves {
                let intent = LeaveIntent { ltime: ltime.next(), node: name(gone), prune: false };
                members.leave_intent(&intent, now, &mut fx);
            }
            let from = name(if leaves { gone } else { i });
            members.dead(&Dead { incarnation, node: name(gone), from }, now, &mut fx);
        }
        members.tick(now, &mut fx);
        events += fx.events.len();
        for message in fx.broadcasts {
            queue.push(Shared::new(message), None, members.present());
        }
        most_rows = most_rows.max(members.len());
        if i % 5000 == 0 {
            members.check_invariants();
            queue.check_invariants(members.present());
            let state = StreamMessage::PushPull(members.push_pull(false, Default::default()));
            most_bytes = most_bytes.max(stream::encode(Dialect::Native, &state).len());
        }
    }
    let queued = queue.len(Kind::Membership) + queue.len(Kind::Intent);
    println!(
        "{NAMES} names: {events} events; at most {most_rows} rows and {most_bytes} bytes in a push/pull"
    );
    println!("{NAMES} names: {queued} broadcasts queued, {} early intents", members.early_intents());
    // Those who are here, this process, and one that is admitted before the oldest is forgotten.
    assert!(most_rows <= MAX_TOMBSTONES + 22, "{most_rows}");
    assert!(most_bytes < MAX_FRAME / 8, "{most_bytes}");
    assert_eq!(members.failed() + members.left(), MAX_TOMBSTONES);
    assert!(events > 2 * NAMES as usize);
}

/// With timeouts that come to pass, what is kept of a hundred thousand names does not grow with
/// their number, and nothing is left when the last has been forgotten.
#[test]
fn memory_and_push_pull_stay_flat_when_tombstones_expire() {
    let timeout = Duration::from_secs(100);
    let config = Config { reconnect_timeout: timeout, tombstone_timeout: timeout * 2, ..lan() };
    let (mut rng, mut now) = (Rng::with_seed(2), Moment::ZERO + Duration::from_secs(1));
    let mut members = member(config.clone(), now);
    let bytes = |members: &Members| {
        let state = StreamMessage::PushPull(members.push_pull(false, Default::default()));
        stream::encode(Dialect::Native, &state).len()
    };
    let (entries, size) = (members.entries(), bytes(&members));
    let meta = Tags::from_pairs(["role=batch", "zone=a"]).and_then(|t| t.encode()).expect("small tags");
    let name = |i: u32| NodeName::new(format!("batch-{i:06}")).expect("a short name");
    let (mut figures, mut fx) = (Vec::new(), Effects::default());
    for i in 0..NAMES {
        now += Duration::from_millis(100);
        fx = Effects::default();
        let [a, b, c] = [(i >> 16) as u8, (i >> 8) as u8, i as u8];
        let addr = std::net::SocketAddr::from(([10, a, b, c], 7946));
        let (incarnation, versions) = (Incarnation(1), Versions::OURS);
        let ltime = LamportTime(u64::from(2 * i + 10));
        // Intents of some overtake their members, and some are told of who never appears.
        members.join_intent(&JoinIntent { ltime, node: name(i) }, now, &mut fx);
        let alive = Alive { incarnation, node: name(i), addr, meta: meta.clone(), versions };
        members.alive(&alive, now, &mut fx);
        if i % 10 == 0 {
            members.join_intent(&JoinIntent { ltime, node: name(NAMES + i) }, now, &mut fx);
        }
        if let Some(gone) = i.checked_sub(20) {
            let leaves = gone % 2 == 0;
            if leaves {
                let prune = gone % 20 == 0;
                let intent = LeaveIntent { ltime: ltime.next(), node: name(gone), prune };
                members.leave_intent(&intent, now, &mut fx);
            }
            let from = name(if leaves { gone } else { i });
            members.dead(&Dead { incarnation, node: name(gone), from }, now, &mut fx);
            // A straggler still believes in someone who has been reaped.
            // (Operators who prune want no trace of it, and that has its price.)
            if let Some(ghost) = gone.checked_sub(1500).filter(|ghost| ghost % 20 != 0) {
                let addr = members.my_row().addr;
                let alive = Alive { incarnation, node: name(ghost), addr, meta: meta.clone(), versions };
                let present = members.present();
                members.alive(&alive, now, &mut fx);
                assert_eq!(members.present(), present, "{ghost} haunts");
            }
        }
        if i % 10 == 0 {
            members.next_to_probe(&mut rng);
        }
        members.tick(now, &mut fx);
        if i % 10_000 == 9_999 {
            members.check_invariants();
            figures.push((members.entries(), bytes(&members)));
        }
    }
    println!("{NAMES} names, forgotten after {timeout:?}: (entries, push/pull bytes) {figures:?}");
    let (least, most) = (figures.iter().min().expect("figures"), figures.iter().max().expect("figures"));
    assert!(most.0 < least.0 + least.0 / 10, "entries grow: {figures:?}");
    let (least, most) = (figures.iter().map(|f| f.1).min(), figures.iter().map(|f| f.1).max());
    assert!(most < least.map(|least| least + least / 10), "push/pull grows: {figures:?}");

    // The last ones go, then nothing is left of them all.
    for gone in NAMES - 20..NAMES {
        let (incarnation, node) = (Incarnation(1), name(gone));
        members.dead(&Dead { incarnation, from: node.clone(), node }, now, &mut fx);
    }
    now += timeout * 2;
    settle(&mut members, now);
    assert_eq!(members.len(), 1);
    now += config.reaped_memory(1).max(config.recent_intent_timeout) + Duration::from_secs(1);
    settle(&mut members, now);
    assert_eq!(members.entries(), entries);
    // The Lamport time takes a few bytes more than in the beginning.
    assert!((size..size + 8).contains(&bytes(&members)));
}

/// Intents about names that never appear are kept, but not without bound.
#[test]
fn intents_about_nobody_are_bounded() {
    let now = Moment::ZERO + Duration::from_secs(1);
    let mut members = member(lan(), now);
    for i in 0..NAMES / 5 {
        let node = NodeName::new(format!("nobody-{i}")).expect("a short name");
        let intent = JoinIntent { ltime: LamportTime(u64::from(i)), node };
        members.join_intent(&intent, now, &mut Effects::default());
    }
    assert_eq!(members.early_intents(), MAX_INTENTS);
    members.check_invariants();
    settle(&mut members, now + lan().recent_intent_timeout * 2);
    assert_eq!(members.early_intents(), 0);
}
