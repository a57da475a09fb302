//! Connections that are opened and left: to the control port by clients without the token, and to the gossip port.

use super::attack_time;
use super::cluster::Cluster;
use super::health;
use super::watch::Watch;
use crate::harness::notes::note;
use crate::harness::{AgentSpec, Network, Scratch, wait_until, within};
use serf::wire::Dialect;
use serf::wire::message::PushPull;
use serf::wire::stream::{self, StreamMessage};
use std::io::Write;
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// More than an agent serves.
const IDLE: usize = 140;

#[test]
fn idle_connections_without_the_token_keep_nobody_off_the_control_port() {
    const TOKEN: &str = "-rpc-auth=token";
    let scratch = Scratch::new("token");
    let with_token = |spec: AgentSpec, _| spec.settings(&scratch, r#"{"rpc_auth": "token"}"#);
    let cluster = Cluster::apart(Network::claim(), 3, with_token);
    let members = |index: usize| cluster.agents[index].ctl(&["members", "-status=alive", TOKEN]);
    wait_until(within(90), "all agents know each other", || {
        match (0..3).map(members).find(|answer| answer.stdout.lines().count() < 3) {
            None => Ok(()),
            Some(answer) => Err(answer.to_string()),
        }
    });

    let watch = Watch::start("140 idle control connections", &cluster, 1);
    let insider = cluster.insider();
    let (start, mut idle, mut asked, mut refused) = (Instant::now(), Vec::new(), 0, Vec::new());
    while start.elapsed() < attack_time() {
        // As many as were closed are opened again.
        idle.retain(|stream: &TcpStream| !is_closed(stream));
        while idle.len() < IDLE {
            let Ok(stream) = insider.connect(cluster.agents[0].rpc()) else { break };
            stream.set_nonblocking(true).expect("a stream can be non-blocking");
            idle.push(stream);
        }
        let answer = members(0);
        asked += 1;
        if answer.code() != Some(0) || answer.stdout.lines().count() < 3 {
            refused.push(answer);
        }
    }
    watch.end();
    note(&format!("the list of members was refused {} of {asked} times", refused.len()));
    assert!(refused.is_empty(), "refused {} of {asked} times; first: {}", refused.len(), refused[0]);
    drop(idle);
    let answers = (0..3).map(members).all(|answer| answer.stdout.lines().count() == 3);
    assert!(answers, "all list all as alive");
}

/// More than an agent serves, and more wait: some say nothing, others begin, and go on with a byte now and then.
#[test]
fn idle_streams_keep_nobody_from_an_exchange() {
    let mut cluster = Cluster::start(Network::claim(), 3);
    let agent = cluster.agents[0].gossip();
    let (insider, request) = (cluster.insider(), PushPull::default());
    let dripped = stream::encode(Dialect::Native, &StreamMessage::PushPull(request.clone()));
    let watch = Watch::start("300 idle streams", &cluster, 1);
    let (start, mut idle, mut asked, mut longest) = (Instant::now(), Vec::new(), 0, Duration::ZERO);
    while start.elapsed() < attack_time() {
        idle.retain(|(stream, _): &(TcpStream, usize)| !is_closed(stream));
        while idle.len() < 300 {
            let Ok(stream) = insider.connect(agent) else { break };
            stream.set_nonblocking(true).expect("a stream can be non-blocking");
            idle.push((stream, 0));
        }
        for (stream, said) in idle.iter_mut().step_by(2) {
            let next = *said..(*said + 1).min(dripped.len() - 1);
            // One that is closed by now says nothing.
            *said += stream.write(&dripped[next]).unwrap_or_default();
        }
        let began = Instant::now();
        let answer = insider.exchange(agent, Dialect::Native, request.clone());
        assert!(matches!(answer, Ok(StreamMessage::PushPull(_))), "{asked}: {answer:?}");
        (asked, longest) = (asked + 1, longest.max(began.elapsed()));
    }
    watch.end();
    note(&format!("{asked} exchanges were answered, within {longest:.1?}"));
    drop(idle);
    health::check(&mut cluster);
}

/// Whether the other side has closed it. Looks, and takes nothing.
fn is_closed(stream: &TcpStream) -> bool {
    match stream.peek(&mut [0]) {
        Ok(count) => count == 0,
        Err(e) => e.kind() != std::io::ErrorKind::WouldBlock,
    }
}
