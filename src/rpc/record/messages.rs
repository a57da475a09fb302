//! User events and queries: sending them, and what is streamed of them.

use crate::messaging::QueryProgress;
use crate::model::{QueryEvent, UserEvent};
use crate::rpc::codec::{bytes, or_nil, record};
use std::collections::BTreeMap;

record! {
    /// `event`.
    pub EventCall {
        /// Whether receivers may keep the last of several events of this name alone.
        #[serde(deserialize_with = "or_nil")]
        coalesce: bool,
        /// Name of the event.
        #[serde(deserialize_with = "or_nil")]
        name: String,
        /// Any bytes.
        #[serde(with = "bytes")]
        payload: Vec<u8>,
    }
}

record! {
    /// Streamed for user events.
    pub UserEventRecord {
        /// Whether it may be coalesced by name.
        #[serde(deserialize_with = "or_nil")]
        coalesce: bool,
        /// `user`.
        #[serde(deserialize_with = "or_nil")]
        event: String,
        /// Lamport time.
        #[serde(rename = "LTime", deserialize_with = "or_nil")]
        ltime: u64,
        /// Name of the event.
        #[serde(deserialize_with = "or_nil")]
        name: String,
        /// Any bytes.
        #[serde(with = "bytes")]
        payload: Vec<u8>,
    }
}

impl From<&UserEvent> for UserEventRecord {
    fn from(event: &UserEvent) -> UserEventRecord {
        UserEventRecord {
            coalesce: event.coalesce,
            event: "user".to_string(),
            ltime: event.ltime.0,
            name: event.name.clone(),
            payload: event.payload.clone(),
        }
    }
}

record! {
    /// `query`.
    pub QueryCall {
        /// Names of the members that are asked; empty for all.
        #[serde(deserialize_with = "or_nil")]
        filter_nodes: Vec<String>,
        /// Expressions for the tags of the members that are asked.
        #[serde(deserialize_with = "or_nil")]
        filter_tags: BTreeMap<String, String>,
        /// Name of the query.
        #[serde(deserialize_with = "or_nil")]
        name: String,
        /// Any bytes.
        #[serde(with = "bytes")]
        payload: Vec<u8>,
        /// How many members relay each response as well, 0 to 255. Wider than that, so that a value
        /// out of range is refused by name and not as an unreadable request.
        #[serde(deserialize_with = "or_nil")]
        relay_factor: i64,
        /// Whether receipt is to be acknowledged.
        #[serde(deserialize_with = "or_nil")]
        request_ack: bool,
        /// Nanoseconds; 0 for the default.
        #[serde(deserialize_with = "or_nil")]
        timeout: i64,
    }
}

record! {
    /// Streamed to the client that asked a query.
    pub(crate) QueryRecord {
        /// Name of the member that it comes from.
        #[serde(deserialize_with = "or_nil")]
        from: String,
        /// The response; nil in the other two.
        payload: Option<serde_bytes::ByteBuf>,
        /// `ack`, `response` or `done`.
        #[serde(rename = "Type", deserialize_with = "or_nil")]
        kind: String,
    }
}

impl QueryRecord {
    /// `Type` of an acknowledgement.
    pub(crate) const ACK: &str = "ack";
    /// `Type` of a response.
    pub(crate) const RESPONSE: &str = "response";
    /// `Type` of the last record of a query.
    pub(crate) const DONE: &str = "done";

    /// The record of something that came in for a query.
    pub(crate) fn new(progress: &QueryProgress) -> QueryRecord {
        let (kind, from, payload) = match progress {
            QueryProgress::Ack { from } => (QueryRecord::ACK, from.to_string(), None),
            QueryProgress::Response { from, payload } => {
                (QueryRecord::RESPONSE, from.to_string(), Some(payload.clone()))
            }
            QueryProgress::Done => (QueryRecord::DONE, String::new(), None),
        };
        QueryRecord { from, payload: payload.map(Into::into), kind: kind.to_string() }
    }
}

record! {
    /// Streamed for queries that this agent may answer.
    pub QueryEventRecord {
        /// `query`.
        #[serde(deserialize_with = "or_nil")]
        event: String,
        /// To be named in `respond`; counts from 1 on each connection.
        #[serde(rename = "ID", deserialize_with = "or_nil")]
        id: u64,
        /// Lamport time.
        #[serde(rename = "LTime", deserialize_with = "or_nil")]
        ltime: u64,
        /// Name of the query.
        #[serde(deserialize_with = "or_nil")]
        name: String,
        /// Any bytes.
        #[serde(with = "bytes")]
        payload: Vec<u8>,
    }
}

impl QueryEventRecord {
    /// The record of a query that is to be answered by this number.
    pub fn new(query: &QueryEvent, id: u64) -> QueryEventRecord {
        QueryEventRecord {
            event: "query".to_string(),
            id,
            ltime: query.key.ltime.0,
            name: query.name.clone(),
            payload: query.payload.clone(),
        }
    }
}

record! {
    /// `respond`.
    pub RespondCall {
        /// The `ID` of the query's record.
        #[serde(rename = "ID", deserialize_with = "or_nil")]
        id: u64,
        /// Any bytes.
        #[serde(with = "bytes")]
        payload: Vec<u8>,
    }
}
