//! The main thread's joins: that of the command line, which has to work; that in the background
//! (`-retry-join`), which is repeated; and that of members of the snapshot.

use super::main_loop::{Agent, AgentPhase};
use super::terminal::complain;
use crate::agent::channels::{JoinRequest, JoinResult, ToMain, ToSync};
use crate::membership::{AfterFailure, Origin};
use crate::model::format_duration;
use crate::node::exchanges::JoinError;
use crate::node::rejoin::NextAttempt;
use std::ops::ControlFlow;
use std::process::ExitCode;
use std::time::Duration;

/// How long asking for the join of the command line waits for room.
const PATIENCE: Duration = Duration::from_secs(1);

impl Agent {
    /// Begins to join the members given on the command line.
    pub(super) fn join_at_start(&mut self) {
        self.say(&format!("Joining cluster...(replay: {})", self.config.replay_on_join));
        self.notifier.status("Joining the cluster");
        let main = self.running.channels.main.clone();
        let reply = Box::new(move |result| {
            // The channel is wide enough for the one join at start.
            let _ = main.send(ToMain::StartJoined(result));
        });
        let request = JoinRequest::new(self.config.start_join.clone(), self.config.replay_on_join, reply);
        self.running.channels.sync.send_within(ToSync::Join(request), PATIENCE);
    }

    /// Goes on after the join of the command line.
    pub(super) fn start_joined(&mut self, result: JoinResult) -> ControlFlow<ExitCode> {
        match (&self.phase, result) {
            (AgentPhase::Joining { .. }, Ok(n)) => {
                self.say_indented(&format!("Join completed. Synced with {n} initial agents"));
                self.serve();
                ControlFlow::Continue(())
            }
            (AgentPhase::Joining { .. }, Err(why)) => {
                complain(&why.to_string());
                ControlFlow::Break(ExitCode::FAILURE)
            }
            (AgentPhase::Serving { .. } | AgentPhase::Leaving(_), _) => ControlFlow::Continue(()),
        }
    }

    /// Begins an attempt to join in the background, if it is time.
    pub(super) fn retry_join(&mut self) {
        let now = self.running.clock.now();
        let AgentPhase::Serving { retry_join: Some(join) } = &mut self.phase else { return };
        if !join.tick(now) {
            return;
        }
        let replay = self.config.replay_on_join;
        log::info!(target: "agent", "Joining cluster...(replay: {replay})");
        let main = self.running.channels.main.clone();
        let reply = Box::new(move |result| {
            // There is one attempt at a time, and the main thread is never far behind.
            let _ = main.send(ToMain::RetryJoined(result));
        });
        let request = JoinRequest::new(self.config.retry_join.clone(), replay, reply);
        if let Err(ToSync::Join(request)) = self.running.channels.sync.send(ToSync::Join(request)) {
            request.answer(Err(JoinError::TooMany));
        }
    }

    /// Goes on after an attempt to join in the background; ends the agent if it was the last and in vain.
    pub(super) fn retry_joined(&mut self, result: JoinResult) -> ControlFlow<ExitCode> {
        // An agent that leaves is not called back by a join that fails, nor ended by it.
        let AgentPhase::Serving { retry_join } = &mut self.phase else { return ControlFlow::Continue(()) };
        let Some(join) = retry_join else { return ControlFlow::Continue(()) };
        let why = match result {
            Ok(n) => {
                log::info!(target: "agent", "Join completed. Synced with {n} initial agents");
                *retry_join = None;
                return ControlFlow::Continue(());
            }
            Err(why) => why,
        };
        match join.failed(self.running.clock.now()) {
            AfterFailure::Retry(after) => {
                // To the tenth of a second.
                let tenths = (after.as_millis() as u64).div_ceil(100);
                let after = format_duration(Duration::from_millis(100 * tenths));
                log::warn!(target: "agent", "Join failed: {why}, retrying in {after}");
                ControlFlow::Continue(())
            }
            AfterFailure::GiveUp => {
                log::warn!(target: "agent", "Join failed: {why}");
                log::error!(target: "agent", "maximum retry join attempts made, exiting");
                ControlFlow::Break(ExitCode::FAILURE)
            }
        }
    }

    /// Goes on after an attempt to join a member of the snapshot.
    pub(super) fn rejoined(&mut self, result: JoinResult) {
        let Some(rejoin) = self.running.rejoin.take() else { return };
        let channels = &self.running.channels;
        match rejoin.heard(result.map(|_| ())) {
            NextAttempt::Rejoined => {}
            NextAttempt::Ask(rejoin) => {
                channels.rejoin(&rejoin);
                self.running.rejoin = Some(rejoin);
            }
            NextAttempt::KeepSeeds(seeds) => channels.keep_seeds(seeds, Origin::Found),
        }
    }
}
