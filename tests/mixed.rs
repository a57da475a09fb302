//! Clusters of our agents and HashiCorp's: each kind is an ordinary member to the other. After each
//! test the logs of both kinds are searched for complaints (`common::mixed`).
#![allow(clippy::disallowed_methods, reason = "tests read clocks, files and sockets; rules do not")]

mod common;

use common::complaints::{AFTERMATH, Excuse, complaint, fits, loudly, stalled_since};
use common::mixed::{Kind, Mixed, side_by_side};
use common::peers::hashicorp_serf;
use common::rpc::{Listener, client, counter};
use common::{Agent, Scratch, all_have, all_list, serf_ctl, soon, wait_until, within};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

const KEY: &str = "5wMT8rBJWKZrcnNoPzYVGQ==";

const THREE_AND_THREE: [&str; 6] = ["h1", "o1", "h2", "o2", "o3", "h3"];

#[test]
fn all_mixtures_agree_with_all_settings() {
    let Some(theirs) = hashicorp_serf() else { return };
    let one_of_ours = ["h1", "h2", "h3", "h4", "o1", "h5", "h6", "h7", "h8", "h9"];
    let one_of_theirs = ["o1", "o2", "o3", "o4", "h1", "o5", "o6", "o7", "o8", "o9"];
    let encrypted = format!("-encrypt={KEY}");
    let mut rows: Vec<(&[&str], Vec<&str>)> = Vec::new();
    for names in [&THREE_AND_THREE[..], &one_of_ours, &one_of_theirs] {
        for encryption in [None, Some(encrypted.as_str())] {
            for compression in [None, Some("-disable-compression")] {
                for profile in ["-profile=lan", "-profile=local"] {
                    let flags = [encryption, compression, Some(profile)];
                    rows.push((names, flags.into_iter().flatten().collect()));
                }
            }
        }
    }
    assert_eq!(rows.len(), 24);
    side_by_side(&rows, 4, |(names, flags)| {
        let mut mixed = Mixed::start(&theirs, names, flags);
        for agent in mixed.present() {
            let is_encrypted = flags.contains(&encrypted.as_str()).to_string();
            assert_eq!(agent.info("serf", "encrypted"), Ok(is_encrypted), "{}", agent.name());
        }
        mixed.nobody_complains();
    });
}

/// How long a quiet cluster is watched, unless `SERF_TEST_QUIET_SECONDS` says otherwise.
const QUIET: Duration = Duration::from_secs(60);

/// Nobody touches it, and nobody reports or complains of anything. A failure that is reported after
/// the machine did not run the processes proves nothing: then the time begins anew, once.
#[test]
fn a_quiet_cluster_reports_nothing() {
    let Some(theirs) = hashicorp_serf() else { return };
    let seconds = std::env::var("SERF_TEST_QUIET_SECONDS").ok();
    let seconds = seconds.map(|text| text.parse().expect("SERF_TEST_QUIET_SECONDS is a number"));
    let quiet = seconds.map_or(QUIET, Duration::from_secs);
    let mut mixed = Mixed::start(&theirs, &THREE_AND_THREE, &[]);
    let alive = THREE_AND_THREE.map(|name| (name, "alive"));
    let (mut start, mut last_look) = (Instant::now(), Instant::now());
    let last_start = start + quiet;
    let (mut looks, mut failures) = (0, 0);
    while start.elapsed() < quiet {
        thread::sleep(Duration::from_millis(500));
        looks += 1;
        mixed.nobody_complains();
        let reported = mixed.failures_reported();
        let disagreement = all_list(&mixed.present(), &alive).err();
        if reported > failures || disagreement.is_some() {
            let seen = format!("{} failures are reported; {disagreement:?}", reported - failures);
            let stall = stalled_since(last_look.checked_sub(AFTERMATH).unwrap_or(last_look));
            let Some(stall) = stall else { panic!("after {:?}: {seen}", start.elapsed()) };
            assert!(Instant::now() < last_start, "the machine stood still for {stall:?} again: {seen}");
            loudly(&format!("the machine stood still for {stall:?}; watching anew after: {seen}"));
            start = Instant::now();
        }
        failures = reported;
        last_look = Instant::now();
    }
    loudly(&format!("quiet for {:.0} s, {looks} looks", start.elapsed().as_secs_f64()));
}

/// The milliseconds in `Estimated h1 <-> o1 rtt: 0.420 ms`, if they can be a round trip on loopback,
/// however busy the machine is.
fn estimate(agent: &Agent, program: &Path, pair: [&str; 2]) -> Result<f64, String> {
    let answer = agent.ctl_with(program, &["rtt", pair[0], pair[1]]);
    let number = answer
        .stdout
        .strip_prefix(&format!("Estimated {} <-> {} rtt: ", pair[0], pair[1]))
        .and_then(|rest| rest.strip_suffix(" ms\n"));
    let ms: Option<f64> = number.and_then(|number| number.parse().ok());
    ms.filter(|ms| *ms > 0.0 && *ms < 1000.0).ok_or_else(|| answer.to_string())
}

#[test]
fn round_trips_between_kinds_are_estimated_by_both() {
    let Some(theirs) = hashicorp_serf() else { return };
    let mixed = Mixed::start(&theirs, &["h1", "o1", "h2", "o2"], &["-profile=local"]);
    for at in ["h1", "o1"] {
        for program in [&theirs, &serf_ctl()] {
            for pair in [["h1", "o1"], ["o1", "h1"], ["h2", "o2"], ["o1", "o2"], ["h1", "h2"]] {
                wait_until(within(60), &format!("{at} estimates {pair:?}"), || {
                    estimate(mixed.of(at), program, pair)
                });
            }
        }
    }
    for ours in ["o1", "o2"] {
        // No coordinate of theirs was one that could not be.
        assert_eq!(mixed.of(ours).info("serf", "coordinate_resets").as_deref(), Ok("0"));
    }
}

/// A newcomer takes a name that an agent of the other kind has. Everyone else votes for who was
/// there first; the newcomer ends and says why.
#[test]
fn a_name_belongs_to_whom_the_majority_of_both_kinds_knows() {
    let Some(theirs) = hashicorp_serf() else { return };
    side_by_side(&["h3", "o3"], 2, |&name| {
        let mut mixed = Mixed::start(&theirs, &THREE_AND_THREE, &["-profile=local"]);
        let (a, through) = (mixed.of(name).gossip(), mixed.of("h2").gossip());
        let other = if Kind::of(name) == Kind::Ours { Kind::Theirs } else { Kind::Ours };
        let newcomer = mixed.spec(name).program(&mixed.program(other)).join(through);
        let b = newcomer.gossip();
        // What either kind says of it once it has heard of both.
        mixed.excuse([
            Excuse::new("h*", format!("[WARN] serf: Name conflict for '{name}' both {a} and {b} are claiming")),
            Excuse::new("h*", format!("[ERR] memberlist: Conflicting address for {name}. Mine: {a} Theirs: {b} *")),
            Excuse::new("o*", format!("[WARN] serf: Name conflict for '{name}': both {a} and {b} are claiming it; {a} had it first*")),
        ]);
        // What the one who has the name says.
        mixed.excuse([match Kind::of(name) {
            Kind::Theirs => format!("[ERR] serf: Node name conflicts with another node at {b}. Names must be unique! *"),
            Kind::Ours => format!("[ERR] serf: Node name conflicts with another node: '{name}' is claimed by this agent at {a} and by another at {b}. *"),
        }].map(|line| Excuse::new(name, line)));

        let mut newcomer = newcomer.start();
        let status = newcomer.wait_exit(within(60));
        let log = newcomer.log();
        let said: Vec<&str> = log.lines().filter_map(complaint).collect();
        let expected = match other {
            Kind::Ours => vec![
                format!(
                    "[ERR] serf: Node name conflicts with another node: '{name}' is claimed by this agent at {b} and by another at {a}. Names must be unique! (Resolution enabled: true; a vote begins in * s)"
                ),
                format!(
                    "[ERR] serf: Name conflict for '{name}': this agent at {b} is in the minority [0 / *] against the one at {a} and quits. *"
                ),
            ],
            Kind::Theirs => vec![
                format!(
                    "[ERR] serf: Node name conflicts with another node at {a}. Names must be unique! (Resolution enabled: true)"
                ),
                "[WARN] serf: minority in name conflict resolution, quitting [0 / *]".to_string(),
                "[WARN] agent: Serf shutdown detected, quitting".to_string(),
            ],
        };
        for line in expected {
            assert!(said.iter().any(|said| fits(&line, said)), "{line} is not among {said:#?}");
        }
        assert_eq!(status.code(), Some(if other == Kind::Ours { 1 } else { 0 }), "{log}");
        let all = mixed.present();
        wait_until(soon(), "all have who was there first", || all_have(&all, name, &a.to_string()));
        assert_eq!(mixed.nobody_failed(), Ok(()));
    });
}

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
    let mut mixed = Mixed::new(&theirs, &[]);
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
        let mut heard: Vec<String> = listener.user_events().into_iter().map(|event| event.name).collect();
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

#[test]
fn a_cluster_of_ours_alone_speaks_native_after_first_contact() {
    let mixed = Mixed::start(Path::new("nobody's"), &["o1", "o2", "o3"], &[]);
    let agents = mixed.present();
    let foreign = |agent: &&Agent| {
        counter(agent, "datagrams_sent_hashicorp") + counter(agent, "streams_sent_hashicorp")
    };
    let before: Vec<u64> = agents.iter().map(foreign).collect();
    let start: Vec<u64> = agents.iter().map(|agent| counter(agent, "datagrams_sent_native")).collect();
    agents[0].ctl(&["event", "something", "is said"]).ok();
    wait_until(soon(), "they have talked", || {
        let talked = |(agent, start): (&&Agent, &u64)| counter(agent, "datagrams_sent_native") >= start + 5;
        if agents.iter().zip(&start).all(talked) { Ok(()) } else { Err("not yet".into()) }
    });
    assert_eq!(agents.iter().map(foreign).collect::<Vec<_>>(), before, "first contact is over");
}

#[test]
fn native_only_refuses_the_other_dialect() {
    let Some(theirs) = hashicorp_serf() else { return };
    let mut mixed = Mixed::new(&theirs, &[]);
    for name in ["o1", "o2"] {
        mixed.admit(name, |spec| spec.flag("-native-only"));
    }
    mixed.agree();
    let alone = mixed.spec("h1");
    mixed.start_as(&alone);
    let (o1, h1) = (mixed.of("o1").gossip(), mixed.of("h1").gossip());
    mixed.excuse([
        // The join that is refused, at both ends.
        Excuse::new("h1", "[WARN] agent: error joining: *"),
        Excuse::new(
            "o1",
            "[WARN] memberlist: Ignoring a stream from *: it is in HashiCorp's dialect and native_only is set*",
        ),
        // The join that is not understood.
        Excuse::new("h1", "[ERR] memberlist: Received invalid msgType (160) from=*"),
    ]);
    let refused = mixed.of("h1").ctl(&["join", &o1.to_string()]);
    assert!(refused.refused().contains("native_only"), "it is told why: {refused}");
    mixed.of("o1").ctl(&["join", &h1.to_string()]).refused();
    wait_until(soon(), "it is counted", || mixed.of("o1").info("counters", "refused_foreign"));
    let both = [("o1", "alive"), ("o2", "alive")];
    assert_eq!(all_list(&[mixed.of("o1"), mixed.of("o2")], &both), Ok(()));
}

/// The check of the logs finds what it is there to find.
#[test]
fn what_is_excused_is_that_and_nothing_else() {
    let line =
        "    2026/01/02 03:04:05 [ERR] memberlist: Failed fallback ping: dial tcp 127.0.0.3:7946: refused";
    let said = complaint(line).expect("an error is a complaint");
    assert!(said.starts_with("[ERR]"));
    assert_eq!(complaint("2026/01/02 03:04:05 [INFO] serf: EventMemberJoin: o1 127.0.0.2"), None);
    assert!(complaint("thread 'serf-probe' panicked at src/agent/probe.rs").is_some());
    let excuse = |by, line| Excuse::new(by, line);
    assert!(excuse("h*", "[ERR] memberlist: Failed fallback ping: dial tcp 127.0.0.3:*").covers("h1", said));
    for other in [
        excuse("o*", "[ERR] memberlist: Failed fallback ping: dial tcp 127.0.0.3:*"),
        excuse("h*", "[ERR] memberlist: Failed fallback ping: dial tcp 127.0.0.33:*"),
        excuse("h*", "memberlist: Failed fallback ping: dial tcp 127.0.0.3:*"),
        excuse("h*", "[ERR] memberlist: Failed fallback ping: dial tcp 127.0.0.3:7946"),
    ] {
        assert!(!other.covers("h1", said), "{other:?}");
    }
    for (pattern, text, expected) in [
        ("a", "a", true),
        ("a", "ab", false),
        ("a*", "ab", true),
        ("*b", "ab", true),
        ("a*b*c", "a1b2c", true),
        ("a*b*c", "a1c2b", false),
        ("ab*b", "ab", false),
        ("*", "", true),
    ] {
        assert_eq!(fits(pattern, text), expected, "{pattern} {text}");
    }
}
