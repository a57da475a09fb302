//! What must hold after every step.

use super::{MAX_INTENTS, MAX_TOMBSTONES, Members, Presence, key};
use crate::membership::rings::{RINGS, position};
use crate::membership::rivals::MAX_RIVALS;
use crate::membership::row::{Fingerprint, NOWHERE, State};

impl Members {
    /// Panics if something that is derived from the rows does not agree with them. For tests
    /// and the simulator, after every step.
    pub fn check_invariants(&self) {
        let (mut digests, mut text) = (Fingerprint::default(), 0);
        let (mut dead, mut left, mut suspects) = (0, 0, 0);
        for (name, row) in &self.rows {
            assert_eq!(name, &row.name);
            digests ^= row.fingerprint();
            text += row.text();
            match row.state {
                State::Alive => {}
                State::Suspect(_) => {
                    suspects += 1;
                    assert!(self.suspects.contains(&key(row)), "{name} is not indexed as a suspect");
                    assert!(*name != self.me, "suspects itself");
                }
                State::Dead => {
                    dead += 1;
                    assert!(self.dead.contains(&key(row)), "{name} not among the dead");
                }
                State::Left => {
                    left += 1;
                    assert!(self.left.contains(&key(row)), "{name} not among the left");
                }
            }
        }
        assert_eq!((dead, left, suspects), (self.dead.len(), self.left.len(), self.suspects.len()));
        assert_eq!((digests, text), (self.digests, self.text), "digests do not match the rows");
        self.check_rings();
        assert!(dead + left + self.forgotten.len() <= MAX_TOMBSTONES, "too many tombstones");
        self.forgotten.check_invariants();
        for row in self.forgotten.rows() {
            assert!(!self.rows.contains_key(&row.name), "{} is known and forgotten", row.name);
        }
        assert!(self.intents.len() <= MAX_INTENTS, "too many early intents");
        assert!(self.pruned.len() <= MAX_INTENTS, "too many pruned names");
        assert!(self.rivals.len() <= MAX_RIVALS, "too many rivals");
        assert!(self.pruned.get(&self.me).is_none(), "this process cannot be pruned");
        for (name, ()) in self.prunes.iter() {
            assert!(*name != self.me && self.rows.contains_key(name), "{name} is to be pruned in vain");
        }
        self.check_order();
        self.prunes.check_invariants();
        self.intents.check_invariants();
        self.pruned.check_invariants();
        let troubled = self.rows.iter().filter(|(_, row)| row.probes.is_troubled()).map(|(name, _)| name);
        assert!(troubled.eq(&self.troubled), "troubled members");
        let me = self.rows.get(&self.me).expect("own row is missing");
        match self.presence {
            Presence::Here => assert!(me.is_alive() && !me.leaving, "does not believe itself alive"),
            Presence::Leaving => assert!(me.is_alive() && me.leaving),
            Presence::Gone => assert!(matches!(me.state, State::Left)),
        }
    }

    fn check_order(&self) {
        assert!(self.cursor <= self.order.len());
        for (at, name) in self.order.iter().enumerate() {
            let place = self.rows.get(name).map(|row| row.place_in_order as usize);
            assert_eq!(place, Some(at), "the place of {name} in the order of probing");
        }
        let mut placed = 0;
        for (name, row) in self.rows.iter().filter(|(name, _)| **name != self.me) {
            let hears = match row.state {
                State::Alive | State::Suspect(_) => true,
                State::Dead => self.silenced.as_ref().is_none_or(|last| key(row) > *last),
                State::Left => false,
            };
            assert_eq!(row.place_in_order != NOWHERE, hears, "{name} in the order of probing");
            placed += usize::from(hears);
        }
        assert_eq!(placed, self.order.len(), "order of probing");
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
