//! Inside the thread: takes what is reported to it, writes the lines, and looks after a failing disk.

use super::disk::SnapshotFile;
use super::sender::SharedMissed;
use super::trouble::{REPORT_INTERVAL, Trouble};
use crate::agent::clock::Clock;
use crate::agent::mailbox::Parked;
use crate::agent::table::SharedTable;
use crate::agent::thread::{Actor, Stop};
use crate::model::Moment;
use crate::node::snapshot::notes::MissedNews;
use crate::node::snapshot::{Known, Line, Notes};
use crate::telemetry::counters;
use std::io;
use std::time::Duration;

/// Messages that are taken before their lines are written together.
const BATCH: usize = 256;
/// Time between attempts to write a whole file to a disk that failed.
const RETRY_INTERVAL: Duration = Duration::from_secs(5);
/// Time between two looks at the times of events and queries, while these keep coming.
const TIMES_INTERVAL: Duration = Duration::from_millis(100);

/// The thread's state.
pub(super) struct SnapshotActor {
    pub(super) file: SnapshotFile,
    pub(super) notes: Notes,
    pub(super) messages: Parked<Line>,
    pub(super) missed: SharedMissed,
    /// When it is time to look at what was missed, if that was promised.
    pub(super) look_at_missed: Moment,
    pub(super) table: SharedTable,
    pub(super) clock: Clock,
    /// The file lacks something, or ends with half a line: it has to be replaced as a whole.
    pub(super) behind: bool,
    pub(super) retry_at: Moment,
    pub(super) trouble: Trouble,
}

impl Actor for SnapshotActor {
    const NAME: &'static str = "serf-snapshot";
    /// How long the end of the process waits for the disk.
    const PATIENCE: Duration = Duration::from_secs(2);

    /// Runs, and writes even at the end what there is.
    fn run(mut self, stop: &Stop) {
        loop {
            self.messages.wait(self.clock, self.next_deadline());
            let stopping = stop.is_raised();
            let batch = if stopping { self.messages.len() } else { BATCH };
            let missed = self.take_missed();
            for taken in 0..batch {
                // Only within the batch: what is taken out of the channel is dealt with.
                let Some(line) = self.messages.next() else { break };
                if taken == 0 {
                    self.notes.look_later(self.clock.now());
                }
                self.learn(&line);
            }
            self.catch_up(&missed);
            let (table, now) = (&self.table, self.clock.now());
            self.notes.look_at_clock(|| table.read().members.time(), now);
            self.write();
            if stopping {
                return self.end();
            }
        }
    }
}

impl SnapshotActor {
    /// Keeps `file`, in which `known` is, up to date with what comes.
    pub(super) fn new(
        file: SnapshotFile,
        known: Known,
        messages: Parked<Line>,
        missed: SharedMissed,
        table: SharedTable,
        clock: Clock,
    ) -> SnapshotActor {
        SnapshotActor {
            behind: !file.is_open(),
            file,
            notes: Notes::new(known),
            messages,
            missed,
            look_at_missed: Moment::NEVER,
            table,
            clock,
            retry_at: Moment::ZERO,
            trouble: Trouble::default(),
        }
    }

    pub(super) fn next_deadline(&self) -> Moment {
        let look_at = self.notes.next_deadline().min(self.look_at_missed);
        if self.behind { look_at.min(self.retry_at) } else { look_at }
    }

    pub(super) fn learn(&mut self, line: &Line) {
        let (table, now) = (&self.table, self.clock.now());
        let news = self.notes.learn(line, || table.read().members.time(), now);
        if news && matches!(line, Line::Leave) {
            self.write_leave();
        }
    }

    /// Learns how far events and queries are, at once if that is news after a while.
    pub(super) fn take_missed(&mut self) -> MissedNews {
        let (missed, now) = (self.missed.take(), self.clock.now());
        self.look_at_missed = if missed.has_times() { now + TIMES_INTERVAL } else { Moment::NEVER };
        if missed.has_times() {
            self.notes.look_later(now);
            missed.times().iter().for_each(|line| self.learn(line));
        }
        missed
    }

    /// What found the channel full is fetched from where it came from.
    fn catch_up(&mut self, missed: &MissedNews) {
        let lines = match missed.lacks_members() {
            true => missed.lines(Some(&self.table.read().members)),
            false => missed.lines(None),
        };
        lines.iter().for_each(|line| self.learn(line));
    }

    /// Brings the file up to date.
    pub(super) fn write(&mut self) {
        let lines = self.notes.take_lines();
        if self.behind {
            return self.replace();
        }
        if !lines.is_empty()
            && let Err(e) = self.file.append(&lines)
        {
            self.behind = true;
            return self.failed(&e);
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

    /// A leave is on disk at once, so that a member that left does not come back by itself.
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
    }
}
