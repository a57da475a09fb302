//! Queries that are open for an hour: the store of queries that may still be answered must not fill up.

use super::cluster::Cluster;
use super::health;
use super::insider::{name, packed};
use super::watch::Watch;
use crate::harness::Network;
use crate::harness::notes::note;
use crate::harness::rpc::client;
use serf::model::LamportTime;
use serf::rpc::record::QueryCall;
use serf::rpc::{QueryAnswer, Record};
use serf::wire::Dialect;
use serf::wire::message::{Message, Query, Source};
use std::time::{Duration, Instant};

const HOUR: Duration = Duration::from_secs(3600);

/// More than the store holds: 4,096.
const QUERIES: u32 = 4_700;
/// How many of them are open at a time.
const AT_ONCE: u32 = 100;
/// How long the client waits for the next answer before it hangs up.
const PATIENCE: Duration = Duration::from_secs(5);

#[test]
fn thousands_of_queries_with_an_hour_of_time_leave_room_for_others() {
    let mut cluster = Cluster::start(Network::claim_alone(), 3);
    let watch = Watch::start("4,700 queries over RPC", &cluster, 3);
    let start = Instant::now();
    let mut asker = client(&cluster.agents[0]);
    let timeout = i64::try_from(HOUR.as_nanos()).expect("it fits");
    let call = QueryCall { name: "load".into(), timeout, ..QueryCall::default() };
    for _ in 0..QUERIES / AT_ONCE {
        for _ in 0..AT_ONCE {
            asker.query(&call).expect("a query is asked");
        }
        let mut open = AT_ONCE;
        while open > 0 {
            match asker.next_record(Some(PATIENCE)) {
                Ok(Some((_, Record::Answer(QueryAnswer::Done)))) => open -= 1,
                Ok(Some(_)) => {}
                // Some do not answer: a client hangs up then.
                other => {
                    note(&format!("{open} of {AT_ONCE} queries do not end: {other:?}"));
                    asker = client(&cluster.agents[0]);
                    open = 0;
                }
            }
        }
    }
    note(&format!("{QUERIES} queries were asked within {:.1} s", start.elapsed().as_secs_f64()));
    watch.end();
    health::check(&mut cluster);
}

#[test]
fn datagrams_full_of_queries_leave_room_for_others() {
    let mut cluster = Cluster::start(Network::claim_alone(), 3);
    let watch = Watch::start("4,700 queries in datagrams", &cluster, 3);
    let insider = cluster.insider();
    let source = Source { node: name("n2"), addr: cluster.agents[1].gossip() };
    let query = |number: u32| {
        Message::from(Query {
            ltime: LamportTime(u64::from(1 + number / 40)),
            id: number,
            source: source.clone(),
            filters: vec![],
            ack: false,
            no_broadcast: false,
            relay_factor: 0,
            timeout_ms: HOUR.as_millis() as u64,
            name: "l".into(),
            payload: vec![],
        })
    };
    let datagrams = packed(Dialect::Native, (0..QUERIES).map(query));
    for datagram in &datagrams {
        insider.send(cluster.agents[0].gossip(), datagram);
    }
    let bytes: usize = datagrams.iter().map(Vec::len).sum();
    note(&format!("{} datagrams of {} bytes", datagrams.len(), bytes / datagrams.len()));
    watch.end();
    health::check(&mut cluster);
}
