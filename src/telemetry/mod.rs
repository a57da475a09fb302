//! Metrics and the logger; any floor may count and log.
//!
//! Rules log while the membership table is locked, so nothing in here ever makes the caller
//! wait: a counter is one atomic addition, a log line is formatted, kept, and handed over without
//! blocking. Whatever can block (a terminal, a pipe) belongs to the thread `serf-log` alone, which
//! feeds syslog too, and which a line that neither of them shows does not wake. Monitors are not here: they
//! subscribe. Neither is what sends metrics anywhere.

pub mod counters;
mod facility;
mod feed;
mod level;
mod line;
mod logger;
pub mod metrics;
mod rate_limit;
pub mod report;
mod syslog;
pub mod target;
#[cfg(test)]
mod tests;
mod writer;
mod zone;

pub use facility::{Facility, FacilityError};
pub use feed::{MAX_RECENT_BYTES, RECENT_LINES, SubscriberId, Subscription};
pub use level::{LevelError, level_name, parse_level};
pub use line::{LogLine, MAX_MESSAGE_LEN};
pub use logger::{InstallError, LogOptions, Logger, LoggerHandle, MAX_QUEUE_BYTES, QUEUE_LINES};
pub use rate_limit::{MAX_KEYS, Passed, RateLimit};
pub use syslog::{SYSLOG_SOCKET, SyslogOptions};
pub use writer::{Format, HELD_LINES};
