//! What an attack does to the agents while it goes on: memory, and answers to pings.

use super::attack_time;
use super::cluster::Cluster;
use super::insider::{DIALECTS, name};
use crate::harness::Agent;
use crate::harness::notes::note;
use serf::wire::envelope::Envelope;
use serf::wire::message::{Message, Ping, ProbeMessage, Source};
use serf::wire::{encode, read_datagram};
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};
use std::{fmt, fs};

/// Between two pings.
const PING_INTERVAL: Duration = Duration::from_millis(20);
/// How long the last pings have for their answers.
const LATE: Duration = Duration::from_secs(2);
/// How long memory has until it is near what it was; less where nothing depends on it and the attack is a
/// short one. What near is, in KiB.
const MINUTE: Duration = Duration::from_secs(60);
const MOMENT: Duration = Duration::from_secs(8);
const NEAR_KIB: u64 = 8 * 1024;
/// What is held on behalf of others at most, and what may be left of it after a minute, in KiB: what is remembered by the
/// manual's budgets, and free pieces in the heaps of glibc's threads.
const HELD_KIB: u64 = 64 * 1024;
const KEPT_KIB: u64 = 24 * 1024;
/// How often memory is looked at meanwhile.
const LOOK: Duration = Duration::from_millis(200);

/// An agent that answers pings answers half of them within this time, also on a machine that is busy.
const PROMPT: Duration = Duration::from_millis(250);

/// Watches agents.
pub(super) struct Watch<'a> {
    attack: String,
    watched: Vec<(&'a Agent, u64, Pinger)>,
}

/// What came of it for one agent.
#[derive(Debug)]
pub(super) struct Figures {
    agent: String,
    before_kib: u64,
    peak_kib: u64,
    after_kib: u64,
    pings: Pings,
}

impl<'a> Watch<'a> {
    /// Watches the first so many agents of a cluster from now on.
    pub(super) fn start(attack: &str, cluster: &'a Cluster, count: usize) -> Watch<'a> {
        Watch::through(&Envelope::default(), attack, cluster, count)
    }

    /// The same for agents with keys.
    pub(super) fn through(
        envelope: &Envelope,
        attack: &str,
        cluster: &'a Cluster,
        count: usize,
    ) -> Watch<'a> {
        let watched = cluster.agents.iter().take(count).map(|agent| {
            // From now on the kernel notes the most memory anew; where that is not allowed, the most
            // since the agent was started counts.
            let _ = fs::write(format!("/proc/{}/clear_refs", agent.pid()), "5");
            let pinger = Pinger::start(cluster.pinger_ip(), agent, envelope.clone());
            (agent, agent.rss_kib(), pinger)
        });
        Watch { attack: attack.to_string(), watched: watched.collect() }
    }

    /// The attack is over.
    pub(super) fn end(self) -> Vec<Figures> {
        self.end_within(if attack_time() > MOMENT { MINUTE } else { MOMENT }, NEAR_KIB)
    }

    /// The same, and memory has a minute to come back; a short attack is content as soon as it is within bounds. What
    /// was held was bounded and is given back, and pings were answered.
    #[track_caller]
    pub(super) fn end_bounded(self) {
        let near_kib = if attack_time() > MOMENT { NEAR_KIB } else { KEPT_KIB };
        for figures in self.end_within(MINUTE, near_kib) {
            figures.assert_bounded();
            figures.assert_responsive();
        }
    }

    fn end_within(self, patience: Duration, near_kib: u64) -> Vec<Figures> {
        let Watch { attack, watched } = self;
        let over: Vec<_> = watched.into_iter().map(|(a, before, p)| (a, before, p.end())).collect();
        let start = Instant::now();
        let is_near = || over.iter().all(|(agent, before, _)| agent.rss_kib() <= before + near_kib);
        while !is_near() && start.elapsed() < patience {
            thread::sleep(LOOK);
        }
        let figures = over.into_iter().map(|(agent, before_kib, pings)| Figures {
            agent: agent.name().to_string(),
            before_kib,
            peak_kib: peak_kib(agent),
            after_kib: agent.rss_kib(),
            pings,
        });
        let figures: Vec<Figures> = figures.collect();
        for Figures { agent, before_kib, peak_kib, after_kib, pings } in &figures {
            note(&format!(
                "{attack}: {agent}: memory {before_kib} KiB before, {peak_kib} at most, {after_kib} after \
                 {:.0} s; pings: {pings}",
                start.elapsed().as_secs_f64()
            ));
        }
        figures
    }
}

impl Figures {
    /// What is held on behalf of others is within what the manual promises (`serf help limits`), and given back.
    #[track_caller]
    fn assert_bounded(&self) {
        let Figures { before_kib, peak_kib, after_kib, .. } = *self;
        assert!(peak_kib <= before_kib + HELD_KIB, "too much was held: {self:?}");
        assert!(after_kib <= before_kib + KEPT_KIB, "too much is kept: {self:?}");
    }

    #[track_caller]
    pub(super) fn assert_responsive(&self) {
        let Pings { sent, answered, .. } = self.pings;
        assert!(answered * 2 >= sent, "most pings were not answered: {self:?}");
        assert!(self.pings.part(50) < PROMPT, "pings were answered late: {self:?}");
    }
}

/// The most resident memory, in KiB.
fn peak_kib(agent: &Agent) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", agent.pid())).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.split_whitespace().next()).and_then(|kib| kib.parse().ok());
    kib.expect("the kernel notes the most memory")
}

/// How pings went.
struct Pings {
    sent: usize,
    answered: usize,
    /// In order.
    round_trips: Vec<Duration>,
}

impl Pings {
    /// The time within which so many of a hundred answers came.
    fn part(&self, of_hundred: usize) -> Duration {
        let at = self.round_trips.len() * of_hundred / 100;
        self.round_trips.get(at).or(self.round_trips.last()).copied().unwrap_or(Duration::MAX)
    }
}

impl fmt::Debug for Pings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Pings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Pings { sent, answered, .. } = self;
        if *answered == 0 {
            return write!(f, "none of {sent} answered");
        }
        let [half, most, all] = [50, 99, 100].map(|part| self.part(part).as_secs_f64() * 1000.0);
        write!(f, "{answered} of {sent} answered, 50/99/100 % within {half:.1}/{most:.1}/{all:.1} ms")
    }
}

/// Pings an agent as a stranger would, in both dialects by turns.
struct Pinger {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Pings>,
}

impl Pinger {
    fn start(ip: Ipv4Addr, agent: &Agent, envelope: Envelope) -> Pinger {
        let socket = UdpSocket::bind((ip, 0)).expect("there are free ports");
        socket.set_read_timeout(Some(Duration::from_millis(2))).expect("a timeout can be set");
        let (stop, to, agent) = (Arc::<AtomicBool>::default(), agent.gossip(), name(agent.name()));
        let stopped = Arc::clone(&stop);
        let source = Source { node: name("pinger"), addr: socket.local_addr().expect("it is bound") };
        let ping = move |seq_no| Ping { seq_no, node: agent.clone(), source: source.clone() };
        let thread = thread::spawn(move || ping_until(&stopped, (&socket, to), &envelope, ping));
        Pinger { stop, thread }
    }

    fn end(self) -> Pings {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("pinging does not panic")
    }
}

fn ping_until(
    stop: &AtomicBool,
    (socket, to): (&UdpSocket, SocketAddr),
    envelope: &Envelope,
    ping: impl Fn(u32) -> Ping,
) -> Pings {
    let (mut waiting, mut round_trips) = (BTreeMap::new(), Vec::new());
    let (mut sent, mut next, mut ended) = (0, Instant::now(), None);
    let mut buffer = vec![0; 65_536];
    loop {
        let now = Instant::now();
        if ended.is_none() && stop.load(Ordering::Relaxed) {
            ended = Some(now);
        }
        match ended {
            None if now >= next => {
                let dialect = DIALECTS[sent as usize % DIALECTS.len()];
                let datagram = encode(dialect, &Message::from(ping(sent)));
                let datagram = envelope.wrap_datagram(&datagram).expect("the kernel has random bytes");
                // The kernel may refuse it, as it may lose it.
                let _ = socket.send_to(&datagram, to);
                waiting.insert(sent, now);
                (sent, next) = (sent + 1, now + PING_INTERVAL);
            }
            Some(at) if waiting.is_empty() || at.elapsed() > LATE => break,
            _ => {}
        }
        let Ok(length) = socket.recv(&mut buffer) else { continue };
        // Something else than an answer may come here as well.
        let Ok(content) = envelope.unwrap_datagram(&mut buffer[..length]) else { continue };
        let _ = read_datagram(content, None, |message, _| {
            if let Message::Probe(ProbeMessage::Ack(ack)) = message {
                round_trips.extend(waiting.remove(&ack.seq_no).map(|at: Instant| at.elapsed()));
            }
        });
    }
    round_trips.sort();
    Pings { sent: sent as usize, answered: round_trips.len(), round_trips }
}
