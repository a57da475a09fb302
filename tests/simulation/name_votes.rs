//! Two processes with one name: the vote, and who stays.

use crate::agreement::settling_bound;
use crate::bench::{cluster, lan};
use crate::membership_laws::{Violation, loses_to_another};
use crate::world::World;
use serf::messaging::name_vote::NameLost;
use serf::model::{NodeName, Tags};
use std::time::Duration;

const S: fn(u64) -> Duration = Duration::from_secs;

/// A cluster into which a second process of the name of process 1 comes.
fn contested(n: usize, seed: u64) -> (World, usize) {
    let mut world = cluster(n, seed, lan());
    let name = world.processes[1].name.clone();
    let second = world.start(&name, world.fresh_address(), Tags::default());
    world.processes[second].joined = false;
    world.join(second, world.processes[0].addr);
    (world, second)
}

/// The one that was there first is in the majority: the other gives up, and the cluster is as it was.
#[test]
fn the_first_holder_of_a_name_keeps_it() {
    for n in [3, 5, 20] {
        for seed in 0..5 {
            let (mut world, second) = contested(n, seed);
            world.run_for(S(120));
            assert_eq!(world.tally.of("names lost"), 1, "n {n}, seed {seed}");
            assert!(world.processes[second].node.is_none(), "n {n}, seed {seed}: the newcomer gives up");
            assert!(world.processes[1].node.is_some(), "n {n}, seed {seed}");
            world.settle_within(settling_bound(&lan(), n));
        }
    }
}

/// A member that comes back at another address after a crash is no rival of itself: no vote ends it.
#[test]
fn a_restart_at_another_address_loses_no_name() {
    for seed in 0..10 {
        let mut world = cluster(8, seed, lan());
        let name = world.processes[3].name.clone();
        world.crash(3);
        let pause = Duration::from_millis(world.rng.u64(0..8000));
        world.run_for(pause);
        let again = world.start(&name, world.fresh_address(), Tags::default());
        world.join_somewhere(again);
        world.run_for(S(180));
        assert_eq!(world.tally.of("names lost"), 0, "seed {seed}");
        world.settle_within(settling_bound(&lan(), 9));
    }
}

#[test]
fn a_name_that_is_lost_to_nobody_is_noticed() {
    let addr = |n: u8| std::net::SocketAddr::from(([10, 0, 0, n], 7946));
    let name = NodeName::new("a").expect("a short name");
    let lost = NameLost { name, ours: addr(1), theirs: addr(2), matching: 0, responses: 3 };
    assert_eq!(loses_to_another(1, &lost), Ok(()));
    assert!(matches!(loses_to_another(0, &lost), Err(Violation::LostToNobody { .. })));
    let lost = NameLost { theirs: addr(1), ..lost };
    assert!(matches!(loses_to_another(1, &lost), Err(Violation::LostToNobody { .. })), "to itself");
}
