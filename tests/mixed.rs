//! Clusters of our agents and HashiCorp's: each kind is an ordinary member to the other.
//!
//! Most tests end by searching the logs for errors and warnings that the other kind could have
//! caused (`nobody_complains`); what a test brings about itself is excused by name.
#![allow(clippy::disallowed_methods, reason = "tests read clocks, files and sockets; rules do not")]

mod common;

use common::peers::hashicorp_serf;
use common::{
    Agent, AgentSpec, Network, Signal, all_list, all_see, promised, serf, soon, stays, wait_until, within,
};
use std::path::Path;
use std::time::Duration;

const KEY: &str = "5wMT8rBJWKZrcnNoPzYVGQ==";

/// A cluster of both kinds: names that begin with `h` are HashiCorp's.
struct Mixed {
    agents: Vec<Agent>,
}

impl Mixed {
    /// Starts the agents one after the other; each joins through the one before it, so that both
    /// kinds are joined through.
    fn start(theirs: &Path, net: &Network, names: &[&str], flags: &[&str]) -> Mixed {
        let mut agents: Vec<Agent> = Vec::new();
        for (name, host) in names.iter().zip(1..) {
            let mut spec = spec(theirs, net, name, host, flags);
            if let Some(last) = agents.last() {
                spec = spec.join(last.gossip());
            }
            agents.push(spec.start());
        }
        let mixed = Mixed { agents };
        let alive: Vec<(&str, &str)> = names.iter().map(|name| (*name, "alive")).collect();
        wait_until(promised(10), "both kinds agree on who is here", || all_list(&mixed.all(), &alive));
        mixed
    }

    fn all(&self) -> Vec<&Agent> {
        self.agents.iter().collect()
    }

    fn of(&self, name: &str) -> &Agent {
        self.agents.iter().find(|agent| agent.name() == name).expect("it was started")
    }

    fn remove(&mut self, name: &str) -> Agent {
        let at = self.agents.iter().position(|agent| agent.name() == name).expect("it was started");
        self.agents.remove(at)
    }

    /// Whether no agent of HashiCorp's has complained about anything but what the test brought
    /// about, which `excused` names.
    fn nobody_complains(&self, excused: &[&str]) {
        // Of its own making: scripts that do not read what they are given.
        let own = ["Error writing payload", "Error invoking script"];
        for agent in &self.agents {
            let log = agent.log();
            let complaint = |line: &&str| {
                ["[ERR]", "[WARN]"].iter().any(|level| line.contains(level))
                    && !own.iter().chain(excused).any(|known| line.contains(known))
            };
            let complaints: Vec<&str> = log.lines().filter(complaint).collect();
            assert!(complaints.is_empty(), "{} complains: {complaints:#?}", agent.name());
        }
    }
}

fn spec(theirs: &Path, net: &Network, name: &str, host: u8, flags: &[&str]) -> AgentSpec {
    let program = if name.starts_with('h') { theirs } else { &serf() };
    let kind = &name[..1];
    let spec = net.agent(name, host).program(program).tag("kind", kind).flag("-log-level=debug");
    let spec = spec.flag("-event-handler=query:load=cat >/dev/null; echo up");
    let spec = spec.flag("-event-handler=user:deploy=echo handled: `cat`");
    flags.iter().fold(spec, |spec, flag| spec.flag(*flag))
}

/// Whether each agent's handler ran exactly once for this payload.
fn handled_once(mixed: &Mixed, payload: &str) -> Result<(), String> {
    let line = format!("handled: {payload}");
    match mixed.agents.iter().find(|agent| agent.log_count(&line) != 1) {
        Some(agent) => Err(format!("{} times at {}", agent.log_count(&line), agent.name())),
        None => Ok(()),
    }
}

/// Asks, and compares who answered with the expectation. HashiCorp's gossip passes a member by now
/// and then, so there is another try.
fn answered_by(agent: &Agent, arguments: &[&str], expected: &[&str]) {
    wait_until(within(30), "everyone who is asked answers", || {
        let args = [&["query", "-timeout=2s", "-format=json"], arguments].concat();
        let json = agent.ctl(&args);
        let json: serde_json::Value = serde_json::from_str(json.ok()).map_err(|e| e.to_string())?;
        let names = |value: &serde_json::Value| {
            let mut names: Vec<String> = match value {
                serde_json::Value::Object(map) => map.keys().cloned().collect(),
                serde_json::Value::Array(list) => {
                    list.iter().filter_map(|v| v.as_str().map(str::to_string)).collect()
                }
                _ => Vec::new(),
            };
            names.sort();
            names
        };
        if names(&json["Acks"]) == expected && names(&json["Responses"]) == expected {
            Ok(())
        } else {
            Err(json.to_string())
        }
    });
}

const THREE_AND_THREE: [&str; 6] = ["h1", "o1", "h2", "o2", "o3", "h3"];

#[test]
fn three_and_three_live_together() {
    let Some(theirs) = hashicorp_serf() else { return };
    live_together(&theirs, &[]);
}

#[test]
fn three_and_three_live_together_encrypted() {
    let Some(theirs) = hashicorp_serf() else { return };
    live_together(&theirs, &[&format!("-encrypt={KEY}"), "-profile=local"]);
}

#[test]
fn three_and_three_live_together_uncompressed() {
    let Some(theirs) = hashicorp_serf() else { return };
    live_together(&theirs, &["-disable-compression", "-profile=local"]);
}

/// Events, queries, tags, crashes, force-leave, prune and leave, each from either kind.
fn live_together(theirs: &Path, flags: &[&str]) {
    let net = Network::claim();
    let mut mixed = Mixed::start(theirs, &net, &THREE_AND_THREE, flags);

    mixed.of("h1").ctl(&["event", "deploy", "theirs"]).ok();
    mixed.of("o1").ctl(&["event", "-coalesce=false", "deploy", "ours"]).ok();
    for payload in ["theirs", "ours"] {
        wait_until(soon(), "each handler runs once", || handled_once(&mixed, payload));
    }
    for from in ["h1", "o1"] {
        let from = mixed.of(from);
        answered_by(from, &["load"], &["h1", "h2", "h3", "o1", "o2", "o3"]);
        answered_by(from, &["-tag=kind=h", "load"], &["h1", "h2", "h3"]);
        answered_by(from, &["-node=o2", "-node=h2", "-relay-factor=2", "load"], &["h2", "o2"]);
        wait_until(within(30), "everyone can be reached", || {
            let reached = from.ctl(&["reachability"]);
            let well = reached.stdout.contains("Successfully contacted all live nodes");
            if well { Ok(()) } else { Err(reached.to_string()) }
        });
    }
    // Asking natives and others: what only natives say is not waited for.
    for tagged in ["h2", "o2"] {
        mixed.of(tagged).ctl(&["tags", "-set", "role=changed"]).ok();
        wait_until(soon(), "everyone sees the tag", || sees_tag(&mixed, tagged));
    }
    assert_eq!(mixed.of("o1").info("serf", "native_members").as_deref(), Ok("3"));
    assert_eq!(mixed.of("o1").info("serf", "hashicorp_members").as_deref(), Ok("3"));
    let detailed = mixed.of("o1").ctl(&["members", "-detailed"]);
    let speaks = |name: &str| detailed.stdout.lines().any(|l| l.starts_with(name) && l.ends_with("native"));
    assert!(speaks("o2") && !speaks("h2"), "{detailed}");
    mixed.nobody_complains(&[]);

    for name in ["h3", "o3"] {
        mixed.remove(name).kill();
    }
    let rest = |status| [("h1", "alive"), ("h3", status), ("o1", "alive"), ("o3", status)];
    wait_until(promised(20), "both kinds notice the crashes", || all_see(&mixed.all(), &rest("failed")));
    mixed.of("h1").ctl(&["force-leave", "o3"]).ok();
    mixed.of("o1").ctl(&["force-leave", "h3"]).ok();
    wait_until(soon(), "both kinds hear of force-leave", || all_see(&mixed.all(), &rest("left")));
    mixed.of("h1").ctl(&["force-leave", "-prune", "h3"]).ok();
    mixed.of("o1").ctl(&["force-leave", "-prune", "o3"]).ok();
    let alive = [("h1", "alive"), ("h2", "alive"), ("o1", "alive"), ("o2", "alive")];
    wait_until(soon(), "both kinds forget who is pruned", || all_list(&mixed.all(), &alive));
    for name in ["h2", "o2"] {
        let mut leaver = mixed.remove(name);
        leaver.ctl(&["leave"]).ok();
        leaver.wait_exit(soon());
    }
    let left = [("h1", "alive"), ("h2", "left"), ("o1", "alive"), ("o2", "left")];
    wait_until(soon(), "both kinds see who left", || all_list(&mixed.all(), &left));
    mixed.nobody_complains(&["h3", "o3", "Failed fallback ping", "was able to connect"]);
}

fn sees_tag(mixed: &Mixed, of: &str) -> Result<(), String> {
    for agent in &mixed.agents {
        let members = agent.members()?;
        let changed = ("role".to_string(), "changed".to_string());
        if !members.iter().any(|m| m.name == of && m.tags.contains(&changed)) {
            return Err(format!("{} does not", agent.name()));
        }
    }
    Ok(())
}

#[test]
fn a_pause_of_three_seconds_is_refuted_both_ways() {
    let Some(theirs) = hashicorp_serf() else { return };
    let net = Network::claim();
    let mut mixed = Mixed::start(&theirs, &net, &THREE_AND_THREE, &[]);
    for name in ["h3", "o3"] {
        let at = mixed.agents.iter().position(|agent| agent.name() == name).expect("it was started");
        mixed.agents[at].signal(Signal::Stop);
        stays(Duration::from_secs(3), "nobody is reported during the pause", || nobody_failed(&mixed));
        mixed.agents[at].signal(Signal::Continue);
        stays(Duration::from_secs(6), "nobody is reported after the pause", || nobody_failed(&mixed));
    }
    let alive = THREE_AND_THREE.map(|name| (name, "alive"));
    wait_until(soon(), "all are alive to all", || all_list(&mixed.all(), &alive));
    // The pause itself shows; what a paused process refutes is said of it with reason.
    mixed.nobody_complains(&["Refuting a suspect message", "allback ping", "did not run for"]);
}

fn nobody_failed(mixed: &Mixed) -> Result<(), String> {
    for agent in &mixed.agents {
        if let Some(line) = agent.log().lines().find(|line| line.contains("EventMemberFailed")) {
            return Err(format!("{} logged: {line}", agent.name()));
        }
    }
    Ok(())
}

#[test]
fn one_among_nine_and_nine_around_one() {
    let Some(theirs) = hashicorp_serf() else { return };
    for (one, others) in [("o", "h"), ("h", "o")] {
        let net = Network::claim();
        let mut names: Vec<String> = (1..10).map(|i| format!("{others}{i}")).collect();
        names.insert(4, format!("{one}0"));
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let mixed = Mixed::start(&theirs, &net, &names, &[]);
        stays(Duration::from_secs(5), "nobody is reported failed", || nobody_failed(&mixed));
        mixed.nobody_complains(&[]);
    }
}

/// HashiCorp's agents forget the dead, and begin with their first incarnation when they return.
#[test]
fn who_was_killed_comes_back_as_either_kind() {
    let Some(theirs) = hashicorp_serf() else { return };
    let net = Network::claim();
    let mut mixed = Mixed::start(&theirs, &net, &["h1", "o1", "h2", "o2"], &["-profile=local"]);
    for (name, host) in [("h2", 3), ("o2", 4)] {
        // A few incarnations, so that the first one is long over.
        for value in ["1", "2", "3"] {
            mixed.of(name).ctl(&["tags", "-set", &format!("life={value}")]).ok();
        }
        mixed.remove(name).kill();
        wait_until(promised(20), "it is seen as failed", || all_see(&mixed.all(), &[(name, "failed")]));
        let through = mixed.of("h1").gossip();
        mixed.agents.push(spec(&theirs, &net, name, host, &["-profile=local"]).join(through).start());
        wait_until(promised(10), "it is back", || all_see(&mixed.all(), &[(name, "alive")]));
    }
    // One host changes kind: same name, same address.
    mixed.remove("h2").kill();
    wait_until(promised(20), "it is seen as failed", || all_see(&mixed.all(), &[("h2", "failed")]));
    let through = mixed.of("h1").gossip();
    let ours = spec(&theirs, &net, "h2", 3, &["-profile=local"]).program(&serf());
    mixed.agents.push(ours.join(through).start());
    wait_until(promised(10), "its successor is there", || all_see(&mixed.all(), &[("h2", "alive")]));
    wait_until(soon(), "it is known to speak native", || {
        match mixed.of("o1").info("serf", "native_members") {
            Ok(n) if n == "3" => Ok(()),
            other => Err(format!("{other:?}")),
        }
    });
}

#[test]
fn a_cluster_of_ours_alone_speaks_native_after_first_contact() {
    let net = Network::claim();
    let agents = net.cluster(["n1", "n2", "n3"]);
    let alive = [("n1", "alive"), ("n2", "alive"), ("n3", "alive")];
    wait_until(soon(), "three agree", || all_list(&agents.each_ref(), &alive));
    let count = |agent: &Agent, what: &str| -> u64 {
        agent.info("counters", what).map_or(0, |text| text.parse().expect("a counter is a number"))
    };
    let foreign =
        |agent: &Agent| count(agent, "datagrams_sent_hashicorp") + count(agent, "streams_sent_hashicorp");
    let before: Vec<u64> = agents.iter().map(foreign).collect();
    let start: Vec<u64> = agents.iter().map(|agent| count(agent, "datagrams_sent_native")).collect();
    agents[0].ctl(&["event", "something", "is said"]).ok();
    wait_until(soon(), "they have talked", || {
        let talked = |(agent, start): (&Agent, &u64)| count(agent, "datagrams_sent_native") >= start + 5;
        if agents.iter().zip(&start).all(talked) { Ok(()) } else { Err("not yet".into()) }
    });
    assert_eq!(agents.iter().map(foreign).collect::<Vec<_>>(), before, "first contact is over");
}

#[test]
fn native_only_refuses_the_other_dialect() {
    let Some(theirs) = hashicorp_serf() else { return };
    let net = Network::claim();
    let n1 = net.agent("n1", 1).flag("-native-only").start();
    let n2 = net.agent("n2", 2).flag("-native-only").join(net.gossip(1)).start();
    let both = [("n1", "alive"), ("n2", "alive")];
    wait_until(soon(), "ours join each other", || all_list(&[&n1, &n2], &both));
    let h1 = net.agent("h1", 3).program(&theirs).start();
    let refused = h1.ctl(&["join", &net.gossip(1).to_string()]);
    assert!(refused.refused().contains("native_only"), "it is told why: {refused}");
    n1.ctl(&["join", &net.gossip(3).to_string()]).refused();
    wait_until(soon(), "it is counted", || match n1.info("counters", "refused_foreign") {
        Ok(_) => Ok(()),
        Err(e) => Err(e),
    });
    assert_eq!(all_list(&[&n1, &n2], &both), Ok(()));
}
