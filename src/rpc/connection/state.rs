//! The state of a connection, and what every part of it does: queue a reply, refuse, close.

use super::limits::*;
use super::own_queries::OwnQuery;
use super::pending::PendingQueries;
use crate::messaging::filter::EventFilter;
use crate::model::{Moment, Token};
use crate::rpc::commands::RpcCommand;
use crate::rpc::frame::FrameScanner;
use crate::rpc::output::Output;
use crate::rpc::reply::RpcReply;
use log::Level;
use std::collections::BTreeMap;
use std::sync::Arc;

/// How far a connection has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
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
pub(super) enum Expected {
    Header,
    Body(u64, RpcCommand),
    /// The body of a request that was refused by its header.
    Ignored,
}

/// The stream of log lines to the client.
#[derive(Debug)]
pub(super) struct Monitor {
    pub(super) seq: u64,
    pub(super) level: Level,
    /// Lines with a smaller number were sent as recent lines.
    pub(super) from: u64,
}

/// One client.
#[derive(Debug)]
pub struct Connection {
    pub(super) id: u64,
    pub(super) key: Arc<str>,
    pub(super) opened: Moment,
    pub(super) phase: Phase,
    pub(super) peer_closed: bool,

    pub(super) input: Vec<u8>,
    pub(super) scanner: FrameScanner,
    pub(super) expected: Expected,
    pub(super) partial_since: Option<Moment>,

    pub(super) output: Output,
    pub(super) stalled_since: Option<Moment>,

    pub(super) handshaken: bool,
    pub(super) authenticated: bool,
    pub(super) auth_failures: u32,
    /// Why the client is not served, if it is not. Its first request is answered with that.
    pub(super) refusal: Option<String>,

    pub(super) unanswered: Option<(u64, RpcCommand)>,
    pub(super) streams: BTreeMap<u64, Vec<EventFilter>>,
    pub(super) streams_changed: bool,
    pub(super) monitor: Option<Monitor>,
    /// The client's own queries that run, by `Seq`.
    pub(super) queries: BTreeMap<u64, OwnQuery>,
    /// The queries that were delivered to the client.
    pub(super) pending: PendingQueries,

    pub(super) ended_streams: u32,
    pub(super) dropped_records: u64,
    pub(super) complaint: Option<String>,
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
            refusal: None,
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
    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    /// How far the connection has come.
    pub(crate) fn phase(&self) -> Phase {
        self.phase
    }

    /// The client closed its sending side. What it asked before is answered still.
    pub fn peer_closed(&mut self) {
        self.peer_closed = true;
        if matches!(self.phase, Phase::Lingering(_)) {
            self.phase = Phase::Closed;
        }
    }

    /// Answers a request. Returns whether the token's request was still waiting.
    pub(crate) fn reply(&mut self, token: Token, reply: &RpcReply) -> bool {
        let Some((seq, command)) = self.unanswered.filter(|(seq, _)| self.names(token, *seq)) else {
            return false;
        };
        let has_body = reply.body.is_some() || reply.list.is_some();
        debug_assert!(has_body == command.has_reply_body() || !reply.error.is_empty());
        match (&reply.body, &reply.list) {
            (None, Some(list)) => self.output.push_list(seq, list.clone()),
            (Some(bytes), _) if bytes.len() > MAX_REPLY => {
                self.refuse(seq, command, &format!("Reply is larger than {MAX_REPLY} bytes"));
            }
            (Some(bytes), _) => self.output.push(seq, &reply.error, Some(bytes)),
            (None, None) => self.refuse(seq, command, &reply.error),
        }
        if command == RpcCommand::Query && reply.error.is_empty() {
            self.queries.insert(seq, OwnQuery::default());
        }
        self.unanswered = None;
        true
    }

    /// Answers a request with an error alone.
    pub fn reply_error(&mut self, token: Token, error: &str) -> bool {
        self.reply(token, &RpcReply::refusal(error))
    }

    /// A reply without a response of its own; a response that clients wait for is added empty.
    pub(super) fn refuse(&mut self, seq: u64, command: RpcCommand, error: &str) {
        self.output.push(seq, error, command.empty_reply().as_deref());
    }

    /// An error reply after which the connection is closed.
    pub(super) fn fail(&mut self, seq: u64, command: Option<RpcCommand>, error: &str, now: Moment) {
        match command {
            Some(command) => self.refuse(seq, command, error),
            None => self.output.push(seq, error, None),
        }
        self.complaint = Some(error.to_string());
        self.close(now);
    }

    /// As [`Connection::fail`], for whatever request the input has come to.
    pub(super) fn fail_at_input(&mut self, error: &str, now: Moment) {
        match self.expected {
            Expected::Body(seq, command) => self.fail(seq, Some(command), error, now),
            Expected::Header | Expected::Ignored => self.fail(0, None, error, now),
        }
    }

    /// Why the connection is being closed, if that is worth a line in the log. Given once.
    pub(crate) fn take_complaint(&mut self) -> Option<String> {
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
            Some(_) | None => Some(now),
        };
        if matches!(self.phase, Phase::Draining(_)) && self.output.pending().is_empty() {
            self.phase =
                if self.peer_closed { Phase::Closed } else { Phase::Lingering(now + LINGER_TIMEOUT) };
        }
    }

    /// Ends the connection from our side: what is queued is delivered, nothing more is taken.
    pub(crate) fn close(&mut self, now: Moment) {
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

    /// Nothing can be delivered any more: the socket has failed, or others need the room. The input is of no use
    /// either; the output is still counted by [`Connection::take_dropped_records`].
    pub(crate) fn abandon(&mut self) {
        self.phase = Phase::Closed;
        self.input = Vec::new();
    }

    /// How much memory is taken for requests that are not complete, and for what the client has not read, in bytes.
    pub(crate) fn held(&self) -> usize {
        self.input.capacity() + self.output.held()
    }

    /// Serves the client nothing but `error`, as the answer to its first request, because HashiCorp's
    /// clients show no error that belongs to none.
    pub(crate) fn turn_away(&mut self, error: String) {
        self.refusal = Some(error);
    }

    /// Whether the client is served, or would be if it asked.
    pub(crate) fn is_served(&self) -> bool {
        self.phase == Phase::Open && self.refusal.is_none()
    }

    /// Whether the client has the token, or none is asked for.
    pub(crate) fn is_authenticated(&self) -> bool {
        self.authenticated
    }

    /// Whether the client has said which protocol it speaks.
    pub(crate) fn is_handshaken(&self) -> bool {
        self.handshaken
    }

    /// Answers a client that is turned away with the reason.
    pub(super) fn refuse_service(&mut self, seq: u64, now: Moment) {
        if let Some(error) = self.refusal.take() {
            self.output.push(seq, &error, None);
            self.close(now);
        }
    }

    fn names(&self, token: Token, seq: u64) -> bool {
        token == Token { connection: self.id, seq }
    }

    /// Whether requests have to wait: for an answer, or for the client to read.
    pub(super) fn is_paused(&self) -> bool {
        self.unanswered.is_some() || self.output.backlog() >= OUTPUT_PAUSE || self.output.is_listing()
    }
}
