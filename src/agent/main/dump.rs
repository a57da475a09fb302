//! SIGUSR1: the metrics, once, on standard error.

use crate::agent::metrics::Levels;
use crate::agent::thread;
use crate::telemetry::report;
use std::io::{self, Write};
use std::thread::JoinHandle;
use std::time::{SystemTime, UNIX_EPOCH};

/// Writes dumps, one at a time. Standard error may be a pipe that nobody reads, so each gets a
/// thread, `serf-dump`, for as long as it takes; nothing ever waits for that one.
#[derive(Debug, Default)]
pub(crate) struct Dump {
    writing: Option<JoinHandle<()>>,
}

impl Dump {
    /// Writes the metrics of this moment, unless the last dump is still being written.
    pub(crate) fn write(&mut self, levels: &Levels) {
        if self.writing.as_ref().is_some_and(|thread| !thread.is_finished()) {
            return log::warn!(target: "agent", "Nobody reads standard error: the last dump of metrics is still being written");
        }
        levels.refresh();
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let text = report::dump(i64::try_from(unix).unwrap_or(i64::MAX));
        let write = move || {
            // A closed standard error is ignored.
            let _ = io::stderr().write_all(text.as_bytes());
        };
        match thread::start("serf-dump", write) {
            Ok(thread) => self.writing = Some(thread),
            Err(e) => log::error!(target: "agent", "cannot start a thread to dump the metrics: {e}"),
        }
    }
}
