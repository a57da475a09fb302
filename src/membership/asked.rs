//! Which members were asked themselves how they are (`owner`), a short while ago.

use crate::model::{Moment, NodeName};
use std::collections::VecDeque;
use std::time::Duration;

/// A member is asked once in this time.
const ASK_AGAIN: Duration = Duration::from_secs(5);
/// And all of them not more often than this.
const ASK_PAUSE: Duration = Duration::from_millis(500);

/// The members that were asked a short while ago. A few, because of the pause.
#[derive(Debug, Default)]
pub(super) struct Asked(VecDeque<(Moment, NodeName)>);

impl Asked {
    /// Whether a member may be asked now; then it counts as asked.
    pub(super) fn pass(&mut self, node: &NodeName, now: Moment) -> bool {
        while self.0.front().is_some_and(|(at, _)| now.since(*at) >= ASK_AGAIN) {
            self.0.pop_front();
        }
        let is_early = self.0.back().is_some_and(|(at, _)| now.since(*at) < ASK_PAUSE);
        let passes = !is_early && self.0.iter().all(|(_, asked)| asked != node);
        if passes {
            self.0.push_back((now, node.clone()));
        }
        passes
    }
}
