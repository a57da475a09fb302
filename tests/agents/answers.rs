//! What answers, what matches and what fits: the same with our agents as with HashiCorp's.

use crate::harness::peers::hashicorp_serf;
use crate::harness::raw_rpc::{RpcBody, rpc_request};
use crate::harness::rpc::client;
use crate::harness::{Agent, AgentSpec, Network, Within, all_list, serf, soon, wait_until, within};
use serf::rpc::Client;
use serf::rpc::record::QueryCall;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The programs that tests compare: ours first, and HashiCorp's if it is here.
fn programs() -> Vec<PathBuf> {
    std::iter::once(serf()).chain(hashicorp_serf()).collect()
}

/// Queries of our agents end early, and must be right at once; those of HashiCorp's always last for the
/// whole timeout: short, with another try.
fn timeout(program: &Path) -> &'static str {
    if program == serf() { "-timeout=30s" } else { "-timeout=1s" }
}

fn tries(program: &Path) -> Within {
    if program == serf() { within(0) } else { soon() }
}

// ---- expressions ----

/// What `role` is, an expression, and whether it picks the member: in a query, in `members`.
const EXPRESSIONS: &[(&str, &str, bool, bool)] = &[
    ("web", "web", true, true),
    ("webserver", "web", true, false),
    ("webserver", "web|x", true, true),
    ("a web b", "web|x", true, false),
    ("webserver", "^web$", false, false),
    ("größe", r"\pL+", true, true),
    ("größe7", r"[^\pN]+", true, false),
    ("Größe", r"^\p{Lu}\p{Ll}+$", true, true),
    ("GRÖẞE", "(?i)größe", true, true),
    ("a.b*", r"\Qa.b*\E", true, true),
    ("axb*", r"\Qa.b*\E", false, false),
    ("é1", r"\w\d", false, false),
    ("[", "[a[b]", true, true),
    ("a{,2}", "a{,2}", true, true),
];

#[test]
fn expressions_pick_the_same_members_with_either_program() {
    for program in programs() {
        let net = Network::claim();
        let n1 = net.agent("n1", 1).program(&program).start();
        for &(role, expression, in_query, in_members) in EXPRESSIONS {
            n1.ctl(&["tags", "-set", &format!("role={role}")]).ok();
            let filter = format!("role={expression}");
            let listed = n1.ctl(&["members", "-tag", &filter]);
            let what = format!("{}: {expression} for {role}", program.display());
            assert_eq!(listed.ok().contains("n1"), in_members, "{what}: {listed}");
            // When no member is meant, the query lasts for its time.
            let timeout = if in_query { timeout(&program) } else { "-timeout=200ms" };
            wait_until(tries(&program), &what, || {
                let asked = n1.ctl(&["query", timeout, "-tag", &filter, "q"]);
                // The command and the agent agree on which members are meant.
                let agreed = asked.stderr.is_empty() && asked.ok().contains("Ack from 'n1'") == in_query;
                if agreed { Ok(()) } else { Err(asked.to_string()) }
            });
        }
        assert!(n1.ctl(&["members", "-name", "*"]).ok().contains("n1"), "`*` alone");
    }
}

#[test]
fn a_query_with_a_tag_filter_waits_for_every_member_that_matches() {
    let net = Network::claim();
    let [n1, n2] = net.cluster_with(["n1", "n2"], |spec| {
        spec.tag("role", "webserver").flag("-event-handler=query:q=sleep 0.3; echo here")
    });
    wait_until(soon(), "the two agree", || all_list(&[&n1, &n2], &[("n1", "alive"), ("n2", "alive")]));
    let answer = n1.ctl(&["query", "-timeout=30s", "-tag", "role=web", "q"]);
    assert!(answer.ok().ends_with("Total Acks: 2\nTotal Responses: 2\n"), "{answer}");
}

/// HashiCorp's agent spreads a query whatever its filters are.
#[test]
fn a_bad_expression_from_elsewhere_is_logged_and_the_query_ignored() {
    let Some(theirs) = hashicorp_serf() else { return };
    let net = Network::claim();
    let h1 = net.agent("h1", 1).program(&theirs).start();
    let o1 = net.agent("o1", 2).join(net.gossip(1)).flag("-event-handler=query=echo here").start();
    wait_until(soon(), "the two agree", || all_list(&[&h1, &o1], &[("h1", "alive"), ("o1", "alive")]));
    let logged = "[WARN] serf: failed to compile filter regex ((): ";
    wait_until(soon(), "both say what is wrong", || {
        let answer = h1.ctl_with(&theirs, &["query", "-timeout=300ms", "-tag", "role=(", "q"]);
        assert!(answer.ok().ends_with("Total Acks: 0\nTotal Responses: 0\n"), "{answer}");
        match [&h1, &o1].iter().find(|agent| agent.log_count(logged) == 0) {
            None => Ok(()),
            Some(agent) => Err(format!("{} does not", agent.name())),
        }
    });
    for _ in 0..10 {
        h1.ctl_with(&theirs, &["query", "-timeout=10ms", "-tag", "role=(", "q"]).ok();
    }
    assert!(o1.log_count(logged) <= 5, "not for each one:\n{}", o1.log());
}

// ---- handlers ----

fn with_handlers(spec: AgentSpec, handlers: &[&str]) -> AgentSpec {
    handlers.iter().fold(spec, |spec, handler| spec.flag("-event-handler").flag(*handler))
}

#[test]
fn the_first_handler_configured_that_has_an_answer_gives_it() {
    let large = "query:large=head -c 2000 /dev/zero";
    for program in programs() {
        let net = Network::claim();
        let handlers = [
            "query:order=sleep 0.5; echo first",
            "query:fails=sleep 0.2; echo first; exit 1",
            "query:silent=sleep 0.2",
            large,
            "query=echo second",
            "query=echo third",
        ];
        let n1 = with_handlers(net.agent("n1", 1).program(&program), &handlers).start();
        for (name, expected) in
            [("order", "first"), ("fails", "second"), ("silent", "second"), ("large", "second")]
        {
            let expected = format!("Response from 'n1': {expected}");
            wait_until(tries(&program), &format!("{}: {name}", program.display()), || {
                let answer = n1.ctl(&["query", timeout(&program), name]);
                let mut responses = answer.ok().lines().filter(|line| line.starts_with("Response from"));
                let right = responses.next() == Some(expected.as_str()) && responses.next().is_none();
                if right { Ok(()) } else { Err(answer.to_string()) }
            });
        }
    }
}

#[test]
fn a_handler_that_never_ends_does_not_keep_the_answer_of_another() {
    let net = Network::claim();
    let handlers = ["query:q=sleep 300", "query:q=echo here"];
    let n1 = with_handlers(net.agent("n1", 1), &handlers).start();
    // The last moment is enough, unless the machine stands still just then.
    wait_until(soon(), "the other one answers", || {
        let answer = n1.ctl(&["query", "-timeout=3s", "q"]);
        let answered = answer.ok().contains("Response from 'n1': here\n");
        if answered { Ok(()) } else { Err(answer.to_string()) }
    });
}

#[test]
fn a_query_that_nothing_answers_is_no_reason_for_a_warning() {
    let net = Network::claim();
    let names = ["n1", "n2", "n3"];
    let handlers = ["query:late=sleep 300", "query:silent=true"];
    let agents = net.cluster_with(names, |spec| with_handlers(spec, &handlers));
    wait_until(soon(), "three agree", || all_list(&agents.each_ref(), &names.map(|name| (name, "alive"))));
    for arguments in [
        &["query", "-no-ack", "-timeout=30s", "nothing"][..],
        &["query", "-timeout=30s", "nothing"],
        &["query", "-no-ack", "-timeout=30s", "silent"],
    ] {
        let start = Instant::now();
        let answer = agents[0].ctl(arguments);
        assert!(answer.ok().ends_with("Total Responses: 0\n"), "{answer}");
        assert!(start.elapsed() < Duration::from_secs(25), "it ends when all have said so: {answer}");
    }
    // A handler that is ended at the deadline is in the log, an answer that it does not give is not.
    agents[0].ctl(&["query", "-no-ack", "-timeout=300ms", "late"]).ok();
    wait_until(soon(), "the handlers are ended", || {
        match agents.iter().find(|agent| agent.log_count("still running after") == 0) {
            None => Ok(()),
            Some(agent) => Err(format!("not that of {}", agent.name())),
        }
    });
    agents[0].ctl(&["query", "-timeout=30s", "silent"]).ok();
    for agent in &agents {
        let complained = agent.log_count("Failed to answer");
        assert_eq!(complained, 0, "{}:\n{}", agent.name(), agent.log());
    }
}

// ---- sizes ----

/// The largest number from 400 on for which there is no refusal, and the refusals of the next two.
fn largest(mut refused: impl FnMut(usize) -> Option<String>) -> (usize, Vec<String>) {
    let (mut fits, mut too_large) = (400, 1100);
    while too_large - fits > 1 {
        let middle = usize::midpoint(fits, too_large);
        if refused(middle).is_some() { too_large = middle } else { fits = middle }
    }
    (fits, [too_large, 1100].iter().filter_map(|n| refused(*n)).collect())
}

fn refusal<T>(result: Result<T, impl ToString>) -> Option<String> {
    result.err().map(|error| error.to_string())
}

fn query(name: &str, payload: &[u8]) -> QueryCall {
    let timeout = 20_000_000_000;
    QueryCall { name: name.into(), payload: payload.to_vec(), timeout, ..QueryCall::default() }
}

/// The response that fits can only be given once, so the search goes down to it.
fn largest_response(client: &mut Client) -> (usize, String) {
    let stream = client.stream("query:r").expect("queries can be streamed");
    client.query(&query("r", b"")).expect("it is asked");
    client.next_record_of(stream, Some(Duration::from_secs(20))).expect("it comes back");
    let mut last = String::new();
    for size in (900..1100).rev() {
        match client.respond(1, &vec![b'x'; size]) {
            Ok(()) => return (size, last),
            Err(error) => last = error.to_string(),
        }
    }
    panic!("no response fits: {last}");
}

#[test]
fn what_fits_and_how_the_rest_is_refused_is_the_same_with_either_program() {
    let mut all = Vec::new();
    for program in programs() {
        let net = Network::claim();
        // The size of a query depends on those of name and address of its agent.
        let n1 = net.agent("n1", 1).program(&program).start();
        let mut client = client(&n1);
        let event = largest(|n| refusal(client.event("big", &vec![b'x'; n], false)));
        let asked = largest(|n| refusal(client.query(&query("big", &vec![b'x'; n]))));
        all.push((event, asked, largest_response(&mut client)));
    }
    let encoded = "encoded user event exceeds configured limit of 512 bytes after encoding";
    let plain = "user event exceeds configured limit of 512 bytes before encoding";
    assert_eq!(all[0].0, (479, vec![encoded.to_string(), plain.to_string()]));
    assert_eq!(all[0].1.1, ["query exceeds limit of 1024 bytes"; 2]);
    for (_, _, (_, refused)) in &mut all {
        // HashiCorp's agent takes every answer for one about keys.
        *refused = refused.trim_start_matches("failed to respond to key query: ").to_string();
    }
    assert_eq!(all[0].2.1, "response exceeds limit of 1024 bytes");
    assert!(all.iter().all(|one| *one == all[0]), "{all:?}");
}

// ---- empty payloads ----

/// A connection that shows the bytes of the control protocol.
struct Raw {
    stream: TcpStream,
    sequence: u64,
    heard: Vec<u8>,
}

impl Raw {
    fn new(agent: &Agent) -> Raw {
        let stream = TcpStream::connect(agent.rpc()).expect("the agent listens");
        stream.set_read_timeout(Some(Duration::from_millis(50))).expect("a timeout can be set");
        let mut raw = Raw { stream, sequence: 0, heard: Vec::new() };
        raw.say("handshake", RpcBody::Handshake { version: 1 });
        raw
    }

    fn say(&mut self, command: &str, body: RpcBody) {
        self.sequence += 1;
        self.heard.clear();
        let request = rpc_request(self.sequence, command, Some(body));
        self.stream.write_all(&request).expect("the agent reads");
    }

    fn hear(&mut self, what: &str, bytes: &[u8]) {
        let Raw { stream, heard, .. } = self;
        wait_until(soon(), what, || {
            let mut chunk = [0; 4096];
            if let Ok(length) = stream.read(&mut chunk) {
                heard.extend_from_slice(&chunk[..length]);
            }
            let found = heard.windows(bytes.len()).any(|window| window == bytes);
            if found { Ok(()) } else { Err(heard.escape_ascii().to_string()) }
        });
    }
}

/// Clients in Go that expect bytes end with a panic where there is nil.
#[test]
fn an_empty_payload_is_streamed_as_bytes() {
    let net = Network::claim();
    let n1 = net.agent("n1", 1).start();
    let mut raw = Raw::new(&n1);
    raw.say("stream", RpcBody::Stream { kind: "user,query".into() });
    raw.hear("the stream begins", b"\xa3Seq\x02");
    raw.say("event", RpcBody::Event { name: "none".into(), payload: None });
    raw.hear("the event", b"\xa4Name\xa4none\xa7Payload\xc4\x00");
    raw.say("query", RpcBody::Event { name: "q".into(), payload: None });
    raw.hear("the query", b"\xa4Name\xa1q\xa7Payload\xc4\x00");
    raw.say("respond", RpcBody::Respond { id: 1, payload: None });
    raw.hear("the response", b"\xa4From\xa2n1\xa7Payload\xc4\x00\xa4Type\xa8response");
    raw.hear("the end, which has none", b"\xa4From\xa0\xa7Payload\xc0\xa4Type\xa4done");
}
