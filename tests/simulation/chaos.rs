//! Storms from many seeds: chaos, then calm, in which everyone must come to agree.
//!
//! `SERF_SIM_SEED=n` replays one seed and prints what happens, `SERF_SIM_RUNS=n` runs so many
//! more seeds of small clusters.

use crate::agreement::settling_bound;
use crate::storm::{Kind, LONGEST_DELAY, Storm, bridge};
use crate::tally::Tally;
use crate::world::World;
use serf::model::NodeName;
use std::ops::RangeInclusive;
use std::time::Duration;

/// A group of seeds with clusters of some sizes.
struct Batch {
    test: &'static str,
    seeds: std::ops::Range<u64>,
    sizes: RangeInclusive<usize>,
}

/// Says how to replay, if the run panics.
struct Replay(&'static str, u64);

impl Drop for Replay {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let Replay(test, seed) = self;
            eprintln!("seed {seed} failed; SERF_SIM_SEED={seed} cargo test --test simulation {test}");
        }
    }
}

/// Runs a batch, or the one seed that is asked for.
fn run(batch: Batch) -> Tally {
    let wanted = std::env::var("SERF_SIM_SEED").ok().map(|s| s.parse().expect("a seed is a number"));
    let seeds = match wanted {
        Some(seed) => seed..seed + 1,
        None => batch.seeds,
    };
    let (mut tally, mut settled) = (Tally::default(), Vec::new());
    for seed in seeds {
        let _replay = Replay(batch.test, seed);
        let (one, took) = run_one(seed, batch.sizes.clone());
        tally.absorb(&one);
        settled.push(took);
    }
    settled.sort();
    let at = |share: f64| settled[(share * (settled.len() - 1) as f64) as usize];
    println!(
        "{}: {} storms, agreement after {:?} (median), {:?} (99%), {:?} (all)\n{tally}",
        batch.test,
        settled.len(),
        at(0.5),
        at(0.99),
        at(1.0)
    );
    tally
}

fn run_one(seed: u64, sizes: RangeInclusive<usize>) -> (Tally, Duration) {
    let mut storm = Storm::from_seed(seed, sizes);
    let mut world = World::new(seed, storm.config.clone());
    world.trace(|| format!("{storm:?}"));
    storm.gather(&mut world);
    storm.rage(&mut world);
    world.calm();
    // What is still under way arrives: it may be the last lie of the storm.
    world.run_for(storm.config.probe_interval * (LONGEST_DELAY + 1));
    world.tally.count(if storm.kind == Kind::Mild { "mild storms" } else { "wild storms" });
    let bound = settling_bound(&storm.config, world.names());
    let before = world.tally.of("rejoins");
    let took = world.settle_with(bound, bridge);
    if world.tally.of("rejoins") == before {
        world.tally.count("storms without islands");
    }
    world.trace(|| format!("agreement after {took:?}, bound {bound:?}"));
    stays_settled(&mut world, &storm);
    for process in &world.processes {
        if process.node.is_some() {
            world.tally.add_seen(&process.observer.seen);
        }
    }
    count_damage(&mut world);
    (world.tally, took)
}

/// Agreement lasts: without faults nobody is given up, and nothing is left that could bring
/// anyone back.
fn stays_settled(world: &mut World, storm: &Storm) {
    let live: Vec<NodeName> = world.truth().into_keys().collect();
    world.log = Some(Vec::new());
    world.run_for(storm.config.probe_interval * 10);
    if let Err((who, why)) = world.agreement() {
        panic!("agreement did not last: {who} {why:?}");
    }
    for (at, pid, kind, subject) in world.log.take().unwrap_or_default() {
        assert!(!(kind.is_gone() && live.contains(&subject)), "at {at}, process {pid}: {kind} of {subject}");
    }
}

fn count_damage(world: &mut World) {
    let damage = world.network.damage;
    world.tally.add("datagrams lost", damage.lost);
    world.tally.add("datagrams duplicated", damage.duplicated);
    world.tally.add("datagrams delayed", damage.delayed);
    world.tally.add("datagrams damaged", damage.damaged);
}

/// What must have happened at least once in a batch, or it has tested nothing.
const NOT_VACUOUS: &[&str] = &[
    "acks of queries",
    "answers to queries",
    "crashes",
    "cuts",
    "datagrams beyond the socket buffer",
    "datagrams damaged",
    "datagrams delayed",
    "datagrams duplicated",
    "datagrams lost",
    "datagrams refused",
    "datagrams to nobody",
    "events fired",
    "events told by gossip",
    "events told by push/pull",
    "exchanges done",
    "force-leaves",
    "hostile datagrams",
    "joins done",
    "joins without replay",
    "member-failed",
    "member-join",
    "member-leave",
    "member-reap",
    "member-update",
    "members that came back",
    "members that left",
    "mild storms",
    "pauses",
    "pings over TCP answered",
    "pings over TCP failed",
    "prunes",
    "queries asked",
    "queries that ended early",
    "queries that timed out",
    "refutations",
    "restarts",
    "restarts at another address",
    "returns from failed or left",
    "sends refused",
    "streams failed",
    "suspicions",
    "tag changes",
    "wild storms",
];

fn small(test: &'static str, first: u64, count: u64) {
    let tally = run(Batch { test, seeds: first..first + count, sizes: 3..=30 });
    if std::env::var_os("SERF_SIM_SEED").is_none() {
        tally.demand(NOT_VACUOUS);
    }
}

#[test]
fn storms_in_small_clusters() {
    small("storms_in_small_clusters", 0, 120);
}

#[test]
fn more_storms_in_small_clusters() {
    let more = std::env::var("SERF_SIM_RUNS").ok().map(|s| s.parse().expect("a number of runs"));
    small("more_storms_in_small_clusters", 1_000, more.unwrap_or(120));
}

#[test]
fn storms_in_clusters_of_a_hundred() {
    let test = "storms_in_clusters_of_a_hundred";
    run(Batch { test, seeds: 10_000..10_003, sizes: 80..=130 });
}

#[test]
fn a_storm_in_a_cluster_of_hundreds() {
    let test = "a_storm_in_a_cluster_of_hundreds";
    run(Batch { test, seeds: 20_000..20_001, sizes: 300..=300 });
}
