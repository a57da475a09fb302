//! What the world does to a cluster, without anybody's malice: members that are stopped for long, many that come at
//! once, clusters that meet, links that carry little at a time. Nobody is to be harmed for good.

use super::cluster::Cluster;
use super::health;
use super::insider::DIALECTS;
use crate::harness::netns::Hosts;
use crate::harness::notes::note;
use crate::harness::rpc::client;
use crate::harness::stand_in::read_message;
use crate::harness::{Agent, Network, Signal, all_see, stays, wait_until, within};
use serf::wire::message::PushPull;
use serf::wire::stream::{self, StreamMessage};
use std::io::Write;
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// How long members are stopped: longer than it takes to give them up, or for minutes.
fn stopped_for() -> Duration {
    let long = std::env::var("SERF_TEST_LONG").is_ok_and(|value| value == "1");
    Duration::from_secs(if long { 120 } else { 30 })
}

#[test]
fn members_that_were_stopped_for_long_are_as_they_were() {
    let mut cluster = Cluster::start(Network::claim(), 7);
    for agent in &mut cluster.agents[4..] {
        agent.signal(Signal::Stop);
    }
    let start = Instant::now();
    let gone: Vec<(&str, &str)> = ["n5", "n6", "n7"].map(|name| (name, "failed")).to_vec();
    let others: Vec<&Agent> = cluster.agents[..4].iter().collect();
    wait_until(within(90), "the others give them up", || all_see(&others, &gone));
    stays(stopped_for().saturating_sub(start.elapsed()), "they stay so", || all_see(&others, &gone));
    for agent in &mut cluster.agents[4..] {
        agent.signal(Signal::Continue);
    }
    let start = Instant::now();
    wait_until(within(60), "all list all as alive", || cluster.all_alive());
    note(&format!("three stopped for {:?} were back within {:?}", stopped_for(), start.elapsed()));
    // Those that were stopped accuse nobody for what they missed.
    stays(Duration::from_secs(3), "all stay alive", || cluster.all_alive());
    health::check(&mut cluster);
}

#[test]
fn a_hundred_that_join_one_at_once_know_each_other() {
    let net = Network::claim_alone();
    let first = net.agent("first", 1).start();
    let start = Instant::now();
    let spec = |number: u8| net.agent(&format!("n{number}"), 1 + number).join(first.gossip());
    let agents: Vec<Agent> = (1..=100).map(|number| spec(number).spawn()).collect();
    wait_until(within(120), "all know all", || {
        let mut agents = agents.iter().chain([&first]);
        agents.try_for_each(|agent| match agent.info("serf", "members")?.as_str() {
            "101" => Ok(()),
            members => Err(format!("{} knows {members}", agent.name())),
        })
    });
    note(&format!("a hundred joined one within {:.1} s", start.elapsed().as_secs_f64()));
    for agent in agents.iter().chain([&first]) {
        assert_eq!(agent.info("serf", "failed").as_deref(), Ok("0"), "{}", agent.name());
    }
}

/// Three times as many as are served at once. Those that come later wait for their turn; none is turned away, or it would
/// come back after half a minute.
#[test]
fn hundreds_that_ask_at_once_are_all_answered() {
    let mut cluster = Cluster::start(Network::claim(), 3);
    let seed = cluster.agents[0].gossip();
    let insider = cluster.insider();
    for dialect in DIALECTS {
        let request = stream::encode(dialect, &StreamMessage::PushPull(PushPull::default()));
        // While it is stopped, all of them come.
        cluster.agents[0].signal(Signal::Stop);
        let asks = |_| {
            let mut stream = insider.connect(seed).expect("the kernel takes the connection");
            stream.write_all(&request).map(|()| stream).expect("and the request")
        };
        let mut streams: Vec<TcpStream> = (0..400).map(asks).collect();
        cluster.agents[0].signal(Signal::Continue);
        for (number, stream) in streams.iter_mut().enumerate() {
            let answer = read_message(stream).map(|(_, message)| message);
            assert!(matches!(answer, Ok(StreamMessage::PushPull(_))), "{dialect:?}, {number}: {answer:?}");
        }
    }
    health::check(&mut cluster);
}

/// Their clocks are far apart, and one has events that the other has not heard: as after a partition they are told,
/// once, but to the member that joins, which does not ask for the past.
#[test]
fn clusters_that_meet_become_one() {
    let mut cluster = Cluster::start(Network::claim(), 6);
    let net = &cluster.net;
    let others: Vec<Agent> = (11..=13)
        .map(|host| {
            let spec = net.agent(&format!("m{host}"), host).flag("-event-handler=query:health=echo well");
            if host == 11 { spec.start() } else { spec.join(net.gossip(11)).start() }
        })
        .collect();
    let three: Vec<(&str, &str)> = ["m11", "m12", "m13"].map(|name| (name, "alive")).to_vec();
    wait_until(within(60), "the other three know each other", || {
        all_see(&others.iter().collect::<Vec<_>>(), &three)
    });
    for number in 0..300 {
        client(&others[0]).event(format!("past-{number}"), b"", false).expect("an event is sent");
    }
    wait_until(within(60), "the three have heard them", || {
        others.iter().try_for_each(|agent| match agent.log_count("user-event: past-") {
            300 => Ok(()),
            count => Err(format!("{} has heard {count}", agent.name())),
        })
    });
    cluster.agents[2].ctl(&["join", &others[1].gossip().to_string()]).ok();
    cluster.agents.extend(others);
    wait_until(within(60), "they are one", || cluster.all_alive());
    let joined = &cluster.agents[2];
    assert_eq!(joined.log_count("user-event: past-"), 0, "{} heard of the past", joined.name());
    for agent in &cluster.agents[..6] {
        assert!(agent.log_count("user-event: past-7\n") <= 1, "{} heard it twice", agent.name());
    }
    health::check(&mut cluster);
}

/// An Internet link may carry no more in one piece (RFC 791). Larger datagrams go in several.
#[test]
fn links_that_carry_576_bytes_are_enough() {
    let Some(hosts) = Hosts::claim(4) else { return };
    hosts.carry_at_most(576);
    let spec = |host: u8| hosts.agent(&format!("n{host}"), host).tag("t", &"x".repeat(400));
    let first = spec(1).start();
    let mut agents = vec![first];
    agents.extend((2..=4).map(|host| spec(host).join(hosts.gossip(1)).start()));
    let alive: Vec<(&str, &str)> = ["n1", "n2", "n3", "n4"].map(|name| (name, "alive")).to_vec();
    let all = |agents: &[Agent]| all_see(&agents.iter().collect::<Vec<_>>(), &alive);
    wait_until(within(60), "all know each other", || all(&agents));
    agents[3].ctl(&["event", "large", &"y".repeat(400)]).ok();
    wait_until(within(30), "all hear of it", || {
        agents.iter().try_for_each(|agent| match agent.log_count("user-event: large") {
            1 => Ok(()),
            count => Err(format!("{} heard of it {count} times", agent.name())),
        })
    });
    stays(Duration::from_secs(5), "nobody is accused", || all(&agents));
}
