//! HashiCorp's dialect: memberlist's messages and, inside its user messages, Serf's. Field for
//! field what HashiCorp's agents write, so that ours live among them.
//!
//! One type byte, then a record in MessagePack. What only our own agents understand (the digest
//! in an ack, answers that say that none will follow) has no place in it and is left out.

pub(super) mod msgpack;
mod push_pull;
pub(super) mod stream;

use super::error::WireError;
use super::message::*;
use crate::model::{Incarnation, LamportTime, NodeName, Versions};
use msgpack::{Fault, Reader, Writer};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

// memberlist's types of messages, in the order of its `net.go`.
const PING: u8 = 0;
const INDIRECT_PING: u8 = 1;
const ACK: u8 = 2;
const SUSPECT: u8 = 3;
const ALIVE: u8 = 4;
const DEAD: u8 = 5;
const USER: u8 = 8;
const NACK: u8 = 11;

// Serf's types, behind `USER`, in the order of its `messages.go`.
const LEAVE: u8 = 0;
const JOIN: u8 = 1;
const USER_EVENT: u8 = 3;
const QUERY: u8 = 4;
const QUERY_RESPONSE: u8 = 5;
const RELAY: u8 = 9;

// Serf's flags of queries and answers.
const FLAG_ACK: u32 = 1;
const FLAG_NO_BROADCAST: u32 = 2;

// Serf's types of filters.
const FILTER_NODES: u8 = 0;
const FILTER_TAG: u8 = 1;

/// The most nodes that the filters of a query may name: what fits a datagram, and more.
const MAX_FILTER_NODES: usize = 4096;
/// The most filters of one query.
const MAX_FILTERS: usize = 64;

const NANOSECONDS_PER_MS: u64 = 1_000_000;

/// Writes one message.
pub fn encode(message: &Message) -> Vec<u8> {
    match message {
        Message::Ping(m) => write_ping(m).out,
        Message::IndirectPing(m) => write_indirect_ping(m).out,
        Message::Ack(m) => write_ack(m).out,
        Message::Nack(m) => {
            let mut w = Writer::of_type(NACK);
            w.map(1);
            w.field("SeqNo").unsigned(m.seq_no);
            w.out
        }
        Message::Suspect(m) => write_accusation(SUSPECT, m.incarnation, &m.node, &m.from),
        Message::Alive(m) => write_alive(m),
        Message::Dead(m) => write_accusation(DEAD, m.incarnation, &m.node, &m.from),
        Message::JoinIntent(m) => {
            let mut w = user(JOIN);
            w.map(2);
            w.field("LTime").unsigned(m.ltime.0);
            w.field("Node").raw(m.node.as_str().as_bytes());
            w.out
        }
        Message::LeaveIntent(m) => {
            let mut w = user(LEAVE);
            w.map(3);
            w.field("LTime").unsigned(m.ltime.0);
            w.field("Node").raw(m.node.as_str().as_bytes());
            w.field("Prune").flag(m.prune);
            w.out
        }
        Message::UserEvent(m) => {
            let mut w = user(USER_EVENT);
            w.map(4);
            w.field("CC").flag(m.coalesce);
            w.field("LTime").unsigned(m.ltime.0);
            w.field("Name").raw(m.name.as_bytes());
            w.field("Payload").slice(&m.payload);
            w.out
        }
        Message::Query(m) => write_query(m),
        Message::QueryResponse(m) => {
            let mut w = user(QUERY_RESPONSE);
            write_response(&mut w, m);
            w.out
        }
        Message::Relay(m) => write_relay(m),
    }
}

/// Reads one message.
pub fn decode(bytes: &[u8]) -> Result<Message, WireError> {
    let (&tag, body) = bytes.split_first().ok_or(WireError::Empty)?;
    let mut r = Reader::new(body);
    match tag {
        PING => read_ping(&mut r).map(Message::Ping).map_err(malformed("ping")),
        INDIRECT_PING => {
            read_indirect_ping(&mut r).map(Message::IndirectPing).map_err(malformed("indirect ping"))
        }
        ACK => read_ack(&mut r).map(Message::Ack).map_err(malformed("ack")),
        NACK => read_nack(&mut r).map(Message::Nack).map_err(malformed("nack")),
        SUSPECT => read_accusation(&mut r)
            .map(|(incarnation, node, from)| Message::Suspect(Suspect { incarnation, node, from }))
            .map_err(malformed("suspect")),
        ALIVE => read_alive(&mut r).map(Message::Alive).map_err(malformed("alive")),
        DEAD => read_accusation(&mut r)
            .map(|(incarnation, node, from)| Message::Dead(Dead { incarnation, node, from }))
            .map_err(malformed("dead")),
        USER => decode_user(body),
        other => Err(WireError::UnknownType(other)),
    }
}

/// Reads one of Serf's messages.
fn decode_user(bytes: &[u8]) -> Result<Message, WireError> {
    let (&tag, body) = bytes.split_first().ok_or(WireError::Empty)?;
    let mut r = Reader::new(body);
    match tag {
        LEAVE => read_leave(&mut r).map(Message::LeaveIntent).map_err(malformed("leave intent")),
        JOIN => read_join(&mut r).map(Message::JoinIntent).map_err(malformed("join intent")),
        USER_EVENT => read_user_event(&mut r).map(Message::UserEvent).map_err(malformed("user event")),
        QUERY => read_query(&mut r).map(Message::Query).map_err(malformed("query")),
        QUERY_RESPONSE => {
            read_response(&mut r).map(Message::QueryResponse).map_err(malformed("query response"))
        }
        RELAY => read_relay(&mut r).map(Message::Relay).map_err(malformed("relay")),
        other => Err(WireError::UnknownType(other)),
    }
}

fn malformed(what: &'static str) -> impl FnOnce(Fault) -> WireError {
    move |fault| WireError::Malformed { what, why: fault.describe() }
}

fn user(tag: u8) -> Writer {
    Writer { out: vec![USER, tag] }
}

// ---- parts of messages --------------------------------------------------------------------

fn name(text: &str) -> Result<NodeName, Fault> {
    NodeName::new(text).map_err(|e| Fault::Name(e.to_string()))
}

/// Four bytes or sixteen. HashiCorp's agents compare addresses byte by byte, so that the form
/// matters: theirs of IPv4 is the short one.
fn write_ip(w: &mut Writer, ip: IpAddr) {
    match ip {
        IpAddr::V4(ip) => w.raw(&ip.octets()),
        IpAddr::V6(ip) => w.raw(&ip.octets()),
    }
}

fn read_ip(r: &mut Reader) -> Result<IpAddr, Fault> {
    let bytes = r.bytes()?;
    if let Ok(four) = <[u8; 4]>::try_from(bytes) {
        return Ok(Ipv4Addr::from(four).into());
    }
    let sixteen = <[u8; 16]>::try_from(bytes).map_err(|_| Fault::Not("address"))?;
    Ok(Ipv6Addr::from(sixteen).to_canonical())
}

pub(super) fn write_versions(w: &mut Writer, v: &Versions) {
    w.raw(&v.to_bytes());
}

/// A vector that is cut short says nothing; the rules refuse what says nothing.
pub(super) fn read_versions(r: &mut Reader) -> Result<Versions, Fault> {
    Ok(r.bytes()?.first_chunk().map_or(Versions::default(), |bytes| Versions::from_bytes(*bytes)))
}

fn write_source(w: &mut Writer, source: &Source) {
    write_ip(w.field("SourceAddr"), source.addr.ip());
    w.field("SourceNode").raw(source.node.as_str().as_bytes());
    w.field("SourcePort").unsigned(source.addr.port());
}

/// The source of a message, field by field. Agents from before 2020 leave it out.
#[derive(Default)]
struct SourceFields {
    ip: Option<IpAddr>,
    node: Option<NodeName>,
    port: u16,
}

impl SourceFields {
    fn read_node(&mut self, r: &mut Reader) -> Result<(), Fault> {
        let text = r.text()?;
        self.node = if text.is_empty() { None } else { Some(name(text)?) };
        Ok(())
    }

    fn read_ip(&mut self, r: &mut Reader) -> Result<(), Fault> {
        self.ip = if r.nil() { None } else { Some(read_ip(r)?) };
        Ok(())
    }

    fn finish(self) -> Source {
        let ip = self.ip.unwrap_or(Ipv4Addr::UNSPECIFIED.into());
        Source { node: self.node.unwrap_or_else(Source::nameless), addr: SocketAddr::new(ip, self.port) }
    }
}

// ---- memberlist's messages ----------------------------------------------------------------

pub(super) fn write_ping(m: &Ping) -> Writer {
    let mut w = Writer::of_type(PING);
    w.map(5);
    w.field("Node").raw(m.node.as_str().as_bytes());
    w.field("SeqNo").unsigned(m.seq_no);
    write_source(&mut w, &m.source);
    w
}

pub(super) fn read_ping(r: &mut Reader) -> Result<Ping, Fault> {
    let (mut seq_no, mut node, mut source) = (0, None, SourceFields::default());
    r.record(|r, field| {
        match field {
            b"SeqNo" => seq_no = r.number_in()?,
            b"Node" => node = Some(name(r.text()?)?),
            b"SourceAddr" => source.read_ip(r)?,
            b"SourceNode" => source.read_node(r)?,
            b"SourcePort" => source.port = r.number_in()?,
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    Ok(Ping { seq_no, node: node.ok_or(Fault::Not("node"))?, source: source.finish() })
}

fn write_indirect_ping(m: &IndirectPing) -> Writer {
    let mut w = Writer::of_type(INDIRECT_PING);
    w.map(8);
    w.field("Nack").flag(m.nack);
    w.field("Node").raw(m.node.as_str().as_bytes());
    w.field("Port").unsigned(m.target.port());
    w.field("SeqNo").unsigned(m.seq_no);
    write_source(&mut w, &m.source);
    write_ip(w.field("Target"), m.target.ip());
    w
}

fn read_indirect_ping(r: &mut Reader) -> Result<IndirectPing, Fault> {
    let (mut seq_no, mut node, mut source, mut nack) = (0, None, SourceFields::default(), false);
    let (mut ip, mut port) = (None, 0);
    r.record(|r, field| {
        match field {
            b"SeqNo" => seq_no = r.number_in()?,
            b"Target" => ip = Some(read_ip(r)?),
            b"Port" => port = r.number_in()?,
            b"Node" => node = Some(name(r.text()?)?),
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

pub(super) fn write_ack(m: &Ack) -> Writer {
    let mut w = Writer::of_type(ACK);
    w.map(2);
    w.field("Payload").slice(&m.payload);
    w.field("SeqNo").unsigned(m.seq_no);
    w
}

pub(super) fn read_ack(r: &mut Reader) -> Result<Ack, Fault> {
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

fn write_accusation(tag: u8, incarnation: Incarnation, node: &NodeName, from: &NodeName) -> Vec<u8> {
    let mut w = Writer::of_type(tag);
    w.map(3);
    w.field("From").raw(from.as_str().as_bytes());
    w.field("Incarnation").unsigned(incarnation.0);
    w.field("Node").raw(node.as_str().as_bytes());
    w.out
}

fn read_accusation(r: &mut Reader) -> Result<(Incarnation, NodeName, NodeName), Fault> {
    let (mut incarnation, mut node, mut from) = (0, None, None);
    r.record(|r, field| {
        match field {
            b"Incarnation" => incarnation = r.number_in()?,
            b"Node" => node = Some(name(r.text()?)?),
            b"From" => from = Some(name(r.text()?)?),
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    let (node, from) = (node.ok_or(Fault::Not("node"))?, from.ok_or(Fault::Not("accuser"))?);
    Ok((Incarnation(incarnation), node, from))
}

fn write_alive(m: &Alive) -> Vec<u8> {
    let mut w = Writer::of_type(ALIVE);
    w.map(6);
    write_ip(w.field("Addr"), m.addr.ip());
    w.field("Incarnation").unsigned(m.incarnation.0);
    w.field("Meta").slice(&m.meta);
    w.field("Node").raw(m.node.as_str().as_bytes());
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
            b"Node" => node = Some(name(r.text()?)?),
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

// ---- Serf's messages ----------------------------------------------------------------------

fn read_join(r: &mut Reader) -> Result<JoinIntent, Fault> {
    let LeaveIntent { ltime, node, .. } = read_leave(r)?;
    Ok(JoinIntent { ltime, node })
}

fn read_leave(r: &mut Reader) -> Result<LeaveIntent, Fault> {
    let (mut ltime, mut node, mut prune) = (0, None, false);
    r.record(|r, field| {
        match field {
            b"LTime" => ltime = r.unsigned()?,
            b"Node" => node = Some(name(r.text()?)?),
            b"Prune" => prune = r.flag()?,
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    Ok(LeaveIntent { ltime: LamportTime(ltime), node: node.ok_or(Fault::Not("node"))?, prune })
}

/// Inside a push/pull an event has no time and no word on coalescing of its own.
fn read_user_event(r: &mut Reader) -> Result<UserEvent, Fault> {
    let (mut ltime, mut name, mut payload, mut coalesce) = (0, "", &[][..], false);
    r.record(|r, field| {
        match field {
            b"LTime" => ltime = r.unsigned()?,
            b"Name" => name = r.text()?,
            b"Payload" => payload = r.bytes()?,
            b"CC" => coalesce = r.flag()?,
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    Ok(UserEvent { ltime: LamportTime(ltime), name: name.into(), payload: payload.to_vec(), coalesce })
}

fn write_query(m: &Query) -> Vec<u8> {
    let mut w = user(QUERY);
    w.map(11);
    write_ip(w.field("Addr"), m.source.addr.ip());
    match m.filters.len() {
        0 => w.field("Filters").slice(&[]),
        n => w.field("Filters").list(n),
    }
    for filter in &m.filters {
        write_filter(&mut w, filter);
    }
    let flags = if m.ack { FLAG_ACK } else { 0 } | if m.no_broadcast { FLAG_NO_BROADCAST } else { 0 };
    w.field("Flags").unsigned(flags);
    w.field("ID").unsigned(m.id);
    w.field("LTime").unsigned(m.ltime.0);
    w.field("Name").raw(m.name.as_bytes());
    w.field("Payload").slice(&m.payload);
    w.field("Port").unsigned(m.source.addr.port());
    w.field("RelayFactor").unsigned(m.relay_factor);
    w.field("SourceNode").raw(m.source.node.as_str().as_bytes());
    // Go's durations end at 2^63 - 1 nanoseconds.
    let timeout = m.timeout_ms.saturating_mul(NANOSECONDS_PER_MS).min(i64::MAX as u64);
    w.field("Timeout").unsigned(timeout);
    w.out
}

fn write_filter(w: &mut Writer, filter: &QueryFilter) {
    let mut inner = Writer::default();
    match filter {
        QueryFilter::Nodes(nodes) => {
            inner.out.push(FILTER_NODES);
            inner.list(nodes.len());
            for node in nodes {
                inner.raw(node.as_str().as_bytes());
            }
        }
        QueryFilter::Tag { tag, expression } => {
            inner.out.push(FILTER_TAG);
            inner.map(2);
            inner.field("Expr").raw(expression.as_bytes());
            inner.field("Tag").raw(tag.as_bytes());
        }
    }
    w.raw(&inner.out);
}

fn read_filter(bytes: &[u8]) -> Result<QueryFilter, Fault> {
    let mut r = Reader::new(bytes);
    match r.byte()? {
        FILTER_NODES => {
            let count = r.list()?;
            if count > MAX_FILTER_NODES {
                return Err(Fault::Beyond("the number of nodes"));
            }
            (0..count).map(|_| name(r.text()?)).collect::<Result<_, _>>().map(QueryFilter::Nodes)
        }
        FILTER_TAG => {
            let (mut tag, mut expression) = ("", "");
            r.record(|r, field| {
                match field {
                    b"Tag" => tag = r.text()?,
                    b"Expr" => expression = r.text()?,
                    _ => return Ok(false),
                }
                Ok(true)
            })?;
            Ok(QueryFilter::Tag { tag: tag.into(), expression: expression.into() })
        }
        _ => Err(Fault::Not("known filter")),
    }
}

fn read_query(r: &mut Reader) -> Result<Query, Fault> {
    let (mut ltime, mut id, mut source, mut filters) = (0, 0, SourceFields::default(), Vec::new());
    let (mut flags, mut relay_factor, mut timeout) = (0u32, 0, 0);
    let (mut name, mut payload) = ("", &[][..]);
    r.record(|r, field| {
        match field {
            b"LTime" => ltime = r.unsigned()?,
            b"ID" => id = r.number_in()?,
            b"Addr" => source.read_ip(r)?,
            b"Port" => source.port = r.number_in()?,
            b"SourceNode" => source.read_node(r)?,
            b"Filters" => {
                let count = r.list()?;
                if count > MAX_FILTERS {
                    return Err(Fault::Beyond("the number of filters"));
                }
                filters = (0..count).map(|_| read_filter(r.bytes()?)).collect::<Result<_, _>>()?;
            }
            b"Flags" => flags = r.number_in()?,
            b"RelayFactor" => relay_factor = r.number_in()?,
            b"Timeout" => timeout = r.unsigned()?,
            b"Name" => name = r.text()?,
            b"Payload" => payload = r.bytes()?,
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    Ok(Query {
        ltime: LamportTime(ltime),
        id,
        source: source.finish(),
        filters,
        ack: flags & FLAG_ACK != 0,
        no_broadcast: flags & FLAG_NO_BROADCAST != 0,
        relay_factor,
        timeout_ms: timeout.div_ceil(NANOSECONDS_PER_MS),
        name: name.into(),
        payload: payload.to_vec(),
    })
}

fn write_response(w: &mut Writer, m: &QueryResponse) {
    // That no answer will follow cannot be said here; that the query arrived can.
    let flags = if m.answer == Answer::Payload { 0 } else { FLAG_ACK };
    w.map(5);
    w.field("Flags").unsigned(flags);
    w.field("From").raw(m.from.as_str().as_bytes());
    w.field("ID").unsigned(m.id);
    w.field("LTime").unsigned(m.ltime.0);
    w.field("Payload").slice(&m.payload);
}

fn read_response(r: &mut Reader) -> Result<QueryResponse, Fault> {
    let (mut ltime, mut id, mut from, mut flags, mut payload) = (0, 0, None, 0u32, &[][..]);
    r.record(|r, field| {
        match field {
            b"LTime" => ltime = r.unsigned()?,
            b"ID" => id = r.number_in()?,
            b"From" => from = Some(name(r.text()?)?),
            b"Flags" => flags = r.number_in()?,
            b"Payload" => payload = r.bytes()?,
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    Ok(QueryResponse {
        ltime: LamportTime(ltime),
        id,
        from: from.ok_or(Fault::Not("name"))?,
        answer: if flags & FLAG_ACK != 0 { Answer::Ack } else { Answer::Payload },
        payload: payload.to_vec(),
    })
}

/// A header that names the receiver, then the answer as it would be sent to it.
fn write_relay(m: &Relay) -> Vec<u8> {
    let mut w = user(RELAY);
    w.map(2);
    w.field("DestAddr").map(3);
    write_ip(w.field("IP"), m.to.addr.ip());
    w.field("Port").unsigned(m.to.addr.port());
    w.field("Zone").raw(&[]);
    w.field("DestName").raw(m.to.node.as_str().as_bytes());
    w.out.push(QUERY_RESPONSE);
    write_response(&mut w, &m.response);
    w.out
}

fn read_relay(r: &mut Reader) -> Result<Relay, Fault> {
    let mut to = SourceFields::default();
    r.record(|r, field| {
        match field {
            b"DestAddr" => r.record(|r, field| {
                match field {
                    b"IP" => to.read_ip(r)?,
                    b"Port" => to.port = r.number_in()?,
                    _ => return Ok(false),
                }
                Ok(true)
            })?,
            b"DestName" => to.read_node(r)?,
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    if r.byte()? != QUERY_RESPONSE {
        return Err(Fault::Not("query response"));
    }
    Ok(Relay { to: to.finish(), response: read_response(r)? })
}

#[cfg(test)]
mod tests;
