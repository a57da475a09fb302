//! `serf tags`: changes the tags of a running agent.

use super::connection::connect;
use super::console::{Console, Failure};
use crate::config::Flags;
use crate::model::Tags;
use crate::rpc::record::TagsCall;

/// Runs the command.
pub(super) fn run(flags: &Flags, console: &mut Console<'_>) -> Result<(), Failure> {
    let (set, delete) = (flags.texts("set"), flags.texts("delete"));
    if set.is_empty() && delete.is_empty() {
        return Err(Failure::Misuse("At least one tag to set or to delete must be specified.".into()));
    }
    let set = Tags::from_pairs(set).map_err(|e| Failure::message("Error", e))?;
    let call = TagsCall { tags: set.0, delete_tags: delete };
    connect(flags)?.call(&call).map_err(|e| Failure::message("Error setting tags", e))?;
    console.line("Successfully updated agent tags")
}
