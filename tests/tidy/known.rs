//! What the tree does not do yet, check by check. A list only gets shorter: what is not on it is a
//! failure, and so is what is on it and has been done. In the end all are empty.

use super::style::Finding;
use std::collections::BTreeSet;

/// Files in a circle of imports.
pub(crate) const CIRCLES: &[&str] = &[
    "src/agent/control.rs",
    "src/agent/events.rs",
    "src/agent/handlers.rs",
    "src/agent/handlers/actor.rs",
    "src/agent/handlers/lane.rs",
    "src/agent/handlers/run.rs",
    "src/agent/mdns.rs",
    "src/agent/metrics.rs",
    "src/agent/metrics/http.rs",
    "src/agent/metrics/statsd.rs",
    "src/agent/metrics/statsite.rs",
    "src/agent/mod.rs",
    "src/agent/rpc.rs",
    "src/agent/rpc/actor.rs",
    "src/agent/rpc/client.rs",
    "src/agent/rpc/socket.rs",
    "src/agent/snapshot.rs",
    "src/agent/snapshot/actor.rs",
    "src/agent/snapshot/format.rs",
    "src/agent/snapshot/known.rs",
    "src/agent/start.rs",
    "src/config/addresses.rs",
    "src/config/agent.rs",
    "src/config/encryption.rs",
    "src/config/error.rs",
    "src/config/files.rs",
    "src/config/json.rs",
    "src/config/options.rs",
    "src/config/options/file_only.rs",
    "src/config/options/messages.rs",
    "src/config/validate.rs",
    "src/membership/conflict.rs",
    "src/membership/table.rs",
    "src/messaging/internal.rs",
    "src/messaging/queries.rs",
    "src/model/event.rs",
    "src/model/member.rs",
    "src/model/mod.rs",
    "src/rpc/client.rs",
    "src/rpc/client/error.rs",
    "src/rpc/client/socket.rs",
    "src/rpc/client/streamed.rs",
    "src/rpc/connection.rs",
    "src/rpc/connection/pending.rs",
    "src/rpc/connection/streams.rs",
    "src/rpc/mod.rs",
    "src/telemetry/logger.rs",
    "src/telemetry/writer.rs",
    "src/wire/compression.rs",
    "src/wire/datagram.rs",
    "src/wire/envelope.rs",
    "src/wire/hashicorp/mod.rs",
    "src/wire/hashicorp/push_pull.rs",
    "src/wire/hashicorp/stream.rs",
    "src/wire/keyring.rs",
    "src/wire/mod.rs",
    "src/wire/native.rs",
    "src/wire/seal.rs",
    "src/wire/stream.rs",
];

/// Functions that are too long.
pub(crate) const LONG_FUNCTIONS: &[&str] = &["src/agent/start.rs: start"];

/// Files that are too long.
pub(crate) const LONG_FILES: &[&str] =
    &["src/agent/sync.rs", "src/membership/table.rs", "src/messaging/queries.rs", "src/rpc/record.rs"];

/// Words that style.md replaces, by the first form of each.
pub(crate) const WORDS: &[&str] = &[
    "corridor",
    "doorbell",
    "ride",
    "talk",
    "foreigner",
    "twin",
    "bury",
    "manner",
    "surroundings",
    "question",
    "insist",
    "tell",
    "haunt",
    "whoever",
];

/// Lints that are not set.
pub(crate) const LINTS: &[&str] = &["unreachable_pub = \"deny\""];

/// Complaints about what was found and is not on the list, and about what is on it without need.
pub(crate) fn beyond(known: &[&str], findings: Vec<Finding>) -> Vec<String> {
    let found: BTreeSet<String> = findings.iter().map(|finding| finding.key.clone()).collect();
    let done = known.iter().filter(|key| !found.contains(**key));
    let done: Vec<String> =
        done.map(|key| format!("tests/tidy/known.rs: '{key}' has been done; take it off the list")).collect();
    let new = findings.into_iter().filter(|finding| !known.contains(&finding.key.as_str()));
    new.map(|finding| finding.complaint).chain(done).collect()
}

#[test]
fn what_is_known_is_no_complaint_and_what_is_done_is_one() {
    let finding = |key: &str| Finding::new(key, format!("{key} is wrong"));
    assert_eq!(beyond(&["a", "b"], vec![finding("a"), finding("b")]), Vec::<String>::new());
    assert_eq!(beyond(&["a"], vec![finding("a"), finding("c")]), ["c is wrong"]);
    assert_eq!(
        beyond(&["a", "b"], vec![finding("b")]),
        ["tests/tidy/known.rs: 'a' has been done; take it off the list"]
    );
}
