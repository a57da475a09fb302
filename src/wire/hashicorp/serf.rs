//! Serf's messages, inside memberlist's user messages, but its part of a push/pull.

use super::parts::{SourceFields, name, record, write_ip};
use crate::model::{LamportTime, UserEvent};
use crate::wire::error::WireError;
use crate::wire::message::{
    Answer, JoinIntent, LeaveIntent, Message, Query, QueryFilter, QueryResponse, Relay, SerfMessage,
};
use crate::wire::msgpack::{Fault, Reader, Writer};

/// memberlist's type of user messages.
pub(crate) const USER: u8 = 8;

// Serf's types, behind `USER`, in the order of its `messages.go`. Of the others, 2 is in
// `push_pull`.
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

pub(super) const NANOSECONDS_PER_MS: u64 = 1_000_000;

/// Writes one of Serf's messages.
pub(crate) fn encode(message: &SerfMessage) -> Vec<u8> {
    match message {
        SerfMessage::UserEvent(m) => write_user_event(m),
        SerfMessage::Query(m) => write_query(m),
        SerfMessage::QueryResponse(m) => write_response(m),
        SerfMessage::Relay(m) => write_relay(m),
    }
}

/// Reads one of Serf's messages: what follows `USER`.
pub(crate) fn decode(bytes: &[u8]) -> Result<Message, WireError> {
    let (&tag, body) = bytes.split_first().ok_or(WireError::Empty)?;
    match tag {
        LEAVE => record("leave intent", body, read_leave),
        JOIN => record("join intent", body, read_join),
        USER_EVENT => record("user event", body, read_user_event),
        QUERY => record("query", body, read_query),
        QUERY_RESPONSE => record("query response", body, read_response),
        RELAY => record("relay", body, read_relay),
        other => Err(WireError::UnknownType(other)),
    }
}

fn user(tag: u8) -> Writer {
    Writer { out: vec![USER, tag] }
}

pub(crate) fn write_join(m: &JoinIntent) -> Vec<u8> {
    let mut w = user(JOIN);
    w.map(2);
    w.field("LTime").unsigned(m.ltime.0);
    w.field("Node").raw(m.node.as_bytes());
    w.out
}

fn read_join(r: &mut Reader) -> Result<JoinIntent, Fault> {
    let LeaveIntent { ltime, node, .. } = read_leave(r)?;
    Ok(JoinIntent { ltime, node })
}

pub(crate) fn write_leave(m: &LeaveIntent) -> Vec<u8> {
    let mut w = user(LEAVE);
    w.map(3);
    w.field("LTime").unsigned(m.ltime.0);
    w.field("Node").raw(m.node.as_bytes());
    w.field("Prune").flag(m.prune);
    w.out
}

fn read_leave(r: &mut Reader) -> Result<LeaveIntent, Fault> {
    let (mut ltime, mut node, mut prune) = (0, None, false);
    r.record(|r, field| {
        match field {
            b"LTime" => ltime = r.unsigned()?,
            b"Node" => node = Some(name(r.bytes()?)?),
            b"Prune" => prune = r.flag()?,
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    Ok(LeaveIntent { ltime: LamportTime(ltime), node: node.ok_or(Fault::Not("node"))?, prune })
}

// Payloads are written as bytes even where there are none: a newer HashiCorp agent passes nil on to its
// clients, and some end with a panic.

fn write_user_event(m: &UserEvent) -> Vec<u8> {
    let mut w = user(USER_EVENT);
    w.map(4);
    w.field("CC").flag(m.coalesce);
    w.field("LTime").unsigned(m.ltime.0);
    w.field("Name").raw(m.name.as_bytes());
    w.field("Payload").raw(&m.payload);
    w.out
}

/// Inside a push/pull an event has no time and no word on coalescing of its own.
pub(crate) fn read_user_event(r: &mut Reader) -> Result<UserEvent, Fault> {
    let (mut ltime, mut name, mut payload, mut coalesce) = (0, &[][..], &[][..], false);
    r.record(|r, field| {
        match field {
            b"LTime" => ltime = r.unsigned()?,
            b"Name" => name = r.bytes()?,
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
    w.field("Payload").raw(&m.payload);
    w.field("Port").unsigned(m.source.addr.port());
    w.field("RelayFactor").unsigned(m.relay_factor);
    w.field("SourceNode").raw(m.source.node.as_bytes());
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
                inner.raw(node.as_bytes());
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
            let mut nodes = Vec::new();
            for _ in 0..count {
                // What cannot be a name here, such as an empty one, matches no member, and costs the others nothing.
                nodes.extend(name(r.bytes()?).ok());
            }
            Ok(QueryFilter::Nodes(nodes))
        }
        FILTER_TAG => {
            let (mut tag, mut expression) = (&[][..], &[][..]);
            r.record(|r, field| {
                match field {
                    b"Tag" => tag = r.bytes()?,
                    b"Expr" => expression = r.bytes()?,
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
    let (mut name, mut payload) = (&[][..], &[][..]);
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
            b"Name" => name = r.bytes()?,
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

fn write_response(m: &QueryResponse) -> Vec<u8> {
    let mut w = user(QUERY_RESPONSE);
    write_response_record(&mut w, m);
    w.out
}

fn write_response_record(w: &mut Writer, m: &QueryResponse) {
    // That no answer will follow cannot be said here; that the query arrived can.
    let flags = if m.answer == Answer::Payload { 0 } else { FLAG_ACK };
    w.map(5);
    w.field("Flags").unsigned(flags);
    w.field("From").raw(m.from.as_bytes());
    w.field("ID").unsigned(m.id);
    w.field("LTime").unsigned(m.ltime.0);
    match m.answer {
        Answer::Payload => w.field("Payload").raw(&m.payload),
        Answer::Ack | Answer::AckOnly | Answer::Nothing => w.field("Payload").slice(&m.payload),
    };
}

fn read_response(r: &mut Reader) -> Result<QueryResponse, Fault> {
    let (mut ltime, mut id, mut from, mut flags, mut payload) = (0, 0, None, 0u32, &[][..]);
    r.record(|r, field| {
        match field {
            b"LTime" => ltime = r.unsigned()?,
            b"ID" => id = r.number_in()?,
            b"From" => from = Some(name(r.bytes()?)?),
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
    w.field("DestName").raw(m.to.node.as_bytes());
    w.out.push(QUERY_RESPONSE);
    write_response_record(&mut w, &m.response);
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
mod tests {
    use super::*;
    use crate::model::NodeName;

    #[test]
    fn a_name_in_a_filter_that_cannot_be_one_costs_the_others_nothing() {
        let mut bytes = vec![FILTER_NODES, 0x94, 0xa0, 0xa1, b'a', 0xda, 2, 88];
        bytes.extend([b'x'; 600]);
        bytes.extend([0xa1, b'b']);
        let named = ["a", "b"].map(|n| NodeName::new(n).unwrap()).to_vec();
        assert_eq!(read_filter(&bytes).unwrap(), QueryFilter::Nodes(named));
        // A list of none but those asks nobody, and not everyone.
        assert_eq!(read_filter(&[FILTER_NODES, 0x91, 0xa0]).unwrap(), QueryFilter::Nodes(Vec::new()));
        assert!(read_filter(&[FILTER_NODES, 0x92, 0xa1, b'a']).is_err());
    }
}
