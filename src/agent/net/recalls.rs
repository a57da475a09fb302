//! Exchanges that wait for what `serf-events` remembers, and for room for their answers. Pure.
//!
//! A copy of that memory has megabytes, and so has a whole state: however many streams ask for one at once, one copy
//! serves all that wait, few of their answers are made at a time, and the others wait until these have been read.

use crate::model::Moment;
use crate::node::exchanges::{Plan, StreamId};
use std::collections::VecDeque;
use std::time::Duration;

/// How long an answer of `serf-events` is awaited. One that found the channel full does not come.
const PATIENCE: Duration = Duration::from_secs(1);

/// What waits.
#[derive(Debug, Default)]
pub(super) struct Recalls {
    waiting: VecDeque<Plan>,
    /// Until when a copy is awaited.
    asked_until: Option<Moment>,
}

impl Recalls {
    /// Lets a plan wait for its turn.
    pub(super) fn push(&mut self, plan: Plan) {
        self.waiting.push_back(plan);
    }

    /// Whether a copy is to be asked for, as one with a rank waits; it counts as asked for then.
    pub(super) fn asks(&mut self, now: Moment, rank: impl Fn(&Plan) -> Option<usize>) -> bool {
        if self.asked_until.is_some_and(|until| until > now) {
            return false;
        }
        let asks = self.waiting.iter().any(|plan| rank(plan).is_some());
        self.asked_until = asks.then(|| now + PATIENCE);
        asks
    }

    /// The plan whose turn it is: of those with a rank the one with the lowest, and of these the first. One without a
    /// rank does not fit.
    pub(super) fn next(&mut self, rank: impl Fn(&Plan) -> Option<usize>) -> Option<Plan> {
        let ranked = self.waiting.iter().enumerate().filter_map(|(at, plan)| Some((rank(plan)?, at)));
        let (_, at) = ranked.min()?;
        self.waiting.remove(at)
    }

    /// The copy has come, and what fits has had its turn.
    pub(super) fn answered(&mut self) {
        self.asked_until = None;
    }

    /// A stream that another member has opened is gone.
    pub(super) fn forget(&mut self, stream: StreamId) {
        self.waiting.retain(|plan| plan.answers() != Some(stream));
    }

    /// Whether none waits.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Whether some wait for room.
    pub(super) fn are_blocked(&self) -> bool {
        !self.waiting.is_empty() && self.asked_until.is_none()
    }

    /// When [`Recalls::asks`] is to be called at the latest.
    pub(super) fn next_deadline(&self) -> Moment {
        self.asked_until.filter(|_| !self.waiting.is_empty()).unwrap_or(Moment::NEVER)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(stream: usize, goes_on: bool) -> Plan {
        Plan::Answer { stream: StreamId(stream), join: false, goes_on }
    }

    #[test]
    fn one_copy_serves_all_that_fit_and_what_does_not_holds_up_nothing_else() {
        let (mut recalls, now) = (Recalls::default(), Moment::ZERO);
        for (stream, goes_on) in [(1, false), (2, true), (3, true), (4, false)] {
            recalls.push(answer(stream, goes_on));
        }
        let small = |plan: &Plan| matches!(plan, Plan::Answer { goes_on: true, .. }).then_some(0);
        assert!(recalls.asks(now, small));
        assert!(!recalls.asks(now, small), "one is asked for");
        assert!(!recalls.are_blocked() && recalls.next_deadline() == now + PATIENCE);
        assert_eq!(recalls.next(small), Some(answer(2, true)));
        assert_eq!(recalls.next(small), Some(answer(3, true)));
        assert_eq!(recalls.next(small), None);
        recalls.answered();
        assert!(!recalls.asks(now, small) && recalls.are_blocked());
        recalls.forget(StreamId(1));
        // This copy is lost.
        assert!(recalls.asks(now, |_| Some(0)));
        assert!(recalls.asks(now + PATIENCE, |_| Some(0)));
        assert_eq!(recalls.next(|_| Some(0)), Some(answer(4, false)));
        recalls.answered();
        assert!(!recalls.are_blocked() && recalls.next_deadline() == Moment::NEVER);
    }

    #[test]
    fn the_lowest_rank_has_its_turn_first() {
        let mut recalls = Recalls::default();
        for stream in 1..=4 {
            recalls.push(answer(stream, false));
        }
        let rank = |plan: &Plan| match plan.answers() {
            Some(StreamId(3)) => Some(1),
            other => other.map(|_| 9),
        };
        let order: Vec<_> = std::iter::from_fn(|| recalls.next(rank)).collect();
        assert_eq!(order, [3, 1, 2, 4].map(|stream| answer(stream, false)));
    }
}
