//! Inside the thread: takes what it is told, writes the lines, and looks after a failing disk.

use super::disk::SnapshotFile;
use super::format::Line;
use super::known::{ClockKind, Known};
use super::sender::SharedMissed;
use super::trouble::{REPORT_INTERVAL, Trouble};
use crate::agent::channels::ToSnapshot;
use crate::agent::clock::Clock;
use crate::agent::table::SharedTable;
use crate::agent::thread::{Actor, Received, Stop, receive};
use crate::model::Moment;
use crate::telemetry::counters;
use crossbeam_channel::Receiver;
use std::io;
use std::time::Duration;

/// Messages that are taken before their lines are written together.
const BATCH: usize = 256;
/// How long after the last message the members' clock is read once more: intents move it a little
/// after the event they belong to, and say nothing themselves.
const SECOND_LOOK: Duration = Duration::from_millis(500);
/// Time between attempts to write a whole file to a disk that failed.
const RETRY_INTERVAL: Duration = Duration::from_secs(5);

/// The thread's state.
pub(super) struct SnapshotActor {
    pub(super) file: SnapshotFile,
    pub(super) known: Known,
    pub(super) messages: Receiver<ToSnapshot>,
    pub(super) missed: SharedMissed,
    pub(super) table: SharedTable,
    pub(super) clock: Clock,
    /// Lines that are not written yet.
    pub(super) lines: String,
    /// The file lacks something, or ends with half a line: it has to be replaced as a whole.
    pub(super) behind: bool,
    pub(super) retry_at: Moment,
    pub(super) look_at: Moment,
    pub(super) trouble: Trouble,
}

impl Actor for SnapshotActor {
    const NAME: &'static str = "serf-snapshot";
    /// How long the end of the process waits for the disk.
    const PATIENCE: Duration = Duration::from_secs(2);

    /// Runs, and writes even at the end what there is.
    fn run(mut self, stop: &Stop) {
        loop {
            let received = receive(&self.messages, self.clock, self.next_deadline());
            let stopping = stop.is_raised() || matches!(received, Received::Closed);
            let batch = if stopping { self.messages.len() + 1 } else { BATCH };
            let mut next = received.message();
            for taken in 0..batch {
                // Only within the batch: what is taken out of the channel is dealt with.
                let Some(message) = next.take().or_else(|| self.messages.try_recv().ok()) else { break };
                if taken == 0 {
                    self.look_at = self.clock.now() + SECOND_LOOK;
                }
                match message {
                    ToSnapshot::News(line) => self.learn(line),
                    ToSnapshot::Wake => {}
                }
            }
            self.catch_up();
            self.look_at_clock();
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
        messages: Receiver<ToSnapshot>,
        missed: SharedMissed,
        table: SharedTable,
        clock: Clock,
    ) -> SnapshotActor {
        SnapshotActor {
            behind: !file.is_open(),
            file,
            known,
            messages,
            missed,
            table,
            clock,
            lines: String::new(),
            retry_at: Moment::ZERO,
            look_at: Moment::NEVER,
            trouble: Trouble::default(),
        }
    }

    pub(super) fn next_deadline(&self) -> Moment {
        if self.behind { self.look_at.min(self.retry_at) } else { self.look_at }
    }

    pub(super) fn learn(&mut self, line: Line) {
        if matches!(line, Line::Leave) {
            // The clock as it is when we leave, for those who rejoin.
            self.look_at = Moment::ZERO;
            self.look_at_clock();
        }
        if !self.known.learn(&line) {
            return;
        }
        self.lines += &format!("{line}\n");
        if matches!(line, Line::Leave) {
            self.write_leave();
        }
    }

    /// What found the channel full is fetched from where it came from.
    fn catch_up(&mut self) {
        let missed = self.missed.take();
        if missed.members {
            let lines: Vec<Line> = {
                let table = self.table.read();
                let line = |row: &crate::membership::Row| match row.is_present() {
                    true => Line::Alive(row.name.clone(), row.addr),
                    false => Line::NotAlive(row.name.clone()),
                };
                table.members.rows().map(line).collect()
            };
            lines.into_iter().for_each(|line| self.learn(line));
        }
        self.learn(Line::Clock(ClockKind::Event, missed.event));
        self.learn(Line::Clock(ClockKind::Query, missed.query));
        if missed.left {
            self.learn(Line::Leave);
        }
    }

    /// Takes note of the members' clock, if it is time for that.
    fn look_at_clock(&mut self) {
        let now = self.clock.now();
        let due = now >= self.look_at;
        if !due && self.lines.is_empty() {
            return;
        }
        // One less: nothing with that time has been said yet.
        let time = self.table.read().members.time().previous();
        let moved = time > self.known.clocks().member;
        self.learn(Line::Clock(ClockKind::Member, time));
        if due {
            self.look_at = if moved { now + SECOND_LOOK } else { Moment::NEVER };
        }
    }

    /// Brings the file up to date.
    pub(super) fn write(&mut self) {
        if self.behind {
            self.lines.clear();
            return self.replace();
        }
        if !self.lines.is_empty() {
            let appended = self.file.append(&self.lines);
            self.lines.clear();
            if let Err(e) = appended {
                self.behind = true;
                return self.failed(&e);
            }
        }
        let (size, whole) = self.file.sizes();
        if self.known.is_compaction_due(size, whole) {
            self.replace();
        }
    }

    /// Writes a whole file, unless that failed a moment ago.
    fn replace(&mut self) {
        if self.clock.now() < self.retry_at {
            return;
        }
        match self.file.replace(&self.known.render()) {
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
        let written =
            if self.behind && self.known.is_forgotten() { self.file.forget() } else { self.file.sync() };
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
