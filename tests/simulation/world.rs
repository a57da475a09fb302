//! The world: processes at addresses, a network between them, and virtual time.

use crate::calendar::Calendar;
use crate::delivery_laws::{Record, remembers_little};
use crate::membership_laws;
use crate::network::{Cut, Faulty, Lan, Network, Weather};
use crate::process::{Pid, Process};
use crate::streams::{Stream, StreamEvent};
use crate::tally::Tally;
use fastrand::Rng;
use serf::membership::{Config, SelfDescription};
use serf::messaging::Kind;
use serf::messaging::queries::QueryLimits;
use serf::model::{Ceilings, Incarnation, MemberEvent, MemberEventKind, Moment, NodeName, Tags};
use serf::node::Node;
use serf::node::conversation::ConversationSettings;
use serf::node::outbox::{Outbox, OutgoingDatagram};
use serf::node::snapshot::{Clocks, Known};
use serf::node::whole::NodeSettings;
use serf::wire::keyring::{Keyring, SharedKeyring};
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

/// Tables larger than this are not inspected after every step of their process, only after
/// every so many, in proportion to their size, so that large clusters do not cost squares.
const INSPECT_EACH_STEP: usize = 10;
/// Inspections until the table's indexes are recomputed, too; what is wrong there stays wrong.
const RECOMPUTE_EACH: usize = 4;

/// Largest event, in bytes, encoded (Serf's default).
const EVENT_SIZE_LIMIT: usize = 512;
/// The longest wait for an announcement of a leave to be spread (Serf's `BroadcastTimeout`).
const BROADCAST_TIMEOUT: Duration = Duration::from_secs(5);

/// How an event came to the process to which it is delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Via {
    /// It was fired here.
    Fire,
    /// In a datagram.
    Gossip,
    /// In a push/pull.
    Exchange,
}

/// How a process starts.
#[derive(Debug, Default)]
pub(crate) struct Start {
    /// Its tags.
    pub tags: Tags,
    /// The snapshot file that it finds.
    pub snapshot: Vec<u8>,
    /// Its keys.
    pub keyring: Option<Keyring>,
}

/// Makes another datagram of one that a liar sends.
pub(crate) type Lie = fn(Vec<u8>, &mut Rng) -> Vec<u8>;

/// What can happen.
#[derive(Debug)]
pub(crate) enum Event {
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
pub(crate) struct World {
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
    /// How what is delivered now has come.
    pub via: Via,
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
    pub(crate) fn new(seed: u64, config: Config) -> World {
        World {
            now: Moment::ZERO + Duration::from_secs(1),
            processes: Vec::new(),
            network: Faulty::new(Lan::default()),
            tally: Tally::default(),
            rng: Rng::with_seed(seed),
            log: None,
            record: None,
            via: Via::Gossip,
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
    pub(crate) fn trace(&self, line: impl FnOnce() -> String) {
        if self.trace {
            eprintln!("{} {}", self.now, line());
        }
    }

    /// An address that nobody has had.
    pub(crate) fn fresh_address(&self) -> SocketAddr {
        let n = self.addresses.len() as u32 + 1;
        SocketAddr::from(([10, (n >> 16) as u8, (n >> 8) as u8, n as u8], 7946))
    }

    /// Starts a process that knows nobody. An older one at the address has to be gone.
    pub(crate) fn start(&mut self, name: &NodeName, addr: SocketAddr, tags: Tags) -> Pid {
        self.start_with(name, addr, Start { tags, ..Start::default() })
    }

    /// Starts a process, which rejoins the members of its snapshot.
    pub(crate) fn start_with(&mut self, name: &NodeName, addr: SocketAddr, start: Start) -> Pid {
        assert!(self.at(addr).is_none(), "the address {addr} is in use");
        let pid = self.processes.len();
        self.trace(|| format!("{name} starts at {addr} as process {pid}"));
        let mut process = Process::new(name.clone(), addr);
        process.snapshot = start.snapshot;
        process.keyring = start.keyring.map(SharedKeyring::new);
        let known = process.recalled();
        process.listener.resume(known.clocks());
        let settings = self.settings(&process, known);
        let me = SelfDescription { name: name.clone(), addr, tags: start.tags };
        let mut out = Outbox::default();
        let node = Node::new(settings, me, self.now, self.rng.fork(), &mut out);
        process.node = Some(node.expect("tags of the simulator are small"));
        self.addresses.insert(addr);
        self.listeners.insert(addr, pid);
        self.processes.push(process);
        self.tally.count("processes started");
        self.settle(pid, out);
        pid
    }

    fn settings(&self, process: &Process, known: Known) -> NodeSettings {
        NodeSettings {
            rules: self.config.clone(),
            conversation: ConversationSettings {
                user_event_size_limit: EVENT_SIZE_LIMIT,
                query_limits: QueryLimits::default(),
                resolve_names: true,
                keyring: process.keyring.clone(),
                resumed: Clocks::default(),
                ceilings: Ceilings::default(),
            },
            broadcast_timeout: BROADCAST_TIMEOUT,
            snapshot: Some(known),
        }
    }

    /// The process at an address.
    pub(crate) fn at(&self, addr: SocketAddr) -> Option<Pid> {
        self.listeners.get(&addr).copied()
    }

    /// How many names there have been.
    pub(crate) fn names(&self) -> usize {
        self.stated.len()
    }

    /// The processes for which something holds.
    pub(crate) fn pick(&self, suits: impl Fn(&Process) -> bool) -> Vec<Pid> {
        (0..self.processes.len()).filter(|pid| suits(&self.processes[*pid])).collect()
    }

    /// The node of a process that has not ended.
    pub(crate) fn node(&self, pid: Pid) -> &Node {
        self.processes[pid].node.as_ref().expect("the process has not ended")
    }

    /// Ends a process without a word.
    pub(crate) fn crash(&mut self, pid: Pid) {
        let process = &mut self.processes[pid];
        process.node = None;
        process.take_stalled();
        let (name, addr, seen) = (process.name.clone(), process.addr, process.observer.seen);
        self.listeners.remove(&addr);
        self.tally.add_seen(&seen);
        self.trace(|| format!("{name} (process {pid}) ends"));
    }

    /// Stops a process for a while, as SIGSTOP does.
    pub(crate) fn pause(&mut self, pid: Pid, length: Duration) {
        self.trace(|| format!("process {pid} is paused for {length:?}"));
        self.processes[pid].paused = true;
        self.calendar.enter(self.now + length, Event::Resumes(pid));
        self.tally.count("pauses");
    }

    /// Puts a fault between some members for a while.
    pub(crate) fn cut(&mut self, cut: Cut, length: Duration) {
        self.next_id += 1;
        self.trace(|| format!("cut for {length:?}: {cut:?}"));
        self.network.cuts.insert(self.next_id, cut);
        self.calendar.enter(self.now + length, Event::Heals(self.next_id));
        self.tally.count("cuts");
    }

    /// Makes the weather bad for a while.
    pub(crate) fn weather(&mut self, weather: Weather, length: Duration) {
        self.trace(|| format!("weather for {length:?}: {weather:?}"));
        self.network.weather = weather;
        self.calendar.enter(self.now + length, Event::Clears);
        self.tally.count("bad weathers");
    }

    /// No faults any more, and everyone runs.
    pub(crate) fn calm(&mut self) {
        self.trace(|| "calm".to_string());
        self.network.weather = Weather::default();
        self.network.cuts.clear();
        for pid in self.pick(|p| p.paused) {
            self.resume(pid);
        }
    }

    /// Lets a process do something, if it exists.
    pub(crate) fn act<T>(
        &mut self,
        pid: Pid,
        f: impl FnOnce(&mut Node, Moment, &mut Outbox) -> T,
    ) -> Option<T> {
        let mut out = Outbox::default();
        let node = self.processes[pid].node.as_mut()?;
        let result = f(node, self.now, &mut out);
        self.settle(pid, out);
        Some(result)
    }

    /// Puts a datagram on the wire, whoever sends it.
    pub(crate) fn send(&mut self, from: SocketAddr, to: SocketAddr, bytes: Vec<u8>) {
        self.tally.count("datagrams sent");
        self.tally.add("bytes sent in datagrams", bytes.len() as u64);
        for copy in self.network.carry(from, to, bytes, &mut self.rng) {
            self.calendar.enter(self.now + copy.after, Event::Arrives { from, to, bytes: copy.bytes });
        }
    }

    /// Lets time pass.
    pub(crate) fn run_for(&mut self, length: Duration) {
        self.run_until(self.now + length);
    }

    /// Lets time pass until a moment, inclusively.
    pub(crate) fn run_until(&mut self, until: Moment) {
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
                    self.handle(pid);
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
            node.datagrams(vec![(from, bytes)], now, out);
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
            node.datagrams(inbox, now, out);
            node.wake(now, out);
        });
        for event in stalled {
            self.stream(event);
        }
    }

    /// Carries out what a process wants done and checks the laws.
    fn settle(&mut self, pid: Pid, out: Outbox) {
        self.tally.add("datagrams refused", out.refused);
        self.processes[pid].snapshot.extend_from_slice(&out.snapshot);
        // Whatever is sent goes to a member: nothing is an answer to a stranger here.
        self.send_all(pid, out.datagrams, &out.answered);
        for (to, message, purpose) in out.connects {
            self.obey(pid, membership_laws::known_or_asking(to.addr, &self.addresses, &[]));
            self.open(pid, to.addr, &message, purpose);
        }
        for (stream, message) in out.replies {
            self.reply(stream, &message);
        }
        for (line, message, last) in out.said {
            self.say(pid, line, message, last);
        }
        for line in out.ended {
            self.end_line(pid, line);
        }
        for stream in out.closes {
            self.time_out(stream.0 as u64);
        }
        out.member_events.iter().for_each(|event| self.observe(pid, event));
        for event in out.delivered {
            self.deliver(pid, event);
        }
        for (token, reply) in out.answers {
            self.answer_client(pid, token, reply);
        }
        self.listen(pid);
        for (id, result) in out.joins {
            if self.processes[pid].joining == Some(id) {
                self.joined(pid, result.is_ok());
            }
        }
        self.state_incarnation(pid);
        let process = &mut self.processes[pid];
        process.steps += 1;
        if process.steps.is_multiple_of(1 + self.stated.len() / INSPECT_EACH_STEP) {
            self.inspect(pid);
        }
        self.plan(pid);
        for (change, query) in out.key_changes {
            self.change_key(pid, &change, query);
        }
        for seed in out.lookups {
            // Nobody has to be asked where an address is.
            self.processes[pid].lookups += 1;
            let addrs = seed.parse().into_iter().collect();
            self.act(pid, |node, now, out| node.seed_found(&seed, addrs, now, out));
        }
        if let Some(lost) = out.name_lost {
            self.trace(|| lost.to_string());
            self.tally.count("names lost");
            // A former run of this very member, too, if faults kept the others from noticing its end.
            let holders = self.pick(|p| p.name == lost.name && p.addr == lost.theirs);
            self.obey(pid, membership_laws::loses_to_another(holders.len(), &lost));
            self.crash(pid);
        }
    }

    fn send_all(&mut self, pid: Pid, datagrams: Vec<OutgoingDatagram>, answered: &[SocketAddr]) {
        let addr = self.processes[pid].addr;
        for OutgoingDatagram { to, bytes, probe } in datagrams {
            let node = self.node(pid);
            self.obey(pid, membership_laws::fits_budget(bytes.len(), node.members()));
            self.obey(pid, membership_laws::known_or_asking(to, &self.addresses, answered));
            let mut forwards = std::mem::take(&mut self.processes[pid].forwards);
            let verdict = forwards.note(&bytes, to, || self.names_at(to));
            self.processes[pid].forwards = forwards;
            self.obey(pid, verdict);
            if self.rng.f64() < self.network.weather.refusal {
                self.tally.count("sends refused");
                if let (Some(seq_no), Some(node)) = (probe, &mut self.processes[pid].node) {
                    node.send_failed(seq_no, self.now);
                }
                continue;
            }
            let bytes = match self.liar {
                Some((liar, lie)) if liar == addr => lie(bytes, &mut self.rng),
                _ => bytes,
            };
            self.send(addr, to, bytes);
        }
    }

    fn observe(&mut self, pid: Pid, event: &MemberEvent) {
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

    /// Remembers the incarnation that a process gives itself; nobody else may give it one.
    fn state_incarnation(&mut self, pid: Pid) {
        let row = self.node(pid).members().my_row();
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
        let (members, queue) = (node.members(), &node.gossip.queue);
        process.inspections += 1;
        if process.inspections.is_multiple_of(RECOMPUTE_EACH) {
            members.check_invariants();
        }
        queue.check_invariants(members.present());
        let names = self.stated.len();
        let mut verdict = process.observer.table(members.rows().map(Into::into), &self.stated);
        if !node.is_leaving() {
            verdict = verdict.and(membership_laws::believes_in_itself(members.my_row()));
        }
        for queued in [queue.len(Kind::Membership), queue.len(Kind::Intent), members.early_intents()] {
            verdict = verdict.and(membership_laws::queue_is_bounded(queued, names));
        }
        self.obey(pid, verdict);
        self.obey(pid, remembers_little(&self.node(pid).conversation));
    }

    /// Inspects everyone.
    pub(crate) fn inspect_all(&mut self) {
        (0..self.processes.len()).for_each(|pid| self.inspect(pid));
    }

    fn plan(&mut self, pid: Pid) {
        let now = self.now;
        let process = &mut self.processes[pid];
        let Some(node) = &mut process.node else { return };
        if node.has_left() {
            return self.end_leave(pid);
        }
        let rules = node.deadline(now);
        let at = rules.min(process.handlers_deadline()).max(now);
        process.spins = if at == now { process.spins + 1 } else { 0 };
        if process.wakes_at != at && at != Moment::NEVER {
            process.wakes_at = at;
            self.calendar.enter(at, Event::Wakes(pid));
        }
        let spins = process.spins;
        self.obey(pid, membership_laws::moves_on(spins));
    }

    fn end_leave(&mut self, pid: Pid) {
        self.tally.count("members that left");
        if !self.processes[pid].returns {
            return self.crash(pid);
        }
        let seeds = self.pick(|p| p.joined && p.stays());
        let Some(seed) = self.rng.choice(seeds) else { return self.crash(pid) };
        self.trace(|| format!("process {pid} comes back"));
        self.tally.count("members that came back");
        self.processes[pid].joined = false;
        self.join(pid, self.processes[seed].addr);
    }

    /// How many members have been at an address so far.
    fn names_at(&self, addr: SocketAddr) -> usize {
        let names = self.processes.iter().filter(|p| p.addr == addr).map(|p| &p.name);
        names.collect::<BTreeSet<_>>().len()
    }

    /// Stops the run if a law was broken.
    pub(crate) fn obey(&self, pid: Pid, verdict: Result<(), impl std::fmt::Display>) {
        if let Err(violation) = verdict {
            let name = &self.processes[pid].name;
            panic!("at {}, process {pid} ({name}): {violation}", self.now);
        }
    }
}
