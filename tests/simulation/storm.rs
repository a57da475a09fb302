//! A chaotic hour in the life of a cluster, drawn from a seed: members come, go, crash, pause
//! and move while the network loses, delays, repeats and damages what they say.

use crate::agreement::settling_bound;
use crate::forgeries;
use crate::network::{Cut, Weather};
use crate::process::{Pid, Process};
use crate::random_events;
use crate::world::World;
use fastrand::Rng;
use serf::membership::{Config, Profile};
use serf::model::{NodeName, Status, Tags};
use serf::node::Node;
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

/// The longest delay of a datagram, in probe intervals.
pub(crate) const LONGEST_DELAY: u32 = 6;

/// How bad it gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Nobody is cut off for longer than the shortest suspicion, so that islands are rare.
    Mild,
    /// Anything, including partitions that outlast suspicion, forged accusations and operators
    /// who prune the living.
    Wild,
}

/// A scenario.
#[derive(Debug)]
pub(crate) struct Storm {
    /// How bad.
    pub kind: Kind,
    /// How many members at first.
    pub size: usize,
    /// How long it lasts.
    pub length: Duration,
    /// The profile's numbers.
    pub config: Config,
    rng: Rng,
    /// For what is said; what happens does not depend on it.
    chatter: Rng,
    names: Vec<NodeName>,
    versions: u32,
}

impl Storm {
    /// The scenario of a seed, with a number of members from `sizes`.
    pub(crate) fn from_seed(seed: u64, sizes: std::ops::RangeInclusive<usize>) -> Storm {
        let mut rng = Rng::with_seed(seed ^ 0x5eed_5eed);
        let kind = if rng.bool() { Kind::Mild } else { Kind::Wild };
        let profile = [Profile::Lan, Profile::Lan, Profile::Local, Profile::Wan][rng.usize(0..4)];
        let mut config = Config::for_profile(profile);
        let size = rng.usize(sizes);
        let mut length = config.probe_interval * rng.u32(20..60);
        if size > 200 {
            length = config.probe_interval * 15;
        }
        if kind == Kind::Wild && size <= 12 && rng.u32(0..3) == 0 {
            // So that reaping is part of the chaos, in half of them long before the news of who is
            // gone has reached all. They last so long that larger ones would take most of the time of all storms.
            let most = settling_bound(&config, size * 2) * 2;
            let mut timeout = || most.mul_f64(if rng.bool() { rng.f64() } else { 0.02 * rng.f64() });
            config.reconnect_timeout = timeout();
            config.tombstone_timeout = timeout();
            length = most;
        }
        let chatter = Rng::with_seed(seed ^ 0x7a1c_7a1c);
        Storm { kind, size, length, config, rng, chatter, names: Vec::new(), versions: 0 }
    }

    /// Everyone starts, at moments of their own, and joins.
    pub(crate) fn gather(&mut self, world: &mut World) {
        for _ in 0..self.size {
            self.newcomer(world);
            world.run_for(self.up_to(Duration::from_millis(200)));
        }
        world.run_for(self.config.probe_interval * self.rng.u32(1..8));
    }

    /// The chaos.
    pub(crate) fn rage(&mut self, world: &mut World) {
        let end = world.now + self.length;
        // The larger the cluster, the more happens.
        let pace = self.config.probe_interval.mul_f64(4.0 / (2.0 + (self.size as f64).sqrt()));
        while world.now < end {
            world.run_for(self.up_to(pace));
            self.act(world);
            random_events::say(world, &mut self.chatter);
        }
    }

    fn up_to(&mut self, most: Duration) -> Duration {
        most.mul_f64(self.rng.f64())
    }

    fn act(&mut self, world: &mut World) {
        match self.rng.u32(0..100) {
            0..10 => self.newcomer(world),
            10..20 => self.crash(world),
            20..36 => self.restart(world),
            36..44 => self.pause(world),
            44..53 => self.leave(world),
            53..63 => self.change_tags(world),
            63..72 => self.weather(world),
            72..82 => self.cut(world),
            82..90 => self.remove(world),
            _ => forgeries::send(world, self.kind, &mut self.rng),
        }
    }

    fn tags(&mut self) -> Tags {
        self.versions += 1;
        Tags::from_pairs([format!("version={}", self.versions)]).expect("a small tag")
    }

    fn newcomer(&mut self, world: &mut World) {
        if self.names.len() >= self.size * 2 {
            return;
        }
        let name = NodeName::new(format!("m{:03}", self.names.len())).expect("a short name");
        self.names.push(name.clone());
        let addr = self.address_for(world, None);
        self.start(world, &name, addr);
    }

    fn start(&mut self, world: &mut World, name: &NodeName, addr: SocketAddr) {
        let tags = self.tags();
        let pid = world.start(name, addr, tags);
        random_events::character(world, pid, &mut self.chatter);
        world.join_somewhere(pid);
    }

    /// An address for a process: the one it had, that of someone who is gone, or a new one.
    fn address_for(&mut self, world: &World, before: Option<SocketAddr>) -> SocketAddr {
        if let Some(addr) = before
            && world.at(addr).is_none()
            && self.rng.u32(0..4) > 0
        {
            return addr;
        }
        let vacant: Vec<SocketAddr> =
            world.processes.iter().map(|p| p.addr).filter(|a| world.at(*a).is_none()).collect();
        match self.rng.choice(vacant) {
            Some(addr) if self.rng.u32(0..4) == 0 => addr,
            _ => world.fresh_address(),
        }
    }

    /// Someone who may go: enough of those who know the cluster stay.
    fn expendable(&mut self, world: &World) -> Option<Pid> {
        let running = world.pick(|p| p.stays() && !p.paused);
        let knowing = world.pick(|p| p.stays() && p.joined && !p.paused);
        if knowing.len() <= (self.size / 2).max(2) {
            let strangers = world.pick(|p| p.stays() && !p.joined && !p.paused);
            return self.rng.choice(strangers);
        }
        self.rng.choice(running)
    }

    fn anyone(&mut self, world: &World) -> Option<Pid> {
        self.rng.choice(world.pick(|p| p.stays() && !p.paused))
    }

    fn crash(&mut self, world: &mut World) {
        if let Some(pid) = self.expendable(world) {
            world.tally.count("crashes");
            world.crash(pid);
        }
    }

    fn restart(&mut self, world: &mut World) {
        let up = |name: &NodeName| world.processes.iter().any(|p| p.name == *name && p.node.is_some());
        let down: Vec<NodeName> = self.names.iter().filter(|name| !up(name)).cloned().collect();
        let Some(name) = self.rng.choice(down) else { return };
        let before = world.processes.iter().rfind(|p| p.name == name).map(|p| p.addr);
        let addr = self.address_for(world, before);
        let what = if before == Some(addr) { "restarts" } else { "restarts at another address" };
        world.tally.count(what);
        self.start(world, &name, addr);
    }

    fn pause(&mut self, world: &mut World) {
        let Some(pid) = self.expendable(world) else { return };
        let most = self.config.probe_interval * if self.rng.bool() { 2 } else { 15 };
        let length = self.up_to(most);
        world.pause(pid, length);
    }

    fn leave(&mut self, world: &mut World) {
        let Some(pid) = self.expendable(world) else { return };
        world.trace(|| format!("process {pid} is told to leave"));
        world.processes[pid].returns = self.rng.u32(0..3) == 0;
        world.act(pid, Node::leave);
    }

    fn change_tags(&mut self, world: &mut World) {
        let (Some(pid), tags) = (self.anyone(world), self.tags()) else { return };
        world.trace(|| format!("process {pid} changes its tags to {tags}"));
        world.act(pid, |node, now, out| node.set_tags(tags, now, out));
        world.tally.count("tag changes");
    }

    fn weather(&mut self, world: &mut World) {
        let worst = if self.kind == Kind::Mild { 0.1 } else { 0.4 };
        let mut some = |worst: f64| if self.rng.bool() { worst * self.rng.f64() } else { 0.0 };
        let weather = Weather {
            loss: some(worst),
            duplicate: some(0.2),
            late: some(0.3),
            delay: self.config.probe_interval.mul_f64(some(f64::from(LONGEST_DELAY))),
            damage: some(0.05),
            refusal: some(0.05),
        };
        let length = self.up_to(self.config.probe_interval * 15);
        world.weather(weather, length);
    }

    /// A partition, or a member that only hears or only speaks.
    fn cut(&mut self, world: &mut World) {
        let everyone: BTreeSet<SocketAddr> =
            world.processes.iter().filter(|p| p.node.is_some()).map(|p| p.addr).collect();
        let share = if self.rng.bool() { 0.0 } else { 0.5 };
        let mut some: BTreeSet<SocketAddr> =
            everyone.iter().filter(|_| self.rng.f64() < share).copied().collect();
        some.extend(self.rng.choice(everyone.iter().copied()));
        let others: BTreeSet<SocketAddr> = everyone.difference(&some).copied().collect();
        // Shorter than any suspicion, if nobody is to be given up on both sides.
        let longest = match self.kind {
            Kind::Mild => self.config.suspicion_timeouts(1).0.mul_f64(0.6),
            Kind::Wild => self.config.suspicion_timeouts(self.size).0 * 5,
        };
        let (length, which) = (self.up_to(longest), self.rng.u32(0..3));
        let loss = if self.rng.bool() { 1.0 } else { 0.3 + 0.7 * self.rng.f64() };
        if which != 0 {
            world.cut(Cut { from: some.clone(), to: others.clone(), loss }, length);
        }
        if which != 1 {
            world.cut(Cut { from: others, to: some, loss }, length);
        }
    }

    /// An operator removes someone who has failed in the eyes of a random member.
    fn remove(&mut self, world: &mut World) {
        let Some(pid) = self.anyone(world) else { return };
        let prune = self.kind == Kind::Wild && self.rng.bool();
        let rows = world.node(pid).members().rows();
        let failed: Vec<NodeName> =
            rows.filter(|r| r.status() == Status::Failed).map(|r| r.name.clone()).collect();
        let Some(name) = self.rng.choice(failed) else { return };
        world.trace(|| format!("process {pid} removes {name}, prune: {prune}"));
        world.act(pid, |node, now, out| node.force_leave(&name, prune, now, out));
        world.tally.count(if prune { "prunes" } else { "force-leaves" });
    }
}

/// Joins members that cannot find each other by themselves, because nobody on one side believes
/// anyone on the other to be there. (They reach for failed members themselves, but at a pace that
/// would make each storm last for minutes.)
pub(crate) fn bridge(world: &mut World) {
    let live = world.pick(|p: &Process| p.stays() && p.joined);
    let Some((&anchor, others)) = live.split_first() else { return };
    let mainland = mainland(world, anchor, &live);
    let addr = world.processes[anchor].addr;
    for pid in others.iter().filter(|pid| !mainland.contains(*pid)) {
        world.tally.count("rejoins");
        world.join(*pid, addr);
    }
}

/// Everyone who is connected with `anchor` by members who know each other, at least one way:
/// whoever probes another is heard by it, and sees from the answer that their views differ.
fn mainland(world: &World, anchor: Pid, live: &[Pid]) -> BTreeSet<Pid> {
    let knows = |a: Pid, b: Pid| {
        let (name, addr) = (&world.processes[b].name, world.processes[b].addr);
        world.node(a).members().row(name).is_some_and(|r| r.is_present() && r.addr == addr)
    };
    let (mut found, mut frontier) = (BTreeSet::from([anchor]), vec![anchor]);
    while let Some(a) = frontier.pop() {
        for &b in live {
            if !found.contains(&b) && (knows(a, b) || knows(b, a)) {
                found.insert(b);
                frontier.push(b);
            }
        }
    }
    found
}
