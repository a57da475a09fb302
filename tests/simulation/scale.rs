//! How what a member does, and how soon all know, depends on how many they are. `scripts/simulate` prints the table.

// What the rules cost in real time is measured; nothing depends on it.
#![allow(clippy::disallowed_methods)]

use crate::bench::{cluster, lan};
use crate::delivery_laws::Record;
use crate::hearing::{complete, hearing};
use crate::network::Weather;
use crate::process::Pid;
use crate::world::World;
use serf::model::{MemberEventKind, NodeName, Status, Tags};
use std::time::{Duration, Instant};

/// How long nothing happens, to see what that costs.
const QUIET: Duration = Duration::from_secs(60);
/// How long anything may take to be known to all.
const PATIENCE: Duration = Duration::from_secs(120);

/// What a cluster of one size does.
struct Figures {
    members: usize,
    loss: f64,
    join: Duration,
    event: Duration,
    crash: Duration,
    leave: Duration,
    /// Datagrams, and their bytes, a member and second while nothing happens.
    datagrams: f64,
    bytes: f64,
    /// Exchanges a member and minute.
    exchanges: f64,
    /// Microseconds of processor time a member and second, of the rules and of the simulator.
    cpu: f64,
    false_failures: usize,
}

impl Figures {
    fn row(&self) -> String {
        let time = |time: Duration| match time.as_secs_f64() {
            seconds if seconds < 1.0 => format!("{:.0} ms", seconds * 1e3),
            seconds => format!("{seconds:.1} s"),
        };
        let times = [self.join, self.event, self.crash, self.leave].map(time).join(" | ");
        format!(
            "| {} | {:.0} % | {times} | {:.1} | {:.0} | {:.2} | {:.0} | {} |",
            self.members,
            self.loss * 100.0,
            self.datagrams,
            self.bytes,
            self.exchanges,
            self.cpu,
            self.false_failures
        )
    }
}

const HEAD: &str = "\
| members | loss | join | event | crash | leave | datagrams | bytes | exchanges | CPU (µs) | false failures |
| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |";

/// Lets time pass until something holds for every member that stays. How long that took.
fn until(world: &mut World, what: &str, holds: impl Fn(&World, Pid) -> bool) -> Duration {
    let start = world.now;
    loop {
        let staying = world.pick(|process| process.stays());
        let missing = staying.iter().filter(|pid| !holds(world, **pid)).count();
        let took = world.now.since(start);
        if missing == 0 {
            return took;
        }
        assert!(took < PATIENCE, "{what}: {missing} of {} do not know after {took:?}", staying.len());
        // Finer in the beginning.
        world.run_for((took / 20).max(Duration::from_millis(1)));
    }
}

fn status(world: &World, pid: Pid, of: &NodeName) -> Option<Status> {
    world.node(pid).members().row(of).map(|row| row.status())
}

fn measure(members: usize, loss: f64) -> Figures {
    let mut world = cluster(members, 1, lan());
    world.network.weather = Weather { loss, ..Weather::default() };
    world.record = Some(Record::default());
    let counts = |world: &World| {
        ["datagrams sent", "bytes sent in datagrams", "exchanges done"].map(|what| world.tally.of(what))
    };
    let (before, start) = (counts(&world), Instant::now());
    world.run_for(QUIET);
    let (after, spent) = (counts(&world), start.elapsed());
    let each = |at: usize| (after[at] - before[at]) as f64 / members as f64;

    world.fire(members / 2, "deploy", b"x", false);
    let start = world.now;
    let mut event = Duration::ZERO;
    while complete(&hearing(&world), 1, members).is_err() {
        assert!(event < PATIENCE, "an event is not heard by all after {event:?}");
        world.run_for((event / 20).max(Duration::from_millis(1)));
        event = world.now.since(start);
    }

    let name = NodeName::new("newcomer").expect("a short name");
    let newcomer = world.start(&name, world.fresh_address(), Tags::default());
    world.join_somewhere(newcomer);
    let known = members + 1;
    let join = until(&mut world, "a join", |world, pid| world.node(pid).members().present() == known);
    world.run_for(Duration::from_secs(5));

    world.act(newcomer, |node, now, out| node.leave(now, out));
    let leave = until(&mut world, "a leave", |world, pid| status(world, pid, &name) == Some(Status::Left));

    let victim = members / 3;
    let name = world.processes[victim].name.clone();
    world.crash(victim);
    let crash = until(&mut world, "a crash", |world, pid| status(world, pid, &name) == Some(Status::Failed));

    let log = world.log.iter().flatten();
    let failures = log.filter(|(_, _, kind, who)| *kind == MemberEventKind::Failed && *who != name);
    Figures {
        members,
        loss,
        join,
        event,
        crash,
        leave,
        datagrams: each(0) / QUIET.as_secs_f64(),
        bytes: each(1) / QUIET.as_secs_f64(),
        exchanges: each(2) * 60.0 / QUIET.as_secs_f64(),
        cpu: spent.as_secs_f64() * 1e6 / QUIET.as_secs_f64() / members as f64,
        false_failures: failures.count(),
    }
}

/// The numbers in a variable of the environment, by which `scripts/simulate` says what it wants.
fn numbers(variable: &str, otherwise: &str) -> Vec<usize> {
    let text = std::env::var(variable).unwrap_or_else(|_| otherwise.to_string());
    text.split_whitespace().map(|number| number.parse().expect("a number")).collect()
}

#[test]
fn what_a_member_does_does_not_grow_with_the_cluster() {
    println!("{HEAD}");
    for members in numbers("SERF_SIM_MEMBERS", "10 60") {
        for loss in numbers("SERF_SIM_LOSS", "0 5") {
            let figures = measure(members, loss as f64 / 100.0);
            println!("{}", figures.row());
            let Figures { datagrams, exchanges, event, crash, leave, false_failures, .. } = figures;
            assert_eq!(false_failures, 0);
            assert!(datagrams < 5.0 && exchanges < 6.0, "{datagrams} datagrams, {exchanges} exchanges");
            assert!(event < Duration::from_secs(2), "an event: {event:?}");
            let patience = if loss == 0 { Duration::from_millis(60) } else { Duration::from_secs(2) };
            assert!(leave < patience, "a leave: {leave:?}");
            assert!(crash < Duration::from_secs(30), "a crash: {crash:?}");
        }
    }
}
