//! One client of the control protocol, as the server sees it: a state machine without sockets or
//! clocks. Bytes go in and typed requests come out; replies and records go in and bytes come out.
//!
//! Requests of one client are answered one after the other, as in Serf; the next is not looked at
//! before the last was answered. Every limit is a constant here. When one is reached the client is
//! told, what was said to it is delivered, and the connection is closed: after an error whose end
//! in the input is unknown nothing more can be read.
//!
//! Who carries the bytes is `agent/rpc.rs`; what requests do is behind its `Control`.

use super::Command;
use super::filter::{EventFilter, MemberFilter};
use super::frame::FrameScanner;
use super::output::Output;
use super::record::*;
use crate::model::{MemberEventKind, Moment};
use crate::telemetry::LogLine;
use log::Level;
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use subtle::ConstantTimeEq;

/// The largest request value, in bytes. Payloads end at 9 KiB; long lists of addresses fit.
pub const MAX_FRAME: usize = 1024 * 1024;
/// The largest request value before handshake and authentication, in bytes.
pub const MAX_FRAME_BEFORE_AUTH: usize = 4 * 1024;
/// The largest reply, in bytes: ten thousand members with full tags take 7 MB.
pub const MAX_REPLY: usize = 16 * 1024 * 1024;
/// With this many bytes unread, no further request of the client is taken.
pub const OUTPUT_PAUSE: usize = 64 * 1024;
/// With this many bytes unread, the next streamed record ends its stream instead.
pub const MAX_STREAM_BACKLOG: usize = 256 * 1024;
/// Requests that wait behind an unanswered one, in bytes; beyond, the client is not read.
pub const MAX_PIPELINE: usize = 64 * 1024;
/// Event streams of one client.
pub const MAX_STREAMS: usize = 64;
/// Wrong keys before the connection is closed.
pub const MAX_AUTH_FAILURES: u32 = 3;
/// From connecting until handshake and authentication are done.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// From the first byte of a request to its last.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a client may leave more than [`MAX_STREAM_BACKLOG`] bytes without reading any.
pub const STALL_TIMEOUT: Duration = Duration::from_secs(30);
/// For the client to read its last reply when the connection is closed.
pub const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);
/// After the last reply, for the client to close first. Closing with unread input would reset the
/// connection, and a reset can overtake the reply.
pub const LINGER_TIMEOUT: Duration = Duration::from_secs(1);

const STREAM_ENDED: &str = "Stream ended: client does not read fast enough";
const MONITOR_ENDED: &str = "Monitor ended: client does not read fast enough";

/// Names one request of one connection, so that an answer that comes later finds its way. An
/// answer to a connection that has closed is ignored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Token {
    /// Number of the connection; never used twice.
    pub connection: u64,
    /// `Seq` of the request.
    pub seq: u64,
}

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
    Query(QueryRequest),
    Respond(RespondRequest),
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
    monitor: Option<Monitor>,

    ended_streams: u32,
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
            monitor: None,
            ended_streams: 0,
            complaint: None,
        }
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

    /// Answers [`Request::Monitor`]: the recent lines at its level, as many of the last as may
    /// wait unread, then every line numbered `next` or higher.
    pub fn start_monitor(&mut self, token: Token, level: Level, recent: &[Arc<LogLine>], next: u64) -> bool {
        if !self.reply::<()>(token, "", None) {
            return false;
        }
        let mut room = MAX_STREAM_BACKLOG / 2;
        let wanted: Vec<_> = recent
            .iter()
            .rev()
            .filter(|line| line.level <= level)
            .take_while(|line| {
                let fits = line.text.len() <= room;
                room = room.saturating_sub(line.text.len() + 32);
                fits
            })
            .collect();
        for line in wanted.into_iter().rev() {
            self.output.push(token.seq, "", Some(&log_body(line)));
        }
        self.monitor = Some(Monitor { seq: token.seq, level, from: next });
        true
    }

    /// Streams a member event; `body` is an encoded [`MemberEventRecord`].
    pub fn member_event(&mut self, kind: MemberEventKind, body: &[u8]) {
        let wanted: Vec<u64> = self
            .streams
            .iter()
            .filter(|(_, filters)| filters.iter().any(|f| f.passes_member(kind)))
            .map(|(seq, _)| *seq)
            .collect();
        for seq in wanted {
            if self.output.pending().len() < MAX_STREAM_BACKLOG && body.len() <= MAX_REPLY {
                self.output.push(seq, "", Some(body));
            } else {
                self.streams.remove(&seq);
                self.ended_streams += 1;
                let last = MemberEventRecord { event: "stream-ended".into(), members: Vec::new() };
                self.output.push(seq, STREAM_ENDED, Some(&encode(&last)));
            }
        }
    }

    /// Streams a log line to the client's monitor, if it has one and has not had the line.
    pub fn log_line(&mut self, number: u64, line: &LogLine) {
        let Some(monitor) = &self.monitor else { return };
        if line.level > monitor.level || number < monitor.from {
            return;
        }
        if self.output.pending().len() < MAX_STREAM_BACKLOG {
            self.output.push(monitor.seq, "", Some(&log_body(line)));
        } else {
            let last = LogRecord { log: MONITOR_ENDED.into() };
            self.output.push(monitor.seq, MONITOR_ENDED, Some(&encode(&last)));
            self.monitor = None;
            self.ended_streams += 1;
        }
    }

    /// The level of the client's monitor, if it has one.
    pub fn monitor_level(&self) -> Option<Level> {
        self.monitor.as_ref().map(|m| m.level)
    }

    /// Whether any stream wants events.
    pub fn has_streams(&self) -> bool {
        !self.streams.is_empty()
    }

    /// Streams and monitors that ended because the client did not read, since the last call.
    pub fn take_ended_streams(&mut self) -> u32 {
        std::mem::take(&mut self.ended_streams)
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
            Phase::Open => [self.handshake_deadline(), self.request_deadline(), self.stall_deadline()]
                .into_iter()
                .flatten()
                .min()
                .unwrap_or(Moment::NEVER),
        }
    }

    /// Closes the connection if one of its deadlines has passed.
    pub fn expire(&mut self, now: Moment) {
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
            self.phase = Phase::Draining(now + DRAIN_TIMEOUT);
            self.streams.clear();
            self.monitor = None;
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
        // A client that leaves a stream unread loses the stream and no more.
        let heavy = self.output.pending().len() > 2 * MAX_STREAM_BACKLOG;
        self.stalled_since.filter(|_| heavy).map(|since| since + STALL_TIMEOUT)
    }

    /// One complete value of the input.
    fn value(&mut self, value: &[u8], now: Moment) -> Option<(u64, Request)> {
        match std::mem::replace(&mut self.expected, Expected::Header) {
            Expected::Header => match decode::<RequestHeader>(value) {
                Ok(header) => self.header(&header, now),
                Err(e) => {
                    self.fail(0, None, &format!("Invalid request header: {e}"), now);
                    None
                }
            },
            Expected::Body(seq, command) => match self.body(seq, command, value, now) {
                Ok(request) => request,
                Err(e) => {
                    self.fail(seq, Some(command), &format!("Invalid {} request: {e}", command.as_str()), now);
                    None
                }
            },
            Expected::Ignored => None,
        }
    }

    fn header(&mut self, header: &RequestHeader, now: Moment) -> Option<(u64, Request)> {
        let seq = header.seq;
        let command = Command::parse(&header.command);
        if !self.handshaken && command != Some(Command::Handshake) {
            self.fail(seq, None, "Handshake required", now);
            return None;
        }
        let Some(command) = command else {
            // Whether a body follows is unknown, so the input ends here.
            self.fail(seq, None, "Unsupported command", now);
            self.complaint = Some(format!("command {:?} not recognized", shortened(&header.command)));
            return None;
        };
        if !self.authenticated && !matches!(command, Command::Handshake | Command::Auth) {
            self.output.push(seq, "Authentication required", None);
            if command.has_request_body() {
                self.expected = Expected::Ignored;
            }
            return None;
        }
        let request = match command {
            Command::Members => Request::Members,
            Command::Stats => Request::Stats,
            Command::Leave => Request::Leave,
            Command::ListKeys => Request::ListKeys,
            _ => {
                self.expected = Expected::Body(seq, command);
                return None;
            }
        };
        self.unanswered = Some((seq, command));
        Some((seq, request))
    }

    fn body(
        &mut self,
        seq: u64,
        command: Command,
        value: &[u8],
        now: Moment,
    ) -> Result<Option<(u64, Request)>, RecordError> {
        let answer = match command {
            Command::Handshake => self.handshake(&decode(value)?),
            Command::Auth => self.auth(seq, &decode(value)?, now),
            Command::Stream => self.stream(seq, &decode(value)?),
            Command::Stop => self.stop(&decode(value)?),
            Command::Monitor => self.monitor(&decode(value)?),
            Command::MembersFiltered => match MemberFilter::compile(&decode(value)?) {
                Ok(filter) => Answer::Ask(Request::MembersFiltered(filter)),
                Err(e) => Answer::Refuse(e.to_string()),
            },
            Command::Join => Answer::Ask(Request::Join(decode(value)?)),
            Command::ForceLeave => Answer::Ask(Request::ForceLeave(decode(value)?)),
            Command::Event => Answer::Ask(Request::Event(decode(value)?)),
            Command::Tags => Answer::Ask(Request::Tags(decode(value)?)),
            Command::Query => Answer::Ask(Request::Query(decode(value)?)),
            Command::Respond => Answer::Ask(Request::Respond(decode(value)?)),
            Command::InstallKey => Answer::Ask(Request::InstallKey(decode(value)?)),
            Command::UseKey => Answer::Ask(Request::UseKey(decode(value)?)),
            Command::RemoveKey => Answer::Ask(Request::RemoveKey(decode(value)?)),
            Command::GetCoordinate => Answer::Ask(Request::GetCoordinate(decode(value)?)),
            // Without a body; `header` has dealt with them.
            Command::Members | Command::Stats | Command::Leave | Command::ListKeys => Answer::Given,
        };
        match answer {
            Answer::Given => {}
            Answer::Done => self.output.push(seq, "", None),
            Answer::Refuse(error) => self.refuse(seq, command, &error),
            Answer::Ask(request) => {
                self.unanswered = Some((seq, command));
                return Ok(Some((seq, request)));
            }
        }
        Ok(None)
    }

    fn handshake(&mut self, request: &HandshakeRequest) -> Answer {
        if request.version != VERSION {
            Answer::Refuse("Unsupported IPC version".into())
        } else if self.handshaken {
            Answer::Refuse("Handshake already performed".into())
        } else {
            self.handshaken = true;
            Answer::Done
        }
    }

    fn auth(&mut self, seq: u64, request: &AuthRequest, now: Moment) -> Answer {
        // Takes the same time wherever the keys differ; only their length could be timed.
        if bool::from(request.auth_key.as_bytes().ct_eq(self.key.as_bytes())) {
            self.authenticated = true;
            return Answer::Done;
        }
        let error = "Invalid authentication token";
        self.auth_failures += 1;
        if self.auth_failures < MAX_AUTH_FAILURES {
            return Answer::Refuse(error.into());
        }
        self.fail(seq, Some(Command::Auth), error, now);
        self.complaint = Some(format!("{MAX_AUTH_FAILURES} invalid authentication tokens"));
        Answer::Given
    }

    fn stream(&mut self, seq: u64, request: &StreamRequest) -> Answer {
        match EventFilter::parse(&request.kind) {
            Err(e) => Answer::Refuse(e.to_string()),
            Ok(_) if self.streams.contains_key(&seq) => {
                Answer::Refuse("Stream with given sequence exists".into())
            }
            Ok(_) if self.streams.len() >= MAX_STREAMS => {
                Answer::Refuse(format!("Too many streams (limit is {MAX_STREAMS})"))
            }
            Ok(filters) => {
                self.streams.insert(seq, filters);
                Answer::Done
            }
        }
    }

    fn stop(&mut self, request: &StopRequest) -> Answer {
        self.monitor.take_if(|m| m.seq == request.stop);
        self.streams.remove(&request.stop);
        // As in Serf, stopping what never was is no error.
        Answer::Done
    }

    fn monitor(&mut self, request: &MonitorRequest) -> Answer {
        let word = request.log_level.to_uppercase();
        let level = match word.as_str() {
            "TRACE" => Level::Trace,
            "DEBUG" => Level::Debug,
            "INFO" => Level::Info,
            "WARN" => Level::Warn,
            "ERR" => Level::Error,
            _ => return Answer::Refuse(format!("Unknown log level: {}", shortened(&word))),
        };
        if self.monitor.is_some() {
            return Answer::Refuse("Monitor already exists".into());
        }
        Answer::Ask(Request::Monitor(level))
    }

    /// An error reply after which the connection goes on.
    fn refuse(&mut self, seq: u64, command: Command, error: &str) {
        let body = match command {
            Command::Join => Some(encode(&JoinResponse::default())),
            Command::Members | Command::MembersFiltered => Some(encode(&MembersResponse::default())),
            Command::InstallKey | Command::UseKey | Command::RemoveKey | Command::ListKeys => {
                Some(encode(&KeyResponse::default()))
            }
            Command::Stats => Some(encode(&Stats::default())),
            Command::GetCoordinate => Some(encode(&CoordinateResponse::default())),
            _ => None,
        };
        debug_assert_eq!(body.is_some(), command.has_reply_body());
        self.output.push(seq, error, body.as_deref());
    }

    /// An error reply after which the connection is closed.
    fn fail(&mut self, seq: u64, command: Option<Command>, error: &str, now: Moment) {
        match command {
            Some(command) => self.refuse(seq, command, error),
            None => self.output.push(seq, error, None),
        }
        self.complaint = Some(error.to_string());
        self.close(now);
    }

    /// As [`Connection::fail`], for whatever request the input has come to.
    fn fail_at_input(&mut self, error: &str, now: Moment) {
        match self.expected {
            Expected::Body(seq, command) => self.fail(seq, Some(command), error, now),
            Expected::Header | Expected::Ignored => self.fail(0, None, error, now),
        }
    }
}

/// How the connection takes a request with a body.
enum Answer {
    /// It has replied.
    Given,
    /// An empty reply.
    Done,
    /// An error reply.
    Refuse(String),
    /// The agent answers.
    Ask(Request),
}

fn log_body(line: &LogLine) -> Vec<u8> {
    encode(&LogRecord { log: line.text.clone() })
}

/// The beginning of a text from a client, for messages.
fn shortened(text: &str) -> &str {
    text.char_indices().nth(64).map_or(text, |(end, _)| text.get(..end).unwrap_or_default())
}

#[cfg(test)]
#[path = "connection_tests.rs"]
mod tests;
