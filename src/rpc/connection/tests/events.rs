//! Streams of events and queries, value by value: bytes, limits and the count of what is lost.

use super::super::streams::QUERY_ENDED;
use super::*;
use crate::messaging::QueryProgress;
use crate::model::{LamportTime, QueryEvent, QueryKey, UserEvent};

fn user(payload: &[u8]) -> Event {
    let (ltime, name) = (LamportTime(1), "n".to_string());
    Event::User(UserEvent { ltime, name: name.into(), payload: payload.to_vec(), coalesce: false })
}

fn query(id: u32, deadline: Moment) -> Event {
    let key = QueryKey { ltime: LamportTime(2), id };
    Event::Query(QueryEvent { key, name: "n".into(), payload: b"xyz".to_vec(), deadline })
}

fn ack() -> QueryProgress {
    QueryProgress::Ack { from: NodeName::new("a").unwrap() }
}

impl Connected {
    fn stream(&mut self, seq: u64, filter: &str) {
        assert!(self.ask(seq, &StreamCall { kind: filter.into() }).is_none());
        assert_eq!(self.header(), (seq, String::new()));
    }

    fn start_query(&mut self, seq: u64) {
        let (token, _) = self.ask(seq, &QueryCall::default()).unwrap();
        assert!(self.connection.reply(token, &RpcReply::default()));
        assert_eq!(self.header(), (seq, String::new()));
    }

    /// Reads all there is; how many records of `seq` came without an error, and the errors.
    fn records(&mut self, seq: u64) -> (u64, Vec<String>) {
        let (mut records, mut errors) = (0, Vec::new());
        while !self.is_quiet() {
            let (of, error) = self.header();
            self.value();
            if of == seq && error.is_empty() {
                records += 1;
            } else if of == seq {
                errors.push(error);
            }
        }
        (records, errors)
    }
}

/// As Debian's agent 0.8.2 sends them.
#[test]
fn records_have_the_bytes_of_serf() {
    let mut t = open();
    t.stream(5, "user");
    t.stream(6, "query:n");
    t.deliver(&user(b"xyz"));
    let header = t.header();
    assert_eq!(header, (5, String::new()));
    assert_eq!(
        t.value(),
        b"\x85\xa8Coalesce\xc2\xa5Event\xa4user\xa5LTime\x01\xa4Name\xa1n\xa7Payload\xc4\x03xyz"
    );
    t.deliver(&query(77, Moment::NEVER));
    assert_eq!(t.header(), (6, String::new()));
    assert_eq!(
        t.value(),
        b"\x85\xa5Event\xa5query\xa2ID\x01\xa5LTime\x02\xa4Name\xa1n\xa7Payload\xc4\x03xyz"
    );
    t.start_query(7);
    for (progress, bytes) in [
        (ack(), &b"\x83\xa4From\xa1a\xa7Payload\xc0\xa4Type\xa3ack"[..]),
        (
            QueryProgress::Response { from: NodeName::new("a").unwrap(), payload: b"up\n".to_vec() },
            b"\x83\xa4From\xa1a\xa7Payload\xc4\x03up\n\xa4Type\xa8response",
        ),
        (QueryProgress::Done, b"\x83\xa4From\xa0\xa7Payload\xc0\xa4Type\xa4done"),
    ] {
        t.connection.query_progress(7, &progress, START);
        t.connection.expire(START + QUERY_END_DELAY);
        assert_eq!(t.header(), (7, String::new()));
        assert_eq!(t.value(), bytes);
    }
}

#[test]
fn an_event_is_encoded_once_and_a_query_for_each_client() {
    let [mut one, mut two] = [open(), open()];
    for t in [&mut one, &mut two] {
        t.stream(1, "*");
        t.stream(2, "user,query");
    }
    // One of them has had queries before, so that its numbers are further.
    one.deliver(&query(1, Moment::NEVER));
    one.deliver(&query(2, Moment::NEVER));
    one.records(0);
    let (event, query) = (user(b"x"), query(3, Moment::NEVER));
    let (mut first, mut second) = (StreamedEvent::new(&event), StreamedEvent::new(&query));
    for t in [&mut one, &mut two] {
        t.connection.deliver(&mut first, START);
        t.connection.deliver(&mut second, START);
    }
    let ids: Vec<Vec<u64>> = [&mut one, &mut two]
        .map(|t| {
            for seq in [1, 2] {
                assert_eq!(t.header(), (seq, String::new()));
                assert_eq!(t.body::<UserEventRecord>().payload, b"x");
            }
            [1, 2]
                .map(|seq| {
                    assert_eq!(t.header(), (seq, String::new()));
                    t.body::<QueryEventRecord>().id
                })
                .to_vec()
        })
        .to_vec();
    assert_eq!(ids, [[3, 3], [1, 1]]);
}

#[test]
fn a_query_that_is_over_or_unknown_cannot_be_answered() {
    let mut t = open();
    t.stream(1, "query");
    let deadline = START + Duration::from_secs(5);
    t.deliver(&query(8, deadline));
    t.records(1);
    let answer = RespondCall { id: 1, payload: b"up".to_vec() };
    let (token, asked) = t.ask(2, &answer).unwrap();
    let Request::Later(LaterRequest::Respond(KeyedAnswer { query, payload })) = asked else {
        panic!("{asked:?}")
    };
    assert_eq!((query.id, payload.as_slice()), (8, &b"up"[..]));
    t.connection.reply(token, &RpcReply::default());
    t.header();
    for (id, now) in [(2, START), (0, START), (1, deadline)] {
        t.now = now;
        assert!(t.ask(3, &RespondCall { id, payload: vec![] }).is_none());
        assert_eq!(t.header(), (3, "No pending queries matching ID".into()));
    }
}

#[test]
fn queries_of_a_client_have_a_limit_and_a_number_each() {
    let mut t = open();
    for seq in 0..MAX_QUERIES as u64 {
        t.start_query(seq);
    }
    for (seq, error) in
        [(3, "Query with given sequence exists"), (999, "Too many queries at a time (limit is 256)")]
    {
        assert!(t.ask(seq, &QueryCall::default()).is_none());
        assert_eq!(t.header(), (seq, error.into()));
    }
    t.connection.query_progress(3, &QueryProgress::Done, START);
    t.header();
    t.value();
    t.start_query(3);
    // A relay factor out of range is an error with a name, not the end of the connection.
    let far = QueryCall { relay_factor: 300, ..QueryCall::default() };
    t.connection.query_progress(3, &QueryProgress::Done, START);
    t.header();
    t.value();
    assert!(t.ask(3, &far).is_none());
    assert_eq!(t.header(), (3, "Relay factor must be between 0 and 255, not 300".into()));
    assert!(t.is_open());
}

#[test]
fn the_end_of_a_query_keeps_its_distance_from_the_last_answer() {
    let mut t = open();
    let end = START + QUERY_END_DELAY;
    for seq in [1, 2, 3] {
        t.start_query(seq);
        t.connection.query_progress(seq, &ack(), START);
        assert_eq!(t.records(seq), (1, vec![]));
    }
    t.connection.query_progress(1, &QueryProgress::Done, START);
    t.connection.query_progress(2, &QueryProgress::Done, START + QUERY_END_DELAY / 2);
    assert!(t.is_quiet());
    assert_eq!(t.connection.deadline(), end);
    t.connection.query_progress(1, &ack(), START);
    assert_eq!(t.connection.take_dropped_records(), 1, "after the end");
    t.connection.expire(end);
    for seq in [1, 2] {
        assert_eq!(t.header(), (seq, String::new()));
        assert_eq!(t.body::<QueryRecord>().kind, "done");
    }
    assert_eq!(t.connection.deadline(), Moment::NEVER);
    // Long after the last answer, or when the connection ends, there is nothing to wait for.
    t.connection.query_progress(3, &QueryProgress::Done, end);
    assert_eq!(t.records(3), (1, vec![]));
    for closes in [true, false] {
        let mut t = open();
        t.start_query(1);
        t.connection.query_progress(1, &ack(), START);
        t.connection.query_progress(1, &QueryProgress::Done, START);
        if closes {
            t.connection.close(START);
            assert_eq!(t.records(1), (2, vec![]));
        } else {
            t.connection.abandon();
            assert_eq!(t.connection.take_dropped_records(), 2);
        }
    }
}

/// Every record is read, or counted as dropped, and never both.
#[test]
fn what_is_lost_is_counted_exactly_once() {
    let mut t = open();
    t.stream(1, "user");
    t.start_query(2);
    let (event, mut events, mut answers) = (user(&[0; 1000]), 0, 0);
    let response = QueryProgress::Response { from: NodeName::new("a").unwrap(), payload: vec![0; 1000] };
    while t.connection.ended_streams < 2 {
        events += u64::from(t.connection.streams.contains_key(&1));
        t.deliver(&event);
        t.connection.query_progress(2, &response, START);
        answers += 1;
    }
    for _ in 0..10 {
        t.deliver(&event);
        t.connection.query_progress(2, &ack(), START);
    }
    t.connection.query_progress(2, &QueryProgress::Done, START);
    answers += 11;
    assert!(t.connection.output().len() < MAX_STREAM_BACKLOG + 4096);
    let dropped = t.connection.take_dropped_records();
    let output = t.connection.output().to_vec();
    let mut at = 0;
    let mut read = 0;
    while at < output.len() {
        let mut next = || {
            let len = FrameScanner::default().scan(&output[at..], MAX_REPLY).unwrap().unwrap();
            at += len;
            output[at - len..at].to_vec()
        };
        let header: ResponseHeader = decode(&next()).unwrap();
        next();
        assert!(["", STREAM_ENDED, QUERY_ENDED].contains(&header.error.as_str()));
        read += u64::from(header.error.is_empty());
    }
    assert_eq!(read + dropped, events + answers);
    // The client reads ten records and a half, and goes.
    for _ in 0..10 {
        assert_eq!(t.header().1, "");
        t.value();
    }
    t.connection.sent(1, START);
    assert_eq!(t.connection.take_dropped_records(), 0, "while it may still read");
    t.connection.abandon();
    assert_eq!(t.connection.take_dropped_records(), read - 10);
    assert_eq!(t.connection.take_dropped_records(), 0);
    assert!(t.is_quiet());
}

#[test]
fn streams_that_come_and_go_are_reported_once() {
    let mut t = open();
    assert_eq!(t.connection.take_changed_filters(), None);
    t.stream(1, "user:x,query");
    let all = vec![EventFilter::User(Some("x".into())), EventFilter::Query(None)];
    assert_eq!(t.connection.take_changed_filters(), Some(all));
    assert_eq!(t.connection.take_changed_filters(), None);
    t.ask(9, &StopCall { stop: 7 });
    t.header();
    assert_eq!(t.connection.take_changed_filters(), None);
    t.ask(9, &StopCall { stop: 1 });
    t.header();
    assert_eq!(t.connection.take_changed_filters(), Some(vec![]));
    t.stream(2, "*");
    t.connection.close(START);
    assert_eq!(t.connection.take_changed_filters(), Some(vec![]));
}
