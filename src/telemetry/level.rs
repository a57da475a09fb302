//! The names of the log levels, as `-log-level`, `monitor` and log lines spell them.

use log::{Level, LevelFilter};
use std::fmt;

/// A text that names no log level.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LevelError(String);

impl fmt::Display for LevelError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Invalid log level: {}. Valid log levels are: [TRACE DEBUG INFO WARN ERR]", self.0)
    }
}

impl std::error::Error for LevelError {}

/// Reads a level name in upper or lower case: `trace`, `debug`, `info`, `warn` or `err`.
pub fn parse_level(text: &str) -> Result<LevelFilter, LevelError> {
    let upper = text.to_ascii_uppercase();
    Level::iter()
        .find(|level| level_name(*level) == upper)
        .map(|level| level.to_level_filter())
        .ok_or(LevelError(upper))
}

/// The word in square brackets in a log line.
pub fn level_name(level: Level) -> &'static str {
    match level {
        Level::Error => "ERR",
        Level::Warn => "WARN",
        Level::Info => "INFO",
        Level::Debug => "DEBUG",
        Level::Trace => "TRACE",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_serf() {
        for level in Level::iter() {
            assert_eq!(parse_level(level_name(level)), Ok(level.to_level_filter()));
            assert_eq!(parse_level(&level_name(level).to_lowercase()), Ok(level.to_level_filter()));
        }
        let refused = parse_level("loud").unwrap_err();
        assert_eq!(
            refused.to_string(),
            "Invalid log level: LOUD. Valid log levels are: [TRACE DEBUG INFO WARN ERR]"
        );
        assert!(parse_level("error").is_err(), "Serf knows ERR only");
        assert!(parse_level("").is_err());
    }
}
