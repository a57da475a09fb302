//! `serf version`: what this is and what it speaks.

use super::console::{Console, Failure};
use crate::config::Flags;
use crate::model::Versions;

/// Runs the command.
pub(super) fn run(_flags: &Flags, console: &mut Console<'_>) -> Result<(), Failure> {
    print(console)
}

/// Prints the version; also for `-v` and `--version`.
pub(super) fn print(console: &mut Console<'_>) -> Result<(), Failure> {
    console.line(env!("CARGO_PKG_VERSION"))?;
    console.line(format!(
        "Agent Protocol: {} (Understands back to: {})",
        Versions::SERF_PROTOCOL_MAX,
        Versions::SERF_PROTOCOL_MIN
    ))
}
