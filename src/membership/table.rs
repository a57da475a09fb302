//! The membership table: rows, their order for probing, and views of them. The rules that
//! change rows are in `swim`, `intent` and `exchange`; all of them go through
//! [`Members::change`], which keeps the digest, the indexes and the counts right.

use super::awareness::Awareness;
use super::config::Config;
use super::conflict::{MAX_RIVALS, Rival};
use super::effects::{Effects, Target};
use super::forgotten::Forgotten;
use super::row::{Row, State};
use super::vivaldi::Vivaldi;
use crate::model::{
    Incarnation, LamportClock, LamportTime, Member, MemberEvent, MemberEventKind, Moment, NodeName, Status,
    Tags, TagsError, Versions, canonical_ip,
};
use crate::telemetry::{RateLimit, counters};
use crate::wire::Dialect;
use fastrand::Rng;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

/// The most members that can be present at once. Far beyond what gossip at these intervals
/// serves; a bound on memory, not a goal.
pub const MAX_PRESENT: usize = 100_000;
/// The most dead and left members that are remembered; beyond it the oldest are forgotten
/// early. Keeps the table within what one push/pull can carry, however much churn there is.
pub const MAX_TOMBSTONES: usize = 8_192;
/// The most intents about unknown members that are kept.
pub const MAX_INTENTS: usize = 8_192;

/// The same complaint about one member is logged once in this time.
const COMPLAINT_INTERVAL: Duration = Duration::from_secs(60);

/// Whether this process takes part in the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// It does, and refutes whoever says otherwise.
    Here,
    /// It has said that it leaves.
    Leaving,
    /// It has left.
    Gone,
}

/// An intent that came before its member did.
#[derive(Clone, Copy, Debug)]
pub(super) struct EarlyIntent {
    pub leave: bool,
    pub ltime: LamportTime,
    pub at: Moment,
}

/// What is remembered of a pruned name, so that news still under way does not bring it back.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pruned {
    /// The last incarnation it had.
    pub incarnation: Incarnation,
    /// Lamport time of the last intent about it.
    pub ltime: LamportTime,
    pub at: Moment,
}

/// Who is here. One row a member, this process included.
#[derive(Debug)]
pub struct Members {
    pub(super) config: Config,
    pub(super) me: NodeName,
    pub(super) rows: BTreeMap<NodeName, Row>,
    /// Names of everyone worth probing or gossiping to, in the order of probing.
    order: Vec<NodeName>,
    cursor: usize,
    pub(super) suspects: BTreeSet<NodeName>,
    /// Members to be forgotten at a given time, because an operator asked for that while they
    /// were still alive.
    pub(super) prunes: BTreeMap<NodeName, Moment>,
    /// Dead members, and members that left, each by the time since when.
    dead: BTreeSet<(Moment, NodeName)>,
    left: BTreeSet<(Moment, NodeName)>,
    pub(super) clock: LamportClock,
    pub(super) intents: BTreeMap<NodeName, EarlyIntent>,
    pub(super) pruned: BTreeMap<NodeName, Pruned>,
    pub(super) forgotten: Forgotten,
    pub(super) presence: Presence,
    pub(super) awareness: Awareness,
    /// Where this process is on the network, if it takes part in that.
    pub(super) vivaldi: Option<Box<Vivaldi>>,
    pub(super) complaints: RateLimit<NodeName>,
    /// Who was refused a name a short while ago, with the address it claims it from.
    pub(super) rivals: BTreeMap<(NodeName, SocketAddr), Rival>,
    digest: u64,
    digest_since: Moment,
}

/// What this process says of itself when it starts.
#[derive(Clone, Debug)]
pub struct SelfDescription {
    /// Its name.
    pub name: NodeName,
    /// The address it advertises.
    pub addr: SocketAddr,
    /// Its tags.
    pub tags: Tags,
}

impl Members {
    /// A table with one row: this process, alive in its first incarnation.
    pub fn new(
        config: Config,
        me: SelfDescription,
        now: Moment,
        fx: &mut Effects,
    ) -> Result<Members, TagsError> {
        let mut clock = LamportClock::default();
        clock.increment();
        let meta = me.tags.encode()?;
        let mut members = Members {
            awareness: Awareness::new(config.awareness_max),
            vivaldi: config.coordinates.then(Box::default),
            config,
            me: me.name.clone(),
            rows: BTreeMap::new(),
            order: Vec::new(),
            cursor: 0,
            suspects: BTreeSet::new(),
            prunes: BTreeMap::new(),
            dead: BTreeSet::new(),
            left: BTreeSet::new(),
            clock,
            intents: BTreeMap::new(),
            pruned: BTreeMap::new(),
            forgotten: Forgotten::default(),
            presence: Presence::Here,
            complaints: RateLimit::new(1, COMPLAINT_INTERVAL),
            rivals: BTreeMap::new(),
            digest: 0,
            digest_since: now,
        };
        let row = Row {
            name: me.name,
            addr: SocketAddr::new(canonical_ip(me.addr.ip()), me.addr.port()),
            meta,
            tags: me.tags,
            versions: Versions::OURS,
            incarnation: Incarnation::FIRST,
            state: State::Alive,
            since: now,
            leaving: false,
            status_ltime: LamportTime::ZERO,
            probes: Default::default(),
            located: None,
            challenged: None,
            native_only: members.config.native_only,
            in_order: false,
        };
        let event = MemberEvent { kind: MemberEventKind::Join, member: row.member() };
        members.insert(row, now);
        members.tell(event, fx);
        Ok(members)
    }

    /// Goes on after an earlier life that had seen the Lamport time `last`, so that this one's
    /// intents are newer. A time too far away to be believed is ignored.
    pub fn resume(&mut self, last: LamportTime) {
        let _ = self.clock.witness(last);
    }

    // ---- views -------------------------------------------------------------------------

    /// This process's name.
    pub fn me(&self) -> &NodeName {
        &self.me
    }

    /// This process's row. It is never removed.
    pub fn my_row(&self) -> &Row {
        &self.rows[&self.me]
    }

    /// The timings in force.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// One row, if the name is known.
    pub fn row(&self, name: &str) -> Option<&Row> {
        self.rows.get(name)
    }

    /// All rows, by name.
    pub fn rows(&self) -> impl Iterator<Item = &Row> {
        self.rows.values()
    }

    /// A copy of every member, by name.
    pub fn members(&self) -> Vec<Member> {
        self.rows.values().map(Row::member).collect()
    }

    /// How many rows there are, whatever their state.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Never: the table always holds this process.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// How many members take part, this process included: the n of every scaling rule.
    pub fn present(&self) -> usize {
        self.rows.len() - self.dead.len() - self.left.len()
    }

    /// How many have failed.
    pub fn failed(&self) -> usize {
        self.dead.len()
    }

    /// How many have left.
    pub fn left(&self) -> usize {
        self.left.len()
    }

    /// Where and how to reach an address about which nothing is known: in the dialect that everyone
    /// reads, unless only one is allowed.
    pub fn stranger(&self, addr: SocketAddr) -> Target {
        if self.config.native_only {
            Target::member(addr, &Versions::OURS)
        } else {
            Target::member(addr, &Versions::default())
        }
    }

    /// The dialect by which the size of news is judged: the longest that anyone present needs.
    pub fn widest_dialect(&self) -> Dialect {
        let foreign = |row: &Row| row.is_present() && !row.versions.speaks_native();
        if self.rows.values().any(foreign) { Dialect::Hashicorp } else { Dialect::Native }
    }

    /// Whether anyone else is alive and staying.
    pub fn has_company(&self) -> bool {
        self.rows.values().any(|r| r.name != self.me && r.status() == Status::Alive)
    }

    /// The Lamport time of intents.
    pub fn time(&self) -> LamportTime {
        self.clock.time()
    }

    /// Local health.
    pub fn awareness(&self) -> &Awareness {
        &self.awareness
    }

    /// Whether this process takes part.
    pub fn presence(&self) -> Presence {
        self.presence
    }

    /// How many intents about unknown members wait for them.
    pub fn early_intents(&self) -> usize {
        self.intents.len()
    }

    /// How many entries all containers of the table hold together, to see whether something grows
    /// for ever.
    pub fn entries(&self) -> usize {
        let rows =
            self.rows.len() + self.order.len() + self.suspects.len() + self.dead.len() + self.left.len();
        let memories = self.forgotten.len() + self.pruned.len() + self.prunes.len() + self.intents.len();
        rows + memories + self.complaints.len()
    }

    /// How many reaped or pruned members are remembered, so that stale news does not bring them
    /// back.
    pub fn remembered(&self) -> usize {
        self.forgotten.len() + self.pruned.len()
    }

    /// A fingerprint of who is present. Two members with equal digests agree.
    pub fn digest(&self) -> u64 {
        self.digest
    }

    /// Since when the digest has been what it is.
    pub fn digest_since(&self) -> Moment {
        self.digest_since
    }

    /// Whether a known member has this address. Nothing is sent to an address that only a
    /// message names: otherwise this process could be used to aim traffic at a third party.
    pub fn is_address_of(&self, name: &NodeName, addr: SocketAddr) -> bool {
        self.rows.get(name).is_some_and(|r| r.addr == addr)
    }

    /// Whether someone who is present has this address.
    pub fn has_address(&self, addr: SocketAddr) -> bool {
        self.rows.values().any(|r| r.addr == addr && r.is_present())
    }

    // ---- changing rows -----------------------------------------------------------------

    /// Changes one row and keeps everything that is derived from rows up to date.
    pub(super) fn change<T>(
        &mut self,
        name: &NodeName,
        now: Moment,
        f: impl FnOnce(&mut Row) -> T,
    ) -> Option<T> {
        let row = self.rows.get_mut(name)?;
        let (before, key) = (row.fingerprint(), (row.since, name.clone()));
        match row.state {
            State::Dead => drop(self.dead.remove(&key)),
            State::Left => drop(self.left.remove(&key)),
            _ => {}
        }
        let result = f(row);
        self.reindex(name, before, now);
        Some(result)
    }

    pub(super) fn insert(&mut self, row: Row, now: Moment) {
        let name = row.name.clone();
        self.rows.insert(name.clone(), row);
        self.reindex(&name, 0, now);
    }

    fn reindex(&mut self, name: &NodeName, before: u64, now: Moment) {
        let Some(row) = self.rows.get(name) else { return };
        let key = (row.since, name.clone());
        match row.state {
            State::Suspect(_) => {
                self.suspects.insert(name.clone());
            }
            State::Alive => {
                self.suspects.remove(name);
            }
            State::Dead => {
                self.suspects.remove(name);
                self.dead.insert(key);
            }
            State::Left => {
                self.suspects.remove(name);
                self.left.insert(key);
            }
        }
        let after = row.fingerprint();
        self.set_digest(self.digest ^ before ^ after, now);
    }

    fn set_digest(&mut self, digest: u64, now: Moment) {
        if digest != self.digest {
            self.digest = digest;
            self.digest_since = now;
        }
    }

    /// Forgets a member altogether. This process's own row stays.
    pub(super) fn erase(&mut self, name: &NodeName, now: Moment, fx: &mut Effects) -> Option<Row> {
        if *name == self.me {
            return None;
        }
        let row = self.rows.remove(name)?;
        let key = (row.since, name.clone());
        self.dead.remove(&key);
        self.left.remove(&key);
        self.suspects.remove(name);
        self.prunes.remove(name);
        self.set_digest(self.digest ^ row.fingerprint(), now);
        if row.in_order
            && let Some(at) = self.order.iter().position(|n| n == name)
        {
            self.order.remove(at);
            if at < self.cursor {
                // Everyone behind it moves up; nobody may slip past this round unprobed.
                self.cursor -= 1;
            }
        }
        self.tell(MemberEvent { kind: MemberEventKind::Reap, member: row.member() }, fx);
        Some(row)
    }

    /// Logs an event as Serf does and asks for it to be delivered.
    pub(super) fn tell(&self, event: MemberEvent, fx: &mut Effects) {
        let MemberEvent { kind, member } = &event;
        match kind {
            MemberEventKind::Join => {
                counters::MEMBERS_JOINED.inc();
                log::info!(target: "serf", "EventMemberJoin: {} {}", member.name, member.addr.ip());
            }
            MemberEventKind::Leave => {
                counters::MEMBERS_LEFT.inc();
                log::info!(target: "serf", "EventMemberLeave: {} {}", member.name, member.addr.ip());
            }
            MemberEventKind::Failed => {
                counters::MEMBERS_FAILED.inc();
                log::info!(target: "serf", "EventMemberFailed: {} {}", member.name, member.addr.ip());
            }
            MemberEventKind::Update => {
                counters::MEMBERS_UPDATED.inc();
                log::info!(target: "serf", "EventMemberUpdate: {}", member.name);
            }
            MemberEventKind::Reap => {
                counters::MEMBERS_REAPED.inc();
                log::info!(target: "serf", "EventMemberReap: {}", member.name);
            }
        }
        fx.events.push(event);
    }

    /// Logs a warning about a member, unless one of this kind was logged a short while ago: a
    /// broken or hostile member must not fill the log.
    pub(super) fn complain(
        &mut self,
        about: &NodeName,
        kind: &'static str,
        now: Moment,
        text: impl FnOnce(&Self) -> String,
    ) {
        if let Some(passed) = self.complaints.pass(about.clone(), kind, now) {
            log::warn!(target: "memberlist", "{}{passed}", text(self));
        }
    }

    // ---- the order of probing ----------------------------------------------------------

    /// Puts a member into the probe order at a random place, which keeps the time until its
    /// first probe low on average (SWIM §4.3).
    pub(super) fn enlist(&mut self, name: &NodeName, rng: &mut Rng) {
        let Some(row) = self.rows.get_mut(name) else { return };
        if row.in_order || *name == self.me {
            return;
        }
        row.in_order = true;
        let at = rng.usize(0..=self.order.len());
        self.order.push(name.clone());
        let last = self.order.len() - 1;
        self.order.swap(at, last);
    }

    /// The next member to probe: shuffled round robin over everyone present but this process.
    pub fn next_to_probe(&mut self, now: Moment, rng: &mut Rng) -> Option<&Row> {
        // Two passes: the rest of this round, then one whole new round.
        let mut wrapped = false;
        let name = loop {
            match self.order.get(self.cursor) {
                Some(name) => {
                    self.cursor += 1;
                    if self.rows.get(name).is_some_and(Row::is_present) {
                        break name;
                    }
                }
                None if wrapped => return None,
                None => {
                    wrapped = true;
                    self.new_round(now, rng);
                }
            }
        };
        self.rows.get(name)
    }

    /// Makes a member the next one to probe.
    pub(super) fn probe_next(&mut self, name: &NodeName) {
        let Some(at) = self.order.iter().position(|n| n == name) else { return };
        if at < self.cursor {
            self.cursor -= 1;
        }
        self.order.swap(at, self.cursor);
    }

    fn new_round(&mut self, now: Moment, rng: &mut Rng) {
        let (rows, keep) = (&mut self.rows, self.config.gossip_to_the_dead);
        self.order.retain(|name| {
            let Some(row) = rows.get_mut(name) else { return false };
            row.in_order = row.is_present() || now.since(row.since) <= keep;
            row.in_order
        });
        rng.shuffle(&mut self.order);
        self.cursor = 0;
    }

    /// Up to `k` different random rows other than this process's, for which `suits` holds.
    ///
    /// With few members all of them are shuffled, so that none is missed by chance.
    pub fn random_rows(&self, k: usize, rng: &mut Rng, suits: impl Fn(&Row) -> bool) -> Vec<&Row> {
        let n = self.order.len();
        let mut chosen: Vec<&Row> = Vec::with_capacity(k.min(n));
        let mut consider = |name: &NodeName| {
            if let Some(row) = self.rows.get(name)
                && suits(row)
                && !chosen.iter().any(|c| c.name == row.name)
            {
                chosen.push(row);
            }
            chosen.len() >= k
        };
        if k == 0 {
            return Vec::new();
        }
        // Random picks find k of n quickly only while suitable rows are plenty.
        let picks = if n < k * 8 { 0 } else { k * 4 };
        for _ in 0..picks {
            if consider(&self.order[rng.usize(0..n)]) {
                return chosen;
            }
        }
        let mut rest: Vec<usize> = (0..n).collect();
        rng.shuffle(&mut rest);
        for i in rest {
            if consider(&self.order[i]) {
                break;
            }
        }
        chosen
    }

    /// Up to `k` random members to gossip to, of those that suit.
    pub fn gossip_targets(
        &self,
        k: usize,
        now: Moment,
        rng: &mut Rng,
        suits: impl Fn(&Row) -> bool,
    ) -> Vec<&Row> {
        self.random_rows(k, rng, |row| self.hears_gossip(row, now) && suits(row))
    }

    /// Whether a member is gossiped to: present ones are, and those that died recently, so that
    /// they can refute when they return. This process itself is not.
    pub fn hears_gossip(&self, row: &Row, now: Moment) -> bool {
        match row.state {
            State::Alive | State::Suspect(_) => row.name != self.me,
            State::Dead => now.since(row.since) <= self.config.gossip_to_the_dead,
            State::Left => false,
        }
    }

    // ---- time --------------------------------------------------------------------------

    /// When [`Members::tick`] has something to do.
    pub fn next_deadline(&self) -> Moment {
        let config = &self.config;
        let suspicions = self.suspects.iter().filter_map(|n| match &self.rows.get(n)?.state {
            State::Suspect(s) => Some(s.deadline().min(s.remind_at())),
            _ => None,
        });
        suspicions
            .chain(self.prunes.values().copied())
            .chain(self.oldest(&self.dead).map(|(since, _)| *since + config.reconnect_timeout))
            .chain(self.oldest(&self.left).map(|(since, _)| *since + config.tombstone_timeout))
            .min()
            .unwrap_or(Moment::NEVER)
    }

    /// Does what has come due: declares suspects dead or reminds them, prunes, reaps.
    pub fn tick(&mut self, now: Moment, fx: &mut Effects) {
        self.expire_suspicions(now, fx);
        self.remind_suspects(now, fx);
        self.expire_prunes(now, fx);
        self.reap(now, fx);
    }

    /// Tells the table that this process did not run for `lateness`: whoever is suspected may
    /// have refuted meanwhile and gets as much more time.
    pub fn excuse_lateness(&mut self, lateness: Duration) {
        for name in &self.suspects {
            if let Some(Row { state: State::Suspect(s), .. }) = self.rows.get_mut(name) {
                s.postpone(lateness, self.config.probe_interval);
            }
        }
    }

    /// The first of these that can be forgotten. This process's own row, which is among those
    /// that left after a leave, stays however old it is; it must neither hold up the others nor
    /// be a deadline that never passes.
    fn oldest<'a>(&self, set: &'a BTreeSet<(Moment, NodeName)>) -> Option<&'a (Moment, NodeName)> {
        set.iter().find(|(_, name)| *name != self.me)
    }

    fn reap(&mut self, now: Moment, fx: &mut Effects) {
        loop {
            let due = |set, timeout| self.oldest(set).filter(|(since, _)| *since + timeout <= now);
            let dead = due(&self.dead, self.config.reconnect_timeout);
            let due = dead.or_else(|| due(&self.left, self.config.tombstone_timeout));
            let Some((_, name)) = due.cloned() else { break };
            if let Some(row) = self.erase(&name, now, fx) {
                self.forgotten.insert(row);
            }
        }
        self.forgotten.expire(self.config.ghost_memory(self.present()), now);
        self.bound_tombstones(now, fx);
        let keep = self.config.recent_intent_timeout;
        self.intents.retain(|_, intent| now.since(intent.at) <= keep);
        self.pruned.retain(|_, pruned| now.since(pruned.at) <= keep);
    }

    /// Forgets the oldest tombstones beyond [`MAX_TOMBSTONES`], those that have been reaped first.
    pub(super) fn bound_tombstones(&mut self, now: Moment, fx: &mut Effects) {
        while self.dead.len() + self.left.len() + self.forgotten.len() > MAX_TOMBSTONES {
            if self.forgotten.len() > 0 {
                self.forgotten.drop_oldest();
                continue;
            }
            let oldest = [self.oldest(&self.dead), self.oldest(&self.left)].into_iter().flatten().min();
            let Some((_, name)) = oldest.cloned() else { return };
            self.erase(&name, now, fx);
        }
    }

    /// Panics if something that is derived from the rows does not agree with them. For tests
    /// and the simulator, after every step.
    pub fn check_invariants(&self) {
        let mut digest = 0;
        let (mut dead, mut left, mut suspects) = (0, 0, 0);
        for (name, row) in &self.rows {
            assert_eq!(name, &row.name);
            digest ^= row.fingerprint();
            match row.state {
                State::Alive => {}
                State::Suspect(_) => {
                    suspects += 1;
                    assert!(self.suspects.contains(name), "{name} is not indexed as a suspect");
                    assert!(*name != self.me, "suspects itself");
                }
                State::Dead => {
                    dead += 1;
                    assert!(self.dead.contains(&(row.since, name.clone())), "{name} not among the dead");
                }
                State::Left => {
                    left += 1;
                    assert!(self.left.contains(&(row.since, name.clone())), "{name} not among the left");
                }
            }
        }
        assert_eq!((dead, left, suspects), (self.dead.len(), self.left.len(), self.suspects.len()));
        assert_eq!(digest, self.digest, "digest does not match the rows");
        assert!(dead + left + self.forgotten.len() <= MAX_TOMBSTONES, "too many tombstones");
        self.forgotten.check_invariants();
        for row in self.forgotten.rows() {
            assert!(!self.rows.contains_key(&row.name), "{} is known and forgotten", row.name);
        }
        assert!(self.intents.len() <= MAX_INTENTS, "too many early intents");
        assert!(self.pruned.len() <= MAX_INTENTS, "too many pruned names");
        assert!(self.rivals.len() <= MAX_RIVALS, "too many rivals");
        assert!(!self.pruned.contains_key(&self.me), "this process cannot be pruned");
        for name in self.prunes.keys() {
            assert!(*name != self.me && self.rows.contains_key(name), "{name} is to be pruned in vain");
        }
        let mut names: Vec<_> = self.order.iter().collect();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), self.order.len(), "a name is twice in the probe order");
        for name in &self.order {
            assert!(self.rows.get(name).is_some_and(|r| r.in_order), "{name} is not enlisted");
        }
        let me = self.rows.get(&self.me).expect("own row is missing");
        match self.presence {
            Presence::Here => assert!(me.is_alive() && !me.leaving, "does not believe itself alive"),
            Presence::Leaving => assert!(me.is_alive() && me.leaving),
            Presence::Gone => assert!(matches!(me.state, State::Left)),
        }
        for row in self.rows.values().filter(|r| r.is_present() && r.name != self.me) {
            assert!(row.in_order, "{} is present and never probed", row.name);
        }
    }
}
