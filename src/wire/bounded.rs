//! Lists in messages, taken as far as a budget of memory goes. What is beyond it is read, left out and counted: the
//! rest of the message is still heard.
//!
//! A frame of a stream may have 8 MiB, and a tiny entry of a few bytes becomes a hundred in memory. Honest members
//! never come near these budgets: what they remember is bounded by the same.

use super::message::PeerRow;
use crate::model::{Footprint, UserEvent};
use crate::telemetry::counters;
use serde::de::{Deserialize, Deserializer, SeqAccess, Visitor};
use std::fmt;

/// The most memory that the events of one message take, in bytes: as much as a member remembers.
pub const MAX_EVENT_BYTES: usize = 2 << 20;
/// The most memory that the rows of one message take, in bytes: more than our own whole states have with full tags, and
/// almost forty thousand rows with short ones.
pub const MAX_ROW_BYTES: usize = 7 << 20;
/// The most memory that the ids of rows in one message take, in bytes: those of the largest table.
const MAX_ID_BYTES: usize = 1 << 20;

/// A list that grows as far as a budget goes.
#[derive(Debug)]
pub(super) struct Budgeted<T> {
    items: Vec<T>,
    left: usize,
    cost: fn(&T) -> usize,
}

impl<T> Budgeted<T> {
    pub(super) fn new(budget: usize, cost: fn(&T) -> usize) -> Budgeted<T> {
        Budgeted { items: Vec::new(), left: budget, cost }
    }

    /// Adds an item, or leaves it out and counts it.
    pub(super) fn push(&mut self, item: T) {
        match self.left.checked_sub((self.cost)(&item)) {
            Some(left) => {
                self.left = left;
                self.items.push(item);
            }
            None => {
                // Nor anything that follows, so that what is kept is the beginning.
                self.left = 0;
                counters::ENTRIES_LEFT_OUT.inc();
            }
        }
    }

    pub(super) fn into_items(self) -> Vec<T> {
        self.items
    }
}

impl<'de, T: Deserialize<'de>> Visitor<'de> for Budgeted<T> {
    type Value = Vec<T>;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut list: A) -> Result<Vec<T>, A::Error> {
        while let Some(item) = list.next_element()? {
            self.push(item);
        }
        Ok(self.items)
    }
}

/// A list of events within [`MAX_EVENT_BYTES`].
pub(super) fn events<'de, D: Deserializer<'de>>(list: D) -> Result<Vec<UserEvent>, D::Error> {
    list.deserialize_seq(Budgeted::new(MAX_EVENT_BYTES, UserEvent::footprint))
}

/// A list of rows within [`MAX_ROW_BYTES`].
pub(super) fn rows<'de, D: Deserializer<'de>>(list: D) -> Result<Vec<PeerRow>, D::Error> {
    list.deserialize_seq(Budgeted::new(MAX_ROW_BYTES, PeerRow::footprint))
}

/// Lists of ids within a budget.
pub(super) fn ids<'de, D: Deserializer<'de>, I: Deserialize<'de>>(
    lists: D,
) -> Result<Vec<(u8, Vec<I>)>, D::Error> {
    let cost = |(_, ids): &(u8, Vec<I>)| size_of::<(u8, Vec<I>)>() + size_of::<I>() * ids.len();
    lists.deserialize_seq(Budgeted::new(MAX_ID_BYTES, cost))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Incarnation, LamportTime, NodeName, Versions};
    use crate::wire::Dialect;
    use crate::wire::difference::{DifferenceMessage, Ids};
    use crate::wire::message::{PeerState, PushPull, SerfState};
    use crate::wire::stream::{StreamMessage, decode, encode};

    fn event(i: u32) -> UserEvent {
        let name = i.to_le_bytes().as_slice().into();
        UserEvent { ltime: LamportTime(100 + u64::from(i % 200)), name, payload: Vec::new(), coalesce: false }
    }

    fn row(i: u32) -> PeerRow {
        PeerRow {
            node: NodeName::new(format!("m{i}")).unwrap(),
            addr: "10.1.2.3:7946".parse().unwrap(),
            meta: Vec::new(),
            incarnation: Incarnation(1),
            state: PeerState::Alive,
            leaving: false,
            status_ltime: LamportTime(1),
            versions: Versions::OURS,
        }
    }

    fn footprint<T: Footprint>(items: &[T]) -> usize {
        items.iter().map(Footprint::footprint).sum()
    }

    #[test]
    fn of_too_many_tiny_entries_the_first_are_heard() {
        let sent = PushPull {
            rows: (0..45_000).map(row).collect(),
            serf: SerfState {
                event_ltime: LamportTime(301),
                query_ltime: LamportTime(1),
                events: (0..40_000).map(event).collect(),
            },
            ..PushPull::default()
        };
        for dialect in [Dialect::Native, Dialect::Hashicorp] {
            let before = counters::ENTRIES_LEFT_OUT.value();
            let frame = encode(dialect, &StreamMessage::PushPull(sent.clone()));
            let Ok(Some(StreamMessage::PushPull(read))) = decode(&frame) else { panic!("{dialect:?}") };
            assert_eq!(read.rows[..], sent.rows[..read.rows.len()]);
            assert!(
                read.rows.len() > 30_000 && footprint(&read.rows) <= MAX_ROW_BYTES,
                "{}",
                read.rows.len()
            );
            let events = &read.serf.events;
            assert!(events.len() > 10_000 && footprint(events) <= MAX_EVENT_BYTES, "{}", events.len());
            assert!(counters::ENTRIES_LEFT_OUT.value() - before >= 20_000);
        }
    }

    #[test]
    fn ids_of_all_rows_are_read_and_of_millions_the_first() {
        for (count, all) in [(150_000, true), (700_000, false)] {
            let buckets = (0..250u8).map(|bucket| (bucket, vec![[bucket; 5]; count / 250])).collect();
            let ids = Ids { buckets, rows: Vec::new(), serf: None };
            let frame = encode(Dialect::Native, &StreamMessage::Difference(DifferenceMessage::Ids(ids)));
            let Ok(Some(StreamMessage::Difference(DifferenceMessage::Ids(read)))) = decode(&frame) else {
                panic!("{count}")
            };
            let kept: usize = read.buckets.iter().map(|(_, ids)| ids.len()).sum();
            assert_eq!(kept == count, all, "{kept} of {count}");
            assert!(kept <= MAX_ID_BYTES / 5);
        }
    }
}
