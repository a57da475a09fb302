//! The queries that one client was sent and may answer: numbers to keys, for a time.

use super::limits::MAX_PENDING_QUERIES;
use crate::model::{Moment, QueryKey};
use std::collections::BTreeMap;

/// Numbers count from 1 and are never used twice on a connection.
#[derive(Debug, Default)]
pub(super) struct PendingQueries {
    last: u64,
    queries: BTreeMap<u64, (QueryKey, Moment)>,
}

impl PendingQueries {
    /// Numbers a query that may be answered until `deadline`.
    pub(super) fn add(&mut self, key: QueryKey, deadline: Moment, now: Moment) -> u64 {
        self.last += 1;
        if deadline > now {
            self.make_room(now);
            self.queries.insert(self.last, (key, deadline));
        }
        self.last
    }

    /// The query of this number, if it can still be answered.
    pub(super) fn find(&mut self, id: u64, now: Moment) -> Option<QueryKey> {
        let (key, deadline) = *self.queries.get(&id)?;
        if deadline <= now {
            self.queries.remove(&id);
            return None;
        }
        Some(key)
    }

    /// When full: forgets what is over, and if that is little, the oldest quarter as well, so that
    /// the next search is far away.
    fn make_room(&mut self, now: Moment) {
        if self.queries.len() < MAX_PENDING_QUERIES {
            return;
        }
        self.queries.retain(|_, (_, deadline)| *deadline > now);
        while self.queries.len() > MAX_PENDING_QUERIES / 4 * 3 {
            self.queries.pop_first();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::LamportTime;
    use std::time::Duration;

    const NOW: Moment = Moment::ZERO;

    fn at(seconds: u64) -> Moment {
        NOW + Duration::from_secs(seconds)
    }

    fn key(id: u32) -> QueryKey {
        QueryKey { ltime: LamportTime(1), id }
    }

    #[test]
    fn a_query_can_be_answered_until_its_deadline() {
        let mut pending = PendingQueries::default();
        assert_eq!(pending.add(key(7), at(10), NOW), 1);
        assert_eq!(pending.add(key(8), at(20), NOW), 2);
        // Over already: it has a number all the same.
        assert_eq!(pending.add(key(9), at(5), at(5)), 3);
        for (id, now, expected) in [
            (1, at(9), Some(key(7))),
            (2, at(9), Some(key(8))),
            (3, at(4), None),
            (0, at(9), None),
            (4, at(9), None),
            (1, at(10), None),
            (2, at(10), Some(key(8))),
        ] {
            assert_eq!(pending.find(id, now), expected, "{id}");
        }
    }

    #[test]
    fn their_number_is_bounded_and_what_is_over_goes_first() {
        let mut pending = PendingQueries::default();
        let long = pending.add(key(0), at(1000), NOW);
        for id in 1..5000 {
            assert_eq!(pending.add(key(id), at(1), NOW), u64::from(id) + 1);
            assert!(pending.queries.len() <= MAX_PENDING_QUERIES);
        }
        assert_eq!(pending.find(long, NOW), None, "all of them ran; the oldest had to go");
        assert_eq!(pending.find(5000, NOW), Some(key(4999)));
        let mut pending = PendingQueries::default();
        let keep = pending.add(key(0), at(1000), NOW);
        for second in 0..100 {
            for _ in 0..MAX_PENDING_QUERIES / 4 {
                pending.add(key(1), at(second + 1), at(second));
            }
        }
        assert_eq!(pending.find(keep, at(99)), Some(key(0)), "only what was over had to go");
    }
}
