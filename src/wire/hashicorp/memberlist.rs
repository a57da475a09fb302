//! memberlist's messages, but its push/pull.

use super::parts::{
    SourceFields, name, read_ip, read_versions, record, write_ip, write_source, write_versions,
};
use crate::model::{Incarnation, NodeName, Versions};
use crate::wire::error::WireError;
use crate::wire::message::{Ack, Alive, Dead, IndirectPing, Message, Nack, Ping, ProbeMessage, Suspect};
use crate::wire::msgpack::{Fault, Reader, Writer};
use std::net::SocketAddr;

// memberlist's types of messages, in the order of its `net.go`. Of the others, 6 is in
// `push_pull`, 8 in `serf`, 13 in `stream`; the rest is framing.
pub(crate) const PING: u8 = 0;
pub(crate) const INDIRECT_PING: u8 = 1;
pub(crate) const ACK: u8 = 2;
const SUSPECT: u8 = 3;
const ALIVE: u8 = 4;
const DEAD: u8 = 5;
pub(crate) const NACK: u8 = 11;

/// Writes one message.
pub(crate) fn encode(message: &ProbeMessage) -> Vec<u8> {
    match message {
        ProbeMessage::Ping(m) => write_ping(m),
        ProbeMessage::IndirectPing(m) => write_indirect_ping(m),
        ProbeMessage::Ack(m) => write_ack(m),
        ProbeMessage::Nack(m) => write_nack(m),
        // Said only to members that speak the other dialect: see `membership/crash.rs`.
        ProbeMessage::Knock(_) | ProbeMessage::Refused(_) => Vec::new(),
    }
}

/// Reads one message of this type.
pub(crate) fn decode(tag: u8, body: &[u8]) -> Result<Message, WireError> {
    match tag {
        PING => record("ping", body, read_ping),
        INDIRECT_PING => record("indirect ping", body, read_indirect_ping),
        ACK => record("ack", body, read_ack),
        NACK => record("nack", body, read_nack),
        SUSPECT => record("suspect", body, read_suspect),
        ALIVE => record("alive", body, read_alive),
        DEAD => record("dead", body, read_dead),
        other => Err(WireError::UnknownType(other)),
    }
}

pub(crate) fn write_ping(m: &Ping) -> Vec<u8> {
    let mut w = Writer::of_type(PING);
    w.map(5);
    w.field("Node").raw(m.node.as_bytes());
    w.field("SeqNo").unsigned(m.seq_no);
    write_source(&mut w, &m.source);
    w.out
}

pub(crate) fn read_ping(r: &mut Reader) -> Result<Ping, Fault> {
    let (mut seq_no, mut node, mut source) = (0, None, SourceFields::default());
    r.record(|r, field| {
        match field {
            b"SeqNo" => seq_no = r.number_in()?,
            b"Node" => node = Some(name(r.bytes()?)?),
            b"SourceAddr" => source.read_ip(r)?,
            b"SourceNode" => source.read_node(r)?,
            b"SourcePort" => source.port = r.number_in()?,
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    Ok(Ping { seq_no, node: node.ok_or(Fault::Not("node"))?, source: source.finish() })
}

fn write_indirect_ping(m: &IndirectPing) -> Vec<u8> {
    let mut w = Writer::of_type(INDIRECT_PING);
    w.map(8);
    w.field("Nack").flag(m.nack);
    w.field("Node").raw(m.node.as_bytes());
    w.field("Port").unsigned(m.target.port());
    w.field("SeqNo").unsigned(m.seq_no);
    write_source(&mut w, &m.source);
    write_ip(w.field("Target"), m.target.ip());
    w.out
}

fn read_indirect_ping(r: &mut Reader) -> Result<IndirectPing, Fault> {
    let (mut seq_no, mut node, mut source, mut nack) = (0, None, SourceFields::default(), false);
    let (mut ip, mut port) = (None, 0);
    r.record(|r, field| {
        match field {
            b"SeqNo" => seq_no = r.number_in()?,
            b"Target" => ip = Some(read_ip(r)?),
            b"Port" => port = r.number_in()?,
            b"Node" => node = Some(name(r.bytes()?)?),
            b"Nack" => nack = r.flag()?,
            b"SourceAddr" => source.read_ip(r)?,
            b"SourceNode" => source.read_node(r)?,
            b"SourcePort" => source.port = r.number_in()?,
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    let target = SocketAddr::new(ip.ok_or(Fault::Not("target"))?, port);
    Ok(IndirectPing { seq_no, target, node: node.ok_or(Fault::Not("node"))?, nack, source: source.finish() })
}

pub(crate) fn write_ack(m: &Ack) -> Vec<u8> {
    let mut w = Writer::of_type(ACK);
    w.map(2);
    w.field("Payload").slice(&m.payload);
    w.field("SeqNo").unsigned(m.seq_no);
    w.out
}

pub(crate) fn read_ack(r: &mut Reader) -> Result<Ack, Fault> {
    let (mut seq_no, mut payload) = (0, Vec::new());
    r.record(|r, field| {
        match field {
            b"SeqNo" => seq_no = r.number_in()?,
            b"Payload" => payload = r.bytes()?.to_vec(),
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    Ok(Ack { seq_no, digest: None, payload })
}

fn write_nack(m: &Nack) -> Vec<u8> {
    let mut w = Writer::of_type(NACK);
    w.map(1);
    w.field("SeqNo").unsigned(m.seq_no);
    w.out
}

fn read_nack(r: &mut Reader) -> Result<Nack, Fault> {
    let mut seq_no = 0;
    r.record(|r, field| {
        if field == b"SeqNo" {
            seq_no = r.number_in()?;
        }
        Ok(field == b"SeqNo")
    })?;
    Ok(Nack { seq_no })
}

pub(crate) fn write_suspect(m: &Suspect) -> Vec<u8> {
    write_accusation(SUSPECT, m.incarnation, &m.node, &m.from)
}

fn read_suspect(r: &mut Reader) -> Result<Suspect, Fault> {
    read_accusation(r).map(|(incarnation, node, from)| Suspect { incarnation, node, from })
}

pub(crate) fn write_dead(m: &Dead) -> Vec<u8> {
    write_accusation(DEAD, m.incarnation, &m.node, &m.from)
}

fn read_dead(r: &mut Reader) -> Result<Dead, Fault> {
    read_accusation(r).map(|(incarnation, node, from)| Dead { incarnation, node, from })
}

fn write_accusation(tag: u8, incarnation: Incarnation, node: &NodeName, from: &NodeName) -> Vec<u8> {
    let mut w = Writer::of_type(tag);
    w.map(3);
    w.field("From").raw(from.as_bytes());
    w.field("Incarnation").unsigned(incarnation.0);
    w.field("Node").raw(node.as_bytes());
    w.out
}

fn read_accusation(r: &mut Reader) -> Result<(Incarnation, NodeName, NodeName), Fault> {
    let (mut incarnation, mut node, mut from) = (0, None, None);
    r.record(|r, field| {
        match field {
            b"Incarnation" => incarnation = r.number_in()?,
            b"Node" => node = Some(name(r.bytes()?)?),
            b"From" => from = Some(name(r.bytes()?)?),
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    let (node, from) = (node.ok_or(Fault::Not("node"))?, from.ok_or(Fault::Not("accuser"))?);
    Ok((Incarnation(incarnation), node, from))
}

pub(crate) fn write_alive(m: &Alive) -> Vec<u8> {
    let mut w = Writer::of_type(ALIVE);
    w.map(6);
    write_ip(w.field("Addr"), m.addr.ip());
    w.field("Incarnation").unsigned(m.incarnation.0);
    w.field("Meta").slice(&m.meta);
    w.field("Node").raw(m.node.as_bytes());
    w.field("Port").unsigned(m.addr.port());
    write_versions(w.field("Vsn"), &m.versions);
    w.out
}

fn read_alive(r: &mut Reader) -> Result<Alive, Fault> {
    let (mut incarnation, mut node, mut ip, mut port) = (0, None, None, 0);
    let (mut meta, mut versions) = (&[][..], Versions::default());
    r.record(|r, field| {
        match field {
            b"Incarnation" => incarnation = r.number_in()?,
            b"Node" => node = Some(name(r.bytes()?)?),
            b"Addr" => ip = Some(read_ip(r)?),
            b"Port" => port = r.number_in()?,
            b"Meta" => meta = r.bytes()?,
            b"Vsn" => versions = read_versions(r)?,
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    Ok(Alive {
        incarnation: Incarnation(incarnation),
        node: node.ok_or(Fault::Not("node"))?,
        addr: SocketAddr::new(ip.ok_or(Fault::Not("address"))?, port),
        meta: meta.to_vec(),
        versions,
    })
}
