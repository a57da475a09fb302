//! Partitions: short ones heal by themselves, long ones need someone to make contact.

use crate::agreement::settling_bound;
use crate::bench::{cluster, lan, spread, told};
use crate::network::Cut;
use crate::world::World;
use serf::model::MemberEventKind::Failed;
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

const N: usize = 20;
const S: fn(u64) -> Duration = Duration::from_secs;

/// A cluster in two halves that do not hear each other for a while.
fn parted(seed: u64, length: Duration) -> World {
    let mut world = cluster(N, seed, lan());
    halve(&mut world, N, length);
    world
}

/// Puts a partition between the first half of `n` processes and the second, and lets it pass.
pub(crate) fn halve(world: &mut World, n: usize, length: Duration) {
    let (a, b): (BTreeSet<SocketAddr>, BTreeSet<SocketAddr>) = {
        let half = |pids: std::ops::Range<usize>| pids.map(|pid| world.processes[pid].addr).collect();
        (half(0..n / 2), half(n / 2..n))
    };
    world.cut(Cut { from: a.clone(), to: b.clone(), loss: 1.0 }, length);
    world.cut(Cut { from: b, to: a, loss: 1.0 }, length);
    world.run_for(length);
}

/// Shorter than the shortest suspicion (5.2 s for 20 members): whoever is suspected is reminded
/// of it when the partition ends, refutes, and nobody is failed.
#[test]
fn a_short_partition_fails_nobody() {
    for seconds in [2, 3, 4] {
        for seed in 0..20 {
            let mut world = parted(seed, S(seconds));
            world.run_for(S(20));
            assert_eq!(told(&world, Failed), [], "{seconds} s, seed {seed}");
            assert_eq!(world.agreement(), Ok(()), "{seconds} s, seed {seed}");
        }
    }
}

/// When a partition ends while some are still suspected, no more than alive on one side or the
/// other, whoever still probes across it brings the halves together.
#[test]
fn a_partition_that_ends_during_suspicion_heals_by_itself() {
    let mut took = Vec::new();
    for seed in 0..10 {
        let mut world = parted(seed, S(7));
        took.push(world.settle_within(settling_bound(&lan(), N)).as_millis());
    }
    println!("partition of 7 s: agreement after (ms) {}", spread(took));
}

/// After a partition that outlasts suspicion the halves have given each other up, and somebody
/// has to make contact; one member that joins one of the other half is enough for all. (Failed
/// members are reached for sooner or later; `recovery` shows that. Here an operator is faster.)
#[test]
fn a_long_partition_heals_with_a_rejoin() {
    let (mut contacts, mut took) = (Vec::new(), Vec::new());
    for seed in 0..10 {
        let mut world = parted(seed, S(120));
        let split = |world: &World| world.node(0).members().present() == N / 2;
        assert!(split(&world), "nobody can have made contact");
        let to = world.processes[N - 1].addr;
        let mut times = 0;
        let start = world.now;
        while split(&world) {
            world.join(0, to);
            world.run_for(S(5));
            times += 1;
            assert!(times < 5, "seed {seed}: no contact");
        }
        world.settle_within(settling_bound(&lan(), N));
        contacts.push(times);
        took.push(world.now.since(start).as_millis());
    }
    println!("partition of 120 s: contacts needed: {}", spread(contacts));
    println!("partition of 120 s: agreement after (ms) {}", spread(took));
}
