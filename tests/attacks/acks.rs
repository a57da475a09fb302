//! Acks for a member that was killed, in its place: it must be seen failed all the same.

use super::cluster::Cluster;
use super::health;
use crate::harness::notes::note;
use crate::harness::stand_in::StandIn;
use crate::harness::{Agent, Network, all_have, all_see, wait_until, within};
use serf::model::Versions;
use serf::wire::message::{Ack, Message, ProbeMessage};
use serf::wire::{Dialect, encode};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// How many of the next sequence numbers are tried, and how often.
const AHEAD: u32 = 40;
const SPACING: Duration = Duration::from_millis(5);

#[test]
fn acks_by_another_with_predicted_numbers_keep_no_dead_member_alive() {
    let mut cluster = Cluster::start(Network::claim(), 4);
    let insider = StandIn::start("insider", cluster.insider_addr(), Versions::OURS.to_bytes());
    // What each agent has last asked the insider by, which is a member and is pinged as such.
    let last = Arc::<Mutex<BTreeMap<SocketAddr, u32>>>::default();
    let noted = Arc::clone(&last);
    insider.react(Box::new(move |_, message| {
        if let Message::Probe(ProbeMessage::Ping(ping)) = message {
            noted.lock().expect("nobody panics with it").insert(ping.source.addr, ping.seq_no);
        }
        vec![]
    }));
    insider.join(cluster.agents[0].gossip(), Dialect::Native, vec![]);
    let viewers = [0, 2, 3];
    wait_until(within(90), "the insider is a member and was pinged by all", || {
        all_have(&cluster.refs(), "insider", &cluster.insider_addr().to_string())?;
        let known = last.lock().expect("nobody panics with it").len();
        if known == cluster.agents.len() { Ok(()) } else { Err(format!("{known} have")) }
    });

    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                let last = last.lock().expect("nobody panics with it").clone();
                for (addr, number) in last {
                    for ahead in 1..=AHEAD {
                        let seq_no = number.wrapping_add(ahead);
                        let ack = Message::from(Ack { seq_no, digest: None, payload: vec![] });
                        insider.send(addr, &encode(Dialect::Native, &ack));
                    }
                }
                thread::sleep(SPACING);
            }
        });
        // The other thread ends with this one, whatever becomes of it.
        let _stopper = Stopper(&stop);
        cluster.agents[1].kill();
        let start = Instant::now();
        let viewers: Vec<&Agent> = viewers.iter().map(|index| &cluster.agents[*index]).collect();
        wait_until(within(90), "all see that n2 has failed", || all_see(&viewers, &[("n2", "failed")]));
        note(&format!("among forged acks a crash was seen within {:.1} s", start.elapsed().as_secs_f64()));
    });
    cluster.agents[1] = cluster.agents[1].spec().clone().start();
    health::check(&mut cluster);
}

struct Stopper<'a>(&'a AtomicBool);

impl Drop for Stopper<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
