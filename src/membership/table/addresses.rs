//! Which members are, or were last, at an address.

use crate::model::NodeName;
use std::collections::BTreeMap;
use std::net::SocketAddr;

/// Names by address. More than one where another member was before, or two dispute it.
#[derive(Debug, Default)]
pub(in crate::membership) struct Addresses(BTreeMap<SocketAddr, Vec<NodeName>>);

impl Addresses {
    /// A member was at one address and is now at another, or is forgotten.
    pub(super) fn change(&mut self, name: &NodeName, before: Option<SocketAddr>, after: Option<SocketAddr>) {
        if let Some(addr) = before
            && let Some(names) = self.0.get_mut(&addr)
        {
            names.retain(|other| other != name);
            if names.is_empty() {
                self.0.remove(&addr);
            }
        }
        if let Some(addr) = after {
            self.0.entry(addr).or_default().push(name.clone());
        }
    }

    /// Who is known to be or to have been at an address.
    pub(super) fn names(&self, addr: SocketAddr) -> impl Iterator<Item = &NodeName> {
        self.0.get(&addr).into_iter().flatten()
    }

    /// How many entries there are.
    pub(super) fn len(&self) -> usize {
        self.0.values().map(Vec::len).sum()
    }
}
