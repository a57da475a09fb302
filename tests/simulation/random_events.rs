//! What members say while a storm rages: events and queries at random.

use crate::process::{Habit, Pid};
use crate::world::World;
use fastrand::Rng;
use serf::messaging::QueryParams;
use std::time::Duration;

/// What a process makes of queries, and whether it wants to hear of the past when it joins.
pub(crate) fn character(world: &mut World, pid: Pid, rng: &mut Rng) {
    let after = Duration::from_millis(rng.u64(0..3000));
    let habit = [Habit::Silent, Habit::Answers(after), Habit::Declines(after)][rng.usize(0..3)];
    world.set_habit(pid, habit);
    world.processes[pid].replay = rng.bool();
}

/// Someone fires a few events, or asks a query, or says nothing.
pub(crate) fn say(world: &mut World, rng: &mut Rng) {
    let Some(pid) = rng.choice(world.pick(|p| p.stays() && !p.paused)) else { return };
    match rng.u32(0..8) {
        0 => {
            // From a few names and payloads, so that different events look alike.
            let events: Vec<[u8; 1]> = (0..rng.usize(1..6)).map(|_| [rng.u8(0..4)]).collect();
            let (name, coalesce) = if rng.bool() { ("deploy", false) } else { ("restart", true) };
            for payload in &events {
                world.fire(pid, name, payload, coalesce);
            }
        }
        1 => {
            let timeout = rng.bool().then(|| Duration::from_millis(rng.u64(1..30_000)));
            let (request_ack, relay_factor) = (rng.bool(), rng.u8(0..4));
            let nodes = match rng.u32(0..4) {
                0 => rng.choice(&world.processes).map(|p| vec![p.name.clone()]),
                _ => None,
            };
            let (name, params) = ("load".into(), QueryParams::default());
            let params = QueryParams { name, request_ack, relay_factor, timeout, nodes, ..params };
            world.ask(pid, params);
        }
        _ => {}
    }
}
