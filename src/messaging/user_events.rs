//! User events: delivered once each, in a window of Lamport times that grows with need.
//!
//! Serf keeps the last 512 Lamport times and drops what is older, so that a burst of two thousand
//! events loses most of itself. Here everything heard lately is kept, and only memory bounds it.

use crate::model::{Ceilings, Footprint, LamportClock, LamportTime, Moment, Text, UserEvent};
use crate::telemetry::counters;
use crate::wire::serf_size;
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// Lamport times that are always kept, so that members that were away can catch up by push/pull
/// (Serf's `EventBuffer`).
pub const KEPT_TIMES: usize = 512;
/// The most Lamport times that are kept while they are fresh.
pub const MAX_TIMES: usize = 16_384;
/// The most memory that the events take that are kept, in bytes. As much is taken from one exchange.
pub const MAX_BYTES: usize = crate::wire::MAX_EVENT_BYTES;
/// What a Lamport time takes besides its events.
const TIME_BYTES: usize = 64;
/// How long times beyond [`KEPT_TIMES`] are kept: well beyond the time that gossip takes.
const FRESH: Duration = Duration::from_secs(60);
/// So many stale times beyond [`KEPT_TIMES`] may stay until the next event, and the others this much longer, so that they are
/// forgotten at once.
const SLACK_TIMES: usize = 128;
const SLACK: Duration = Duration::from_secs(2);
/// The most events of one Lamport time. Members that fire at the same moment share one.
const MAX_PER_TIME: usize = 1024;

/// The largest name and payload together that any configuration may allow, in bytes (Serf's
/// `UserEventSizeLimit`).
pub const EVENT_SIZE_CEILING: usize = 9 * 1024;

/// A user event that is too large, with Serf's words; each holds the limit in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventTooLarge {
    /// Its name and payload are together.
    Text(usize),
    /// What is sent is, with what belongs to an event besides these.
    Encoded(usize),
}

impl fmt::Display for EventTooLarge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            EventTooLarge::Text(limit) => {
                write!(f, "user event exceeds configured limit of {limit} bytes before encoding")
            }
            EventTooLarge::Encoded(limit) => {
                write!(f, "encoded user event exceeds configured limit of {limit} bytes after encoding")
            }
        }
    }
}

impl std::error::Error for EventTooLarge {}

/// What has been heard of user events.
#[derive(Debug)]
pub struct UserEvents {
    clock: LamportClock,
    /// By Lamport time; each with when it was first heard.
    heard: BTreeMap<LamportTime, (Moment, Vec<UserEvent>)>,
    bytes: usize,
    /// Earlier times are refused: it is not known any more which of their events were
    /// delivered.
    floor: LamportTime,
    /// Events of earlier times are not delivered: they were, in an earlier run, or it joined without
    /// replay. They are kept all the same, for members that missed them; otherwise an agent that
    /// restarts takes with it what nobody else may remember.
    news_from: LamportTime,
    size_limit: usize,
}

impl UserEvents {
    /// Nothing heard yet. `size_limit` is the largest event that is sent, in bytes; see [`serf_size`].
    pub fn new(size_limit: usize, ceilings: Ceilings) -> Self {
        let mut clock = LamportClock::new(ceilings);
        clock.increment();
        let size_limit = size_limit.min(EVENT_SIZE_CEILING);
        UserEvents {
            clock,
            heard: BTreeMap::new(),
            bytes: 0,
            floor: LamportTime::ZERO,
            news_from: LamportTime::ZERO,
            size_limit,
        }
    }

    /// The Lamport time of user events.
    pub fn time(&self) -> LamportTime {
        self.clock.time()
    }

    /// Makes an event of this process, to be delivered here and sent to everyone.
    pub fn fire(
        &mut self,
        name: Text,
        payload: Vec<u8>,
        coalesce: bool,
        now: Moment,
    ) -> Result<UserEvent, EventTooLarge> {
        if name.len() + payload.len() > self.size_limit {
            return Err(EventTooLarge::Text(self.size_limit));
        }
        let event = UserEvent { ltime: self.clock.time(), name, payload, coalesce };
        if serf_size(&event.clone().into()) > self.size_limit {
            return Err(EventTooLarge::Encoded(self.size_limit));
        }
        self.clock.increment();
        self.remember(event.clone(), now);
        Ok(event)
    }

    /// Takes note of an event. Says whether it is new, to be delivered here and passed on.
    pub fn hear(&mut self, event: &UserEvent, now: Moment) -> bool {
        if event.name.len() + event.payload.len() > EVENT_SIZE_CEILING
            || !self.clock.witness(event.ltime, now)
        {
            counters::REFUSED_ABSURD.inc();
            return false;
        }
        if event.ltime < self.floor {
            counters::EVENTS_TOO_OLD.inc();
            return false;
        }
        let same = |e: &UserEvent| e.name == event.name && e.payload == event.payload;
        if let Some((_, events)) = self.heard.get(&event.ltime)
            && (events.iter().any(same) || events.len() >= MAX_PER_TIME)
        {
            return false;
        }
        self.remember(event.clone(), now);
        event.ltime >= self.news_from
    }

    /// Takes note of another member's clock.
    pub fn witness(&mut self, theirs: LamportTime, now: Moment) {
        // One less: no event with that time has been sent yet. An absurd time is ignored.
        let _ = self.clock.witness(theirs.previous(), now);
    }

    /// When [`UserEvents::tick`] has something to do.
    pub fn next_deadline(&self) -> Moment {
        match self.heard.first_key_value() {
            Some((_, (since, _))) if self.heard.len() > KEPT_TIMES + SLACK_TIMES => *since + FRESH + SLACK,
            _ => Moment::NEVER,
        }
    }

    /// Forgets what is stale.
    pub fn tick(&mut self, now: Moment) {
        self.forget(now);
    }

    /// From now on events from before `time` are not news: a join without replay.
    pub fn ignore_before(&mut self, time: LamportTime, now: Moment) {
        if self.clock.admits(time, now) {
            self.news_from = self.news_from.max(time);
        }
    }

    /// Goes on after an earlier run in which events up to `last` were delivered: none of them is
    /// news.
    pub fn resume(&mut self, last: LamportTime, now: Moment) {
        if last > LamportTime::ZERO && self.clock.witness(last, now) {
            self.news_from = self.news_from.max(last.next());
        }
    }

    /// Everything that is remembered, by Lamport time.
    pub fn recent(&self) -> impl Iterator<Item = &UserEvent> {
        self.heard.values().flat_map(|(_, events)| events)
    }

    fn remember(&mut self, event: UserEvent, now: Moment) {
        self.bytes += event.footprint();
        let bytes = &mut self.bytes;
        let of_one_time = self.heard.entry(event.ltime).or_insert_with(|| {
            *bytes += TIME_BYTES;
            // Mostly there is one.
            (now, Vec::with_capacity(1))
        });
        of_one_time.1.push(event);
        self.forget(now);
    }

    fn forget(&mut self, now: Moment) {
        while let Some((_, (since, _))) = self.heard.first_key_value() {
            let stale = self.heard.len() > KEPT_TIMES && now.since(*since) > FRESH;
            if !stale && self.heard.len() <= MAX_TIMES && self.bytes <= MAX_BYTES {
                return;
            }
            let Some((time, (_, events))) = self.heard.pop_first() else { return };
            self.bytes -= TIME_BYTES + events.iter().map(Footprint::footprint).sum::<usize>();
            self.floor = self.floor.max(time.next());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NOW: Moment = Moment::ZERO;

    fn event(ltime: u64, name: &str, payload: &str) -> UserEvent {
        UserEvent { ltime: LamportTime(ltime), name: name.into(), payload: payload.into(), coalesce: false }
    }

    #[test]
    fn each_event_is_news_once() {
        let mut e = UserEvents::new(512, Ceilings::default());
        assert!(e.hear(&event(5, "deploy", "a"), NOW));
        assert!(!e.hear(&event(5, "deploy", "a"), NOW));
        assert!(e.hear(&event(5, "deploy", "b"), NOW), "another event of the same time");
        assert!(e.hear(&event(3, "deploy", "a"), NOW), "late, but not heard before");
        assert_eq!(e.time(), LamportTime(6));
        let fired = e.fire("x".into(), vec![], true, NOW).unwrap();
        assert_eq!(fired.ltime, LamportTime(6));
        assert!(!e.hear(&fired, NOW), "its own event comes back");
    }

    #[test]
    fn too_large_is_refused_at_the_source_with_serfs_words() {
        let mut e = UserEvents::new(512, Ceilings::default());
        let error = e.fire("n".repeat(12).into(), vec![0; 501], true, NOW).unwrap_err();
        assert_eq!(error.to_string(), "user event exceeds configured limit of 512 bytes before encoding");
        // As much as HashiCorp's program takes.
        let error = e.fire("big".into(), vec![0; 480], true, NOW).unwrap_err();
        assert_eq!(
            error.to_string(),
            "encoded user event exceeds configured limit of 512 bytes after encoding"
        );
        assert!(e.fire("big".into(), vec![0; 479], true, NOW).is_ok());
        assert_eq!(e.recent().count(), 1);
    }

    #[test]
    fn a_burst_in_any_order_is_heard_in_full() {
        let mut e = UserEvents::new(512, Ceilings::default());
        let heard = (1..=2000).rev().filter(|t| e.hear(&event(*t, "e", ""), NOW)).count();
        assert_eq!(heard, 2000);
    }

    #[test]
    fn what_is_stale_shrinks_to_the_window_and_is_never_delivered_twice() {
        let mut e = UserEvents::new(512, Ceilings::default());
        for t in 1..=2000 {
            e.hear(&event(t, "e", ""), NOW);
        }
        assert_eq!(e.next_deadline(), NOW + FRESH + SLACK);
        let later = NOW + FRESH + Duration::from_secs(1);
        assert!(e.hear(&event(2001, "e", ""), later));
        assert_eq!(e.recent().count(), KEPT_TIMES);
        assert_eq!(e.next_deadline(), Moment::NEVER);
        assert!(!e.hear(&event(1000, "e", ""), later));
        assert!(!e.hear(&event(1999, "e", ""), later));
    }

    #[test]
    fn memory_is_bounded() {
        let mut e = UserEvents::new(9000, Ceilings::default());
        for t in 1..=2000 {
            e.hear(&event(t, "e", &"x".repeat(8000)), NOW);
        }
        assert!(e.bytes <= MAX_BYTES);
        assert!(!e.hear(&event(5000, "e", &"x".repeat(10_000)), NOW));
        assert!(!e.hear(&event(u64::MAX, "e", ""), NOW), "an absurd time");
        assert_eq!(e.time(), LamportTime(2001));
    }

    #[test]
    fn memory_is_bounded_for_tiny_events_too() {
        let mut e = UserEvents::new(512, Ceilings::default());
        for i in 0..100_000 {
            e.hear(&event(1 + i / 500, &(i % 500).to_string(), ""), NOW);
        }
        let kept = e.recent().count();
        assert!(kept < MAX_BYTES / size_of::<UserEvent>(), "{kept}");
        assert!(kept > 12_000, "{kept}");
    }

    #[test]
    fn a_join_without_replay_hears_only_what_is_new() {
        let mut e = UserEvents::new(512, Ceilings::default());
        e.ignore_before(LamportTime(10), NOW);
        assert!(!e.hear(&event(9, "old", ""), NOW));
        assert!(e.hear(&event(10, "new", ""), NOW));
        assert_eq!(e.recent().count(), 2, "what is no news here may be news to others");
    }

    #[test]
    fn what_was_delivered_before_a_crash_is_not_delivered_again() {
        let mut e = UserEvents::new(512, Ceilings::default());
        e.resume(LamportTime(10), NOW);
        assert_eq!(e.time(), LamportTime(11));
        assert!(!e.hear(&event(9, "old", ""), NOW) && !e.hear(&event(10, "old", ""), NOW));
        assert!(e.hear(&event(11, "new", ""), NOW));
        let mut fresh = UserEvents::new(512, Ceilings::default());
        fresh.resume(LamportTime(u64::MAX), NOW);
        fresh.resume(LamportTime::ZERO, NOW);
        assert_eq!(fresh.time(), LamportTime(1));
        assert!(fresh.hear(&event(0, "new", ""), NOW), "nothing was delivered before");
    }

    proptest! {
        #[test]
        fn any_order_with_duplicates_delivers_each_once(times in proptest::collection::vec((1u64..60, 0u8..3), 1..200)) {
            let mut e = UserEvents::new(512, Ceilings::default());
            let mut delivered = std::collections::BTreeSet::new();
            for (t, which) in &times {
                if e.hear(&event(*t, &which.to_string(), ""), NOW) {
                    prop_assert!(delivered.insert((*t, *which)));
                }
            }
            prop_assert_eq!(delivered, times.into_iter().collect());
        }
    }
}
