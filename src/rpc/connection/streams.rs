//! Event streams and the monitor of one client: what is sent without being asked for again.

use super::{Connection, MAX_REPLY, MAX_STREAM_BACKLOG, Monitor, Token};
use crate::model::MemberEventKind;
use crate::rpc::record::{LogRecord, MemberEventRecord, encode};
use crate::telemetry::LogLine;
use log::Level;
use std::sync::Arc;

pub(super) const STREAM_ENDED: &str = "Stream ended: client does not read fast enough";
pub(super) const MONITOR_ENDED: &str = "Monitor ended: client does not read fast enough";

impl Connection {
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
}

fn log_body(line: &LogLine) -> Vec<u8> {
    encode(&LogRecord { log: line.text.clone() })
}
