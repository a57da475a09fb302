//! What an agent sends without being asked again: records of streams, monitors and queries.

use super::error::ClientError;
use crate::model::Text;
use crate::rpc::codec::{Field, RecordError, decode, record};
use crate::rpc::commands::{Call, RpcCommand};
use crate::rpc::record::*;

/// What the records of a stream are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Streamed {
    /// Events, of `stream`.
    Events,
    /// Lines of the log, of `monitor`.
    Log,
    /// What comes in for a `query`.
    Answers,
    /// Of no use any more.
    Nothing,
}

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
    Log(Text),
    /// Of one's own query.
    Answer(QueryAnswer),
}

/// What comes in for a query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum QueryAnswer {
    /// The query arrived at this member.
    Ack {
        /// Its name.
        from: Text,
    },
    /// This member answered.
    Response {
        /// Its name.
        from: Text,
        /// Its answer.
        payload: Vec<u8>,
    },
    /// The query is over; nothing more comes.
    Done,
}

impl TryFrom<QueryRecord> for QueryAnswer {
    type Error = RecordError;

    fn try_from(record: QueryRecord) -> Result<QueryAnswer, RecordError> {
        match record.kind.as_str() {
            QueryRecord::ACK => Ok(QueryAnswer::Ack { from: record.from }),
            QueryRecord::RESPONSE => {
                let payload = record.payload.unwrap_or_default();
                Ok(QueryAnswer::Response { from: record.from, payload })
            }
            QueryRecord::DONE => Ok(QueryAnswer::Done),
            other => Err(RecordError(format!("unknown type {other:?}"))),
        }
    }
}

impl Streamed {
    /// The record in a value.
    pub(super) fn read(self, value: &[u8]) -> Result<Record, ClientError> {
        match self {
            Streamed::Log => Ok(Record::Log(read::<MonitorCall, LogRecord>(value)?.log)),
            Streamed::Answers => {
                let answer = read::<QueryCall, QueryRecord>(value)?.try_into();
                answer
                    .map(Record::Answer)
                    .map_err(|error| ClientError::Reply { command: RpcCommand::Query, error })
            }
            Streamed::Events | Streamed::Nothing => event(value),
        }
    }
}

/// A record of an event stream: which one it is, its `Event` says.
fn event(value: &[u8]) -> Result<Record, ClientError> {
    let event: EventName = read::<StreamCall, _>(value)?;
    Ok(match event.event.as_str() {
        "user" => Record::User(read::<StreamCall, _>(value)?),
        "query" => Record::Query(read::<StreamCall, _>(value)?),
        _ => Record::Members(read::<StreamCall, _>(value)?),
    })
}

/// A record that was asked for by this call.
fn read<C: Call, T: Field>(value: &[u8]) -> Result<T, ClientError> {
    decode(value).map_err(|error| ClientError::Reply { command: C::COMMAND, error })
}

record! {
    /// What all of them have.
    EventName {
        "Event" event: String,
    }
}
