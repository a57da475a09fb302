//! The gauges: how things stand with the table and this process.

use crate::agent::table::SharedTable;
use crate::telemetry::metrics;

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
pub(crate) fn process_levels() -> (usize, usize) {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        line.split_whitespace().next()?.parse::<usize>().ok()
    };
    (field("Threads:").unwrap_or(0), field("VmRSS:").unwrap_or(0).saturating_mul(1024))
}
