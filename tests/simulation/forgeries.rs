//! Datagrams that no member would send: noise, damage, and forgeries from outside.

use crate::storm::Kind;
use crate::world::World;
use fastrand::Rng;
use serf::model::{Incarnation, NodeName};
use serf::wire::datagram::Packer;
use serf::wire::message::{Ack, Dead, IndirectPing, Message, Nack, Ping, Source, Suspect};
use serf::wire::{self, Dialect};
use std::net::SocketAddr;

/// Sends a few of them to a random member.
pub(crate) fn send(world: &mut World, kind: Kind, rng: &mut Rng) {
    let Some(pid) = rng.choice(world.pick(|p| p.node.is_some())) else { return };
    let to = world.processes[pid].addr;
    let outsider = SocketAddr::from(([203, 0, 113, rng.u8(1..255)], 7946));
    let from = if rng.bool() { outsider } else { to };
    for _ in 0..rng.usize(1..5) {
        let bytes = match rng.u32(0..3) {
            0 => noise(rng),
            1 => datagram(&question(world, outsider, rng)),
            _ if kind == Kind::Wild => datagram(&accusation(world, rng)),
            _ => datagram(&answer(rng)),
        };
        world.trace(|| format!("{} hostile bytes to {to}", bytes.len()));
        world.tally.count("hostile datagrams");
        world.send(from, to, bytes);
    }
}

fn datagram(message: &Message) -> Vec<u8> {
    let mut packer = Packer::new(1400);
    assert!(packer.push(&wire::encode(Dialect::Native, message)));
    packer.finish()
}

/// Random bytes, some of which claim to be messages.
fn noise(rng: &mut Rng) -> Vec<u8> {
    let mut bytes: Vec<u8> = (0..rng.usize(0..200)).map(|_| rng.u8(..)).collect();
    if let Some(first) = bytes.first_mut() {
        *first = [7, 12, 0x85, 0x88, *first][rng.usize(0..5)];
    }
    bytes
}

fn someone(world: &World, rng: &mut Rng) -> (NodeName, SocketAddr) {
    let process = &world.processes[rng.usize(0..world.processes.len())];
    (process.name.clone(), process.addr)
}

/// A question whose answer would go to a third party.
fn question(world: &World, outsider: SocketAddr, rng: &mut Rng) -> Message {
    let ((node, target), (asker, _)) = (someone(world, rng), someone(world, rng));
    let (seq_no, source) = (rng.u32(..), Source { node: asker, addr: outsider });
    match rng.u32(0..3) {
        0 => Message::from(Ping { seq_no, node, source }),
        1 => Message::from(IndirectPing { seq_no, target, node, nack: true, source }),
        _ => {
            let (asker, addr) = someone(world, rng);
            let source = Source { node: asker, addr };
            Message::from(IndirectPing { seq_no, target: outsider, node, nack: true, source })
        }
    }
}

/// An answer to what nobody asked.
fn answer(rng: &mut Rng) -> Message {
    let seq_no = rng.u32(..);
    match rng.bool() {
        true => Message::from(Ack { seq_no, digest: Some(rng.u64(..)), payload: Vec::new() }),
        false => Message::from(Nack { seq_no }),
    }
}

/// An accusation at the incarnation that the accused has, so that it is believed.
fn accusation(world: &World, rng: &mut Rng) -> Message {
    let ((node, _), (from, _)) = (someone(world, rng), someone(world, rng));
    let current = world.truth().get(&node).map_or(Incarnation::FIRST, |fact| fact.incarnation);
    match rng.u32(0..3) {
        0 => Message::from(Suspect { incarnation: current, node, from }),
        1 => Message::from(Dead { incarnation: current, node, from }),
        _ => Message::from(Dead { incarnation: current, node: node.clone(), from: node }),
    }
}
