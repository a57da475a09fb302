//! Datagrams whose news waits until there is time for it. Pure.
//!
//! Pings are answered as they come, also when more news comes than this process can take in: the news waits here,
//! and not in the kernel, in front of them. Each address has its turn, so that what floods from one delays only
//! what comes from there; and what is too much is dropped from the one that has most.

use crate::telemetry::counters;
use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, SocketAddr};

/// The most memory that it takes, in bytes.
pub(crate) const MAX_BYTES: usize = 1536 * 1024;
/// What a datagram takes besides its content, in bytes, about.
const OVERHEAD: usize = 96;

/// Datagrams by the address they came from.
#[derive(Debug, Default)]
pub(crate) struct Backlog {
    of: BTreeMap<IpAddr, Waiting>,
    bytes: usize,
    /// The address that had its turn last.
    last: Option<IpAddr>,
}

#[derive(Debug, Default)]
struct Waiting {
    datagrams: VecDeque<(SocketAddr, Box<[u8]>)>,
    bytes: usize,
}

impl Backlog {
    /// Whether none waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.of.is_empty()
    }

    /// Adds the content of a datagram. Of what is too much, the oldest go of the address that has most.
    pub(crate) fn push(&mut self, from: SocketAddr, content: &[u8]) {
        let bytes = content.len() + OVERHEAD;
        let waiting = self.of.entry(from.ip()).or_default();
        waiting.datagrams.push_back((from, content.into()));
        waiting.bytes += bytes;
        self.bytes += bytes;
        while self.bytes > MAX_BYTES
            && let Some((ip, _)) = self.of.iter().max_by_key(|(_, waiting)| waiting.bytes)
        {
            let ip = *ip;
            drop(self.take(ip));
            counters::DATAGRAMS_SHED.inc();
        }
    }

    /// The oldest of the address whose turn it is.
    pub(crate) fn pop(&mut self) -> Option<(SocketAddr, Box<[u8]>)> {
        let after =
            |last| self.of.range((std::ops::Bound::Excluded(last), std::ops::Bound::Unbounded)).next();
        let next = self.last.and_then(after).or_else(|| self.of.first_key_value());
        let ip = next.map(|(ip, _)| *ip)?;
        self.last = Some(ip);
        self.take(ip)
    }

    fn take(&mut self, ip: IpAddr) -> Option<(SocketAddr, Box<[u8]>)> {
        let waiting = self.of.get_mut(&ip)?;
        let datagram = waiting.datagrams.pop_front();
        let bytes = datagram.as_ref().map_or(0, |(_, content)| content.len() + OVERHEAD);
        waiting.bytes -= bytes;
        self.bytes -= bytes;
        if waiting.datagrams.is_empty() {
            self.of.remove(&ip);
        }
        datagram
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addr(host: u8) -> SocketAddr {
        ([10, 0, 0, host], 7946).into()
    }

    #[test]
    fn each_address_has_its_turn_and_its_datagrams_stay_in_order() {
        let mut backlog = Backlog::default();
        for (host, content) in [(2, 1), (2, 2), (2, 3), (1, 4), (3, 5), (3, 6)] {
            backlog.push(addr(host), &[content]);
        }
        let order: Vec<u8> = std::iter::from_fn(|| backlog.pop().map(|(_, content)| content[0])).collect();
        assert_eq!(order, [4, 1, 5, 2, 6, 3]);
        assert!(backlog.is_empty() && backlog.bytes == 0);
    }

    #[test]
    fn a_flood_from_one_address_drops_nothing_of_others() {
        let mut backlog = Backlog::default();
        backlog.push(addr(1), &[1]);
        for _ in 0..1000 {
            backlog.push(addr(2), &[2; 10_000]);
            assert!(backlog.bytes <= MAX_BYTES);
        }
        backlog.push(addr(3), &[3]);
        let first: Vec<u8> = (0..3).filter_map(|_| backlog.pop().map(|(_, content)| content[0])).collect();
        assert_eq!(first, [1, 2, 3]);
        assert!(!backlog.is_empty());
    }
}
