//! `serf completion`: what a shell needs to complete commands.

use super::console::{Console, Failure};
use crate::config::Flags;
use crate::config::completion::{Completed, script};
use crate::config::options::SHELLS;

/// Runs the command of the program that is described.
pub(super) fn run(described: Completed<'_>, flags: &Flags, console: &mut Console<'_>) -> Result<(), Failure> {
    let [shell] = flags.rest.as_slice() else {
        return Err(Failure::Misuse(format!("One shell must be named: {}.", SHELLS.join(", "))));
    };
    let shell = shell.to_lossy();
    match script(&shell, described) {
        Some(script) => console.line(script),
        None => Err(Failure::Misuse(format!(
            "There are completions for {}, none for '{shell}'.",
            SHELLS.join(", ")
        ))),
    }
}
