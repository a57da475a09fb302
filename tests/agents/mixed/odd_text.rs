//! Text of every sort in clusters of both kinds: bytes that are not UTF-8, control characters, emoji,
//! long names. For Go all of it is text, so that all of it has to arrive.

use crate::harness::mixed_cluster::MixedCluster;
use crate::harness::peers::hashicorp_serf;
use crate::harness::rpc::{Listener, client};
use crate::harness::{Agent, promised, run, serf_ctl, soon, wait_until, within};
use serf::model::Text;
use serf::rpc::QueryAnswer;
use serf::rpc::record::QueryCall;
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::time::{Duration, Instant};

/// What the tests call them, and their names in the cluster.
fn names() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("h1", b"h1-\xe9t\xe9".to_vec()),
        ("o1", b"o1-\xff\xfe".to_vec()),
        ("h2", "h2-\u{1f600} =,".into()),
        ("o2", b"o2 \x01\x1b[2J|\"'\\".to_vec()),
        ("h3", [b"h3-".to_vec(), vec![b'x'; 297]].concat()),
        ("o3", [b"o3-".to_vec(), vec![0xfc; 297]].concat()),
    ]
}

/// Tags that each of them has, in the order of their keys.
const TAGS: [&[u8]; 5] =
    [b"latin=\xe9t\xe9", b"m=", b"n=a=b,c", "o=\u{1f600}".as_bytes(), b"p\xff=\xfe\x1b\xfd"];

/// Prints in hexadecimal which event or query came, and its payload; and answers with both.
const HANDLER: &str = "both() { printf '%s %s' \"$SERF_USER_EVENT$SERF_QUERY_NAME\" \"$payload\"; }; \
    payload=$(cat); both; echo; echo \"$SERF_EVENT:$(both | od -An -v -tx1 | tr -d ' \\n'):\"";

/// Names and payloads that are sent.
const SAID: [(&[u8], &[u8]); 5] = [
    (b"latin-\xe9t\xe9", b"caf\xe9"),
    (b"\xff\xfe", b"\xff\x01\x80"),
    ("emoji \u{1f600}".as_bytes(), "\u{1f600}=,".as_bytes()),
    (b"\x01\x1b[2J\t", b"\x1b]0;x\x07"),
    (b"=,=", b""),
];

fn flag(text: &[u8]) -> OsString {
    OsString::from_vec(text.to_vec())
}

/// How long it goes on: a minute where all is tested, and a few rounds elsewhere, unless
/// `SERF_TEST_QUIET_SECONDS` says otherwise.
fn duration() -> Duration {
    let seconds = std::env::var("SERF_TEST_QUIET_SECONDS").ok();
    let seconds = seconds.map(|text| text.parse().expect("SERF_TEST_QUIET_SECONDS is a number"));
    let usual = if std::env::var_os("CI").is_some() { 60 } else { 5 };
    Duration::from_secs(seconds.unwrap_or(usual))
}

fn has(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

/// Whether an agent lists all names and tags, byte for byte.
fn lists_all(agent: &Agent) -> Result<(), String> {
    let listed = agent.ctl(&["members"]);
    let alive = listed.stdout.matches("  alive  ").count();
    for (label, name) in names() {
        if !has(&listed.bytes, &name) {
            return Err(format!("{} does not list {label}: {listed}", agent.name()));
        }
    }
    let tags = TAGS.join(&b',');
    let tagged = (0..listed.bytes.len()).filter(|at| listed.bytes[*at..].starts_with(&tags)).count();
    if (alive, tagged) == (6, 6) { Ok(()) } else { Err(format!("{alive} alive, {tagged} tagged: {listed}")) }
}

#[test]
fn text_of_every_sort_passes_between_both_kinds() {
    let Some(theirs) = hashicorp_serf() else { return };
    let mut mixed = MixedCluster::new(&theirs, &[]);
    for (label, name) in names() {
        mixed.admit(label, |spec| {
            let handler = format!("-event-handler=user,query={HANDLER}");
            let spec = spec.flag(flag(&[b"-node=", &*name].concat())).flag(handler);
            TAGS.iter().fold(spec, |spec, tag| spec.flag(flag(&[b"-tag=", *tag].concat())))
        });
        if label == "h1" {
            // Before anyone else is there: those who join hear of it.
            client(mixed.of("h1")).event(b"early-\xff", b"\xfe", false).expect("it is sent");
        }
    }
    for agent in mixed.present() {
        wait_until(within(30), "everyone lists everyone", || lists_all(agent));
    }
    let (begun, end) = (Instant::now(), duration());
    let mut round = 0;
    while round == 0 || begun.elapsed() < end {
        exchange(&mixed, round);
        round += 1;
    }
    for agent in mixed.present() {
        lists_all(agent).expect("nobody has changed");
    }
    assert_eq!(mixed.nobody_failed(), Ok(()));
    leaves_by_its_printed_name(&mut mixed, "o3", "h1");
    leaves_by_its_printed_name(&mut mixed, "h3", "o1");
}

/// What a script does: it reads the name of a failed member from one command and hands it to the next.
fn leaves_by_its_printed_name(mixed: &mut MixedCluster, label: &str, asked: &str) {
    mixed.kill(label);
    let agent = mixed.of(asked);
    let names_of = |status: &str| {
        let listed = agent.ctl(&["members", &format!("-status={status}")]).bytes;
        let lines = listed.split(|byte| *byte == b'\n').filter(|line| line.starts_with(label.as_bytes()));
        lines.filter_map(|line| Some(line.split(|byte| *byte == b' ').next()?.to_vec())).next()
    };
    let gone = || names_of("failed").ok_or("it is not listed as failed".to_string());
    let name = wait_until(promised(20), "its crash is noticed", gone);
    let rpc = format!("-rpc-addr={}", agent.rpc());
    let arguments = ["force-leave".into(), rpc.into(), OsString::from_vec(name.clone())];
    run(&serf_ctl(), arguments).ok();
    wait_until(soon(), "it has left", || match names_of("left") {
        Some(left) if left == name => Ok(()),
        other => Err(format!("{other:x?}")),
    });
}

/// Each of all events and queries, from an agent of either kind.
fn exchange(mixed: &MixedCluster, round: usize) {
    let listeners: Vec<Listener> = mixed.present().iter().map(|agent| Listener::new(agent, "user")).collect();
    for (at, (name, payload)) in SAID.into_iter().enumerate() {
        let payload = [payload, format!("-{round}").as_bytes()].concat();
        let from = mixed.of(if (at + round).is_multiple_of(2) { "h1" } else { "o1" });
        client(from).event(name, &payload, false).expect("it is sent");
        for listener in &listeners {
            wait_until(soon(), "the stream has it byte for byte", || {
                let events = listener.user_events();
                let it =
                    events.iter().filter(|event| event.name == Text::from(name) && event.payload == payload);
                if it.count() == 1 { Ok(()) } else { Err(format!("{name:?}: {events:?}")) }
            });
        }
        handled(mixed, name, &payload);
        asked(from, name, &payload);
    }
}

fn handled(mixed: &MixedCluster, name: &[u8], payload: &[u8]) {
    let said = [name, b" ", payload].concat();
    let hex: String = said.iter().map(|byte| format!("{byte:02x}")).collect();
    for agent in mixed.present() {
        wait_until(soon(), "the handler got it byte for byte", || {
            let count = agent.log_count(&format!("user:{hex}:"));
            if count == 1 { Ok(()) } else { Err(format!("{} of {}: {hex}", count, agent.name())) }
        });
    }
}

/// Queries to those with a tag, and to some by name, are answered by them with the very bytes. Gossip of
/// HashiCorp's agents passes a member by now and then, so there is another try.
fn asked(from: &Agent, name: &[u8], payload: &[u8]) {
    let all: Vec<Text> = names().into_iter().map(|(_, name)| name.into()).collect();
    let some = [all[0].clone(), all[1].clone(), all[5].clone()];
    let tags = [(Text::from(&b"p\xff"[..]), ".+".into()), ("latin".into(), ".t.".into())];
    let query = QueryCall {
        name: name.into(),
        payload: payload.to_vec(),
        timeout: 2_000_000_000,
        ..Default::default()
    };
    let by_tag = QueryCall { filter_tags: tags.into(), ..query.clone() };
    let by_name = QueryCall { filter_nodes: some.to_vec(), ..query };
    for (query, expected) in [(by_tag, &all[..]), (by_name, &some)] {
        wait_until(within(30), "all that are asked answer", || {
            let mut client = client(from);
            let answers = client.ask(&query, Some(Duration::from_secs(20))).map_err(|e| e.to_string())?;
            let answers: Result<Vec<QueryAnswer>, _> = answers.collect();
            let mut answered = BTreeSet::new();
            for answer in answers.map_err(|e| e.to_string())? {
                // When the time is over, HashiCorp's agent may stream empty answers of nobody.
                let QueryAnswer::Response { from, payload: answer } = answer else { continue };
                if !from.is_empty() {
                    let said = [name, b" ", payload].concat();
                    assert!(answer.starts_with(&said), "{from} answered {answer:x?}, not {said:x?}");
                    answered.insert(from);
                }
            }
            let expected: BTreeSet<Text> = expected.iter().cloned().collect();
            if answered == expected { Ok(()) } else { Err(format!("{answered:?}")) }
        });
    }
}
