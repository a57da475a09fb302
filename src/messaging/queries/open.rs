//! The queries of others that this process may still answer. Bounded; what is in the way of others goes first.

use super::limits::MAX_OPEN;
use crate::model::{Moment, QueryKey};
use crate::telemetry::counters;
use crate::wire::message::Source;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;

/// A query that this process may still answer.
#[derive(Debug)]
pub(super) struct OpenQuery {
    /// The member that asked, and where the answer goes.
    pub(super) source: Source,
    /// When an answer is of no use any more.
    pub(super) deadline: Moment,
    /// Through how many other members the answer is sent as well.
    pub(super) relay_factor: u8,
    /// It has been answered.
    pub(super) answered: bool,
    /// The asker was notified that no answer will follow.
    pub(super) declined: bool,
    /// Whether an agent that was refused its name may ask this as well.
    pub(super) for_rivals: bool,
}

/// All of them. When there is no room for another one, that which has its final answer longest goes; if there is none,
/// the oldest of the address that has asked the most. So neither a long timeout nor one that asks without end keeps
/// the queries of others from being heard.
#[derive(Debug, Default)]
pub(super) struct OpenQueries {
    entries: BTreeMap<QueryKey, OpenQuery>,
    deadlines: BTreeSet<(Moment, QueryKey)>,
    /// Those with their final answer, the oldest first. Some may be gone.
    done: VecDeque<QueryKey>,
    /// By the address that asked, the oldest first. Some may be gone.
    sources: BTreeMap<SocketAddr, VecDeque<QueryKey>>,
    /// How many each address has, those in `sources` that are gone included.
    counts: BTreeSet<(usize, SocketAddr)>,
}

impl OpenQueries {
    /// How many there are.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn get_mut(&mut self, key: QueryKey) -> Option<&mut OpenQuery> {
        self.entries.get_mut(&key)
    }

    /// When the next is over.
    pub(super) fn next_deadline(&self) -> Moment {
        self.deadlines.first().map_or(Moment::NEVER, |(at, _)| *at)
    }

    /// Keeps one more.
    pub(super) fn insert(&mut self, key: QueryKey, query: OpenQuery) {
        self.remove(key);
        while self.entries.len() >= MAX_OPEN && self.evict() {
            counters::QUERIES_EVICTED.inc();
        }
        self.deadlines.insert((query.deadline, key));
        let addr = query.source.addr;
        self.entries.insert(key, query);
        self.change_source(addr, |keys| keys.push_back(key));
    }

    /// A query has its final answer, and is kept only to know that, while there is room.
    pub(super) fn finished(&mut self, key: QueryKey) {
        self.done.push_back(key);
    }

    /// Forgets those whose time is over.
    pub(super) fn expire(&mut self, now: Moment) {
        while let Some((at, key)) = self.deadlines.first().copied()
            && at <= now
        {
            self.remove(key);
        }
    }

    fn evict(&mut self) -> bool {
        while let Some(key) = self.done.pop_front() {
            if self.remove(key) {
                return true;
            }
        }
        while let Some((_, addr)) = self.counts.last().copied() {
            let mut oldest = None;
            self.change_source(addr, |keys| oldest = keys.pop_front());
            if oldest.is_some_and(|key| self.remove(key)) {
                return true;
            }
        }
        false
    }

    /// Says whether it was there.
    fn remove(&mut self, key: QueryKey) -> bool {
        let Some(query) = self.entries.remove(&key) else { return false };
        self.deadlines.remove(&(query.deadline, key));
        // Mostly it is the oldest of its source; then nothing that is gone is left in front.
        let entries = &self.entries;
        let is_gone = |key: &QueryKey| !entries.contains_key(key);
        let addr = query.source.addr;
        if let Some(keys) = self.sources.get_mut(&addr) {
            self.counts.remove(&(keys.len(), addr));
            while keys.front().is_some_and(is_gone) {
                keys.pop_front();
            }
            // Others are looked for now and then, so that they are never more than those that are there.
            if keys.len() > 2 * MAX_OPEN {
                keys.retain(|key| !is_gone(key));
            }
            if keys.is_empty() {
                self.sources.remove(&addr);
            } else {
                self.counts.insert((keys.len(), addr));
            }
        }
        if self.done.len() > 2 * MAX_OPEN {
            self.done.retain(|key| !is_gone(key));
        }
        true
    }

    fn change_source(&mut self, addr: SocketAddr, change: impl FnOnce(&mut VecDeque<QueryKey>)) {
        let keys = self.sources.entry(addr).or_default();
        self.counts.remove(&(keys.len(), addr));
        change(keys);
        if keys.is_empty() {
            self.sources.remove(&addr);
        } else {
            self.counts.insert((keys.len(), addr));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{LamportTime, NodeName};
    use std::time::Duration;

    fn query(port: u16, seconds: u64) -> OpenQuery {
        let addr = SocketAddr::from(([10, 0, 0, 1], port));
        OpenQuery {
            source: Source { node: NodeName::new("x").unwrap(), addr },
            deadline: Moment::ZERO + Duration::from_secs(seconds),
            relay_factor: 0,
            answered: false,
            declined: false,
            for_rivals: false,
        }
    }

    fn key(id: u32) -> QueryKey {
        QueryKey { ltime: LamportTime(u64::from(id)), id }
    }

    #[test]
    fn what_has_its_answer_goes_first_then_the_oldest_of_the_one_that_asks_most() {
        let mut open = OpenQueries::default();
        open.insert(key(0), query(1, 10));
        for id in 1..MAX_OPEN as u32 {
            open.insert(key(id), query(2, 3600));
        }
        open.finished(key(7));
        open.insert(key(10_000), query(3, 10));
        assert!(open.get_mut(key(7)).is_none() && open.get_mut(key(1)).is_some());
        for id in 10_001..10_010 {
            open.insert(key(id), query(3, 10));
        }
        let gone: Vec<u32> = (0..20).filter(|id| open.get_mut(key(*id)).is_none()).collect();
        assert_eq!(gone, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
        assert_eq!(open.len(), MAX_OPEN);
    }

    #[test]
    fn each_ends_in_time_and_leaves_nothing() {
        let mut open = OpenQueries::default();
        for round in 0..10 {
            for id in 0..MAX_OPEN as u32 {
                open.insert(key(round * 100_000 + id), query(1 + (id % 3) as u16, u64::from(1 + id % 5)));
                open.finished(key(round * 100_000 + id));
            }
        }
        assert!(open.done.len() <= 2 * MAX_OPEN + 1, "{}", open.done.len());
        assert_eq!(open.next_deadline(), Moment::ZERO + Duration::from_secs(1));
        open.expire(Moment::ZERO + Duration::from_secs(5));
        assert_eq!((open.len(), open.next_deadline()), (0, Moment::NEVER));
        assert!(open.sources.is_empty() && open.counts.is_empty() && open.deadlines.is_empty());
    }
}
