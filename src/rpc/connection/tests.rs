//! A client's conversation, value by value, in virtual time.

mod events;

use super::limits::*;
use super::streams::{MONITOR_ENDED, STREAM_ENDED};
use super::*;
use crate::messaging::filter::EventFilter;
use crate::model::{
    Event, Incarnation, Member, MemberEventKind, MemberEvents, Moment, NodeName, Status, Tags, Text, Token,
    Versions,
};
use crate::rpc::codec::{Body, Field, decode, encode};
use crate::rpc::commands::{Call, KeyedAnswer, LaterRequest, NowRequest, Request, RpcCommand};
use crate::rpc::frame::FrameScanner;
use crate::rpc::record::*;
use crate::rpc::reply::RpcReply;
use crate::telemetry::LogLine;
use log::Level;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

const START: Moment = Moment::ZERO;

/// A connection and what its client has read of the output.
struct Connected {
    connection: Connection,
    now: Moment,
}

fn connected(key: &str) -> Connected {
    Connected { connection: Connection::new(7, key.into(), START), now: START }
}

/// A connection that has shaken hands.
fn open() -> Connected {
    let mut t = connected("");
    t.ask(0, &HandshakeCall { version: 1 });
    assert_eq!(t.header(), (0, String::new()));
    t
}

/// A request of this word, with what its body may be.
fn request(word: &str, seq: u64, body: &impl Body) -> Vec<u8> {
    let mut bytes = encode(&RequestHeader { command: word.into(), seq });
    body.write(&mut bytes);
    bytes
}

fn call<C: Call>(seq: u64, call: &C) -> Vec<u8> {
    request(C::COMMAND.word(), seq, call)
}

fn joined(num: i32, error: &str) -> RpcReply {
    RpcReply::with::<JoinCall>(&JoinResponse { num }).but(Some(error))
}

/// A reply of about so many bytes.
fn large(bytes: usize) -> RpcReply {
    let member = MemberInfo { name: "x".repeat(bytes).into(), ..MemberInfo::default() };
    RpcReply::with::<MembersCall>(&MembersResponse { members: vec![member] })
}

impl Connected {
    fn feed(&mut self, bytes: &[u8]) -> Option<(Token, Request)> {
        self.connection.receive(bytes);
        self.connection.next_request(self.now)
    }

    fn ask<C: Call>(&mut self, seq: u64, body: &C) -> Option<(Token, Request)> {
        self.feed(&call(seq, body))
    }

    fn bare(&mut self, word: &str, seq: u64) -> Option<(Token, Request)> {
        self.feed(&request(word, seq, &()))
    }

    fn deliver(&mut self, event: &Event) {
        self.connection.deliver(&mut StreamedEvent::new(event), self.now);
    }

    fn value(&mut self) -> Vec<u8> {
        let output = self.connection.output();
        let len = FrameScanner::default().scan(output, MAX_REPLY).unwrap().expect("a whole value");
        let value = output[..len].to_vec();
        self.connection.sent(len, self.now);
        value
    }

    fn header(&mut self) -> (u64, String) {
        let header: ResponseHeader = decode(&self.value()).unwrap();
        (header.seq, header.error)
    }

    fn body<T: Field>(&mut self) -> T {
        decode(&self.value()).unwrap()
    }

    fn is_quiet(&self) -> bool {
        self.connection.output().is_empty()
    }

    fn is_open(&self) -> bool {
        self.connection.phase() == Phase::Open
    }
}

fn members(count: usize) -> Vec<Member> {
    (0..count)
        .map(|i| Member {
            name: NodeName::new(format!("node-{i}")).unwrap(),
            addr: "10.0.0.1:7946".parse().unwrap(),
            meta: Tags::default().encode().unwrap().into(),
            status: Status::Alive,
            versions: Versions::OURS,
            incarnation: Incarnation(1),
        })
        .collect()
}

fn event(kind: MemberEventKind, count: usize) -> Event {
    Event::Members(MemberEvents { kind, members: members(count) })
}

#[test]
fn a_handshake_comes_first_once_and_in_the_right_version() {
    let mut t = connected("");
    t.ask(1, &HandshakeCall { version: 2 });
    assert_eq!(t.header(), (1, "Unsupported IPC version".into()));
    t.ask(2, &HandshakeCall { version: 0 });
    assert_eq!(t.header(), (2, "Unsupported IPC version".into()));
    t.ask(3, &HandshakeCall { version: 1 });
    assert_eq!(t.header(), (3, String::new()));
    t.ask(4, &HandshakeCall { version: 1 });
    assert_eq!(t.header(), (4, "Handshake already performed".into()));
    assert!(matches!(
        t.bare("members", 5),
        Some((Token { connection: 7, seq: 5 }, Request::Now(NowRequest::Members(_))))
    ));

    for command in ["members", "auth", "no-such-command", ""] {
        let mut t = connected("");
        assert!(t.bare(command, 9).is_none());
        assert_eq!(t.header(), (9, "Handshake required".into()));
        assert!(matches!(t.connection.phase(), Phase::Lingering(_)), "{command}");
    }
}

#[test]
fn keys_are_asked_for_and_counted() {
    let mut t = connected("secret");
    t.ask(1, &HandshakeCall { version: 1 });
    assert_eq!(t.header(), (1, String::new()));
    // Refused by the header; the body is skipped and the next request is read as one.
    assert!(t.ask(2, &JoinCall::default()).is_none());
    assert_eq!(t.header(), (2, "Authentication required".into()));
    assert!(t.is_quiet());
    assert!(t.bare("members", 3).is_none());
    assert_eq!(t.header(), (3, "Authentication required".into()));

    for seq in 4..6 {
        t.ask(seq, &AuthCall { auth_key: "secreT".into() });
        assert_eq!(t.header(), (seq, "Invalid authentication token".into()));
        assert!(t.is_open());
    }
    t.ask(6, &AuthCall { auth_key: "secret".into() });
    assert_eq!(t.header(), (6, String::new()));
    assert!(matches!(t.bare("stats", 7), Some((_, Request::Now(NowRequest::Stats(_))))));
}

#[test]
fn the_third_wrong_key_closes_after_its_error_was_read() {
    let mut t = connected("secret");
    t.ask(1, &HandshakeCall { version: 1 });
    t.header();
    for seq in 2..5 {
        assert!(t.is_open());
        t.ask(seq, &AuthCall { auth_key: Text::default() });
        if seq < 4 {
            t.header();
        }
    }
    assert_eq!(t.connection.phase(), Phase::Draining(START + DRAIN_TIMEOUT));
    assert!(t.feed(&call(5, &AuthCall { auth_key: "secret".into() })).is_none());
    assert_eq!(t.header(), (4, "Invalid authentication token".into()));
    assert!(t.is_quiet());
    assert_eq!(t.connection.phase(), Phase::Lingering(START + LINGER_TIMEOUT));
    t.connection.peer_closed();
    assert_eq!(t.connection.phase(), Phase::Closed);
    assert!(t.connection.take_complaint().is_some());
    assert!(t.connection.take_complaint().is_none());
}

#[test]
fn requests_wait_for_the_answer_to_the_one_before() {
    let mut t = open();
    let mut both = call(1, &JoinCall { existing: vec!["a".into()], replay: true });
    both.extend(request("members", u64::MAX, &()));
    let (token, asked) = t.feed(&both).unwrap();
    let Request::Later(LaterRequest::Join(join)) = asked else { panic!("{asked:?}") };
    assert_eq!(join, JoinCall { existing: vec!["a".into()], replay: true });
    assert!(t.connection.next_request(START).is_none());

    let stale = Token { connection: 6, seq: 1 };
    assert!(!t.connection.reply(stale, &joined(9, "")));
    assert!(t.connection.reply(token, &joined(1, "partly")));
    assert!(!t.connection.reply(token, &joined(9, "")), "answered once");
    assert_eq!(t.header(), (1, "partly".into()));
    assert_eq!(t.body::<JoinResponse>().num, 1);

    let (token, asked) = t.connection.next_request(START).unwrap();
    assert!(matches!(asked, Request::Now(NowRequest::Members(_))) && token.seq == u64::MAX);
    assert!(t.connection.reply(token, &large(0)));
    assert_eq!(t.header(), (u64::MAX, String::new()));
}

#[test]
fn errors_carry_the_body_that_clients_wait_for() {
    for command in RpcCommand::ALL {
        let mut t = open();
        let asked = if command.has_request_body() {
            t.feed(&request(command.word(), 5, &MonitorCall { log_level: "info".into() }))
        } else {
            t.bare(command.word(), 5)
        };
        let Some((token, _)) = asked else { continue };
        assert!(t.connection.reply_error(token, "no"));
        assert_eq!(t.header(), (5, "no".into()));
        if command.has_reply_body() {
            t.value();
        }
        assert!(t.is_quiet(), "{command:?}");
        assert!(t.is_open());
    }
}

#[test]
fn a_bad_expression_is_an_error_and_nothing_more() {
    let mut t = open();
    let filter = |status: &str| MembersFilteredCall { status: status.into(), ..Default::default() };
    assert!(t.ask(1, &filter("[")).is_none());
    let (seq, error) = t.header();
    assert!(seq == 1 && error.starts_with("Failed to compile regex: '['"), "{error}");
    assert!(t.body::<MembersResponse>().members.is_empty());
    let asked = t.ask(2, &filter("alive"));
    assert!(matches!(asked, Some((_, Request::Now(NowRequest::MembersFiltered(_))))));
}

#[test]
fn unknown_commands_and_unreadable_input_end_the_connection_with_a_reason() {
    let mut huge = b"\xdb\x00\x20\x00\x00".to_vec();
    let mut body_too_large = request("event", 3, &());
    body_too_large.append(&mut huge.clone());
    let mut wrong_type = request("event", 4, &());
    wrong_type.extend_from_slice(b"\x81\xa4Name\x05");
    huge.push(0);
    for (bytes, seq, error) in [
        (request("foo", 8, &()), 8, "Unsupported command"),
        (b"GET / HTTP/1.1\r\n".to_vec(), 0, "Invalid request header: "),
        (b"\xc1".to_vec(), 0, "Invalid request: message is not MessagePack"),
        (vec![0x91; 100], 0, "Invalid request: message is nested deeper than 16 levels"),
        (huge, 0, "Invalid request: message is larger than 1048576 bytes"),
        (body_too_large, 3, "Invalid request: message is larger than 1048576 bytes"),
        (wrong_type, 4, "Invalid event request: "),
    ] {
        let mut t = open();
        assert!(t.feed(&bytes).is_none());
        let reply = t.header();
        assert!(reply.0 == seq && reply.1.starts_with(error), "{reply:?}");
        assert!(t.is_quiet() && !t.is_open());
        assert!(t.connection.take_complaint().is_some());
    }
}

#[test]
fn strangers_have_a_small_limit() {
    let mut t = connected("");
    let long = HandshakeCall { version: 1 };
    let mut bytes = call(0, &long);
    bytes.splice(0..0, encode(&"x".repeat(MAX_FRAME_BEFORE_AUTH)));
    assert!(t.feed(&bytes).is_none());
    assert_eq!(t.header(), (0, "Invalid request: message is larger than 4096 bytes".into()));

    let mut t = open();
    let event = EventCall { payload: vec![1; MAX_FRAME - 100], ..Default::default() };
    assert!(matches!(t.ask(1, &event), Some((_, Request::Later(LaterRequest::Event(e)))) if e == event));
}

#[test]
fn deadlines() {
    // Silent.
    let mut t = connected("");
    assert_eq!(t.connection.deadline(), START + HANDSHAKE_TIMEOUT);
    t.connection.expire(START + HANDSHAKE_TIMEOUT / 2);
    assert!(t.is_open());
    t.connection.expire(START + HANDSHAKE_TIMEOUT);
    assert_eq!(t.header(), (0, "No handshake within 10 seconds".into()));
    // Shaken hands, and no key.
    let mut t = connected("secret");
    t.ask(1, &HandshakeCall { version: 1 });
    t.header();
    t.connection.expire(START + HANDSHAKE_TIMEOUT);
    assert_eq!(t.header(), (0, "No authentication within 10 seconds".into()));
    // Half a request.
    let mut t = open();
    assert_eq!(t.connection.deadline(), Moment::NEVER);
    t.now = START + Duration::from_secs(100);
    assert!(t.bare("event", 4).is_none());
    t.now += Duration::from_secs(20);
    assert!(t.feed(b"\x83\xa4Na").is_none());
    assert_eq!(t.connection.deadline(), START + Duration::from_secs(100) + REQUEST_TIMEOUT);
    t.connection.expire(t.connection.deadline());
    assert_eq!(t.header(), (4, "Request was not complete within 30 seconds".into()));
    // A client that reads nothing of a large reply, not even the end of it.
    let mut t = open();
    let (token, _) = t.bare("members", 1).unwrap();
    t.connection.reply(token, &large(3 * MAX_STREAM_BACKLOG));
    t.connection.sent(1, t.now);
    t.now += Duration::from_secs(29);
    t.connection.sent(0, t.now);
    assert_eq!(t.connection.deadline(), START + STALL_TIMEOUT);
    t.connection.expire(START + STALL_TIMEOUT);
    assert_eq!(t.connection.phase(), Phase::Closed);
    // A client that stopped sending and does not read either.
    let mut t = open();
    let (token, _) = t.bare("members", 1).unwrap();
    t.connection.reply(token, &large(OUTPUT_PAUSE));
    t.connection.sent(0, t.now);
    assert_eq!(t.connection.deadline(), Moment::NEVER);
    t.connection.peer_closed();
    t.connection.expire(START + STALL_TIMEOUT);
    assert_eq!(t.connection.phase(), Phase::Closed);
    // The last reply is not read.
    let mut t = connected("");
    t.bare("members", 1);
    t.connection.expire(START + DRAIN_TIMEOUT);
    assert_eq!(t.connection.phase(), Phase::Closed);
}

/// HashiCorp's clients show no error but that of a request.
#[test]
fn a_client_that_is_turned_away_learns_it_in_answer_to_its_first_request() {
    let turned_away = || {
        let mut t = connected("key");
        t.connection.turn_away("full".into());
        assert!(t.is_open() && !t.connection.is_served() && t.is_quiet());
        t
    };
    let hello = call(300, &HandshakeCall { version: 1 });
    for cut in 0..hello.len() {
        let mut t = turned_away();
        assert!(t.feed(&hello[..cut]).is_none());
        let answered = !t.is_quiet();
        t.feed(&hello[cut..]);
        assert_eq!(t.header(), (300, "full".into()));
        assert!(!t.is_open() && t.is_quiet());
        assert!(answered || cut < hello.len() - 10, "the header is enough");
    }
    // What is no header, however long, is answered as well as can be.
    for bytes in [vec![0xc1], vec![0x91; MAX_REFUSED_INPUT * 2], vec![b'x'; 9000], encode(&"x".repeat(9000))]
    {
        let mut t = turned_away();
        t.feed(&bytes);
        assert_eq!((t.header(), t.is_open()), ((0, "full".into()), false));
    }
    let mut t = turned_away();
    t.feed(&hello[..8]);
    assert_eq!(t.connection.deadline(), START + REFUSAL_TIMEOUT);
    t.connection.expire(START + REFUSAL_TIMEOUT);
    assert_eq!((t.header(), t.is_open()), ((0, "full".into()), false));
}

#[test]
fn a_client_that_only_asks_is_not_read() {
    let mut t = open();
    let mut answered = 0;
    let refused = call(1, &StreamCall { kind: "nonsense".into() });
    for _ in 0..200_000 {
        if !t.connection.wants_input() {
            break;
        }
        assert!(t.feed(&refused).is_none());
        answered += 1;
    }
    assert!(!t.connection.wants_input(), "{answered}");
    assert!(t.connection.output().len() < 2 * OUTPUT_PAUSE);
    // It reads, and is served again.
    let len = t.connection.output().len();
    t.connection.sent(len, START);
    t.connection.next_request(START);
    assert!(t.connection.wants_input() && !t.is_quiet());
}

#[test]
fn what_was_asked_before_the_client_stopped_sending_is_answered() {
    let mut t = open();
    let (token, _) = t.bare("leave", 1).unwrap();
    t.connection.peer_closed();
    assert!(t.connection.next_request(START).is_none() && t.is_open());
    t.connection.reply(token, &RpcReply::default());
    assert!(t.connection.next_request(START).is_none());
    assert_eq!(t.header(), (1, String::new()));
    assert_eq!(t.connection.phase(), Phase::Closed);
}

#[test]
fn streams_get_what_they_asked_for() {
    let mut t = open();
    let stream = |kind: &str| StreamCall { kind: kind.into() };
    for (seq, filter, error) in [
        (1, "member-join,user:deploy", ""),
        (2, "*", ""),
        (3, "member-foo", "Invalid event filter"),
        (2, "user", "Stream with given sequence exists"),
        (2, "foo", "Invalid event filter"),
    ] {
        assert!(t.ask(seq, &stream(filter)).is_none());
        assert_eq!(t.header(), (seq, error.into()));
    }
    t.deliver(&event(MemberEventKind::Join, 2));
    for seq in [1, 2] {
        assert_eq!(t.header(), (seq, String::new()));
        let record: MemberEventRecord = t.body();
        assert_eq!((record.event.as_str(), record.members.len()), ("member-join", 2));
    }
    t.deliver(&event(MemberEventKind::Failed, 1));
    assert_eq!(t.header().0, 2);
    assert_eq!(t.body::<MemberEventRecord>().event, "member-failed");
    assert!(t.is_quiet());

    t.ask(9, &StopCall { stop: 2 });
    assert_eq!(t.header(), (9, String::new()));
    t.ask(10, &StopCall { stop: 77 });
    assert_eq!(t.header(), (10, String::new()));
    t.deliver(&event(MemberEventKind::Failed, 1));
    assert!(t.is_quiet());

    for seq in 100..99 + MAX_STREAMS as u64 {
        t.ask(seq, &stream("*"));
        assert_eq!(t.header(), (seq, String::new()));
    }
    t.ask(999, &stream("*"));
    assert_eq!(t.header(), (999, "Too many streams (limit is 64)".into()));
}

#[test]
fn a_stream_that_nobody_reads_ends_between_two_records() {
    let mut t = open();
    t.ask(1, &StreamCall::default());
    t.header();
    let (token, _) = t.ask(2, &MonitorCall { log_level: "info".into() }).unwrap();
    t.connection.start_monitor(token, Level::Info, &[], 0);
    t.header();
    let record = event(MemberEventKind::Join, 20);
    for number in 0..10_000 {
        t.deliver(&record);
        let line = LogLine { number: 0, level: Level::Info, text: "line".into() };
        t.connection.log_line(number, &line);
    }
    assert!(t.connection.output().len() < MAX_STREAM_BACKLOG + 8192);
    assert_eq!(t.connection.take_ended_streams(), 2);
    assert_eq!(t.connection.take_ended_streams(), 0);
    assert_eq!(t.connection.take_changed_filters(), Some(vec![]));
    assert!(t.connection.monitor_level().is_none());
    let mut last = BTreeMap::new();
    while !t.is_quiet() {
        let (seq, error) = t.header();
        t.value();
        assert!(last.insert(seq, error).is_none_or(|e| e.is_empty()), "nothing comes after the end");
    }
    assert_eq!(last[&1], STREAM_ENDED);
    assert_eq!(last[&2], MONITOR_ENDED);
    // The connection is as good as new.
    t.ask(1, &StreamCall::default());
    assert_eq!(t.header(), (1, String::new()));
}

#[test]
fn a_monitor_gets_recent_lines_and_then_each_new_one_once() {
    let line = |level, text: &str| Arc::new(LogLine { number: 0, level, text: text.into() });
    let recent = [line(Level::Info, "one"), line(Level::Debug, "two"), line(Level::Error, "three")];
    let mut t = open();
    t.ask(1, &MonitorCall { log_level: "loud".into() });
    assert_eq!(t.header(), (1, "Unknown log level: LOUD".into()));
    let (token, asked) = t.ask(2, &MonitorCall { log_level: "Info".into() }).unwrap();
    assert!(matches!(asked, Request::Monitor(Level::Info)));
    assert!(t.connection.start_monitor(token, Level::Info, &recent, 3));
    for number in 0..5 {
        t.connection.log_line(number, &line(Level::Warn, &number.to_string()));
        t.connection.log_line(number, &line(Level::Debug, "fine detail"));
    }
    assert_eq!(t.header(), (2, String::new()));
    for text in ["one", "three", "3", "4"] {
        assert_eq!(t.header(), (2, String::new()));
        assert_eq!(t.body::<LogRecord>().log, text);
    }
    assert!(t.is_quiet());
    t.ask(3, &MonitorCall { log_level: "info".into() });
    assert_eq!(t.header(), (3, "Monitor already exists".into()));
    t.ask(4, &StopCall { stop: 2 });
    t.header();
    t.connection.log_line(9, &line(Level::Error, "late"));
    assert!(t.is_quiet());
    // More than may wait: the last ones, whole.
    let many: Vec<_> = (0..1000).map(|i| line(Level::Info, &format!("{i:01000}"))).collect();
    let (token, _) = t.ask(5, &MonitorCall { log_level: "info".into() }).unwrap();
    t.connection.start_monitor(token, Level::Info, &many, 1000);
    assert!(t.connection.output().len() < MAX_STREAM_BACKLOG);
    t.header();
    let mut newest = Text::default();
    while !t.is_quiet() {
        t.header();
        newest = t.body::<LogRecord>().log;
    }
    assert_eq!(newest, many[999].text.as_str());
}

#[test]
fn a_reply_beyond_the_limit_is_an_error() {
    let mut t = open();
    let (token, _) = t.bare("members", 1).unwrap();
    t.connection.reply(token, &large(MAX_REPLY));
    assert_eq!(t.header(), (1, "Reply is larger than 16777216 bytes".into()));
    assert!(t.body::<MembersResponse>().members.is_empty());
}

/// Feeds pieces and answers every request with an error; what came of it, as text.
fn transcript(pieces: &[&[u8]]) -> (Vec<String>, Vec<u8>) {
    let mut connection = Connection::new(1, "k".into(), START);
    let mut requests = Vec::new();
    for piece in pieces {
        connection.receive(piece);
        while let Some((token, request)) = connection.next_request(START) {
            requests.push(format!("{token:?} {request:?}"));
            connection.reply_error(token, "no");
        }
    }
    (requests, connection.output().to_vec())
}

fn conversation() -> Vec<u8> {
    let mut bytes = call(0, &HandshakeCall { version: 1 });
    bytes.extend(call(1, &JoinCall::default()));
    bytes.extend(call(2, &AuthCall { auth_key: "k".into() }));
    bytes.extend(call(3, &JoinCall { existing: vec!["x:1".into()], replay: true }));
    bytes.extend(request("members", 4, &()));
    bytes.extend(call(5, &StreamCall { kind: "user:x".into() }));
    bytes.extend(call(6, &MonitorCall { log_level: "warn".into() }));
    bytes.extend(call(7, &EventCall { payload: vec![0; 300], ..Default::default() }));
    bytes.extend(request("leave", 8, &()));
    bytes
}

proptest! {
    #[test]
    fn where_the_input_is_split_does_not_matter(cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..20)) {
        let bytes = conversation();
        let whole = transcript(&[&bytes]);
        prop_assert_eq!(whole.0.len(), 5);
        let mut cuts: Vec<usize> = cuts.iter().map(|i| i.index(bytes.len())).collect();
        cuts.push(0);
        cuts.push(bytes.len());
        cuts.sort_unstable();
        let pieces: Vec<&[u8]> = cuts.windows(2).map(|w| &bytes[w[0]..w[1]]).collect();
        prop_assert_eq!(transcript(&pieces), whole);
    }

    #[test]
    fn arbitrary_bytes_never_panic(
        bytes in proptest::collection::vec(any::<u8>(), 0..400), shaken in any::<bool>(), flip in any::<(u16, u8)>()
    ) {
        let mut damaged = conversation();
        let at = usize::from(flip.0) % damaged.len();
        damaged[at] ^= flip.1;
        damaged.extend_from_slice(&bytes);
        let input = if shaken { damaged } else { bytes };
        transcript(&[&input]);
    }
}
