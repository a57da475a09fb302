//! What operators see from outside: metrics wherever they are sent, signals, syslog, systemd, JSON.
#![allow(clippy::disallowed_methods, reason = "tests read clocks, files and sockets; rules do not")]

mod common;

use common::{Agent, AgentSpec, Network, Scratch, Signal, soon, wait_until, within};
use serde_json::Value;
use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

const MANUAL: &str = include_str!("../src/manual/metrics.md");

/// An agent with settings of a configuration file.
fn configured(net: &Network, host: u8, scratch: &Scratch, settings: &str) -> AgentSpec {
    let file = scratch.file("serf.json", settings);
    net.agent("n1", host).flag(format!("-config-file={file}"))
}

/// The names in one column of the manual's table of metrics.
fn documented(column: usize) -> BTreeSet<String> {
    let rows = MANUAL.lines().filter(|line| line.starts_with("| `serf_"));
    let names = rows.filter_map(|row| row.split('`').nth(2 * column + 1));
    let names: BTreeSet<String> = names.map(str::to_string).collect();
    assert!(names.len() > 50, "the manual has a table of metrics: {names:?}");
    names
}

/// Whether the reference has a name, as it is or with a name of the user's at its end.
fn is_documented(reference: &BTreeSet<String>, name: &str) -> bool {
    let family = name.rsplit_once('.').map(|(family, _)| format!("{family}.NAME"));
    reference.contains(name) || family.is_some_and(|family| reference.contains(&family))
}

fn host_name() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap().trim().replace([':', ' '], "_")
}

/// Names in lines for statsd, each checked: known, and of the right form.
fn statsd_names(lines: &str) -> BTreeSet<String> {
    let reference = documented(1);
    let host = format!("serf-agent.{}.", host_name());
    let mut names = BTreeSet::new();
    for line in lines.lines() {
        let (name, rest) = line.split_once(':').unwrap_or_else(|| panic!("no value: '{line}'"));
        let mut parts = rest.split('|');
        let value: f64 = parts.next().unwrap().parse().unwrap_or_else(|e| panic!("{e}: '{line}'"));
        let kind = parts.next().unwrap_or_else(|| panic!("no kind: '{line}'"));
        assert!(value >= 0.0 && ["c", "g", "ms"].contains(&kind), "'{line}'");
        let name = match kind {
            "g" => name.replacen(&host, "serf-agent.", 1),
            _ => name.to_string(),
        };
        assert!(is_documented(&reference, &name), "the manual has no '{name}'");
        names.insert(name);
    }
    names
}

/// What each report has, whatever the agent did.
const ALWAYS: [&str; 4] = [
    "serf-agent.memberlist.health.score",
    "serf-agent.runtime.num_goroutines",
    "serf-agent.serf.member.join",
    "serf-agent.agent.ipc.command",
];

#[track_caller]
fn has(names: &BTreeSet<String>, expected: &[&str]) -> Result<(), String> {
    let missing: Vec<_> = expected.iter().filter(|name| !names.contains(**name)).collect();
    if missing.is_empty() { Ok(()) } else { Err(format!("no {missing:?} among {names:?}")) }
}

fn send_event(agent: &Agent, name: &str) {
    let answer = agent.ctl(&["event", name, "payload"]);
    assert_eq!(answer.code(), Some(0), "{answer}");
}

#[test]
fn statsd_and_statsite_are_told_every_few_seconds() {
    let net = Network::claim();
    let scratch = Scratch::new("sinks");
    let statsd = UdpSocket::bind((net.ip(2), 8125)).unwrap();
    statsd.set_nonblocking(true).unwrap();
    let statsite = TcpListener::bind((net.ip(2), 8125)).unwrap();
    statsite.set_nonblocking(true).unwrap();
    let ip = net.ip(2);
    let settings = format!(r#"{{"statsd_addr": "{ip}:8125", "statsite_addr": "{ip}:8125"}}"#);
    let n1 = configured(&net, 1, &scratch, &settings).start();
    send_event(&n1, "deploy");
    assert!(n1.thread_names().iter().any(|name| name == "serf-metrics"));

    let expected = [&ALWAYS[..], &["serf-agent.serf.events", "serf-agent.serf.events.deploy"]].concat();
    let mut told = String::new();
    wait_until(within(40), "statsd is told of an event", || {
        let mut datagram = [0; 65536];
        while let Ok(n) = statsd.recv(&mut datagram) {
            assert!(n <= 1400, "a datagram of {n} bytes");
            told += std::str::from_utf8(&datagram[..n]).unwrap();
        }
        has(&statsd_names(&told), &expected)
    });

    let (mut stream, _) =
        wait_until(soon(), "statsite is connected to", || statsite.accept().map_err(|e| e.to_string()));
    stream.set_nonblocking(true).unwrap();
    let mut bytes = Vec::new();
    wait_until(within(40), "statsite is told of an event", || {
        let _ = stream.read_to_end(&mut bytes);
        let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        has(&statsd_names(std::str::from_utf8(&bytes[..whole]).unwrap()), &expected)
    });

    // A receiver that went away is found again.
    drop(stream);
    let (mut stream, _) = wait_until(within(60), "statsite is connected to again", || {
        statsite.accept().map_err(|e| e.to_string())
    });
    stream.set_read_timeout(Some(Duration::from_secs(40))).unwrap();
    stream.set_nonblocking(false).unwrap();
    let mut byte = [0];
    assert_eq!(stream.read(&mut byte).unwrap(), 1, "and is told");
}

/// The response to a request, by hand.
fn ask(addr: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(addr).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(15))).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut response = String::new();
    stream.read_to_string(&mut response).unwrap();
    response
}

#[test]
fn prometheus_fetches_metrics() {
    let net = Network::claim();
    let scratch = Scratch::new("prometheus");
    let addr = SocketAddr::new(net.ip(1).into(), 9102);
    let n1 = configured(&net, 1, &scratch, &format!(r#"{{"metrics_addr": "{addr}"}}"#)).start();
    send_event(&n1, "deploy");

    let response = ask(addr, "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n");
    let (head, body) = response.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    assert!(head.contains("Content-Type: text/plain; version=0.0.4\r\n"), "{head}");
    assert!(head.contains("Connection: close"), "{head}");
    let reference = documented(0);
    let mut seen = BTreeSet::new();
    for line in body.lines().filter(|line| !line.starts_with('#')) {
        let (name, value) = line.rsplit_once(' ').unwrap();
        let value: f64 = value.parse().unwrap_or_else(|e| panic!("{e}: '{line}'"));
        assert!(value >= 0.0, "'{line}'");
        let name = name.split('{').next().unwrap();
        let plain = name.trim_end_matches("_sum").trim_end_matches("_count");
        assert!(reference.contains(name) || reference.contains(plain), "the manual has no '{name}'");
        seen.insert(plain.to_string());
    }
    // By name there is nothing until there are names.
    let unseen: Vec<_> = reference.iter().filter(|n| !seen.contains(*n) && !n.contains("by_name")).collect();
    assert!(unseen.is_empty(), "not served: {unseen:?}");
    assert!(body.contains("\nserf_user_events_total 1\n"), "{body}");
    assert!(body.contains("\nserf_user_events_by_name_total{name=\"deploy\"} 1\n"), "{body}");
    assert!(body.contains("\nserf_members_alive 1\n"), "{body}");

    assert!(ask(addr, "GET / HTTP/1.1\r\n\r\n").starts_with("HTTP/1.1 404 "));
    assert!(ask(addr, "POST /metrics HTTP/1.1\r\n\r\n").starts_with("HTTP/1.1 405 "));
    assert!(ask(addr, "nonsense\r\n\r\n").starts_with("HTTP/1.1 400 "));

    // Whoever says nothing, however many of them, is cut off; then there is room again.
    let silent: Vec<_> = (0..40).map(|_| TcpStream::connect(addr).unwrap()).collect();
    wait_until(within(30), "silent connections have ended", || {
        let mut stream = TcpStream::connect(addr).map_err(|e| e.to_string())?;
        stream.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
        let mut answer = String::new();
        let asked = stream.write_all(b"GET /metrics HTTP/1.1\r\n\r\n");
        let read = asked.and_then(|()| stream.read_to_string(&mut answer));
        if answer.contains(" 200 OK") { Ok(()) } else { Err(format!("{read:?}")) }
    });
    drop(silent);

    if let Ok(curl) = Command::new("curl").args(["-sf", &format!("http://{addr}/metrics")]).output() {
        assert!(curl.status.success());
        assert!(String::from_utf8_lossy(&curl.stdout).contains("\nserf_threads "));
    }
    assert!(!n1.log().contains("Metrics are served at"), "a loopback address needs no warning");
}

#[test]
fn metrics_for_everyone_are_warned_of_and_a_taken_port_is_named() {
    let net = Network::claim();
    let scratch = Scratch::new("warned");
    // Some port of the system's choice on all addresses.
    let n1 = configured(&net, 1, &scratch, r#"{"metrics_addr": "0.0.0.0:0"}"#).start();
    wait_until(soon(), "the agent warns", || match n1.log_count("Metrics are served at 0.0.0.0") {
        0 => Err(n1.log()),
        _ => Ok(()),
    });
    let taken = TcpListener::bind((net.ip(2), 0)).unwrap();
    let addr = taken.local_addr().unwrap();
    let answer = configured(&net, 2, &scratch, &format!(r#"{{"metrics_addr": "{addr}"}}"#)).run();
    assert!(answer.refused().contains(&format!("metrics listener on {addr}")), "{answer}");
}

#[test]
fn a_signal_dumps_the_metrics() {
    let net = Network::claim();
    let mut n1 = net.agent("n1", 1).start();
    send_event(&n1, "deploy");
    n1.signal(Signal::User1);
    let expected = [&ALWAYS[..], &["serf-agent.serf.events", "serf-agent.serf.events.deploy"]].concat();
    let reference = documented(1);
    wait_until(soon(), "the metrics are on standard error", || {
        let mut names = BTreeSet::new();
        for line in n1.log().lines().filter(|line| line.starts_with('[')) {
            // [2026-11-22 19:02:20 +0000 UTC][C] 'serf-agent.serf.events': Count: 1 Sum: 1.000
            let name = line.split('\'').nth(1).ok_or_else(|| format!("no name in '{line}'"))?;
            let kind = &line[line.find("][").unwrap_or(0)..];
            assert!(["][G] '", "][C] '", "][S] '"].iter().any(|k| kind.starts_with(k)), "'{line}'");
            assert!(is_documented(&reference, name), "the manual has no '{name}'");
            names.insert(name.to_string());
        }
        has(&names, &expected)
    });
    assert!(n1.is_running());
}

/// A pipe that nobody reads must cost the dump and nothing else.
#[test]
fn a_dump_that_nobody_reads_holds_up_nothing() {
    let net = Network::claim();
    let scratch = Scratch::new("unread");
    let fifo = scratch.path().join("stderr");
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    // Opened both ways, it can be opened without a reader.
    let spec = net.agent("n1", 1).stderr_to(&fifo);
    let mut n1 = spec.start();
    for _ in 0..40 {
        n1.signal(Signal::User1);
        assert!(n1.members().is_ok());
    }
    wait_until(soon(), "the agent tells that nobody reads", || {
        n1.signal(Signal::User1);
        match n1.log_count("Nobody reads standard error") {
            0 => Err(n1.log()),
            _ => Ok(()),
        }
    });
    n1.signal(Signal::Interrupt);
    assert_eq!(n1.wait_exit(within(20)).code(), Some(0));
}

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
    let mut n1 = configured(&net, 1, &scratch, r#"{"log_format": "json"}"#).start();
    send_event(&n1, "deploy");
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
    let answer = configured(&net, 1, &scratch, r#"{"syslog_facility": "local8"}"#).run();
    assert!(answer.refused().contains("Valid facilities are: [KERN USER "), "{answer}");
}

/// Every key of Serf's `info` that makes sense here.
#[test]
fn info_has_the_keys_of_serf() {
    let net = Network::claim();
    let n1 = net.agent("n1", 1).tag("role", "x").flag("-event-handler=true").start();
    for key in ["arch", "cpu_count", "goroutines", "max_procs", "os", "version", "threads"] {
        assert!(!n1.info("runtime", key).unwrap().is_empty(), "{key}");
    }
    let of_serf = "encrypted event_queue event_time failed health_score intent_queue left member_time members \
                   query_queue query_time";
    for key in of_serf.split_whitespace() {
        n1.info("serf", key).unwrap();
    }
    assert_eq!(n1.info("agent", "name").unwrap(), "n1");
    assert_eq!(n1.info("tags", "role").unwrap(), "x");
    assert_eq!(n1.info("event_handlers", "*:").unwrap(), "true");
    let threads: usize = n1.info("runtime", "threads").unwrap().parse().unwrap();
    assert!(threads >= 7, "{threads}");
}

#[test]
fn without_syslog_an_agent_that_needs_it_does_not_start() {
    if Path::new("/dev/log").exists() {
        let _ = writeln!(std::io::stderr(), "SKIPPED: this host has a syslog");
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
        let _ = writeln!(
            std::io::stderr(),
            "SKIPPED: lines_go_to_syslog: needs root and unshare for a mount namespace"
        );
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
            common::serf().display()
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
