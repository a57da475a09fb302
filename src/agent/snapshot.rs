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
//! Here is the handle; `actor` is the inside, `disk` the file, `trouble` what is said of a failing
//! disk. What is kept, and in which lines, is in `node/snapshot`.

mod actor;
mod disk;
#[cfg(test)]
mod tests;
mod trouble;

pub use disk::SnapshotError;

use super::channels::ToSnapshot;
use super::clock::Clock;
use super::table::SharedTable;
use crate::model::{Moment, NodeName};
use crate::node::snapshot::notes::Missed;
use crate::node::snapshot::{Clocks, Known, Line, Notes};
use crate::telemetry::counters;
use actor::SnapshotActor;
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use disk::SnapshotFile;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;
use trouble::Trouble;

/// Changes on their way to the thread. Beyond that, the disk is slower than the cluster.
pub const CAPACITY: usize = 1024;
/// How long the end of the process waits for the disk.
const PATIENCE: Duration = Duration::from_secs(2);

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
        let (done, ended) = bounded(0);
        let missed = Arc::<Mutex<Missed>>::default();
        let actor = SnapshotActor {
            behind: !self.file.is_open(),
            file: self.file,
            notes: Notes::new(self.known),
            messages,
            missed: Arc::clone(&missed),
            table,
            clock,
            done,
            retry_at: Moment::ZERO,
            trouble: Trouble::default(),
        };
        let thread = thread::Builder::new().name("serf-snapshot".into()).spawn(move || actor.run())?;
        Ok(SnapshotHandle { sender: SnapshotSender { messages: sender, missed }, ended, thread })
    }
}

/// Tells the thread what happens. Cheap to clone; never blocks.
#[derive(Clone, Debug)]
pub struct SnapshotSender {
    messages: Sender<ToSnapshot>,
    missed: Arc<Mutex<Missed>>,
}

impl SnapshotSender {
    /// Keeps something. If there is no room, it is made up for later.
    pub fn keep(&self, line: Line) {
        let Err(full) = self.messages.try_send(ToSnapshot::News(line)) else { return };
        let ToSnapshot::News(line) = full.into_inner() else { return };
        counters::SNAPSHOT_NEWS_SUPERSEDED.inc();
        self.missed().note(&line);
    }

    /// This process leaves the cluster.
    pub fn leave(&self) {
        self.keep(Line::Leave);
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
    /// Closed when the thread has ended.
    ended: Receiver<()>,
    thread: JoinHandle<()>,
}

impl SnapshotHandle {
    /// For whoever has something to keep.
    pub fn sender(&self) -> SnapshotSender {
        self.sender.clone()
    }

    /// Writes what is left and ends the thread. A disk that does not answer is not waited for.
    pub fn stop(self) {
        // A closed corridor means that the thread has ended already.
        let _ = self.sender.messages.send_timeout(ToSnapshot::Stop, PATIENCE);
        match self.ended.recv_timeout(PATIENCE) {
            Err(RecvTimeoutError::Timeout) => {
                log::error!(target: "serf", "The disk of the snapshot does not answer: its last lines may be missing");
            }
            // A panic has aborted the process before it gets here.
            _ => drop(self.thread.join()),
        }
    }
}
