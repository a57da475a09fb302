//! Waiting: always a poll with a deadline, and a failure that shows what was last seen and what
//! the agents logged.

use super::notes::note;
use std::cell::RefCell;
use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

/// Between two looks. Each look may start a process or two, so it is not shorter.
const STEP: Duration = Duration::from_millis(50);

/// How many of an agent's last lines a failure shows.
const LOG_LINES: usize = 15;

/// How long a test is willing to wait.
#[derive(Clone, Copy)]
pub(crate) struct Within {
    patience: Duration,
    promise: Option<Duration>,
}

/// What a busy machine may add to any time.
const MACHINE: Duration = Duration::from_secs(60);

/// A time that the program promises. The machine may be shared with anything, so a test fails
/// only a minute after it; it always prints what it measured.
pub(crate) fn promised(seconds: u64) -> Within {
    let promise = Duration::from_secs(seconds);
    Within { patience: promise + MACHINE, promise: Some(promise) }
}

/// For what has no promised time of its own.
pub(crate) fn within(seconds: u64) -> Within {
    Within { patience: Duration::from_secs(seconds), promise: None }
}

/// For what normally takes a moment.
pub(crate) fn soon() -> Within {
    Within { patience: MACHINE, promise: None }
}

/// Polls `look` until it returns `Ok`, and hands that value on. What it returns as `Err` is what
/// the failure message says was seen last.
#[track_caller]
pub(crate) fn wait_until<T>(limit: Within, what: &str, mut look: impl FnMut() -> Result<T, String>) -> T {
    let start = Instant::now();
    let mut promise_broken = false;
    loop {
        let asked = start.elapsed();
        let seen = match look() {
            Ok(value) => {
                if let Some(promise) = limit.promise {
                    let late = if asked > promise { " (LATE)" } else { "" };
                    let (took, promised) = (asked.as_secs_f64(), promise.as_secs());
                    note(&format!("{what}: {took:.2} s, promised {promised} s{late}"));
                }
                return value;
            }
            Err(seen) => seen,
        };
        if !promise_broken && limit.promise.is_some_and(|promise| asked > promise) {
            promise_broken = true;
            note(&format!("{what}: LATE, still {seen}"));
        }
        if asked >= limit.patience {
            let promise = match limit.promise {
                Some(p) => format!(" (promised within {} s)", p.as_secs()),
                None => String::new(),
            };
            panic!(
                "not within {} s{promise}: {what}\n  last seen: {seen}\n{}",
                limit.patience.as_secs(),
                last_logs()
            );
        }
        thread::sleep(STEP);
    }
}

/// Polls `look` for the whole time and fails at the first `Err`: for what must not happen.
#[track_caller]
pub(crate) fn stays(time: Duration, what: &str, mut look: impl FnMut() -> Result<(), String>) {
    let start = Instant::now();
    while start.elapsed() < time {
        if let Err(seen) = look() {
            panic!(
                "after {:.1} s no longer true: {what}\n  seen: {seen}\n{}",
                start.elapsed().as_secs_f64(),
                last_logs()
            );
        }
        thread::sleep(STEP);
    }
}

/// Polls quickly until `done`, at most for `limit`, and says whether it was. For pacing, where being
/// late is no failure.
pub(crate) fn settle(limit: Duration, mut done: impl FnMut() -> bool) -> bool {
    let start = Instant::now();
    loop {
        if done() {
            return true;
        }
        if start.elapsed() >= limit {
            return false;
        }
        thread::sleep(Duration::from_millis(1));
    }
}

thread_local! {
    /// The logs of the agents that the current test has running, by agent name. A test runs on a
    /// thread of its own, so nobody has to pass this list around.
    static LOGS: RefCell<Vec<(String, PathBuf)>> = const { RefCell::new(Vec::new()) };
}

pub(crate) fn remember_log(name: &str, path: &Path) {
    LOGS.with_borrow_mut(|logs| logs.push((name.to_string(), path.to_path_buf())));
}

pub(crate) fn forget_log(path: &Path) {
    // During the thread's end the list may be gone already, and nobody reads it any more.
    let _ = LOGS.try_with(|logs| logs.borrow_mut().retain(|(_, p)| p != path));
}

/// The last lines of every agent of this test.
pub(crate) fn last_logs() -> String {
    LOGS.with_borrow(|logs| {
        let mut out = String::new();
        for (name, path) in logs {
            let text = fs::read(path).unwrap_or_default();
            let text = String::from_utf8_lossy(&text);
            // Each look at an agent leaves a line of its own in the log.
            let lines: Vec<&str> = text.lines().filter(|line| !line.contains("Accepted client")).collect();
            out += &format!("--- {name}: the last of {} lines\n", lines.len());
            for line in &lines[lines.len().saturating_sub(LOG_LINES)..] {
                out += &format!("  {line}\n");
            }
        }
        out
    })
}
