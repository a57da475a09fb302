//! The thread `serf-snapshot`: keeps the snapshot file, and does nothing but disk. From the file an
//! agent that crashed learns which members it knew and how far the clocks were.
//!
//! `serf-events` reports to it every change of a member, and the Lamport time of each user event
//! and query before they are delivered. It writes as soon as nothing more is waiting, so that a
//! line is in the file about as soon as a handler's process has started; when the disk is slow,
//! later. While events or queries keep coming, their times are written ten times a second. An agent that is
//! killed in between may deliver those events again, nothing older.
//!
//! Architecture invariant: nobody waits for the disk. A full channel leaves a mark in `Missed`,
//! and the thread fetches what it missed from the table when it gets there.
//!
//! Here is the handle; `sender` is the way to the thread, `actor` its inside, `disk` the file, `lock` what keeps
//! other agents from it, `trouble` what is said of a failing disk. What is kept, in which lines, is in `node/snapshot`.

mod actor;
mod disk;
mod lock;
mod sender;
#[cfg(test)]
mod tests;
mod trouble;

pub(crate) use disk::SnapshotError;
pub(crate) use sender::SnapshotSender;

use super::clock::Clock;
use super::durable;
use super::table::SharedTable;
use super::thread::Thread;
use crate::model::NodeName;
use crate::node::snapshot::{Clocks, Known};
use actor::SnapshotActor;
use disk::SnapshotFile;
use sender::CAPACITY;
use std::io;
use std::net::SocketAddr;
use std::path::Path;

/// A snapshot that was opened and read, and is not kept up to date yet.
#[derive(Debug)]
pub(crate) struct Snapshot {
    file: SnapshotFile,
    known: Known,
}

impl Snapshot {
    /// Opens the file at `path`, or makes an empty one, for the agent `owner` alone. With `rejoin`, a leave is
    /// ignored.
    ///
    /// None for `/dev/null`, with which people say that they want no snapshot.
    pub(crate) fn open(path: &Path, rejoin: bool, owner: &str) -> Result<Option<Snapshot>, SnapshotError> {
        // By whatever link it is found, the file has one lock.
        let path = durable::resolved(path);
        if path == Path::new("/dev/null") {
            return Ok(None);
        }
        let (file, recalled) = SnapshotFile::open(&path, rejoin, owner)?;
        Ok(Some(Snapshot { file, known: recalled.known }))
    }

    /// How far the clocks were.
    pub(crate) fn clocks(&self) -> Clocks {
        self.known.clocks()
    }

    /// The members that were alive, by name.
    pub(crate) fn previous(&self) -> Vec<(NodeName, SocketAddr)> {
        self.known.alive().map(|(name, addr)| (name.clone(), addr)).collect()
    }

    /// Starts the thread.
    pub(crate) fn spawn(self, table: SharedTable, clock: Clock) -> io::Result<SnapshotHandle> {
        let (sender, messages, missed) = sender::channel(CAPACITY);
        let waker = sender.clone();
        let actor = SnapshotActor::new(self.file, self.known, messages, missed, table, clock);
        let thread = Thread::spawn(move || actor, move || waker.wake())?;
        Ok(SnapshotHandle { sender, thread })
    }
}

/// The running thread, seen from outside.
#[derive(Debug)]
pub(crate) struct SnapshotHandle {
    sender: SnapshotSender,
    thread: Thread,
}

impl SnapshotHandle {
    /// For what has something to keep.
    pub(crate) fn sender(&self) -> SnapshotSender {
        self.sender.clone()
    }

    /// Writes what is left and ends the thread. A disk that does not answer is not waited for.
    pub(crate) fn stop(self) {
        if !self.thread.stop() {
            log::error!(target: "serf", "The disk of the snapshot does not answer: its last lines may be missing");
        }
    }
}
