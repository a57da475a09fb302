//! Incarnation numbers: how a member overrules what others say about it (SWIM §4.2).

use serde::{Deserialize, Serialize};
use std::fmt;

/// The furthest one message may raise the incarnation of a member that is already known.
///
/// Incarnations grow by one with each refutation or tag change; sixteen million at once is
/// damage or malice.
pub const MAX_INCARNATION_JUMP: u32 = 1 << 24;

/// How often a member has restated that it is alive. Only the member itself raises it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Incarnation(pub u32);

impl Incarnation {
    /// The first incarnation of a process.
    pub const FIRST: Incarnation = Incarnation(1);
    /// The last one. An accusation at this incarnation could never be refuted, so it is refused.
    pub const LAST: Incarnation = Incarnation(u32::MAX);

    /// The next incarnation; saturates at [`Incarnation::LAST`] instead of wrapping.
    pub fn next(self) -> Incarnation {
        Incarnation(self.0.saturating_add(1))
    }

    /// Whether a message that claims `claimed` may be believed when `self` is what is known.
    pub fn admits(self, claimed: Incarnation) -> bool {
        claimed.0 <= self.0.saturating_add(MAX_INCARNATION_JUMP)
    }

    /// Whether an accusation at `claimed` may be believed when `self` is what is known.
    ///
    /// The accused answers with the incarnation after it, and everyone has to believe that
    /// answer, also those that lag behind or never heard the accusation. Hence half the jump that
    /// is believed of the member itself, and never the last incarnation, after which there is none.
    pub fn admits_accusation(self, claimed: Incarnation) -> bool {
        claimed != Incarnation::LAST && claimed.0 <= self.0.saturating_add(MAX_INCARNATION_JUMP / 2)
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
    fn saturates_and_refuses_jumps() {
        assert_eq!(Incarnation::LAST.next(), Incarnation::LAST);
        assert!(Incarnation(5).admits(Incarnation(5 + MAX_INCARNATION_JUMP)));
        assert!(!Incarnation(5).admits(Incarnation(6 + MAX_INCARNATION_JUMP)));
        assert!(Incarnation(u32::MAX - 1).admits(Incarnation::LAST));
    }

    #[test]
    fn every_accusation_that_is_believed_can_be_refuted() {
        let known = Incarnation(5);
        let worst = Incarnation(5 + MAX_INCARNATION_JUMP / 2);
        assert!(known.admits_accusation(worst) && known.admits(worst.next()));
        assert!(Incarnation(1).admits(worst.next()), "also by those that lag behind");
        assert!(!known.admits_accusation(worst.next()));
        assert!(!Incarnation(u32::MAX - 1).admits_accusation(Incarnation::LAST));
    }
}
