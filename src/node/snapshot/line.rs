//! The lines of a snapshot file, as Serf writes and reads them; from bytes to lines and back.
//!
//! ```text
//! alive: web 1 10.0.0.7:7946      the name goes up to the last space
//! not-alive: web 1
//! clock: 12                       Lamport time of members
//! event-clock: 40                 … of the last user event that was delivered
//! query-clock: 7                  … of the last query
//! leave                           everything before is past
//! coordinate: {…}                 from old versions, means nothing any more
//! # a comment
//! ```
//!
//! How a whole file is read is in `reading`, what the lines mean in `known`.

use crate::model::{LamportTime, MemberEvent, NodeName, canonical_ip};
use std::net::SocketAddr;

/// The longest line that is read, in bytes. Ours stay below 600.
pub const MAX_LINE: usize = 1024;

/// One thing that a snapshot says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Line {
    /// A member is there, at this address.
    Alive(NodeName, SocketAddr),
    /// A member is gone.
    NotAlive(NodeName),
    /// A clock has come this far.
    Clock(ClockKind, LamportTime),
    /// This process left the cluster.
    Leave,
}

impl Line {
    /// What is kept of an event about a member.
    pub fn of(event: &MemberEvent) -> Line {
        let member = &event.member;
        if event.kind.is_gone() {
            Line::NotAlive(member.name.clone())
        } else {
            Line::Alive(member.name.clone(), member.addr)
        }
    }

    /// Reads one line, without its end. `Ok(None)` is a line that means nothing on purpose.
    pub fn parse(line: &[u8]) -> Result<Option<Line>, NoLine> {
        if line.starts_with(b"#") || line.starts_with(b"coordinate: ") {
            return Ok(None);
        }
        if line == b"leave" {
            return Ok(Some(Line::Leave));
        }
        let at = line.windows(2).position(|two| two == b": ").ok_or(NoLine)?;
        let (what, value) = (line.get(..at).unwrap_or_default(), line.get(at + 2..).unwrap_or_default());
        let parsed = match what {
            b"alive" => {
                let mut halves = value.rsplitn(2, |byte| *byte == b' ');
                let (addr, name) = halves.next().zip(halves.next()).ok_or(NoLine)?;
                Line::Alive(member_name(name)?, address(addr)?)
            }
            b"not-alive" => Line::NotAlive(member_name(value)?),
            _ => {
                let kind =
                    ClockKind::ALL.into_iter().find(|kind| kind.key().as_bytes() == what).ok_or(NoLine)?;
                Line::Clock(kind, time(value)?)
            }
        };
        Ok(Some(parsed))
    }

    /// Its bytes, with its end.
    pub fn to_bytes(&self) -> Vec<u8> {
        match self {
            Line::Alive(name, addr) => {
                [b"alive: ", name.as_bytes(), format!(" {addr}\n").as_bytes()].concat()
            }
            Line::NotAlive(name) => [b"not-alive: ", name.as_bytes(), b"\n"].concat(),
            Line::Clock(kind, time) => format!("{}: {time}\n", kind.key()).into_bytes(),
            Line::Leave => b"leave\n".to_vec(),
        }
    }

    /// Whether the format can express it: names that would break a line cannot be written.
    pub fn is_writable(&self) -> bool {
        match self {
            Line::Alive(name, _) | Line::NotAlive(name) => !breaks_lines(name.as_bytes()),
            Line::Clock(..) | Line::Leave => true,
        }
    }
}

/// This is no line of a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoLine;

/// A member may be called anything, a line feed and a forged line behind it included.
fn breaks_lines(name: &[u8]) -> bool {
    name.iter().any(|byte| matches!(byte, b'\n' | 0))
}

fn utf8(text: &[u8]) -> Result<&str, NoLine> {
    std::str::from_utf8(text).map_err(|_| NoLine)
}

fn member_name(text: &[u8]) -> Result<NodeName, NoLine> {
    if breaks_lines(text) {
        return Err(NoLine);
    }
    NodeName::new(text).map_err(|_| NoLine)
}

fn address(text: &[u8]) -> Result<SocketAddr, NoLine> {
    let addr: SocketAddr = utf8(text)?.parse().map_err(|_| NoLine)?;
    let reachable = addr.port() != 0 && !addr.ip().is_unspecified();
    if reachable { Ok(SocketAddr::new(canonical_ip(addr.ip()), addr.port())) } else { Err(NoLine) }
}

/// Digits only. What a clock refuses is left out when it is to go on from there.
fn time(text: &[u8]) -> Result<LamportTime, NoLine> {
    let text = utf8(text)?;
    if !text.bytes().all(|b| b.is_ascii_digit()) {
        return Err(NoLine);
    }
    let time = text.parse().map(LamportTime).map_err(|_| NoLine)?;
    // The end of time is no time that a member has said.
    if time == LamportTime(u64::MAX) { Err(NoLine) } else { Ok(time) }
}

/// One of the three Lamport clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClockKind {
    /// Of joins and leaves.
    Member,
    /// Of user events.
    Event,
    /// Of queries.
    Query,
}

impl ClockKind {
    /// All three.
    pub const ALL: [ClockKind; 3] = [ClockKind::Member, ClockKind::Event, ClockKind::Query];

    /// What its lines begin with.
    pub fn key(self) -> &'static str {
        match self {
            ClockKind::Member => "clock",
            ClockKind::Event => "event-clock",
            ClockKind::Query => "query-clock",
        }
    }
}

/// The last times that were seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Clocks {
    /// Of joins and leaves.
    pub member: LamportTime,
    /// The latest user event that was delivered to handlers and streams.
    pub event: LamportTime,
    /// The latest query that was.
    pub query: LamportTime,
}

impl Clocks {
    /// The time of one of them.
    pub fn of(&mut self, kind: ClockKind) -> &mut LamportTime {
        match kind {
            ClockKind::Member => &mut self.member,
            ClockKind::Event => &mut self.event,
            ClockKind::Query => &mut self.query,
        }
    }
}
