//! `serf join`: lets a running agent join a cluster.

use super::connection::connect;
use super::console::{Console, Failure};
use crate::config::Flags;
use crate::rpc::record::JoinCall;

/// Runs the command.
pub(super) fn run(flags: &Flags, console: &mut Console<'_>) -> Result<(), Failure> {
    if flags.rest.is_empty() {
        return Err(Failure::Misuse("At least one address to join must be specified.".into()));
    }
    let call = JoinCall { existing: flags.rest.clone(), replay: flags.switch("replay") };
    let joined = connect(flags)?.call(&call).map_err(|e| Failure::message("Error joining the cluster", e))?;
    console.line(format!("Successfully joined cluster by contacting {} nodes.", joined.num.max(0)))
}
