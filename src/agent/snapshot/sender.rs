//! The way to the thread for what is worth keeping. What finds no room is superseded, not lost.

use crate::agent::mailbox::{Mailbox, Parked};
use crate::node::snapshot::Line;
use crate::node::snapshot::notes::MissedNews;
use crate::telemetry::counters;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Changes on their way to the thread. Beyond that, the disk is slower than the cluster.
pub(super) const CAPACITY: usize = 1024;

/// What was missed, shared by the senders and the thread.
#[derive(Clone, Debug, Default)]
pub(super) struct SharedMissed(Arc<Mutex<MissedNews>>);

impl SharedMissed {
    /// Takes out what was missed since the last call.
    pub(super) fn take(&self) -> MissedNews {
        std::mem::take(&mut *self.lock())
    }

    fn lock(&self) -> MutexGuard<'_, MissedNews> {
        // A panic has aborted the process before anyone finds the lock poisoned.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A way to the thread with room for `capacity` changes, and what comes out at its other end.
pub(super) fn channel(capacity: usize) -> (SnapshotSender, Parked<Line>, SharedMissed) {
    let (messages, receiver) = Mailbox::parked(capacity);
    let missed = SharedMissed::default();
    (SnapshotSender { messages, missed: missed.clone() }, receiver, missed)
}

/// Sends the thread what happens. Cheap to clone; never blocks.
#[derive(Clone, Debug)]
pub(crate) struct SnapshotSender {
    messages: Mailbox<Line>,
    missed: SharedMissed,
}

impl SnapshotSender {
    /// Keeps something. If there is no room, it is made up for later.
    pub(crate) fn keep(&self, line: Line) {
        let Err(line) = self.messages.send(line) else { return };
        counters::SNAPSHOT_NEWS_SUPERSEDED.inc();
        self.missed.lock().note(&line);
    }

    /// This process leaves the cluster.
    pub(crate) fn leave(&self) {
        self.keep(Line::Leave);
    }

    /// Lets the thread look at what there is besides messages.
    pub(super) fn wake(&self) {
        self.messages.wake();
    }
}
