//! Control connections that are opened and left, by clients without the token.

use super::attack_time;
use super::cluster::Cluster;
use super::watch::Watch;
use crate::harness::notes::note;
use crate::harness::{AgentSpec, Network, Scratch, wait_until, within};
use std::net::TcpStream;
use std::time::Instant;

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

/// Whether the other side has closed it. Looks, and takes nothing.
fn is_closed(stream: &TcpStream) -> bool {
    match stream.peek(&mut [0]) {
        Ok(count) => count == 0,
        Err(e) => e.kind() != std::io::ErrorKind::WouldBlock,
    }
}
