//! Starting and stopping: what an operator reads when the agent starts, why it refuses, how
//! signals end it.

use crate::harness::{
    AgentSpec, Network, Signal, all_list, free_ipv6_addresses, run, serf, serf_ctl, soon, wait_until, within,
};
use std::net::{SocketAddr, TcpListener, UdpSocket};

/// The documented output, in its order; and log lines written early come after it, none lost.
#[test]
fn the_banner_comes_first_and_the_held_back_log_after_it() {
    let net = Network::claim();
    let _n1 = net.agent("n1", 1).start();
    let n2 = net.agent("n2", 2).join(net.gossip(1)).start();
    let landmarks = [
        "==> Starting Serf agent...".to_string(),
        "==> Starting Serf agent RPC...".to_string(),
        "==> Serf agent running!".to_string(),
        "Node name: 'n2'".to_string(),
        format!("Bind addr: '{}'", net.gossip(2)),
        format!("RPC addr: '{}'", net.rpc(2)),
        "Encrypted: false".to_string(),
        "Snapshot: false".to_string(),
        "Profile: lan".to_string(),
        "Message Compression Enabled: true".to_string(),
        "==> Joining cluster...".to_string(),
        "Join completed. Synced with 1 initial agents".to_string(),
        "==> Log data will now stream in as it occurs:".to_string(),
        // From here on they were written before the line above was.
        "[INFO] agent: Serf agent starting".to_string(),
        "[INFO] serf: EventMemberJoin: n2 ".to_string(),
        "[INFO] serf: EventMemberJoin: n1 ".to_string(),
    ];
    wait_until(soon(), "the output has all its landmarks, in order", || {
        let log = n2.log();
        let mut rest = log.as_str();
        for landmark in &landmarks {
            let at =
                rest.find(landmark.as_str()).ok_or_else(|| format!("'{landmark}' is not next in:\n{log}"))?;
            rest = &rest[at + landmark.len()..];
        }
        Ok(())
    });

    let log = n2.log();
    let (banner, lines) = log.split_once("==> Log data will now stream in as it occurs:").unwrap();
    assert!(!banner.contains("[INFO]"), "no log line among the banner:\n{banner}");
    for line in lines.lines().filter(|line| line.contains("[INFO]")) {
        assert!(is_timestamped(line), "a log line has four spaces, date and time: '{line}'");
    }
}

/// `    2013/10/22 10:35:33 [INFO] …`
fn is_timestamped(line: &str) -> bool {
    let pattern = "    9999/99/99 99:99:99 [";
    let matches =
        |(seen, wanted): (char, char)| if wanted == '9' { seen.is_ascii_digit() } else { seen == wanted };
    line.len() > pattern.len() && line.chars().zip(pattern.chars()).all(matches)
}

/// Runs an agent that must refuse to start, and returns the one line in which it says why.
#[track_caller]
fn refusal(spec: &AgentSpec) -> String {
    let answer = spec.run();
    let said = answer.refused();
    // How far it came and what it logged may stand before the reason, and the usage.
    let said = if said.contains("Usage:") { said.rsplit("\n\n").next().unwrap_or_default() } else { &said };
    let beside = |line: &&str| {
        line.starts_with("==> Starting Serf agent") || is_timestamped(line) || line.trim().is_empty()
    };
    let reasons: Vec<&str> = said.lines().filter(|line| !beside(line)).collect();
    assert_eq!(reasons.len(), 1, "a refusal is one clear line; {answer}");
    reasons[0].to_string()
}

#[test]
fn a_port_in_use_is_named() {
    let net = Network::claim();
    let _running = net.agent("n1", 1).start();

    let same_gossip_port = AgentSpec::new("n2", net.gossip(1), net.rpc(2));
    let reason = refusal(&same_gossip_port).to_lowercase();
    assert!(reason.contains("in use"), "{reason}");
    assert!(reason.contains(&net.ip(1).to_string()), "the address is named: {reason}");

    let same_rpc_port = AgentSpec::new("n2", net.gossip(2), net.rpc(1));
    let reason = refusal(&same_rpc_port).to_lowercase();
    assert!(reason.contains("in use"), "{reason}");
    assert!(reason.contains(&net.rpc(1).to_string()), "the address is named: {reason}");

    // One of the two protocols is enough to be in the way.
    let _udp = UdpSocket::bind(net.gossip(3)).unwrap();
    let reason = refusal(&net.agent("n3", 3)).to_lowercase();
    assert!(reason.contains("in use") && reason.contains(&net.ip(3).to_string()), "{reason}");
    let _tcp = TcpListener::bind(net.gossip(4)).unwrap();
    let reason = refusal(&net.agent("n4", 4)).to_lowercase();
    assert!(reason.contains("in use") && reason.contains(&net.ip(4).to_string()), "{reason}");
}

#[test]
fn a_bad_value_is_named() {
    let net = Network::claim();
    for (flag, named) in [
        ("-bind=999.1.1.1", "999.1.1.1"),
        ("-bind=127.0.0.1:99999", "99999"),
        ("-bind=192.0.2.1:7946", "192.0.2.1"),
        ("-rpc-addr=nonsense", "nonsense"),
        ("-config-file=/nonexistent/file.json", "file"),
        ("-config-dir=/nonexistent/dir", "dir"),
        ("-profile=fast", "fast"),
        ("-protocol=9", "9"),
        ("-log-level=loud", "loud"),
        ("-tag=novalue", "novalue"),
        ("-broadcast-timeout=x", "x"),
    ] {
        let reason = refusal(&net.agent("n1", 1).flag(flag));
        assert!(reason.to_lowercase().contains(named), "{flag} is refused by naming it: {reason}");
    }
}

#[test]
fn an_unknown_flag_is_named() {
    let answer = run(&serf(), ["agent", "-bogus"]);
    let said = answer.refused();
    let naming: Vec<&str> = said.lines().filter(|line| line.contains("bogus")).collect();
    assert_eq!(naming.len(), 1, "one line names the unknown flag; {answer}");
}

/// An agent of which every variable was empty waits for better ones; those that can be joined are.
#[test]
fn an_address_that_is_none_keeps_no_agent_from_starting() {
    let net = Network::claim();
    let alone = net.agent("alone", 1).flag("-retry-join=").flag("-retry-interval=1s").start();
    wait_until(soon(), "it tries again", || {
        let tried = alone.log_count("Join failed: Failed to resolve : address is empty, retrying in 1s");
        if tried >= 2 { Ok(()) } else { Err(alone.log()) }
    });
    let joined = net.agent("joined", 2).flag("-join=").join(net.gossip(1)).start();
    wait_until(soon(), "the two agree", || {
        all_list(&[&alone, &joined], &[("alone", "alive"), ("joined", "alive")])
    });
    // Alone it is what one that nobody answers is.
    let answer = net.agent("lost", 3).flag("-join=").run();
    assert!(answer.refused().contains("Failed to resolve : address is empty"), "{answer}");
}

/// Without a host the control protocol is there for both families, as in Go; and the commands read the
/// same text in the same way.
#[test]
fn a_control_port_alone_means_every_address() {
    let net = Network::claim();
    let port = free_ipv6_addresses().1.port();
    let rpc = SocketAddr::from(([127, 0, 0, 1], port));
    let _n1 = AgentSpec::new("n1", net.gossip(1), rpc).flag(format!("-rpc-addr=:{port}")).start();
    for addr in [format!("127.0.0.1:{port}"), format!("[::1]:{port}"), format!(":{port}")] {
        let answer = run(&serf_ctl(), ["members".to_string(), format!("-rpc-addr={addr}")]);
        assert!(answer.ok().starts_with("n1 "), "{addr}: {answer}");
    }
}

/// `-join` insists: if nobody can be reached the agent does not start.
#[test]
fn joining_nobody_ends_the_start() {
    let net = Network::claim();
    let answer = net.agent("n1", 1).join(net.gossip(8)).join(net.gossip(9)).run();
    let said = answer.refused();
    for host in [8, 9] {
        assert!(said.contains(&net.ip(host).to_string()), "every address is named; {answer}");
    }
    // One that answers is enough.
    let n2 = net.agent("n2", 2).start();
    let n3 = net.agent("n3", 3).join(net.gossip(9)).join(net.gossip(2)).start();
    wait_until(soon(), "the two agree", || all_list(&[&n2, &n3], &[("n2", "alive"), ("n3", "alive")]));
}

#[test]
fn sigint_leaves_and_exits_with_0_sigterm_exits_with_1() {
    let net = Network::claim();
    let mut patient = net.agent("patient", 1).start();
    patient.signal(Signal::Interrupt);
    assert_eq!(patient.wait_exit(soon()).code(), Some(0), "exit code after SIGINT");
    assert!(patient.log().contains("Gracefully shutting down agent"), "it said so:\n{}", patient.log());

    let mut terminated = net.agent("terminated", 2).start();
    terminated.signal(Signal::Terminate);
    assert_eq!(terminated.wait_exit(soon()).code(), Some(1), "exit code after SIGTERM");

    // Both gave their ports back.
    let again = net.agent("again", 1).start();
    assert_eq!(all_list(&[&again], &[("again", "alive")]), Ok(()));
}

/// The operator who signals twice does not want to wait any more.
#[test]
fn a_second_signal_forces_the_exit() {
    let net = Network::claim();
    let mut n1 = net.agent("n1", 1).start();
    let mut n2 = net.agent("n2", 2).join(net.gossip(1)).start();
    wait_until(soon(), "the two agree", || all_list(&[&n1, &n2], &[("n1", "alive"), ("n2", "alive")]));
    // Nobody confirms the leave, so it takes its time.
    n2.signal(Signal::Stop);
    n1.signal(Signal::Interrupt);
    wait_until(soon(), "the first signal is acted upon", || {
        if n1.log().contains("Gracefully shutting down agent") { Ok(()) } else { Err(n1.log()) }
    });
    n1.signal(Signal::Interrupt);
    assert_eq!(n1.wait_exit(within(5)).code(), Some(1), "exit code after a second signal");
}

/// An operator who looks at `ps -T` sees the design.
#[test]
fn threads_have_names() {
    let net = Network::claim();
    let n1 = net.agent("n1", 1).start();
    let expected = ["serf-events", "serf-gossip", "serf-probe", "serf-rpc", "serf-sync"];
    wait_until(soon(), "the threads have their names", || {
        let names = n1.thread_names();
        let missing: Vec<&&str> = expected.iter().filter(|e| !names.iter().any(|n| n == *e)).collect();
        if missing.is_empty() { Ok(()) } else { Err(format!("no {missing:?} among {names:?}")) }
    });
    for name in n1.thread_names() {
        assert!(name.starts_with("serf"), "thread '{name}' says whose it is");
    }
}

/// Gossip uses one port for both protocols, also when the port is left to the system.
#[test]
fn udp_and_tcp_share_a_port() {
    let net = Network::claim();
    let fixed = net.agent("fixed", 1).start();
    assert_both_taken(fixed.gossip());

    let any_port = std::net::SocketAddr::new(net.ip(2).into(), 0);
    let chosen = AgentSpec::new("chosen", any_port, net.rpc(2)).start();
    let members = chosen.members().unwrap();
    let address: std::net::SocketAddr = members[0].addr.parse().unwrap();
    assert_ne!(address.port(), 0, "the list shows the real port");
    assert_both_taken(address);
}

#[track_caller]
fn assert_both_taken(address: std::net::SocketAddr) {
    assert!(UdpSocket::bind(address).is_err(), "UDP {address} is the agent's");
    assert!(TcpListener::bind(address).is_err(), "TCP {address} is the agent's");
}
