//! The order of probing, and random picks.

use super::Members;
use crate::membership::row::{Row, State};
use crate::model::{Moment, NodeName};
use fastrand::Rng;

impl Members {
    /// Puts a member into the probe order at a random place, which keeps the time until its
    /// first probe low on average (SWIM §4.3).
    pub(in crate::membership) fn enlist(&mut self, name: &NodeName, rng: &mut Rng) {
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
    pub(in crate::membership) fn probe_next(&mut self, name: &NodeName) {
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
}
