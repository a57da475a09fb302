//! What handlers hear: member events and user events after coalescing.

use crate::bench::{cluster, lan, strangers};
use crate::delivery_laws::{Record, Told};
use crate::network::Weather;
use crate::process::Pid;
use crate::world::World;
use serf::messaging::coalesce::{COALESCE_PERIOD, QUIESCENT_PERIOD};
use serf::model::{LamportTime, Moment, UserEvent};
use serf::node::Node;
use std::collections::BTreeMap;
use std::time::Duration;

const S: fn(u64) -> Duration = Duration::from_secs;

/// When nothing happens any more, handlers have heard of every member what happened to it last, and
/// never the same twice in a row (the world checks the latter after each delivery).
#[test]
fn handlers_hear_of_every_member_what_happened_last() {
    for seed in 0..6 {
        let mut world = cluster(12, seed, lan());
        world.weather(Weather { loss: 0.1, ..Weather::default() }, S(60));
        for pid in 1..7 {
            match pid % 3 {
                0 => world.crash(pid),
                1 => drop(world.act(pid, Node::leave)),
                _ => world.pause(pid, S(25)),
            }
            let pause = Duration::from_millis(world.rng.u64(0..4000));
            world.run_for(pause);
        }
        world.run_for(S(120));
        let before = world.tally.of("deliveries of member events");
        assert!(before > 0);
        for pid in world.pick(|p| p.stays()) {
            let verdict = world.processes[pid].observer.delivered_all();
            world.obey(pid, verdict);
        }
    }
}

/// Fifty members that come at once are a few deliveries, not fifty.
#[test]
fn a_burst_of_joins_is_coalesced() {
    const N: usize = 50;
    let mut world = strangers(N, 1, lan());
    for pid in 0..N {
        world.join_somewhere(pid);
    }
    world.run_for(COALESCE_PERIOD + QUIESCENT_PERIOD + S(5));
    let (joins, deliveries) = (world.tally.of("member-join"), world.tally.of("deliveries of member events"));
    println!("{joins} joins of {N} members in {deliveries} deliveries");
    assert_eq!(joins, (N * N) as u64);
    // The first at once, then one for each coalesce period.
    assert!(deliveries <= (N * 6) as u64, "{deliveries}");
}

/// Of user events that may be coalesced, each burst delivers the latest; what may not be coalesced is
/// all delivered.
#[test]
fn a_burst_of_user_events_delivers_the_latest_to_everyone() {
    const N: usize = 10;
    for seed in 0..5 {
        let mut world = cluster(N, seed, lan());
        world.record = Some(Record::default());
        for number in 0u8..40 {
            world.fire(usize::from(number) % N, "restart", &[number], true);
            world.fire(3, "log", &[number], false);
            world.run_for(Duration::from_millis(60));
        }
        world.run_for(COALESCE_PERIOD + S(40));
        let heard = heard(&world);
        let latest = heard.values().flatten().filter(|e| e.name == "restart").map(|e| e.ltime).max();
        for pid in 0..N {
            let named = |name: &str| heard[&pid].iter().filter(|e| e.name == name).collect::<Vec<_>>();
            let restarts: Vec<LamportTime> = named("restart").iter().map(|e| e.ltime).collect();
            assert_eq!(named("log").len(), 40, "seed {seed}, process {pid}");
            // 2.4 s of them, and one more burst for what comes late.
            assert!((1..=8).contains(&restarts.len()), "seed {seed}, process {pid}: {restarts:?}");
            assert_eq!(restarts.iter().max().copied(), latest, "seed {seed}, process {pid}");
        }
    }
}

fn heard(world: &World) -> BTreeMap<Pid, Vec<UserEvent>> {
    let mut heard: BTreeMap<Pid, Vec<UserEvent>> = BTreeMap::new();
    for (_, pid, told) in &world.record.as_ref().expect("a record is kept").told {
        if let Told::Event(event, _) = told {
            heard.entry(*pid).or_default().push(event.clone());
        }
    }
    heard
}

/// A member that leaves is known to have left by everyone, and failed for nobody; its process ends
/// when that is so, and not before.
#[test]
fn a_member_that_leaves_has_left_for_everyone_when_its_process_ends() {
    use serf::model::MemberEventKind::{Failed, Leave};
    for n in [2, 5, 30] {
        for seed in 0..5 {
            let mut world = cluster(n, seed, lan());
            let start: Moment = world.now;
            world.act(1, Node::leave);
            while world.processes[1].node.is_some() {
                world.run_for(Duration::from_millis(100));
                assert!(world.now.since(start) < S(12), "n {n}, seed {seed}: it never ends");
            }
            let others = n - 1;
            assert_eq!(crate::bench::told(&world, Leave).len(), others + 1, "n {n}, seed {seed}");
            world.run_for(S(60));
            assert_eq!(crate::bench::told(&world, Failed), [], "n {n}, seed {seed}");
        }
    }
}

/// Alone, there is nobody to wait for.
#[test]
fn a_member_that_is_alone_leaves_at_once() {
    let mut world = strangers(1, 1, lan());
    world.act(0, Node::leave);
    world.run_for(Duration::ZERO);
    assert!(world.processes[0].node.is_none());
}
