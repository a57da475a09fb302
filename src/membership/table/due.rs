//! What comes due: suspicions, prunes, and members to be forgotten.

use super::{MAX_TOMBSTONES, Members};
use crate::membership::effects::Effects;
use crate::membership::row::{Row, State};
use crate::model::{Moment, NodeName};
use std::collections::BTreeSet;
use std::time::Duration;

impl Members {
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

    /// Informs the table that this process did not run for `lateness`: a suspect may
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
        self.forgotten.expire(self.config.reaped_memory(self.present()), now);
        self.bound_tombstones(now, fx);
        let keep = self.config.recent_intent_timeout;
        self.intents.retain(|_, intent| now.since(intent.at) <= keep);
        self.pruned.retain(|_, pruned| now.since(pruned.at) <= keep);
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
