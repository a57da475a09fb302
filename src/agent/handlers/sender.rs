//! The way to the thread for what has events for it, and the count of those that handlers miss.

use super::input;
use crate::channel::{Receiver, Sender, weighed};
use crate::config::EventScript;
use crate::messaging::filter::EventFilter;
use crate::model::{Event, Footprint};
use crate::telemetry::counters;
use mio::Waker;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

/// Events on their way to the thread. It takes them at once, so this many only pile up while the
/// machine starves it.
pub(crate) const EVENTS_CAPACITY: usize = 256;
/// The most bytes of these events.
pub(crate) const MAX_EVENT_BYTES: usize = 512 * 1024;

/// Gives events to the thread. Cheap to clone; never blocks.
#[derive(Clone, Debug)]
pub(crate) struct HandlerSender {
    events: Sender<Arc<Event>>,
    waker: Arc<Waker>,
    missed: Arc<Missed>,
    /// The filters of all scripts together: for what passes none of them, the thread is not woken.
    wanted: Arc<RwLock<Vec<EventFilter>>>,
}

/// What was not delivered to handlers.
#[derive(Debug, Default)]
pub(super) struct Missed {
    /// In total.
    dropped: AtomicUsize,
    /// Of these, what found no room on the way to the thread and it has not complained about.
    refused: AtomicUsize,
    /// What can be given to no process, and the thread has not complained about.
    unfit: AtomicUsize,
}

impl Missed {
    pub(super) fn count(&self, events: usize) {
        self.dropped.fetch_add(events, Ordering::Relaxed);
        counters::HANDLER_EVENTS_DROPPED.add(events);
    }

    /// What has found no room since the last call.
    pub(super) fn take_refused(&self) -> usize {
        self.refused.swap(0, Ordering::Relaxed)
    }

    /// What could be given to no process, since the last call.
    pub(super) fn take_unfit(&self) -> usize {
        self.unfit.swap(0, Ordering::Relaxed)
    }
}

/// A way to the thread that polls with `waker` and runs `scripts`, what comes out at its other end, and what
/// it misses.
pub(super) fn channel(
    waker: Waker,
    scripts: &[EventScript],
) -> (HandlerSender, Receiver<Arc<Event>>, Arc<Missed>) {
    let (events, receiver) =
        weighed(EVENTS_CAPACITY, MAX_EVENT_BYTES, |event: &Arc<Event>| event.footprint());
    let (waker, missed) = (Arc::new(waker), Arc::<Missed>::default());
    let sender = HandlerSender { events, waker, missed: Arc::clone(&missed), wanted: Arc::default() };
    sender.want(scripts);
    (sender, receiver, missed)
}

impl HandlerSender {
    /// Passes an event to every script that wants it. Returns whether the thread has taken it: not if no
    /// script wants it, nor if there is no room or no script can be given it, which is counted. Then it does not answer
    /// a query.
    pub(crate) fn send(&self, event: &Arc<Event>) -> bool {
        // A panic has aborted the process before anyone finds the lock poisoned.
        let wanted = self.wanted.read().unwrap_or_else(PoisonError::into_inner);
        if !wanted.iter().any(|filter| filter.passes(event)) {
            return false;
        }
        drop(wanted);
        if !input::can_be_given(event) {
            counters::HANDLER_EVENTS_UNFIT.inc();
            self.missed.unfit.fetch_add(1, Ordering::Relaxed);
            // The thread says so.
            self.wake();
            return false;
        }
        let sent = self.events.try_send(Arc::clone(event)).is_ok();
        if !sent {
            self.missed.count(1);
            self.missed.refused.fetch_add(1, Ordering::Relaxed);
        }
        self.wake();
        sent
    }

    /// From now on the thread runs these.
    pub(super) fn want(&self, scripts: &[EventScript]) {
        let filters = scripts.iter().flat_map(|script| script.filters.iter().cloned()).collect();
        *self.wanted.write().unwrap_or_else(PoisonError::into_inner) = filters;
    }

    /// Lets the thread look at what there is besides events.
    pub(super) fn wake(&self) {
        if let Err(e) = self.waker.wake() {
            log::debug!(target: "agent", "cannot wake serf-handlers: {e}");
        }
    }

    /// How many events handlers have missed since the thread started: one for each script that missed one,
    /// and one for each event that was refused.
    #[cfg(test)]
    pub(super) fn dropped(&self) -> usize {
        self.missed.dropped.load(Ordering::Relaxed)
    }
}
