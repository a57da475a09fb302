//! Events that no handler can be given.

use super::cluster::Cluster;
use super::health;
use super::watch::Watch;
use crate::harness::notes::note;
use crate::harness::rpc::client;
use crate::harness::{Agent, AgentSpec, Network, wait_until, within};

/// A process cannot be given such a name: each time the handler cannot be run.
#[test]
fn names_that_no_handler_can_be_given_do_not_fill_the_log() {
    const EVENTS: usize = 1_000;
    const COMPLAINTS: usize = 50;
    let with_handler = |spec: AgentSpec, _| spec.flag("-event-handler=user=cat > /dev/null");
    let mut cluster = Cluster::with(Network::claim(), 3, with_handler);
    let complaints = |cluster: &Cluster| {
        let count = |agent: &Agent| agent.log_count("[ERR]") + agent.log_count("[WARN]");
        cluster.agents.iter().map(count).collect::<Vec<_>>()
    };
    let before = complaints(&cluster);
    let watch = Watch::start("events with NUL in their names", &cluster, 3);
    let mut client = client(&cluster.agents[0]);
    for number in 0..EVENTS {
        client.event(format!("nul\0{number}"), b"", false).expect("an event is sent");
    }
    for agent in &cluster.agents {
        wait_until(within(90), &format!("{} has heard of all", agent.name()), || {
            let count = agent.log_count("Received event: user-event: nul");
            if count >= EVENTS { Ok(()) } else { Err(count.to_string()) }
        });
    }
    watch.end();
    let after = complaints(&cluster);
    note(&format!("lines of warnings and errors: {before:?} before, {after:?} after {EVENTS} events"));
    health::check(&mut cluster);
    assert!(
        after.iter().zip(&before).all(|(after, before)| after - before <= COMPLAINTS),
        "{before:?} before, {after:?} after; {}",
        cluster.agents[0].log().lines().rfind(|line| line.contains("[ERR]")).unwrap_or_default()
    );
}
