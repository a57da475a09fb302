//! What internal queries carry. Whatever the dialect of the gossip around them, these bytes are
//! HashiCorp's: the type byte of Serf's message, then MessagePack with Go's field names, because
//! agents of both kinds answer each other's.

pub mod keys;

use crate::model::{Member, Status, canonical_ip, write_raw};
use serde::Deserialize;
use serde_bytes::ByteBuf;
use std::fmt;
use std::net::{IpAddr, SocketAddr};

/// Serf's `messageConflictResponseType`.
const CONFLICT_RESPONSE: u8 = 6;

/// Serf's `MemberStatus`, by number.
const STATUSES: [Status; 4] = [Status::Alive, Status::Leaving, Status::Left, Status::Failed];

/// The holder of a name, as the answer to `_serf_conflict` gives it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Holder {
    /// Where it is.
    pub addr: SocketAddr,
    /// What has become of it; none if the number says nothing.
    pub status: Option<Status>,
}

/// Why a payload is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PayloadError {
    /// It begins with another type, or with none.
    Type(Option<u8>),
    /// It does not decode.
    Malformed(String),
}

impl fmt::Display for PayloadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PayloadError::Type(Some(found)) => write!(f, "it is of type {found}"),
            PayloadError::Type(None) => f.write_str("it is empty"),
            PayloadError::Malformed(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for PayloadError {}

/// The answer to `_serf_conflict`: the member as it is known here, or nil.
pub fn write_conflict_response(member: Option<&Member>) -> Vec<u8> {
    let mut out = vec![CONFLICT_RESPONSE];
    match member {
        None => out.push(rmp::Marker::Null.to_u8()),
        // Writing to a Vec cannot fail.
        Some(member) => drop(write_member(&mut out, member)),
    }
    out
}

/// Serf's `Member`, field by field in the order of its declaration.
fn write_member(out: &mut Vec<u8>, member: &Member) -> Result<(), rmp::encode::ValueWriteError> {
    use rmp::encode::{write_map_len, write_uint};
    let field = |out: &mut Vec<u8>, name: &str| write_raw(out, name.as_bytes());
    write_map_len(out, 11)?;
    field(out, "Name");
    write_raw(out, member.name.as_bytes());
    field(out, "Addr");
    match canonical_ip(member.addr.ip()) {
        IpAddr::V4(v4) => write_raw(out, &v4.octets()),
        IpAddr::V6(v6) => write_raw(out, &v6.octets()),
    }
    field(out, "Port");
    write_uint(out, member.addr.port().into())?;
    field(out, "Tags");
    let tags = member.meta.tags().0;
    write_map_len(out, u32::try_from(tags.len()).unwrap_or(u32::MAX))?;
    for text in tags.iter().flat_map(|(k, v)| [k, v]) {
        write_raw(out, text.as_bytes());
    }
    let status = STATUSES.iter().position(|status| *status == member.status);
    let v = &member.versions;
    let numbers = [
        ("Status", status.map_or(0, |at| at as u64 + 1)),
        ("ProtocolMin", v.protocol_min.into()),
        ("ProtocolMax", v.protocol_max.into()),
        ("ProtocolCur", v.protocol_cur.into()),
        ("DelegateMin", v.delegate_min.into()),
        ("DelegateMax", v.delegate_max.into()),
        ("DelegateCur", v.delegate_cur.into()),
    ];
    for (name, number) in numbers {
        field(out, name);
        write_uint(out, number)?;
    }
    Ok(())
}

/// The part of Serf's `Member` that a vote looks at.
#[derive(Deserialize)]
struct MemberRecord {
    #[serde(rename = "Addr", default)]
    addr: ByteBuf,
    #[serde(rename = "Port", default)]
    port: u16,
    #[serde(rename = "Status", default)]
    status: u64,
}

/// Reads an answer to `_serf_conflict`; none if the member that answers does not know the name.
pub fn read_conflict_response(bytes: &[u8]) -> Result<Option<Holder>, PayloadError> {
    let body = match bytes.split_first() {
        Some((&CONFLICT_RESPONSE, body)) => body,
        other => return Err(PayloadError::Type(other.map(|(found, _)| *found))),
    };
    let record: Option<MemberRecord> =
        rmp_serde::from_slice(body).map_err(|e| PayloadError::Malformed(e.to_string()))?;
    let Some(record) = record else { return Ok(None) };
    let ip = if let Ok(four) = <[u8; 4]>::try_from(record.addr.as_slice()) {
        IpAddr::from(four)
    } else if let Ok(sixteen) = <[u8; 16]>::try_from(record.addr.as_slice()) {
        IpAddr::from(sixteen)
    } else {
        let len = record.addr.len();
        return Err(PayloadError::Malformed(format!("an address has 4 or 16 bytes, not {len}")));
    };
    let status = record.status.checked_sub(1).and_then(|at| STATUSES.get(usize::try_from(at).ok()?));
    Ok(Some(Holder { addr: SocketAddr::new(canonical_ip(ip), record.port), status: status.copied() }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Incarnation, NodeName, Tags, Versions};
    use proptest::prelude::*;

    fn member(addr: &str, status: Status) -> Member {
        Member {
            name: NodeName::new("x").unwrap(),
            addr: addr.parse().unwrap(),
            meta: Tags::from_pairs(["role=web"]).unwrap().encode().unwrap().into(),
            status,
            versions: Versions::OURS,
            incarnation: Incarnation::FIRST,
        }
    }

    #[test]
    fn a_member_is_written_as_serf_writes_it() {
        let bytes = write_conflict_response(Some(&member("10.0.0.9:7946", Status::Failed)));
        let expected = b"\x06\x8b\xa4Name\xa1x\xa4Addr\xa4\x0a\x00\x00\x09\xa4Port\xcd\x1f\x0a\
            \xa4Tags\x81\xa4role\xa3web\xa6Status\x04\
            \xabProtocolMin\x01\xabProtocolMax\x43\xabProtocolCur\x02\
            \xabDelegateMin\x02\xabDelegateMax\x05\xabDelegateCur\x05";
        assert_eq!(bytes, expected);
        assert_eq!(write_conflict_response(None), b"\x06\xc0");
    }

    #[test]
    fn reads_what_it_writes() {
        for status in STATUSES {
            for addr in ["10.0.0.9:7946", "[fd00::9]:80"] {
                let member = member(addr, status);
                let read = read_conflict_response(&write_conflict_response(Some(&member)));
                assert_eq!(read, Ok(Some(Holder { addr: member.addr, status: Some(status) })));
            }
        }
        assert_eq!(read_conflict_response(b"\x06\xc0"), Ok(None));
    }

    #[test]
    fn both_lengths_of_an_ipv4_address_and_both_forms_of_bytes_are_read() {
        let mapped =
            b"\x06\x83\xa4Addr\xb0\0\0\0\0\0\0\0\0\0\0\xff\xff\x0a\0\0\x09\xa4Port\x07\xa6Status\x01";
        let modern = b"\x06\x83\xa4Addr\xc4\x04\x0a\0\0\x09\xa4Port\x07\xa6Status\x01";
        let expected = Holder { addr: SocketAddr::from(([10, 0, 0, 9], 7)), status: Some(Status::Alive) };
        assert_eq!(read_conflict_response(mapped), Ok(Some(expected)));
        assert_eq!(read_conflict_response(modern), Ok(Some(expected)));
    }

    #[test]
    fn what_is_no_answer_is_refused() {
        assert_eq!(read_conflict_response(b""), Err(PayloadError::Type(None)));
        assert_eq!(read_conflict_response(b"\x08\xc0"), Err(PayloadError::Type(Some(8))));
        for bad in [&b"\x06"[..], b"\x06\x81", b"\x06\x80", b"\x06\x81\xa4Addr\xa1x", b"\x06\x07"] {
            assert!(matches!(read_conflict_response(bad), Err(PayloadError::Malformed(_))), "{bad:?}");
        }
        let unknown = b"\x06\x82\xa4Addr\xa4\x0a\0\0\x09\xa6Status\x63";
        assert_eq!(read_conflict_response(unknown).unwrap().unwrap().status, None);
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = read_conflict_response(&bytes);
            bytes.insert(0, CONFLICT_RESPONSE);
            let _ = read_conflict_response(&bytes);
        }
    }
}
