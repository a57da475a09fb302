//! The rings on which news travels in waves: the present members that take part, each at the position
//! of a hash of its name, and, beside the last ring, those that do not.
//!
//! Everyone who knows the same members has the same rings, without a word about it. Broadcast by
//! delegated intervals, as on Chord's ring (El-Ansary et al. 2003), and checks among neighbours
//! afterwards (corrected gossip, Hoefler et al. 2017).

use crate::model::NodeName;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound::{Excluded, Included, Unbounded};

/// How many rings there are: two for waves, the last for checks.
pub const RINGS: usize = 3;
/// The ring whose neighbours check each other. On it also lies which members look after one that takes
/// no part in waves.
pub const CHECK_RING: usize = 2;

/// Which rings a member is on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum RingPlace {
    /// None: it is not present.
    #[default]
    Nowhere,
    /// All of them.
    OnRings,
    /// Beside the last: it takes no part in waves.
    Beside,
    /// Beside the last, and it does not even read the native dialect.
    BesideHashicorp,
}

/// A ring: who is at which position.
pub type Ring = BTreeMap<u64, NodeName>;

/// All rings.
#[derive(Debug, Default)]
pub struct Rings {
    rings: [Ring; RINGS],
    beside: Ring,
    hashicorp: BTreeSet<NodeName>,
}

/// The position of a name on a ring. The same in every version and on every host: FNV-1a, and a finish
/// (that of SplitMix64) that spreads names which differ in their last character alone.
pub fn position(name: &NodeName, ring: usize) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64 ^ ring as u64;
    for byte in name.as_bytes() {
        hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
    }
    hash ^= (ring as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ (hash >> 31)
}

impl Rings {
    /// Puts a member where it belongs.
    pub(super) fn set(&mut self, name: &NodeName, place: RingPlace) {
        for (ring, members) in self.rings.iter_mut().enumerate() {
            let at = position(name, ring);
            match place {
                RingPlace::OnRings => drop(members.insert(at, name.clone())),
                RingPlace::Nowhere | RingPlace::Beside | RingPlace::BesideHashicorp => {
                    members.remove(&at);
                }
            }
        }
        let at = position(name, CHECK_RING);
        if place == RingPlace::BesideHashicorp {
            self.hashicorp.insert(name.clone());
        } else {
            self.hashicorp.remove(name);
        }
        match place {
            RingPlace::Beside | RingPlace::BesideHashicorp => drop(self.beside.insert(at, name.clone())),
            RingPlace::Nowhere | RingPlace::OnRings => {
                self.beside.remove(&at);
            }
        }
    }

    /// One of the rings.
    pub fn ring(&self, ring: usize) -> &Ring {
        &self.rings[ring]
    }

    /// How many members take part in waves, this process included.
    pub fn len(&self) -> usize {
        self.rings[0].len()
    }

    /// Whether nobody takes part: never, in a table that is in use.
    pub fn is_empty(&self) -> bool {
        self.rings[0].is_empty()
    }

    /// How many members are present and take no part.
    pub fn beside(&self) -> usize {
        self.beside.len()
    }

    /// How many members are present and do not read the native dialect.
    pub fn hashicorp(&self) -> usize {
        self.hashicorp.len()
    }

    /// The members without part in waves that `me` looks after: each is looked after by the `times`
    /// members that follow it on the last ring. The nearest first, at most `most`.
    pub fn charges(&self, me: &NodeName, times: usize, most: usize) -> Vec<&NodeName> {
        let at = position(me, CHECK_RING);
        let before = neighbours(self.ring(CHECK_RING), at, Direction::Backward);
        // As many members as look after one are between the farthest charge and this process.
        let farthest = before.map(|(at, _)| *at).nth(times - 1);
        let charges = match farthest {
            None => self.beside.len(),
            Some(from) => between(&self.beside, from, at).count(),
        };
        neighbours(&self.beside, at, Direction::Backward)
            .take(charges.min(most))
            .map(|(_, name)| name)
            .collect()
    }
}

/// A way round a ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Towards greater positions.
    Forward,
    /// Towards smaller ones.
    Backward,
}

/// The members of a ring but that at `at`, in the order of their distance from there in one direction.
pub fn neighbours(
    ring: &Ring,
    at: u64,
    direction: Direction,
) -> Box<dyn Iterator<Item = (&u64, &NodeName)> + '_> {
    let (before, after) = (ring.range(..at), ring.range((Excluded(at), Unbounded)));
    match direction {
        Direction::Forward => Box::new(after.chain(before)),
        Direction::Backward => Box::new(before.rev().chain(after.rev())),
    }
}

/// The members at the positions behind `start` up to and without `end`; from a position round to itself
/// that is everyone else.
pub fn between(ring: &Ring, start: u64, end: u64) -> Box<dyn Iterator<Item = (&u64, &NodeName)> + '_> {
    if start < end {
        return Box::new(ring.range((Excluded(start), Excluded(end))));
    }
    Box::new(ring.range((Excluded(start), Unbounded)).chain(ring.range(..end)))
}

/// The first member from `start` on, and before `end`. Both are positions; `start` itself is looked at.
pub fn first_from(ring: &Ring, start: u64, end: u64) -> Option<(u64, &NodeName)> {
    let found = if start < end {
        ring.range((Included(start), Excluded(end))).next()
    } else {
        ring.range(start..).chain(ring.range(..end)).next()
    };
    found.map(|(at, name)| (*at, name))
}
