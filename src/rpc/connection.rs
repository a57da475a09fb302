//! One client of the control protocol, as the server sees it: a state machine without sockets or
//! clocks. Bytes go in and typed requests come out; replies and records go in and bytes come out.
//!
//! Requests of one client are answered one after the other, as in Serf; the next is not looked at
//! before the last was answered. Every limit is a constant in `limits.rs`. When one is reached the client is
//! told, what was said to it is delivered, and the connection is closed: after an error whose end
//! in the input is unknown nothing more can be read.
//!
//! Who carries the bytes is `agent/rpc.rs`; what requests do is behind its `Control`.

mod limits;
mod pending;
mod query;
mod requests;
mod streams;

pub use limits::*;
pub use streams::Told;

use super::Command;
use super::filter::MemberFilter;
use super::frame::FrameScanner;
use super::output::Output;
use super::record::*;
use crate::messaging::QueryParams;
use crate::messaging::filter::EventFilter;
use crate::model::{Moment, QueryKey, Token};
use log::Level;
use pending::PendingQueries;
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::Arc;
use streams::OwnQuery;

/// A request that the agent has to answer; the connection has dealt with the others.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "named after the commands")]
pub enum Request {
    Members,
    MembersFiltered(MemberFilter),
    Stats,
    Join(JoinRequest),
    Leave,
    ForceLeave(ForceLeaveRequest),
    Monitor(Level),
    Event(EventRequest),
    Tags(TagsRequest),
    Query(QueryParams),
    Respond { query: QueryKey, payload: Vec<u8> },
    InstallKey(KeyRequest),
    UseKey(KeyRequest),
    RemoveKey(KeyRequest),
    ListKeys,
    GetCoordinate(CoordinateRequest),
}

/// Where a connection is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Serving.
    Open,
    /// Nothing is read any more; the last bytes are being written, until this moment at most.
    Draining(Moment),
    /// Everything is written and the writing side is to be shut down; input is thrown away until
    /// the client closes, until this moment at most.
    Lingering(Moment),
    /// To be dropped.
    Closed,
}

/// What the next value in the input is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expected {
    Header,
    Body(u64, Command),
    /// The body of a request that was refused by its header.
    Ignored,
}

#[derive(Debug)]
struct Monitor {
    seq: u64,
    level: Level,
    /// Lines with a smaller number were sent as recent lines.
    from: u64,
}

/// One client.
#[derive(Debug)]
pub struct Connection {
    id: u64,
    key: Arc<str>,
    opened: Moment,
    phase: Phase,
    peer_closed: bool,

    input: Vec<u8>,
    scanner: FrameScanner,
    expected: Expected,
    partial_since: Option<Moment>,

    output: Output,
    stalled_since: Option<Moment>,

    handshaken: bool,
    authenticated: bool,
    auth_failures: u32,

    unanswered: Option<(u64, Command)>,
    streams: BTreeMap<u64, Vec<EventFilter>>,
    streams_changed: bool,
    monitor: Option<Monitor>,
    /// The client's own queries that run, by `Seq`.
    queries: BTreeMap<u64, OwnQuery>,
    /// The queries that the client was told of.
    pending: PendingQueries,

    ended_streams: u32,
    dropped_records: u64,
    complaint: Option<String>,
}

impl Connection {
    /// A client that connected `now`. `key` is `rpc_auth`, empty for none; a later change of it
    /// concerns later connections. `id` must never be used again.
    pub fn new(id: u64, key: Arc<str>, now: Moment) -> Connection {
        Connection {
            id,
            authenticated: key.is_empty(),
            key,
            opened: now,
            phase: Phase::Open,
            peer_closed: false,
            input: Vec::new(),
            scanner: FrameScanner::default(),
            expected: Expected::Header,
            partial_since: None,
            output: Output::default(),
            stalled_since: None,
            handshaken: false,
            auth_failures: 0,
            unanswered: None,
            streams: BTreeMap::new(),
            streams_changed: false,
            monitor: None,
            queries: BTreeMap::new(),
            pending: PendingQueries::default(),
            ended_streams: 0,
            dropped_records: 0,
            complaint: None,
        }
    }

    /// The number that the connection was given.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Where the connection is in its life.
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// Whether bytes from the client are of use now. While not, leave them in the socket.
    pub fn wants_input(&self) -> bool {
        !self.peer_closed
            && match self.phase {
                Phase::Open => !self.is_paused() || self.input.len() < MAX_PIPELINE,
                Phase::Draining(_) | Phase::Lingering(_) => true,
                Phase::Closed => false,
            }
    }

    /// Bytes that came from the client. Call [`Connection::next_request`] afterwards.
    pub fn receive(&mut self, bytes: &[u8]) {
        if self.phase == Phase::Open {
            self.input.extend_from_slice(bytes);
        }
    }

    /// The client closed its sending side. What it asked before is answered still.
    pub fn peer_closed(&mut self) {
        self.peer_closed = true;
        if matches!(self.phase, Phase::Lingering(_)) {
            self.phase = Phase::Closed;
        }
    }

    /// The next request in the input, if it is complete and the last one was answered. Call until
    /// `None`, after [`Connection::receive`], [`Connection::reply`] and [`Connection::sent`].
    pub fn next_request(&mut self, now: Moment) -> Option<(Token, Request)> {
        let mut consumed = 0;
        let mut request = None;
        while request.is_none() && self.phase == Phase::Open && !self.is_paused() {
            let rest = self.input.get(consumed..).unwrap_or_default();
            let limit = if self.handshaken && self.authenticated { MAX_FRAME } else { MAX_FRAME_BEFORE_AUTH };
            match self.scanner.scan(rest, limit) {
                Ok(Some(len)) => {
                    // Out of the buffer for as long as it is looked at, for the borrow checker.
                    let input = std::mem::take(&mut self.input);
                    request = self.value(input.get(consumed..consumed + len).unwrap_or_default(), now);
                    self.input = input;
                    consumed += len;
                    self.partial_since = None;
                }
                Ok(None) => {
                    if self.peer_closed {
                        self.close(now);
                    } else if !rest.is_empty() || self.expected != Expected::Header {
                        self.partial_since.get_or_insert(now);
                    }
                    break;
                }
                Err(e) => self.fail_at_input(&format!("Invalid request: {e}"), now),
            }
        }
        if self.phase == Phase::Open {
            self.input.drain(..consumed);
            if self.input.is_empty() {
                self.input.shrink_to(MAX_FRAME_BEFORE_AUTH);
            }
        } else {
            self.input = Vec::new();
        }
        let (seq, request) = request?;
        Some((Token { connection: self.id, seq }, request))
    }

    /// Answers a request. `body` is what the command's reply holds; clients wait for it after an
    /// error too, so give it wherever [`Command::has_reply_body`]. Returns whether the token's
    /// request was still waiting.
    pub fn reply<T: Serialize>(&mut self, token: Token, error: &str, body: Option<&T>) -> bool {
        let Some((seq, command)) = self.unanswered.filter(|(seq, _)| self.names(token, *seq)) else {
            return false;
        };
        let body = body.map(encode);
        match &body {
            Some(bytes) if bytes.len() > MAX_REPLY => {
                self.refuse(seq, command, &format!("Reply is larger than {MAX_REPLY} bytes"));
            }
            _ => self.output.push(seq, error, body.as_deref()),
        }
        if command == Command::Query && error.is_empty() {
            self.queries.insert(seq, OwnQuery::default());
        }
        self.unanswered = None;
        true
    }

    /// Answers a request with an error alone; a body that clients wait for is added empty.
    pub fn reply_error(&mut self, token: Token, error: &str) -> bool {
        let Some((seq, command)) = self.unanswered.filter(|(seq, _)| self.names(token, *seq)) else {
            return false;
        };
        self.refuse(seq, command, error);
        self.unanswered = None;
        true
    }

    /// Why the connection is being closed, if that is worth a line in the log. Told once.
    pub fn take_complaint(&mut self) -> Option<String> {
        self.complaint.take()
    }

    /// What is to be written to the client.
    pub fn output(&self) -> &[u8] {
        self.output.pending()
    }

    /// The socket took `count` bytes; call with 0 too when it took none.
    pub fn sent(&mut self, count: usize, now: Moment) {
        self.output.take(count);
        self.stalled_since = match self.stalled_since {
            _ if self.output.pending().is_empty() => None,
            Some(since) if count == 0 => Some(since),
            _ => Some(now),
        };
        if matches!(self.phase, Phase::Draining(_)) && self.output.pending().is_empty() {
            self.phase =
                if self.peer_closed { Phase::Closed } else { Phase::Lingering(now + LINGER_TIMEOUT) };
        }
    }

    /// When [`Connection::expire`] is to be called at the latest.
    pub fn deadline(&self) -> Moment {
        match self.phase {
            Phase::Draining(until) | Phase::Lingering(until) => until,
            Phase::Closed => Moment::NEVER,
            Phase::Open => [
                self.handshake_deadline(),
                self.request_deadline(),
                self.stall_deadline(),
                self.query_deadline(),
            ]
            .into_iter()
            .flatten()
            .min()
            .unwrap_or(Moment::NEVER),
        }
    }

    /// Tells the end of queries that is due, and closes the connection if one of its deadlines has
    /// passed.
    pub fn expire(&mut self, now: Moment) {
        self.end_queries(now);
        let passed = |deadline: Option<Moment>| deadline.is_some_and(|d| d <= now);
        match self.phase {
            Phase::Open if passed(self.handshake_deadline()) => {
                let missing = if self.handshaken { "authentication" } else { "handshake" };
                let seconds = HANDSHAKE_TIMEOUT.as_secs();
                self.fail_at_input(&format!("No {missing} within {seconds} seconds"), now);
            }
            Phase::Open if passed(self.request_deadline()) => {
                let seconds = REQUEST_TIMEOUT.as_secs();
                self.fail_at_input(&format!("Request was not complete within {seconds} seconds"), now);
            }
            Phase::Open if passed(self.stall_deadline()) => {
                self.complaint = Some("client does not read its replies".into());
                self.phase = Phase::Closed;
            }
            Phase::Draining(until) | Phase::Lingering(until) if until <= now => self.phase = Phase::Closed,
            _ => {}
        }
    }

    /// Ends the connection from our side: what is queued is delivered, nothing more is taken.
    pub fn close(&mut self, now: Moment) {
        if self.phase == Phase::Open {
            // Those that are over already; nothing comes of the others any more.
            self.end_queries(Moment::NEVER);
            self.phase = Phase::Draining(now + DRAIN_TIMEOUT);
            self.streams_changed |= !self.streams.is_empty();
            self.streams.clear();
            self.monitor = None;
            self.queries.clear();
            self.pending = PendingQueries::default();
            self.unanswered = None;
            self.partial_since = None;
            self.input = Vec::new();
        }
    }

    /// Nothing can be delivered any more: the socket has failed.
    pub fn abandon(&mut self) {
        self.phase = Phase::Closed;
    }

    /// Tells the client `error`, outside of any request, and ends the connection.
    pub fn reject(&mut self, error: &str, now: Moment) {
        if self.phase == Phase::Open {
            self.output.push(0, error, None);
            self.close(now);
        }
    }

    fn names(&self, token: Token, seq: u64) -> bool {
        token == Token { connection: self.id, seq }
    }

    /// Whether requests have to wait: for an answer, or for the client to read.
    fn is_paused(&self) -> bool {
        self.unanswered.is_some() || self.output.pending().len() >= OUTPUT_PAUSE
    }

    fn handshake_deadline(&self) -> Option<Moment> {
        (!self.handshaken || !self.authenticated).then(|| self.opened + HANDSHAKE_TIMEOUT)
    }

    fn request_deadline(&self) -> Option<Moment> {
        self.partial_since.map(|since| since + REQUEST_TIMEOUT)
    }

    fn stall_deadline(&self) -> Option<Moment> {
        // A client that leaves a stream unread loses the stream and no more, unless it has ended
        // the conversation on its side.
        let heavy = self.peer_closed || self.output.pending().len() > 2 * MAX_STREAM_BACKLOG;
        self.stalled_since.filter(|_| heavy).map(|since| since + STALL_TIMEOUT)
    }
}

#[cfg(test)]
mod tests;
