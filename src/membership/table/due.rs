//! What comes due: suspicions, prunes, and members to be forgotten.

use super::{Index, MAX_TEXT, MAX_TOMBSTONES, Members, key};
use crate::membership::effects::Effects;
use crate::membership::row::State;
use crate::membership::suspicion::Suspicion;
use crate::model::{Moment, NodeName};
use std::ops::Bound::{Excluded, Unbounded};
use std::time::Duration;

/// The most members that are dealt with in one tick, of each kind. What else is due follows at once, after others
/// have had the table: a tenth of a hundred thousand members can fail at one moment.
const AT_ONCE: usize = 256;

impl Members {
    /// When [`Members::tick`] has something to do.
    pub fn next_deadline(&self) -> Moment {
        let config = &self.config;
        let suspect = self.suspects.first().map(|(due, _)| *due);
        let silent = self.next_to_silence().map(|(since, _)| *since + config.gossip_to_the_dead);
        let dead = self.oldest(&self.dead).map(|(since, _)| *since + config.reconnect_timeout);
        let left = self.oldest(&self.left).map(|(since, _)| *since + config.tombstone_timeout);
        let rows = [suspect, silent, dead, left].into_iter().flatten().min();
        let restate = self.restate.map_or(Moment::NEVER, |(at, _)| at);
        rows.unwrap_or(Moment::NEVER).min(self.prunes.earliest()).min(restate)
    }

    /// Does what has come due: declares suspects dead or reminds them, prunes, reaps. What is left
    /// because there is much of it is due at once.
    pub fn tick(&mut self, now: Moment, fx: &mut Effects) {
        for _ in 0..AT_ONCE {
            let Some((_, name)) = self.suspects.first().filter(|(due, _)| *due <= now).cloned() else {
                break;
            };
            self.suspect_is_due(&name, now, fx);
        }
        for _ in 0..AT_ONCE {
            let Some(name) = self.prunes.due(now).cloned() else { break };
            self.prune_is_due(&name, now, fx);
        }
        self.restate_if_due(now, fx);
        self.silence(now);
        self.reap(now, fx);
    }

    /// Informs the table that this process did not run for `lateness`: a suspect may
    /// have refuted meanwhile and gets as much more time.
    pub fn excuse_lateness(&mut self, lateness: Duration) {
        let suspects: Vec<NodeName> = self.suspects.iter().map(|(_, name)| name.clone()).collect();
        let grace = self.config.probe_interval;
        for name in suspects {
            self.change_suspicion(&name, |suspicion| suspicion.postpone(lateness, grace));
        }
    }

    /// Changes a suspicion and nothing else of a row.
    pub(in crate::membership) fn change_suspicion(
        &mut self,
        name: &NodeName,
        f: impl FnOnce(&mut Suspicion),
    ) {
        let Some(row) = self.rows.get_mut(name) else { return };
        let was = key(row);
        if let State::Suspect(suspicion) = &mut row.state {
            f(suspicion);
            self.suspects.remove(&was);
            self.suspects.insert(key(row));
        }
    }

    /// Those that have been dead for a while hear no gossip any more.
    fn silence(&mut self, now: Moment) {
        for _ in 0..AT_ONCE {
            let due = |(since, _): &&(Moment, NodeName)| *since + self.config.gossip_to_the_dead <= now;
            let Some(next) = self.next_to_silence().filter(due).cloned() else { break };
            self.strike(&next.1);
            self.silenced = Some(next);
        }
    }

    fn next_to_silence(&self) -> Option<&(Moment, NodeName)> {
        let after = self.silenced.as_ref().map_or(Unbounded, Excluded);
        self.dead.range((after, Unbounded)).next()
    }

    /// The first of these that can be forgotten. This process's own row, which is among those
    /// that left after a leave, stays however old it is; it must neither hold up the others nor
    /// be a deadline that never passes.
    fn oldest<'a>(&self, set: &'a Index) -> Option<&'a (Moment, NodeName)> {
        set.iter().find(|(_, name)| *name != self.me)
    }

    fn reap(&mut self, now: Moment, fx: &mut Effects) {
        for _ in 0..AT_ONCE {
            let due = |set, timeout| self.oldest(set).filter(|(since, _)| *since + timeout <= now);
            let dead = due(&self.dead, self.config.reconnect_timeout);
            let due = dead.or_else(|| due(&self.left, self.config.tombstone_timeout));
            let Some((_, name)) = due.cloned() else { break };
            if let Some(row) = self.erase(&name, now, fx) {
                self.forgotten.insert(row);
            }
        }
        self.forgotten.expire(self.config.reaped_memory(self.present()), AT_ONCE, now);
        self.bound_tombstones(now, fx);
        for _ in 0..AT_ONCE {
            let is_over = |since: Moment| now.since(since) > self.config.recent_intent_timeout;
            let over = (is_over(self.intents.earliest()), is_over(self.pruned.earliest()));
            if over.0 {
                self.intents.pop();
            }
            if over.1 {
                self.pruned.pop();
            }
            if over == (false, false) {
                break;
            }
        }
    }

    /// Whether names and tags of so many bytes may be added. Makes room by forgetting the oldest tombstones.
    pub(in crate::membership) fn has_room_for(&mut self, text: usize, now: Moment, fx: &mut Effects) -> bool {
        while self.text + text > MAX_TEXT {
            let oldest = [self.oldest(&self.dead), self.oldest(&self.left)].into_iter().flatten().min();
            let Some((_, name)) = oldest.cloned() else { return false };
            self.erase(&name, now, fx);
        }
        true
    }

    /// Forgets the oldest tombstones beyond [`MAX_TOMBSTONES`], those that have been reaped first.
    pub(in crate::membership) fn bound_tombstones(&mut self, now: Moment, fx: &mut Effects) {
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
}
