//! The thread `serf-snapshot`: keeps the snapshot file, and does nothing but disk. From the file an
//! agent that crashed learns whom it knew and how far the clocks were.
//!
//! `serf-events` tells it of every change of a member, and of the Lamport time of each user event
//! and query before handlers are told. It writes as soon as nothing more is waiting, so that a
//! line is in the file about as soon as a handler's process has started; when the disk is slow,
//! later. An agent that is killed in between may tell that one event again, nothing older.
//!
//! Architecture invariant: nobody waits for the disk. A full corridor leaves a mark in `Missed`,
//! and the thread fetches what it missed from the table when it gets there.
//!
//! Here is the handle; `actor` is the inside, `disk` the file, and `format`, `known` and `trouble`
//! are rules without I/O.

mod actor;
mod disk;
pub mod format;
pub mod known;
#[cfg(test)]
mod tests;
mod trouble;

pub use disk::SnapshotError;

use super::channels::ToSnapshot;
use super::clock::Clock;
use super::table::SharedTable;
use super::thread::Thread;
use crate::model::{LamportTime, MemberEvent, MemberEventKind, Moment, NodeName};
use crate::telemetry::counters;
use actor::SnapshotActor;
use crossbeam_channel::{Sender, bounded};
use disk::SnapshotFile;
use format::Line;
use known::{ClockKind, Clocks, Known};
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use trouble::Trouble;

/// Changes on their way to the thread. Beyond that, the disk is slower than the cluster.
pub const CAPACITY: usize = 1024;

/// What found the corridor full. It supersedes itself: of each clock the latest time counts, and
/// members are looked up in the table.
#[derive(Debug, Default)]
struct Missed {
    members: bool,
    event: LamportTime,
    query: LamportTime,
    left: bool,
}

/// A snapshot that was opened and read, and is not kept up to date yet.
#[derive(Debug)]
pub struct Snapshot {
    file: SnapshotFile,
    known: Known,
}

impl Snapshot {
    /// Opens the file at `path`, or makes an empty one. With `rejoin`, a leave is ignored.
    pub fn open(path: &Path, rejoin: bool) -> Result<Snapshot, SnapshotError> {
        let (file, recalled) = SnapshotFile::open(path, rejoin)?;
        Ok(Snapshot { file, known: recalled.known })
    }

    /// How far the clocks were.
    pub fn clocks(&self) -> Clocks {
        self.known.clocks()
    }

    /// Who was alive, by name.
    pub fn previous(&self) -> Vec<(NodeName, SocketAddr)> {
        self.known.alive().map(|(name, addr)| (name.clone(), addr)).collect()
    }

    /// Starts the thread.
    pub fn spawn(self, table: SharedTable, clock: Clock) -> io::Result<SnapshotHandle> {
        let (sender, messages) = bounded(CAPACITY);
        let missed = Arc::<Mutex<Missed>>::default();
        let actor = SnapshotActor {
            behind: !self.file.is_open(),
            file: self.file,
            known: self.known,
            messages,
            missed: Arc::clone(&missed),
            table,
            clock,
            lines: String::new(),
            retry_at: Moment::ZERO,
            look_at: Moment::NEVER,
            trouble: Trouble::default(),
        };
        let waker = sender.clone();
        // A full channel wakes the thread all the same; a closed one has no thread any more.
        let thread = Thread::spawn(move || actor, move || drop(waker.try_send(ToSnapshot::Wake)))?;
        Ok(SnapshotHandle { sender: SnapshotSender { messages: sender, missed }, thread })
    }
}

/// Tells the thread what happens. Cheap to clone; never blocks.
#[derive(Clone, Debug)]
pub struct SnapshotSender {
    messages: Sender<ToSnapshot>,
    missed: Arc<Mutex<Missed>>,
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

    /// A user event of this time is about to be told.
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
        let mut missed = self.missed();
        match line {
            Line::Alive(..) | Line::NotAlive(_) | Line::Clock(ClockKind::Member, _) => missed.members = true,
            Line::Clock(ClockKind::Event, time) => missed.event = missed.event.max(time),
            Line::Clock(ClockKind::Query, time) => missed.query = missed.query.max(time),
            Line::Leave => missed.left = true,
        }
    }

    fn missed(&self) -> MutexGuard<'_, Missed> {
        // A panic has aborted the process before anyone finds the lock poisoned.
        self.missed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The running thread, seen from outside.
#[derive(Debug)]
pub struct SnapshotHandle {
    sender: SnapshotSender,
    thread: Thread,
}

impl SnapshotHandle {
    /// For whoever has something to keep.
    pub fn sender(&self) -> SnapshotSender {
        self.sender.clone()
    }

    /// Writes what is left and ends the thread. A disk that does not answer is not waited for.
    pub fn stop(self) {
        if !self.thread.stop() {
            log::error!(target: "serf", "The disk of the snapshot does not answer: its last lines may be missing");
        }
    }
}
