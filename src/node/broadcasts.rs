//! Broadcasts on their way from the table to what spreads them, bounded in bytes.

use crate::messaging::Ticket;
use crate::model::Footprint;
use crate::telemetry::counters;
use crate::wire::message::Message;
use std::collections::VecDeque;

/// The most bytes of broadcasts that wait. What takes them waits for nobody, so this many only pile up when the
/// machine starves it, or when thousands of members are merged at once; the oldest are dropped and counted.
pub const MAX_WAITING_BYTES: usize = 1536 * 1024;

/// Broadcasts in the order in which they came about, each with what waits for its end.
#[derive(Debug, Default)]
pub struct WaitingBroadcasts {
    queue: VecDeque<(Message, Option<Ticket>)>,
    bytes: usize,
}

impl WaitingBroadcasts {
    /// Adds one. Of what is too much, the oldest go.
    pub fn push(&mut self, message: Message, ticket: Option<Ticket>) {
        self.bytes += message.footprint();
        self.queue.push_back((message, ticket));
        while self.bytes > MAX_WAITING_BYTES
            && let Some((dropped, _)) = self.queue.pop_front()
        {
            self.bytes -= dropped.footprint();
            counters::NEWS_DROPPED.inc();
        }
    }

    /// Takes all of them.
    pub fn take(&mut self) -> VecDeque<(Message, Option<Ticket>)> {
        std::mem::take(self).queue
    }

    /// What waits for the end of the last.
    pub fn last_ticket(&mut self) -> Option<&mut Option<Ticket>> {
        self.queue.back_mut().map(|(_, ticket)| ticket)
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.queue.len()
    }

    /// Whether none does.
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{LamportTime, UserEvent};

    #[test]
    fn the_oldest_go_when_they_are_too_large_together() {
        let mut waiting = WaitingBroadcasts::default();
        let event =
            |i| UserEvent { ltime: LamportTime(i), name: "e".into(), payload: vec![0; 400], coalesce: false };
        for i in 0..10_000 {
            waiting.push(event(i).into(), None);
        }
        assert!(waiting.bytes <= MAX_WAITING_BYTES);
        assert!(waiting.len() > 2_000, "{}", waiting.len());
        let last = waiting.take().pop_back().map(|(message, _)| message);
        assert_eq!((last, waiting.bytes), (Some(event(9_999).into()), 0));
    }
}
