//! Queries in clusters of real agents: who answers, how long it takes, and what is said of those
//! who do not.

use crate::harness::rpc::{Listener, client};
use crate::harness::{Agent, Network, Signal, all_list, soon, wait_until};
use serf::rpc::record::QueryCall;
use serf::rpc::{Client, QueryAnswer, Record};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

const TEN: [&str; 10] = ["n01", "n02", "n03", "n04", "n05", "n06", "n07", "n08", "n09", "n10"];

/// How long a query of ten members takes unless told otherwise: 16 gossip rounds of 200 ms for each
/// digit of their number.
const DEFAULT_OF_TEN: Duration = Duration::from_millis(6400);

fn ten_with_a_load_handler(net: &Network) -> [Agent; 10] {
    let agents = net.cluster_with(TEN, |spec| spec.flag("-event-handler=query:load=uptime"));
    let all_alive = TEN.map(|name| (name, "alive"));
    wait_until(soon(), "ten agree", || all_list(&agents.each_ref(), &all_alive));
    agents
}

/// The names that lines of the form `start'NAME'…` hold, each line once.
fn named<'a>(output: &'a str, start: &str) -> BTreeSet<&'a str> {
    let lines = output.lines().filter_map(|line| line.strip_prefix(start)?.strip_prefix('\''));
    let names: Vec<&str> = lines.filter_map(|line| line.split_once('\'')).map(|(name, _)| name).collect();
    let set: BTreeSet<&str> = names.iter().copied().collect();
    assert_eq!(set.len(), names.len(), "each once: {output}");
    set
}

#[test]
fn ten_answer_and_the_query_ends_with_the_last_of_them() {
    let net = Network::claim();
    let mut agents = ten_with_a_load_handler(&net);
    let start = Instant::now();
    let answer = agents[2].ctl(&["query", "load"]);
    let took = start.elapsed();
    let output = answer.ok();
    assert!(output.starts_with("Query 'load' dispatched\n"), "{output}");
    let all = BTreeSet::from(TEN);
    assert_eq!(named(output, "Ack from "), all, "{output}");
    assert_eq!(named(output, "Response from "), all, "{output}");
    let loads =
        output.lines().filter(|line| line.starts_with("Response from ") && line.contains("load average"));
    assert_eq!(loads.count(), 10, "{output}");
    assert!(output.ends_with("Total Acks: 10\nTotal Responses: 10\n"), "{output}");
    assert_eq!(answer.stderr, "");
    eprintln!("ten answered after {:.2} s of {:.2} s", took.as_secs_f64(), DEFAULT_OF_TEN.as_secs_f64());
    assert!(took < DEFAULT_OF_TEN / 2, "{took:?}");

    // One that does not answer is waited for, as long as was said and no longer.
    agents[6].signal(Signal::Stop);
    let start = Instant::now();
    let answer = agents[2].ctl(&["query", "-timeout=2s", "load"]);
    let took = start.elapsed();
    agents[6].signal(Signal::Continue);
    let others: BTreeSet<&str> = TEN.into_iter().filter(|name| *name != "n07").collect();
    assert_eq!(named(answer.ok(), "Ack from "), others, "{answer}");
    assert_eq!(named(answer.ok(), "Response from "), others, "{answer}");
    assert_eq!(answer.stderr, "no ack from: n07\n");
    assert!(took >= Duration::from_secs(2) && took < Duration::from_secs(4), "{took:?}");
}

fn query(name: &str) -> QueryCall {
    QueryCall {
        name: name.into(),
        request_ack: true,
        timeout: i64::try_from(Duration::from_secs(3).as_nanos()).expect("three seconds are few nanoseconds"),
        ..QueryCall::default()
    }
}

/// Who acknowledged, and what was answered.
fn asked(client: &mut Client, query: &QueryCall) -> (BTreeSet<String>, BTreeSet<(String, String)>) {
    let (mut acks, mut responses) = (BTreeSet::new(), BTreeSet::new());
    for answer in client.ask(query, Some(Duration::from_secs(20))).expect("the query is asked") {
        let new = match answer.expect("the query goes on") {
            QueryAnswer::Ack { from } => acks.insert(from.to_string()),
            QueryAnswer::Response { from, payload } => {
                responses.insert((from.to_string(), String::from_utf8_lossy(&payload).into_owned()))
            }
            QueryAnswer::Done => true,
        };
        assert!(new, "nobody answers twice");
    }
    (acks, responses)
}

#[test]
fn handlers_answer_with_what_they_print_if_they_succeed() {
    let net = Network::claim();
    let handlers = ["query:q=echo a", "query:q=echo b; exit 3", "query:q=exit 0", "query:other=echo d"];
    let mut host = 0;
    let agents = handlers.map(|handler| {
        host += 1;
        let spec = net.agent(&format!("n{host}"), host).flag("-event-handler").flag(handler);
        if host == 1 { spec.start() } else { spec.join(net.gossip(1)).start() }
    });
    let names = ["n1", "n2", "n3", "n4"];
    wait_until(soon(), "four agree", || all_list(&agents.each_ref(), &names.map(|name| (name, "alive"))));

    let start = Instant::now();
    let (acks, responses) = asked(&mut client(&agents[3]), &query("q"));
    assert!(acks.iter().eq(names.iter()), "everyone acknowledges: {acks:?}");
    assert_eq!(responses, BTreeSet::from([("n1".to_string(), "a\n".to_string())]));
    assert!(start.elapsed() < Duration::from_secs(3), "nobody is waited for who will not answer");
    assert_eq!(agents[1].log_count("exit status"), 1, "what failed is in the log:\n{}", agents[1].log());

    let to = |nodes: &[&str]| QueryCall {
        filter_nodes: nodes.iter().map(|n| (*n).into()).collect(),
        ..query("q")
    };
    let (acks, responses) = asked(&mut client(&agents[3]), &to(&["n1", "n2"]));
    assert!(acks.iter().eq(["n1", "n2"].iter()), "{acks:?}");
    assert_eq!(responses.len(), 1);
}

#[test]
fn clients_answer_what_they_were_asked_and_nothing_else() {
    let net = Network::claim();
    let [asker, answerer] = net.cluster(["asker", "answerer"]);
    wait_until(soon(), "the two agree", || {
        all_list(&[&asker, &answerer], &[("asker", "alive"), ("answerer", "alive")])
    });
    let mut responder = client(&answerer);
    let stream = responder.stream("query:q").expect("queries can be streamed");
    let error = responder.respond(17, b"x").expect_err("nobody asked");
    assert_eq!(error.to_string(), "No pending queries matching ID");

    let bystander = Listener::new(&asker, "query:other");
    let mut curious = client(&asker);
    let running = curious.query(&QueryCall { payload: b"how?".into(), ..query("q") }).expect("it is asked");
    let told = responder.next_record_of(stream, Some(Duration::from_secs(10)));
    let Ok(Some(Record::Query(told))) = told else { panic!("not a query: {told:?}") };
    assert_eq!((&*told.name.to_lossy(), told.payload.as_slice()), ("q", b"how?".as_slice()));
    let error = responder.respond(told.id, &[b'x'; 1024]).expect_err("it is too large");
    assert_eq!(error.to_string(), "failed to respond to key query: response exceeds limit of 1024 bytes");
    responder.respond(told.id, b"so").expect("the answer is taken");
    let error = responder.respond(told.id, b"again").expect_err("it was answered");
    assert_eq!(error.to_string(), "failed to respond to key query: response already sent");

    let mut responses = Vec::new();
    loop {
        match curious.next_record_of(running, Some(Duration::from_secs(10))) {
            Ok(Some(Record::Answer(QueryAnswer::Response { from, payload }))) => {
                responses.push((from, payload))
            }
            Ok(Some(Record::Answer(QueryAnswer::Ack { .. }))) => {}
            Ok(Some(Record::Answer(QueryAnswer::Done))) => break,
            other => panic!("not an answer: {other:?}"),
        }
    }
    assert_eq!(responses, [("answerer".into(), b"so".to_vec())]);
    assert_eq!(bystander.count(), 0, "its filter names another query");
}

#[test]
fn filters_that_are_no_expressions_are_refused() {
    let net = Network::claim();
    let n1 = net.agent("n1", 1).tag("role", "web").start();
    let refused = n1.ctl(&["query", "-tag", "role=(", "q"]).refused();
    assert!(refused.contains("role") && refused.contains("Failed to compile regex: '('"), "{refused}");
    let internal = n1.ctl(&["query", "_serf_conflict"]).refused();
    assert!(internal.contains("Queries cannot contain the '_serf_' prefix"), "{internal}");
    let short = |tag| n1.ctl(&["query", "-timeout=200ms", "-tag", tag, "q"]).ok().to_string();
    assert!(short("role=w.b").contains("Ack from 'n1'"));
    assert!(short("role=w").contains("Ack from 'n1'"), "a part of the value is enough");
    assert!(short("role=^w$").ends_with("Total Acks: 0\nTotal Responses: 0\n"));
}
