//! A lane: one configured script, what waits for it, and the one run under way.
//!
//! Events reach a script in order and one at a time; lanes do not wait for each other.

use super::run::Run;
use super::waiting::Waiting;
use crate::config::EventScript;

/// One configured script.
#[derive(Debug)]
pub(crate) struct Lane {
    /// Distinguishes lanes, also from those before a reload.
    pub(crate) id: usize,
    /// What is run, and for what.
    pub(crate) script: EventScript,
    /// What waits.
    pub(crate) waiting: Waiting,
    /// What runs.
    pub(crate) run: Option<Run>,
    /// Whether it is configured no more and only exists until its run has ended.
    pub(crate) retired: bool,
}

impl Lane {
    /// A lane with nothing to do.
    pub(crate) fn new(id: usize, script: EventScript) -> Lane {
        Lane { id, script, waiting: Waiting::default(), run: None, retired: false }
    }
}
