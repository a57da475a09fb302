//! Members that were refused a name, remembered for as long as they may ask who has it.

use crate::model::{Moment, NodeName, Versions};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

/// The most refused claims that are remembered; beyond it the oldest is forgotten.
pub const MAX_RIVALS: usize = 64;
/// How long a refused claim is remembered: longer than any agent waits before it asks who has its
/// name.
const KEPT: Duration = Duration::from_secs(300);

/// Refused claims, by name and the address that it was claimed from.
#[derive(Debug, Default)]
pub(super) struct Rivals(BTreeMap<(NodeName, SocketAddr), Rival>);

#[derive(Clone, Copy, Debug)]
struct Rival {
    versions: Versions,
    at: Moment,
}

impl Rivals {
    /// Remembers a claim.
    pub(crate) fn note(&mut self, name: &NodeName, addr: SocketAddr, versions: Versions, now: Moment) {
        self.0.retain(|_, rival| now.since(rival.at) <= KEPT);
        let key = (name.clone(), addr);
        if self.0.len() >= MAX_RIVALS && !self.0.contains_key(&key) {
            let oldest = self.0.iter().min_by_key(|(_, rival)| rival.at).map(|(key, _)| key.clone());
            self.0.retain(|key, _| Some(key) != oldest.as_ref());
        }
        self.0.insert(key, Rival { versions, at: now });
    }

    /// What the one that claimed this name from this address understands.
    pub(crate) fn versions(&self, name: &NodeName, addr: SocketAddr) -> Option<Versions> {
        self.0.get(&(name.clone(), addr)).map(|rival| rival.versions)
    }

    /// How many are remembered.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}
