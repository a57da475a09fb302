//! `serf-ctl`: the control commands alone, for hosts that never start an agent.

use serf::cli::{SERF_CTL, main_of};
use std::process::ExitCode;

fn main() -> ExitCode {
    main_of(SERF_CTL)
}
