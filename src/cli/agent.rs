//! `serf agent`: from flags to a running agent.

use super::console::{Console, Failure};
use crate::config::{AgentConfig, Flags};
use std::process::ExitCode;

/// Checks the flags and runs the agent until it ends. Warnings and errors stand in the
/// agent's own output, hence its `==>`.
pub fn run(flags: &Flags, console: &mut Console<'_>) -> Result<ExitCode, Failure> {
    let (config, warnings) =
        AgentConfig::from_flags(flags).map_err(|e| Failure::Message(format!("==> {e}")))?;
    for warning in warnings {
        console.line(format!("==> {warning}"))?;
    }
    Ok(crate::agent::run(&config))
}
