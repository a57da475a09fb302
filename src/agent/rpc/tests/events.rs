//! Events, queries and their answers through the running thread.

use super::*;
use crate::messaging::QueryProgress;
use crate::model::{Moment, QueryEvent};
use crate::rpc::QueryAnswer;
use crate::rpc::connection::limits::MAX_STREAM_BACKLOG;

fn query(id: u32, deadline: Moment) -> Event {
    let key = QueryKey { ltime: LamportTime(3), id };
    Event::Query(QueryEvent { key, name: "load".into(), payload: b"now".to_vec(), deadline })
}

fn user(name: &str, payload: &[u8]) -> Event {
    let (name, payload) = (name.to_string(), payload.to_vec());
    Event::User(UserEvent { ltime: LamportTime(7), name: name.into(), payload, coalesce: true })
}

fn request(name: &str) -> QueryCall {
    QueryCall { name: name.into(), request_ack: true, ..QueryCall::default() }
}

fn name(text: &str) -> NodeName {
    NodeName::new(text).unwrap()
}

impl Server {
    fn deliver(&self, event: Event) -> bool {
        self.handle.sender().send(RpcMessage::Event(Arc::new(event)))
    }

    fn progress(&self, token: Token, progress: QueryProgress) -> bool {
        self.handle.sender().send(RpcMessage::QueryProgress { token, progress })
    }

    fn next_filters(&self) -> Vec<EventFilter> {
        self.filters.recv_timeout(PATIENCE).unwrap()
    }
}

fn next(client: &mut Client) -> (u64, Record) {
    client.next_record(Some(PATIENCE)).unwrap().expect("the connection is open")
}

#[test]
fn streams_get_every_kind_of_event_in_order() {
    let server = serve("");
    let (mut all, mut some) = (server.client(), server.client());
    let everything = all.stream("*").unwrap();
    let picked = some.stream("user:deploy,query,member-leave").unwrap();
    assert!(server.event(1));
    all.event("deploy", b"v2", true).unwrap();
    all.event("other", b"", false).unwrap();
    assert_eq!(server_error(all.event("deploy", &[0; 513], true)), "too large");
    assert!(server.deliver(query(1, Moment::NEVER)));
    let (seq, first) = next(&mut all);
    assert!(seq == everything && matches!(first, Record::Members(_)), "{first:?}");
    let mut kinds = Vec::new();
    for client in [&mut all, &mut some] {
        while kinds.last() != Some(&"load".to_string()) {
            kinds.push(match next(client).1 {
                Record::User(e) => e.name.to_string(),
                Record::Query(q) => q.name.to_string(),
                other => panic!("{other:?}"),
            });
        }
        kinds.push(String::new());
    }
    assert_eq!(kinds.join(" "), "deploy other load  deploy load ");
    all.event("deploy", b"v3", true).unwrap();
    let (seq, Record::User(event)) = next(&mut some) else { panic!("another record") };
    assert_eq!(
        (seq, event.event.as_str(), event.ltime, event.payload.as_slice(), event.coalesce),
        (picked, "user", 7, &b"v3"[..], true)
    );
}

#[test]
fn queries_are_answered_by_the_clients_own_number_until_their_deadline() {
    let server = serve("");
    let (mut one, mut two) = (server.client(), server.client());
    one.stream("query").unwrap();
    assert!(server.deliver(query(1, Moment::NEVER)));
    assert!(server.deliver(query(2, Moment::ZERO)));
    let ids = [next(&mut one), next(&mut one)].map(|(_, record)| match record {
        Record::Query(q) => (q.id, q.ltime, q.payload),
        other => panic!("{other:?}"),
    });
    assert_eq!(ids, [(1, 3, b"now".to_vec()), (2, 3, b"now".to_vec())]);
    one.respond(1, b"up").unwrap();
    let key = QueryKey { ltime: LamportTime(3), id: 1 };
    assert_eq!(server.answered.recv_timeout(PATIENCE).unwrap(), (key, b"up".to_vec()));
    assert_eq!(server_error(one.respond(1, b"twice")), "response already sent");
    server.answered.recv_timeout(PATIENCE).unwrap();
    for (client, id) in [(&mut one, 2), (&mut two, 1)] {
        assert_eq!(server_error(client.respond(id, b"up")), "No pending queries matching ID");
    }
    assert!(server.answered.try_recv().is_err());
}

#[test]
fn progress_comes_to_the_client_that_asked() {
    let server = serve("");
    let (mut one, mut two) = (server.client(), server.client());
    assert_eq!(server_error(one.query(&request("refused"))), "query refused");
    server.asked.recv_timeout(PATIENCE).unwrap();
    let bad = QueryCall { filter_tags: [("role".into(), "[".into())].into(), ..request("x") };
    let refused = server_error(one.query(&bad));
    assert!(refused.starts_with("Invalid filter for tag 'role': Failed to compile regex: '['"), "{refused}");
    let first = one.query(&request("load")).unwrap();
    let second = one.query(&request("load")).unwrap();
    let other = two.query(&QueryCall { timeout: 1_000_000, ..request("load") }).unwrap();
    let tokens: Vec<Token> = (0..3).map(|_| server.asked.recv_timeout(PATIENCE).unwrap().1).collect();
    assert_eq!(tokens.iter().map(|t| t.seq).collect::<Vec<_>>(), [first, second, other]);
    server.progress(tokens[1], QueryProgress::Ack { from: name("b") });
    server.progress(tokens[0], QueryProgress::Response { from: name("a"), payload: b"up".to_vec() });
    server.progress(tokens[2], QueryProgress::Done);
    server.progress(tokens[0], QueryProgress::Done);
    server.progress(tokens[0], QueryProgress::Ack { from: name("late") });
    server.progress(tokens[1], QueryProgress::Done);
    let mut records: Vec<(u64, Record)> = (0..4).map(|_| next(&mut one)).collect();
    // Queries end in their own time; of each, the order is kept.
    records.sort_by_key(|(seq, _)| *seq);
    let expected = [
        (first, QueryAnswer::Response { from: "a".into(), payload: b"up".to_vec() }),
        (first, QueryAnswer::Done),
        (second, QueryAnswer::Ack { from: "b".into() }),
        (second, QueryAnswer::Done),
    ];
    assert_eq!(records, expected.map(|(seq, answer)| (seq, Record::Answer(answer))));
    assert_eq!(next(&mut two), (other, Record::Answer(QueryAnswer::Done)));
    assert_eq!(server.handle.sender().dropped_records(), 1, "what came after the end");
}

#[test]
fn a_query_can_be_iterated_over() {
    let server = serve("");
    let mut client = server.client();
    let stream = client.stream("user").unwrap();
    let answers = client.ask(&request("load"), Some(PATIENCE)).unwrap();
    let (_, token) = server.asked.recv_timeout(PATIENCE).unwrap();
    server.progress(token, QueryProgress::Ack { from: name("a") });
    assert!(server.deliver(user("between", b"")));
    server.progress(token, QueryProgress::Response { from: name("a"), payload: b"up".to_vec() });
    server.progress(token, QueryProgress::Done);
    let all: Vec<QueryAnswer> = answers.map(Result::unwrap).collect();
    let expected = [
        QueryAnswer::Ack { from: "a".into() },
        QueryAnswer::Response { from: "a".into(), payload: b"up".to_vec() },
    ];
    assert_eq!(all, expected);
    let (seq, record) = next(&mut client);
    assert!(seq == stream && matches!(record, Record::User(e) if e.name == "between"));
    // One that is given up leaves nothing behind.
    let mut answers = client.ask(&request("load"), Some(PATIENCE)).unwrap();
    let (_, token) = server.asked.recv_timeout(PATIENCE).unwrap();
    server.progress(token, QueryProgress::Ack { from: name("a") });
    assert!(matches!(answers.next(), Some(Ok(QueryAnswer::Ack { .. }))));
    drop(answers);
    server.progress(token, QueryProgress::Ack { from: name("b") });
    server.progress(token, QueryProgress::Done);
    assert!(server.deliver(user("after", b"")));
    assert!(matches!(next(&mut client), (_, Record::User(e)) if e.name == "after"));
    // An agent that goes away ends it with an error.
    let mut answers = client.ask(&request("load"), Some(PATIENCE)).unwrap();
    server.handle.stop();
    assert!(matches!(answers.next(), Some(Err(ClientError::Closed))));
    assert!(answers.next().is_none());
}

/// On its way the answer to `query` may be overtaken by what it announces.
#[test]
fn progress_answers_a_query_whose_answer_is_late() {
    let server = serve("");
    let config = server.config("");
    std::thread::scope(|scope| {
        let client = scope.spawn(|| {
            let mut client = Client::connect(&config).unwrap();
            let seq = client.query(&request("late")).unwrap();
            (seq, next(&mut client), client.members().unwrap().len())
        });
        let (_, token) = server.asked.recv_timeout(PATIENCE).unwrap();
        server.progress(token, QueryProgress::Done);
        server.handle.sender().reply(token, RpcReply::default());
        let (seq, done, members) = client.join().unwrap();
        assert_eq!((done.0, members), (seq, 2));
        assert_eq!(done.1, Record::Answer(QueryAnswer::Done));
    });
}

#[test]
fn the_agent_knows_the_filters_of_all_streams_together() {
    let server = serve("");
    let (mut one, mut two) = (server.client(), server.client());
    let [deploy, load] = [EventFilter::User(Some("deploy".into())), EventFilter::Query(Some("load".into()))];
    let first = one.stream("user:deploy").unwrap();
    assert_eq!(server.next_filters(), std::slice::from_ref(&deploy));
    two.stream("user:deploy").unwrap();
    two.stream("query:load").unwrap();
    let mut both = server.next_filters();
    both.sort();
    assert_eq!(both, [deploy.clone(), load.clone()]);
    one.call(&StopCall { stop: first }).unwrap();
    two.stream("user:deploy").unwrap();
    assert!(server.filters.try_recv().is_err(), "nothing has changed for all together");
    one.stream("query:load").unwrap();
    drop(two);
    assert_eq!(server.next_filters(), [load]);
    drop(one);
    assert_eq!(server.next_filters(), []);
    let many = format!("user:{}", ["x"; 200].join(",user:"));
    let mut greedy = server.client();
    greedy.stream(&many).unwrap();
    let refused = server_error(greedy.stream(&many));
    assert_eq!(refused, "Too many event filters: 400 in all streams (limit is 256)");
}

/// Every record is either read by the client or counted, and only the client's own are lost.
#[test]
fn a_client_that_does_not_read_loses_its_own_and_every_loss_is_counted_once() {
    const EVENTS: u64 = 3000;
    let server = serve("");
    let sender = server.handle.sender();
    let (mut deaf, mut keen) = (server.client(), server.client());
    let stream = deaf.stream("user").unwrap();
    let query = deaf.query(&request("load")).unwrap();
    let (_, token) = server.asked.recv_timeout(PATIENCE).unwrap();
    keen.stream("user").unwrap();
    let payload = vec![b'x'; 4096];
    let mut sent = 0;
    for i in 0..EVENTS {
        assert!(server.deliver(user("flood", &payload)), "the keen client waits for each");
        assert!(
            server.progress(token, QueryProgress::Response { from: name("a"), payload: payload.clone() })
        );
        sent += 1;
        let (_, record) = next(&mut keen);
        assert!(matches!(record, Record::User(_)), "{i}: {record:?}");
    }
    assert!(server.progress(token, QueryProgress::Done));
    assert_eq!(keen.members().unwrap().len(), 2);
    // What it finds when it does read: whole records, and why there are no more.
    let (mut events, mut answers, mut ends) = (0, 0, Vec::new());
    while ends.len() < 2 {
        match deaf.next_record(Some(PATIENCE)) {
            Ok(Some((seq, Record::User(_)))) if seq == stream => events += 1,
            Ok(Some((seq, Record::Answer(_)))) if seq == query => answers += 1,
            Err(ClientError::StreamEnded(text)) => ends.push(text),
            other => panic!("{other:?}"),
        }
    }
    ends.sort();
    assert!(ends[0].starts_with("Query ended: ") && ends[1].starts_with("Stream ended: "), "{ends:?}");
    assert!(events > 0 && answers > 0 && events < sent && answers < sent);
    // Of the stream, the record that ended it: what happens later is not for a stream that is not.
    // Of the query, everything: it was asked for.
    assert_eq!(sender.dropped_records(), 1 + (sent + 1 - answers));
    assert_eq!(deaf.members().unwrap().len(), 2);
    deaf.stream("user").unwrap();
}

/// The most that a client can cost is its backlog, and one record more.
#[test]
fn what_a_client_leaves_behind_is_counted_when_it_goes() {
    let server = serve("");
    let sender = server.handle.sender();
    let mut keen = server.client();
    keen.stream("user").unwrap();
    let gone = server.raw();
    shake(&gone);
    (&gone).write_all(&super::request(1, &request("load"))).unwrap();
    let (_, token) = server.asked.recv_timeout(PATIENCE).unwrap();
    drop(gone);
    let sent: u64 = 500;
    for _ in 0..sent {
        assert!(server.progress(token, QueryProgress::Response { from: name("a"), payload: vec![0; 1200] }));
    }
    assert!(server.progress(token, QueryProgress::Done));
    let end = clock() + PATIENCE;
    // What the kernel took before the client was seen to be gone, it took.
    let backlog = MAX_STREAM_BACKLOG as u64 / 1200;
    while sender.dropped_records() < sent - 2 * backlog {
        assert!(clock() < end, "{}", sender.dropped_records());
        std::thread::yield_now();
    }
    assert!(server.deliver(user("x", b"")));
    next(&mut keen);
    assert!(sender.dropped_records() <= sent + 1);
}
