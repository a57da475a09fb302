//! What an agent says to its host besides its metrics: to syslog, to systemd, in JSON, in `info`.

use crate::harness::notes::note;
use crate::harness::{Network, Scratch, Signal, serf, soon, wait_until, within};
use serde_json::Value;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// What systemd would be told: each datagram once, from its start to its end.
#[test]
fn the_service_manager_is_told() {
    let net = Network::claim();
    let scratch = Scratch::new("notify");
    let path = scratch.path().join("notify");
    let manager = UnixDatagram::bind(&path).unwrap();
    manager.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let heard = || {
        let mut buffer = [0; 4096];
        let n = manager.recv(&mut buffer).expect("the service manager is told");
        String::from_utf8(buffer[..n].to_vec()).unwrap()
    };
    let _n1 = net.agent("n1", 1).start();
    let mut n2 = net.agent("n2", 2).join(net.gossip(1)).env("NOTIFY_SOCKET", path.to_str().unwrap()).spawn();
    assert_eq!(heard(), "STATUS=Joining the cluster");
    assert!(heard().starts_with("READY=1\nSTATUS="));
    n2.wait_ready();
    n2.signal(Signal::Hangup);
    assert!(heard().starts_with("RELOADING=1\nMONOTONIC_USEC="));
    assert!(heard().starts_with("READY=1\n"));
    n2.signal(Signal::Interrupt);
    assert_eq!(heard(), "STATUS=Leaving the cluster");
    assert!(heard().starts_with("STOPPING=1\n"));
    assert_eq!(n2.wait_exit(within(20)).code(), Some(0));
}

#[test]
fn json_logs_are_json_from_the_first_line_to_the_last() {
    let net = Network::claim();
    let scratch = Scratch::new("json");
    let mut n1 = net.agent("n1", 1).settings(&scratch, r#"{"log_format": "json"}"#).start();
    n1.ctl(&["event", "deploy", "payload"]).ok();
    n1.signal(Signal::Interrupt);
    assert_eq!(n1.wait_exit(within(20)).code(), Some(0));
    let log = n1.log();
    let mut messages = Vec::new();
    for line in log.lines() {
        let line: Value = serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: '{line}'"));
        let text = |key: &str| line[key].as_str().unwrap_or_else(|| panic!("no {key}: {line}")).to_string();
        let (time, level) = (text("time"), text("level"));
        assert!(time.len() == "2026-11-22T15:41:34.250Z".len() && time.ends_with('Z'), "{time}");
        assert!(["TRACE", "DEBUG", "INFO", "WARN", "ERR"].contains(&level.as_str()), "{level}");
        messages.push((text("target"), text("message")));
    }
    let said =
        |target: &str, message: &str| messages.iter().any(|(t, m)| t == target && m.starts_with(message));
    assert!(said("agent", "Serf agent running!"), "{log}");
    assert!(said("agent", "Node name: 'n1'"), "{log}");
    assert!(said("agent", "Received event: user-event: deploy"), "{log}");
    assert!(said("serf", "EventMemberJoin: n1 "), "{log}");
}

#[test]
fn an_unknown_facility_is_refused_with_those_that_are_known() {
    let net = Network::claim();
    let scratch = Scratch::new("facility");
    let answer = net
        .agent("n1", 1)
        .settings(&scratch, r#"{"enable_syslog": true, "syslog_facility": "local8"}"#)
        .run();
    assert!(answer.refused().contains("Valid facilities are: [KERN USER "), "{answer}");
}

/// Every key of Serf's `info` that makes sense here.
#[test]
fn info_has_the_keys_of_serf() {
    let net = Network::claim();
    let n1 = net.agent("n1", 1).tag("role", "x").flag("-event-handler=true").start();
    for key in ["arch", "cpu_count", "goroutines", "max_procs", "os", "version"] {
        assert!(!n1.info("runtime", key).unwrap().is_empty(), "{key}");
    }
    // A script that looks for a value of Serf's finds one line.
    let text = n1.ctl(&["info"]);
    let runtime = "arch cpu_count goroutines max_procs name os version";
    let of_serf = "coordinate_resets encrypted event_queue event_time failed health_score intent_queue left member_time members \
                   query_queue query_time";
    for key in of_serf.split_whitespace() {
        n1.info("serf", key).unwrap();
    }
    for key in of_serf.split_whitespace().chain(runtime.split_whitespace()) {
        let found = text.ok().lines().filter(|line| line.contains(&format!("{key} = "))).count();
        assert_eq!(found, 1, "{key}: {text}");
    }
    assert_eq!(n1.info("agent", "name").unwrap(), "n1");
    assert_eq!(n1.info("tags", "role").unwrap(), "x");
    assert_eq!(n1.info("event_handlers", "*:").unwrap(), "true");
    let threads: usize = n1.info("native", "threads").unwrap().parse().unwrap();
    assert!(threads >= 7, "{threads}");
}

#[test]
fn without_syslog_an_agent_that_needs_it_does_not_start() {
    if Path::new("/dev/log").exists() {
        note("SKIPPED: this host has a syslog");
        return;
    }
    let net = Network::claim();
    let answer = net.agent("n1", 1).flag("-syslog").run();
    assert!(answer.refused().contains("Syslog setup failed: "), "{answer}");
}

/// With a `/dev/log` of its own, in a mount namespace of its own.
#[test]
fn lines_go_to_syslog() {
    let net = Network::claim();
    let scratch = Scratch::new("syslog");
    let devices = scratch.path().join("dev");
    std::fs::create_dir(&devices).unwrap();
    let namespace = |command: &str| {
        let script = format!("mount --bind \"$1\" /dev || exit 77; shift; {command}");
        (script, devices.to_str().unwrap().to_string())
    };
    let (script, dir) = namespace("exit 0");
    let able = Command::new("unshare")
        .args(["-m", "--propagation=private", "sh", "-c", &script, "sh", &dir])
        .output();
    if !able.is_ok_and(|output| output.status.success()) {
        note("SKIPPED: lines_go_to_syslog: needs root and unshare for a mount namespace");
        return;
    }
    let syslog = UnixDatagram::bind(devices.join("log")).unwrap();
    syslog.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    for device in ["null", "urandom"] {
        let target = devices.join(device);
        assert!(
            Command::new("cp")
                .args(["-a", &format!("/dev/{device}")])
                .arg(&target)
                .status()
                .unwrap()
                .success()
        );
    }
    let settings = scratch.file("serf.json", r#"{"enable_syslog": true, "syslog_facility": "daemon"}"#);
    let (script, dir) = namespace("exec \"$@\"");
    let wrapper = scratch.file(
        "serf-with-syslog",
        &format!(
            "#!/bin/sh\nexec unshare -m --propagation=private sh -c '{script}' sh '{dir}' '{}' \"$@\"\n",
            serf().display()
        ),
    );
    assert!(Command::new("chmod").args(["+x", &wrapper]).status().unwrap().success());
    let spec = net.agent("n1", 1).program(Path::new(&wrapper)).flag(format!("-config-file={settings}"));
    let mut n1 = spec.start();
    n1.signal(Signal::Interrupt);
    let mut lines = String::new();
    wait_until(soon(), "syslog has the agent's lines", || {
        let mut buffer = [0; 8192];
        let n = syslog.recv(&mut buffer).map_err(|e| format!("{e}; so far:\n{lines}"))?;
        lines += std::str::from_utf8(&buffer[..n]).unwrap();
        if lines.contains("agent: shutdown complete") { Ok(()) } else { Err(lines.clone()) }
    });
    // Facility 3, and INFO is a notice.
    let started = lines.lines().find(|line| line.contains("agent: Serf agent starting")).expect(&lines);
    assert!(started.starts_with("<29>") && started.contains(" serf["), "{started}");
    assert!(lines.contains("serf: EventMemberJoin: n1 "), "{lines}");
    assert_eq!(n1.wait_exit(within(20)).code(), Some(0));
}
