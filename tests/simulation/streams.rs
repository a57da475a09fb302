//! TCP between members: connections that are made or refused, arrive late, or never. Requests
//! and answers are real bytes.

use crate::process::Pid;
use crate::world::{Event, World};
use serf::membership::StreamRequest;
use serf::model::Moment;
use serf::wire::Dialect;
use serf::wire::message::{Ack, Ping, PushPull};
use serf::wire::stream::{self, StreamMessage};
use std::net::SocketAddr;
use std::time::Duration;

/// Bytes a second through one connection.
const BANDWIDTH: f64 = 10e6;
/// Time until a failed join is tried again.
const JOIN_RETRY: Duration = Duration::from_secs(2);

/// Why a connection was opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// To join the cluster.
    Join,
    /// To exchange everything.
    Exchange,
    /// To probe; the sequence number.
    Ping(u32),
}

/// A connection whose opener waits for the answer.
#[derive(Debug)]
pub struct Stream {
    opener: Pid,
    to: SocketAddr,
    purpose: Purpose,
}

/// What happens to a connection.
#[derive(Debug)]
pub enum StreamEvent {
    /// The request is there.
    Request { id: u64, at: SocketAddr, from: SocketAddr, bytes: Vec<u8> },
    /// The answer is there.
    Answer { id: u64, bytes: Vec<u8> },
    /// It was refused, or the opener's patience has ended.
    Fails { id: u64 },
}

impl World {
    /// Opens what a process's rules ask for.
    pub(crate) fn request(&mut self, pid: Pid, request: StreamRequest) {
        match request {
            StreamRequest::PushPull { to, .. } => self.exchange(pid, to.addr, Purpose::Exchange),
            StreamRequest::Reach { to, .. } => {
                self.tally.count("reached for the missing");
                self.exchange(pid, to.addr, Purpose::Exchange);
            }
            StreamRequest::Ping { to, ping } => {
                let purpose = Purpose::Ping(ping.seq_no);
                self.open(pid, to.addr, purpose, &StreamMessage::Ping(ping));
            }
        }
    }

    /// Exchanges everything with whoever is at an address.
    pub fn exchange(&mut self, pid: Pid, to: SocketAddr, purpose: Purpose) {
        let state = self.node(pid).push_pull(purpose == Purpose::Join);
        self.open(pid, to, purpose, &StreamMessage::PushPull(state));
    }

    /// Joins through a random member, and tries again until it works.
    pub fn join_somewhere(&mut self, pid: Pid) {
        if self.processes[pid].joined || !self.processes[pid].stays() {
            return;
        }
        if self.processes[pid].paused {
            return self.calendar.enter(self.now + JOIN_RETRY, Event::Joins(pid));
        }
        let seeds = self.pick(|p| p.joined && p.stays());
        match self.rng.choice(seeds) {
            Some(seed) => self.exchange(pid, self.processes[seed].addr, Purpose::Join),
            // The first of a cluster, or the last.
            None => self.processes[pid].joined = true,
        }
    }

    fn open(&mut self, opener: Pid, to: SocketAddr, purpose: Purpose, request: &StreamMessage) {
        self.tally.count("streams opened");
        self.next_id += 1;
        let (id, from) = (self.next_id, self.processes[opener].addr);
        let bytes = stream::encode(Dialect::Native, request);
        self.trace(|| {
            format!("process {opener} opens stream {id} to {to}: {purpose:?}, {} bytes", bytes.len())
        });
        self.streams.insert(id, Stream { opener, to, purpose });
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
                // Whoever opened it may be paused, and hears of it later.
                None => self.stream(StreamEvent::Fails { id }),
                Some(pid) if self.processes[pid].paused => {
                    self.processes[pid].stalled.push(StreamEvent::Request { id, at, from, bytes });
                }
                Some(pid) => self.respond(id, pid, from, &bytes),
            },
            StreamEvent::Answer { id, bytes } => match self.streams.get(&id).map(|s| s.opener) {
                Some(pid) if self.processes[pid].paused => {
                    self.processes[pid].stalled.push(StreamEvent::Answer { id, bytes });
                }
                Some(_) => self.answered(id, &bytes),
                None => {}
            },
            StreamEvent::Fails { id } => match self.streams.get(&id).map(|s| s.opener) {
                Some(pid) if self.processes[pid].paused => {
                    self.processes[pid].stalled.push(StreamEvent::Fails { id });
                }
                Some(_) => self.fail(id),
                None => {}
            },
        }
    }

    /// The other end: answers with its own state, then takes in the opener's.
    fn respond(&mut self, id: u64, pid: Pid, from: SocketAddr, bytes: &[u8]) {
        let at = self.processes[pid].addr;
        let answer = match decode(bytes) {
            StreamMessage::PushPull(theirs) => {
                // What it says of events is what it knew before, in any case.
                let before = self.node(pid).push_pull(false);
                self.act(pid, |node, now, out| {
                    node.merge(&theirs, false, now, out);
                    node.wake(now, out);
                });
                let after = self.processes[pid].node.as_ref().filter(|_| self.merges_first);
                StreamMessage::PushPull(match after {
                    Some(node) => node.members.push_pull(false, before.serf),
                    None => before,
                })
            }
            StreamMessage::Ping(Ping { seq_no, node, .. }) if node == self.processes[pid].name => {
                StreamMessage::Ack(Ack { seq_no, digest: None, payload: Vec::new() })
            }
            _ => StreamMessage::Error("not meant for me".to_string()),
        };
        let bytes = stream::encode(Dialect::Native, &answer);
        if let Some(arrival) = self.travel(at, from, bytes.len(), 1) {
            self.calendar.enter(arrival, Event::Stream(StreamEvent::Answer { id, bytes }));
        }
    }

    fn answered(&mut self, id: u64, bytes: &[u8]) {
        let Some(Stream { opener, to, purpose }) = self.streams.remove(&id) else { return };
        match (purpose, decode(bytes)) {
            (Purpose::Ping(seq_no), answer) => {
                let acked = matches!(answer, StreamMessage::Ack(a) if a.seq_no == seq_no);
                self.tally.count(if acked { "pings over TCP answered" } else { "pings over TCP failed" });
                self.ping_done(opener, seq_no, acked);
            }
            (_, StreamMessage::PushPull(theirs)) => self.exchanged(opener, purpose, &theirs),
            (_, other) => panic!("{to} answers a push/pull with {other:?}"),
        }
    }

    fn exchanged(&mut self, pid: Pid, purpose: Purpose, theirs: &PushPull) {
        self.tally.count(if purpose == Purpose::Join { "joins done" } else { "exchanges done" });
        if purpose == Purpose::Join {
            self.processes[pid].joined = true;
        }
        let ignore_past = purpose == Purpose::Join && !self.processes[pid].replay;
        self.act(pid, |node, now, out| {
            node.merge(theirs, ignore_past, now, out);
            if purpose == Purpose::Join {
                node.joined(now, out);
            }
            node.wake(now, out);
        });
    }

    fn fail(&mut self, id: u64) {
        let Some(Stream { opener, purpose, .. }) = self.streams.remove(&id) else { return };
        self.tally.count("streams failed");
        match purpose {
            Purpose::Join => self.calendar.enter(self.now + JOIN_RETRY, Event::Joins(opener)),
            Purpose::Exchange => {}
            Purpose::Ping(seq_no) => self.ping_done(opener, seq_no, false),
        }
    }

    fn ping_done(&mut self, pid: Pid, seq_no: u32, answered: bool) {
        self.act(pid, |node, _, _| node.prober.stream_ping_done(seq_no, answered, &mut node.members));
    }
}

/// To whom a request goes.
pub fn request_target(request: &StreamRequest) -> SocketAddr {
    let (StreamRequest::Ping { to, .. }
    | StreamRequest::PushPull { to, .. }
    | StreamRequest::Reach { to, .. }) = request;
    to.addr
}

fn decode(bytes: &[u8]) -> StreamMessage {
    stream::decode(bytes).expect("streams arrive undamaged").expect("streams arrive whole")
}
