//! Name conflicts: two processes at two addresses that go by one name.
//!
//! Whoever had the name first keeps it here until it has left, or has been dead for a while; the
//! other is refused, but not forgotten: it may ask who has its name, and is answered. Whoever
//! holds the name is told of the other, because nobody else would tell it. None of this is said
//! more than once a minute about one name, however often the claim is heard.

use super::effects::Effects;
use super::row::{Row, State};
use super::table::{Members, Presence};
use crate::model::{Moment, Versions};
use crate::telemetry::counters;
use crate::wire::message::{Alive, Message, Source};
use std::net::SocketAddr;
use std::time::Duration;

/// The most refused claims that are remembered; beyond it the oldest is forgotten.
pub const MAX_RIVALS: usize = 64;
/// How long a refused claim is remembered: longer than anyone waits before it asks who has its
/// name.
const RIVAL_KEPT: Duration = Duration::from_secs(300);

/// Someone who was refused a name.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rival {
    versions: Versions,
    at: Moment,
}

impl Members {
    /// A name that left cleanly is free at once, one that failed after a while.
    pub(super) fn address_is_free(&self, row: &Row, now: Moment) -> bool {
        match row.state {
            State::Left => true,
            State::Dead => now.since(row.since) >= self.config.dead_reclaim,
            State::Alive | State::Suspect(_) => false,
        }
    }

    /// Remembers who was refused a name. That it is said in an old incarnation may be a memory of
    /// where the member once was, so it is not worth a line by itself.
    pub(super) fn note_rival(&mut self, msg: &Alive, addr: SocketAddr, now: Moment) {
        self.rivals.retain(|_, rival| now.since(rival.at) <= RIVAL_KEPT);
        let key = (msg.node.clone(), addr);
        if self.rivals.len() >= MAX_RIVALS && !self.rivals.contains_key(&key) {
            let oldest = self.rivals.iter().min_by_key(|(_, rival)| rival.at).map(|(key, _)| key.clone());
            self.rivals.retain(|key, _| Some(key) != oldest.as_ref());
        }
        self.rivals.insert(key, Rival { versions: msg.versions, at: now });
    }

    /// Someone claims, in an incarnation that is not over, the name of another member.
    pub(super) fn report_conflict(&mut self, msg: &Alive, theirs: SocketAddr, now: Moment, fx: &mut Effects) {
        counters::CONFLICTS.inc();
        self.note_rival(msg, theirs, now);
        let name = &msg.node;
        if let Some(passed) = self.complaints.pass(name.clone(), "conflict", now)
            && let Some(row) = self.rows.get(name)
        {
            let ours = row.addr;
            if row.is_present() {
                log::warn!(
                    target: "serf",
                    "Name conflict for '{name}': both {ours} and {theirs} are claiming it; {ours} had it \
                     first{passed}"
                );
                // Ours hear of the other from nobody else. HashiCorp's hear of it as they do among
                // themselves: with each time they begin another vote, and of votes that begin
                // together all but one have no answers, which they take for defeat.
                if row.versions.speaks_native() {
                    fx.send(row.target(), Message::from(Alive { addr: theirs, ..msg.clone() }));
                }
            } else {
                let free = (row.since + self.config.dead_reclaim).until(now);
                log::warn!(
                    target: "serf",
                    "Name conflict for '{name}': {theirs} claims it, but {ours} failed only a short while \
                     ago; the name is free in {:.0} s{passed}",
                    free.as_secs_f64()
                );
            }
        }
        // Perhaps it has moved. Whoever else has noticed accuses an incarnation that is over, so
        // this process must find out by itself, and not only when the round comes to it.
        self.probe_next(name);
    }

    /// Someone else claims the name of this process, in an incarnation that is not over.
    ///
    /// It is not refuted: it is not about this process. But this process repeats its own claim,
    /// in the incarnation of the other, so that everyone hears that there are two.
    pub(super) fn report_rival(&mut self, msg: &Alive, theirs: SocketAddr, now: Moment, fx: &mut Effects) {
        counters::CONFLICTS.inc();
        if self.complaints.pass(msg.node.clone(), "conflict", now).is_none() {
            return;
        }
        fx.rival = Some(theirs);
        let me = self.me.clone();
        let claim = self.change(&me, now, |row| {
            if row.incarnation.admits_accusation(msg.incarnation) {
                row.incarnation = row.incarnation.max(msg.incarnation);
            }
            row.alive_message()
        });
        fx.broadcasts.extend(claim.map(Message::from));
    }

    /// What the member with this name and this address understands; none if there is none. Nothing
    /// is sent to an address that only a message names.
    pub fn member_at(&self, source: &Source) -> Option<Versions> {
        let row = self.rows.get(&source.node).filter(|row| row.addr == source.addr);
        row.map(|row| row.versions)
    }

    /// The same of someone who was refused its name here a short while ago.
    ///
    /// Only who was refused by this very process: such claims are not passed on, so that a forged
    /// one costs as much as the answer that it earns.
    pub fn rival_at(&self, source: &Source) -> Option<Versions> {
        self.rivals.get(&(source.node.clone(), source.addr)).map(|rival| rival.versions)
    }

    /// Whether this process still wants the name that it has.
    pub fn keeps_name(&self) -> bool {
        self.presence == Presence::Here
    }

    /// How long a conflict about this process's own name has to wait for its vote: until a former
    /// life of this process at another address, which others still take for alive, has been found
    /// to be dead. Three times the least time that this takes once someone suspects it.
    pub fn time_to_bury(&self) -> Duration {
        self.config.suspicion_timeouts(self.present()).0 * 3
    }
}
