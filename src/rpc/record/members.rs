//! Members: listing them, and what one of them does.

use crate::model::{Member, MemberEventKind, Text, Versions, canonical_ip};
use crate::rpc::codec::{Field, list, record};
use crate::wire::msgpack::{Fault, Reader};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

record! {
    /// `members`.
    pub MembersCall;
}

record! {
    /// `members-filtered`: every expression must match the whole of its value.
    pub MembersFilteredCall {
        /// Expression for the name; empty for any.
        "Name" name: Text,
        /// Expression for the status; empty for any.
        "Status" status: Text,
        /// Expressions for tags by key. A tag that is absent has an empty value.
        "Tags" tags: BTreeMap<Text, Text>,
    }
    listed "Tags" "Status" "Name"
}

record! {
    /// Reply to `members` and `members-filtered`.
    pub(crate) MembersResponse {
        /// The members.
        "Members" members: Vec<MemberInfo>,
    }
}

record! {
    /// One member.
    pub MemberInfo {
        /// Its address.
        "Addr" addr: WireAddr,
        /// Serf protocol spoken.
        "DelegateCur" delegate_cur: u8,
        /// Highest Serf protocol understood.
        "DelegateMax" delegate_max: u8,
        /// Lowest Serf protocol understood.
        "DelegateMin" delegate_min: u8,
        /// `native` or `hashicorp`. HashiCorp's agents do not say so, and
        /// their clients do not mind.
        "Dialect" dialect: String,
        /// Its name.
        "Name" name: Text,
        /// Its gossip port.
        "Port" port: u16,
        /// Memberlist protocol spoken.
        "ProtocolCur" protocol_cur: u8,
        /// Highest memberlist protocol understood. What a member says beyond memberlist's own numbers
        /// is its dialect.
        "ProtocolMax" protocol_max: u8,
        /// Lowest memberlist protocol understood.
        "ProtocolMin" protocol_min: u8,
        /// The word of a [`crate::model::Status`].
        "Status" status: String,
        /// Its tags.
        "Tags" tags: BTreeMap<Text, Text>,
    }
}

impl MemberInfo {
    /// `Dialect` of a member that speaks the compact dialect.
    const NATIVE: &str = "native";
    /// `Dialect` of any other.
    const HASHICORP: &str = "hashicorp";

    const fn dialect_of(native: bool) -> &'static str {
        if native { MemberInfo::NATIVE } else { MemberInfo::HASHICORP }
    }

    /// The word for the dialect that it speaks. HashiCorp's agents pass on what it announces.
    pub(crate) fn dialect(&self) -> &str {
        match self.dialect.as_str() {
            "" => MemberInfo::dialect_of(self.protocol_max >= Versions::NATIVE_BASE),
            said => said,
        }
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
            dialect: MemberInfo::dialect_of(versions.speaks_native()).into(),
            name: (&member.name).into(),
            port: member.addr.port(),
            protocol_cur: versions.protocol_cur,
            protocol_max: match versions.speaks_native() {
                true => Versions::MEMBERLIST_MAX,
                false => versions.protocol_max,
            },
            protocol_min: versions.protocol_min,
            status: member.status.to_string(),
            tags: member.meta.tags().0,
        }
    }
}

/// An IP address as Go's `net.IP` travels: a byte string.
///
/// Written as 4 bytes for IPv4, as HashiCorp's agents do, and as 16 for IPv6. Read from 4 or 16
/// bytes; none at all is the unspecified address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WireAddr(pub IpAddr);

impl Default for WireAddr {
    fn default() -> Self {
        WireAddr(IpAddr::V4(Ipv4Addr::UNSPECIFIED))
    }
}

impl Field for WireAddr {
    fn read(r: &mut Reader) -> Result<Self, Fault> {
        let bytes = r.bytes()?;
        if bytes.is_empty() {
            return Ok(WireAddr::default());
        }
        let four = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
        let sixteen = || <[u8; 16]>::try_from(bytes).map(IpAddr::from);
        let ip = four.or_else(|_| sixteen()).map_err(|_| Fault::Not("address of 4 or 16 bytes"))?;
        Ok(WireAddr(canonical_ip(ip)))
    }

    fn write(&self, out: &mut Vec<u8>) {
        let octets = match self.0 {
            IpAddr::V4(v4) => v4.octets().to_vec(),
            IpAddr::V6(v6) => v6.octets().to_vec(),
        };
        octets.write(out);
    }
}

list!(MemberInfo);

record! {
    /// Streamed for member events.
    pub MemberEventRecord {
        /// `member-join` and so on.
        "Event" event: String,
        /// The members to which it happened.
        "Members" members: Vec<MemberInfo>,
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
        "Existing" existing: Vec<Text>,
        /// Whether events from before the join are wanted.
        "Replay" replay: bool,
    }
    listed "Existing" "Replay"
}

record! {
    /// Reply to `join`.
    pub(crate) JoinResponse {
        /// How many addresses were joined.
        "Num" num: i32,
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
        "Node" node: Text,
        /// Whether to forget it at once.
        "Prune" prune: bool,
    }
    listed "Node" "Prune"
}

record! {
    /// `tags`.
    pub TagsCall {
        /// Keys to remove.
        "DeleteTags" delete_tags: Vec<Text>,
        /// Tags to set.
        "Tags" tags: BTreeMap<Text, Text>,
    }
    listed "Tags" "DeleteTags"
}
