//! The gauges: how things stand with the table and this process.

use crate::agent::table::SharedTable;
use crate::model::Moment;
use crate::telemetry::metrics;
use std::time::Duration;

/// Sets the gauges; asked before each report.
#[derive(Clone)]
pub(crate) struct Levels {
    table: SharedTable,
}

impl Levels {
    /// Levels of this table and this process.
    pub(crate) fn new(table: SharedTable) -> Levels {
        Levels { table }
    }

    /// Looks how things stand.
    pub(crate) fn refresh(&self) {
        let (all, failed, left, score) = {
            let table = self.table.read();
            let members = &table.members;
            (members.len(), members.failed(), members.left(), members.awareness().score())
        };
        metrics::MEMBERS_ALIVE.set(all.saturating_sub(failed + left));
        metrics::MEMBERS_DEAD.set(failed);
        metrics::MEMBERS_GONE.set(left);
        metrics::HEALTH_SCORE.set(usize::try_from(score).unwrap_or(usize::MAX));
        let (threads, resident) = process_levels();
        metrics::THREADS.set(threads);
        metrics::RESIDENT_BYTES.set(resident);
    }
}

/// How many threads this process has and how many bytes it holds; 0 where `/proc` does not say.
fn process_levels() -> (usize, usize) {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        line.split_whitespace().next()?.parse::<usize>().ok()
    };
    (field("Threads:").unwrap_or(0), field("VmRSS:").unwrap_or(0).saturating_mul(1024))
}

/// What the system says about this process. To ask it costs several times what a whole answer to `stats`
/// does otherwise, and some programs ask that ten times a second.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ProcessFacts {
    /// How many threads it has.
    pub(crate) threads: usize,
    /// How many bytes it holds.
    pub(crate) resident_bytes: usize,
    /// How many processors it may use.
    pub(crate) cpus: usize,
    /// When that was; nothing is known before.
    asked: Option<Moment>,
}

impl ProcessFacts {
    /// How long they are good for.
    const FRESH: Duration = Duration::from_secs(1);

    /// Looks, unless it is not long ago.
    pub(crate) fn refresh(&mut self, now: Moment) {
        if self.asked.is_none_or(|asked| now.since(asked) >= Self::FRESH) {
            let (threads, resident_bytes) = process_levels();
            let cpus = std::thread::available_parallelism().map_or(1, usize::from);
            *self = ProcessFacts { threads, resident_bytes, cpus, asked: Some(now) };
        }
    }
}
