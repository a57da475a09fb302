//! The world: processes at addresses, a network between them, and virtual time.

use crate::calendar::Calendar;
use crate::listener::{Record, remembers_little};
use crate::network::{Cut, Faulty, Lan, Network, Weather};
use crate::node::{Leave, Node, Outbox, Outgoing};
use crate::observer;
use crate::process::{Pid, Process};
use crate::streams::{Stream, StreamEvent, request_target};
use crate::tally::Tally;
use fastrand::Rng;
use serf::membership::{Config, SelfDescription};
use serf::messaging::Kind;
use serf::model::{Incarnation, MemberEventKind, Moment, NodeName, Tags};
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

/// Tables larger than this are not inspected after every step of their process, only after
/// every so many, in proportion to their size, so that large clusters do not cost squares.
const INSPECT_EACH_STEP: usize = 10;
/// Inspections until the table's indexes are recomputed, too; what is wrong there stays wrong.
const RECOMPUTE_EACH: usize = 4;

/// Makes another datagram of one that a liar sends.
pub type Lie = fn(Vec<u8>, &mut Rng) -> Vec<u8>;

/// What can happen.
#[derive(Debug)]
pub enum Event {
    /// A datagram arrives at an address.
    Arrives { from: SocketAddr, to: SocketAddr, bytes: Vec<u8> },
    /// A process's deadline comes.
    Wakes(Pid),
    /// A paused process runs again.
    Resumes(Pid),
    /// A process tries to join once more.
    Joins(Pid),
    /// Something happens to a TCP connection.
    Stream(StreamEvent),
    /// A cut heals.
    Heals(u64),
    /// The weather clears up.
    Clears,
}

/// Everything.
pub struct World {
    /// The current moment.
    pub now: Moment,
    /// Everyone who has ever been started.
    pub processes: Vec<Process>,
    /// The network.
    pub network: Faulty<Lan>,
    /// Counts.
    pub tally: Tally,
    /// The random source of the world; each node has its own, drawn from this one.
    pub rng: Rng,
    /// The events that were told, as (when, observer, what, about whom), if someone asked.
    pub log: Option<Vec<(Moment, Pid, MemberEventKind, NodeName)>>,
    /// What was told of events and queries and which answers arrived, if someone asked.
    pub record: Option<Record>,
    /// Whether whoever is asked for an exchange takes in the other's state before it answers, so
    /// that its answer is its refutation.
    pub merges_first: bool,
    /// Rewrites what a member sends, if someone is to lie.
    pub liar: Option<(SocketAddr, Lie)>,
    pub(crate) calendar: Calendar<Event>,
    pub(crate) streams: BTreeMap<u64, Stream>,
    pub(crate) config: Config,
    listeners: BTreeMap<SocketAddr, Pid>,
    addresses: BTreeSet<SocketAddr>,
    stated: BTreeMap<NodeName, Incarnation>,
    pub(crate) next_id: u64,
    trace: bool,
}

impl World {
    /// An empty world.
    pub fn new(seed: u64, config: Config) -> World {
        World {
            now: Moment::ZERO + Duration::from_secs(1),
            processes: Vec::new(),
            network: Faulty::new(Lan::default()),
            tally: Tally::default(),
            rng: Rng::with_seed(seed),
            log: None,
            record: None,
            merges_first: false,
            liar: None,
            calendar: Calendar::new(),
            streams: BTreeMap::new(),
            config,
            listeners: BTreeMap::new(),
            addresses: BTreeSet::new(),
            stated: BTreeMap::new(),
            next_id: 0,
            trace: std::env::var_os("SERF_SIM_SEED").is_some(),
        }
    }

    /// Prints a line of the trace, if one is wanted.
    pub fn trace(&self, line: impl FnOnce() -> String) {
        if self.trace {
            eprintln!("{} {}", self.now, line());
        }
    }

    /// An address that nobody has had.
    pub fn fresh_address(&self) -> SocketAddr {
        let n = self.addresses.len() as u32 + 1;
        SocketAddr::from(([10, (n >> 16) as u8, (n >> 8) as u8, n as u8], 7946))
    }

    /// Starts a process that knows nobody. An older one at the address has to be gone.
    pub fn start(&mut self, name: &NodeName, addr: SocketAddr, tags: Tags) -> Pid {
        assert!(self.at(addr).is_none(), "the address {addr} is in use");
        let pid = self.processes.len();
        self.trace(|| format!("{name} starts at {addr} as process {pid}"));
        let mut out = Outbox::default();
        let me = SelfDescription { name: name.clone(), addr, tags };
        let node = Node::new(self.config.clone(), me, self.now, self.rng.fork(), &mut out);
        self.addresses.insert(addr);
        self.listeners.insert(addr, pid);
        self.processes.push(Process::new(name.clone(), addr, node));
        self.tally.count("processes started");
        self.settle(pid, out);
        pid
    }

    /// The process at an address.
    pub fn at(&self, addr: SocketAddr) -> Option<Pid> {
        self.listeners.get(&addr).copied()
    }

    /// How many names there have been.
    pub fn names(&self) -> usize {
        self.stated.len()
    }

    /// The processes for which something holds.
    pub fn pick(&self, suits: impl Fn(&Process) -> bool) -> Vec<Pid> {
        (0..self.processes.len()).filter(|pid| suits(&self.processes[*pid])).collect()
    }

    /// The node of a process that has not ended.
    pub fn node(&self, pid: Pid) -> &Node {
        self.processes[pid].node.as_ref().expect("the process has not ended")
    }

    /// Ends a process without a word.
    pub fn crash(&mut self, pid: Pid) {
        let process = &mut self.processes[pid];
        process.node = None;
        process.take_stalled();
        let (name, addr, seen) = (process.name.clone(), process.addr, process.observer.seen);
        self.listeners.remove(&addr);
        self.tally.add_seen(&seen);
        self.trace(|| format!("{name} (process {pid}) ends"));
    }

    /// Stops a process for a while, as SIGSTOP does.
    pub fn pause(&mut self, pid: Pid, length: Duration) {
        self.trace(|| format!("process {pid} is paused for {length:?}"));
        self.processes[pid].paused = true;
        self.calendar.enter(self.now + length, Event::Resumes(pid));
        self.tally.count("pauses");
    }

    /// Puts a fault between some members for a while.
    pub fn cut(&mut self, cut: Cut, length: Duration) {
        self.next_id += 1;
        self.trace(|| format!("cut for {length:?}: {cut:?}"));
        self.network.cuts.insert(self.next_id, cut);
        self.calendar.enter(self.now + length, Event::Heals(self.next_id));
        self.tally.count("cuts");
    }

    /// Makes the weather bad for a while.
    pub fn weather(&mut self, weather: Weather, length: Duration) {
        self.trace(|| format!("weather for {length:?}: {weather:?}"));
        self.network.weather = weather;
        self.calendar.enter(self.now + length, Event::Clears);
        self.tally.count("bad weathers");
    }

    /// No faults any more, and everyone runs.
    pub fn calm(&mut self) {
        self.trace(|| "calm".to_string());
        self.network.weather = Weather::default();
        self.network.cuts.clear();
        for pid in self.pick(|p| p.paused) {
            self.resume(pid);
        }
    }

    /// Lets a process do something, if it exists.
    pub fn act<T>(&mut self, pid: Pid, f: impl FnOnce(&mut Node, Moment, &mut Outbox) -> T) -> Option<T> {
        let mut out = Outbox::default();
        let node = self.processes[pid].node.as_mut()?;
        let result = f(node, self.now, &mut out);
        self.settle(pid, out);
        Some(result)
    }

    /// Puts a datagram on the wire, whoever sends it.
    pub fn send(&mut self, from: SocketAddr, to: SocketAddr, bytes: Vec<u8>) {
        self.tally.count("datagrams sent");
        self.tally.add("bytes sent in datagrams", bytes.len() as u64);
        for copy in self.network.carry(from, to, bytes, &mut self.rng) {
            self.calendar.enter(self.now + copy.after, Event::Arrives { from, to, bytes: copy.bytes });
        }
    }

    /// Lets time pass.
    pub fn run_for(&mut self, length: Duration) {
        self.run_until(self.now + length);
    }

    /// Lets time pass until a moment, inclusively.
    pub fn run_until(&mut self, until: Moment) {
        while let Some((at, event)) = self.calendar.next_by(until) {
            assert!(at >= self.now, "time runs backwards");
            self.now = at;
            self.happen(event);
        }
        self.now = until;
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Arrives { from, to, bytes } => self.arrive(from, to, bytes),
            Event::Wakes(pid) => {
                let process = &mut self.processes[pid];
                if process.node.is_some() && !process.paused && process.wakes_at == self.now {
                    process.wakes_at = Moment::NEVER;
                    self.act(pid, Node::wake);
                }
            }
            Event::Resumes(pid) => self.resume(pid),
            Event::Joins(pid) => self.join_somewhere(pid),
            Event::Stream(event) => self.stream(event),
            Event::Heals(id) => drop(self.network.cuts.remove(&id)),
            Event::Clears => self.network.weather = Weather::default(),
        }
    }

    fn arrive(&mut self, from: SocketAddr, to: SocketAddr, bytes: Vec<u8>) {
        let Some(pid) = self.at(to) else { return self.tally.count("datagrams to nobody") };
        let process = &mut self.processes[pid];
        if process.paused {
            if !process.keep(from, bytes) {
                self.tally.count("datagrams beyond the socket buffer");
            }
            return;
        }
        self.take_down(pid, &bytes);
        self.act(pid, |node, now, out| {
            node.datagram(from, &bytes, now, out);
            node.wake(now, out);
        });
    }

    fn resume(&mut self, pid: Pid) {
        let process = &mut self.processes[pid];
        if !std::mem::take(&mut process.paused) || process.node.is_none() {
            return;
        }
        let (inbox, stalled) = process.take_stalled();
        self.trace(|| format!("process {pid} runs again, {} datagrams wait", inbox.len()));
        self.act(pid, |node, now, out| {
            for (from, bytes) in inbox {
                node.datagram(from, &bytes, now, out);
            }
            node.wake(now, out);
        });
        for event in stalled {
            self.stream(event);
        }
    }

    /// Carries out what a process wants done and checks the laws.
    fn settle(&mut self, pid: Pid, out: Outbox) {
        let addr = self.processes[pid].addr;
        self.tally.add("datagrams refused", out.refused);
        for Outgoing { to, bytes, probe } in out.datagrams {
            let node = self.node(pid);
            self.obey(pid, observer::fits_budget(bytes.len(), &node.members));
            self.obey(pid, observer::known_or_asking(to, &self.addresses, &out.answering));
            if self.rng.f64() < self.network.weather.refusal {
                self.tally.count("sends refused");
                if let (Some(seq_no), Some(node)) = (probe, &mut self.processes[pid].node) {
                    node.prober.send_failed(seq_no, self.now);
                }
                continue;
            }
            let bytes = match self.liar {
                Some((liar, lie)) if liar == addr => lie(bytes, &mut self.rng),
                _ => bytes,
            };
            self.send(addr, to, bytes);
        }
        for request in out.streams {
            self.obey(pid, observer::known_or_asking(request_target(&request), &self.addresses, &[]));
            self.request(pid, request);
        }
        for event in &out.events {
            self.trace(|| {
                let (me, member) = (&self.processes[pid].name, &event.member);
                format!("{me} ({pid}): {} {} incarnation {}", event.kind, member.name, member.incarnation)
            });
            self.tally.count(event.kind.as_str());
            if let Some(log) = &mut self.log {
                log.push((self.now, pid, event.kind, event.member.name.clone()));
            }
            let verdict = self.processes[pid].observer.event(event);
            self.obey(pid, verdict);
        }
        self.listen(pid, out.told);
        self.state_incarnation(pid);
        let process = &mut self.processes[pid];
        process.steps += 1;
        if process.steps.is_multiple_of(1 + self.stated.len() / INSPECT_EACH_STEP) {
            self.inspect(pid);
        }
        self.plan(pid);
    }

    /// Remembers the incarnation that a process gives itself; nobody else may give it one.
    fn state_incarnation(&mut self, pid: Pid) {
        let row = self.node(pid).members.my_row();
        let (name, incarnation) = (&self.processes[pid].name, row.incarnation);
        match self.stated.get_mut(name) {
            Some(known) => *known = incarnation.max(*known),
            None => drop(self.stated.insert(name.clone(), incarnation)),
        }
    }

    /// Checks one process's table and queue.
    fn inspect(&mut self, pid: Pid) {
        let process = &mut self.processes[pid];
        let Some(node) = &process.node else { return };
        let (members, queue) = (&node.members, &node.gossip.queue);
        process.inspections += 1;
        if process.inspections.is_multiple_of(RECOMPUTE_EACH) {
            members.check_invariants();
        }
        queue.check_invariants(members.present());
        let names = self.stated.len();
        let mut verdict = process.observer.table(members.rows().map(Into::into), &self.stated);
        if node.leave == Leave::Stays {
            verdict = verdict.and(observer::believes_in_itself(members.my_row()));
        }
        for queued in [queue.len(Kind::Membership), queue.len(Kind::Intent), members.early_intents()] {
            verdict = verdict.and(observer::queue_is_bounded(queued, names));
        }
        self.obey(pid, verdict);
        self.obey(pid, remembers_little(&self.node(pid).talker));
    }

    /// Inspects everyone.
    pub fn inspect_all(&mut self) {
        (0..self.processes.len()).for_each(|pid| self.inspect(pid));
    }

    fn plan(&mut self, pid: Pid) {
        let now = self.now;
        let process = &mut self.processes[pid];
        let Some(node) = &mut process.node else { return };
        if node.leave == Leave::Done {
            return self.end_leave(pid);
        }
        let at = node.deadline(now).max(now);
        process.spins = if at == now { process.spins + 1 } else { 0 };
        if process.wakes_at != at && at != Moment::NEVER {
            process.wakes_at = at;
            self.calendar.enter(at, Event::Wakes(pid));
        }
        let spins = process.spins;
        self.obey(pid, observer::moves_on(spins));
    }

    fn end_leave(&mut self, pid: Pid) {
        self.tally.count("members that left");
        if !self.processes[pid].returns {
            return self.crash(pid);
        }
        self.trace(|| format!("process {pid} comes back"));
        self.tally.count("members that came back");
        self.act(pid, Node::come_back);
        self.processes[pid].joined = false;
        self.join_somewhere(pid);
    }

    /// Stops the run if a law was broken.
    pub(crate) fn obey(&self, pid: Pid, verdict: Result<(), impl std::fmt::Display>) {
        if let Err(violation) = verdict {
            let name = &self.processes[pid].name;
            panic!("at {}, process {pid} ({name}): {violation}", self.now);
        }
    }
}
