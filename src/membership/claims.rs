//! Claims of names that wait until it is clear that their former holders are gone (`moves`).

use super::effects::Spread;
use crate::model::{Moment, NodeName};
use crate::wire::message::Alive;
use std::collections::BTreeMap;

/// A claim that waits for the silence of the former holder.
#[derive(Debug)]
pub(super) struct Claim {
    /// What was said.
    pub(super) claim: Alive,
    /// Whether it is passed on.
    pub(super) spread: Spread,
    /// The sequence numbers of the pings so far.
    pub(super) asked: Vec<u32>,
    /// When the next ping is due, or the claim is admitted.
    pub(super) due: Moment,
}

/// All of them, by name.
#[derive(Debug, Default)]
pub(super) struct Claims(pub(super) BTreeMap<NodeName, Claim>);

impl Claims {
    /// When something is to be done.
    pub(super) fn next_deadline(&self) -> Moment {
        self.0.values().map(|waiting| waiting.due).min().unwrap_or(Moment::NEVER)
    }
}
