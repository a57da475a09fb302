//! Incarnation numbers: how a member overrules what others say about it (SWIM §4.2).

use serde::{Deserialize, Serialize};
use std::fmt;

/// How often a member has restated that it is alive. Only the member itself raises it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Incarnation(pub u32);

impl Incarnation {
    /// The first incarnation of a process.
    pub const FIRST: Incarnation = Incarnation(1);
    /// The last one, which is far above what is believed ([`super::Ceilings`]).
    pub const LAST: Incarnation = Incarnation(u32::MAX);

    /// The next incarnation; saturates at [`Incarnation::LAST`] instead of wrapping.
    pub fn next(self) -> Incarnation {
        Incarnation(self.0.saturating_add(1))
    }
}

impl fmt::Display for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_stays_the_last() {
        assert_eq!(Incarnation::FIRST.next(), Incarnation(2));
        assert_eq!(Incarnation::LAST.next(), Incarnation::LAST);
    }
}
