//! What a healthy cluster does, looked at after each attack and in the same cluster: `n2` is the member
//! that an attack was about, and the one that crashes here; `n3` leaves.

use super::cluster::Cluster;
use crate::harness::notes::note;
use crate::harness::rpc::{Listener, client};
use crate::harness::{Agent, all_see, stays, wait_until, within};
use serf::rpc::QueryAnswer;
use serf::rpc::record::QueryCall;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// For everything that is to happen: far more than it takes, as the machine may be busy.
const PATIENCE: u64 = 90;
/// How long a second delivery of an event is waited for.
const ECHO_TIME: Duration = Duration::from_secs(2);
/// How long answers to a query are collected, if some are missing.
const QUERY_TIME: Duration = Duration::from_secs(15);

const SUBJECT: usize = 1;
const LEAVER: usize = 2;

/// Everything that a healthy cluster does.
#[track_caller]
pub(super) fn check(cluster: &mut Cluster) {
    let start = Instant::now();
    check_living(cluster);
    leaves_and_returns(cluster);
    crashes_and_returns(cluster);
    check_living(cluster);
    note(&format!("healthy afterwards, looked at for {:.0} s", start.elapsed().as_secs_f64()));
}

/// What a healthy cluster does while none of its members goes or comes.
#[track_caller]
pub(super) fn check_living(cluster: &mut Cluster) {
    wait_until(within(PATIENCE), "all agents run and list all as alive", || {
        cluster.all_run().unwrap_or_else(|e| panic!("{e}"));
        cluster.all_alive()
    });
    tags_are_seen(cluster);
    events_arrive_once(cluster);
    queries_are_answered(cluster);
}

/// A tag change of each member is seen by all.
#[track_caller]
fn tags_are_seen(cluster: &Cluster) {
    let change = unique("change");
    for agent in &cluster.agents {
        agent.ctl(&["tags", "-set", &format!("health={change}")]).ok();
    }
    wait_until(within(PATIENCE), "a tag change of each is seen by all", || {
        for viewer in &cluster.agents {
            let members = viewer.members()?;
            for name in cluster.names() {
                let tags = members.iter().find(|m| m.name == name).map(|m| m.tags.clone());
                let seen = tags.is_some_and(|tags| tags.iter().any(|(k, v)| k == "health" && *v == change));
                if !seen {
                    return Err(format!("{} does not see that of {name}", viewer.name()));
                }
            }
        }
        Ok(())
    });
}

/// An event of each member is delivered by each exactly once.
#[track_caller]
fn events_arrive_once(cluster: &Cluster) {
    let event = unique("event");
    let listeners: Vec<Listener> =
        cluster.agents.iter().map(|agent| Listener::new(agent, &format!("user:{event}"))).collect();
    for agent in &cluster.agents {
        client(agent).event(&event, agent.name().as_bytes(), false).expect("an event is sent");
    }
    wait_until(within(PATIENCE), "an event of each is delivered by each", || {
        deliveries(cluster, &listeners, |count| count >= 1)
    });
    stays(ECHO_TIME, "each is delivered once", || deliveries(cluster, &listeners, |count| count == 1));
}

fn deliveries(cluster: &Cluster, listeners: &[Listener], right: fn(usize) -> bool) -> Result<(), String> {
    for (agent, listener) in cluster.agents.iter().zip(listeners) {
        let mut counts: BTreeMap<Vec<u8>, usize> = BTreeMap::new();
        for event in listener.user_events() {
            *counts.entry(event.payload).or_default() += 1;
        }
        for name in cluster.names() {
            let count = counts.get(name.as_bytes()).copied().unwrap_or(0);
            if !right(count) {
                return Err(format!("{} has delivered the event of {name} {count} times", agent.name()));
            }
        }
    }
    Ok(())
}

/// A query of each member is heard and answered by all.
#[track_caller]
pub(super) fn queries_are_answered(cluster: &Cluster) {
    let names: BTreeSet<String> = cluster.names().into_iter().collect();
    for agent in &cluster.agents {
        wait_until(within(PATIENCE), &format!("a query of {} is answered by all", agent.name()), || {
            ask(agent, &names)
        });
    }
}

fn ask(agent: &Agent, names: &BTreeSet<String>) -> Result<(), String> {
    let timeout = i64::try_from(QUERY_TIME.as_nanos()).expect("it is short");
    let call = QueryCall { name: "health".into(), request_ack: true, timeout, ..QueryCall::default() };
    let (mut acks, mut answers) = (BTreeSet::new(), BTreeSet::new());
    let mut client = client(agent);
    for answer in client.ask(&call, Some(2 * QUERY_TIME)).map_err(|e| e.to_string())? {
        match answer.map_err(|e| e.to_string())? {
            QueryAnswer::Ack { from } => drop(acks.insert(from.to_lossy().into_owned())),
            QueryAnswer::Response { from, .. } => drop(answers.insert(from.to_lossy().into_owned())),
            QueryAnswer::Done => {}
        }
    }
    if names.is_subset(&acks) && names.is_subset(&answers) {
        return Ok(());
    }
    Err(format!("{} had acks of {acks:?} and answers of {answers:?}", agent.name()))
}

/// A member's leave is seen by all others, and it can come back.
#[track_caller]
fn leaves_and_returns(cluster: &mut Cluster) {
    let name = cluster.agents[LEAVER].name().to_string();
    cluster.agents[LEAVER].ctl(&["leave"]).ok();
    cluster.agents[LEAVER].wait_exit(within(PATIENCE));
    let left = format!("all see that {name} has left");
    wait_until(within(PATIENCE), &left, || all_see(&others(cluster, LEAVER), &[(&name, "left")]));
    start_again(cluster, LEAVER);
}

/// A crash is noticed by all others, `force-leave` makes it a leave, and the member can come back.
#[track_caller]
fn crashes_and_returns(cluster: &mut Cluster) {
    let name = cluster.agents[SUBJECT].name().to_string();
    cluster.agents[SUBJECT].kill();
    let start = Instant::now();
    let failed = format!("all see that {name} has failed");
    wait_until(within(PATIENCE), &failed, || all_see(&others(cluster, SUBJECT), &[(&name, "failed")]));
    note(&format!("its crash was seen by all within {:.1} s", start.elapsed().as_secs_f64()));
    cluster.agents[LEAVER].ctl(&["force-leave", &name]).ok();
    let left = format!("all see that {name} was made to leave");
    wait_until(within(PATIENCE), &left, || all_see(&others(cluster, SUBJECT), &[(&name, "left")]));
    start_again(cluster, SUBJECT);
}

#[track_caller]
fn start_again(cluster: &mut Cluster, index: usize) {
    let again = cluster.agents[index].spec().clone().start();
    cluster.agents[index] = again;
    let back = format!("all see that {} is back", cluster.agents[index].name());
    wait_until(within(PATIENCE), &back, || cluster.all_alive());
}

fn others(cluster: &Cluster, index: usize) -> Vec<&Agent> {
    let others = cluster.agents.iter().enumerate().filter(|(at, _)| *at != index);
    others.map(|(_, agent)| agent).collect()
}

/// A text that is not said twice in this process.
fn unique(what: &str) -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    format!("{what}-{}", COUNT.fetch_add(1, Ordering::Relaxed))
}
