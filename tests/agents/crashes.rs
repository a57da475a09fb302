//! Crashes: a process that is gone is known by its refused connections, one that is only silent is not.

use crate::harness::mixed_cluster::MixedCluster;
use crate::harness::peers::hashicorp_serf;
use crate::harness::rpc::counter;
use crate::harness::{
    Agent, AgentSpec, Network, Scratch, all_list, all_see, promised, soon, stays, wait_until,
};
use std::time::Duration;

const FIVE: [&str; 5] = ["n1", "n2", "n3", "n4", "n5"];

fn total(of: &str, agents: &[&Agent]) -> u64 {
    agents.iter().map(|agent| counter(agent, of)).sum()
}

fn agreed(agents: &[&Agent]) {
    let alive: Vec<(&str, &str)> = agents.iter().map(|agent| (agent.name(), "alive")).collect();
    wait_until(promised(5), "all agree", || all_list(agents, &alive));
}

#[test]
fn a_killed_process_is_known_by_its_refusals() {
    let net = Network::claim();
    let [n1, n2, n3, n4, mut n5] = net.cluster(FIVE);
    agreed(&[&n1, &n2, &n3, &n4, &n5]);
    n5.kill();
    let others = [&n1, &n2, &n3, &n4];
    wait_until(promised(6), "the others see it", || all_see(&others, &[("n5", "failed")]));
    assert!(total("crashes", &others) > 0, "none of them saw it by refusals");
    assert_eq!(others.map(|agent| agent.failures_reported("n5")), [1; 4]);
}

/// A paused process still has its sockets: the kernel accepts what it does not take.
#[test]
fn a_paused_process_has_not_crashed() {
    let net = Network::claim();
    let [n1, n2, n3, n4, mut n5] = net.cluster(FIVE);
    agreed(&[&n1, &n2, &n3, &n4, &n5]);
    n5.send_signal("STOP");
    let others = [&n1, &n2, &n3, &n4];
    wait_until(promised(30), "the others see it", || all_see(&others, &[("n5", "failed")]));
    n5.send_signal("CONT");
    assert_eq!(total("crashes", &others), 0);
}

/// It is killed, its host refuses a connection, and it is started again at once.
#[test]
fn a_process_that_is_started_anew_at_once_goes_on_unnoticed() {
    let net = Network::claim_alone();
    let scratch = Scratch::new("anew");
    let snapshot = |spec: AgentSpec| {
        let path = scratch.path().join(spec.gossip().ip().to_string());
        spec.flag(format!("-snapshot={}", path.display()))
    };
    let [n1, n2, n3, n4, mut n5] = net.cluster_with(FIVE, snapshot);
    let others = [&n1, &n2, &n3, &n4];
    for _ in 0..3 {
        agreed(&[&n1, &n2, &n3, &n4, &n5]);
        let before = total("streams_failed", &others);
        n5.kill();
        wait_until(soon(), "a connection is refused", || match total("streams_failed", &others) {
            failed if failed > before => Ok(()),
            _ => Err("none yet".to_string()),
        });
        n5 = n5.spec().start();
        stays(Duration::from_secs(4), "nobody takes it for failed", || {
            match others.map(|agent| agent.failures_reported("n5")) {
                [0, 0, 0, 0] => Ok(()),
                reported => Err(format!("{reported:?}")),
            }
        });
    }
    assert_eq!(total("crashes", &others), 0);
}

#[test]
fn without_crash_patience_a_refusal_counts_as_silence() {
    let net = Network::claim();
    let scratch = Scratch::new("off");
    let config = scratch.file("off.json", r#"{ "crash_patience": "0s" }"#);
    let [n1, n2, n3, n4, mut n5] = net.cluster_with(FIVE, |spec| spec.flag(format!("-config-file={config}")));
    agreed(&[&n1, &n2, &n3, &n4, &n5]);
    n5.kill();
    let others = [&n1, &n2, &n3, &n4];
    wait_until(promised(30), "the others see it", || all_see(&others, &[("n5", "failed")]));
    assert_eq!(total("crashes", &others), 0);
}

/// HashiCorp's agents find no crashes so. Theirs are found, they hear of all, and nothing that they are sent
/// is strange to them.
#[test]
fn crashes_of_either_kind_are_known_in_a_mixed_cluster() {
    let Some(theirs) = hashicorp_serf() else { return };
    let mut mixed = MixedCluster::start(&theirs, &["o1", "h1", "o2", "h2", "o3", "o4", "o5"], &[]);
    for gone in ["h2", "o5"] {
        mixed.kill(gone);
        wait_until(promised(8), "everyone sees it", || all_see(&mixed.present(), &[(gone, "failed")]));
        let saw = |agent: &Agent| agent.log_count(&format!("Marking {gone} as failed, it has refused")) > 0;
        let saw = mixed.present().into_iter().any(saw);
        assert!(saw, "none of ours saw by refusals that {gone} has crashed");
    }
    mixed.nobody_complains();
}
