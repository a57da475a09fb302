//! The native dialect: one tag byte, then bincode with little-endian varints.
//!
//! This file is the only one that knows bincode. Its rules: decode from slices, with a limit,
//! rejecting trailing bytes; so that a successor could take its place by changing this file
//! alone.

use super::error::WireError;
use super::message::*;
use bincode::Options;
use serde::Serialize;
use serde::de::DeserializeOwned;

// Tags start at `dialect::FIRST_TAG`.
const PING: u8 = 0x80;
const INDIRECT_PING: u8 = 0x81;
const ACK: u8 = 0x82;
const NACK: u8 = 0x83;
const SUSPECT: u8 = 0x84;
const ALIVE: u8 = 0x85;
const DEAD: u8 = 0x86;
const JOIN_INTENT: u8 = 0x87;
const LEAVE_INTENT: u8 = 0x88;
const USER_EVENT: u8 = 0x89;
const QUERY: u8 = 0x8a;
const QUERY_RESPONSE: u8 = 0x8b;
const RELAY: u8 = 0x8c;

fn options(limit: u64) -> impl Options {
    bincode::DefaultOptions::new()
        .with_little_endian()
        .with_varint_encoding()
        .with_limit(limit)
        .reject_trailing_bytes()
}

/// Appends the encoding of `body` to `out`.
pub(super) fn write<T: Serialize>(out: &mut Vec<u8>, body: &T) {
    // Writing to a Vec cannot fail, and our types serialise unconditionally.
    let done = options(u64::MAX).serialize_into(out, body);
    debug_assert!(done.is_ok(), "native encoding failed: {done:?}");
}

/// Decodes all of `bytes`. Never allocates beyond a small multiple of their number.
pub(super) fn read<T: DeserializeOwned>(what: &'static str, bytes: &[u8]) -> Result<T, WireError> {
    options(bytes.len() as u64)
        .deserialize(bytes)
        .map_err(|e| WireError::Malformed { what, why: describe(&e) })
}

/// What is wrong, in the words of whoever reads the log rather than of the library.
fn describe(error: &bincode::ErrorKind) -> String {
    use bincode::ErrorKind;
    match error {
        ErrorKind::Io(_) | ErrorKind::SizeLimit => "it ends too early".into(),
        ErrorKind::InvalidUtf8Encoding(_) => "a text is not UTF-8".into(),
        ErrorKind::InvalidBoolEncoding(value) => format!("{value} is neither true nor false"),
        ErrorKind::InvalidTagEncoding(tag) => format!("there is no choice {tag}"),
        // The one message of the library itself is about bytes behind the end; all others are ours.
        ErrorKind::Custom(why) if why.starts_with("Slice") => "bytes follow its end".into(),
        ErrorKind::Custom(why) => why.clone(),
        _ => "it is not of the right form".into(),
    }
}

/// Writes one message.
pub fn encode(message: &Message) -> Vec<u8> {
    let mut out = Vec::with_capacity(64);
    match message {
        Message::Ping(m) => tagged(&mut out, PING, m),
        Message::IndirectPing(m) => tagged(&mut out, INDIRECT_PING, m),
        Message::Ack(m) => tagged(&mut out, ACK, m),
        Message::Nack(m) => tagged(&mut out, NACK, m),
        Message::Suspect(m) => tagged(&mut out, SUSPECT, m),
        Message::Alive(m) => tagged(&mut out, ALIVE, m),
        Message::Dead(m) => tagged(&mut out, DEAD, m),
        Message::JoinIntent(m) => tagged(&mut out, JOIN_INTENT, m),
        Message::LeaveIntent(m) => tagged(&mut out, LEAVE_INTENT, m),
        Message::UserEvent(m) => tagged(&mut out, USER_EVENT, m),
        Message::Query(m) => tagged(&mut out, QUERY, m),
        Message::QueryResponse(m) => tagged(&mut out, QUERY_RESPONSE, m),
        Message::Relay(m) => tagged(&mut out, RELAY, m),
    }
    out
}

fn tagged<T: Serialize>(out: &mut Vec<u8>, tag: u8, body: &T) {
    out.push(tag);
    write(out, body);
}

/// Reads one message.
pub fn decode(bytes: &[u8]) -> Result<Message, WireError> {
    let (&tag, body) = bytes.split_first().ok_or(WireError::Empty)?;
    Ok(match tag {
        PING => Message::Ping(read("ping", body)?),
        INDIRECT_PING => Message::IndirectPing(read("indirect ping", body)?),
        ACK => Message::Ack(read("ack", body)?),
        NACK => Message::Nack(read("nack", body)?),
        SUSPECT => Message::Suspect(read("suspect", body)?),
        ALIVE => Message::Alive(read("alive", body)?),
        DEAD => Message::Dead(read("dead", body)?),
        JOIN_INTENT => Message::JoinIntent(read("join intent", body)?),
        LEAVE_INTENT => Message::LeaveIntent(read("leave intent", body)?),
        USER_EVENT => Message::UserEvent(read("user event", body)?),
        QUERY => Message::Query(read("query", body)?),
        QUERY_RESPONSE => Message::QueryResponse(read("query response", body)?),
        RELAY => Message::Relay(read("relay", body)?),
        other => return Err(WireError::UnknownType(other)),
    })
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::model::{Incarnation, LamportTime, NodeName, Versions};
    use proptest::prelude::*;
    use std::net::{IpAddr, SocketAddr};

    pub fn name() -> impl Strategy<Value = NodeName> {
        "[a-zA-Z0-9.é-]{1,30}".prop_map(|s| NodeName::new(s).unwrap())
    }

    fn addr() -> impl Strategy<Value = SocketAddr> {
        (any::<IpAddr>(), any::<u16>()).prop_map(|(ip, port)| SocketAddr::new(ip, port))
    }

    fn versions() -> impl Strategy<Value = Versions> {
        any::<[u8; 6]>().prop_map(|v| Versions {
            protocol_min: v[0],
            protocol_max: v[1],
            protocol_cur: v[2],
            delegate_min: v[3],
            delegate_max: v[4],
            delegate_cur: v[5],
        })
    }

    fn source() -> impl Strategy<Value = Source> {
        (name(), addr()).prop_map(|(node, addr)| Source { node, addr })
    }

    fn bytes(max: usize) -> impl Strategy<Value = Vec<u8>> {
        proptest::collection::vec(any::<u8>(), 0..max)
    }

    fn filters() -> impl Strategy<Value = Vec<QueryFilter>> {
        let nodes = proptest::collection::vec(name(), 0..4).prop_map(QueryFilter::Nodes);
        let tag = (".{0,9}", ".{0,9}").prop_map(|(tag, expression)| QueryFilter::Tag { tag, expression });
        proptest::collection::vec(prop_oneof![nodes, tag], 0..3)
    }

    fn query(ltime: impl Strategy<Value = LamportTime>) -> impl Strategy<Value = Query> {
        let flags = any::<(bool, bool, u8)>();
        (ltime, any::<u32>(), source(), filters(), flags, any::<u64>(), ".{0,20}", bytes(200)).prop_map(
            |(ltime, id, source, filters, flags, timeout_ms, name, payload)| {
                let (ack, no_broadcast, relay_factor) = flags;
                Query {
                    ltime,
                    id,
                    source,
                    filters,
                    ack,
                    no_broadcast,
                    relay_factor,
                    timeout_ms,
                    name,
                    payload,
                }
            },
        )
    }

    fn response(ltime: impl Strategy<Value = LamportTime>) -> impl Strategy<Value = QueryResponse> {
        let answers = [Answer::Ack, Answer::AckOnly, Answer::Nothing, Answer::Payload];
        (ltime, any::<u32>(), name(), proptest::sample::select(answers.to_vec()), bytes(200))
            .prop_map(|(ltime, id, from, answer, payload)| QueryResponse { ltime, id, from, answer, payload })
    }

    pub fn message() -> impl Strategy<Value = Message> {
        let inc = any::<u32>().prop_map(Incarnation);
        let ltime = any::<u64>().prop_map(LamportTime);
        prop_oneof![
            (any::<u32>(), name(), source()).prop_map(|(seq_no, node, source)| Message::Ping(Ping {
                seq_no,
                node,
                source
            })),
            (any::<u32>(), addr(), name(), any::<bool>(), source()).prop_map(
                |(seq_no, target, node, nack, source)| Message::IndirectPing(IndirectPing {
                    seq_no,
                    target,
                    node,
                    nack,
                    source
                })
            ),
            (any::<u32>(), any::<Option<u64>>(), bytes(100))
                .prop_map(|(seq_no, digest, payload)| Message::Ack(Ack { seq_no, digest, payload })),
            any::<u32>().prop_map(|seq_no| Message::Nack(Nack { seq_no })),
            (inc.clone(), name(), name()).prop_map(|(incarnation, node, from)| Message::Suspect(Suspect {
                incarnation,
                node,
                from
            })),
            (inc.clone(), name(), addr(), bytes(512), versions()).prop_map(
                |(incarnation, node, addr, meta, versions)| Message::Alive(Alive {
                    incarnation,
                    node,
                    addr,
                    meta,
                    versions
                })
            ),
            (inc, name(), name()).prop_map(|(incarnation, node, from)| Message::Dead(Dead {
                incarnation,
                node,
                from
            })),
            (ltime.clone(), name()).prop_map(|(ltime, node)| Message::JoinIntent(JoinIntent { ltime, node })),
            (ltime.clone(), name(), any::<bool>())
                .prop_map(|(ltime, node, prune)| Message::LeaveIntent(LeaveIntent { ltime, node, prune })),
            (ltime.clone(), ".{0,20}", bytes(200), any::<bool>()).prop_map(
                |(ltime, name, payload, coalesce)| Message::UserEvent(UserEvent {
                    ltime,
                    name,
                    payload,
                    coalesce
                })
            ),
            query(ltime.clone()).prop_map(Message::Query),
            response(ltime.clone()).prop_map(Message::QueryResponse),
            (source(), response(ltime)).prop_map(|(to, response)| Message::Relay(Relay { to, response })),
        ]
    }

    proptest! {
        #[test]
        fn decode_reverses_encode(m in message()) {
            prop_assert_eq!(decode(&encode(&m)), Ok(m));
        }

        #[test]
        fn trailing_and_missing_bytes_are_refused(m in message(), cut in 1usize..20) {
            let mut bytes = encode(&m);
            bytes.push(0);
            prop_assert!(decode(&bytes).is_err());
            bytes.truncate(bytes.len().saturating_sub(1 + cut));
            prop_assert!(decode(&bytes).is_err());
        }

        #[test]
        fn arbitrary_bytes_never_panic(tag in any::<u8>(), body in bytes(300)) {
            let mut b = vec![tag];
            b.extend(body);
            let _ = decode(&b);
        }
    }

    #[test]
    fn announced_lengths_do_not_allocate() {
        // An Alive whose metadata claims 2^60 bytes.
        let mut b = vec![ALIVE, 1, 1, b'a', 0, 127, 0, 0, 1, 251, 10, 31, 253];
        b.extend((1u64 << 60).to_le_bytes());
        assert!(matches!(decode(&b), Err(WireError::Malformed { what: "alive", .. })));
    }

    #[test]
    fn errors_speak_of_the_message_and_not_of_the_library() {
        let why = |bytes: &[u8]| decode(bytes).unwrap_err().to_string();
        assert_eq!(why(&[NACK]), "malformed nack: it ends too early");
        assert_eq!(why(&[NACK, 1, 1]), "malformed nack: bytes follow its end");
        assert_eq!(why(&[JOIN_INTENT, 1, 0]), "malformed join intent: node name is empty");
        assert_eq!(why(&[JOIN_INTENT, 1, 1, 0xff]), "malformed join intent: a text is not UTF-8");
        assert_eq!(
            why(&[LEAVE_INTENT, 1, 1, b'a', 7]),
            "malformed leave intent: 7 is neither true nor false"
        );
        assert_eq!(
            why(&[PING, 1, 1, b'a', 1, b'b', 9]),
            "malformed ping: invalid value: integer `9`, expected `V4` or `V6`"
        );
    }

    #[test]
    fn a_typical_message_is_small() {
        let alive = Message::Alive(Alive {
            incarnation: Incarnation(3),
            node: NodeName::new("web-0001").unwrap(),
            addr: "10.0.0.1:7946".parse().unwrap(),
            meta: vec![255, 128],
            versions: Versions::OURS,
        });
        assert_eq!(encode(&alive).len(), 28);
    }
}
