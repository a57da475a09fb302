//! `serf`: the agent and the commands that control one.

use serf::cli::{Program, main_of};
use std::process::ExitCode;

fn main() -> ExitCode {
    main_of(Program::Serf)
}
