//! Bytes of the records, compared with what Debian's `serf` 0.8.2 sends and reads.

use super::*;
use crate::messaging::QueryProgress;
use crate::model::{Incarnation, Member, NodeName, Status, Tags, Versions};
use crate::model::{Text, canonical_ip};
use crate::rpc::codec::{decode, encode};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::net::IpAddr;

fn member() -> Member {
    Member {
        name: NodeName::new("a").unwrap(),
        addr: "127.8.201.1:7956".parse().unwrap(),
        meta: Tags::from_pairs(["k=v"]).unwrap().encode().unwrap().into(),
        status: Status::Alive,
        versions: Versions {
            protocol_min: 1,
            protocol_max: 5,
            protocol_cur: 2,
            delegate_min: 2,
            delegate_max: 5,
            delegate_cur: 5,
        },
        incarnation: Incarnation(1),
    }
}

#[test]
fn headers_as_the_agent_sends_them() {
    let header = |error: &str, seq| ResponseHeader { error: error.into(), seq };
    for (record, bytes) in [
        (header("", 0), &b"\x82\xa5Error\xa0\xa3Seq\x00"[..]),
        (header("", 300), b"\x82\xa5Error\xa0\xa3Seq\xcd\x01\x2c"),
        (header("", 70_000), b"\x82\xa5Error\xa0\xa3Seq\xce\x00\x01\x11\x70"),
        (header("", 1 << 40), b"\x82\xa5Error\xa0\xa3Seq\xcf\x00\x00\x01\x00\x00\x00\x00\x00"),
        (header("Handshake required", 3), b"\x82\xa5Error\xb2Handshake required\xa3Seq\x03"),
    ] {
        assert_eq!(encode(&record), bytes);
        assert_eq!(decode::<ResponseHeader>(bytes).unwrap(), record);
    }
}

#[test]
fn a_member_as_the_agent_sends_it() {
    let captured =
        b"\x81\xa7Members\x91\x8b\xa4Addr\xc4\x04\x7f\x08\xc9\x01\xabDelegateCur\x05\xabDelegateMax\x05\
        \xabDelegateMin\x02\xa4Name\xa1a\xa4Port\xcd\x1f\x14\xabProtocolCur\x02\xabProtocolMax\x05\
        \xabProtocolMin\x01\xa6Status\xa5alive\xa4Tags\x81\xa1k\xa1v";
    let mut ours = MembersResponse { members: vec![MemberInfo::from(&member())] };
    // What theirs does not say stands where their clients skip it.
    let mut with_dialect = captured.to_vec();
    let at = captured.windows(5).position(|w| w == b"\xa4Name").unwrap();
    with_dialect.splice(at..at, *b"\xa7Dialect\xa9hashicorp");
    let head = captured.iter().position(|byte| *byte == 0x8b).unwrap();
    with_dialect[head] = 0x8c;
    assert_eq!(encode(&ours), with_dialect);
    assert_eq!(decode::<MembersResponse>(&with_dialect).unwrap(), ours);
    ours.members[0].dialect = String::new();
    assert_eq!(decode::<MembersResponse>(captured).unwrap(), ours);

    let mut long = captured.to_vec();
    let at = captured.windows(2).position(|w| w == b"\xc4\x04").unwrap();
    long.splice(at..at + 6, *b"\xc4\x10\0\0\0\0\0\0\0\0\0\0\xff\xff\x7f\x08\xc9\x01");
    assert_eq!(decode::<MembersResponse>(&long).unwrap(), ours);
}

/// `ProtocolMax` is memberlist's whatever the member speaks with its like.
#[test]
fn the_dialect_is_kept_apart_from_the_protocol() {
    let native = Member { versions: Versions::OURS, ..member() };
    let record = MemberInfo::from(&native);
    assert_eq!((record.protocol_max, record.dialect()), (5, "native"));
    assert_eq!(MemberInfo::from(&member()).dialect(), "hashicorp");
    let said_by_hashicorps = |protocol_max| MemberInfo { protocol_max, ..MemberInfo::default() };
    assert_eq!(said_by_hashicorps(5).dialect(), "hashicorp");
    assert_eq!(said_by_hashicorps(Versions::OURS.protocol_max).dialect(), "native");
}

#[test]
fn other_replies_as_the_agent_sends_them() {
    let keys = KeyResponse {
        messages: BTreeMap::from([("a".into(), "Keyring is empty (encryption not enabled)".into())]),
        num_err: 1,
        num_nodes: 1,
        num_resp: 1,
        ..KeyResponse::default()
    };
    let captured = b"\x85\xa4Keys\xc0\xa8Messages\x81\xa1a\xd9)Keyring is empty (encryption not enabled)\
        \xa6NumErr\x01\xa8NumNodes\x01\xa7NumResp\x01";
    // What theirs does not say follows, where their clients skip it.
    let mut ours = captured.to_vec();
    ours[0] = 0x86;
    ours.extend_from_slice(b"\xabPrimaryKeys\xc0");
    assert_eq!(encode(&keys), ours);
    assert_eq!(decode::<KeyResponse>(captured).unwrap(), keys);

    let zero = b"\xcb\0\0\0\0\0\0\0\0";
    let mut captured = b"\x82\xa5Coord\x84\xaaAdjustment".to_vec();
    captured.extend_from_slice(zero);
    captured.extend_from_slice(b"\xa5Error");
    captured.extend_from_slice(zero);
    captured.extend_from_slice(b"\xa6Height");
    captured.extend_from_slice(zero);
    captured.extend_from_slice(b"\xa3Vec\xc0\xa2Ok\xc2");
    assert_eq!(encode(&CoordinateResponse::default()), captured);
    assert_eq!(decode::<CoordinateResponse>(&captured).unwrap(), CoordinateResponse::default());
}

#[test]
fn stream_records_as_the_agent_sends_them() {
    let user = |name: &str, payload: &[u8], ltime| UserEventRecord {
        coalesce: false,
        event: "user".into(),
        ltime,
        name: name.into(),
        payload: payload.to_vec(),
    };
    let with = b"\x85\xa8Coalesce\xc2\xa5Event\xa4user\xa5LTime\x01\xa4Name\xa1n\xa7Payload\xc4\x03xyz";
    assert_eq!(encode(&user("n", b"xyz", 1)), with);
    assert_eq!(decode::<UserEventRecord>(with).unwrap(), user("n", b"xyz", 1));
    let nil = b"\x85\xa8Coalesce\xc2\xa5Event\xa4user\xa5LTime\x02\xa4Name\xa1n\xa7Payload\xc0";
    assert_eq!(decode::<UserEventRecord>(nil).unwrap(), user("n", b"", 2));
    let empty = encode(&user("n", b"", 2));
    assert!(empty.ends_with(b"\xa7Payload\xc4\x00"), "a client in Go wants bytes, not nil: {empty:x?}");
    assert_eq!(decode::<UserEventRecord>(&empty).unwrap(), user("n", b"", 2));

    let query = QueryEventRecord {
        event: "query".into(),
        id: 1,
        ltime: 2,
        name: "n".into(),
        payload: b"xyz".to_vec(),
    };
    let captured = b"\x85\xa5Event\xa5query\xa2ID\x01\xa5LTime\x02\xa4Name\xa1n\xa7Payload\xc4\x03xyz";
    assert_eq!(encode(&query), captured);
    let empty = QueryEventRecord { payload: vec![], ..query };
    assert!(encode(&empty).ends_with(b"\xa7Payload\xc4\x00"));
    let from = || NodeName::new("a").unwrap();
    for (progress, captured) in [
        (QueryProgress::Ack { from: from() }, &b"\x83\xa4From\xa1a\xa7Payload\xc0\xa4Type\xa3ack"[..]),
        (
            QueryProgress::Response { from: from(), payload: b"q".to_vec() },
            b"\x83\xa4From\xa1a\xa7Payload\xc4\x01q\xa4Type\xa8response",
        ),
        (
            QueryProgress::Response { from: from(), payload: vec![] },
            b"\x83\xa4From\xa1a\xa7Payload\xc4\x00\xa4Type\xa8response",
        ),
        (QueryProgress::Done, b"\x83\xa4From\xa0\xa7Payload\xc0\xa4Type\xa4done"),
    ] {
        assert_eq!(encode(&QueryRecord::new(&progress)), captured);
    }
}

#[test]
fn reads_every_form_of_text_and_bytes() {
    let expected = EventCall { coalesce: true, name: "up".into(), payload: b"xy".to_vec() };
    for bytes in [
        &b"\x83\xa4Name\xa2up\xa7Payload\xa2xy\xa8Coalesce\xc3"[..],
        b"\x83\xc4\x04Name\xc4\x02up\xc4\x07Payload\xc4\x02xy\xc4\x08Coalesce\xc3",
        b"\x83\xda\x00\x04Name\xda\x00\x02up\xd9\x07Payload\xdb\x00\x00\x00\x02xy\xa8Coalesce\xc3",
        b"\x84\xa4More\x92\x01\x80\xa8Coalesce\xc3\xa7Payload\x92\x78\x79\xa4Name\xa2up",
    ] {
        assert_eq!(decode::<EventCall>(bytes).unwrap(), expected, "{bytes:x?}");
    }
    // Old clients write any bytes as text.
    let raw = decode::<EventCall>(b"\x81\xa7Payload\xa2\xff\xfe").unwrap();
    assert_eq!(raw.payload, b"\xff\xfe");
}

#[test]
fn missing_and_nil_fields_are_empty() {
    assert_eq!(decode::<QueryCall>(b"\x80").unwrap(), QueryCall::default());
    let nils = b"\x83\xa4Tags\xc0\xa6Status\xc0\xa4Name\xc0";
    assert_eq!(decode::<MembersFilteredCall>(nils).unwrap(), MembersFilteredCall::default());
    assert_eq!(decode::<MemberInfo>(b"\x81\xa4Addr\xc0").unwrap().addr, WireAddr::default());
}

#[test]
fn what_is_no_record_is_refused() {
    for bytes in [&b"\x05"[..], b"\xa1x", b"\x81\xa3Seq\xa1x", b"\x81\xa3Seq\xff", b"\x81"] {
        assert!(decode::<RequestHeader>(bytes).is_err(), "{bytes:x?}");
    }
    assert!(decode::<WireAddr>(b"\xc4\x03abc").is_err());
    let error = decode::<EventCall>(b"\x81\xa8Coalesce\xa1x").unwrap_err().to_string();
    assert_eq!(error, "Coalesce: there is no flag where one belongs");
}

#[test]
fn a_list_stands_for_a_record_in_the_order_of_go() {
    let call = decode::<EventCall>(b"\x93\xa2up\xa2\xff\xfe\xc3").unwrap();
    assert_eq!(call, EventCall { name: "up".into(), payload: b"\xff\xfe".to_vec(), coalesce: true });
    // One that is too short leaves the rest empty; what is too much is skipped.
    assert_eq!(decode::<EventCall>(b"\x91\xa2up").unwrap().name, "up");
    assert_eq!(decode::<RequestHeader>(b"\x93\xa5event\x07\x90").unwrap().seq, 7);
    assert!(decode::<EventCall>(b"\x93\xa2up\xa1x\xa1x").is_err());
}

fn any_text(max: usize) -> impl Strategy<Value = Text> {
    proptest::collection::vec(any::<u8>(), 0..max).prop_map(Text::from)
}

proptest! {
    #[test]
    fn decode_reverses_encode(
        name in any_text(40), error in ".{0,40}", payload in proptest::collection::vec(any::<u8>(), 0..300),
        seq in any::<u64>(), timeout in any::<i64>(), relay in any::<u8>(),
        tags in proptest::collection::btree_map(any_text(10), any_text(40), 0..4),
        nodes in proptest::collection::vec(any_text(10), 0..4), v6 in any::<u128>(), v4 in any::<u32>(),
    ) {
        let query = QueryCall {
            filter_nodes: nodes, filter_tags: tags, name, payload,
            relay_factor: i64::from(relay), request_ack: true, timeout,
        };
        prop_assert_eq!(decode::<QueryCall>(&encode(&query)).unwrap(), query);
        let header = ResponseHeader { error, seq };
        prop_assert_eq!(decode::<ResponseHeader>(&encode(&header)).unwrap(), header);
        for ip in [IpAddr::from(v6.to_be_bytes()), IpAddr::from(v4.to_be_bytes())] {
            let addr = WireAddr(canonical_ip(ip));
            prop_assert_eq!(decode::<WireAddr>(&encode(&addr)).unwrap(), addr);
            prop_assert_eq!(encode(&addr).len(), if addr.0.is_ipv4() { 6 } else { 18 });
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = decode::<RequestHeader>(&bytes);
        let _ = decode::<QueryCall>(&bytes);
        let _ = decode::<MembersResponse>(&bytes);
        let _ = decode::<Stats>(&bytes);
    }
}
