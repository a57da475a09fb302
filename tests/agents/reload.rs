//! SIGHUP: the configuration is read again, all of it applies or nothing.

use crate::harness::{Agent, Network, Scratch, Signal, all_see, soon, wait_until, within};
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

/// A configuration file that a test rewrites.
struct File(PathBuf);

impl File {
    fn write(&self, content: &Value) {
        // Moved into place, as an editor or a deployment does it.
        let new = self.0.with_extension("new");
        fs::write(&new, content.to_string()).unwrap();
        fs::rename(&new, &self.0).unwrap();
    }
}

fn tag(viewer: &Agent, member: &str, key: &str) -> Result<Option<String>, String> {
    let members = viewer.members()?;
    let member = members.iter().find(|m| m.name == member).ok_or_else(|| format!("no {member}"))?;
    Ok(member.tags.iter().find(|(k, _)| k == key).map(|(_, value)| value.clone()))
}

#[track_caller]
fn wait_for_tag(viewer: &Agent, member: &str, key: &str, expected: Option<&str>) {
    wait_until(soon(), &format!("{} sees {member} with {key} {expected:?}", viewer.name()), || {
        match tag(viewer, member, key) {
            Ok(value) if value.as_deref() == expected => Ok(()),
            other => Err(format!("it sees {other:?}")),
        }
    });
}

/// Sends SIGHUP and waits until the agent has said this once more.
#[track_caller]
fn hang_up(agent: &mut Agent, answer: &str) {
    let before = agent.log_count(answer);
    agent.signal(Signal::Hangup);
    wait_until(soon(), &format!("{} says '{answer}'", agent.name()), || {
        if agent.log_count(answer) > before { Ok(()) } else { Err(agent.log()) }
    });
}

const RELOADED: &str = "Reloaded configuration; changed: ";
const REFUSED: &str = "Failed to reload configuration, nothing has changed: ";

#[test]
fn what_can_change_changes_and_the_rest_is_named() {
    let net = Network::claim();
    let scratch = Scratch::new("reload");
    let file = File(scratch.path().join("serf.json"));
    let (first, second) = (scratch.path().join("first"), scratch.path().join("second"));
    let handler = |path: &Path| format!("user=echo $SERF_USER_EVENT >> {}", path.display());
    file.write(&json!({ "tags": {"role": "web"}, "event_handlers": [handler(&first)] }));
    let mut one = net.agent("one", 1).flag(format!("-config-file={}", file.0.display())).start();
    let two = net.agent("two", 2).join(net.gossip(1)).start();

    hang_up(&mut one, "Reloaded configuration; changed: nothing");
    file.write(&json!({
        "tags": {"role": "db"}, "event_handlers": [handler(&second)], "log_level": "debug",
        "rpc_auth": "secret", "leave_on_terminate": true, "reconnect_timeout": "48h", "node_name": "flags win",
    }));
    hang_up(&mut one, "changed: rpc_auth, tags, log_level, leave_on_terminate, event_handlers");
    assert_eq!(one.log_count("take effect after a restart: reconnect_timeout"), 1, "{}", one.log());
    assert!(!one.log().contains("secret"));

    wait_for_tag(&two, "one", "role", Some("db"));
    two.ctl(&["event", "after", "x"]).ok();
    wait_until(soon(), "the new handler is told", || match fs::read_to_string(&second) {
        Ok(told) if told == "after\n" => Ok(()),
        other => Err(format!("{other:?}")),
    });
    assert!(!first.exists(), "the old handler is not told");
    // What the handler did is logged a moment later.
    wait_until(soon(), "the log level changed", || match one.log_count("[DEBUG]") {
        0 => Err(one.log()),
        _ => Ok(()),
    });
    let keyless = one.ctl(&["members"]);
    assert!(keyless.refused().contains("Authentication required"), "{keyless}");
    let info = one.ctl(&["info", "-rpc-auth=secret"]);
    assert!(info.ok().contains(&second.display().to_string()), "{info}");
    one.signal(Signal::Terminate);
    assert!(one.wait_exit(soon()).success(), "leave_on_terminate is in force");
    wait_until(soon(), "it has left", || all_see(&[&two], &[("one", "left")]));
}

/// An entry that cannot be joined is no reason to keep what was.
#[test]
fn an_address_that_is_none_is_warned_of() {
    let net = Network::claim();
    let scratch = Scratch::new("reload-join");
    let file = File(scratch.path().join("serf.json"));
    file.write(&json!({}));
    let mut one = net.agent("one", 1).flag(format!("-config-file={}", file.0.display())).start();
    file.write(&json!({ "retry_join": ["", "127.0.0.1:http"], "log_level": "debug" }));
    hang_up(&mut one, "Reloaded configuration; changed: log_level, retry_join");
    for text in ["''", "'127.0.0.1:http'"] {
        assert_eq!(
            one.log_count(&format!("[WARN] agent: Warning: '{}", file.0.display())),
            2,
            "{}",
            one.log()
        );
        assert_eq!(one.log_count(&format!("{text} cannot be joined: ")), 1, "{}", one.log());
    }
}

#[test]
fn reloads_under_load_lose_nothing() {
    let rounds = if std::env::var_os("SERF_TEST_LONG").is_some() { 100 } else { 20 };
    let net = Network::claim();
    let scratch = Scratch::new("reload-load");
    let file = File(scratch.path().join("serf.json"));
    let record = scratch.path().join("record");
    let handler = format!("user=echo $SERF_USER_EVENT >> {}", record.display());
    let config = |round: usize| {
        let extra = format!("user:other-{round}=true");
        let level = if round.is_multiple_of(2) { "debug" } else { "info" };
        json!({
            "tags": {"round": round.to_string(), "rack": "7"},
            "event_handlers": [handler, extra],
            "log_level": level,
        })
    };
    file.write(&config(0));
    let mut one = net.agent("one", 1).flag(format!("-config-file={}", file.0.display())).start();
    let two = net.agent("two", 2).join(net.gossip(1)).start();
    wait_for_tag(&two, "one", "round", Some("0"));
    one.ctl(&["tags", "-set=live=yes", "-delete=rack"]).ok();

    let done = AtomicBool::new(false);
    let sent = thread::scope(|scope| {
        let sender = scope.spawn(|| {
            let mut sent = 0;
            while !done.load(Ordering::Relaxed) {
                two.ctl(&["event", "-coalesce=false", &format!("event-{sent}"), "x"]).ok();
                sent += 1;
            }
            sent
        });
        for round in 1..=rounds {
            if round % 5 == 0 {
                fs::write(&file.0, "{\"tags\": {\"round\": \"broken\"}, \"log_level\": 3}").unwrap();
                hang_up(&mut one, REFUSED);
                assert_eq!(tag(&one, "one", "round"), Ok(Some((round - 1).to_string())));
            } else {
                file.write(&config(round));
                hang_up(&mut one, RELOADED);
                wait_for_tag(&two, "one", "round", Some(&round.to_string()));
            }
        }
        done.store(true, Ordering::Relaxed);
        sender.join().expect("the sender does not panic")
    });
    assert!(sent > 0, "there was load");
    for viewer in [&one, &two] {
        wait_for_tag(viewer, "one", "live", Some("yes"));
        wait_for_tag(viewer, "one", "rack", None);
    }
    let told = || fs::read_to_string(&record).unwrap_or_default();
    wait_until(within(60), &format!("the handler is told of all {sent} events"), || {
        let count = told().lines().count();
        if count >= sent { Ok(()) } else { Err(format!("it was told of {count}")) }
    });
    let mut numbers: Vec<usize> =
        told().lines().map(|line| line.trim_start_matches("event-").parse().unwrap()).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (0..sent).collect::<Vec<_>>(), "each event once");
    assert_eq!(two.failures_reported("one"), 0);
}
