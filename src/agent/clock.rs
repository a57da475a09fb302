//! The one clock that drives the rules.

use crate::model::Moment;
use std::time::{Duration, Instant};

/// A monotonic clock that starts when the agent does. Cheap to copy; all copies agree.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    start: Instant,
}

impl Clock {
    /// Starts the clock.
    pub(crate) fn start() -> Self {
        Clock { start: Instant::now() }
    }

    /// The current moment.
    pub(crate) fn now(&self) -> Moment {
        Moment::from_start(self.start.elapsed())
    }

    /// The instant at which `moment` is reached; `None` for one that never is.
    pub(crate) fn instant(&self, moment: Moment) -> Option<Instant> {
        if moment == Moment::NEVER { None } else { self.start.checked_add(moment.since_start()) }
    }

    /// Time until `moment`, none left if it has passed; `None` for one that never comes.
    pub(crate) fn until(&self, moment: Moment) -> Option<Duration> {
        (moment != Moment::NEVER).then(|| moment.until(self.now()))
    }
}
