//! Keys that are rotated in a cluster of both kinds, by either.

use crate::harness::complaints::Excuse;
use crate::harness::mixed_cluster::MixedCluster;
use crate::harness::peers::hashicorp_serf;
use crate::harness::rpc::{Listener, client};
use crate::harness::{Agent, Scratch, serf_ctl, wait_until, within};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

const OLD: &str = "enjTwAFRe4IE71bOFhirzQ==";
const NEW: &str = "HvY8ubRZMgafUOWvrOadwckVa1wN3QWAo46FVKbVN8o=";
const NEWER: &str = "5K9OtfP7efFrNKe5WCQvXvnaXJ5cWP0SvXiwe0kkjM4=";

/// One step of a rotation. Asked again until everyone has done it: an answer may get lost on a
/// busy machine, and each step may be repeated.
fn step(agent: &Agent, program: &Path, what: &str) {
    wait_until(within(60), &format!("keys {what} at {}", agent.name()), || {
        let answer = agent.ctl_with(program, &["keys", what]);
        if answer.code() == Some(0) { Ok(()) } else { Err(answer.to_string()) }
    });
}

/// Whether everyone is said to have these keys and no others.
fn lists_keys(agent: &Agent, program: &Path, expected: &[&str]) {
    wait_until(within(60), "all keys are listed", || {
        let answer = agent.ctl_with(program, &["keys", "-list"]);
        let lines = answer.stdout.lines().filter(|line| line.contains("[4/4]"));
        let mut keys: Vec<&str> = lines.filter_map(|line| line.split_whitespace().next()).collect();
        keys.sort_unstable();
        // Ours tells which is the primary one as well.
        keys.dedup();
        if keys == expected { Ok(()) } else { Err(answer.to_string()) }
    });
}

/// Sends events from both kinds, 20 a second of each, until `busy` is over; how many by each.
fn under_events(senders: [&Agent; 2], busy: impl FnOnce()) -> Vec<String> {
    const PAUSE: Duration = Duration::from_millis(50);
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let sending = senders.map(|sender| {
            let over = &over;
            scope.spawn(move || {
                let (mut client, start, mut sent) = (client(sender), Instant::now(), Vec::new());
                while !over.load(Ordering::Relaxed) {
                    let name = format!("{}-{}", sender.name(), sent.len());
                    // An agent that is busy refuses an event; it is sent again.
                    if client.event(&name, b"payload", false).is_ok() {
                        sent.push(name);
                    }
                    thread::sleep((PAUSE * sent.len() as u32).saturating_sub(start.elapsed()));
                }
                sent
            })
        });
        busy();
        over.store(true, Ordering::Relaxed);
        sending.into_iter().flat_map(|s| s.join().expect("events are sent")).collect()
    })
}

/// First from ours with our command, then from HashiCorp's with theirs.
#[test]
fn keys_rotate_across_both_kinds_from_either_side() {
    let Some(theirs) = hashicorp_serf() else { return };
    let scratch = Scratch::new("keys");
    let ring = |name: &str| scratch.path().join(name);
    let mut mixed = MixedCluster::new(&theirs, &[]);
    for name in ["h1", "o1", "h2", "o2"] {
        let ring = scratch.file(name, &format!("[\"{OLD}\"]"));
        fs::set_permissions(&ring, fs::Permissions::from_mode(0o600)).unwrap();
        mixed.admit(name, |spec| spec.flag(format!("-keyring-file={ring}")));
    }
    mixed.agree();

    let listeners: Vec<Listener> =
        mixed.present().into_iter().map(|agent| Listener::new(agent, "user")).collect();
    let sent = under_events([mixed.of("h2"), mixed.of("o2")], || {
        for (at, program, old, new) in [("o1", &serf_ctl(), OLD, NEW), ("h1", &theirs, NEW, NEWER)] {
            let at = mixed.of(at);
            step(at, program, &format!("-install={new}"));
            let mut both = [old, new];
            both.sort_unstable();
            lists_keys(mixed.of("h2"), &theirs, &both);
            step(at, program, &format!("-use={new}"));
            step(at, program, &format!("-remove={old}"));
            for name in ["h2", "o2"] {
                lists_keys(mixed.of(name), &serf_ctl(), &[new]);
            }
        }
    });
    for listener in &listeners {
        listener.wait_for(sent.len(), within(30));
        let mut heard: Vec<String> =
            listener.user_events().into_iter().map(|event| event.name.to_string()).collect();
        let mut sent = sent.clone();
        heard.sort();
        sent.sort();
        assert_eq!(heard, sent, "each event is told once");
    }
    assert!(sent.iter().any(|e| e.starts_with('h')) && sent.iter().any(|e| e.starts_with('o')));
    for name in ["h1", "o1", "h2", "o2"] {
        let kept: Vec<String> = serde_json::from_slice(&fs::read(ring(name)).unwrap()).unwrap();
        assert_eq!(kept, [NEWER], "the keyring of {name}");
    }
    mixed.agree();

    // The old keys open no door any more, whoever knocks.
    for (name, through, old) in [("o3", "h1", OLD), ("h3", "o1", NEW), ("o4", "o1", NEW), ("h4", "h1", OLD)] {
        let through = mixed.of(through).gossip();
        let stranger = mixed.spec(name).flag(format!("-encrypt={old}")).join(through);
        // Whom it asks cannot read what it says. The system gives all streams one source address.
        mixed.excuse([
            Excuse::new("h1", "[ERR] memberlist: failed to receive: *decrypt* from=127.0.0.1:*"),
            Excuse::new("o1", "[WARN] memberlist: Ignoring a stream from 127.0.0.1:*: *decrypt*"),
        ]);
        let refused = stranger.run();
        assert_eq!(refused.code(), Some(1), "{refused}");
    }
    mixed.agree();
    assert_eq!(mixed.nobody_failed(), Ok(()));
}
