//! `serf agent`: from flags and files to a running agent.

use super::console::{Console, Failure};
use crate::config::{AgentConfig, Flags};
use std::process::ExitCode;

/// Checks the configuration and, unless only that was asked for, runs the agent until it ends.
/// Warnings and errors stand in the
/// agent's own output, hence its `==>`.
pub(super) fn run(flags: &Flags, console: &mut Console<'_>) -> Result<ExitCode, Failure> {
    let (config, warnings) = AgentConfig::load(flags).map_err(|e| Failure::Message(format!("==> {e}")))?;
    for warning in warnings {
        console.line(format!("==> {warning}"))?;
    }
    if flags.switch("check-config") {
        console.line("Configuration is valid")?;
        return Ok(ExitCode::SUCCESS);
    }
    Ok(crate::agent::run(config, flags.clone()))
}
