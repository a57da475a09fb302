//! What happens when: events in virtual time, in order, those of one moment in the order in
//! which they were entered. That, and one seed for every random draw, makes a run repeatable.

use serf::model::Moment;
use std::collections::BTreeMap;

/// Events to come.
#[derive(Debug)]
pub(crate) struct Calendar<E> {
    entries: BTreeMap<(Moment, u64), E>,
    entered: u64,
}

impl<E> Calendar<E> {
    /// Nothing is planned.
    pub(crate) fn new() -> Self {
        Calendar { entries: BTreeMap::new(), entered: 0 }
    }

    /// Enters an event.
    pub(crate) fn enter(&mut self, at: Moment, event: E) {
        self.entered += 1;
        self.entries.insert((at, self.entered), event);
    }

    /// The next event, if it happens by `until`.
    pub(crate) fn next_by(&mut self, until: Moment) -> Option<(Moment, E)> {
        let first = self.entries.first_entry().filter(|e| e.key().0 <= until)?;
        let ((at, _), event) = first.remove_entry();
        Some((at, event))
    }
}

#[test]
fn events_come_in_order_of_time_then_of_entry() {
    let at = |ms| Moment::ZERO + std::time::Duration::from_millis(ms);
    let mut calendar = Calendar::new();
    for (ms, what) in [(5, 'c'), (1, 'a'), (5, 'd'), (2, 'b'), (9, 'e')] {
        calendar.enter(at(ms), what);
    }
    let seen: String = std::iter::from_fn(|| calendar.next_by(at(5)).map(|(_, what)| what)).collect();
    assert_eq!(seen, "abcd");
}
