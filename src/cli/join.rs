//! `serf join`: lets a running agent join a cluster.

use super::connection::connect;
use super::console::{Console, Failure};
use crate::config::Flags;

/// Runs the command.
pub fn run(flags: &Flags, console: &mut Console<'_>) -> Result<(), Failure> {
    if flags.rest.is_empty() {
        return Err(Failure::Misuse("At least one address to join must be specified.".into()));
    }
    let joined = connect(flags)?
        .join(&flags.rest, flags.switch("replay"))
        .map_err(|e| Failure::message("Error joining the cluster", e))?;
    console.line(format!("Successfully joined cluster by contacting {joined} nodes."))
}
