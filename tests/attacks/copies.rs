//! Answers that are to be sent through others as well: how many copies one member sends has a limit.

use super::cluster::Cluster;
use super::health;
use super::watch::Watch;
use crate::harness::notes::note;
use crate::harness::stand_in::StandIn;
use crate::harness::{Network, all_see, settle, wait_until, within};
use serf::model::{LamportTime, Versions};
use serf::wire::Dialect;
use serf::wire::message::{Message, Query, SerfMessage, Source};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// Members that count what they are to pass on, at hosts .5 and on; each costs no more than a socket.
const COUNTING: u8 = 9;
const FIRST_HOST: u8 = 5;
/// The most copies of one answer.
const MOST: usize = 5;

#[test]
fn a_large_relay_factor_makes_few_copies() {
    let mut cluster = Cluster::start(Network::claim(), 3);
    let relays = Arc::<AtomicUsize>::default();
    let counting: Vec<StandIn> = (0..COUNTING)
        .map(|number| {
            let addr = cluster.net.gossip(FIRST_HOST + number);
            let member = StandIn::start(&format!("s{number}"), addr, Versions::OURS.to_bytes());
            member.join(cluster.agents[0].gossip(), Dialect::Native, vec![]);
            let relays = Arc::clone(&relays);
            member.react(Box::new(move |_, message| {
                if let Message::Serf(SerfMessage::Relay(_)) = message {
                    relays.fetch_add(1, Ordering::Relaxed);
                }
                vec![]
            }));
            member
        })
        .collect();
    let names: Vec<String> = (0..COUNTING).map(|number| format!("s{number}")).collect();
    let alive: Vec<_> = names.iter().map(|name| (name.as_str(), "alive")).collect();
    wait_until(within(90), "all agents know all", || all_see(&cluster.refs(), &alive));

    let asker = counting[0].row();
    let query = |ltime| Query {
        ltime: LamportTime(ltime),
        id: 7,
        source: Source { node: asker.node.clone(), addr: asker.addr },
        filters: vec![],
        ack: true,
        no_broadcast: true,
        relay_factor: 255,
        timeout_ms: 10_000,
        name: "load".into(),
        payload: vec![],
    };
    const QUERIES: usize = 10;
    let watch = Watch::start("a relay factor of 255", &cluster, 1);
    let insider = cluster.insider();
    for ltime in 1..=QUERIES as u64 {
        insider.say(cluster.agents[0].gossip(), Dialect::Native, query(ltime));
    }
    settle(Duration::from_secs(3), || false);
    watch.end();
    // Some go to the two others, which are not counted.
    let count = relays.load(Ordering::Relaxed);
    note(&format!("{count} copies of {QUERIES} answers went to {COUNTING} members"));
    assert!(count > 0, "answers are relayed");
    assert!(count <= QUERIES * MOST, "{count} copies of {QUERIES} answers");
    health::check_living(&mut cluster);
}
