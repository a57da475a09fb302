//! Numbers that only grow, pushed to their end by steps that are each believed: incarnations and
//! Lamport times. Nobody may be out of reach of accusations, events and intents after that.

use super::cluster::Cluster;
use super::health;
use super::insider::{Insider, fit_an_exchange, name, row};
use super::watch::Watch;
use crate::harness::Network;
use crate::harness::notes::note;
use serf::model::{Incarnation, LamportTime, UserEvent};
use serf::wire::Dialect;
use serf::wire::message::{PeerRow, PushPull, SerfState, Suspect};
use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

/// The largest steps that have ever been believed.
const INCARNATION_STEP: u32 = 1 << 23;
const LAMPORT_STEP: u64 = 1 << 40;

/// Between two accusations: what the accused says about one is to be heard before the next.
const SPACING: Duration = Duration::from_millis(10);

/// At most what such an entry of an exchange has, in bytes.
const EVENT_BYTES: usize = 13;
const ROW_BYTES: usize = 36;

#[test]
fn a_member_can_be_accused_after_its_incarnation_was_pushed_to_the_end() {
    let mut cluster = Cluster::start(Network::claim(), 4);
    let watch = Watch::start("512 suspicions", &cluster, 4);
    let insider = cluster.insider();
    for step in 1..=512_u32 {
        let incarnation = Incarnation(step.saturating_mul(INCARNATION_STEP).min(u32::MAX - 1));
        for agent in &cluster.agents {
            let suspect = Suspect { incarnation, node: name("n2"), from: name("n3") };
            insider.say(agent.gossip(), Dialect::Native, suspect);
        }
        thread::sleep(SPACING);
    }
    let row = insider.row_of("n2", cluster.agents[0].gossip());
    note(&format!("n1 has n2 {:?} in incarnation {}", row.state, row.incarnation));
    watch.end();
    health::check(&mut cluster);
}

/// All Lamport times that are believed one after the other, from one step on to the last of all.
fn steps() -> impl Iterator<Item = LamportTime> {
    (1..=u64::MAX / LAMPORT_STEP + 1).map(|step| LamportTime(step.saturating_mul(LAMPORT_STEP)))
}

/// Brings exchanges that hold an entry for each of the steps to an agent.
fn push(insider: &Insider, agent: SocketAddr, each: usize, state: impl Fn(&[LamportTime]) -> PushPull) {
    let (start, steps) = (Instant::now(), steps().collect::<Vec<_>>());
    let mut count = 0;
    for times in steps.chunks(each) {
        let answer = insider.exchange(agent, Dialect::Native, state(times));
        // It may refuse to go on with this.
        if let Err(why) = answer {
            note(&format!("exchange {count}: {why}"));
        }
        count += 1;
    }
    note(&format!("{count} exchanges took {:.1} s", start.elapsed().as_secs_f64()));
}

fn push_events(cluster: &Cluster, agent: usize) {
    // Coalesced, so that they cost the agent no line of its log each.
    let event =
        |ltime: &LamportTime| UserEvent { ltime: *ltime, name: "e".into(), payload: vec![], coalesce: true };
    push(&cluster.insider(), cluster.agents[agent].gossip(), fit_an_exchange(EVENT_BYTES), |times| {
        let serf = SerfState { events: times.iter().map(event).collect(), ..SerfState::default() };
        PushPull { serf, ..PushPull::default() }
    });
}

#[test]
fn events_are_delivered_once_after_their_clock_was_pushed_to_the_end() {
    let mut cluster = Cluster::start(Network::claim_alone(), 3);
    let watch = Watch::start("events at later and later times", &cluster, 3);
    push_events(&cluster, 0);
    watch.end();
    health::check(&mut cluster);
}

#[test]
fn events_are_delivered_once_after_the_clocks_of_all_were_pushed_to_the_end() {
    let mut cluster = Cluster::start(Network::claim_alone(), 3);
    let watch = Watch::start("events at later and later times, to all", &cluster, 3);
    thread::scope(|scope| {
        for agent in 0..3 {
            let cluster = &cluster;
            scope.spawn(move || push_events(cluster, agent));
        }
    });
    watch.end();
    health::check(&mut cluster);
}

#[test]
fn members_can_be_made_to_leave_after_the_clock_of_intents_was_pushed_to_the_end() {
    let mut cluster = Cluster::start(Network::claim_alone(), 3);
    let watch = Watch::start("intents at later and later times", &cluster, 3);
    let subject = row("n2", cluster.agents[1].gossip());
    push(&cluster.insider(), cluster.agents[0].gossip(), fit_an_exchange(ROW_BYTES), |times| {
        let row = |time: &LamportTime| PeerRow { status_ltime: *time, ..subject.clone() };
        PushPull { rows: times.iter().map(row).collect(), ..PushPull::default() }
    });
    watch.end();
    health::check(&mut cluster);
}
