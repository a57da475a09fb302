//! Snapshots: a process that crashes starts again from its file, finds the others without being told
//! where they are, and delivers nothing again.

use crate::agreement::settling_bound;
use crate::bench::{cluster, lan};
use crate::process::Pid;
use crate::world::{Start, World};
use serf::model::NodeName;
use serf::node::Node;
use std::time::Duration;

const N: usize = 8;
const S: fn(u64) -> Duration = Duration::from_secs;

/// Starts the process again from what is in its snapshot file.
pub(crate) fn restart(world: &mut World, pid: Pid) -> Pid {
    let process = &world.processes[pid];
    let (name, addr, snapshot): (NodeName, _, _) =
        (process.name.clone(), process.addr, process.snapshot.clone());
    let again = world.start_with(&name, addr, Start { snapshot, ..Start::default() });
    world.processes[again].joined = true;
    again
}

/// Events before, during and after; whoever is down for them hears them afterwards, and nothing that
/// was delivered is delivered again (the world checks the latter at each delivery).
#[test]
fn a_crashed_member_rejoins_by_its_snapshot_and_hears_what_it_missed_once() {
    for seed in 0..10 {
        let mut world = cluster(N, seed, lan());
        for number in 0..5u8 {
            world.fire(0, "before", &[number], false);
            world.run_for(Duration::from_millis(300));
        }
        world.run_for(S(5));
        world.crash(3);
        for number in 0..5u8 {
            world.fire(1, "while down", &[number], false);
            world.run_for(Duration::from_millis(300));
        }
        let again = restart(&mut world, 3);
        world.settle_within(settling_bound(&lan(), N));
        world.fire(2, "after", &[], false);
        world.run_for(S(40));
        assert_eq!(world.node(again).members().present(), N, "seed {seed}: it knows everyone");
        assert_eq!(world.processes[again].listener.heard("while down"), 5, "seed {seed}");
        assert_eq!(world.processes[again].listener.heard("after"), 1, "seed {seed}");
        assert_eq!(world.processes[again].listener.heard("before"), 0, "seed {seed}");
    }
}

/// What a leave leaves behind is nobody to rejoin.
#[test]
fn a_member_that_left_stays_away() {
    let mut world = cluster(N, 3, lan());
    world.act(2, Node::leave);
    world.run_for(S(20));
    assert!(world.processes[2].node.is_none());
    let again = restart(&mut world, 2);
    world.run_for(S(60));
    assert_eq!(world.node(again).members().present(), 1);
    assert_eq!(world.processes[again].recalled().alive().count(), 1, "itself");
}

/// All crash at once and start again: each finds someone, and they agree.
#[test]
fn after_a_power_failure_everyone_finds_the_others() {
    for seed in 0..5 {
        let mut world = cluster(N, seed, lan());
        world.run_for(S(5));
        (0..N).for_each(|pid| world.crash(pid));
        for pid in 0..N {
            restart(&mut world, pid);
            let pause = Duration::from_millis(world.rng.u64(0..2000));
            world.run_for(pause);
        }
        world.settle_within(settling_bound(&lan(), N) + S(60));
    }
}
