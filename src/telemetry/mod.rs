//! Counters and the logger; any floor may count and log.

mod line;

pub use line::LogLine;
