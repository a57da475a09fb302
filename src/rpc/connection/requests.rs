//! From values to requests: what a connection answers by itself, and what it passes on.

use super::{
    Connection, Expected, MAX_AUTH_FAILURES, MAX_QUERIES, MAX_STREAM_FILTERS, MAX_STREAMS, Request, query,
};
use crate::messaging::filter::EventFilter;
use crate::model::Moment;
use crate::rpc::Command;
use crate::rpc::filter::MemberFilter;
use crate::rpc::record::*;
use crate::telemetry::counters;
use log::Level;
use subtle::ConstantTimeEq;

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

impl Connection {
    /// One complete value of the input.
    pub(super) fn value(&mut self, value: &[u8], now: Moment) -> Option<(u64, Request)> {
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
            counters::RPC_UNAUTHENTICATED.inc();
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
            Command::Query => self.query(seq, decode(value)?),
            Command::Respond => self.respond(decode(value)?, now),
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
        counters::RPC_UNAUTHENTICATED.inc();
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
                let count = self.streams.values().map(Vec::len).sum::<usize>() + filters.len();
                if count > MAX_STREAM_FILTERS {
                    return Answer::Refuse(format!(
                        "Too many event filters: {count} in all streams (limit is {MAX_STREAM_FILTERS})"
                    ));
                }
                self.streams.insert(seq, filters);
                self.streams_changed = true;
                Answer::Done
            }
        }
    }

    fn query(&self, seq: u64, request: QueryRequest) -> Answer {
        if self.queries.contains_key(&seq) {
            return Answer::Refuse("Query with given sequence exists".into());
        }
        if self.queries.len() >= MAX_QUERIES {
            return Answer::Refuse(format!("Too many queries at a time (limit is {MAX_QUERIES})"));
        }
        match query::params(request) {
            Ok(params) => Answer::Ask(Request::Query(params)),
            Err(refused) => Answer::Refuse(refused.to_string()),
        }
    }

    fn respond(&mut self, request: RespondRequest, now: Moment) -> Answer {
        match self.pending.find(request.id, now) {
            Some(query) => Answer::Ask(Request::Respond { query, payload: request.payload }),
            None => Answer::Refuse("No pending queries matching ID".into()),
        }
    }

    fn stop(&mut self, request: &StopRequest) -> Answer {
        self.monitor.take_if(|m| m.seq == request.stop);
        self.streams_changed |= self.streams.remove(&request.stop).is_some();
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
    pub(super) fn refuse(&mut self, seq: u64, command: Command, error: &str) {
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
    pub(super) fn fail_at_input(&mut self, error: &str, now: Moment) {
        match self.expected {
            Expected::Body(seq, command) => self.fail(seq, Some(command), error, now),
            Expected::Header | Expected::Ignored => self.fail(0, None, error, now),
        }
    }
}

/// The beginning of a text from a client, for messages.
fn shortened(text: &str) -> &str {
    text.char_indices().nth(64).map_or(text, |(end, _)| text.get(..end).unwrap_or_default())
}
