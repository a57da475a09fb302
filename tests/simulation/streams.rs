//! TCP between members: connections that are made or refused, arrive late, or never. Requests
//! and answers are real bytes; what they say is decided by the members.

use crate::process::Pid;
use crate::world::{Event, Via, World};
use serf::model::Moment;
use serf::node::exchanges::{Purpose, StreamFailure, StreamId};
use serf::wire::Dialect;
use serf::wire::stream::{self, StreamMessage};
use std::net::SocketAddr;
use std::time::Duration;

/// Bytes a second through one connection.
const BANDWIDTH: f64 = 10e6;
/// Time until a failed join is tried again.
const JOIN_RETRY: Duration = Duration::from_secs(2);

/// A connection whose opener waits for the answer.
#[derive(Debug)]
pub(crate) struct Stream {
    opener: Pid,
    to: SocketAddr,
    from: SocketAddr,
    purpose: Purpose,
}

/// What happens to a connection.
#[derive(Debug)]
pub(crate) enum StreamEvent {
    /// The request is there.
    Request { id: u64, at: SocketAddr, from: SocketAddr, bytes: Vec<u8> },
    /// The answer is there.
    Answer { id: u64, bytes: Vec<u8> },
    /// Nothing listens at the address, and its host says so.
    Refused { id: u64 },
    /// The opener's patience has ended.
    Fails { id: u64 },
}

impl World {
    /// Lets a process join through an address, whatever is there.
    pub(crate) fn join(&mut self, pid: Pid, to: SocketAddr) {
        let replay = self.processes[pid].replay;
        let id = self.act(pid, |node, now, out| node.join(vec![to], replay, now, out));
        self.processes[pid].joining = id;
    }

    /// Joins through a random member, and tries again until it works.
    pub(crate) fn join_somewhere(&mut self, pid: Pid) {
        if self.processes[pid].joined || !self.processes[pid].stays() {
            return;
        }
        if self.processes[pid].paused {
            return self.calendar.enter(self.now + JOIN_RETRY, Event::Joins(pid));
        }
        let seeds = self.pick(|p| p.joined && p.stays());
        match self.rng.choice(seeds) {
            Some(seed) => self.join(pid, self.processes[seed].addr),
            // The first of a cluster, or the last.
            None => self.processes[pid].joined = true,
        }
    }

    /// A join is over.
    pub(crate) fn joined(&mut self, pid: Pid, worked: bool) {
        self.processes[pid].joining = None;
        if worked {
            self.tally.count("joins done");
            self.processes[pid].joined = true;
        } else {
            self.calendar.enter(self.now + JOIN_RETRY, Event::Joins(pid));
        }
    }

    /// Opens what a process wants opened.
    pub(crate) fn open(&mut self, opener: Pid, to: SocketAddr, request: &StreamMessage, purpose: Purpose) {
        self.tally.count("streams opened");
        if let Purpose::Reach(_) | Purpose::Reconnect { .. } = purpose {
            self.tally.count("reached for the missing");
        }
        self.next_id += 1;
        let (id, from) = (self.next_id, self.processes[opener].addr);
        let bytes = stream::encode(Dialect::Native, request);
        self.trace(|| {
            format!("process {opener} opens stream {id} to {to}: {purpose:?}, {} bytes", bytes.len())
        });
        self.streams.insert(id, Stream { opener, to, from, purpose });
        let patience = self.now + self.config.tcp_timeout;
        self.calendar.enter(patience, Event::Stream(StreamEvent::Fails { id }));
        if let Some(arrival) = self.travel(from, to, bytes.len(), 3) {
            let request = StreamEvent::Request { id, at: to, from, bytes };
            self.calendar.enter(arrival, Event::Stream(request));
        }
    }

    /// When bytes arrive, after so many crossings (three for a request: handshake, data).
    fn travel(&mut self, from: SocketAddr, to: SocketAddr, len: usize, crossings: u32) -> Option<Moment> {
        let mut time = Duration::from_secs_f64(len as f64 / BANDWIDTH);
        for _ in 0..crossings {
            time += self.network.segment(from, to, &mut self.rng)?;
        }
        Some(self.now + time)
    }

    pub(crate) fn stream(&mut self, event: StreamEvent) {
        match event {
            StreamEvent::Request { id, at, from, bytes } => match self.at(at) {
                // The opener may be paused, and hears of it later.
                None => self.stream(StreamEvent::Refused { id }),
                Some(pid) if self.processes[pid].paused => {
                    self.processes[pid].stalled.push(StreamEvent::Request { id, at, from, bytes });
                }
                Some(pid) => self.heard(id, pid, from, &bytes),
            },
            StreamEvent::Answer { id, bytes } => match self.streams.get(&id).map(|s| s.opener) {
                Some(pid) if self.processes[pid].paused => {
                    self.processes[pid].stalled.push(StreamEvent::Answer { id, bytes });
                }
                Some(_) => self.answered(id, &bytes),
                None => {}
            },
            StreamEvent::Refused { id } => match self.streams.get(&id).map(|s| s.opener) {
                Some(pid) if self.processes[pid].paused => {
                    self.processes[pid].stalled.push(StreamEvent::Refused { id });
                }
                Some(_) => self.fail(id, &StreamFailure::NothingListens("connection refused".to_string())),
                None => {}
            },
            StreamEvent::Fails { id } => match self.streams.get(&id).map(|s| s.opener) {
                Some(pid) if self.processes[pid].paused => {
                    self.processes[pid].stalled.push(StreamEvent::Fails { id });
                }
                Some(_) => self.time_out(id),
                None => {}
            },
        }
    }

    /// The request is at the other end.
    fn heard(&mut self, id: u64, pid: Pid, from: SocketAddr, bytes: &[u8]) {
        let (stream, message) = (StreamId(id as usize), decode(bytes));
        self.via = Via::Exchange;
        self.act(pid, |node, now, out| {
            node.stream_heard(stream, from, message, now, out);
            node.wake(now, out);
        });
        self.via = Via::Gossip;
    }

    /// A process answers on a stream that another opened.
    pub(crate) fn reply(&mut self, StreamId(id): StreamId, message: &StreamMessage) {
        let id = id as u64;
        let Some(Stream { to, from, .. }) = self.streams.get(&id) else { return };
        let (to, from) = (*to, *from);
        let bytes = stream::encode(Dialect::Native, message);
        if let Some(arrival) = self.travel(to, from, bytes.len(), 1) {
            self.calendar.enter(arrival, Event::Stream(StreamEvent::Answer { id, bytes }));
        }
    }

    fn answered(&mut self, id: u64, bytes: &[u8]) {
        let Some(Stream { opener, to, purpose, .. }) = self.streams.remove(&id) else { return };
        let message = decode(bytes);
        match (&purpose, &message) {
            (Purpose::Ping(_), StreamMessage::Ack(_)) => self.tally.count("pings over TCP answered"),
            (Purpose::Ping(_), _) => self.tally.count("pings over TCP failed"),
            (Purpose::Join(_), StreamMessage::PushPull(theirs)) => {
                if !self.processes[opener].replay && self.processes[opener].joining.is_some() {
                    self.tally.count("joins without replay");
                    let now = self.now;
                    self.processes[opener].listener.ignore_before(theirs.serf.event_ltime, now);
                }
            }
            (Purpose::Reconnect { .. }, StreamMessage::Ack(_) | StreamMessage::Error(_)) => {}
            (_, StreamMessage::PushPull(_)) => self.tally.count("exchanges done"),
            (_, other) => panic!("{to} answers a push/pull with {other:?}"),
        }
        self.via = Via::Exchange;
        self.act(opener, |node, now, out| {
            node.stream_answered(purpose, to, message, now, out);
            node.wake(now, out);
        });
        self.via = Via::Gossip;
    }

    /// Nothing more comes of a connection.
    pub(crate) fn time_out(&mut self, id: u64) {
        self.fail(id, &StreamFailure::Broken("timed out".to_string()));
    }

    fn fail(&mut self, id: u64, why: &StreamFailure) {
        let Some(Stream { opener, to, purpose, .. }) = self.streams.remove(&id) else { return };
        self.tally.count("streams failed");
        if let Purpose::Ping(_) = purpose {
            self.tally.count("pings over TCP failed");
        }
        if let StreamFailure::NothingListens(_) = why {
            self.tally.count("connections refused");
        }
        self.act(opener, |node, now, out| node.stream_failed(purpose, to, why, now, out));
    }
}

fn decode(bytes: &[u8]) -> StreamMessage {
    stream::decode(bytes).expect("streams arrive undamaged").expect("streams arrive whole")
}
