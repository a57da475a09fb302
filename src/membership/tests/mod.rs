//! The rules as transcripts: what one member hears, says, delivers and becomes, in virtual time.
//!
//! A [`Bench`] is one member called `me` with its table and its prober. Tests feed it messages
//! and read, in words, what it does about them. After every step the table's invariants are
//! checked, so no test needs to.

mod answering;
mod conflict;
mod crash;
mod exchange;
mod intents;
mod limits;
mod locating;
mod probing;
mod properties;
mod recovery;
mod swim;
mod versions;

use super::*;
use crate::model::{Incarnation, LamportTime, Member, Moment, NodeName, Tags, Versions};
use crate::wire::message::*;
use fastrand::Rng;
use std::net::SocketAddr;
use std::time::Duration;

/// Seconds.
pub(crate) const S: fn(u64) -> Duration = Duration::from_secs;
/// How long a former holder of a name has to be silent.
pub(crate) const SILENCE: Duration = Duration::from_millis(1600);
/// Milliseconds.
pub(crate) const MS: fn(u64) -> Duration = Duration::from_millis;

pub(crate) fn name(s: impl AsRef<[u8]>) -> NodeName {
    NodeName::new(s).unwrap()
}

/// Every name has an address of its own.
pub(crate) fn addr(of: &str) -> SocketAddr {
    let hash = of.bytes().fold(7u32, |h, b| h.wrapping_mul(31).wrapping_add(u32::from(b)));
    let [_, a, b, c] = hash.to_be_bytes();
    SocketAddr::from(([10, a, b, c], 7946))
}

pub(crate) fn no_tags() -> Vec<u8> {
    Tags::default().encode().unwrap()
}

pub(crate) fn alive(node: &str, incarnation: u32) -> Alive {
    Alive {
        incarnation: Incarnation(incarnation),
        node: name(node),
        addr: addr(node),
        meta: no_tags(),
        versions: Versions::OURS,
    }
}

pub(crate) fn suspect(node: &str, incarnation: u32, from: &str) -> Suspect {
    Suspect { incarnation: Incarnation(incarnation), node: name(node), from: name(from) }
}

pub(crate) fn dead(node: &str, incarnation: u32, from: &str) -> Dead {
    Dead { incarnation: Incarnation(incarnation), node: name(node), from: name(from) }
}

pub(crate) fn join(node: &str, ltime: u64) -> JoinIntent {
    JoinIntent { ltime: LamportTime(ltime), node: name(node) }
}

pub(crate) fn leave(node: &str, ltime: u64) -> LeaveIntent {
    LeaveIntent { ltime: LamportTime(ltime), node: name(node), prune: false }
}

pub(crate) fn peer_row(node: &str, incarnation: u32, state: PeerState) -> PeerRow {
    PeerRow {
        node: name(node),
        addr: addr(node),
        meta: no_tags(),
        incarnation: Incarnation(incarnation),
        state,
        leaving: false,
        status_ltime: LamportTime::ZERO,
        versions: Versions::OURS,
    }
}

pub(crate) fn push_pull(rows: Vec<PeerRow>) -> PushPull {
    PushPull { join: false, ltime: LamportTime(1), rows, ..PushPull::default() }
}

/// A message in words.
fn words(message: &Message) -> String {
    match message {
        Message::Probe(m) => match m {
            ProbeMessage::Ping(m) => format!("ping {}", m.node),
            ProbeMessage::IndirectPing(m) => format!("please ping {}", m.node),
            ProbeMessage::Ack(m) => format!("ack {}", m.seq_no),
            ProbeMessage::Nack(m) => format!("nack {}", m.seq_no),
            ProbeMessage::Knock(m) => format!("please knock at {}", m.node),
            ProbeMessage::Refused(m) => format!("refused {}", m.seq_no),
        },
        Message::Membership(m) => match m {
            MembershipMessage::Alive(m) => format!("alive {} {}", m.node, m.incarnation),
            MembershipMessage::Suspect(m) => format!("suspect {} {} by {}", m.node, m.incarnation, m.from),
            MembershipMessage::Dead(m) => format!("dead {} {} by {}", m.node, m.incarnation, m.from),
            MembershipMessage::JoinIntent(m) => format!("join {} {}", m.node, m.ltime),
            MembershipMessage::LeaveIntent(m) if m.prune => format!("prune {} {}", m.node, m.ltime),
            MembershipMessage::LeaveIntent(m) => format!("leave {} {}", m.node, m.ltime),
        },
        Message::Serf(m) => format!("{m:?}"),
        Message::Wave(m) => format!("{m:?}"),
    }
}

/// One member, `me`, and all that it wants done.
pub(crate) struct Bench {
    pub members: Members,
    pub prober: Prober,
    pub now: Moment,
    pub rng: Rng,
    pub fx: Effects,
}

impl Bench {
    /// A member alone.
    pub(crate) fn alone() -> Bench {
        Bench::configured(Config::for_profile(Profile::Lan))
    }

    pub(crate) fn configured(config: Config) -> Bench {
        Bench::named("me", config)
    }

    /// A member of another name than `me`.
    pub(crate) fn named(who: &str, config: Config) -> Bench {
        let (now, mut rng, mut fx) = (Moment::ZERO + S(1000), Rng::with_seed(7), Effects::default());
        let me = SelfDescription { name: name(who), addr: addr(who), tags: Tags::default() };
        let members = Members::new(config, me, now, &mut fx).unwrap();
        let prober = Prober::new(&members, now, &mut rng);
        let mut bench = Bench { members, prober, now, rng, fx };
        assert_eq!(bench.delivered(), [format!("member-join {who} alive")]);
        bench
    }

    /// A member that knows these others, each alive in its first incarnation.
    pub(crate) fn with(names: &[&str]) -> Bench {
        let mut bench = Bench::alone();
        for name in names {
            bench.alive(name, 1);
        }
        bench.forget();
        bench
    }

    /// As [`Bench::with_many`], all of an older version that takes no part in waves.
    pub(crate) fn without_waves(n: usize) -> Bench {
        let mut bench = Bench::alone();
        let versions = Versions { protocol_max: Versions::WAVES - 1, ..Versions::OURS };
        for i in 0..n {
            let member = format!("m{i}");
            bench.hear(&member, vec![Alive { versions, ..alive(&member, 1) }.into()]);
        }
        bench.forget();
        bench
    }

    /// As [`Bench::with`], for `n` others called `m0`, `m1` and so on.
    pub(crate) fn with_many(n: usize) -> Bench {
        let mut bench = Bench::alone();
        for i in 0..n {
            bench.alive(&format!("m{i}"), 1);
        }
        bench.forget();
        bench
    }

    // ---- what it hears -----------------------------------------------------------------

    /// One datagram from the member `from`.
    pub(crate) fn hear(&mut self, from: &str, messages: Vec<Message>) -> Vec<ProbeOutcome> {
        self.hear_from(addr(from), messages)
    }

    pub(crate) fn hear_from(&mut self, from: SocketAddr, messages: Vec<Message>) -> Vec<ProbeOutcome> {
        let Bench { members, prober, now, rng, fx } = self;
        let batch = messages.into_iter().map(|m| (from, m)).collect();
        let outcomes = receive(batch, members, prober, *now, rng, fx).outcomes;
        members.check_invariants();
        outcomes
    }

    pub(crate) fn news(&mut self, message: Message) {
        self.hear("x", vec![message]);
    }

    pub(crate) fn alive(&mut self, node: &str, incarnation: u32) {
        self.news(Message::from(alive(node, incarnation)));
    }

    pub(crate) fn alive_at(&mut self, node: &str, incarnation: u32, at: SocketAddr) {
        self.news(Message::from(Alive { addr: at, ..alive(node, incarnation) }));
    }

    pub(crate) fn suspect(&mut self, node: &str, incarnation: u32, from: &str) {
        self.news(Message::from(suspect(node, incarnation, from)));
    }

    pub(crate) fn dead(&mut self, node: &str, incarnation: u32, from: &str) {
        self.news(Message::from(dead(node, incarnation, from)));
    }

    pub(crate) fn join(&mut self, node: &str, ltime: u64) {
        self.news(Message::from(join(node, ltime)));
    }

    pub(crate) fn leave(&mut self, node: &str, ltime: u64) {
        self.news(Message::from(leave(node, ltime)));
    }

    pub(crate) fn prune(&mut self, node: &str, ltime: u64) {
        self.news(Message::from(LeaveIntent { prune: true, ..leave(node, ltime) }));
    }

    pub(crate) fn merge(&mut self, rows: Vec<PeerRow>) {
        self.merge_all(&push_pull(rows));
    }

    pub(crate) fn merge_all(&mut self, message: &PushPull) {
        self.members.merge(message, self.now, &mut self.fx);
        self.members.check_invariants();
    }

    /// A rule of the table that takes the time and the effects.
    pub(crate) fn act<T>(&mut self, rule: impl FnOnce(&mut Members, Moment, &mut Effects) -> T) -> T {
        let result = rule(&mut self.members, self.now, &mut self.fx);
        self.members.check_invariants();
        result
    }

    // ---- time --------------------------------------------------------------------------

    /// Lets time pass for the table alone, from one deadline to the next.
    pub(crate) fn pass(&mut self, by: Duration) {
        let end = self.now + by;
        let mut steps = 0;
        while self.members.next_deadline() <= end {
            self.now = self.now.max(self.members.next_deadline());
            self.act(|members, now, fx| members.tick(now, fx));
            steps += 1;
            assert!(steps < 100_000, "the table's deadlines make no progress");
        }
        self.now = end;
        self.act(|members, now, fx| members.tick(now, fx));
    }

    /// Lets time pass for the prober and the table, which nobody answers. Returns how often
    /// it was woken.
    pub(crate) fn run(&mut self, by: Duration) -> usize {
        let end = self.now + by;
        let (mut wakes, mut in_a_row) = (0, 0);
        loop {
            let next = self.prober.plan(&self.members, self.now);
            if next > end {
                self.now = end;
                return wakes;
            }
            in_a_row = if next > self.now { 0 } else { in_a_row + 1 };
            assert!(in_a_row < 10, "the prober spins");
            self.wake_at(next);
            wakes += 1;
        }
    }

    /// How a ping over TCP went.
    pub(crate) fn stream_ping(&mut self, seq_no: u32, outcome: StreamPing) {
        let Bench { members, prober, now, rng, fx } = self;
        prober.stream_ping_done(seq_no, outcome, members, *now, rng, fx);
        members.check_invariants();
    }

    /// Wakes the prober at this moment, whenever it had planned to be.
    pub(crate) fn wake_at(&mut self, at: Moment) {
        self.now = self.now.max(at);
        let Bench { members, prober, now, rng, fx } = self;
        prober.tick(members, *now, rng, fx);
        members.check_invariants();
    }

    // ---- what it is and does -----------------------------------------------------------

    /// The status of a member in Serf's word; `none` if it is unknown.
    pub(crate) fn status(&self, node: &str) -> &'static str {
        self.members.row(node).map_or("none", |row| row.status().as_str())
    }

    pub(crate) fn incarnation(&self, node: &str) -> u32 {
        self.members.row(node).expect("unknown member").incarnation.0
    }

    pub(crate) fn is_suspect(&self, node: &str) -> bool {
        matches!(self.members.row(node).map(|r| &r.state), Some(State::Suspect(_)))
    }

    /// When the suspicion of a member ends, counted from now.
    pub(crate) fn patience(&self, node: &str) -> Duration {
        match &self.members.row(node).expect("unknown member").state {
            State::Suspect(suspicion) => suspicion.deadline().until(self.now),
            other => panic!("{node} is not suspected but {other:?}"),
        }
    }

    /// The news that it spreads, since this was last asked.
    pub(crate) fn said(&mut self) -> Vec<String> {
        self.fx.broadcasts.drain(..).map(|m| words(&m)).collect()
    }

    /// The events it delivers.
    pub(crate) fn delivered(&mut self) -> Vec<String> {
        let line =
            |kind: crate::model::MemberEventKind, m: &Member| format!("{kind} {} {}", m.name, m.status);
        self.fx.events.drain(..).map(|e| line(e.kind, &e.member)).collect()
    }

    /// What it sends directly: address by address, what one datagram carries on one line.
    pub(crate) fn sent(&mut self) -> Vec<(SocketAddr, String)> {
        let line = |t: Transmit| {
            let messages: Vec<String> = t.messages.iter().map(words).collect();
            (t.to.addr, messages.join(" + "))
        };
        self.fx.transmits.drain(..).map(line).collect()
    }

    /// What it wants of TCP.
    pub(crate) fn streamed(&mut self) -> Vec<String> {
        let line = |s: StreamRequest| match s {
            StreamRequest::Ping { ping, .. } => format!("ping {}", ping.node),
            StreamRequest::PushPull { node, .. } => format!("exchange with {node}"),
            StreamRequest::Reconnect { ping, .. } => format!("reconnect to {}", ping.node),
            StreamRequest::Ask { node, .. } => format!("ask {node}"),
            StreamRequest::Reach { whom, .. } => format!("reach {whom}"),
        };
        self.fx.streams.drain(..).map(line).collect()
    }

    /// Drops what it wanted done so far.
    pub(crate) fn forget(&mut self) {
        self.fx = Effects::default();
    }

    /// It wants nothing done.
    #[track_caller]
    pub(crate) fn silent(&self) {
        assert!(self.fx.is_empty(), "expected silence: {:?}", self.fx);
    }
}
