//! The bytes of the control protocol: our agent answers raw requests as HashiCorp's does.

use crate::harness::peers::hashicorp_serf;
use crate::harness::raw_rpc::RawClient;
use crate::harness::{Network, serf};
use serde_json::{Value, json};
use std::path::Path;
use std::time::{Duration, Instant};

/// A request, and how many values answer it.
type Row = (&'static str, Value, usize);

/// What is answered with the same bytes by both.
fn rows() -> Vec<Row> {
    let tags = |key: &str, value: &str| json!({"Tags": {key: value}, "DeleteTags": null});
    vec![
        ("join", json!({"Existing": [], "Replay": false}), 2),
        ("join", json!({"Existing": null}), 2),
        ("force-leave", json!({"Node": "", "Prune": false}), 1),
        ("force-leave", json!({"Node": "", "Prune": true}), 1),
        ("force-leave", json!({"Node": "x".repeat(600)}), 1),
        ("tags", tags("", "nameless"), 1),
        ("tags", tags("k", &"x".repeat(600)), 1),
        ("tags", json!({"Tags": {}, "DeleteTags": [""]}), 1),
        ("respond", json!({"ID": 99, "Payload": ""}), 1),
        // The same as lists, in the order of Go's fields.
        ("event", json!(["name", "payload", false]), 1),
        ("join", json!([[], false]), 2),
        ("force-leave", json!(["nobody", true]), 1),
        ("tags", json!([{"a": "b"}, ["c"]]), 1),
        ("stream", json!(["user:none"]), 1),
        ("stop", json!([1]), 1),
        ("get-coordinate", json!(["nobody"]), 2),
        ("respond", json!([99, "x"]), 1),
        ("members-filtered", json!([{"no": "such"}, "alive", "n1"]), 2),
        ("monitor", json!(["nonsense"]), 1),
    ]
}

#[test]
fn both_agents_answer_with_the_same_bytes() {
    let Some(theirs) = hashicorp_serf() else { return };
    let answers = |program: &Path| {
        let net = Network::claim();
        let agent = net.agent("n1", 1).program(program).start();
        let mut client = RawClient::connect(&agent);
        let ask = |(command, body, values): &Row| {
            let mut answer = client.ask(json!({"Command": command, "Seq": 300}), body);
            (1..*values).for_each(|_| answer.extend(client.value()));
            String::from_utf8_lossy(&answer).into_owned()
        };
        rows().iter().map(ask).collect::<Vec<_>>()
    };
    for ((row, ours), theirs) in rows().iter().zip(answers(&serf())).zip(answers(&theirs)) {
        assert_eq!(ours, theirs, "{row:?}");
    }
}

/// Whether a value holds a text.
fn has(value: &[u8], text: &str) -> bool {
    value.windows(text.len()).any(|window| window == text.as_bytes())
}

/// Where the words for what went wrong are each program's own, what is around them is the same.
#[test]
fn errors_have_the_form_that_clients_know() {
    for program in [Some(serf()), hashicorp_serf()].into_iter().flatten() {
        let net = Network::claim();
        let agent = net.agent("n1", 1).program(&program).start();
        let [one, two] = [8, 9].map(|host| net.gossip(host).to_string());
        let mut client = RawClient::connect(&agent);
        let mut ask = |command: &str, body: Value| {
            let header = client.ask(json!({"Command": command, "Seq": 7}), &body);
            (header, client.value())
        };
        let join = |addrs: &[&str]| json!({"Existing": addrs, "Replay": false});
        let (failed, none) = ask("join", join(&[&one]));
        assert!(
            has(&failed, "1 error occurred:\n\t* Failed to join 127.") && has(&failed, "\n\n"),
            "{failed:x?}"
        );
        assert_eq!(none, b"\x81\xa3Num\x00");
        let (failed, _) = ask("join", join(&[&one, &two]));
        assert!(
            has(&failed, "2 errors occurred:\n\t* ") && has(&failed, "\n\t* Failed to join"),
            "{failed:x?}"
        );
        let (partly, joined) = ask("join", join(&[&one, &agent.gossip().to_string()]));
        assert_eq!((partly, joined), (b"\x82\xa5Error\xa0\xa3Seq\x07".to_vec(), b"\x81\xa3Num\x01".to_vec()));
        for (key, at) in [("abc", 0), ("QUJDRA==x", 8), ("QUJD!", 4)] {
            let (refused, keys) = ask("install-key", json!({"Key": key}));
            assert!(has(&refused, &format!("illegal base64 data at input byte {at}")), "{key}: {refused:x?}");
            assert_eq!(keys[1..7], *b"\xa4Keys\xc0", "{key}: {keys:x?}");
        }
    }
}

/// A query of a time that is over already is asked all the same, and ends.
#[test]
fn a_query_of_no_time_is_over_at_once() {
    for program in [Some(serf()), hashicorp_serf()].into_iter().flatten() {
        let net = Network::claim();
        let agent = net.agent("n1", 1).program(&program).start();
        for timeout in [-1, -1_000_000_000, 1] {
            let mut client = RawClient::connect(&agent);
            let query = json!({"Name": "q", "Payload": "", "Timeout": timeout, "RequestAck": false});
            let begun = client.ask(json!({"Command": "query", "Seq": 9}), &query);
            assert_eq!(begun, b"\x82\xa5Error\xa0\xa3Seq\x09", "{timeout}");
            // HashiCorp's streams empty records until it notices that the time is over.
            let begun = Instant::now();
            while !has(&client.value(), "done") {
                assert!(begun.elapsed() < Duration::from_secs(30), "{timeout} does not end");
            }
        }
    }
}
