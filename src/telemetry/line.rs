//! One line of the log, as monitors and the recent-lines ring keep it.

use log::Level;

/// A line that was logged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLine {
    /// How important it is.
    pub level: Level,
    /// The whole line as it is written (time, level, message), without indentation or newline.
    pub text: String,
}
