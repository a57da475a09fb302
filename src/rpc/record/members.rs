//! Members: listing them, and what one of them does.

use crate::model::{Member, MemberEventKind, canonical_ip};
use crate::rpc::codec::{or_nil, record};
use serde::de::Deserializer;
use serde::{Deserialize, Serialize, Serializer};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

record! {
    /// `members`.
    pub MembersCall;
}

record! {
    /// `members-filtered`: every expression must match the whole of its value.
    pub MembersFilteredCall {
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
    pub(crate) MembersResponse {
        /// The members.
        #[serde(deserialize_with = "or_nil")]
        members: Vec<MemberInfo>,
    }
}

record! {
    /// One member.
    pub MemberInfo {
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

impl From<&Member> for MemberInfo {
    fn from(member: &Member) -> MemberInfo {
        let versions = member.versions;
        MemberInfo {
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

record! {
    /// Streamed for member events.
    pub MemberEventRecord {
        /// `member-join` and so on.
        #[serde(deserialize_with = "or_nil")]
        event: String,
        /// The members to which it happened.
        #[serde(deserialize_with = "or_nil")]
        members: Vec<MemberInfo>,
    }
}

impl MemberEventRecord {
    /// The record of one event that happened to several members.
    pub fn new(kind: MemberEventKind, members: &[Member]) -> MemberEventRecord {
        MemberEventRecord { event: kind.to_string(), members: members.iter().map(Into::into).collect() }
    }
}

record! {
    /// `join`.
    pub JoinCall {
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
    pub(crate) JoinResponse {
        /// How many addresses were joined.
        #[serde(deserialize_with = "or_nil")]
        num: i32,
    }
}

record! {
    /// `leave`.
    pub LeaveCall;
}

record! {
    /// `force-leave`.
    pub ForceLeaveCall {
        /// Name of the failed member.
        #[serde(deserialize_with = "or_nil")]
        node: String,
        /// Whether to forget it at once.
        #[serde(deserialize_with = "or_nil")]
        prune: bool,
    }
}

record! {
    /// `tags`.
    pub TagsCall {
        /// Keys to remove.
        #[serde(deserialize_with = "or_nil")]
        delete_tags: Vec<String>,
        /// Tags to set.
        #[serde(deserialize_with = "or_nil")]
        tags: BTreeMap<String, String>,
    }
}
