//! Values by name, each with a moment, found by either.

use crate::model::{Moment, NodeName};
use std::collections::{BTreeMap, BTreeSet};

/// Values by name, with an index by their moments: when they are due, or since when they are there.
/// Everything but [`Timed::iter`] is logarithmic.
#[derive(Debug)]
pub(super) struct Timed<T> {
    values: BTreeMap<NodeName, (Moment, T)>,
    by_moment: BTreeSet<(Moment, NodeName)>,
}

impl<T> Default for Timed<T> {
    fn default() -> Self {
        Timed { values: BTreeMap::new(), by_moment: BTreeSet::new() }
    }
}

impl<T> Timed<T> {
    /// Keeps a value; it takes the place of an older one of that name.
    pub(super) fn insert(&mut self, name: NodeName, at: Moment, value: T) {
        if let Some((before, old)) = self.values.get_mut(&name) {
            *old = value;
            if *before == at {
                return;
            }
            self.by_moment.remove(&(*before, name.clone()));
            *before = at;
        } else {
            self.values.insert(name.clone(), (at, value));
        }
        self.by_moment.insert((at, name));
    }

    /// Takes a value out.
    pub(super) fn remove(&mut self, name: &NodeName) -> Option<T> {
        let (at, value) = self.values.remove(name)?;
        self.by_moment.remove(&(at, name.clone()));
        Some(value)
    }

    /// The value of a name.
    pub(super) fn get(&self, name: &NodeName) -> Option<&T> {
        self.values.get(name).map(|(_, value)| value)
    }

    /// The same, to be changed.
    pub(super) fn get_mut(&mut self, name: &NodeName) -> Option<&mut T> {
        self.values.get_mut(name).map(|(_, value)| value)
    }

    /// The moment of a name.
    pub(super) fn moment(&self, name: &NodeName) -> Option<Moment> {
        self.values.get(name).map(|(at, _)| *at)
    }

    /// The earliest moment of all; never, if there are none.
    pub(super) fn earliest(&self) -> Moment {
        self.by_moment.first().map_or(Moment::NEVER, |(at, _)| *at)
    }

    /// Whose moment is the earliest, if it is not after `now`.
    pub(super) fn due(&self, now: Moment) -> Option<&NodeName> {
        self.by_moment.first().filter(|(at, _)| *at <= now).map(|(_, name)| name)
    }

    /// Takes out the value with the earliest moment.
    pub(super) fn pop(&mut self) -> Option<(NodeName, T)> {
        let (_, name) = self.by_moment.pop_first()?;
        let (_, value) = self.values.remove(&name)?;
        Some((name, value))
    }

    /// All, by name.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&NodeName, &T)> {
        self.values.iter().map(|(name, (_, value))| (name, value))
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.values.len()
    }

    /// Panics if the index does not agree with the values.
    pub(super) fn check_invariants(&self) {
        assert_eq!(self.values.len(), self.by_moment.len());
        for (name, (at, _)) in &self.values {
            assert!(self.by_moment.contains(&(*at, name.clone())), "{name} has no moment");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::membership::tests::{S, name};

    #[test]
    fn a_value_has_one_moment() {
        let (mut timed, at) = (Timed::default(), |s| Moment::ZERO + S(s));
        timed.insert(name("a"), at(5), 1);
        timed.insert(name("b"), at(3), 2);
        timed.insert(name("a"), at(2), 3);
        timed.insert(name("b"), at(3), 4);
        timed.check_invariants();
        assert_eq!((timed.len(), timed.earliest(), timed.moment(&name("b"))), (2, at(2), Some(at(3))));
        assert_eq!((timed.due(at(1)), timed.due(at(2))), (None, Some(&name("a"))));
        assert_eq!(timed.pop(), Some((name("a"), 3)));
        assert_eq!((timed.get(&name("a")), timed.get(&name("b"))), (None, Some(&4)));
        assert_eq!((timed.remove(&name("b")), timed.remove(&name("b"))), (Some(4), None));
        assert_eq!((timed.pop(), timed.earliest()), (None, Moment::NEVER));
        timed.check_invariants();
    }
}
