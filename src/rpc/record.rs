//! The records of the control protocol, with Serf's own field names, and their bytes.
//!
//! Written as the agent of HashiCorp Serf writes them: maps with string keys in alphabetical
//! order, text as `str` (with `str8`), byte strings as `bin`, empty byte strings as nil. Read
//! leniently: text and byte strings in any of the old raw, `str` and `bin` forms, nil for
//! anything, fields in any order, unknown ones ignored, missing ones empty. A value's end is found
//! by `frame.rs` before anything here sees it.

use crate::messaging::QueryProgress;
use crate::messaging::keys::KeyReport;
use crate::model::{
    Coordinate, CoordinateError, Member, MemberEventKind, QueryEvent, UserEvent, canonical_ip,
};
use serde::de::{DeserializeOwned, Deserializer};
use serde::{Deserialize, Serialize, Serializer};
use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The only version of the protocol that exists.
pub const VERSION: i32 = 1;

/// Groups of counters and facts, as `stats` answers them.
pub type Stats = BTreeMap<String, BTreeMap<String, String>>;

/// Why bytes are not the record that was expected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordError(pub String);

impl fmt::Display for RecordError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for RecordError {}

/// Appends the bytes of `record` to `out`.
pub fn encode_into<T: Serialize>(out: &mut Vec<u8>, record: &T) {
    let start = out.len();
    let mut serializer = rmp_serde::Serializer::new(&mut *out).with_struct_map();
    if record.serialize(&mut serializer).is_err() {
        // Only a map of unknown length fails, and no record has one; half a record must not stay.
        debug_assert!(false, "a record could not be written");
        out.truncate(start);
    }
}

/// The bytes of `record`.
pub fn encode<T: Serialize>(record: &T) -> Vec<u8> {
    let mut out = Vec::new();
    encode_into(&mut out, record);
    out
}

/// Reads one record from the bytes of one value.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, RecordError> {
    rmp_serde::from_slice(bytes).map_err(|e| RecordError(e.to_string()))
}

/// Go writes a nil map, slice or byte string as nil.
fn or_nil<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(d: D) -> Result<T, D::Error> {
    Ok(Option::<T>::deserialize(d)?.unwrap_or_default())
}

/// Byte strings: `bin` or nil when written, anything that holds bytes when read.
mod bytes {
    use super::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], s: S) -> Result<S::Ok, S::Error> {
        if bytes.is_empty() { s.serialize_none() } else { s.serialize_bytes(bytes) }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Vec<u8>, D::Error> {
        Ok(Option::<serde_bytes::ByteBuf>::deserialize(d)?.unwrap_or_default().into_vec())
    }
}

/// Sequences that Go leaves nil when they are empty.
mod sequence {
    use super::{Serialize, Serializer};

    pub(super) fn serialize<S: Serializer, T: Serialize>(items: &[T], s: S) -> Result<S::Ok, S::Error> {
        if items.is_empty() { s.serialize_none() } else { items.serialize(s) }
    }
}

macro_rules! record {
    ($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident : $type:ty),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
        #[serde(default, rename_all = "PascalCase")]
        pub struct $name { $($(#[$field_doc])* pub $field: $type),* }
    };
}

record! {
    /// Before every request.
    RequestHeader {
        /// The word of a [`super::Command`].
        #[serde(deserialize_with = "or_nil")]
        command: String,
        /// Chosen by the client; echoed in every reply and record that belongs to the request.
        #[serde(deserialize_with = "or_nil")]
        seq: u64,
    }
}

record! {
    /// Before every reply and every streamed record.
    ResponseHeader {
        /// Empty when all went well.
        #[serde(deserialize_with = "or_nil")]
        error: String,
        /// Of the request that this belongs to.
        #[serde(deserialize_with = "or_nil")]
        seq: u64,
    }
}

record! {
    /// `handshake`.
    HandshakeRequest {
        /// Must be [`VERSION`].
        #[serde(deserialize_with = "or_nil")]
        version: i32,
    }
}

record! {
    /// `auth`.
    AuthRequest {
        /// The value of `rpc_auth`.
        #[serde(deserialize_with = "or_nil")]
        auth_key: String,
    }
}

record! {
    /// `event`.
    EventRequest {
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
    /// `force-leave`.
    ForceLeaveRequest {
        /// Name of the failed member.
        #[serde(deserialize_with = "or_nil")]
        node: String,
        /// Whether to forget it at once.
        #[serde(deserialize_with = "or_nil")]
        prune: bool,
    }
}

record! {
    /// `join`.
    JoinRequest {
        /// Addresses of members, `host` or `host:port`.
        #[serde(deserialize_with = "or_nil")]
        existing: Vec<String>,
        /// Whether events from before the join are wanted.
        #[serde(deserialize_with = "or_nil")]
        replay: bool,
    }
}

record! {
    /// Reply to `join`.
    JoinResponse {
        /// How many addresses were joined.
        #[serde(deserialize_with = "or_nil")]
        num: i32,
    }
}

record! {
    /// `members-filtered`: every expression must match the whole of its value.
    MembersFilteredRequest {
        /// Expression for the name; empty for any.
        #[serde(deserialize_with = "or_nil")]
        name: String,
        /// Expression for the status; empty for any.
        #[serde(deserialize_with = "or_nil")]
        status: String,
        /// Expressions for tags by key. A tag that is absent has an empty value.
        #[serde(deserialize_with = "or_nil")]
        tags: BTreeMap<String, String>,
    }
}

record! {
    /// Reply to `members` and `members-filtered`.
    MembersResponse {
        /// The members.
        #[serde(deserialize_with = "or_nil")]
        members: Vec<MemberRecord>,
    }
}

record! {
    /// One member.
    MemberRecord {
        /// Its address.
        #[serde(deserialize_with = "or_nil")]
        addr: WireAddr,
        /// Serf protocol spoken.
        #[serde(deserialize_with = "or_nil")]
        delegate_cur: u8,
        /// Highest Serf protocol understood.
        #[serde(deserialize_with = "or_nil")]
        delegate_max: u8,
        /// Lowest Serf protocol understood.
        #[serde(deserialize_with = "or_nil")]
        delegate_min: u8,
        /// Its name.
        #[serde(deserialize_with = "or_nil")]
        name: String,
        /// Its gossip port.
        #[serde(deserialize_with = "or_nil")]
        port: u16,
        /// Memberlist protocol spoken.
        #[serde(deserialize_with = "or_nil")]
        protocol_cur: u8,
        /// Highest memberlist protocol understood.
        #[serde(deserialize_with = "or_nil")]
        protocol_max: u8,
        /// Lowest memberlist protocol understood.
        #[serde(deserialize_with = "or_nil")]
        protocol_min: u8,
        /// The word of a [`crate::model::Status`].
        #[serde(deserialize_with = "or_nil")]
        status: String,
        /// Its tags.
        #[serde(deserialize_with = "or_nil")]
        tags: BTreeMap<String, String>,
    }
}

record! {
    /// `install-key`, `use-key` and `remove-key`.
    KeyRequest {
        /// The key in base64.
        #[serde(deserialize_with = "or_nil")]
        key: String,
    }
}

record! {
    /// Reply to the four key commands.
    KeyResponse {
        /// On how many members each key is installed (`list-keys` alone).
        #[serde(deserialize_with = "or_nil")]
        keys: BTreeMap<String, i64>,
        /// What members had to say, by name.
        #[serde(deserialize_with = "or_nil")]
        messages: BTreeMap<String, String>,
        /// How many members reported a failure.
        #[serde(deserialize_with = "or_nil")]
        num_err: i64,
        /// How many members there are.
        #[serde(deserialize_with = "or_nil")]
        num_nodes: i64,
        /// How many members answered.
        #[serde(deserialize_with = "or_nil")]
        num_resp: i64,
        /// How many members seal with each key (`list-keys` alone). HashiCorp's agents do not say
        /// so, and their clients do not mind.
        #[serde(deserialize_with = "or_nil", skip_serializing_if = "BTreeMap::is_empty")]
        primary_keys: BTreeMap<String, i64>,
    }
}

impl From<KeyReport> for KeyResponse {
    fn from(report: KeyReport) -> KeyResponse {
        let number = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        let counts = |keys: BTreeMap<String, usize>| keys.into_iter().map(|(k, n)| (k, number(n))).collect();
        KeyResponse {
            keys: counts(report.keys),
            messages: report.messages,
            num_err: number(report.errors),
            num_nodes: number(report.nodes),
            num_resp: number(report.responses),
            primary_keys: counts(report.primary_keys),
        }
    }
}

record! {
    /// `monitor`.
    MonitorRequest {
        /// `trace`, `debug`, `info`, `warn` or `err`, in any case.
        #[serde(deserialize_with = "or_nil")]
        log_level: String,
    }
}

record! {
    /// `stream`.
    StreamRequest {
        /// A filter such as `*` or `member-join,user:deploy`; empty means `*`.
        #[serde(rename = "Type", deserialize_with = "or_nil")]
        kind: String,
    }
}

record! {
    /// `stop`.
    StopRequest {
        /// The `Seq` of the `stream` or `monitor` request that is to end.
        #[serde(deserialize_with = "or_nil")]
        stop: u64,
    }
}

record! {
    /// `tags`.
    TagsRequest {
        /// Keys to remove.
        #[serde(deserialize_with = "or_nil")]
        delete_tags: Vec<String>,
        /// Tags to set.
        #[serde(deserialize_with = "or_nil")]
        tags: BTreeMap<String, String>,
    }
}

record! {
    /// `query`.
    QueryRequest {
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
    /// `respond`.
    RespondRequest {
        /// The `ID` of the query's record.
        #[serde(rename = "ID", deserialize_with = "or_nil")]
        id: u64,
        /// Any bytes.
        #[serde(with = "bytes")]
        payload: Vec<u8>,
    }
}

record! {
    /// `get-coordinate`.
    CoordinateRequest {
        /// Name of the member.
        #[serde(deserialize_with = "or_nil")]
        node: String,
    }
}

record! {
    /// Reply to `get-coordinate`.
    CoordinateResponse {
        /// The coordinate; zeros if there is none.
        #[serde(deserialize_with = "or_nil")]
        coord: CoordinateRecord,
        /// Whether there is one.
        #[serde(deserialize_with = "or_nil")]
        ok: bool,
    }
}

record! {
    /// A Vivaldi coordinate. All but `error` in seconds.
    CoordinateRecord {
        /// Offset from observed round trips.
        #[serde(deserialize_with = "or_nil")]
        adjustment: f64,
        /// Confidence; smaller is better, no unit.
        #[serde(deserialize_with = "or_nil")]
        error: f64,
        /// Distance of the host from the network's core.
        #[serde(deserialize_with = "or_nil")]
        height: f64,
        /// The Euclidean part.
        #[serde(serialize_with = "sequence::serialize", deserialize_with = "or_nil")]
        vec: Vec<f64>,
    }
}

record! {
    /// Streamed for member events.
    MemberEventRecord {
        /// `member-join` and so on.
        #[serde(deserialize_with = "or_nil")]
        event: String,
        /// To whom it happened.
        #[serde(deserialize_with = "or_nil")]
        members: Vec<MemberRecord>,
    }
}

record! {
    /// Streamed for user events.
    UserEventRecord {
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

record! {
    /// Streamed for queries that this agent may answer.
    QueryEventRecord {
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

record! {
    /// Streamed to whoever asked a query.
    QueryRecord {
        /// Name of the member that it comes from.
        #[serde(deserialize_with = "or_nil")]
        from: String,
        /// The response.
        #[serde(with = "bytes")]
        payload: Vec<u8>,
        /// `ack`, `response` or `done`.
        #[serde(rename = "Type", deserialize_with = "or_nil")]
        kind: String,
    }
}

record! {
    /// Streamed to monitors.
    LogRecord {
        /// One line without its newline.
        #[serde(deserialize_with = "or_nil")]
        log: String,
    }
}

impl QueryRecord {
    /// `Type` of an acknowledgement.
    pub const ACK: &str = "ack";
    /// `Type` of a response.
    pub const RESPONSE: &str = "response";
    /// `Type` of the last record of a query.
    pub const DONE: &str = "done";

    /// The record of something that came in for a query.
    pub fn new(progress: &QueryProgress) -> QueryRecord {
        let (kind, from, payload) = match progress {
            QueryProgress::Ack { from } => (QueryRecord::ACK, from.to_string(), Vec::new()),
            QueryProgress::Response { from, payload } => {
                (QueryRecord::RESPONSE, from.to_string(), payload.clone())
            }
            QueryProgress::Done => (QueryRecord::DONE, String::new(), Vec::new()),
        };
        QueryRecord { from, payload, kind: kind.to_string() }
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

impl From<&Member> for MemberRecord {
    fn from(member: &Member) -> MemberRecord {
        let versions = member.versions;
        MemberRecord {
            addr: WireAddr(canonical_ip(member.addr.ip())),
            delegate_cur: versions.delegate_cur,
            delegate_max: versions.delegate_max,
            delegate_min: versions.delegate_min,
            name: member.name.to_string(),
            port: member.addr.port(),
            protocol_cur: versions.protocol_cur,
            protocol_max: versions.protocol_max,
            protocol_min: versions.protocol_min,
            status: member.status.to_string(),
            tags: member.tags.0.clone(),
        }
    }
}

impl From<Option<&Coordinate>> for CoordinateResponse {
    fn from(known: Option<&Coordinate>) -> CoordinateResponse {
        let coord = known.map(|c| CoordinateRecord {
            adjustment: c.adjustment(),
            error: c.error(),
            height: c.height(),
            vec: c.position().to_vec(),
        });
        CoordinateResponse { ok: coord.is_some(), coord: coord.unwrap_or_default() }
    }
}

impl TryFrom<CoordinateRecord> for Coordinate {
    type Error = CoordinateError;

    fn try_from(record: CoordinateRecord) -> Result<Coordinate, CoordinateError> {
        Coordinate::from_parts(&record.vec, record.error, record.adjustment, record.height)
    }
}

impl MemberEventRecord {
    /// The record of one event that happened to several members.
    pub fn new(kind: MemberEventKind, members: &[Member]) -> MemberEventRecord {
        MemberEventRecord { event: kind.to_string(), members: members.iter().map(Into::into).collect() }
    }
}

/// An IP address as Go's `net.IP` travels: a byte string.
///
/// Written as 16 bytes, IPv4 mapped into IPv6; clients rely on one length. Read from 4 or 16
/// bytes; none at all is the unspecified address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WireAddr(pub IpAddr);

impl Default for WireAddr {
    fn default() -> Self {
        WireAddr(IpAddr::V4(Ipv4Addr::UNSPECIFIED))
    }
}

impl Serialize for WireAddr {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        let mapped = match self.0 {
            IpAddr::V4(v4) => v4.to_ipv6_mapped(),
            IpAddr::V6(v6) => v6,
        };
        s.serialize_bytes(&mapped.octets())
    }
}

impl<'de> Deserialize<'de> for WireAddr {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let bytes = serde_bytes::ByteBuf::deserialize(d)?;
        if bytes.is_empty() {
            return Ok(WireAddr::default());
        }
        let ip = if let Ok(four) = <[u8; 4]>::try_from(bytes.as_slice()) {
            IpAddr::from(four)
        } else if let Ok(sixteen) = <[u8; 16]>::try_from(bytes.as_slice()) {
            IpAddr::V6(Ipv6Addr::from(sixteen))
        } else {
            let problem = format!("an address has 4 or 16 bytes, not {}", bytes.len());
            return Err(serde::de::Error::custom(problem));
        };
        Ok(WireAddr(canonical_ip(ip)))
    }
}

#[cfg(test)]
mod tests;
