//! Commands by others against the thread: HashiCorp's own `serf` sends events, asks queries, tests
//! reachability and watches. Skipped, loudly, where it is not installed.

use super::*;
use crate::messaging::QueryProgress;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

const THEIRS: &str = "/usr/bin/serf";

/// Whether their program is there.
fn installed() -> bool {
    let there = Path::new(THEIRS).is_file();
    if !there {
        let required = std::env::var("SERF_REQUIRE_PEERS").is_ok_and(|v| v == "1");
        assert!(!required, "required, but {THEIRS} is not installed");
        // Not `eprintln!`, which the test runner keeps to itself when a test passes.
        let _ = writeln!(io::stderr(), "SKIPPED: {THEIRS} is not installed");
    }
    there
}

impl Server {
    fn theirs(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(THEIRS);
        command.args(arguments).env("SERF_RPC_ADDR", self.addr.to_string());
        command
    }

    /// Runs a command that asks one query, which gets these answers.
    fn ask_with_theirs(&self, arguments: &[&str], answers: &[QueryProgress]) -> (QueryParams, i32, String) {
        let child = self.theirs(arguments).stdout(Stdio::piped()).spawn().unwrap();
        let (params, token) = self.asked.recv_timeout(PATIENCE).unwrap();
        for answer in answers {
            self.handle.sender().send(RpcMessage::QueryProgress { token, progress: answer.clone() });
        }
        self.handle.sender().send(RpcMessage::QueryProgress { token, progress: QueryProgress::Done });
        let output = child.wait_with_output().unwrap();
        (params, output.status.code().unwrap_or(-1), String::from_utf8(output.stdout).unwrap())
    }
}

fn ack(from: &str) -> QueryProgress {
    QueryProgress::Ack { from: NodeName::new(from).unwrap() }
}

#[test]
fn hashicorps_event_and_monitor() {
    if !installed() {
        return;
    }
    let server = serve("");
    let mut client = server.client();
    client.stream("user").unwrap();
    assert_eq!(server.filters.recv_timeout(PATIENCE).unwrap(), [EventFilter::User(None)]);
    let mut monitor = server.theirs(&["monitor"]).stdout(Stdio::piped()).spawn().unwrap();
    assert_eq!(server.filters.recv_timeout(PATIENCE).unwrap()[0], EventFilter::All);
    let said = server.theirs(&["event", "-coalesce=false", "deploy", "v2"]).output().unwrap();
    let text = String::from_utf8(said.stdout).unwrap();
    assert_eq!(text, "Event 'deploy' dispatched! Coalescing enabled: false\n");
    let (_, Record::User(event)) = client.next_record(Some(PATIENCE)).unwrap().unwrap() else { panic!() };
    assert_eq!(
        (&*event.name.to_lossy(), event.payload.as_slice(), event.coalesce),
        ("deploy", &b"v2"[..], false)
    );
    let query = crate::model::QueryEvent {
        key: QueryKey { ltime: LamportTime(3), id: 9 },
        name: "load".into(),
        payload: Vec::new(),
        deadline: crate::model::Moment::NEVER,
    };
    assert!(server.handle.sender().send(RpcMessage::Event(Arc::new(Event::Query(query)))));
    // All of it, before the connection ends: what has come is not always shown after that.
    let wanted = [
        "\tEvent: \"user\"",
        "\tName: \"deploy\"",
        "\tPayload: []byte{0x76, 0x32}",
        "\tName: \"load\"",
        "\tID: 1",
    ];
    let (lines, printed) = std::sync::mpsc::channel::<String>();
    let stdout = BufReader::new(monitor.stdout.take().unwrap());
    std::thread::spawn(move || stdout.lines().map_while(Result::ok).try_for_each(|line| lines.send(line)));
    let mut shown: Vec<String> = Vec::new();
    while let Some(missing) = wanted.iter().find(|line| !shown.iter().any(|shown| shown == *line)) {
        let Ok(line) = printed.recv_timeout(PATIENCE) else { panic!("{missing} is not in {shown:?}") };
        shown.push(line);
    }
    server.handle.stop();
    monitor.wait().unwrap();
}

#[test]
fn hashicorps_query() {
    if !installed() {
        return;
    }
    let server = serve("");
    let up = QueryProgress::Response { from: NodeName::new("a").unwrap(), payload: b"up\n".to_vec() };
    let answers = [ack("a"), up, ack("b")];
    let arguments =
        ["query", "-node=a", "-node=b", "-tag", "role=w.*", "-timeout=3s", "-relay-factor=2", "load", "now"];
    let (params, code, out) = server.ask_with_theirs(&arguments, &answers);
    let expected = QueryParams {
        name: "load".into(),
        payload: b"now".to_vec(),
        nodes: Some(["a", "b"].map(|n| NodeName::new(n).unwrap()).to_vec()),
        tags: [("role".into(), "w.*".into())].into(),
        request_ack: true,
        relay_factor: 2,
        timeout: Some(Duration::from_secs(3)),
    };
    assert_eq!((params, code), (expected, 0));
    // Acks and responses reach their printing by two ways, so that either may be first.
    let mut lines: Vec<&str> = out.lines().collect();
    lines[1..4].sort_unstable();
    let all = ["Query 'load' dispatched", "Ack from 'a'", "Ack from 'b'", "Response from 'a': up"];
    assert_eq!(lines[..4], all);
    assert_eq!(lines[4..], ["Total Acks: 2", "Total Responses: 1"]);
    let refused = server.theirs(&["query", "-tag", "role=[", "load"]).output().unwrap();
    assert_eq!(refused.status.code(), Some(1));
    let printed = String::from_utf8(refused.stdout).unwrap();
    assert!(printed.starts_with("Error sending query: Invalid filter for tag 'role': "), "{printed}");
}

#[test]
fn hashicorps_reachability() {
    if !installed() {
        return;
    }
    let server = serve("");
    // "a" alone is alive.
    for (answers, expected, line) in [
        (&[ack("a")][..], 0, "Successfully contacted all live nodes"),
        (&[], 1, "\ta"),
        (&[ack("a"), ack("b")], 1, "\tb"),
    ] {
        let (params, code, out) = server.ask_with_theirs(&["reachability"], answers);
        assert_eq!(
            (&*params.name.to_lossy(), params.request_ack, code),
            ("_serf_ping", true, expected),
            "{out}"
        );
        assert!(out.lines().any(|l| l == line), "{out}");
    }
}
