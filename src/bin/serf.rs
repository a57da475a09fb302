//! `serf`: the agent and the commands that control one.

use serf::cli::{SERF, main_of};
use std::process::ExitCode;

fn main() -> ExitCode {
    main_of(SERF)
}
