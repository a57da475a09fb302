//! Two agents with one name: who stays, who ends, and what they say about it.

use crate::harness::{
    Agent, AgentSpec, Network, Scratch, all_have, all_list, soon, stays, wait_until, within,
};
use std::time::Duration;

/// A vote begins nine seconds after the conflict was noticed, in the local profile.
fn local(spec: AgentSpec) -> AgentSpec {
    spec.flag("-profile=local")
}

/// The lines of an agent's log that hold all of these texts.
fn lines_with(agent: &Agent, parts: &[&str]) -> usize {
    agent.log().lines().filter(|line| parts.iter().all(|part| line.contains(part))).count()
}

#[test]
fn the_majority_keeps_the_one_it_knows_and_the_other_ends() {
    let net = Network::claim();
    let [n1, n2, n3, mut first] = net.cluster_with(["n1", "n2", "n3", "twin"], local);
    let all = [("n1", "alive"), ("n2", "alive"), ("n3", "alive"), ("twin", "alive")];
    wait_until(soon(), "four agents agree", || all_list(&[&n1, &n2, &n3, &first], &all));

    let (ours, theirs) = (net.gossip(4).to_string(), net.gossip(9).to_string());
    let mut second = local(net.agent("twin", 9)).join(net.gossip(2)).start();
    let status = second.wait_exit(within(60));
    assert_eq!(status.code(), Some(1), "exit code of the one in the minority");
    for place in ["[ERR] serf: Name conflict for 'twin'", "==> Name conflict for 'twin'"] {
        assert_eq!(lines_with(&second, &[place, &ours, &theirs, "minority"]), 1, "{}", second.log());
    }

    assert!(first.is_running());
    wait_until(within(30), "the other has had its vote and says so", || {
        match lines_with(&first, &["majority in name conflict resolution"]) {
            1 => Ok(()),
            n => Err(format!("{n} lines")),
        }
    });
    all_have(&[&n1, &n2, &n3, &first], "twin", &ours).unwrap();
    for agent in [&n1, &n2, &n3, &first] {
        assert_eq!(agent.failures_reported("twin"), 0, "{}", agent.name());
        // Whoever heard of it has said so, once.
        let lines = lines_with(agent, &["onflict", &ours, &theirs, "claim"]);
        assert!(lines <= 1, "{} lines at {}:\n{}", lines, agent.name(), agent.log());
    }
    assert_eq!(lines_with(&n2, &["Name conflict for 'twin'", &ours, &theirs]), 1, "{}", n2.log());
    assert_eq!(lines_with(&first, &["Node name conflicts", &ours, &theirs]), 1, "{}", first.log());
}

#[test]
fn where_nobody_else_is_both_stay_and_say_so() {
    let net = Network::claim();
    let mut first = local(net.agent("twin", 1)).start();
    let mut second = local(net.agent("twin", 2)).join(net.gossip(1)).start();
    for agent in [&first, &second] {
        wait_until(within(60), "the vote is over", || match agent.log_count("decided nothing") {
            0 => Err("it is not".to_string()),
            _ => Ok(()),
        });
        let (a, b) = (net.gossip(1).to_string(), net.gossip(2).to_string());
        assert_eq!(lines_with(agent, &["Node name conflicts", &a, &b]), 1, "{}", agent.log());
    }
    assert!(first.is_running() && second.is_running());
}

#[test]
fn with_resolution_disabled_both_stay_and_say_so() {
    let net = Network::claim();
    let scratch = Scratch::new("conflict");
    let file = scratch.file("serf.json", r#"{"disable_name_resolution": true}"#);
    let disabled = |spec: AgentSpec| local(spec).flag(format!("-config-file={file}"));
    let [n1, n2, mut first] = net.cluster_with(["n1", "n2", "twin"], disabled);
    let all = [("n1", "alive"), ("n2", "alive"), ("twin", "alive")];
    wait_until(soon(), "three agents agree", || all_list(&[&n1, &n2, &first], &all));

    let (ours, theirs) = (net.gossip(3).to_string(), net.gossip(9).to_string());
    let mut second = disabled(net.agent("twin", 9)).join(net.gossip(1)).start();
    for agent in [&first, &second] {
        wait_until(soon(), "both say so", || {
            match lines_with(
                agent,
                &["Node name conflicts", &ours, &theirs, "Resolution enabled: false; both stay"],
            ) {
                1 => Ok(()),
                n => Err(format!("{n} lines")),
            }
        });
    }
    // Longer than a vote would take to begin and to end.
    stays(Duration::from_secs(14), "both stay", || {
        all_have(&[&n1, &n2, &first], "twin", &ours)?;
        all_have(&[&second], "twin", &theirs)
    });
    assert!(first.is_running() && second.is_running());
}

/// A container that is started again gets another address. Its former life is still taken for
/// alive when it comes back, and is no reason to end it.
#[test]
fn a_member_that_returns_at_another_address_survives_its_former_life() {
    let net = Network::claim();
    let [n1, n2, mut old] = net.cluster_with(["n1", "n2", "phoenix"], local);
    let all = [("n1", "alive"), ("n2", "alive"), ("phoenix", "alive")];
    wait_until(soon(), "three agents agree", || all_list(&[&n1, &n2, &old], &all));
    old.kill();

    let mut new = local(net.agent("phoenix", 9)).join(net.gossip(1)).start();
    let addr = net.gossip(9).to_string();
    wait_until(within(120), "everyone has it at its new address", || {
        if !new.is_running() {
            panic!("it was ended:\n{}", new.log());
        }
        all_have(&[&n1, &n2, &new], "phoenix", &addr)
    });
    assert_eq!(new.log_count("minority"), 0);
    stays(Duration::from_secs(2), "it stays", || all_have(&[&n1, &n2, &new], "phoenix", &addr));
}
