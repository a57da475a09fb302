//! Rotating the keys of an encrypted cluster: every step and every error as an operator meets
//! them, with nothing lost while it goes on.

use crate::harness::peers::hashicorp_serf;
use crate::harness::rpc::{Listener, client};
use crate::harness::{Agent, Answer, Network, Scratch, Signal, all_list, soon, wait_until, within};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

const OLD: &str = "enjTwAFRe4IE71bOFhirzQ==";
const NEW: &str = "HvY8ubRZMgafUOWvrOadwckVa1wN3QWAo46FVKbVN8o=";
/// Serf's example of a keyring that is nobody's.
const FOREIGN: &str = "5K9OtfP7efFrNKe5WCQvXvnaXJ5cWP0SvXiwe0kkjM4=";

/// Agents at hosts .1, .2, …, each with a keyring file of its own that holds the old key.
fn with_keyrings(net: &Network, scratch: &Scratch, count: u8) -> Vec<Agent> {
    (1..=count)
        .map(|host| {
            let ring = scratch.file(&format!("ring{host}"), &format!("[\"{OLD}\"]"));
            let spec = net.agent(&format!("n{host}"), host).flag(format!("-keyring-file={ring}"));
            if host == 1 { spec.start() } else { spec.join(net.gossip(1)).start() }
        })
        .collect()
}

fn wait_for_all(agents: &[Agent]) {
    let alive: Vec<_> = agents.iter().map(|agent| (agent.name().to_string(), "alive")).collect();
    let alive: Vec<_> = alive.iter().map(|(name, status)| (name.as_str(), *status)).collect();
    wait_until(within(60), "all agents list all as alive", || {
        all_list(&agents.iter().collect::<Vec<_>>(), &alive)
    });
}

/// Asks again until everyone has done it: an answer may get lost on a busy machine, and each step
/// may be repeated.
fn step(agent: &Agent, what: &str, key: &str) -> Answer {
    wait_until(within(60), &format!("keys {what}"), || {
        let answer = agent.ctl(&["keys", &format!("-{what}={key}")]);
        if answer.code() == Some(0) { Ok(answer) } else { Err(answer.to_string()) }
    })
}

/// The lines of `keys -list` about keys.
fn listed(agent: &Agent) -> Vec<String> {
    let answer = wait_until(within(60), "all keys are listed", || {
        let answer = agent.ctl(&["keys", "-list"]);
        if answer.code() == Some(0) { Ok(answer) } else { Err(answer.to_string()) }
    });
    let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
    answer.ok().lines().filter(|line| line.contains('[')).map(words).collect()
}

#[test]
fn a_cluster_changes_its_key_and_keeps_it() {
    let (net, scratch) = (Network::claim(), Scratch::new("rotation"));
    let agents = with_keyrings(&net, &scratch, 5);
    wait_for_all(&agents);
    let rings = |expected: &[&str]| {
        for host in 1..=5 {
            let path = scratch.path().join(format!("ring{host}"));
            let lines: Vec<String> = expected.iter().map(|key| format!("  \"{key}\"")).collect();
            assert_eq!(fs::read_to_string(&path).unwrap(), format!("[\n{}\n]", lines.join(",\n")));
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        }
    };

    assert_eq!(listed(&agents[2]), [format!("{OLD} [5/5] primary [5/5]")]);
    let answer = step(&agents[0], "install", NEW);
    assert_eq!(
        answer.ok(),
        "==> Installing key on all members...\n==> Successfully installed key!\n",
        "as Serf says it"
    );
    rings(&[OLD, NEW]);
    step(&agents[0], "install", NEW);
    assert_eq!(listed(&agents[1]), [format!("{NEW} [5/5]"), format!("{OLD} [5/5] primary [5/5]")]);

    let answer = step(&agents[1], "use", NEW);
    assert_eq!(
        answer.ok(),
        "==> Changing primary key on all members...\n==> Successfully changed primary key!\n"
    );
    rings(&[NEW, OLD]);
    assert_eq!(listed(&agents[1]), [format!("{NEW} [5/5] primary [5/5]"), format!("{OLD} [5/5]")]);

    let refused = agents[3].ctl(&["keys", &format!("-remove={NEW}")]);
    let said = refused.refused();
    for name in ["n1", "n2", "n3", "n4", "n5"] {
        let line = format!("failed:  {name}  removing the primary key is not allowed");
        assert!(refused.stderr.lines().any(|l| l == line), "{said}");
    }
    assert!(refused.stderr.ends_with("Error removing key: 5/5 nodes reported failure\n"), "{said}");
    let unknown = agents[3].ctl(&["keys", &format!("-use={FOREIGN}")]).refused();
    assert!(
        unknown.contains("n3      requested key is not in the keyring")
            || unknown.contains("n3  requested key is not in the keyring"),
        "{unknown}"
    );
    let short = agents[3].ctl(&["keys", "-install=aHVzaA=="]).refused();
    assert!(short.contains("key size must be 16, 24 or 32 bytes"), "{short}");
    let garbled = agents[3].ctl(&["keys", "-install=no key!"]).refused();
    assert!(garbled.contains("Error installing key: illegal base64 data at input byte 2"), "{garbled}");
    for flags in [&["keys", "-list", "-use=x"][..], &["keys", "-install=x", "-remove=x"]] {
        let refused = agents[0].ctl(flags).refused();
        assert_eq!(refused, "Only one of -install, -use, -remove, or -list allowed\n");
    }
    assert!(agents[0].ctl(&["keys"]).refused().contains("Usage: serf-ctl keys [options]"));
    rings(&[NEW, OLD]);

    let answer = step(&agents[4], "remove", OLD);
    assert_eq!(answer.ok(), "==> Removing key on all members...\n==> Successfully removed key!\n");
    rings(&[NEW]);
    step(&agents[4], "remove", OLD);
    assert_eq!(listed(&agents[0]), [format!("{NEW} [5/5] primary [5/5]")]);

    // The file is what the agent comes back with.
    let mut agents = agents;
    let mut last = agents.pop().unwrap();
    last.signal(Signal::Interrupt);
    last.wait_exit(soon());
    agents.push(last.spec().start());
    wait_for_all(&agents);
    for agent in &agents {
        let log = agent.log();
        assert!([OLD, NEW].iter().all(|key| !log.contains(key)), "a key was logged by {}", agent.name());
        assert_eq!(agent.log_count("EventMemberFailed"), 0, "{log}");
    }
}

#[test]
fn a_step_that_cannot_be_written_down_is_not_taken() {
    let (net, scratch) = (Network::claim(), Scratch::new("unwritable"));
    let agents = with_keyrings(&net, &scratch, 1);
    let directory = scratch.path().join("gone");
    fs::create_dir(&directory).unwrap();
    let ring = directory.join("ring");
    fs::write(&ring, format!("[\"{OLD}\"]")).unwrap();
    let n2 = net.agent("n2", 2).flag(format!("-keyring-file={}", ring.display())).join(net.gossip(1)).start();
    fs::remove_dir_all(&directory).unwrap();
    let refused = n2.ctl(&["keys", &format!("-install={NEW}")]);
    assert!(refused.refused().contains("failed:  n2  Failed to write keyring file: "), "{refused}");
    assert!(refused.stderr.contains("Error installing key: 1/2 nodes reported failure"), "{refused}");
    assert_eq!(listed(&agents[0]), [format!("{NEW} [1/2]"), format!("{OLD} [2/2] primary [2/2]")]);
}

#[test]
fn agents_without_encryption_say_so() {
    let net = Network::claim();
    let n1 = net.agent("n1", 1).start();
    let refused = n1.ctl(&["keys", "-list"]);
    assert_eq!(refused.code(), Some(1), "{refused}");
    assert_eq!(
        refused.stderr,
        "failed:  n1  Keyring is empty (encryption not enabled)\n\n\
         Failed to gather member keys: 1/1 nodes reported failure\n"
    );
    for change in ["install", "use", "remove"] {
        let refused = n1.ctl(&["keys", &format!("-{change}={NEW}")]);
        let line = "failed:  n1  No keyring to modify (encryption not enabled)\n\n";
        assert!(refused.refused().contains(line), "{refused}");
    }
}

#[test]
fn a_list_that_does_not_fit_says_so() {
    let (net, scratch) = (Network::claim(), Scratch::new("truncated"));
    let config = scratch.file("small.json", "{\"query_response_size_limit\": 256}");
    let n1 =
        net.agent("n1", 1).flag(format!("-encrypt={OLD}")).flag(format!("-config-file={config}")).start();
    for key in [NEW, FOREIGN, "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", "AQEBAQEBAQEBAQEBAQEBAQ=="] {
        step(&n1, "install", key);
    }
    let answer = n1.ctl(&["keys", "-list"]);
    let shown = answer.ok().lines().filter(|line| line.contains("[1/1]")).count();
    assert!((1..5).contains(&shown), "{answer}");
    let remark = format!("truncated key list response, showing first {shown} of 5 keys");
    assert!(answer.stderr.contains(&remark), "{answer}");
    // The log is written by a thread of its own.
    wait_until(soon(), "the log says so too, once", || match n1.log_count(&remark) {
        1 => Ok(()),
        count => Err(format!("{count} lines")),
    });
}

#[test]
fn hashicorps_command_changes_our_keys() {
    let Some(theirs) = hashicorp_serf() else { return };
    let (net, scratch) = (Network::claim(), Scratch::new("theirs"));
    let agents = with_keyrings(&net, &scratch, 3);
    wait_for_all(&agents);
    let keys = |flag: &str| agents[0].ctl_with(&theirs, &["keys", flag]);
    for (flag, said) in [
        (format!("-install={NEW}"), "Successfully installed key!"),
        (format!("-use={NEW}"), "Successfully changed primary key!"),
        (format!("-remove={OLD}"), "Successfully removed key!"),
    ] {
        let answer = keys(&flag);
        assert!(answer.ok().contains(said), "{answer}");
    }
    let answer = keys("-list");
    let line = format!("{NEW}  [3/3]");
    assert!(answer.ok().lines().any(|l| l == line) && !answer.ok().contains(OLD), "{answer}");
    let refused = keys(&format!("-remove={NEW}"));
    assert!(refused.refused().contains("removing the primary key is not allowed"), "{refused}");
    assert!(refused.everything().contains("Error removing key: 3/3 nodes reported failure"), "{refused}");
    assert_eq!(listed(&agents[2]), [format!("{NEW} [3/3] primary [3/3]")]);
}

/// Events that were sent while `busy` ran, 50 a second, by their names.
fn under_events<T>(sender: &Agent, busy: impl FnOnce() -> T) -> (T, usize) {
    const PAUSE: Duration = Duration::from_millis(20);
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let events = scope.spawn(|| {
            let mut client = client(sender);
            let (start, mut sent) = (Instant::now(), 0);
            while !over.load(Ordering::Relaxed) || sent < 250 {
                // An agent that is busy refuses an event; it is sent again.
                if client.event(format!("event{sent}"), b"payload", false).is_ok() {
                    sent += 1;
                }
                thread::sleep((PAUSE * sent as u32).saturating_sub(start.elapsed()));
            }
            sent
        });
        let result = busy();
        over.store(true, Ordering::Relaxed);
        (result, events.join().expect("events are sent"))
    })
}

#[test]
fn nothing_is_lost_while_twenty_agents_change_their_key() {
    const TWENTY: u8 = 20;
    let (net, scratch) = (Network::claim(), Scratch::new("twenty"));
    let mut agents = with_keyrings(&net, &scratch, TWENTY);
    // One more, which is away meanwhile.
    let ring = scratch.file("ring-away", &format!("[\"{OLD}\"]"));
    let snapshot = scratch.path().join("snapshot");
    let spec = net.agent("away", TWENTY + 1).flag(format!("-keyring-file={ring}"));
    let returning = spec.clone().flag(format!("-snapshot={}", snapshot.display())).flag("-rejoin");
    let mut away = returning.clone().join(net.gossip(1)).start();
    wait_until(within(60), "everyone is there", || match agents[7].members()?.len() {
        21 => Ok(()),
        count => Err(format!("{count} members")),
    });
    away.signal(Signal::Interrupt);
    away.wait_exit(soon());
    agents[0].ctl(&["force-leave", "-prune", "away"]).ok();
    wait_for_all(&agents);

    let listeners: Vec<Listener> = agents.iter().map(|agent| Listener::new(agent, "user")).collect();
    let ((), sent) = under_events(&agents[5], || {
        step(&agents[0], "install", NEW);
        step(&agents[9], "use", NEW);
        step(&agents[19], "remove", OLD);
    });
    for listener in &listeners {
        listener.wait_for(sent, within(30));
        let mut heard = BTreeMap::<String, usize>::new();
        listener
            .user_events()
            .into_iter()
            .for_each(|event| *heard.entry(event.name.to_string()).or_default() += 1);
        let lost: Vec<String> =
            (0..sent).map(|n| format!("event{n}")).filter(|e| !heard.contains_key(e)).collect();
        assert!(lost.is_empty(), "lost: {lost:?}");
        assert!(heard.values().all(|count| *count == 1), "an event was told twice: {heard:?}");
    }
    wait_for_all(&agents);
    assert_eq!(listed(&agents[12]), [format!("{NEW} [20/20] primary [20/20]")]);
    for agent in &agents {
        assert_eq!(agent.log_count("EventMemberFailed"), 0, "{} reports a failure", agent.name());
    }

    // The old key opens no door any more, and whoever still has it learns why.
    let reason = "no installed keys could decrypt the message \
                  (if a member sent it, the cluster's key was changed while this agent was away)";
    let stranger = spec.clone().join(net.gossip(1)).run();
    assert!(stranger.refused().contains(reason), "{stranger}");
    assert!(agents[0].log_count("no installed keys could decrypt the message") > 0, "{}", agents[0].log());
    let mut away = returning.start();
    wait_until(soon(), "whoever comes back by itself learns why it stays alone", || {
        let line = "Failed to re-join any previously known node; the last one: ";
        match away.log().lines().any(|l| l.contains(line) && l.contains(reason)) {
            true => Ok(()),
            false => Err(away.log()),
        }
    });
    away.signal(Signal::Terminate);
    away.wait_exit(soon());
    fs::write(&ring, format!("[\"{NEW}\"]")).unwrap();
    agents.push(returning.start());
    wait_for_all(&agents);
}
