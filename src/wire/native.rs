//! The native dialect: one tag byte, then bincode with little-endian varints.
//!
//! This file is the only one that knows bincode. Its rules: decode from slices, with a limit,
//! rejecting trailing bytes; so that a successor could take its place by changing this file
//! alone.

use super::error::WireError;
use super::message::*;
use crate::model::UserEvent;
use bincode::Options;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The table of messages: tag, payload, and its name in errors. Tags lie above those of memberlist,
/// see [`super::dialect`]. A tag is never given a second meaning: agents of other versions may
/// still say it.
macro_rules! messages {
    ($($variant:ident($kind:ident): { $($tag:ident = $byte:literal, $payload:ident, $what:literal;)* })*) => {
        $($(const $tag: u8 = $byte;)*)*

        /// Writes one message.
        pub(crate) fn encode(message: &Message) -> Vec<u8> {
            let mut out = Vec::with_capacity(64);
            match message {
                $(Message::$variant(message) => match message {
                    $($kind::$payload(m) => tagged(&mut out, $tag, m),)*
                },)*
            }
            out
        }

        /// Reads one message.
        pub(crate) fn decode(bytes: &[u8]) -> Result<Message, WireError> {
            let (&tag, body) = bytes.split_first().ok_or(WireError::Empty)?;
            match tag {
                $($($tag => read::<$payload>($what, body).map(Message::from),)*)*
                other => Err(WireError::UnknownType(other)),
            }
        }
    };
}

/// Whether a message is a ping or an answer to one, by its tag.
pub(crate) fn is_probe(tag: u8) -> bool {
    matches!(tag, PING | INDIRECT_PING | ACK | NACK)
}

messages! {
    Probe(ProbeMessage): {
        PING = 0x80, Ping, "ping";
        INDIRECT_PING = 0x81, IndirectPing, "indirect ping";
        ACK = 0x82, Ack, "ack";
        NACK = 0x83, Nack, "nack";
        KNOCK = 0x8d, Knock, "knock";
        REFUSED = 0x8e, Refused, "refused";
    }
    Membership(MembershipMessage): {
        SUSPECT = 0x84, Suspect, "suspect";
        ALIVE = 0x85, Alive, "alive";
        DEAD = 0x86, Dead, "dead";
        JOIN_INTENT = 0x87, JoinIntent, "join intent";
        LEAVE_INTENT = 0x88, LeaveIntent, "leave intent";
    }
    Serf(SerfMessage): {
        USER_EVENT = 0x89, UserEvent, "user event";
        QUERY = 0x8a, Query, "query";
        QUERY_RESPONSE = 0x8b, QueryResponse, "query response";
        RELAY = 0x8c, Relay, "relay";
    }
    Wave(WaveMessage): {
        FORWARD = 0x90, Forward, "forward";
        HAVE = 0x91, Have, "have";
        WANT = 0x92, Want, "want";
        ASK = 0x93, Ask, "ask";
        DIGESTS = 0x94, Digests, "digests";
    }
}

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

/// What is wrong, in words for an operator who reads the log rather than in those of the library.
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

fn tagged<T: Serialize>(out: &mut Vec<u8>, tag: u8, body: &T) {
    out.push(tag);
    write(out, body);
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::model::{Incarnation, LamportTime, NodeName, Text, Versions};
    use proptest::prelude::*;
    use std::net::{IpAddr, SocketAddr};

    pub(crate) fn name() -> impl Strategy<Value = NodeName> {
        proptest::collection::vec(any::<u8>(), 1..30).prop_map(|s| NodeName::new(s).unwrap())
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

    fn text(max: usize) -> impl Strategy<Value = Text> {
        bytes(max).prop_map(Text::from)
    }

    fn filters() -> impl Strategy<Value = Vec<QueryFilter>> {
        let nodes = proptest::collection::vec(name(), 0..4).prop_map(QueryFilter::Nodes);
        let tag = (text(9), text(9)).prop_map(|(tag, expression)| QueryFilter::Tag { tag, expression });
        proptest::collection::vec(prop_oneof![nodes, tag], 0..3)
    }

    fn query(ltime: impl Strategy<Value = LamportTime>) -> impl Strategy<Value = Query> {
        let flags = any::<(bool, bool, u8)>();
        (ltime, any::<u32>(), source(), filters(), flags, any::<u64>(), text(20), bytes(200)).prop_map(
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

    pub(crate) fn message() -> impl Strategy<Value = Message> {
        let inc = any::<u32>().prop_map(Incarnation);
        let ltime = any::<u64>().prop_map(LamportTime);
        prop_oneof![
            (any::<u32>(), name(), source()).prop_map(|(seq_no, node, source)| Message::from(Ping {
                seq_no,
                node,
                source
            })),
            (any::<u32>(), addr(), name(), any::<bool>(), source()).prop_map(
                |(seq_no, target, node, nack, source)| Message::from(IndirectPing {
                    seq_no,
                    target,
                    node,
                    nack,
                    source
                })
            ),
            (any::<u32>(), any::<Option<u64>>(), bytes(100))
                .prop_map(|(seq_no, digest, payload)| Message::from(Ack { seq_no, digest, payload })),
            any::<u32>().prop_map(|seq_no| Message::from(Nack { seq_no })),
            (any::<u32>(), addr(), name(), source()).prop_map(
                |(seq_no, target, node, source)| Message::from(Knock { seq_no, target, node, source })
            ),
            any::<u32>().prop_map(|seq_no| Message::from(Refused { seq_no })),
            (inc.clone(), name(), name()).prop_map(|(incarnation, node, from)| Message::from(Suspect {
                incarnation,
                node,
                from
            })),
            (inc.clone(), name(), addr(), bytes(512), versions()).prop_map(
                |(incarnation, node, addr, meta, versions)| Message::from(Alive {
                    incarnation,
                    node,
                    addr,
                    meta,
                    versions
                })
            ),
            (inc, name(), name()).prop_map(|(incarnation, node, from)| Message::from(Dead {
                incarnation,
                node,
                from
            })),
            (ltime.clone(), name()).prop_map(|(ltime, node)| Message::from(JoinIntent { ltime, node })),
            (ltime.clone(), name(), any::<bool>())
                .prop_map(|(ltime, node, prune)| Message::from(LeaveIntent { ltime, node, prune })),
            (ltime.clone(), text(20), bytes(200), any::<bool>()).prop_map(
                |(ltime, name, payload, coalesce)| Message::from(UserEvent {
                    ltime,
                    name,
                    payload,
                    coalesce
                })
            ),
            query(ltime.clone()).prop_map(Message::from),
            response(ltime.clone()).prop_map(Message::from),
            (source(), response(ltime)).prop_map(|(to, response)| Message::from(Relay { to, response })),
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
        let alive = Message::from(Alive {
            incarnation: Incarnation(3),
            node: NodeName::new("web-0001").unwrap(),
            addr: "10.0.0.1:7946".parse().unwrap(),
            meta: vec![255, 128],
            versions: Versions::OURS,
        });
        assert_eq!(encode(&alive).len(), 28);
    }
}
