//! The way to the thread for what is worth keeping. What finds no room is superseded, not lost.

use super::format::Line;
use super::known::ClockKind;
use crate::agent::channels::ToSnapshot;
use crate::model::{LamportTime, MemberEvent, MemberEventKind};
use crate::telemetry::counters;
use crossbeam_channel::{Receiver, Sender, bounded};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Changes on their way to the thread. Beyond that, the disk is slower than the cluster.
pub(super) const CAPACITY: usize = 1024;

/// What found the channel full. It supersedes itself: of each clock the latest time counts, and
/// members are looked up in the table.
#[derive(Debug, Default)]
pub(super) struct Missed {
    pub(super) members: bool,
    pub(super) event: LamportTime,
    pub(super) query: LamportTime,
    pub(super) left: bool,
}

/// What was missed, shared by those who send and the thread.
#[derive(Clone, Debug, Default)]
pub(super) struct SharedMissed(Arc<Mutex<Missed>>);

impl SharedMissed {
    /// Takes out what was missed since the last call.
    pub(super) fn take(&self) -> Missed {
        std::mem::take(&mut *self.lock())
    }

    fn lock(&self) -> MutexGuard<'_, Missed> {
        // A panic has aborted the process before anyone finds the lock poisoned.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A way to the thread with room for `capacity` changes, and what comes out at its other end.
pub(super) fn channel(capacity: usize) -> (SnapshotSender, Receiver<ToSnapshot>, SharedMissed) {
    let (messages, receiver) = bounded(capacity);
    let missed = SharedMissed::default();
    (SnapshotSender { messages, missed: missed.clone() }, receiver, missed)
}

/// Sends the thread what happens. Cheap to clone; never blocks.
#[derive(Clone, Debug)]
pub struct SnapshotSender {
    messages: Sender<ToSnapshot>,
    missed: SharedMissed,
}

impl SnapshotSender {
    /// Something happened to a member.
    pub fn member(&self, event: &MemberEvent) {
        let member = &event.member;
        let line = match event.kind {
            MemberEventKind::Join | MemberEventKind::Update => Line::Alive(member.name.clone(), member.addr),
            MemberEventKind::Leave | MemberEventKind::Failed | MemberEventKind::Reap => {
                Line::NotAlive(member.name.clone())
            }
        };
        self.send(line);
    }

    /// A user event of this time is about to be delivered.
    pub fn event(&self, time: LamportTime) {
        self.send(Line::Clock(ClockKind::Event, time));
    }

    /// A query of this time is.
    pub fn query(&self, time: LamportTime) {
        self.send(Line::Clock(ClockKind::Query, time));
    }

    /// This process leaves the cluster.
    pub fn leave(&self) {
        self.send(Line::Leave);
    }

    fn send(&self, line: Line) {
        let Err(full) = self.messages.try_send(ToSnapshot::News(line)) else { return };
        let ToSnapshot::News(line) = full.into_inner() else { return };
        counters::SNAPSHOT_NEWS_SUPERSEDED.inc();
        let mut missed = self.missed.lock();
        match line {
            Line::Alive(..) | Line::NotAlive(_) | Line::Clock(ClockKind::Member, _) => missed.members = true,
            Line::Clock(ClockKind::Event, time) => missed.event = missed.event.max(time),
            Line::Clock(ClockKind::Query, time) => missed.query = missed.query.max(time),
            Line::Leave => missed.left = true,
        }
    }

    /// Lets the thread look at what there is besides messages.
    pub(super) fn wake(&self) {
        // A full channel wakes the thread all the same; a closed one has no thread any more.
        let _ = self.messages.try_send(ToSnapshot::Wake);
    }
}
