//! Many members that join at once through one.

use crate::bench::{cluster, lan, spread, strangers};
use serf::membership::Config;
use serf::model::{NodeName, Tags};
use std::time::Duration;

/// Fifty processes join through the first within half a second. Whatever the first had not heard
/// when it answered, and gossip has missed, is told by the second exchange, 1 to 3 s after the
/// join, or by one that a differing digest asks for.
#[test]
fn fifty_that_join_at_once_all_know_each_other() {
    measure("as it is", lan());
    measure("with memberlist's transmit limit", Config { retransmit_min_scale: 1, ..lan() });
}

fn measure(what: &str, config: Config) {
    const N: usize = 50;
    let (mut took, mut after_one) = (Vec::new(), Vec::new());
    for seed in 0..20 {
        let mut world = strangers(N, seed, config.clone());
        let first = world.processes[0].addr;
        world.processes[0].joined = true;
        for pid in 1..N {
            world.join(pid, first);
            world.run_for(Duration::from_millis(10));
        }
        let start = world.now;
        world.run_for(Duration::from_secs(1));
        let complete = |pid: &usize| world.node(*pid).members().present() == N;
        after_one.push(N - (0..N).filter(complete).count());
        world.settle_within(Duration::from_secs(5));
        took.push(world.now.since(start).as_millis());
    }
    println!("{N} join at once, {what}: members that lack someone after 1 s: {}", spread(after_one));
    println!("{N} join at once, {what}: all know all after (ms) {}", spread(took));
}

/// What a newcomer hears first is all, or some; in between lies one row.
#[test]
fn a_newcomer_knows_all_at_once_whatever_they_are() {
    for n in 64..68 {
        for seed in 0..4 {
            let mut world = cluster(n, seed, lan());
            let name = NodeName::new("newcomer").expect("a short name");
            let newcomer = world.start(&name, world.fresh_address(), Tags::default());
            world.join_somewhere(newcomer);
            world.run_for(Duration::from_millis(200));
            assert_eq!(world.node(newcomer).members().present(), n + 1, "{n} members, seed {seed}");
        }
    }
}
