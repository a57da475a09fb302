//! Inside the thread: takes what it is told, writes the lines, and looks after a failing disk.

use super::disk::SnapshotFile;
use super::trouble::{REPORT_INTERVAL, Trouble};
use crate::agent::channels::ToSnapshot;
use crate::agent::clock::Clock;
use crate::agent::table::SharedTable;
use crate::model::Moment;
use crate::node::snapshot::notes::Missed;
use crate::node::snapshot::{Line, Notes};
use crate::telemetry::counters;
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Messages that are taken before their lines are written together.
const BATCH: usize = 256;
/// Time between attempts to write a whole file to a disk that failed.
const RETRY_INTERVAL: Duration = Duration::from_secs(5);

/// The thread's state.
pub(super) struct SnapshotActor {
    pub file: SnapshotFile,
    pub notes: Notes,
    pub messages: Receiver<ToSnapshot>,
    pub missed: Arc<Mutex<Missed>>,
    pub table: SharedTable,
    pub clock: Clock,
    /// Dropped when the thread ends.
    pub done: Sender<()>,
    /// The file lacks something, or ends with half a line: it has to be replaced as a whole.
    pub behind: bool,
    pub retry_at: Moment,
    pub trouble: Trouble,
}

impl SnapshotActor {
    /// Runs until told to stop.
    pub fn run(mut self) {
        loop {
            let message = match self.clock.instant(self.next_deadline()) {
                Some(deadline) => self.messages.recv_deadline(deadline),
                None => self.messages.recv().map_err(|_| RecvTimeoutError::Disconnected),
            };
            let mut stop = matches!(message, Err(RecvTimeoutError::Disconnected));
            let mut next = message.ok();
            for taken in 0..BATCH {
                // Only within the batch: what is taken out of the corridor is dealt with.
                let Some(message) = next.take().or_else(|| self.messages.try_recv().ok()) else { break };
                if taken == 0 {
                    self.notes.look_later(self.clock.now());
                }
                match message {
                    ToSnapshot::News(line) => self.learn(&line),
                    ToSnapshot::Stop => stop = true,
                }
            }
            self.catch_up();
            let (table, now) = (&self.table, self.clock.now());
            self.notes.look_at_clock(|| table.read().members.time(), now);
            self.write();
            if stop {
                return self.end();
            }
        }
    }

    pub fn next_deadline(&self) -> Moment {
        let look_at = self.notes.next_deadline();
        if self.behind { look_at.min(self.retry_at) } else { look_at }
    }

    pub fn learn(&mut self, line: &Line) {
        let (table, now) = (&self.table, self.clock.now());
        let news = self.notes.learn(line, || table.read().members.time(), now);
        if news && matches!(line, Line::Leave) {
            self.write_leave();
        }
    }

    /// What found the channel full is fetched from where it came from.
    fn catch_up(&mut self) {
        let missed = std::mem::take(&mut *self.missed.lock().unwrap_or_else(PoisonError::into_inner));
        let lines = match missed.lacks_members() {
            true => missed.lines(Some(&self.table.read().members)),
            false => missed.lines(None),
        };
        lines.iter().for_each(|line| self.learn(line));
    }

    /// Brings the file up to date.
    pub fn write(&mut self) {
        let lines = self.notes.take_lines();
        if self.behind {
            return self.replace();
        }
        if !lines.is_empty() {
            if let Err(e) = self.file.append(&lines) {
                self.behind = true;
                return self.failed(&e);
            }
        }
        let (size, whole) = self.file.sizes();
        if self.notes.known().is_compaction_due(size, whole) {
            self.replace();
        }
    }

    /// Writes a whole file, unless that failed a moment ago.
    fn replace(&mut self) {
        if self.clock.now() < self.retry_at {
            return;
        }
        match self.file.replace(&self.notes.known().render()) {
            Ok(()) => {
                counters::SNAPSHOT_COMPACTIONS.inc();
                self.behind = false;
                if self.trouble.ends() {
                    log::info!(target: "serf", "The snapshot {} is complete again", self.file.path().display());
                }
            }
            Err(e) => {
                // Without a file to append to, this is the only way.
                self.behind |= !self.file.is_open();
                self.failed(&e);
            }
        }
    }

    fn failed(&mut self, why: &io::Error) {
        counters::SNAPSHOT_WRITES_FAILED.inc();
        let now = self.clock.now();
        self.retry_at = now + RETRY_INTERVAL;
        if self.trouble.begins(now) {
            log::error!(
                target: "serf",
                "Failed to write the snapshot {}: {why}. Trying again every {} s; this is said every {} s",
                self.file.path().display(),
                RETRY_INTERVAL.as_secs(),
                REPORT_INTERVAL.as_secs(),
            );
        }
    }

    /// A leave is on disk at once, so that nobody who left comes back by himself.
    fn write_leave(&mut self) {
        self.retry_at = Moment::ZERO;
        self.write();
        let written = if self.behind && self.notes.known().is_forgotten() {
            self.file.forget()
        } else {
            self.file.sync()
        };
        if let Err(e) = written {
            self.failed(&e);
        }
    }

    fn end(mut self) {
        if self.behind {
            self.retry_at = Moment::ZERO;
            self.write();
        }
        if let Err(e) = self.file.sync() {
            self.failed(&e);
        }
        drop(self.done);
    }
}
