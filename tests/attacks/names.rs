//! Names that are claimed: a member that lies about a name must not end the agent that has it.

use super::cluster::Cluster;
use super::health;
use super::insider::{claim, name};
use super::watch::Watch;
use crate::harness::notes::note;
use crate::harness::stand_in::StandIn;
use crate::harness::{Network, all_have, all_see, settle, stays, wait_until, within};
use serf::model::{Incarnation, Member, Status, Tags, Versions};
use serf::wire::Dialect;
use serf::wire::message::{Answer, Dead, Message, Query, QueryResponse, SerfMessage};
use serf::wire::payload::write_conflict_response;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Longer than it takes a vote to begin, and to end.
const VOTE_TIME: Duration = Duration::from_secs(35);

/// How often it is tried to take a name, with which times between the two messages.
const ROUNDS: u32 = 80;
const GAP: Duration = Duration::from_micros(50);
const GAPS: u32 = 16;
const BETWEEN_ROUNDS: Duration = Duration::from_millis(30);

/// Members that are there and say nothing when they are asked about a name, at hosts .6 to .9.
const SILENT: [(&str, u8); 4] = [("s1", 6), ("s2", 7), ("s3", 8), ("s4", 9)];

/// Answers, in the names of those members and of all others, that somebody else has the name of `n1`.
fn forged_answers(query: &Query, elsewhere: SocketAddr) -> Vec<Message> {
    let holder = Member {
        name: name("n1"),
        addr: elsewhere,
        meta: Tags::default().encode().expect("no tags").into(),
        status: Status::Alive,
        versions: Versions::OURS,
        incarnation: Incarnation(100),
    };
    let answer = |from: &str| QueryResponse {
        ltime: query.ltime,
        id: query.id,
        from: name(from),
        answer: Answer::Payload,
        payload: write_conflict_response(Some(&holder)),
    };
    let names = ["n2", "n3"].into_iter().chain(SILENT.map(|(name, _)| name));
    names.map(|from| Message::from(answer(from))).collect()
}

#[test]
fn a_vote_is_not_decided_by_answers_in_the_names_of_others() {
    let mut cluster = Cluster::start(Network::claim(), 3);
    let (victim, elsewhere) = (cluster.agents[0].gossip(), cluster.claimed_addr());
    let member = |name: &str, addr| {
        let member = StandIn::start(name, addr, Versions::OURS.to_bytes());
        member.join(victim, Dialect::Native, vec![]);
        member
    };
    let silent = SILENT.map(|(name, host)| member(name, cluster.net.gossip(host)));
    let insider = member("insider", cluster.insider_addr());
    wait_until(within(90), "they are members", || {
        all_have(&cluster.refs(), "insider", &cluster.insider_addr().to_string())?;
        all_see(&cluster.refs(), &SILENT.map(|(name, _)| (name, "alive")))
    });
    let asked = Arc::<AtomicUsize>::default();
    let counter = Arc::clone(&asked);
    insider.react(Box::new(move |_, message| {
        let Message::Serf(SerfMessage::Query(query)) = message else { return vec![] };
        if query.name != "_serf_conflict" {
            return vec![];
        }
        counter.fetch_add(1, Ordering::Relaxed);
        forged_answers(query, elsewhere).into_iter().map(|answer| (victim, answer)).collect()
    }));

    let watch = Watch::start("a forged vote", &cluster, 3);
    cluster.insider().say(victim, Dialect::Native, claim("n1", elsewhere, Incarnation(100)));
    watch.end();
    let start = Instant::now();
    stays(VOTE_TIME, "the owner of the name runs", || {
        cluster.all_run().map_err(|e| format!("{e}; asked {} times", asked.load(Ordering::Relaxed)))
    });
    let (seconds, asked) = (start.elapsed().as_secs(), asked.load(Ordering::Relaxed));
    note(&format!("after {seconds} s the insider has been asked {asked} times about the name"));
    drop((silent, insider));
    health::check(&mut cluster);
}

#[test]
fn a_name_is_not_taken_by_leaving_and_claiming_in_it() {
    let mut cluster = Cluster::start(Network::claim(), 5);
    let insider = cluster.insider();
    let (owner, elsewhere) = (cluster.agents[1].gossip(), cluster.claimed_addr());
    // There it answers to that name, so that nobody finds it dead.
    let pretender = StandIn::start("n2", elsewhere, Versions::OURS.to_bytes());
    let incarnation = insider.row_of("n2", cluster.agents[0].gossip()).incarnation;
    let watch = Watch::start("leaving and claiming in a name", &cluster, 5);
    let others = [0, 2, 3, 4].map(|index| cluster.agents[index].gossip());
    let mut moved = 0;
    for round in 1..=ROUNDS {
        // The claim has to be read after the leave, and before the owner has refuted that.
        let left = Incarnation(incarnation.0 + round * 1000);
        for to in others {
            insider.say(to, Dialect::Native, Dead { incarnation: left, node: name("n2"), from: name("n2") });
        }
        let (said, gap) = (Instant::now(), GAP * (round % GAPS));
        while said.elapsed() < gap {
            std::hint::spin_loop();
        }
        for to in others {
            insider.say(to, Dialect::Native, claim("n2", elsewhere, Incarnation(left.0 + 500)));
        }
        settle(BETWEEN_ROUNDS, || false);
        moved = others.iter().filter(|agent| insider.row_of("n2", **agent).addr == elsewhere).count();
        if moved >= others.len() - 1 {
            note(&format!("after {round} times eight datagrams {moved} of 4 have the name elsewhere"));
            break;
        }
    }
    note(&format!("{moved} of 4 have the name elsewhere at last"));
    watch.end();
    stays(VOTE_TIME, "the owner of the name runs", || cluster.all_run());
    drop(pretender);
    wait_until(within(60), "all list the owner of the name", || {
        all_have(&cluster.refs(), "n2", &owner.to_string())
    });
    health::check(&mut cluster);
}
