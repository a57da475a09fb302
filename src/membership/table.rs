//! The membership table: rows, and how they are changed. The rules that change them are in
//! `swim`, `intent` and `exchange`; all of them go through [`Members::change`], which keeps the
//! digest, the indexes and the counts right.

mod addresses;
mod due;
mod invariants;
mod order;
mod views;

use super::awareness::Awareness;
use super::config::Config;
use super::effects::Effects;
use super::forgotten::Forgotten;
use super::rings::{RingPlace, Rings};
use super::rivals::Rivals;
use super::row::{Row, State};
use super::vivaldi::Vivaldi;
use crate::model::{
    Incarnation, LamportClock, LamportTime, MemberEvent, MemberEventKind, Moment, NodeName, Tags, TagsError,
    Versions, canonical_ip,
};
use crate::telemetry::{RateLimit, counters};
use addresses::Addresses;
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
    /// It does, and refutes members that say otherwise.
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

/// The members that are here. One row a member, this process included.
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
    /// Members that were refused a name a short while ago.
    pub(super) rivals: Rivals,
    /// How news travels among the members that are present.
    rings: Rings,
    /// Which members are at an address.
    addresses: Addresses,
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
            rivals: Rivals::default(),
            rings: Rings::default(),
            addresses: Addresses::default(),
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
            place: RingPlace::default(),
        };
        let event = MemberEvent { kind: MemberEventKind::Join, member: row.member() };
        members.insert(row, now);
        members.report(event, fx);
        Ok(members)
    }

    /// Goes on after an earlier run that had seen the Lamport time `last`, so that this one's
    /// intents are newer. A time too far away to be believed is ignored.
    pub fn resume(&mut self, last: LamportTime) {
        let _ = self.clock.witness(last);
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
        let was_at = row.addr;
        match row.state {
            State::Dead => drop(self.dead.remove(&key)),
            State::Left => drop(self.left.remove(&key)),
            _ => {}
        }
        let result = f(row);
        self.reindex(name, before, Some(was_at), now);
        Some(result)
    }

    pub(super) fn insert(&mut self, row: Row, now: Moment) {
        let name = row.name.clone();
        self.rows.insert(name.clone(), row);
        self.reindex(&name, 0, None, now);
    }

    fn reindex(&mut self, name: &NodeName, before: u64, was_at: Option<SocketAddr>, now: Moment) {
        let Some(row) = self.rows.get_mut(name) else { return };
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
        let place = match row.is_present() {
            false => RingPlace::Nowhere,
            true if row.versions.speaks_waves() => RingPlace::OnRings,
            true if row.versions.speaks_native() => RingPlace::Beside,
            true => RingPlace::BesideHashicorp,
        };
        if place != row.place {
            row.place = place;
            self.rings.set(name, place);
        }
        if was_at != Some(row.addr) {
            self.addresses.change(name, was_at, Some(row.addr));
        }
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
        self.rings.set(name, RingPlace::Nowhere);
        self.addresses.change(name, Some(row.addr), None);
        if row.in_order
            && let Some(at) = self.order.iter().position(|n| n == name)
        {
            self.order.remove(at);
            if at < self.cursor {
                // Everyone behind it moves up; nobody may slip past this round unprobed.
                self.cursor -= 1;
            }
        }
        self.report(MemberEvent { kind: MemberEventKind::Reap, member: row.member() }, fx);
        Some(row)
    }

    /// Logs an event as Serf does and asks for it to be delivered.
    pub(super) fn report(&self, event: MemberEvent, fx: &mut Effects) {
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
}
