//! Serf's rules on top of SWIM: join and leave intents ordered by Lamport time, leaving,
//! `force-leave` and prune.
//!
//! Architecture invariant: the status time of a member is raised before it is decided whether
//! an intent is passed on, so that the same intent a second time is always a no-op; otherwise
//! members echo it to each other for ever.

use super::effects::Effects;
use super::row::State;
use super::table::{EarlyIntent, MAX_INTENTS, Members, Presence, Pruned};
use crate::model::{LamportTime, MemberEvent, MemberEventKind, Moment, NodeName};
use crate::telemetry::counters;
use crate::wire::message::{Dead, JoinIntent, LeaveIntent, Message};
use std::time::Duration;

/// How long a living member that is to be pruned has to leave or to object. (Serf sleeps for
/// its broadcast timeout and propagation delay, 5 s + 1 s, with the table locked.)
const PRUNE_DELAY: Duration = Duration::from_secs(6);

/// How far the time of a leave may have drifted elsewhere. HashiCorp's agents do not send each
/// other the time of a leave, only the names of those that have left, and take it to be one later
/// than the time they receive: with each exchange it grows. A prune that is not later still is
/// ignored by them.
const LEAVE_DRIFT: u64 = 64;

impl Members {
    /// Someone means to be here.
    pub fn join_intent(&mut self, msg: &JoinIntent, now: Moment, fx: &mut Effects) {
        if self.admit_join_intent(msg, now) {
            fx.broadcasts.push(Message::from(msg.clone()));
        }
    }

    /// Applies a join intent and says whether it was news.
    pub(super) fn admit_join_intent(&mut self, msg: &JoinIntent, now: Moment) -> bool {
        if !self.witness("join", &msg.node, msg.ltime, now) {
            return false;
        }
        let Some(row) = self.rows.get(&msg.node) else {
            if let Some(pruned) = self.pruned.get(&msg.node) {
                if msg.ltime <= pruned.ltime {
                    return false;
                }
                // Said after the prune: it comes back, perhaps in its first incarnation again.
                self.pruned.remove(&msg.node);
            }
            if self.forgotten.get(&msg.node).is_some_and(|gone| msg.ltime <= gone.status_ltime) {
                return false;
            }
            return self.keep_early(&msg.node, false, msg.ltime, now);
        };
        // While this process leaves, an old join intent of its own must not call it back.
        let stays = msg.node != self.me || self.presence == Presence::Here;
        // Of a join and a leave intent of the same time the join counts, whichever comes first;
        // otherwise members would disagree for ever.
        let undoes = stays && row.is_present() && row.leaving;
        if row.status_ltime > msg.ltime || (row.status_ltime == msg.ltime && !undoes) {
            return false;
        }
        self.change(&msg.node, now, |row| {
            row.status_ltime = msg.ltime;
            if stays && row.is_present() {
                row.leaving = false;
            }
        });
        if stays {
            self.prunes.remove(&msg.node);
        }
        true
    }

    /// Someone means to leave, or is made to.
    pub fn leave_intent(&mut self, msg: &LeaveIntent, now: Moment, fx: &mut Effects) {
        if self.admit_leave_intent(msg, now, fx) {
            fx.broadcasts.push(Message::from(msg.clone()));
        }
    }

    /// Applies a leave intent and says whether it was news.
    pub(super) fn admit_leave_intent(&mut self, msg: &LeaveIntent, now: Moment, fx: &mut Effects) -> bool {
        if !self.witness("leave", &msg.node, msg.ltime, now) {
            return false;
        }
        let Some(row) = self.rows.get(&msg.node) else {
            if let Some(pruned) = self.pruned.get_mut(&msg.node) {
                // Nothing is left to do here, but a second prune is meant for those whom the
                // first one missed.
                let news = msg.ltime > pruned.ltime;
                pruned.ltime = pruned.ltime.max(msg.ltime);
                return news;
            }
            if self.forgotten.get(&msg.node).is_some_and(|gone| msg.ltime <= gone.status_ltime) {
                return false;
            }
            return self.keep_early(&msg.node, true, msg.ltime, now);
        };
        if msg.node == self.me && self.presence == Presence::Here && row.status_ltime <= msg.ltime {
            if let Some(passed) = self.complaints.pass(self.me.clone(), "leave intent", now) {
                log::debug!(target: "serf", "Refuting an older leave intent{passed}");
            }
            self.intend_to_be_here(now, fx);
            return false;
        }
        if row.status_ltime >= msg.ltime {
            return false;
        }
        let event = self.change(&msg.node, now, |row| {
            row.status_ltime = msg.ltime;
            match row.state {
                State::Alive | State::Suspect(_) => {
                    row.leaving = true;
                    None
                }
                State::Dead => {
                    row.state = State::Left;
                    row.since = now;
                    Some(MemberEvent { kind: MemberEventKind::Leave, member: row.member() })
                }
                State::Left => None,
            }
        });
        if let Some(Some(event)) = event {
            self.report(event, fx);
        }
        if msg.prune {
            self.prune(&msg.node, now, fx);
        }
        true
    }

    /// Forgets a member that has left at once, and one that is still there when it has had time
    /// to leave or to object.
    fn prune(&mut self, name: &NodeName, now: Moment, fx: &mut Effects) {
        match self.rows.get(name) {
            _ if *name == self.me => {}
            Some(row) if row.is_present() => {
                self.prunes.insert(name.clone(), now + PRUNE_DELAY, ());
            }
            Some(row) => {
                let (incarnation, ltime) = (row.incarnation, row.status_ltime);
                if self.pruned.len() >= MAX_INTENTS {
                    self.pruned.pop();
                }
                self.pruned.insert(name.clone(), now, Pruned { incarnation, ltime });
                // Every trace of it: not even remembered as a tombstone that is sent to others.
                drop(self.erase(name, now, fx));
            }
            None => {}
        }
    }

    /// A member that is to be pruned has had its time to leave or to object.
    pub(super) fn prune_is_due(&mut self, name: &NodeName, now: Moment, fx: &mut Effects) {
        self.prunes.remove(name);
        let from_incarnation = self.rows.get(name).filter(|r| r.is_present()).map(|r| r.incarnation);
        if let Some(incarnation) = from_incarnation {
            self.dead(&Dead { incarnation, node: name.clone(), from: name.clone() }, now, fx);
        }
        self.prune(name, now, fx);
    }

    fn witness(&mut self, what: &'static str, node: &NodeName, ltime: LamportTime, now: Moment) -> bool {
        let believed = self.clock.witness(ltime, now);
        if !believed {
            counters::REFUSED_ABSURD.inc();
            self.complain(node, what, now, |members| {
                format!(
                    "Ignoring a {what} intent for '{node}' from the Lamport time {ltime}; here it is {}",
                    members.time()
                )
            });
        }
        believed
    }

    /// Keeps an intent about a member that is not known yet. Says whether it was news.
    fn keep_early(&mut self, node: &NodeName, leave: bool, ltime: LamportTime, now: Moment) -> bool {
        // At the same time a join counts more than a leave, as it does for known members.
        if self.intents.get(node).is_some_and(|known| (known.ltime, !known.leave) >= (ltime, !leave)) {
            return false;
        }
        if self.intents.len() >= MAX_INTENTS && self.intents.get(node).is_none() {
            self.intents.pop();
        }
        self.intents.insert(node.clone(), now, EarlyIntent { leave, ltime });
        true
    }

    /// Announces to everyone that this process is here and means to be; after each join.
    ///
    /// The member that was joined through spreads the former as well, unless it stops before it
    /// can, or is one of HashiCorp's that refuses to merge because of someone else's versions.
    pub fn announce_join(&mut self, now: Moment, fx: &mut Effects) {
        fx.broadcasts.push(Message::from(self.my_row().alive_message()));
        self.intend_to_be_here(now, fx);
    }

    fn intend_to_be_here(&mut self, now: Moment, fx: &mut Effects) {
        let msg = JoinIntent { ltime: self.clock.time(), node: self.me.clone() };
        self.admit_join_intent(&msg, now);
        fx.broadcasts.push(Message::from(msg));
    }

    /// Removes a failed member (`force-leave`), and with `prune` every trace of it.
    pub fn force_leave(&mut self, node: &NodeName, prune: bool, now: Moment, fx: &mut Effects) {
        if prune && let Some(row) = self.rows.get(node).filter(|row| matches!(row.state, State::Left)) {
            let drifted = LamportTime(row.status_ltime.0.saturating_add(LEAVE_DRIFT));
            // Never refused: the time of the leave was witnessed, and this is close to it.
            let _ = self.clock.witness(drifted, now);
        }
        let msg = LeaveIntent { ltime: self.clock.time(), node: node.clone(), prune };
        self.clock.increment();
        if self.admit_leave_intent(&msg, now, fx) {
            fx.broadcasts.push(Message::from(msg));
        }
    }

    /// First step of leaving: says so. Does nothing if this process has left already.
    pub fn begin_leave(&mut self, now: Moment, fx: &mut Effects) {
        if self.presence != Presence::Here {
            return;
        }
        self.presence = Presence::Leaving;
        let msg = LeaveIntent { ltime: self.clock.time(), node: self.me.clone(), prune: false };
        self.clock.increment();
        let me = self.me.clone();
        self.change(&me, now, |row| {
            row.status_ltime = msg.ltime;
            row.leaving = true;
        });
        fx.broadcasts.push(Message::from(msg));
    }

    /// Second step of leaving, once the first is known: goes.
    pub fn finish_leave(&mut self, now: Moment, fx: &mut Effects) {
        if self.presence == Presence::Gone {
            return;
        }
        self.presence = Presence::Gone;
        let me = self.me.clone();
        let gone = self.change(&me, now, |row| {
            row.state = State::Left;
            row.leaving = true;
            row.since = now;
            let event = MemberEvent { kind: MemberEventKind::Leave, member: row.member() };
            (Dead { incarnation: row.incarnation, node: me.clone(), from: me.clone() }, event)
        });
        if let Some((dead, event)) = gone {
            fx.broadcasts.push(Message::from(dead));
            self.report(event, fx);
            self.bound_tombstones(now, fx);
        }
    }
}
