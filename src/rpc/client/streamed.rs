//! What an agent sends without being asked again: records of streams, monitors and queries.

use super::{Client, ClientError, Kind, read};
use crate::rpc::Command;
use crate::rpc::record::*;
use std::time::Duration;

/// One streamed record.
#[derive(Clone, Debug, PartialEq)]
pub enum Record {
    /// Of a stream: something happened to members.
    Members(MemberEventRecord),
    /// Of a stream: a user event.
    User(UserEventRecord),
    /// Of a stream: a query that may be answered with `respond`.
    Query(QueryEventRecord),
    /// Of a monitor: a line of the log.
    Log(String),
    /// Of one's own query.
    Answer(Answer),
}

/// What comes in for a query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The query arrived at this member.
    Ack {
        /// Its name.
        from: String,
    },
    /// This member answered.
    Response {
        /// Its name.
        from: String,
        /// Its answer.
        payload: Vec<u8>,
    },
    /// The query is over; nothing more comes.
    Done,
}

impl TryFrom<QueryRecord> for Answer {
    type Error = RecordError;

    fn try_from(record: QueryRecord) -> Result<Answer, RecordError> {
        match record.kind.as_str() {
            QueryRecord::ACK => Ok(Answer::Ack { from: record.from }),
            QueryRecord::RESPONSE => Ok(Answer::Response { from: record.from, payload: record.payload }),
            QueryRecord::DONE => Ok(Answer::Done),
            other => Err(RecordError(format!("unknown type {other:?}"))),
        }
    }
}

/// The acks and responses of one query, as they come in; the iterator ends when the query does.
///
/// An error is the last item. Records of other streams that come in meanwhile are kept for
/// [`Client::next_record`]. Dropped early, what is still to come is thrown away.
#[derive(Debug)]
pub struct Answers<'a> {
    client: &'a mut Client,
    query: u64,
    patience: Option<Duration>,
    ended: bool,
}

impl Answers<'_> {
    /// The number of the query, as [`Client::query`] answers it.
    pub fn query(&self) -> u64 {
        self.query
    }

    fn end(&mut self, result: Result<Answer, ClientError>) -> Option<Result<Answer, ClientError>> {
        self.ended = true;
        self.client.forget(self.query);
        match result {
            Ok(_) => None,
            error => Some(error),
        }
    }
}

impl Iterator for Answers<'_> {
    type Item = Result<Answer, ClientError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        match self.client.next_record_of(self.query, self.patience) {
            Ok(Some(Record::Answer(Answer::Done))) => self.end(Ok(Answer::Done)),
            Ok(Some(Record::Answer(answer))) => Some(Ok(answer)),
            Ok(Some(_)) => {
                let error = RecordError("not a record of a query".into());
                self.end(Err(ClientError::Reply { command: Command::Query, error }))
            }
            Ok(None) => self.end(Err(ClientError::Closed)),
            Err(error) => self.end(Err(error)),
        }
    }
}

impl Drop for Answers<'_> {
    fn drop(&mut self) {
        if !self.ended {
            self.client.forget(self.query);
        }
    }
}

impl Client {
    /// Asks a query and iterates over what comes in. Between two answers, or before the end, it
    /// waits `patience` at most, or for ever; an agent collects answers for seconds.
    pub fn ask(
        &mut self,
        query: &QueryRequest,
        patience: Option<Duration>,
    ) -> Result<Answers<'_>, ClientError> {
        let query = self.query(query)?;
        Ok(Answers { client: self, query, patience, ended: false })
    }
}

/// The record in a value, by what the stream is for.
pub(super) fn record(kind: Kind, value: &[u8]) -> Result<Record, ClientError> {
    match kind {
        Kind::Monitor => Ok(Record::Log(read::<LogRecord>(Command::Monitor, value)?.log)),
        Kind::Query => {
            let answer = read::<QueryRecord>(Command::Query, value)?.try_into();
            answer.map(Record::Answer).map_err(|error| ClientError::Reply { command: Command::Query, error })
        }
        Kind::Stream | Kind::Stopped => stream_record(value),
    }
}

/// A record of an event stream: which one it is, its `Event` tells.
fn stream_record(value: &[u8]) -> Result<Record, ClientError> {
    let event: EventName = read(Command::Stream, value)?;
    Ok(match event.event.as_str() {
        "user" => Record::User(read(Command::Stream, value)?),
        "query" => Record::Query(read(Command::Stream, value)?),
        _ => Record::Members(read(Command::Stream, value)?),
    })
}

#[derive(Default, serde::Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct EventName {
    event: String,
}
