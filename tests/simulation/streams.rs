//! TCP between members: connections that are made or refused, arrive late, or never. Requests
//! and answers are real bytes; what they say is decided by the members.

use crate::process::Pid;
use crate::world::{Event, Via, World};
use serf::model::Moment;
use serf::node::exchanges::{DialogueLine, Purpose, StreamFailure, StreamId};
use serf::wire::Dialect;
use serf::wire::difference::DifferenceMessage;
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
    /// Messages so far: the opener's patience begins anew with each.
    messages: u32,
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
    Fails { id: u64, after: u32 },
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
        self.streams.insert(id, Stream { opener, to, from, purpose, messages: 0 });
        let patience = self.now + self.config.tcp_timeout;
        self.calendar.enter(patience, Event::Stream(StreamEvent::Fails { id, after: 0 }));
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
            StreamEvent::Fails { id, after } => match self.streams.get(&id) {
                Some(stream) if stream.messages != after => {}
                Some(stream) if self.processes[stream.opener].paused => {
                    let pid = stream.opener;
                    self.processes[pid].stalled.push(StreamEvent::Fails { id, after });
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

    /// A process goes on with an exchange of what differs.
    pub(crate) fn say(&mut self, speaker: Pid, line: DialogueLine, message: DifferenceMessage, last: bool) {
        let Some(id) = self.line(speaker, line) else { return };
        self.tally.count("messages in exchanges");
        let bytes = stream::encode(Dialect::Native, &StreamMessage::Difference(message));
        let Some(stream) = self.streams.get_mut(&id) else { return };
        stream.messages += 1;
        let (opener, to, from, messages) = (stream.opener, stream.to, stream.from, stream.messages);
        let (here, there) = if opener == speaker { (from, to) } else { (to, from) };
        self.tally.add("bytes in exchanges", bytes.len() as u64);
        if last {
            self.tally.count("exchanges done");
        }
        if opener == speaker && last {
            // It is not interested in what comes of it.
            self.streams.remove(&id);
        } else {
            let patience = self.now + self.config.tcp_timeout;
            self.calendar.enter(patience, Event::Stream(StreamEvent::Fails { id, after: messages }));
        }
        if let Some(arrival) = self.travel(here, there, bytes.len(), 1) {
            let event = if opener == speaker {
                StreamEvent::Request { id, at: to, from, bytes }
            } else {
                StreamEvent::Answer { id, bytes }
            };
            self.calendar.enter(arrival, Event::Stream(event));
        }
    }

    /// A process ends the stream of such an exchange.
    pub(crate) fn end_line(&mut self, speaker: Pid, line: DialogueLine) {
        let Some(id) = self.line(speaker, line) else { return };
        let Some(stream) = self.streams.remove(&id) else { return };
        if stream.opener == speaker {
            self.tell_of_the_end(id, stream.to);
        } else {
            self.streams.insert(id, stream);
            self.fail(id, &StreamFailure::Closed("closed by the other side".to_string()));
        }
    }

    /// The one that answers sees that the stream is gone: nothing that could make it do something.
    fn tell_of_the_end(&mut self, id: u64, answerer: SocketAddr) {
        if let Some(pid) = self.at(answerer)
            && let Some(node) = &mut self.processes[pid].node
        {
            node.stream_closed(StreamId(id as usize));
        }
    }

    fn line(&self, speaker: Pid, line: DialogueLine) -> Option<u64> {
        match line {
            DialogueLine::Theirs(StreamId(id)) => Some(id as u64),
            DialogueLine::Ours(ours) => {
                let is_it = |stream: &&Stream| {
                    stream.opener == speaker && matches!(stream.purpose, Purpose::Dialogue(id) if id == ours)
                };
                self.streams.iter().find(|(_, stream)| is_it(stream)).map(|(id, _)| *id)
            }
        }
    }

    fn answered(&mut self, id: u64, bytes: &[u8]) {
        let message = decode(bytes);
        if let Some(stream) = self.streams.get_mut(&id)
            && let Purpose::Dialogue(_) = stream.purpose
            && let StreamMessage::Difference(_) = message
        {
            stream.messages += 1;
            let (opener, to, purpose) = (stream.opener, stream.to, stream.purpose.clone());
            self.via = Via::Exchange;
            self.act(opener, |node, now, out| {
                node.stream_answered(purpose, to, message, now, out);
                node.wake(now, out);
            });
            self.via = Via::Gossip;
            return;
        }
        let Some(Stream { opener, to, purpose, .. }) = self.streams.remove(&id) else { return };
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
        if let Purpose::Dialogue(_) = purpose {
            self.tell_of_the_end(id, to);
        }
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
