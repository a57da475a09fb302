//! Which members are, or were last, at an address.

use crate::model::NodeName;
use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

/// Names by address. More than one where another member was before, or two dispute it.
#[derive(Debug, Default)]
pub(in crate::membership) struct Addresses(BTreeSet<(u64, Option<NodeName>)>);

/// An address as a number: for IPv4 one of its own, for IPv6 one that others may share, so that what is found by it
/// is to be compared. A third of the memory of the address itself.
fn key(addr: SocketAddr) -> u64 {
    let port = u64::from(addr.port());
    match addr.ip() {
        IpAddr::V4(ip) => u64::from(u32::from(ip)) << 16 | port,
        IpAddr::V6(ip) => {
            let (high, low) = ((u128::from(ip) >> 64) as u64, u128::from(ip) as u64);
            high.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(32) ^ low ^ port << 48
        }
    }
}

impl Addresses {
    /// A member was at one address and is now at another, or is forgotten.
    pub(super) fn change(&mut self, name: &NodeName, before: Option<SocketAddr>, after: Option<SocketAddr>) {
        if let Some(addr) = before {
            self.0.remove(&(key(addr), Some(name.clone())));
        }
        if let Some(addr) = after {
            self.0.insert((key(addr), Some(name.clone())));
        }
    }

    /// Who may be or have been at an address: all that are, and perhaps others.
    pub(super) fn names(&self, addr: SocketAddr) -> impl Iterator<Item = &NodeName> {
        let at = key(addr);
        // No name is less than any, and in no entry: a place to begin.
        self.0
            .range((at, None)..)
            .take_while(move |(key, _)| *key == at)
            .filter_map(|(_, name)| name.as_ref())
    }

    /// How many entries there are.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}
