//! Name conflicts: two processes at two addresses that go by one name.
//!
//! The one that had the name first keeps it here until it has left, or has been dead for a while;
//! the other is refused, but not forgotten: it may ask who has its name, and is answered. The
//! holder of the name is informed of the other, because nobody else would do so. None of this is
//! said more than once a minute about one name, however often the claim is heard.

use super::effects::Effects;
use super::row::{Row, State};
use super::table::{Members, Presence};
use crate::model::{Moment, Versions};
use crate::telemetry::counters;
use crate::wire::message::{Alive, Message, Source};
use std::net::SocketAddr;
use std::time::Duration;

impl Members {
    /// A name that left cleanly is free at once, one that failed after a while.
    pub(super) fn address_is_free(&self, row: &Row, now: Moment) -> bool {
        match row.state {
            State::Left => true,
            State::Dead => now.since(row.since) >= self.config.dead_reclaim,
            State::Alive | State::Suspect(_) => false,
        }
    }

    /// Remembers a member that was refused a name. That it is said in an old incarnation may be a
    /// memory of where the member once was, so it is not worth a line by itself.
    pub(super) fn note_rival(&mut self, msg: &Alive, addr: SocketAddr, now: Moment) {
        self.rivals.note(&msg.node, addr, msg.versions, now);
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
        // Perhaps it has moved. Others that have noticed accuse an incarnation that is over, so
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
        let (me, ceiling) = (self.me.clone(), self.config.ceilings.incarnation(now));
        let claim = self.change(&me, now, |row| {
            if msg.incarnation <= ceiling {
                row.incarnation = row.incarnation.max(msg.incarnation);
            }
            row.alive_message()
        });
        fx.broadcasts.extend(claim.map(Message::from));
    }

    /// What the member with this name and this address understands; none if there is none, see
    /// [`Members::row_at`].
    pub fn member_at(&self, source: &Source) -> Option<Versions> {
        self.row_at(&source.node, source.addr).map(|row| row.versions)
    }

    /// The same of a member that was refused its name here a short while ago.
    ///
    /// Only a member that was refused by this very process: such claims are not passed on, so that
    /// a forged one costs as much as the answer that it earns.
    pub fn rival_at(&self, source: &Source) -> Option<Versions> {
        self.rivals.versions(&source.node, source.addr)
    }

    /// Whether this process still wants the name that it has.
    pub fn keeps_name(&self) -> bool {
        self.presence == Presence::Here
    }

    /// How long a conflict about this process's own name has to wait for its vote: until a former
    /// run of this process at another address, which others still take for alive, has been found
    /// to be dead. Three times the least time that this takes once someone suspects it.
    pub fn conflict_grace_period(&self) -> Duration {
        self.config.suspicion_timeouts(self.present()).0 * 3
    }
}
