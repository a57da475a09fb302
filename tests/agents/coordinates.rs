//! Network coordinates and `rtt`: agents learn where others are, and tell it to our command and to
//! HashiCorp's alike.

use crate::harness::peers::hashicorp_serf;
use crate::harness::{Agent, Answer, Network, all_list, serf, serf_ctl, soon, wait_until, within};
use std::path::Path;

/// The milliseconds in `Estimated n1 <-> n2 rtt: 0.420 ms`, which must be all of the output.
fn estimate(answer: &Answer, first: &str, second: &str) -> Result<f64, String> {
    let number = answer
        .stdout
        .strip_prefix(&format!("Estimated {first} <-> {second} rtt: "))
        .and_then(|rest| rest.strip_suffix(" ms\n"))
        .filter(|number| number.split_once('.').is_some_and(|(_, decimals)| decimals.len() == 3));
    let parsed = number.and_then(|number| number.parse().ok());
    parsed.filter(|_| answer.code() == Some(0)).ok_or_else(|| answer.to_string())
}

/// Polls `rtt` until there is an estimate that could be a round trip on loopback, however busy
/// the machine is.
#[track_caller]
fn wait_for_estimate(agent: &Agent, program: &Path, first: &str, second: &str) {
    wait_until(within(60), &format!("{} estimates {first} to {second}", agent.name()), || {
        let ms = estimate(&agent.ctl_with(program, &["rtt", first, second]), first, second)?;
        if ms > 0.0 && ms < 500.0 { Ok(()) } else { Err(format!("{ms} ms on loopback")) }
    });
}

#[test]
fn agents_estimate_round_trips_between_any_two() {
    let net = Network::claim();
    let names = ["n1", "n2", "n3", "n4"];
    let agents = net.cluster(names);
    wait_until(soon(), "four agents agree", || {
        all_list(&agents.each_ref(), &names.map(|name| (name, "alive")))
    });
    for program in [Some(serf()), Some(serf_ctl()), hashicorp_serf()].into_iter().flatten() {
        wait_for_estimate(&agents[0], &program, "n2", "n3");
        wait_for_estimate(&agents[3], &program, "n1", "n4");
        // The second is the agent itself unless given.
        wait_until(soon(), "one name is enough", || {
            estimate(&agents[0].ctl_with(&program, &["rtt", "n2"]), "n2", "n1")
        });
    }
    for agent in &agents {
        assert_eq!(agent.info("serf", "coordinate_resets"), Ok("0".to_string()));
    }
}

#[test]
fn what_rtt_cannot_tell_is_an_error() {
    let net = Network::claim();
    let alone = net.agent("n1", 1).start();
    // Before any observation, everyone is at the origin, and 10 µs above it.
    for program in [Some(serf_ctl()), hashicorp_serf()].into_iter().flatten() {
        let own = alone.ctl_with(&program, &["rtt", "n1"]);
        assert_eq!(own.ok(), "Estimated n1 <-> n1 rtt: 0.020 ms\n");
        let unknown = alone.ctl_with(&program, &["rtt", "n1", "no\"body"]);
        assert!(
            unknown.refused().trim_end().ends_with("Could not find a coordinate for node \"no\\\"body\""),
            "{unknown}"
        );
        for args in [&["rtt"][..], &["rtt", "a", "b", "c"]] {
            let misused = alone.ctl_with(&program, args).refused();
            assert!(misused.contains("One or two node names must be specified"), "{misused}");
        }
    }
}

/// HashiCorp's agents are asked by our command as by theirs.
#[test]
fn our_rtt_asks_hashicorps_agents() {
    let Some(theirs) = hashicorp_serf() else { return };
    let net = Network::claim();
    let h1 = net.agent("h1", 1).program(&theirs).start();
    let h2 = net.agent("h2", 2).program(&theirs).join(net.gossip(1)).start();
    wait_until(soon(), "the two agree", || all_list(&[&h1, &h2], &[("h1", "alive"), ("h2", "alive")]));
    wait_for_estimate(&h1, &serf_ctl(), "h2", "h1");
    // Coordinates move with every probe; between two probes both programs say the same.
    wait_until(soon(), "both programs say the same", || {
        let (ours, expected) = (h1.ctl(&["rtt", "h2"]), h1.ctl_with(&theirs, &["rtt", "h2"]));
        if ours.ok() == expected.ok() { Ok(()) } else { Err(format!("{ours}\n{expected}")) }
    });
    let nobody = h1.ctl(&["rtt", "nobody"]);
    assert!(
        nobody.refused().trim_end().ends_with("Could not find a coordinate for node \"nobody\""),
        "{nobody}"
    );
}
