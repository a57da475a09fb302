//! Recovery: partitions that outlast every memory, seeds that are tried when someone is missing
//! and only then, and ghosts that must not walk.

use crate::agreement::settling_bound;
use crate::bench::{cluster, lan, spread, told};
use crate::network::Weather;
use crate::partitions::halve;
use crate::process::Pid;
use crate::world::World;
use serf::membership::{Config, Origin};
use serf::model::MemberEventKind::{Failed, Join, Leave, Reap};
use serf::model::NodeName;
use serf::node::Node;
use std::time::Duration;

const N: usize = 12;
const S: fn(u64) -> Duration = Duration::from_secs;

/// A LAN that forgets whoever is gone after a time.
fn forgetful(timeout: Duration) -> Config {
    Config { reconnect_timeout: timeout, tombstone_timeout: timeout, ..lan() }
}

/// A cluster whose members, the seed aside, keep the address of process 0.
fn seeded(n: usize, seed: u64, config: Config) -> World {
    let mut world = cluster(n, seed, config);
    let addr = world.processes[0].addr.to_string();
    for pid in 1..n {
        world.act(pid, |node, _, _| node.keep_seeds(vec![addr.clone()], Origin::Configured));
    }
    world
}

fn asked(world: &World) -> Vec<u32> {
    world.processes.iter().filter(|p| p.node.is_some()).map(|p| p.lookups).collect()
}

/// How many members everyone knows, failed ones included.
fn known(world: &World) -> Vec<usize> {
    let live = world.processes.iter().filter_map(|p| p.node.as_ref());
    live.map(|node| node.members().len()).collect()
}

/// A partition that outlasts suspicion, but not the memory of the failed: they are reached for.
/// Each of the ten on one side tries one of the ten on the other in an interval, and one contact
/// is enough.
#[test]
fn failed_members_are_found_again_without_seeds() {
    let mut took = Vec::new();
    for seed in 0..10 {
        let mut world = cluster(20, seed, lan());
        halve(&mut world, 20, S(300));
        assert_eq!(world.node(0).members().present(), 10, "seed {seed}");
        took.push(world.settle_within(S(60) + settling_bound(&lan(), 20)).as_millis());
    }
    println!("partition of 300 s, no seeds: agreement after (ms) {}", spread(took));
}

/// A partition that outlasts every memory: no side knows of the other any more, none is alone,
/// nobody has failed. The side without the seed keeps trying its address; the other need not.
#[test]
fn a_partition_longer_than_the_reconnect_timeout_heals_through_a_seed() {
    let mut took = Vec::new();
    for seed in 0..6 {
        let config = forgetful(S(60));
        let mut world = seeded(N, seed, config.clone());
        world.run_for(S(600));
        let before = asked(&world);
        // Long enough that not even the memory of the reaped is left.
        halve(&mut world, N, S(3 * 3600));
        assert_eq!(known(&world), [N / 2; N], "seed {seed}: each half knows itself alone");
        for pid in 0..N {
            assert_eq!((world.node(pid).members().failed(), world.node(pid).members().remembered()), (0, 0));
        }
        let during: Vec<u32> =
            asked(&world).iter().zip(before).map(|(after, before)| after - before).collect();
        // There are 360 intervals; a sixth of them each, in the mean.
        for pid in N / 2..N {
            assert!((30..100).contains(&during[pid]), "seed {seed}: {during:?}");
        }
        assert!(during[..N / 2].iter().all(|asked| *asked < 10), "seed {seed}: {during:?}");
        let bound = config.reconnect_interval * 10 + settling_bound(&config, N);
        took.push(world.settle_within(bound).as_millis());
    }
    println!("partition of 3 h, forgotten after 60 s, one seed: agreement after (ms) {}", spread(took));
}

/// A partition after which the other half has been reaped, but is still remembered: each first
/// learns that it is believed dead, and says that it is not.
#[test]
fn a_partition_within_the_memory_of_the_reaped_heals_as_well() {
    let mut took = Vec::new();
    for seed in 0..10 {
        let config = forgetful(S(5));
        let mut world = seeded(N, seed, config.clone());
        halve(&mut world, N, S(120));
        assert_eq!(known(&world), [N / 2; N], "seed {seed}");
        assert!(world.node(0).members().remembered() > 0, "seed {seed}");
        let bound = config.reconnect_interval * 10 + settling_bound(&config, N);
        took.push(world.settle_within(bound).as_millis());
    }
    println!("partition of 120 s, forgotten after 5 s, one seed: agreement after (ms) {}", spread(took));
}

/// The same without seeds stays split: it is the seeds that heal.
#[test]
fn without_seeds_such_a_partition_stays() {
    let mut world = cluster(N, 1, forgetful(S(60)));
    halve(&mut world, N, S(3600));
    world.run_for(S(3600));
    assert_eq!(known(&world), [N / 2; N]);
}

/// Seeds are looked up once, found to be present, and left alone; one that is gone is tried by all
/// together about once in an interval.
#[test]
fn seeds_are_tried_only_when_someone_is_missing_and_at_a_bounded_pace() {
    let mut world = seeded(N, 3, lan());
    world.run_for(S(3600));
    let quiet = asked(&world);
    assert!(quiet.iter().skip(1).all(|asked| *asked == 1), "looked up once each: {quiet:?}");
    assert_eq!((quiet[0], world.tally.of("reached for the missing")), (0, 0));

    world.crash(0);
    world.run_for(S(30 * 100));
    let tries = world.tally.of("reached for the missing");
    println!("a seed that is gone: {tries} attempts of {} members in 100 intervals", N - 1);
    // About once as a seed and once as a failed member.
    assert!((120..350).contains(&tries), "{tries}");
}

/// Who is left alone finds the others again through its seed, although they have forgotten it and
/// it them.
#[test]
fn who_is_alone_comes_back_through_its_seed() {
    for seed in 0..10 {
        let config = forgetful(S(30));
        let mut world = seeded(5, seed, config.clone());
        let lonely = 4;
        let one = [world.processes[lonely].addr].into();
        let others: std::collections::BTreeSet<_> =
            world.processes[..lonely].iter().map(|p| p.addr).collect();
        let cut = |from: &std::collections::BTreeSet<_>, to: &std::collections::BTreeSet<_>| {
            crate::network::Cut { from: from.clone(), to: to.clone(), loss: 1.0 }
        };
        world.cut(cut(&one, &others), S(3600));
        world.cut(cut(&others, &one), S(3600));
        world.run_for(S(3600));
        assert_eq!(known(&world), [4, 4, 4, 4, 1], "seed {seed}");
        world.settle_within(config.reconnect_interval * 2 + settling_bound(&config, 5));
    }
}

/// The law of ghosts: whoever is gone is not told to join again by anyone, however short the
/// memory of the operators is; nobody keeps anything of them in the end; and a member that was
/// stopped for longer than that memory comes back.
#[test]
fn the_dead_do_not_walk() {
    let mut stragglers = 0;
    for seed in 0..12 {
        let timeout = [S(0), S(1), S(5), S(20)][seed as usize % 4];
        let config = forgetful(timeout);
        let mut world = cluster(20, seed, config.clone());
        // One does not hear that the others go: it is stopped when they do.
        let straggler: Pid = 0;
        world.weather(Weather { loss: 0.15, ..Weather::default() }, S(300));
        world.pause(straggler, S(90));
        let mut gone: Vec<NodeName> = Vec::new();
        for pid in 1..7 {
            gone.push(world.processes[pid].name.clone());
            if pid % 2 == 0 {
                world.crash(pid);
            } else {
                world.act(pid, Node::leave);
            }
            world.run_for(S(5));
        }
        world.run_for(S(60));
        stragglers += gone.iter().filter(|name| world.node(straggler).members().row(name).is_some()).count();
        world.run_for(S(600));
        world.settle_within(settling_bound(&config, 20));
        // Past the memory of the reaped as well.
        world.run_for(config.reaped_memory(20) + S(600));
        assert_eq!(world.agreement(), Ok(()), "seed {seed}");
        let walking: Vec<_> =
            told(&world, Join).into_iter().filter(|(_, _, _, subject)| gone.contains(subject)).collect();
        assert_eq!(walking, [], "seed {seed}, forgotten after {timeout:?}");
        assert!(told(&world, Reap).len() >= 6 * 13, "seed {seed}: they were reaped");
        assert!(told(&world, Failed).len() + told(&world, Leave).len() >= 6 * 13, "seed {seed}");
        assert_eq!(known(&world), [14; 14], "seed {seed}");
        for pid in world.pick(|p| p.node.is_some()) {
            assert_eq!(world.node(pid).members().remembered(), 0, "seed {seed}");
        }
    }
    assert!(stragglers >= 12 * 5, "the straggler must still have believed in them: {stragglers}");
}
