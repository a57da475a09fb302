//! Rotating the keys of a cluster: internal queries to everyone, and keyrings that agree.

use crate::bench::lan;
use crate::network::Weather;
use crate::process::Pid;
use crate::world::{Start, World};
use serf::messaging::keys::{KeyCommand, KeyStep};
use serf::model::NodeName;
use serf::wire::keyring::Keyring;
use serf::wire::seal::Key;
use std::time::Duration;
use zeroize::Zeroizing;

const N: usize = 12;
const S: fn(u64) -> Duration = Duration::from_secs;

fn key(byte: u8) -> Key {
    Key::new(&[byte; 16]).expect("16 bytes")
}

fn base64(byte: u8) -> Zeroizing<String> {
    Zeroizing::new(key(byte).to_base64().to_string())
}

/// A cluster in which everyone has one key.
fn sealed(seed: u64) -> World {
    let mut world = World::new(seed, lan());
    for i in 0..N {
        let name = NodeName::new(format!("m{i:03}")).expect("a short name");
        let keyring = Keyring::from_keys([key(1)]).expect("a key");
        let start = Start { keyring: Some(keyring), ..Start::default() };
        let pid = world.start_with(&name, world.fresh_address(), start);
        world.join_somewhere(pid);
        world.run_for(Duration::from_millis(20));
    }
    world.settle_within(S(30));
    world
}

/// Asks, waits for the report, and repeats that until everyone has said yes.
fn until_everyone_has(world: &mut World, asker: Pid, command: &KeyCommand) -> usize {
    for times in 1.. {
        world.ask_about_keys(asker, command);
        world.run_for(S(15));
        let report = world.processes[asker].listener.key_reports.last().expect("it ended").clone();
        if report.error().is_none() {
            assert_eq!((report.responses, report.errors), (report.nodes, 0));
            return times;
        }
        assert!(times < 20, "{command:?} never works: {report:?}");
    }
    unreachable!("the loop ends")
}

fn rings(world: &World) -> Vec<Keyring> {
    let live = world.processes.iter().filter(|p| p.node.is_some());
    live.map(|p| (*p.keyring.as_ref().expect("keys").now()).clone()).collect()
}

/// In each step everyone can read what anyone seals.
fn check(world: &World) {
    let rings = rings(world);
    for sender in &rings {
        let reads = |ring: &Keyring| ring.keys().any(|key| key == sender.primary());
        assert!(rings.iter().all(reads), "a member cannot read another");
    }
}

#[test]
fn a_rotation_reaches_everyone_and_cuts_off_nobody() {
    for (loss, seed) in [(0.0, 1), (0.05, 2), (0.1, 3)] {
        let mut world = sealed(seed);
        world.weather(Weather { loss, ..Weather::default() }, S(3600));
        let mut asked = Vec::new();
        for command in [
            KeyCommand::Change(KeyStep::Install, base64(2)),
            KeyCommand::Change(KeyStep::Use, base64(2)),
            KeyCommand::Change(KeyStep::Remove, base64(1)),
        ] {
            asked.push(until_everyone_has(&mut world, 4, &command));
            check(&world);
        }
        println!("rotation at {:.0} % loss: asked {asked:?} times", loss * 100.0);
        for ring in rings(&world) {
            assert_eq!((ring.len(), ring.primary() == &key(2)), (1, true));
        }
        world.ask_about_keys(7, &KeyCommand::List);
        world.run_for(S(15));
        let report = world.processes[7].listener.key_reports.last().expect("it ended").clone();
        assert!(report.keys.keys().all(|listed| *listed == *base64(2)), "{report:?}");
    }
}

/// The only key cannot be removed, and everyone says so.
#[test]
fn the_primary_key_stays() {
    let mut world = sealed(5);
    world.ask_about_keys(0, &KeyCommand::Change(KeyStep::Remove, base64(1)));
    world.run_for(S(15));
    let report = world.processes[0].listener.key_reports.last().expect("it ended").clone();
    assert_eq!(report.errors, N, "{report:?}");
    assert!(report.error().is_some());
    check(&world);
}

#[test]
#[should_panic = "a member cannot read another"]
fn a_member_that_is_cut_off_is_noticed() {
    let world = sealed(6);
    let stranger = Keyring::from_keys([key(9)]).expect("a key");
    world.processes[3].keyring.as_ref().expect("keys").replace(stranger);
    check(&world);
}
