//! Which of the announced agents are joined, and when. Pure.

use crate::model::Moment;
use crate::telemetry::counters;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

/// The most announced addresses that are remembered; more are ignored and counted. Joining one
/// member of a cluster is enough to find the rest.
const MAX_PEERS: usize = 256;
/// The most addresses of one join.
const MAX_BATCH: usize = 16;
/// How long it has to be quiet before those found are joined (Serf's `mdnsQuietInterval`).
const QUIET: Duration = Duration::from_millis(100);
/// The least time between two joins.
const BETWEEN_JOINS: Duration = Duration::from_secs(5);
/// How long after a join the same address is tried again if no member has it by then (Serf's
/// `mdnsPollInterval`).
const AGAIN: Duration = Duration::from_secs(60);
/// The agents that have been announced, and when to join each.
#[derive(Debug)]
pub(super) struct Peers {
    me: SocketAddr,
    /// When each may be tried next.
    known: BTreeMap<SocketAddr, Moment>,
    /// When to look for those that are to be tried.
    next: Moment,
    /// Before this, nobody is joined.
    not_before: Moment,
}

impl Peers {
    pub(super) fn new(me: SocketAddr) -> Self {
        Peers { me, known: BTreeMap::new(), next: Moment::NEVER, not_before: Moment::ZERO }
    }

    /// Someone is announced.
    pub(super) fn found(&mut self, addr: SocketAddr, now: Moment) {
        if addr == self.me || addr.port() == 0 || addr.ip().is_unspecified() || addr.ip().is_multicast() {
            return;
        }
        if self.known.contains_key(&addr) {
            return;
        }
        if self.known.len() >= MAX_PEERS {
            counters::NEWS_DROPPED.inc();
            return;
        }
        self.known.insert(addr, now);
        self.next = (now + QUIET).max(self.not_before);
    }

    pub(super) fn next_deadline(&self) -> Moment {
        self.next
    }

    /// The agents to join now. One that is a member needs no joining, and is forgotten: should it fail,
    /// reconnecting is for others to do, and should it come back, it announces itself again.
    pub(super) fn tick(&mut self, now: Moment, is_member: impl Fn(SocketAddr) -> bool) -> Vec<SocketAddr> {
        if now < self.next {
            return Vec::new();
        }
        self.known.retain(|addr, _| !is_member(*addr));
        let due = self.known.iter_mut().filter(|(_, at)| **at <= now).take(MAX_BATCH);
        let batch: Vec<SocketAddr> = due
            .map(|(addr, at)| {
                *at = now + AGAIN;
                *addr
            })
            .collect();
        if !batch.is_empty() {
            self.not_before = now + BETWEEN_JOINS;
        }
        let soonest = self.known.values().copied().min().unwrap_or(Moment::NEVER);
        self.next = if soonest == Moment::NEVER { soonest } else { soonest.max(now + BETWEEN_JOINS) };
        batch
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Moment = Moment::ZERO;

    fn peer(i: u16) -> SocketAddr {
        SocketAddr::from(([10, 0, (i >> 8) as u8, i as u8], 7946))
    }

    fn peers() -> Peers {
        Peers::new(peer(1))
    }

    #[test]
    fn those_found_in_quick_succession_are_joined_together_and_never_oneself() {
        let (mut p, mut now) = (peers(), START + Duration::from_secs(100));
        assert_eq!(p.next_deadline(), Moment::NEVER, "nothing wakes an agent that has found nobody");
        for i in 1..4 {
            p.found(peer(i), now);
            now += Duration::from_millis(50);
            assert!(p.tick(now, |_| false).is_empty(), "more may follow");
        }
        now = p.next_deadline();
        assert_eq!(p.tick(now, |_| false), [peer(2), peer(3)]);
        assert!(p.tick(now, |_| false).is_empty());
    }

    #[test]
    fn what_nobody_can_be_at_is_not_joined() {
        let mut p = peers();
        for addr in ["0.0.0.0:7946", "224.0.0.251:7946", "10.0.0.9:0", "[::]:7946"] {
            p.found(addr.parse().unwrap(), START);
        }
        assert_eq!(p.next_deadline(), Moment::NEVER);
    }

    #[test]
    fn who_did_not_become_a_member_is_tried_again_after_a_minute_and_who_did_is_not() {
        let mut p = peers();
        p.found(peer(2), START);
        p.found(peer(3), START);
        let first = p.next_deadline();
        assert_eq!(p.tick(first, |_| false).len(), 2);
        let mut now = first;
        while now < first + AGAIN {
            now = p.next_deadline();
            let batch = p.tick(now, |addr| addr == peer(2));
            assert!(now >= first + AGAIN || batch.is_empty(), "too soon");
            if now >= first + AGAIN {
                assert_eq!(batch, [peer(3)]);
            }
        }
        assert!(p.tick(p.next_deadline(), |_| true).is_empty());
        assert_eq!(p.next_deadline(), Moment::NEVER, "everyone is a member: nothing to wake for");
    }

    #[test]
    fn a_flood_of_announcements_is_bounded_in_memory_and_in_joins() {
        let (mut p, mut now) = (peers(), START + Duration::from_secs(100));
        for i in 2..2000 {
            p.found(peer(i), now);
        }
        assert_eq!(p.known.len(), MAX_PEERS);
        let (mut joins, end) = (Vec::new(), now + Duration::from_secs(600));
        while p.next_deadline() < end {
            now = p.next_deadline();
            let batch = p.tick(now, |_| false);
            assert!(batch.len() <= MAX_BATCH);
            if !batch.is_empty() {
                joins.push(now);
            }
        }
        assert!(joins.windows(2).all(|w| w[1].since(w[0]) >= BETWEEN_JOINS));
        assert!(joins.len() <= 120, "{}", joins.len());
    }
}
