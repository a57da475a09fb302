//! The test bench of directed simulations: a cluster that has settled, and what its members
//! are told after that.

use crate::agreement::settling_bound;
use crate::process::Pid;
use crate::world::World;
use serf::membership::{Config, Profile};
use serf::model::{MemberEventKind, Moment, NodeName, Tags};
use std::time::Duration;

/// The numbers of a LAN.
pub(crate) fn lan() -> Config {
    Config::for_profile(Profile::Lan)
}

/// A world with `n` processes that know nobody, started at once.
pub(crate) fn strangers(n: usize, seed: u64, config: Config) -> World {
    let mut world = World::new(seed, config);
    for i in 0..n {
        let name = NodeName::new(format!("m{i:03}")).expect("a short name");
        world.start(&name, world.fresh_address(), Tags::default());
    }
    world
}

/// A cluster of `n` that has agreed, and a log of what is told from now on.
pub(crate) fn cluster(n: usize, seed: u64, config: Config) -> World {
    let bound = settling_bound(&config, n);
    let mut world = strangers(n, seed, config);
    for pid in 0..n {
        world.join_somewhere(pid);
        world.run_for(Duration::from_millis(20));
    }
    world.settle_within(bound);
    // Somewhere within the rhythm of probes, not always at the same point.
    let pause = Duration::from_millis(world.rng.u64(500..2500));
    world.run_for(pause);
    world.log = Some(Vec::new());
    world
}

/// One line of the log: when, who was told, what, about whom.
pub(crate) type Told = (Moment, Pid, MemberEventKind, NodeName);

/// What was told of one kind since the log was started.
pub(crate) fn told(world: &World, kind: MemberEventKind) -> Vec<Told> {
    let log = world.log.iter().flatten();
    log.filter(|(_, _, what, _)| *what == kind).cloned().collect()
}

/// Median, 99th percentile and greatest of some figures.
pub(crate) fn spread<T: Copy + Ord + std::fmt::Debug>(mut figures: Vec<T>) -> String {
    figures.sort();
    let at = |share: f64| figures[(share * (figures.len() - 1) as f64) as usize];
    format!("{:?} median, {:?} 99%, {:?} all", at(0.5), at(0.99), at(1.0))
}
