//! Push/pull in HashiCorp's dialect: memberlist's part, one record a member, and behind it Serf's
//! part with Lamport times, the names of those that left, and recent user events.
//!
//! # Intents
//!
//! Serf's part says of each name the time of its last intent, and of some that they have left.
//! Of those, HashiCorp's agents conclude a leave intent one tick after that time; they never say
//! that a member is about to leave, and would take such a row for a join intent. So of one that is
//! leaving we say that it left, with the time one tick earlier: they conclude the very intent.
//! Of one that has left we say the time itself, as they do among themselves.

use super::parts::{name, read_ip, read_versions, write_ip, write_versions};
use super::serf::read_user_event;
use crate::model::{Footprint, Incarnation, LamportTime, NodeName, UserEvent, Versions};
use crate::telemetry::counters;
use crate::wire::bounded::{Budgeted, MAX_EVENT_BYTES, MAX_ROW_BYTES};
use crate::wire::message::{LeftOut, PeerIntent, PeerRow, PeerState, PushPull, SerfState};
use crate::wire::msgpack::{Fault, Reader, Writer};
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

/// memberlist's `pushPullMsg`.
pub(super) const PUSH_PULL: u8 = 6;
/// Serf's `messagePushPullType`, in front of its part.
const SERF_PART: u8 = 2;

/// The most names in Serf's part beyond those with a row of their own: memberlist forgets the dead
/// before Serf does.
const MAX_EXTRA_NAMES: usize = 16_384;

/// For how many Lamport times Serf remembers events: 512, less some by which its clock may be ahead.
const EVENT_WINDOW: u64 = 480;

/// What precedes the rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Header {
    /// How many rows follow.
    pub(crate) rows: u64,
    /// How many bytes of Serf's part follow them.
    pub(crate) serf_len: u64,
    /// Whether this is a join.
    pub(crate) join: bool,
}

impl Header {
    /// Reads the header, which follows the type of the message.
    pub(crate) fn read(r: &mut Reader) -> Result<Header, Fault> {
        let mut header = Header::default();
        r.record(|r, field| {
            match field {
                b"Nodes" => header.rows = r.unsigned()?,
                b"UserStateLen" => header.serf_len = r.unsigned()?,
                b"Join" => header.join = r.flag()?,
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        Ok(header)
    }
}

/// Writes everything, the type included.
pub(crate) fn write(m: &PushPull) -> Vec<u8> {
    let serf = write_serf(m);
    let mut w = Writer::of_type(PUSH_PULL);
    w.map(3);
    w.field("Join").flag(m.join);
    w.field("Nodes").unsigned(m.rows.len() as u64);
    w.field("UserStateLen").unsigned(serf.len() as u64);
    for row in &m.rows {
        write_row(&mut w, row);
    }
    w.out.extend_from_slice(&serf);
    w.out
}

fn write_row(w: &mut Writer, row: &PeerRow) {
    w.map(7);
    write_ip(w.field("Addr"), row.addr.ip());
    w.field("Incarnation").unsigned(row.incarnation.0);
    w.field("Meta").slice(&row.meta);
    w.field("Name").raw(row.node.as_bytes());
    w.field("Port").unsigned(row.addr.port());
    let state: u8 = match row.state {
        PeerState::Alive => 0,
        PeerState::Suspect => 1,
        PeerState::Dead => 2,
        PeerState::Left => 3,
    };
    w.field("State").unsigned(state);
    write_versions(w.field("Vsn"), &row.versions);
}

fn is_leaving(row: &PeerRow) -> bool {
    row.leaving && matches!(row.state, PeerState::Alive | PeerState::Suspect)
}

fn write_serf(m: &PushPull) -> Vec<u8> {
    let mut w = Writer::of_type(SERF_PART);
    w.map(6);
    w.field("EventLTime").unsigned(m.serf.event_ltime.0);
    // They complain about events that are older than what they remember.
    let recent = |event: &UserEvent| event.ltime.0.saturating_add(EVENT_WINDOW) > m.serf.event_ltime.0;
    let events: Vec<&UserEvent> = m.serf.events.iter().filter(|event| recent(event)).collect();
    let times: Vec<&[&UserEvent]> = events.chunk_by(|a, b| a.ltime == b.ltime).collect();
    w.field("Events").list(times.len());
    for events in times {
        w.map(2);
        w.field("Events").list(events.len());
        for event in events {
            w.map(2);
            w.field("Name").raw(event.name.as_bytes());
            w.field("Payload").raw(&event.payload);
        }
        w.field("LTime").unsigned(events.first().map_or(0, |event| event.ltime.0));
    }
    w.field("LTime").unsigned(m.ltime.0);
    let gone = m.rows.iter().filter(|row| is_leaving(row) || row.state == PeerState::Left);
    let extra = m.intents.iter().filter(|intent| intent.left);
    let left: Vec<&NodeName> = gone.map(|row| &row.node).chain(extra.map(|intent| &intent.node)).collect();
    w.field("LeftMembers").list(left.len());
    for node in left {
        w.raw(node.as_bytes());
    }
    w.field("QueryLTime").unsigned(m.serf.query_ltime.0);
    w.field("StatusLTimes").map(m.rows.len() + m.intents.len());
    for row in &m.rows {
        let time = if is_leaving(row) { row.status_ltime.previous() } else { row.status_ltime };
        w.raw(row.node.as_bytes());
        w.unsigned(time.0);
    }
    for intent in &m.intents {
        w.raw(intent.node.as_bytes());
        w.unsigned(intent.ltime.0);
    }
    w.out
}

/// Reads everything behind the type. An entry that makes no sense (a member, an intent, an event) is
/// left out and counted: it must not keep the others from being heard.
pub(crate) fn read(r: &mut Reader) -> Result<PushPull, Fault> {
    let header = Header::read(r)?;
    let mut m = PushPull {
        join: header.join,
        ltime: LamportTime::ZERO,
        rows: Vec::new(),
        intents: Vec::new(),
        serf: SerfState::default(),
        left_out: LeftOut::default(),
    };
    let (mut rows, mut names) = (Budgeted::new(MAX_ROW_BYTES, PeerRow::footprint), 0);
    for _ in 0..header.rows {
        let row = read_row(&mut r.value()?);
        if let Some(row) = sound("a member", row, &mut m.left_out) {
            names += 1;
            rows.push(row);
        }
    }
    m.rows = rows.into_items();
    let serf_len = usize::try_from(header.serf_len).map_err(|_| Fault::Short)?;
    let serf = r.take(serf_len)?;
    if !serf.is_empty() {
        read_serf(&mut Reader::new(serf), names, &mut m)?;
    }
    Ok(m)
}

/// An entry, or none if it makes no sense, which is noted.
fn sound<T>(what: &str, entry: Result<T, Fault>, left_out: &mut LeftOut) -> Option<T> {
    entry
        .map_err(|fault| {
            counters::REFUSED_MALFORMED.inc();
            if left_out.count == 0 {
                left_out.first = format!("{what}: {}", fault.describe());
            }
            left_out.count += 1;
        })
        .ok()
}

fn read_row(r: &mut Reader) -> Result<PeerRow, Fault> {
    let (mut node, mut ip, mut port) = (None, None, 0);
    let (mut meta, mut incarnation, mut state) = (&[][..], 0, 0);
    let mut versions = Versions::default();
    r.record(|r, field| {
        match field {
            b"Name" => node = Some(name(r.bytes()?)?),
            b"Addr" => ip = Some(read_ip(r)?),
            b"Port" => port = r.number_in()?,
            b"Meta" => meta = r.bytes()?,
            b"Incarnation" => incarnation = r.number_in()?,
            b"State" => state = r.unsigned()?,
            b"Vsn" => versions = read_versions(r)?,
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    let state = match state {
        0 => PeerState::Alive,
        1 => PeerState::Suspect,
        2 => PeerState::Dead,
        3 => PeerState::Left,
        _ => return Err(Fault::Beyond("its state is")),
    };
    Ok(PeerRow {
        node: node.ok_or(Fault::Not("name"))?,
        addr: SocketAddr::new(ip.ok_or(Fault::Not("address"))?, port),
        meta: meta.to_vec(),
        incarnation: Incarnation(incarnation),
        state,
        leaving: false,
        status_ltime: LamportTime::ZERO,
        versions,
    })
}

/// `names` is how many members there are in front of it.
fn read_serf(r: &mut Reader, names: usize, m: &mut PushPull) -> Result<(), Fault> {
    if r.byte()? != SERF_PART {
        return Err(Fault::Not("Serf push/pull"));
    }
    let most_names = names + MAX_EXTRA_NAMES;
    let mut times = BTreeMap::new();
    let mut left = BTreeSet::new();
    r.record(|r, field| {
        match field {
            b"LTime" => m.ltime = LamportTime(r.unsigned()?),
            b"EventLTime" => m.serf.event_ltime = LamportTime(r.unsigned()?),
            b"QueryLTime" => m.serf.query_ltime = LamportTime(r.unsigned()?),
            b"StatusLTimes" => {
                let count = r.map()?;
                if count > most_names {
                    return Err(Fault::Beyond("the number of names"));
                }
                for _ in 0..count {
                    let (mut node, mut time) = (r.value()?, r.value()?);
                    let entry = node.bytes().and_then(|node| Ok((node, LamportTime(time.unsigned()?))));
                    times.extend(sound("a Lamport time", entry, &mut m.left_out));
                }
            }
            b"LeftMembers" => {
                let count = r.list()?;
                if count > most_names {
                    return Err(Fault::Beyond("the number of names"));
                }
                for _ in 0..count {
                    left.extend(sound("a member that left", r.value()?.bytes(), &mut m.left_out));
                }
            }
            b"Events" => m.serf.events = read_events(r, &mut m.left_out)?,
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    for row in &mut m.rows {
        let node = row.node.as_bytes();
        let left = left.remove(node);
        row.status_ltime = times.remove(node).unwrap_or_default();
        match row.state {
            PeerState::Alive | PeerState::Suspect if left => {
                row.leaving = true;
                row.status_ltime = row.status_ltime.next();
            }
            // memberlist had no state of its own for members that left before 2020.
            PeerState::Dead if left => row.state = PeerState::Left,
            _ => {}
        }
    }
    // Beyond these they are of members whose rows were left out.
    for (node, ltime) in times.into_iter().take(MAX_EXTRA_NAMES) {
        if let Some(node_name) = sound("an intent", name(node), &mut m.left_out) {
            m.intents.push(PeerIntent { node: node_name, ltime, left: left.contains(node) });
        }
    }
    Ok(())
}

/// Events by Lamport time; of each time that the sender has none of there is a nil.
fn read_events(r: &mut Reader, left_out: &mut LeftOut) -> Result<Vec<UserEvent>, Fault> {
    let mut all = Budgeted::new(MAX_EVENT_BYTES, UserEvent::footprint);
    for _ in 0..r.list()? {
        let mut of_one_time = Budgeted::new(MAX_EVENT_BYTES, UserEvent::footprint);
        let ltime = read_events_of_one_time(&mut r.value()?, &mut of_one_time, left_out);
        if let Some(ltime) = sound("events of one time", ltime, left_out) {
            of_one_time.into_items().into_iter().for_each(|event| all.push(UserEvent { ltime, ..event }));
        }
    }
    let mut all = all.into_items();
    // The sender's list is a ring, so that its times may begin anywhere.
    all.sort_by_key(|event: &UserEvent| event.ltime);
    Ok(all)
}

/// Adds the events, and answers with their time.
fn read_events_of_one_time(
    r: &mut Reader,
    all: &mut Budgeted<UserEvent>,
    left_out: &mut LeftOut,
) -> Result<LamportTime, Fault> {
    let mut ltime = LamportTime::ZERO;
    r.record(|r, field| {
        match field {
            b"LTime" => ltime = LamportTime(r.unsigned()?),
            b"Events" => {
                for _ in 0..r.list()? {
                    let event = sound("an event", read_user_event(&mut r.value()?), left_out);
                    event.into_iter().for_each(|event| all.push(event));
                }
            }
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    Ok(ltime)
}
