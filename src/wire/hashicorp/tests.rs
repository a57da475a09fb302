//! HashiCorp's dialect against what HashiCorp's agents wrote, and against itself.

use super::memberlist::{NACK, PING};
use super::serf::{NANOSECONDS_PER_MS, USER};
use super::{decode, encode, push_pull};
use crate::model::{Incarnation, LamportTime, UserEvent, Versions};
use crate::wire::message::*;
use crate::wire::msgpack::Writer;
use crate::wire::native::tests::{message as any_message, name as any_name};
use crate::wire::stream::{StreamMessage, StreamReader};
use crate::wire::{Dialect, WireError, compression, decode as decode_any, read_datagram, stream as framing};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::net::SocketAddr;

/// What was recorded of HashiCorp's agents: see `tests/corpus/hashicorp/README.md`.
const CORPUS: &str = include_str!("../../../tests/corpus/hashicorp/recorded.txt");

fn recorded(label: &str) -> Vec<Vec<u8>> {
    let lines = CORPUS.lines().filter_map(|line| line.strip_prefix(label)?.strip_prefix(' '));
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    lines.map(|hex| hex.as_bytes().chunks(2).map(byte).collect()).collect()
}

#[test]
fn recorded_messages_are_read_and_written_byte_for_byte() {
    let mut kinds: BTreeMap<&str, usize> = BTreeMap::new();
    for bytes in recorded("message") {
        if bytes[0] == compression::COMPRESSED {
            continue;
        }
        let message = decode(&bytes).unwrap_or_else(|e| panic!("{e}: {}", bytes.escape_ascii()));
        let mut written = encode(&message);
        // The recorded agents wrote nil for a payload that is empty.
        if matches!(message, Message::Serf(SerfMessage::UserEvent(_) | SerfMessage::Query(_)))
            && let Some(at) = written.windows(9).position(|w| w == b"\xa7Payload\xa0")
        {
            written[at + 8] = 0xc0;
        }
        assert_eq!(written, bytes, "{message:?}\n{}", bytes.escape_ascii());
        let kind = match message {
            Message::Probe(ProbeMessage::Ping(_)) => "ping",
            Message::Probe(ProbeMessage::IndirectPing(_)) => "indirect ping",
            Message::Probe(ProbeMessage::Ack(_)) => "ack",
            Message::Probe(ProbeMessage::Nack(_)) => "nack",
            Message::Probe(ProbeMessage::Knock(_) | ProbeMessage::Refused(_)) => "none of theirs",
            Message::Membership(MembershipMessage::Suspect(_)) => "suspect",
            Message::Membership(MembershipMessage::Alive(_)) => "alive",
            Message::Membership(MembershipMessage::Dead(_)) => "dead",
            Message::Membership(MembershipMessage::JoinIntent(_)) => "join",
            Message::Membership(MembershipMessage::LeaveIntent(_)) => "leave",
            Message::Serf(SerfMessage::UserEvent(_)) => "event",
            Message::Serf(SerfMessage::Query(_)) => "query",
            Message::Serf(SerfMessage::QueryResponse(_)) => "response",
            Message::Serf(SerfMessage::Relay(_)) => "relay",
            Message::Wave(_) => "none of theirs",
        };
        *kinds.entry(kind).or_default() += 1;
    }
    assert_eq!(kinds.len(), 13, "there is a recording of every message: {kinds:?}");
}

#[test]
fn recorded_datagrams_are_read_whole() {
    let (mut compressed, mut messages) = (0, 0);
    for bytes in recorded("datagram") {
        read_datagram(&bytes, None, |_, _| messages += 1).unwrap();
        let content = if bytes[0] == 12 { &bytes[5..] } else { &bytes[..] };
        compressed += usize::from(content[0] == compression::COMPRESSED);
    }
    assert!(compressed >= 2 && messages > 20, "{compressed} compressed, {messages} messages");
}

/// What is compressed here is what Go would have compressed.
#[test]
fn recorded_compression_is_reproduced() {
    let mut seen = 0;
    for bytes in recorded("stream").into_iter().filter(|b| b[0] == compression::COMPRESSED) {
        let plain = compression::unpack(&bytes, 1 << 20).unwrap();
        let packed = compression::pack(plain.clone());
        assert!(packed == bytes || packed == plain && bytes.len() >= plain.len());
        seen += usize::from(packed == bytes);
    }
    assert!(seen > 2);
}

#[test]
fn recorded_streams_are_read_at_every_cut() {
    let mut kinds: BTreeMap<&str, usize> = BTreeMap::new();
    for bytes in recorded("stream") {
        let mut reader = StreamReader::default();
        for cut in 0..bytes.len() {
            assert_eq!(reader.read(&bytes[..cut]), Ok(None), "{cut} of {}", bytes.len());
        }
        let message = reader.read(&bytes).unwrap().unwrap();
        let kind = match &message {
            StreamMessage::PushPull(m) => {
                assert!(!m.rows.is_empty() && m.rows.iter().all(|row| row.versions.protocol_max == 5));
                assert!(m.ltime > LamportTime::ZERO && m.serf.event_ltime > LamportTime::ZERO);
                "push/pull"
            }
            StreamMessage::Ping(_) => "ping",
            StreamMessage::Ack(_) => "ack",
            StreamMessage::Error(_) => "error",
            StreamMessage::User(_) => "user",
            StreamMessage::Difference(_) => "difference",
        };
        *kinds.entry(kind).or_default() += 1;
        if !matches!(message, StreamMessage::PushPull(_)) && bytes[0] != compression::COMPRESSED {
            // A push/pull has its members in a random order, and a list of 512 events, most nil.
            assert_eq!(framing::encode(Dialect::Hashicorp, &message), bytes);
        }
    }
    let expected = ["ack", "error", "ping", "push/pull"];
    assert_eq!(kinds.keys().copied().collect::<Vec<_>>(), expected, "{kinds:?}");
}

/// A later join of the recorded cluster: one member has left, one was made to.
#[test]
fn recorded_push_pulls_show_who_left() {
    let streams = recorded("stream").into_iter().filter_map(|b| framing::decode(&b).ok().flatten());
    let push_pulls = streams.filter_map(|m| if let StreamMessage::PushPull(m) = m { Some(m) } else { None });
    let all: Vec<PushPull> = push_pulls.collect();
    let left = |m: &&PushPull| m.rows.iter().any(|row| row.state == PeerState::Left);
    let m = all.iter().find(left).expect("a push/pull after someone left");
    let states: Vec<String> =
        m.rows.iter().map(|row| format!("{} {:?} {}", row.node, row.state, row.status_ltime)).collect();
    assert!(states.iter().any(|s| s.starts_with("h4 Left ") || s.starts_with("h3 Left ")), "{states:?}");
    let events: Vec<String> = m.serf.events.iter().map(|event| event.name.to_string()).collect();
    assert!(
        ["deploy", "plain", "long"].iter().all(|name| events.iter().any(|event| event == name)),
        "{events:?}"
    );
}

/// What is left of a message when it has been said in this dialect.
fn as_said(message: Message) -> Message {
    let canonical = |addr: SocketAddr| SocketAddr::new(addr.ip().to_canonical(), addr.port());
    let said = |answer| if answer == Answer::Payload { answer } else { Answer::Ack };
    match message {
        Message::Probe(ProbeMessage::Ping(mut m)) => {
            m.source.addr = canonical(m.source.addr);
            Message::from(m)
        }
        Message::Probe(ProbeMessage::IndirectPing(mut m)) => {
            m.source.addr = canonical(m.source.addr);
            m.target = canonical(m.target);
            Message::from(m)
        }
        Message::Probe(ProbeMessage::Ack(m)) => Message::from(Ack { digest: None, ..m }),
        Message::Membership(MembershipMessage::Alive(m)) => {
            Message::from(Alive { addr: canonical(m.addr), ..m })
        }
        Message::Serf(SerfMessage::Query(mut m)) => {
            m.source.addr = canonical(m.source.addr);
            m.timeout_ms = m.timeout_ms.min((i64::MAX as u64).div_ceil(NANOSECONDS_PER_MS));
            Message::from(m)
        }
        Message::Serf(SerfMessage::QueryResponse(m)) => {
            Message::from(QueryResponse { answer: said(m.answer), ..m })
        }
        Message::Serf(SerfMessage::Relay(mut m)) => {
            m.to.addr = canonical(m.to.addr);
            m.response.answer = said(m.response.answer);
            Message::from(m)
        }
        other => other,
    }
}

fn row() -> impl Strategy<Value = PeerRow> {
    let states = [PeerState::Alive, PeerState::Suspect, PeerState::Dead, PeerState::Left];
    let meta = proptest::collection::vec(any::<u8>(), 0..40);
    let parts = (any_name(), any::<[u8; 4]>(), any::<u16>(), meta, any::<u32>());
    (parts, proptest::sample::select(states.to_vec()), any::<bool>(), 1..u64::MAX).prop_map(
        |((node, ip, port, meta, incarnation), state, leaving, ltime)| PeerRow {
            node,
            addr: SocketAddr::from((ip, port)),
            meta,
            incarnation: Incarnation(incarnation),
            state,
            leaving: leaving && matches!(state, PeerState::Alive | PeerState::Suspect),
            status_ltime: LamportTime(ltime),
            versions: Versions::OURS,
        },
    )
}

fn push_pull() -> impl Strategy<Value = PushPull> {
    let rows = proptest::collection::vec(row(), 0..8);
    let intents = proptest::collection::vec((any_name(), any::<u64>(), any::<bool>()), 0..4);
    let events = proptest::collection::vec((0u64..5, ".{1,9}", ".{0,9}"), 0..6);
    (any::<bool>(), any::<[u64; 3]>(), rows, intents, events).prop_map(
        |(join, times, mut rows, intents, mut events)| {
            rows.sort_by(|a, b| a.node.cmp(&b.node));
            rows.dedup_by(|a, b| a.node == b.node);
            let mut intents: Vec<PeerIntent> = intents
                .into_iter()
                .map(|(node, ltime, left)| PeerIntent { node, ltime: LamportTime(ltime), left })
                .filter(|intent| rows.iter().all(|row| row.node != intent.node))
                .collect();
            intents.sort_by(|a, b| a.node.cmp(&b.node));
            intents.dedup_by(|a, b| a.node == b.node);
            events.sort_by_key(|(ltime, ..)| *ltime);
            let event = |(ltime, name, payload): (u64, String, String)| UserEvent {
                ltime: LamportTime(ltime),
                name: name.into(),
                payload: payload.into(),
                coalesce: false,
            };
            let [ltime, event_ltime, query_ltime] = [times[0], times[1] % 400, times[2]].map(LamportTime);
            let serf =
                SerfState { event_ltime, query_ltime, events: events.into_iter().map(event).collect() };
            PushPull { join, ltime, rows, intents, serf, ..PushPull::default() }
        },
    )
}

/// A message that has a form in this dialect.
fn message() -> impl Strategy<Value = Message> {
    let ours_alone =
        |m: &Message| matches!(m, Message::Probe(ProbeMessage::Knock(_) | ProbeMessage::Refused(_)));
    any_message().prop_filter("it is ours alone", move |m| !ours_alone(m))
}

proptest! {
    #[test]
    fn decode_reverses_encode(m in message()) {
        prop_assert_eq!(decode_any(&encode(&m)), Ok(as_said(m)));
    }

    #[test]
    fn push_pulls_round_trip_at_any_cut(m in push_pull(), cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..4)) {
        let message = StreamMessage::PushPull(m);
        let plain = framing::encode(Dialect::Hashicorp, &message);
        for bytes in [compression::pack(plain.clone()), plain] {
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len())).collect();
            cuts.sort_unstable();
            let mut reader = StreamReader::default();
            for cut in cuts {
                prop_assert_eq!(reader.read(&bytes[..cut]), Ok(None));
            }
            prop_assert_eq!(reader.read(&bytes), Ok(Some(message.clone())));
        }
    }

    #[test]
    fn user_messages_come_over_streams_as_well(m in message()) {
        if encode(&m)[0] == USER {
            let bytes = framing::encode(Dialect::Hashicorp, &StreamMessage::User(m.clone()));
            prop_assert_eq!(framing::decode(&bytes), Ok(Some(StreamMessage::User(as_said(m)))));
        }
    }

    #[test]
    fn missing_bytes_are_refused(m in message(), cut in 1usize..20) {
        let mut bytes = encode(&m);
        bytes.truncate(bytes.len().saturating_sub(cut));
        prop_assert!(decode_any(&bytes).is_err());
    }

    #[test]
    fn arbitrary_bytes_never_panic(tag in 0u8..0x80, body in proptest::collection::vec(any::<u8>(), 0..300)) {
        let bytes = [&[tag][..], &body].concat();
        let _ = decode(&bytes);
        let _ = framing::decode(&bytes);
        let _ = read_datagram(&bytes, None, |_, _| {});
    }

    #[test]
    fn damaged_records_never_panic(which in any::<prop::sample::Index>(), at in any::<prop::sample::Index>(), to in any::<u8>()) {
        for label in ["message", "datagram", "stream"] {
            let mut all = recorded(label);
            let which = which.index(all.len());
            let bytes = &mut all[which];
            let at = at.index(bytes.len());
            bytes[at] = to;
            let _ = decode_any(bytes);
            let _ = framing::decode(bytes);
            let _ = read_datagram(bytes, None, |_, _| {});
        }
    }
}

#[test]
fn one_bad_member_does_not_keep_the_others_from_being_heard() {
    let row = |name: &str, fields: &dyn Fn(&mut Writer)| {
        let mut w = Writer::default();
        w.map(4);
        w.field("Name").raw(name.as_bytes());
        w.field("Port").unsigned(7946u16);
        w.field("Unknown").list(0);
        fields(&mut w);
        w.out
    };
    let addr = |bytes: &'static [u8]| move |w: &mut Writer| w.field("Addr").raw(bytes);
    let rows = [
        row("good", &addr(&[10, 0, 0, 1])),
        row("", &addr(&[10, 0, 0, 2])),
        row("three bytes", &addr(&[10, 0, 0])),
        row("nowhere", &|w: &mut Writer| w.field("Addr").slice(&[])),
        row("no such state", &|w: &mut Writer| w.field("State").unsigned(9u8)),
        row(&"x".repeat(600), &addr(&[10, 0, 0, 3])),
        row("last", &addr(&[10, 0, 0, 4])),
    ];
    let mut w = Writer::of_type(push_pull::PUSH_PULL);
    w.map(2);
    w.field("Nodes").unsigned(rows.len() as u64);
    w.field("UserStateLen").unsigned(0u8);
    w.out.extend(rows.concat());
    let Ok(Some(StreamMessage::PushPull(m))) = framing::decode(&w.out) else { panic!("it is refused") };
    let names: Vec<String> = m.rows.iter().map(|row| row.node.to_string()).collect();
    assert_eq!(names, ["good", "last"]);
    assert_eq!(m.left_out.count, 5);
    assert_eq!(m.left_out.first, "a member: node name is empty");
}

/// A state of three of each kind of entry, in which `spoil` may write another value in the place of one:
/// it is given the kind of the value, and the number of the entry.
fn spoilt_state(spoil: &dyn Fn(&mut Writer, &str, usize) -> bool) -> Vec<u8> {
    let put = |w: &mut Writer, kind: &str, i: usize, value: &dyn Fn(&mut Writer)| {
        if !spoil(w, kind, i) {
            value(w);
        }
    };
    let mut serf = Writer::of_type(2);
    serf.map(5);
    serf.field("LTime").unsigned(9u8);
    serf.field("StatusLTimes").map(3);
    for i in 0..3 {
        put(&mut serf, "intent's name", i, &|w| w.raw(format!("intent{i}").as_bytes()));
        put(&mut serf, "intent's time", i, &|w| w.unsigned(5u8));
    }
    serf.field("LeftMembers").list(3);
    for i in 0..3 {
        put(&mut serf, "left", i, &|w| w.raw(format!("row{i}").as_bytes()));
    }
    serf.field("Events").list(4);
    for time in 0..3 {
        put(&mut serf, "events", time, &|w| {
            w.map(2);
            put(w.field("LTime"), "events' time", time, &|w| w.unsigned(time as u64 + 1));
            w.field("Events").list(1);
            put(w, "event", time, &|w| {
                w.map(2);
                put(w.field("Name"), "event's name", time, &|w| w.raw(format!("event{time}").as_bytes()));
                put(w.field("Payload"), "event's payload", time, &|w| w.raw(b"\xff"));
            });
        });
    }
    serf.slice(&[]);
    serf.field("QueryLTime").unsigned(3u8);
    let mut w = Writer::of_type(push_pull::PUSH_PULL);
    w.map(3);
    w.field("Nodes").unsigned(3u8);
    w.field("Join").flag(false);
    w.field("UserStateLen").unsigned(serf.out.len() as u64);
    for i in 0..3 {
        put(&mut w, "row", i, &|w| {
            w.map(7);
            put(w.field("Name"), "row's name", i, &|w| w.raw(format!("row{i}").as_bytes()));
            put(w.field("Addr"), "row's address", i, &|w| w.raw(&[10, 0, 0, 1]));
            put(w.field("Port"), "row's port", i, &|w| w.unsigned(7946u16));
            put(w.field("Meta"), "row's tags", i, &|w| w.raw(b"\xff\x80"));
            put(w.field("Incarnation"), "row's incarnation", i, &|w| w.unsigned(4u8));
            put(w.field("State"), "row's state", i, &|w| w.unsigned(0u8));
            put(w.field("Vsn"), "row's versions", i, &|w| w.raw(&[1, 5, 2, 2, 5, 4]));
        });
    }
    w.out.extend(serf.out);
    w.out
}

proptest! {
    #[test]
    fn a_bad_entry_of_an_exchange_costs_no_other(
        kind in prop::sample::select(vec![
            "intent's name", "intent's time", "left", "events", "events' time", "event", "event's name",
            "event's payload", "row", "row's name", "row's address", "row's port", "row's tags",
            "row's incarnation", "row's state", "row's versions",
        ]),
        bad in 0usize..3,
        value in prop_oneof![
            prop::sample::select(vec![
                &b"\xc0"[..], b"\xc3", b"\xff", b"\xa0", b"\xa1\xff", b"\x90", b"\x80", b"\x81\xa4Name\x01", b"\x91\x91\x07",
                b"\xcb\0\0\0\0\0\0\0\0", b"\xcf\xff\xff\xff\xff\xff\xff\xff\xff", b"\xd4\x01\x02", b"\xc4\x03\xfe\0\x01",
            ]).prop_map(<[u8]>::to_vec),
            proptest::collection::vec(any::<u8>(), 0..700).prop_map(|bytes| {
                let mut w = Writer::default();
                w.raw(&bytes);
                w.out
            }),
        ],
    ) {
        let bytes = spoilt_state(&|w, what, i| {
            let here = (what, i) == (kind, bad);
            if here {
                w.out.extend_from_slice(&value);
            }
            here
        });
        let Ok(Some(StreamMessage::PushPull(m))) = framing::decode(&bytes) else {
            return Err(TestCaseError::fail("the whole is refused"));
        };
        let others = (0..3).filter(|i| *i != bad);
        for i in others {
            let row = m.rows.iter().find(|row| row.node.as_bytes() == format!("row{i}").as_bytes());
            prop_assert!(row.is_some_and(|row| row.leaving), "{kind}: row {i} is missing");
            let intent = m.intents.iter().find(|intent| intent.node.as_bytes() == format!("intent{i}").as_bytes());
            prop_assert!(intent.is_some_and(|intent| intent.ltime.0 == 5), "{kind}: intent {i} is missing");
            let event = m.serf.events.iter().find(|event| event.ltime.0 == i as u64 + 1);
            prop_assert!(event.is_some_and(|event| event.name == *format!("event{i}")), "{kind}: event {i} is missing");
        }
        prop_assert_eq!((m.ltime.0, m.serf.query_ltime.0), (9, 3));
        prop_assert!(m.left_out.count <= 1);
    }
}

#[test]
fn old_pings_without_a_source_are_read() {
    let mut w = Writer::of_type(PING);
    w.map(2);
    w.field("SeqNo").unsigned(7u8);
    w.field("Node").raw(b"me");
    let Ok(Message::Probe(ProbeMessage::Ping(ping))) = decode(&w.out) else { panic!("it is refused") };
    assert_eq!((ping.seq_no, ping.node.to_string()), (7, "me".into()));
    assert_eq!(ping.source, Source { node: Source::nameless(), addr: "0.0.0.0:0".parse().unwrap() });
}

#[test]
fn announced_sizes_do_not_allocate_and_are_refused_early() {
    let header = |nodes: u64, len: u64| {
        let mut w = Writer::of_type(push_pull::PUSH_PULL);
        w.map(2);
        w.field("Nodes").unsigned(nodes);
        w.field("UserStateLen").unsigned(len);
        w.out
    };
    for bytes in [header(u64::MAX, 0), header(0, u64::MAX), header(9 << 20, 0), header(0, 9 << 20)] {
        assert!(matches!(framing::decode(&bytes), Err(WireError::TooLong { .. })));
    }
    assert_eq!(framing::decode(&header(5, 5)), Ok(None));
    // A single row that never ends.
    let endless = [header(1, 0), [0x91].repeat(10_000)].concat();
    assert!(matches!(framing::decode(&endless), Err(WireError::Malformed { .. })));
    let bomb = compression::pack(vec![0; 20 << 20]);
    assert!(matches!(framing::decode(&bomb), Err(WireError::TooLong { .. })));
    let nested = compression::pack(compression::pack(vec![0; 300]).repeat(50));
    assert_eq!(framing::decode(&nested), Err(WireError::Nested));
}

#[test]
fn what_is_said_twice_counts_once_and_unknown_fields_are_skipped() {
    let mut w = Writer::of_type(NACK);
    w.map(4);
    w.field("SeqNo").unsigned(1u8);
    w.field("Later").map(1);
    w.raw(b"nested");
    w.list(2);
    w.flag(true);
    w.slice(&[]);
    w.field("SeqNo").unsigned(2u8);
    w.field("Last").unsigned(u64::MAX);
    assert_eq!(decode(&w.out), Ok(Message::from(Nack { seq_no: 2 })));
}
