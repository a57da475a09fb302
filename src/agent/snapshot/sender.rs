//! The way to the thread for what is worth keeping. What finds no room is superseded, not lost.

use crate::agent::mailbox::{Mailbox, Parked};
use crate::node::snapshot::notes::MissedNews;
use crate::node::snapshot::{ClockKind, Line};
use crate::telemetry::counters;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Changes on their way to the thread. Beyond that, the disk is slower than the cluster.
pub(super) const CAPACITY: usize = 1024;

/// What supersedes itself, shared by the senders and the thread.
#[derive(Clone, Debug, Default)]
pub(super) struct SharedMissed(Arc<Mutex<Missed>>);

#[derive(Debug, Default)]
struct Missed {
    news: MissedNews,
    /// Whether the thread looks in here soon by itself.
    looks_soon: bool,
}

impl SharedMissed {
    /// Takes out what has come since the last call. If the times have moved, the thread promises to call
    /// again soon, and until then is not woken for them.
    pub(super) fn take(&self) -> MissedNews {
        let mut missed = self.lock();
        let news = std::mem::take(&mut missed.news);
        missed.looks_soon = news.has_times();
        news
    }

    /// Says whether the thread looks soon by itself.
    fn note(&self, line: &Line) -> bool {
        let mut missed = self.lock();
        missed.news.note(line);
        missed.looks_soon
    }

    fn lock(&self) -> MutexGuard<'_, Missed> {
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
        if let Line::Clock(ClockKind::Event | ClockKind::Query, _) = line {
            // There may be hundreds a second, of which the latest counts.
            if !self.missed.note(&line) {
                self.messages.wake();
            }
        } else if let Err(line) = self.messages.send(line) {
            counters::SNAPSHOT_NEWS_SUPERSEDED.inc();
            self.missed.note(&line);
        }
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
