//! A hundred thousand names that come and go: what a member keeps of them stays bounded.

use crate::directed::lan;
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

/// Every tenth of a second another short-lived name: it joins, is here for a few others' time,
/// then half of them leave and half of them fail.
#[test]
fn a_hundred_thousand_names_leave_a_bounded_trace() {
    let (mut rng, mut now) = (Rng::with_seed(1), Moment::ZERO + Duration::from_secs(1));
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
        members.alive(&alive, now, &mut rng, &mut fx);
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
    members.tick(now + lan().recent_intent_timeout * 2, &mut Effects::default());
    assert_eq!(members.early_intents(), 0);
}
