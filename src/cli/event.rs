//! `serf event`: makes something known to the whole cluster.

use super::connection::connect;
use super::console::{Console, Failure};
use super::payload::name_and_payload;
use crate::config::Flags;

/// Runs the command.
pub(super) fn run(flags: &Flags, console: &mut Console<'_>) -> Result<(), Failure> {
    let (name, payload) = name_and_payload("An event", &flags.rest, std::io::stdin())?;
    let coalesce = !flags.given("coalesce") || flags.switch("coalesce");
    connect(flags)?
        .event(name, &payload, coalesce)
        .map_err(|e| Failure::message("Error sending event", e))?;
    let tail = format!("' dispatched! Coalescing enabled: {coalesce}");
    console.line([b"Event '", &*console.reader().show(name), tail.as_bytes()].concat())
}
