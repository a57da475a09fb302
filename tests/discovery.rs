//! Agents that find each other by multicast DNS, on a network of their own: a bridge with one
//! network namespace for each. That takes root; without it the tests are skipped, loudly, and with
//! `CI=true` they fail.
#![allow(clippy::disallowed_methods, reason = "tests read clocks, files and sockets; rules do not")]

mod common;

use common::peers::hashicorp_serf;
use common::{Agent, AgentSpec, Scratch, all_list, serf, soon, stays, wait_until, within};
use std::io::Write;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// A bridge in this namespace, and hosts in namespaces of their own: `10.213.N.1`, `.2` and so on.
struct Lan {
    bridge: String,
    third: u32,
    hosts: Vec<String>,
    scratch: Scratch,
}

impl Lan {
    /// A network of `hosts` hosts, or none where this process may not make one.
    fn new(hosts: u32) -> Option<Lan> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        // Two tests of one process, and of two processes that run side by side, rarely meet; if
        // they do, the address cannot be taken and the next one is tried.
        for _ in 0..8 {
            let seed = std::process::id() * 8 + COUNT.fetch_add(1, Ordering::Relaxed);
            let third = 1 + seed % 250;
            let bridge = format!("sd{third}");
            match ip(&["link", "add", &bridge, "type", "bridge"]) {
                Ok(()) => {}
                Err(why) if why.contains("exists") => continue,
                Err(why) => return skip(&why),
            }
            let mut lan = Lan { bridge, third, hosts: Vec::new(), scratch: Scratch::new("lan") };
            lan.lay_out(hosts).unwrap_or_else(|why| panic!("cannot lay out a network: {why}"));
            return Some(lan);
        }
        panic!("no free network 10.213.N.0/24");
    }

    fn lay_out(&mut self, hosts: u32) -> Result<(), String> {
        let (bridge, third) = (self.bridge.clone(), self.third);
        ip(&["addr", "add", &format!("10.213.{third}.254/24"), "dev", &bridge])?;
        ip(&["link", "set", &bridge, "up"])?;
        for host in 1..=hosts {
            let (namespace, port) = (format!("{bridge}h{host}"), format!("{bridge}p{host}"));
            ip(&["netns", "add", &namespace])?;
            self.hosts.push(namespace.clone());
            ip(&["link", "add", &port, "type", "veth", "peer", "name", "eth0", "netns", &namespace])?;
            ip(&["link", "set", &port, "master", &bridge, "up"])?;
            let addr = format!("10.213.{third}.{host}/24");
            for command in [
                vec!["addr", "add", &addr, "dev", "eth0"],
                vec!["link", "set", "eth0", "up"],
                vec!["link", "set", "lo", "up"],
                // HashiCorp's program leaves it to the routes where multicast goes.
                vec!["route", "add", "default", "dev", "eth0"],
            ] {
                ip(&[&["-n", &namespace][..], &command].concat())?;
            }
        }
        Ok(())
    }

    fn addr(&self, host: u32, port: u16) -> SocketAddr {
        format!("10.213.{}.{host}:{port}", self.third).parse().expect("that is an address")
    }

    /// An agent at a host; its control address can be reached from here over the bridge.
    fn agent(&self, name: &str, host: u32, program: &Path) -> AgentSpec {
        use std::os::unix::fs::PermissionsExt;
        let namespace = &self.hosts[host as usize - 1];
        let script = format!("#!/bin/sh\nexec ip netns exec {namespace} {} \"$@\"\n", program.display());
        let script = self.scratch.file(&format!("{name}-{host}.sh"), &script);
        std::fs::set_permissions(&script, PermissionsExt::from_mode(0o755)).expect("the file is ours");
        AgentSpec::new(name, self.addr(host, 7946), self.addr(host, 7373)).program(Path::new(&script))
    }
}

impl Drop for Lan {
    fn drop(&mut self) {
        for namespace in &self.hosts {
            let _ = ip(&["netns", "del", namespace]);
        }
        let _ = ip(&["link", "del", &self.bridge]);
    }
}

fn ip(args: &[&str]) -> Result<(), String> {
    let run = Command::new("ip").args(args).stdin(Stdio::null()).output();
    let output = run.map_err(|e| format!("cannot run ip: {e}"))?;
    let why = String::from_utf8_lossy(&output.stderr);
    if output.status.success() { Ok(()) } else { Err(format!("ip {}: {why}", args.join(" "))) }
}

fn skip(why: &str) -> Option<Lan> {
    let what = format!("network namespaces cannot be made here (that takes root): {}", why.trim());
    assert!(std::env::var("CI").as_deref() != Ok("true"), "required, but {what}");
    let test = std::thread::current().name().unwrap_or("a test").to_string();
    // Not `eprintln!`, which the test runner keeps to itself when a test passes.
    let _ = writeln!(std::io::stderr(), "SKIPPED: {test}: {what}");
    None
}

#[test]
fn agents_of_one_cluster_find_each_other_and_nobody_else() {
    let Some(lan) = Lan::new(4) else { return };
    let home = |name: &str, host| lan.agent(name, host, &serf()).flag("-discover=home");
    let first = home("n1", 1).start();
    let second = home("n2", 2).start();
    let other = lan.agent("other", 3, &serf()).flag("-discover=office").start();
    let both = [("n1", "alive"), ("n2", "alive")];
    wait_until(within(30), "two agents found each other", || all_list(&[&first, &second], &both));
    assert!(first.log().contains("mDNS cluster: home"), "{}", first.log());

    // One that comes later is found by its own announcement, and by its own looking.
    let third = home("n3", 4).flag("-mdns-iface=eth0").flag("-mdns-disable-ipv6").start();
    let all = [("n1", "alive"), ("n2", "alive"), ("n3", "alive")];
    wait_until(within(30), "the third was found", || all_list(&[&first, &second, &third], &all));
    wait_until(soon(), "someone says whom it found", || {
        let logs = [&first, &second, &third].map(Agent::log).concat();
        match (logs.contains("agent.mdns: Discovered"), logs.contains("agent.mdns: Joined 1 hosts")) {
            (true, true) => Ok(()),
            seen => Err(format!("{seen:?}")),
        }
    });
    for agent in [&first, &second, &third] {
        let me = format!("joining: {}", agent.gossip());
        assert_eq!(agent.log_count(&me), 0, "{} joined itself", agent.name());
    }
    stays(Duration::from_secs(2), "the other cluster stays alone", || {
        all_list(&[&other], &[("other", "alive")])
    });
}

/// Both kinds announce and look for the same service. Whether the join succeeds is for the gossip
/// to say.
#[test]
fn ours_and_hashicorps_find_each_other() {
    let Some(theirs) = hashicorp_serf() else { return };
    let Some(lan) = Lan::new(2) else { return };
    let ours = lan.agent("ours", 1, &serf()).flag("-discover=mixed").start();
    let other = lan.agent("theirs", 2, &theirs).flag("-discover=mixed").start();
    wait_until(within(30), "ours found theirs", || {
        match ours.log_count(&format!("joining: {}", other.gossip())) {
            0 => Err("not yet".to_string()),
            _ => Ok(()),
        }
    });
    // HashiCorp's looks once when it starts, and again after a minute.
    wait_until(within(120), "theirs found ours", || {
        let log = other.log();
        let tried = log.lines().any(|l| {
            l.contains("mdns: Joined") || l.contains("mdns: Failed to join") && l.contains("10.213")
        });
        if tried { Ok(()) } else { Err("not yet".to_string()) }
    });
}

#[test]
fn settings_that_cannot_work_keep_the_agent_from_starting() {
    let net = common::Network::claim();
    for (flags, text) in [
        (&["-mdns-iface=lo"][..], "mDNS interface specified without enabling mDNS discovery"),
        (&["-discover=home", "-mdns-iface=nosuch0"], "Invalid mDNS network interface"),
        (&["-discover=home", "-mdns-disable-ipv4", "-mdns-disable-ipv6"], "both IPv4 and IPv6 are disabled"),
        (&["-discover=a.b"], "the cluster name 'a.b'"),
    ] {
        let spec = flags.iter().fold(net.agent("n", 1), |spec, flag| spec.flag(*flag));
        let answer = spec.run();
        assert_eq!(answer.code(), Some(1), "{answer}");
        assert!(answer.refused().contains(text), "{answer}");
    }
}
