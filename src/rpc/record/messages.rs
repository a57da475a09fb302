//! User events and queries: sending them, and what is streamed of them.

use crate::messaging::QueryProgress;
use crate::model::{QueryEvent, Text, UserEvent};
use crate::rpc::codec::record;
use std::collections::BTreeMap;

record! {
    /// `event`.
    pub EventCall {
        /// Whether receivers may keep the last of several events of this name alone.
        "Coalesce" coalesce: bool,
        /// Name of the event.
        "Name" name: Text,
        /// Any bytes.
        "Payload" payload: Vec<u8>,
    }
    listed "Name" "Payload" "Coalesce"
}

record! {
    /// Streamed for user events.
    pub UserEventRecord {
        /// Whether it may be coalesced by name.
        "Coalesce" coalesce: bool,
        /// `user`.
        "Event" event: String,
        /// Lamport time.
        "LTime" ltime: u64,
        /// Name of the event.
        "Name" name: Text,
        /// Any bytes.
        "Payload" payload: Vec<u8>,
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
        "FilterNodes" filter_nodes: Vec<Text>,
        /// Expressions for the tags of the members that are asked.
        "FilterTags" filter_tags: BTreeMap<Text, Text>,
        /// Name of the query.
        "Name" name: Text,
        /// Any bytes.
        "Payload" payload: Vec<u8>,
        /// How many members relay each response as well, 0 to 255. Wider than that, so that a value
        /// out of range is refused by name and not as an unreadable request.
        "RelayFactor" relay_factor: i64,
        /// Whether receipt is to be acknowledged.
        "RequestAck" request_ack: bool,
        /// Nanoseconds; 0 for the default.
        "Timeout" timeout: i64,
    }
    listed "FilterNodes" "FilterTags" "RequestAck" "RelayFactor" "Timeout" "Name" "Payload"
}

record! {
    /// Streamed to the client that asked a query.
    pub(crate) QueryRecord {
        /// Name of the member that it comes from.
        "From" from: Text,
        /// The response; nil in the other two.
        "Payload" payload: Option<Vec<u8>>,
        /// `ack`, `response` or `done`.
        "Type" kind: String,
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
            QueryProgress::Ack { from } => (QueryRecord::ACK, Text::from(from), None),
            QueryProgress::Response { from, payload } => {
                (QueryRecord::RESPONSE, Text::from(from), Some(payload.clone()))
            }
            QueryProgress::Done => (QueryRecord::DONE, Text::default(), None),
        };
        QueryRecord { from, payload, kind: kind.to_string() }
    }
}

record! {
    /// Streamed for queries that this agent may answer.
    pub QueryEventRecord {
        /// `query`.
        "Event" event: String,
        /// To be named in `respond`; counts from 1 on each connection.
        "ID" id: u64,
        /// Lamport time.
        "LTime" ltime: u64,
        /// Name of the query.
        "Name" name: Text,
        /// Any bytes.
        "Payload" payload: Vec<u8>,
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
        "ID" id: u64,
        /// Any bytes.
        "Payload" payload: Vec<u8>,
    }
    listed "ID" "Payload"
}
