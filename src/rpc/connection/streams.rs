//! Event streams, running queries and the monitor of one client: what is sent without being asked
//! for again.
//!
//! A client that lets [`MAX_STREAM_BACKLOG`] bytes lie unread loses the stream, query or monitor
//! that had the next record: a last record says so, and the record itself is counted as dropped.
//! So is every record that is still unread when the connection goes, and every answer to a query
//! that no client waits for any more.

use super::limits::{MAX_REPLY, MAX_STREAM_BACKLOG, QUERY_END_DELAY};
use super::state::{Connection, Monitor, Phase};
use crate::messaging::QueryProgress;
use crate::messaging::filter::EventFilter;
use crate::model::{Event, Moment, Token};
use crate::rpc::codec::encode;
use crate::rpc::commands::RpcCommand;
use crate::rpc::record::{LogRecord, MemberEventRecord, QueryEventRecord, QueryRecord, UserEventRecord};
use crate::rpc::reply::RpcReply;
use crate::telemetry::LogLine;
use log::Level;
use std::sync::Arc;

pub(super) const STREAM_ENDED: &str = "Stream ended: client does not read fast enough";
pub(super) const MONITOR_ENDED: &str = "Monitor ended: client does not read fast enough";
pub(super) const QUERY_ENDED: &str = "Query ended: client does not read fast enough";

/// An event on its way to the streams of any number of clients.
///
/// Its record is encoded when the first of them wants it, and once for all. The record of a query
/// holds the client's own number for it, so that one is encoded for each client.
#[derive(Debug)]
pub(crate) struct StreamedEvent<'a> {
    event: &'a Event,
    shared: Option<Vec<u8>>,
}

impl StreamedEvent<'_> {
    /// An event that has not been delivered to any client yet.
    pub(crate) fn new(event: &Event) -> StreamedEvent<'_> {
        StreamedEvent { event, shared: None }
    }
}

impl Connection {
    /// Answers a request for log lines: the recent lines at its level, as many of the last as
    /// may wait unread, then every line numbered `next` or higher.
    pub(crate) fn start_monitor(
        &mut self,
        token: Token,
        level: Level,
        recent: &[Arc<LogLine>],
        next: u64,
    ) -> bool {
        if !self.reply(token, &RpcReply::default()) {
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
            self.output.push_record(token.seq, &log_body(line));
        }
        self.monitor = Some(Monitor { seq: token.seq, level, from: next });
        true
    }

    /// Streams an event to every stream of the client that wants it.
    pub(crate) fn deliver(&mut self, event: &mut StreamedEvent<'_>, now: Moment) {
        let wants = |filters: &[EventFilter]| filters.iter().any(|f| f.passes(event.event));
        let wanted: Vec<u64> =
            self.streams.iter().filter(|(_, filters)| wants(filters)).map(|(seq, _)| *seq).collect();
        if wanted.is_empty() {
            return;
        }
        let own;
        let body = match event.event {
            Event::Query(query) => {
                let id = self.pending.add(query.key, query.deadline, now);
                own = encode(&QueryEventRecord::new(query, id));
                &own
            }
            Event::Members(events) => event
                .shared
                .get_or_insert_with(|| encode(&MemberEventRecord::new(events.kind, &events.members))),
            Event::User(user) => event.shared.get_or_insert_with(|| encode(&UserEventRecord::from(user))),
        };
        for seq in wanted {
            if self.has_room() && body.len() <= MAX_REPLY {
                self.output.push_record(seq, body);
            } else {
                let last = MemberEventRecord { event: "stream-ended".into(), members: Vec::new() };
                self.output.push(seq, STREAM_ENDED, Some(&encode(&last)));
                self.streams.remove(&seq);
                self.streams_changed = true;
                self.count_ended();
            }
        }
    }

    /// Streams what came in for a query that this client asked with `seq`.
    pub(crate) fn query_progress(&mut self, seq: u64, progress: &QueryProgress, now: Moment) {
        if self.unanswered == Some((seq, RpcCommand::Query)) {
            // The query runs, so its answer can only be a good one, wherever that has been held up.
            self.reply(Token { connection: self.id, seq }, &RpcReply::default());
        }
        let has_room = self.has_room();
        let Some(query) = self.queries.get_mut(&seq).filter(|query| query.ends.is_none()) else {
            self.dropped_records += 1;
            return;
        };
        if *progress == QueryProgress::Done {
            query.ends = Some(query.last_answer.map_or(now, |at| at + QUERY_END_DELAY));
            self.end_queries(now);
        } else if has_room {
            query.last_answer = Some(now);
            self.output.push_record(seq, &encode(&QueryRecord::new(progress)));
        } else {
            let last = encode(&QueryRecord::new(&QueryProgress::Done));
            self.output.push(seq, QUERY_ENDED, Some(&last));
            self.queries.remove(&seq);
            self.count_ended();
        }
    }

    /// Delivers the end of every query whose end is due. It finds room always: it is small, and there
    /// is one for each query.
    pub(super) fn end_queries(&mut self, now: Moment) {
        if self.phase == Phase::Open && self.query_deadline().is_some_and(|deadline| deadline <= now) {
            self.queries.retain(|seq, query| {
                let due = query.ends.is_some_and(|at| at <= now);
                if due {
                    self.output.push_record(*seq, &encode(&QueryRecord::new(&QueryProgress::Done)));
                }
                !due
            });
        }
    }

    /// When the next end of a query is due.
    pub(super) fn query_deadline(&self) -> Option<Moment> {
        self.queries.values().filter_map(|query| query.ends).min()
    }

    /// Streams a log line to the client's monitor, if it has one and has not had the line.
    pub(crate) fn log_line(&mut self, number: u64, line: &LogLine) {
        let Some(monitor) = &self.monitor else { return };
        if line.level > monitor.level || number < monitor.from {
            return;
        }
        if self.has_room() {
            self.output.push_record(monitor.seq, &log_body(line));
        } else {
            let last = LogRecord { log: MONITOR_ENDED.into() };
            self.output.push(monitor.seq, MONITOR_ENDED, Some(&encode(&last)));
            self.monitor = None;
            self.count_ended();
        }
    }

    /// The level of the client's monitor, if it has one.
    pub(crate) fn monitor_level(&self) -> Option<Level> {
        self.monitor.as_ref().map(|m| m.level)
    }

    /// The filters of all streams of the client, if any of them has come or gone since the last
    /// call.
    pub(crate) fn take_changed_filters(&mut self) -> Option<Vec<EventFilter>> {
        std::mem::take(&mut self.streams_changed).then(|| self.streams.values().flatten().cloned().collect())
    }

    /// Streams, queries and monitors that ended because the client did not read, since the last
    /// call.
    pub(crate) fn take_ended_streams(&mut self) -> u32 {
        std::mem::take(&mut self.ended_streams)
    }

    /// Records that the client will never get, since the last call. When the connection is closed,
    /// those are among them that were not handed to the socket whole.
    pub(crate) fn take_dropped_records(&mut self) -> u64 {
        if self.phase == Phase::Closed {
            let undelivered = self.queries.values().filter(|query| query.ends.is_some()).count();
            self.dropped_records += (self.output.records() + undelivered) as u64;
            self.output.clear();
            self.queries.clear();
        }
        std::mem::take(&mut self.dropped_records)
    }

    fn has_room(&self) -> bool {
        self.output.backlog() < MAX_STREAM_BACKLOG
    }

    /// The record that found no room ends what it belonged to.
    fn count_ended(&mut self) {
        self.dropped_records += 1;
        self.ended_streams += 1;
    }
}

fn log_body(line: &LogLine) -> Vec<u8> {
    encode(&LogRecord { log: line.text.as_str().into() })
}
