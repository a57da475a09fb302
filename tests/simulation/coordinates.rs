//! Network coordinates: estimates come close to the truth in a cluster of several sites, and a
//! member that tells nonsense about itself harms nobody.

use crate::bench::{lan, strangers};
use crate::process::Pid;
use crate::world::World;
use fastrand::Rng;
use serf::model::Coordinate;
use serf::wire::coordinate;
use serf::wire::datagram::Packer;
use serf::wire::message::{Message, ProbeMessage};
use serf::wire::{self, Dialect};
use std::net::SocketAddr;
use std::time::Duration;

/// Members of a cluster.
const N: usize = 20;
/// A datagram of the LAN takes so long in one direction on average.
const WITHIN: Duration = Duration::from_micros(800);
/// How long members have for their observations: one a second.
const TIME: Duration = Duration::from_secs(600);

/// Sites at 0, 10 and 40 ms, each member at one of them.
fn three_sites(seed: u64) -> World {
    let mut world = strangers(N, seed, lan());
    for (pid, process) in world.processes.iter().enumerate() {
        let site = Duration::from_millis([0, 10, 40][pid % 3]);
        world.network.inner.places.insert(process.addr, site);
    }
    for pid in 0..N {
        world.join_somewhere(pid);
        world.run_for(Duration::from_millis(20));
    }
    world.run_for(Duration::from_secs(20));
    assert_eq!(world.node(0).members().present(), N, "all have joined");
    world
}

fn addr(world: &World, pid: Pid) -> SocketAddr {
    world.processes[pid].addr
}

/// Where a process is, as it sees it itself.
fn place(world: &World, pid: Pid) -> Coordinate {
    let members = world.node(pid).members();
    *members.coordinate(members.me()).expect("it takes part")
}

/// Mean and greatest relative error of the estimates between members of different sites.
fn errors(world: &World, except: Option<Pid>) -> (f64, f64) {
    let mut errors = Vec::new();
    for a in (0..N).filter(|pid| Some(*pid) != except) {
        for b in (a + 1..N).filter(|pid| Some(*pid) != except && (a + pid) % 3 != (2 * a) % 3) {
            let way = world.network.inner.distance(addr(world, a), addr(world, b));
            let truth = (2 * (way + WITHIN)).as_secs_f64();
            let estimate = place(world, a).distance_to(&place(world, b)).as_secs_f64();
            errors.push((estimate - truth).abs() / truth);
        }
    }
    (errors.iter().sum::<f64>() / errors.len() as f64, errors.iter().copied().fold(0.0, f64::max))
}

#[test]
fn estimates_come_close_to_the_truth() {
    for seed in 0..5 {
        let mut world = three_sites(seed);
        let before = errors(&world, None);
        world.run_for(TIME);
        let (mean, worst) = errors(&world, None);
        println!("three sites, seed {seed}: mean error {before:.3?} -> {mean:.3}, worst {worst:.3}");
        assert!(mean < 0.05 && worst < 0.25, "seed {seed}: mean {mean:.3}, worst {worst:.3}");
        // What a member knows of another is what that one said a while ago.
        for pid in 1..N {
            let name = &world.processes[pid].name;
            let known = world.node(0).members().coordinate(name).expect("it has been probed");
            assert!(known.distance_to(&place(&world, pid)) < Duration::from_millis(20), "{name}");
        }
    }
}

/// Puts other payloads into the acks of a datagram.
fn rewritten(bytes: Vec<u8>, payload: impl Fn() -> Vec<u8>) -> Vec<u8> {
    let mut messages = Vec::new();
    if wire::read_datagram(&bytes, None, |message, _| messages.push(message)).is_err() {
        return bytes;
    }
    let mut packer = Packer::new(1400);
    for message in &mut messages {
        if let Message::Probe(ProbeMessage::Ack(ack)) = message {
            ack.payload = payload();
        }
        if !packer.push(&wire::encode(Dialect::Native, message)) {
            return bytes;
        }
    }
    packer.finish()
}

/// Coordinates that cannot be: not finite, out of range, of other dimensions, noise.
fn nonsense(bytes: Vec<u8>, rng: &mut Rng) -> Vec<u8> {
    let wild = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1e300, -1e6, 11.0];
    let (kind, wild, noise) = (rng.u32(0..3), wild[rng.usize(0..wild.len())], rng.u64(..));
    rewritten(bytes, || match kind {
        0 => noise.to_be_bytes().repeat(20),
        1 => vec![1, 0x84],
        // The last number of the position; the encoding ends with it.
        _ => {
            let mut payload = coordinate::encode(&Coordinate::origin());
            let last = payload.len() - 8;
            payload[last..].copy_from_slice(&wild.to_be_bytes());
            payload
        }
    })
}

#[test]
fn nonsense_about_a_place_harms_nobody() {
    for seed in 0..3 {
        let mut world = three_sites(seed);
        world.liar = Some((addr(&world, 7), nonsense));
        let liar = world.processes[7].name.clone();
        world.run_for(TIME);
        let (mean, worst) = errors(&world, Some(7));
        assert!(mean < 0.05 && worst < 0.25, "seed {seed}: mean {mean:.3}, worst {worst:.3}");
        for pid in (0..N).filter(|pid| *pid != 7) {
            let members = world.node(pid).members();
            assert_eq!((members.present(), members.coordinate_resets()), (N, Some(0)));
            let told = members.row(&liar).expect("it is a member").probes;
            assert!(told.udp_ok > 0, "it was asked, and believed to be there");
        }
    }
}

/// A place as far away as can be, told with certainty.
fn far_away(bytes: Vec<u8>, rng: &mut Rng) -> Vec<u8> {
    let sides: [f64; 8] = std::array::from_fn(|_| if rng.bool() { 10.0 } else { -10.0 });
    let place = Coordinate::new(sides, 0.0, 10.0, 10.0).expect("within the range");
    rewritten(bytes, || coordinate::encode(&place))
}

/// A lie that could be true is not found out. While it is told it spoils estimates, by a part of
/// what they are and not by the seconds that the lie speaks of; afterwards it is got over.
#[test]
fn a_lie_that_could_be_true_does_little() {
    for seed in 0..3 {
        let mut world = three_sites(seed);
        world.liar = Some((addr(&world, 7), far_away));
        world.run_for(TIME);
        let lied = errors(&world, Some(7));
        println!("a lie, seed {seed}: mean error {:.3}, worst {:.3} while it is told", lied.0, lied.1);
        assert!(lied.0 > 0.05, "seed {seed}: the lie was not even heard");
        assert!(lied.0 < 1.0 && lied.1 < 4.0, "seed {seed}: {lied:.3?}");
        assert_eq!(world.node(0).members().present(), N, "membership is another matter");
        world.liar = None;
        world.run_for(TIME);
        let (mean, worst) = errors(&world, None);
        assert!(mean < 0.05 && worst < 0.25, "seed {seed}: mean {mean:.3}, worst {worst:.3}");
    }
}
