//! Members that were invented, and messages about them: an agent that knows many has to answer pings
//! all the same. How soon a crash among so many is noticed is not looked at: their probes come in turn.

use super::attack_time;
use super::cluster::Cluster;
use super::insider::{Insider, claim, invented, invented_name, name, packed};
use super::watch::Watch;
use crate::harness::notes::note;
use crate::harness::{Agent, Network, wait_until, within};
use serf::model::{Incarnation, LamportTime, Versions};
use serf::wire::message::{JoinIntent, LeaveIntent, Message, PeerRow, Suspect};
use serf::wire::{Dialect, encode};
use std::time::{Duration, Instant};

/// Messages a second to each agent.
const RATE: u32 = 1_500;

/// A cluster of three that all know so many members that do not exist.
fn crowded(count: u32) -> (Cluster, Insider) {
    crowded_with(invented(count, 10))
}

fn crowded_with(rows: Vec<PeerRow>) -> (Cluster, Insider) {
    let cluster = Cluster::start(Network::claim_apart_alone(), 3);
    let (insider, count) = (cluster.insider(), rows.len() as u32);
    for agent in &cluster.agents {
        insider.invent(agent.gossip(), &rows);
    }
    for agent in &cluster.agents {
        wait_until(within(90), "most of them are known", || knows(agent, count));
    }
    (cluster, insider)
}

fn knows(agent: &Agent, count: u32) -> Result<(), String> {
    let members = agent.info("serf", "members")?;
    // Some have been found to be dead by now.
    if members.parse::<u32>().is_ok_and(|known| known >= count / 10 * 9) { Ok(()) } else { Err(members) }
}

/// Says messages to all agents for a while, which have to answer pings meanwhile and commands afterwards.
fn flood(attack: &str, cluster: &mut Cluster, insider: &Insider, message: impl Fn(u32) -> Message) {
    let watch = Watch::start(attack, cluster, 3);
    let next = |number| encode(Dialect::Native, &message(number));
    let sent = insider.say_at_rate(&cluster.addrs(), RATE, attack_time(), next);
    note(&format!("{attack}: {sent} messages to each"));
    for figures in watch.end() {
        figures.assert_responsive();
    }
    wait_until(within(60), "all agents run and list each other as alive", || {
        cluster.all_run()?;
        cluster.all_alive()
    });
}

/// Intents, by turns to join and to leave, about one of so many after the other.
fn intent(number: u32, count: u32) -> Message {
    let ltime = LamportTime(u64::from(10 + number));
    let node = name(&invented_name(number * 7 % count));
    if number.is_multiple_of(2) {
        JoinIntent { ltime, node }.into()
    } else {
        LeaveIntent { ltime, node, prune: false }.into()
    }
}

#[test]
fn intents_about_fifty_thousand_invented_members_leave_time_for_pings() {
    const COUNT: u32 = 50_000;
    let (mut cluster, insider) = crowded(COUNT);
    flood("1,500 intents a second about 50,000", &mut cluster, &insider, |number| intent(number, COUNT));
}

/// Members that are about to leave are passed over where somebody that stays is looked for.
#[test]
fn intents_about_fifty_thousand_leaving_members_leave_time_for_pings() {
    const COUNT: u32 = 50_000;
    let rows = invented(COUNT, 10).into_iter().map(|row| PeerRow { leaving: true, ..row }).collect();
    let (mut cluster, insider) = crowded_with(rows);
    let attack = "1,500 intents a second about 50,000 leaving members";
    flood(attack, &mut cluster, &insider, |number| {
        let (ltime, node) = (LamportTime(u64::from(10 + number)), name(&invented_name(number * 7 % COUNT)));
        LeaveIntent { ltime, node, prune: false }.into()
    });
}

/// Where few take part in waves, all news is gossiped.
#[test]
fn intents_about_fifty_thousand_simple_members_leave_time_for_pings() {
    const COUNT: u32 = 50_000;
    let versions = Versions { protocol_max: Versions::MEMBERLIST_MAX, ..Versions::OURS };
    let rows = invented(COUNT, 10).into_iter().map(|row| PeerRow { versions, ..row }).collect();
    let (mut cluster, insider) = crowded_with(rows);
    let attack = "1,500 intents a second about 50,000 simple members";
    flood(attack, &mut cluster, &insider, |number| intent(number, COUNT));
}

#[test]
fn claims_of_thousands_of_taken_names_leave_time_for_pings() {
    const COUNT: u32 = 4_000;
    let (mut cluster, insider) = crowded(COUNT);
    let elsewhere = cluster.claimed_addr();
    flood("claims of 4,000 taken names", &mut cluster, &insider, |number| {
        claim(&invented_name(number % COUNT), elsewhere, Incarnation(2)).into()
    });
}

#[test]
fn early_intents_leave_time_for_pings() {
    let (mut cluster, insider) = crowded(20_000);
    flood("1,500 intents a second about unknown members", &mut cluster, &insider, |number| {
        JoinIntent { ltime: LamportTime(u64::from(10 + number)), node: name(&format!("unknown-{number}")) }
            .into()
    });
}

#[test]
fn twenty_thousand_suspects_leave_time_for_pings() {
    const COUNT: u32 = 20_000;
    let (mut cluster, insider) = crowded(COUNT);
    let start = Instant::now();
    // In compounds, so that all are suspected before the first is given up.
    let suspicions = (0..COUNT).map(|number| {
        let from = name("n3");
        Message::from(Suspect { incarnation: Incarnation(1), node: name(&invented_name(number)), from })
    });
    let datagrams = packed(Dialect::Native, suspicions);
    let watch = Watch::start("20,000 suspects", &cluster, 3);
    insider.say_at_rate(&cluster.addrs(), 200, attack_time().max(Duration::from_secs(8)), |number| {
        datagrams[number as usize % datagrams.len()].clone()
    });
    note(&format!("20,000 suspects after {:.1} s", start.elapsed().as_secs_f64()));
    for figures in watch.end() {
        figures.assert_responsive();
    }
    wait_until(within(60), "all agents run and list each other as alive", || {
        cluster.all_run()?;
        cluster.all_alive()
    });
}
