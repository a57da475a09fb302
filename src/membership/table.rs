//! The membership table: rows, and how they are changed. The rules that change them are in
//! `swim`, `intent` and `exchange`; all of them go through [`Members::change`], which keeps the
//! digest, the indexes and the counts right.

mod addresses;
mod due;
mod invariants;
mod order;
mod views;

use super::asked::Asked;
use super::awareness::Awareness;
use super::claims::Claims;
use super::config::Config;
use super::effects::Effects;
use super::forgotten::Forgotten;
use super::fruitless::Fruitless;
use super::rings::{RingPlace, Rings};
use super::rivals::Rivals;
use super::row::{Fingerprint, ProbeRecord, Row, State};
use super::timed::Timed;
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
/// The most bytes of names and tags of all of them. With it a table fits what one exchange may bring.
pub(super) const MAX_TEXT: usize = 56 << 20;
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
}

/// Members by a moment.
type Index = BTreeSet<(Moment, NodeName)>;

/// What is remembered of a pruned name, so that news still under way does not bring it back.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pruned {
    /// The last incarnation it had.
    pub incarnation: Incarnation,
    /// Lamport time of the last intent about it.
    pub ltime: LamportTime,
}

/// The members that are here. One row a member, this process included.
#[derive(Debug)]
pub struct Members {
    pub(super) config: Config,
    pub(super) me: NodeName,
    pub(super) rows: BTreeMap<NodeName, Box<Row>>,
    /// The order of probing; see `table/order.rs`.
    order: Vec<NodeName>,
    cursor: usize,
    /// Whether the one at the cursor is to be probed next, whatever the lot would say.
    is_drawn: bool,
    /// Suspects, each by when something is to be done about it.
    suspects: Index,
    /// Members to be forgotten at a given time, because an operator asked for that while they
    /// were still alive.
    pub(super) prunes: Timed<()>,
    /// Dead members, and members that left, each by the time since when.
    dead: Index,
    left: Index,
    /// The dead up to this one hear no gossip any more.
    silenced: Option<(Moment, NodeName)>,
    /// Members with which something has not come through.
    troubled: BTreeSet<NodeName>,
    pub(super) clock: LamportClock,
    /// Each with the moment when it came.
    pub(super) intents: Timed<EarlyIntent>,
    /// Each with the moment when it was pruned.
    pub(super) pruned: Timed<Pruned>,
    pub(super) forgotten: Forgotten,
    pub(super) presence: Presence,
    /// When this process restates that it is alive, above which incarnation.
    pub(super) restate: Option<(Moment, Incarnation)>,
    /// Members that were asked themselves how they are.
    pub(super) asked: Asked,
    /// Names that are claimed where their holders were not.
    pub(super) claims: Claims,
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
    /// Of all rows that are present.
    digests: Fingerprint,
    /// Since when the digest in acks has been what it is.
    digest_since: Moment,
    /// Bytes of the names and tags of all rows.
    pub(super) text: usize,
    /// Exchanges that have brought nothing.
    pub(super) fruitless: Fruitless,
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
        let mut clock = LamportClock::new(config.ceilings);
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
            is_drawn: false,
            suspects: BTreeSet::new(),
            prunes: Timed::default(),
            dead: BTreeSet::new(),
            left: BTreeSet::new(),
            silenced: None,
            troubled: BTreeSet::new(),
            clock,
            intents: Timed::default(),
            pruned: Timed::default(),
            forgotten: Forgotten::default(),
            presence: Presence::Here,
            restate: None,
            asked: Asked::default(),
            claims: Claims::default(),
            complaints: RateLimit::new(1, COMPLAINT_INTERVAL),
            rivals: Rivals::default(),
            rings: Rings::default(),
            addresses: Addresses::default(),
            digests: Fingerprint::default(),
            digest_since: now,
            text: 0,
            fruitless: Fruitless::default(),
        };
        let addr = SocketAddr::new(canonical_ip(me.addr.ip()), me.addr.port());
        let mut row = Row::new(me.name, addr, &meta, Versions::OURS, now);
        row.incarnation = Incarnation::FIRST;
        row.native_only = members.config.native_only;
        let event = MemberEvent { kind: MemberEventKind::Join, member: row.member() };
        members.insert(row, now);
        members.report(event, fx);
        Ok(members)
    }

    /// Goes on after an earlier run that had seen the Lamport time `last`, so that this one's
    /// intents are newer. A time too far away to be believed is ignored.
    pub fn resume(&mut self, last: LamportTime, now: Moment) {
        let _ = self.clock.witness(last, now);
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
        let (before, was_at) = (row.fingerprint(), row.addr);
        self.text -= row.text();
        let was = key(row);
        if let Some(set) = set_of(&row.state, &mut self.suspects, &mut self.dead, &mut self.left) {
            set.remove(&was);
        }
        let result = f(row);
        self.reindex(name, before, Some(was_at), now);
        Some(result)
    }

    pub(super) fn insert(&mut self, row: Row, now: Moment) {
        let name = row.name.clone();
        self.rows.insert(name.clone(), Box::new(row));
        self.reindex(&name, Fingerprint::default(), None, now);
    }

    fn reindex(&mut self, name: &NodeName, before: Fingerprint, was_at: Option<SocketAddr>, now: Moment) {
        let Some(row) = self.rows.get_mut(name) else { return };
        let is = key(row);
        let hears = match row.state {
            State::Alive | State::Suspect(_) => true,
            State::Dead => self.silenced.as_ref().is_none_or(|last| is > *last),
            State::Left => false,
        };
        if let Some(set) = set_of(&row.state, &mut self.suspects, &mut self.dead, &mut self.left) {
            set.insert(is);
        }
        let after = row.fingerprint();
        self.text += row.text();
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
        note_trouble(&mut self.troubled, row);
        self.count(before, after, now);
        if hears { self.enlist(name) } else { self.strike(name) }
    }

    /// Notes how a probe of a member or an exchange with it went.
    pub(crate) fn record(&mut self, node: &NodeName, f: impl FnOnce(&mut ProbeRecord)) {
        if let Some(row) = self.rows.get_mut(node) {
            f(&mut row.probes);
            note_trouble(&mut self.troubled, row);
        }
    }

    /// Takes one fingerprint out of the digests, and puts another in.
    fn count(&mut self, before: Fingerprint, after: Fingerprint, now: Moment) {
        self.digests ^= before;
        self.digests ^= after;
        if before.digest != after.digest {
            self.digest_since = now;
        }
    }

    /// Forgets a member altogether. This process's own row stays.
    pub(super) fn erase(&mut self, name: &NodeName, now: Moment, fx: &mut Effects) -> Option<Box<Row>> {
        if *name == self.me {
            return None;
        }
        self.strike(name);
        let row = self.rows.remove(name)?;
        if let Some(set) = set_of(&row.state, &mut self.suspects, &mut self.dead, &mut self.left) {
            set.remove(&key(&row));
        }
        self.troubled.remove(name);
        self.prunes.remove(name);
        self.text -= row.text();
        self.count(row.fingerprint(), Fingerprint::default(), now);
        if row.place != RingPlace::Nowhere {
            self.rings.set(name, RingPlace::Nowhere);
        }
        self.addresses.change(name, Some(row.addr), None);
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

/// The index that a member is in because of its state; none while it is just alive.
fn set_of<'a>(
    state: &State,
    suspects: &'a mut Index,
    dead: &'a mut Index,
    left: &'a mut Index,
) -> Option<&'a mut Index> {
    match state {
        State::Alive => None,
        State::Suspect(_) => Some(suspects),
        State::Dead => Some(dead),
        State::Left => Some(left),
    }
}

/// What it is found by in that index: when something is due about a suspect, and since when others are gone.
fn key(row: &Row) -> (Moment, NodeName) {
    let at = if let State::Suspect(suspicion) = &row.state { suspicion.due() } else { row.since };
    (at, row.name.clone())
}

fn note_trouble(troubled: &mut BTreeSet<NodeName>, row: &Row) {
    if row.probes.is_troubled() {
        troubled.insert(row.name.clone());
    } else if !troubled.is_empty() {
        troubled.remove(&row.name);
    }
}
