//! Processes that outlive the script that started them. They become children of process 1 or of the nearest
//! subreaper; if that is the agent, as in a container, it has to reap them.
//!
//! Only the thread of the handlers starts processes, so that only it need know which of them are its own.

use super::run::Run;
use rustix::process::{self, WaitOptions};
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

/// Whether orphans become children of this process.
pub(super) fn are_adopted() -> bool {
    std::process::id() == 1 || is_subreaper()
}

#[cfg(target_os = "linux")]
fn is_subreaper() -> bool {
    matches!(process::child_subreaper(), Ok(Some(_)))
}

#[cfg(not(target_os = "linux"))]
fn is_subreaper() -> bool {
    false
}

/// Reaps every child that has ended. One of these `runs` among them learns how. Says whether there was one.
///
/// The kernel does not say which child has ended without reaping it, at least not through a safe interface. So
/// while a child must not be reaped, which is for a moment before its script is killed, orphans have to wait.
pub(super) fn reap<'a>(runs: impl Iterator<Item = &'a mut Run>) -> bool {
    let mut runs: Vec<&mut Run> = runs.collect();
    let mut reaped_run = false;
    while !runs.iter().any(|run| run.keeps_child())
        && let Ok(Some((pid, status))) = process::wait(WaitOptions::NOHANG)
    {
        if let Some(run) = runs.iter_mut().find(|run| run.child() == pid) {
            run.child_ended(ExitStatus::from_raw(status.as_raw()));
            reaped_run = true;
        }
    }
    reaped_run
}
