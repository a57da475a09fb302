//! The order of probing, and random picks.
//!
//! In the order is everyone else that is present, and who died a short while ago: those hear gossip
//! still. Before the cursor are those that have been probed in this round, in no order that matters;
//! which of the others comes next is drawn when it is asked for.

use super::Members;
use crate::membership::row::{NOWHERE, Row, State};
use crate::model::{Moment, NodeName};
use fastrand::Rng;

/// How often a random pick is tried until the suitable are searched for: as many as find one of a thousand mostly.
const PICKS: usize = 2_000;

impl Members {
    /// Puts a member among those that are still to be probed in this round.
    pub(super) fn enlist(&mut self, name: &NodeName) {
        let Some(row) = self.rows.get_mut(name) else { return };
        if row.place_in_order == NOWHERE && *name != self.me {
            // At most MAX_PRESENT and MAX_TOMBSTONES.
            row.place_in_order = self.order.len() as u32;
            self.order.push(name.clone());
        }
    }

    /// Takes a member out. Nobody is passed over in this round by that, or probed twice.
    pub(super) fn strike(&mut self, name: &NodeName) {
        let Some(row) = self.rows.get_mut(name) else { return };
        let mut at = row.place_in_order as usize;
        if at >= self.order.len() {
            return;
        }
        row.place_in_order = NOWHERE;
        if at < self.cursor {
            // It changes places with the last of those that have been probed, and so becomes the first of
            // the others; or the second, if it is settled who is first.
            self.cursor -= 1;
            self.swap_order(at, self.cursor);
            at = self.cursor;
            if self.is_drawn {
                self.swap_order(at, at + 1);
                at += 1;
            }
        } else if at == self.cursor {
            self.is_drawn = false;
        }
        self.order.swap_remove(at);
        self.note_place(at);
    }

    fn swap_order(&mut self, a: usize, b: usize) {
        self.order.swap(a, b);
        self.note_place(a);
        self.note_place(b);
    }

    fn note_place(&mut self, at: usize) {
        let Some(name) = self.order.get(at) else { return };
        if let Some(row) = self.rows.get_mut(name)
            && row.place_in_order != NOWHERE
        {
            row.place_in_order = at as u32;
        }
    }

    /// The next member to probe: in each round everyone present but this process once, in an order
    /// drawn anew (SWIM §4.3).
    pub fn next_to_probe(&mut self, rng: &mut Rng) -> Option<&Row> {
        if self.order.is_empty() {
            return None;
        }
        // The rest of this round, then one whole new round.
        for _ in 0..2 * self.order.len() - self.cursor {
            if self.cursor >= self.order.len() {
                self.cursor = 0;
            }
            let at = self.cursor;
            if !std::mem::take(&mut self.is_drawn) {
                self.swap_order(at, rng.usize(at..self.order.len()));
            }
            self.cursor += 1;
            if self.rows.get(&self.order[at]).is_some_and(|row| row.is_present()) {
                return self.rows.get(&self.order[at]).map(|row| &**row);
            }
        }
        None
    }

    /// Who is at the place in the order that the probing has come to.
    pub(in crate::membership) fn next_in_order(&self) -> Option<&NodeName> {
        self.order.get(self.cursor)
    }

    /// Makes a member the next one to probe.
    pub(in crate::membership) fn probe_next(&mut self, name: &NodeName) {
        let Some(at) = self.rows.get(name).map(|row| row.place_in_order as usize) else { return };
        if at >= self.order.len() {
            return;
        }
        if at < self.cursor {
            self.cursor -= 1;
        }
        self.swap_order(at, self.cursor);
        self.is_drawn = true;
    }

    /// Up to `k` different random rows other than this process's, for which `suits` holds.
    ///
    /// With few members all of them are shuffled, so that none is missed by chance.
    pub fn random_rows(&self, k: usize, rng: &mut Rng, suits: impl Fn(&Row) -> bool) -> Vec<&Row> {
        let n = self.order.len();
        let mut chosen: Vec<&Row> = Vec::with_capacity(k.min(n));
        let mut consider = |name: &NodeName| {
            if let Some(row) = self.rows.get(name)
                && !chosen.iter().any(|c| c.name == row.name)
                && suits(row)
            {
                chosen.push(row);
            }
            chosen.len() >= k
        };
        if k == 0 {
            return Vec::new();
        }
        // Random picks find k of n quickly while suitable rows are plenty. Where they are rare, to look
        // through all costs no more than many picks.
        let picks = if n < k * 8 { 0 } else { (k * 4).max(n / 8).min(PICKS) };
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
