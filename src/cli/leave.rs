//! `serf leave`: lets the agent leave its cluster and end.

use super::connection::connect;
use super::console::{Console, Failure};
use crate::config::Flags;
use crate::rpc::record::LeaveCall;

/// Runs the command.
pub(super) fn run(flags: &Flags, console: &mut Console<'_>) -> Result<(), Failure> {
    connect(flags)?.call(&LeaveCall).map_err(|e| Failure::message("Error leaving", e))?;
    console.line("Graceful leave complete")
}
