//! From bytes to requests: what a connection answers by itself, and what it passes on.

use super::limits::*;
use super::query;
use super::state::{Connection, Expected, Phase};
use crate::messaging::filter::EventFilter;
use crate::model::{Moment, Token};
use crate::rpc::codec::{RecordError, decode};
use crate::rpc::commands::{Incoming, KeyedAnswer, LaterRequest, NowRequest, Request, RpcCommand};
use crate::rpc::filter::MemberFilter;
use crate::rpc::record::*;
use crate::telemetry::counters;
use log::Level;
use subtle::ConstantTimeEq;

/// What a connection does about a call.
enum Verdict {
    /// It has replied.
    Replied,
    /// An empty reply.
    Done,
    /// An error reply.
    Refuse(String),
    /// The agent answers.
    Ask(Request),
}

impl Connection {
    /// Whether bytes from the client are of use now. While not, leave them in the socket.
    pub(crate) fn wants_input(&self) -> bool {
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
            let room = match self.refusal {
                Some(_) => MAX_REFUSED_INPUT - self.input.len(),
                None => bytes.len(),
            };
            let bytes = bytes.get(..room).unwrap_or(bytes);
            if self.input.capacity() - self.input.len() < bytes.len() {
                // By an eighth: twice as much would be more memory than the request has.
                self.input.reserve_exact(bytes.len().max(self.input.len() / 8));
            }
            self.input.extend_from_slice(bytes);
        }
    }

    /// The next request in the input, if it is complete and the last one was answered. Call until
    /// `None`, after [`Connection::receive`], `Connection::reply` and [`Connection::sent`].
    pub fn next_request(&mut self, now: Moment) -> Option<(Token, Request)> {
        let mut consumed = 0;
        let mut request = None;
        while request.is_none() && self.phase == Phase::Open && !self.is_paused() {
            let rest = self.input.get(consumed..).unwrap_or_default();
            let limit = match self.refusal {
                Some(_) => MAX_REFUSED_INPUT,
                None if self.handshaken && self.authenticated => MAX_FRAME,
                None => MAX_FRAME_BEFORE_AUTH,
            };
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
                Err(_) if self.refusal.is_some() => self.refuse_service(0, now),
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

    /// One complete value of the input.
    fn value(&mut self, value: &[u8], now: Moment) -> Option<(u64, Request)> {
        match std::mem::replace(&mut self.expected, Expected::Header) {
            Expected::Header if self.refusal.is_some() => {
                self.refuse_service(decode::<RequestHeader>(value).map_or(0, |header| header.seq), now);
                None
            }
            Expected::Header => match decode::<RequestHeader>(value) {
                Ok(header) => self.header(&header, now),
                Err(e) => {
                    self.fail(0, None, &format!("Invalid request header: {e}"), now);
                    None
                }
            },
            Expected::Body(seq, command) => match self.call(seq, command, value, now) {
                Ok(request) => request,
                Err(e) => {
                    self.fail(seq, Some(command), &format!("Invalid {} request: {e}", command.word()), now);
                    None
                }
            },
            Expected::Ignored => None,
        }
    }

    fn header(&mut self, header: &RequestHeader, now: Moment) -> Option<(u64, Request)> {
        let seq = header.seq;
        let command = RpcCommand::parse(&header.command);
        if !self.handshaken && command != Some(RpcCommand::Handshake) {
            self.fail(seq, None, "Handshake required", now);
            return None;
        }
        let Some(command) = command else {
            // Whether a body follows is unknown, so the input ends here.
            self.fail(seq, None, "Unsupported command", now);
            self.complaint = Some(format!("command {:?} not recognized", shortened(&header.command)));
            return None;
        };
        if !self.authenticated && !matches!(command, RpcCommand::Handshake | RpcCommand::Auth) {
            counters::RPC_UNAUTHENTICATED.inc();
            self.output.push(seq, "Authentication required", None);
            if command.has_request_body() {
                self.expected = Expected::Ignored;
            }
            return None;
        }
        if command.has_request_body() {
            self.expected = Expected::Body(seq, command);
            return None;
        }
        // It cannot fail: there is nothing to read.
        self.call(seq, command, &[], now).unwrap_or_default()
    }

    /// A whole call, with the bytes of its body.
    fn call(
        &mut self,
        seq: u64,
        command: RpcCommand,
        body: &[u8],
        now: Moment,
    ) -> Result<Option<(u64, Request)>, RecordError> {
        let verdict = match command.read(body)? {
            Incoming::Handshake(call) => self.handshake(&call),
            Incoming::Auth(call) => self.auth(seq, &call, now),
            Incoming::Stream(call) => self.stream(seq, &call),
            Incoming::Monitor(call) => self.monitor(&call),
            Incoming::Stop(call) => self.stop(&call),
            Incoming::MembersFiltered(call) => match MemberFilter::compile(&call) {
                Ok(filter) => Verdict::Ask(Request::Now(NowRequest::MembersFiltered(filter))),
                Err(e) => Verdict::Refuse(e.to_string()),
            },
            Incoming::Query(call) => self.query(seq, call),
            Incoming::Respond(call) => self.respond(call, now),
            Incoming::Passed(request) => Verdict::Ask(request),
        };
        match verdict {
            Verdict::Replied => {}
            Verdict::Done => self.output.push(seq, "", None),
            Verdict::Refuse(error) => self.refuse(seq, command, &error),
            Verdict::Ask(request) => {
                self.unanswered = Some((seq, command));
                return Ok(Some((seq, request)));
            }
        }
        Ok(None)
    }

    fn handshake(&mut self, call: &HandshakeCall) -> Verdict {
        if call.version != VERSION {
            Verdict::Refuse("Unsupported IPC version".into())
        } else if self.handshaken {
            Verdict::Refuse("Handshake already performed".into())
        } else {
            self.handshaken = true;
            Verdict::Done
        }
    }

    fn auth(&mut self, seq: u64, call: &AuthCall, now: Moment) -> Verdict {
        // Takes the same time wherever the keys differ; only their length could be timed.
        if bool::from(call.auth_key.as_bytes().ct_eq(self.key.as_bytes())) {
            self.authenticated = true;
            return Verdict::Done;
        }
        counters::RPC_UNAUTHENTICATED.inc();
        let error = "Invalid authentication token";
        self.auth_failures += 1;
        if self.auth_failures < MAX_AUTH_FAILURES {
            return Verdict::Refuse(error.into());
        }
        self.fail(seq, Some(RpcCommand::Auth), error, now);
        self.complaint = Some(format!("{MAX_AUTH_FAILURES} invalid authentication tokens"));
        Verdict::Replied
    }

    fn stream(&mut self, seq: u64, call: &StreamCall) -> Verdict {
        match EventFilter::parse(&call.kind) {
            Err(e) => Verdict::Refuse(e.to_string()),
            Ok(_) if self.streams.contains_key(&seq) => {
                Verdict::Refuse("Stream with given sequence exists".into())
            }
            Ok(_) if self.streams.len() >= MAX_STREAMS => {
                Verdict::Refuse(format!("Too many streams (limit is {MAX_STREAMS})"))
            }
            Ok(filters) => {
                let count = self.streams.values().map(Vec::len).sum::<usize>() + filters.len();
                if count > MAX_STREAM_FILTERS {
                    return Verdict::Refuse(format!(
                        "Too many event filters: {count} in all streams (limit is {MAX_STREAM_FILTERS})"
                    ));
                }
                self.streams.insert(seq, filters);
                self.streams_changed = true;
                Verdict::Done
            }
        }
    }

    fn query(&self, seq: u64, call: QueryCall) -> Verdict {
        if self.queries.contains_key(&seq) {
            return Verdict::Refuse("Query with given sequence exists".into());
        }
        if self.queries.len() >= MAX_QUERIES {
            return Verdict::Refuse(format!("Too many queries at a time (limit is {MAX_QUERIES})"));
        }
        match query::params(call) {
            Ok(params) => Verdict::Ask(Request::Later(LaterRequest::Query(params))),
            Err(refused) => Verdict::Refuse(refused.to_string()),
        }
    }

    fn respond(&mut self, call: RespondCall, now: Moment) -> Verdict {
        match self.pending.find(call.id, now) {
            Some(query) => {
                let answer = KeyedAnswer { query, payload: call.payload };
                Verdict::Ask(Request::Later(LaterRequest::Respond(answer)))
            }
            None => Verdict::Refuse("No pending queries matching ID".into()),
        }
    }

    fn stop(&mut self, call: &StopCall) -> Verdict {
        self.monitor.take_if(|m| m.seq == call.stop);
        self.streams_changed |= self.streams.remove(&call.stop).is_some();
        // As in Serf, stopping what never was is no error.
        Verdict::Done
    }

    fn monitor(&mut self, call: &MonitorCall) -> Verdict {
        let word = call.log_level.to_uppercase();
        let level = match word.as_str() {
            "TRACE" => Level::Trace,
            "DEBUG" => Level::Debug,
            "INFO" => Level::Info,
            "WARN" => Level::Warn,
            "ERR" => Level::Error,
            _ => return Verdict::Refuse(format!("Unknown log level: {}", shortened(&word))),
        };
        if self.monitor.is_some() {
            return Verdict::Refuse("Monitor already exists".into());
        }
        Verdict::Ask(Request::Monitor(level))
    }
}

/// The beginning of a text from a client, for messages.
fn shortened(text: &str) -> &str {
    text.char_indices().nth(64).map_or(text, |(end, _)| text.get(..end).unwrap_or_default())
}
