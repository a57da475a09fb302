//! `serf force-leave`: declares that a failed member has left.

use super::connection::connect;
use super::console::{Console, Failure};
use crate::config::Flags;
use crate::rpc::record::ForceLeaveCall;

/// Runs the command. Prints nothing when all went well.
pub(super) fn run(flags: &Flags, _console: &mut Console<'_>) -> Result<(), Failure> {
    let [node] = flags.rest.as_slice() else {
        return Err(Failure::Misuse("A node name must be specified to force leave.".into()));
    };
    let call = ForceLeaveCall { node: node.clone(), prune: flags.switch("prune") };
    connect(flags)?.call(&call).map_err(|e| Failure::message("Error force leaving", e))
}
