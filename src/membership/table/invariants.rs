//! What must hold after every step.

use super::{MAX_INTENTS, MAX_TOMBSTONES, Members, Presence};
use crate::membership::rings::{RINGS, position};
use crate::membership::rivals::MAX_RIVALS;
use crate::membership::row::State;

impl Members {
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
        self.check_rings();
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

    fn check_rings(&self) {
        let (mut on_rings, mut beside, mut hashicorp) = (0, 0, 0);
        for (name, row) in &self.rows {
            assert!(self.addresses.names(row.addr).any(|n| n == name), "{name} is not found by its address");
        }
        assert_eq!(self.rows.len(), self.addresses.len(), "addresses");
        for (name, row) in self.rows.iter().filter(|(_, row)| row.is_present()) {
            if row.versions.speaks_waves() {
                on_rings += 1;
                for ring in 0..RINGS {
                    assert_eq!(self.rings.ring(ring).get(&position(name, ring)), Some(name), "ring {ring}");
                }
            } else {
                beside += 1;
                hashicorp += usize::from(!row.versions.speaks_native());
            }
        }
        let kept = (self.rings.len(), self.rings.beside(), self.rings.hashicorp());
        assert_eq!((on_rings, beside, hashicorp), kept, "rings");
    }
}
