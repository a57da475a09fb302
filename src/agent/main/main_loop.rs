//! The main thread: starts the agent, joins, serves, leaves, and ends it. One loop, in which a phase says
//! how far the agent is.

use super::dump::Dump;
use super::inbox::Wake;
use super::notify::Notifier;
use super::running::Running;
use super::signals::{Signal, survive_meaningless};
use super::start::start;
use super::start_error::StartError;
use super::tags::OwnTags;
use super::terminal::{complain, say, say_indented};
use crate::agent::channels::ToMain;
use crate::agent::metrics::Levels;
use crate::config::{AgentConfig, Flags};
use crate::membership::RetryJoin;
use crate::messaging::name_vote::NameLost;
use crate::model::{Moment, Token};
use crate::node::Departure;
use crate::rpc::RpcReply;
use crate::rpc::record::LeaveCall;
use crate::telemetry::{LogOptions, Logger, LoggerHandle, SYSLOG_SOCKET, SyslogOptions};
use std::ops::ControlFlow;
use std::process::ExitCode;
use std::time::Duration;

/// How long the end of the process waits for a terminal that does not take the last lines.
const LOG_PATIENCE: Duration = Duration::from_secs(1);

/// What a service manager shows of an agent that serves.
const RUNNING: &str = "Running";

/// Runs an agent until it is asked to stop. Returns 0 after a graceful leave, 1 otherwise. The
/// configuration is read again from what `flags` name when a SIGHUP asks for that.
pub fn run(config: AgentConfig, flags: Flags) -> ExitCode {
    abort_on_panic();
    survive_meaningless();
    let options = LogOptions {
        level: config.log_level,
        format: config.log_format,
        directives: std::env::var("SERF_LOG").ok(),
        gated: true,
        syslog: config
            .enable_syslog
            .then(|| SyslogOptions { socket: SYSLOG_SOCKET.into(), facility: config.syslog_facility }),
    };
    let logger = match Logger::install(options) {
        Ok(logger) => logger,
        Err(why) => {
            complain(&why.to_string());
            return ExitCode::FAILURE;
        }
    };
    say(&logger, "Starting Serf agent...");
    let code = match Agent::start(config, flags, &logger) {
        Ok(mut agent) => {
            let code = agent.run();
            agent.notifier.stopping("Stopping");
            agent.running.stop();
            code
        }
        Err(why) => {
            complain(&why.to_string());
            ExitCode::FAILURE
        }
    };
    logger.stop(LOG_PATIENCE);
    code
}

/// A half-dead agent is worse than a dead one: a panic in any thread ends the process.
fn abort_on_panic() {
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        report(info);
        std::process::abort();
    }));
}

/// How far the agent is.
#[derive(Debug)]
pub(super) enum AgentPhase {
    /// It joins the members that the command line names, and ends if none of them answers. The log is held
    /// back, and what an operator asks for is put off.
    Joining {
        /// Whether a reload was asked for.
        reload: bool,
    },
    /// It serves.
    Serving {
        /// The join in the background, until it has worked.
        retry_join: Option<RetryJoin>,
    },
    /// It leaves gracefully, serving still.
    Leaving(Departure),
}

/// The main thread's state.
pub(super) struct Agent {
    /// The settings in force.
    pub(super) config: AgentConfig,
    /// Those of the command line, which name the files that the others come from.
    pub(super) flags: Flags,
    pub(super) tags: OwnTags,
    pub(super) logger: LoggerHandle,
    pub(super) running: Running,
    pub(super) phase: AgentPhase,
    /// Control connections that asked to leave and wait for the answer.
    leavers: Vec<Token>,
    /// Whether a signal has asked to leave already; a second one forces the exit.
    interrupted: bool,
    /// The metrics on standard error.
    dump: Dump,
    /// The service manager.
    pub(super) notifier: Notifier,
}

impl Agent {
    fn start(config: AgentConfig, flags: Flags, logger: &LoggerHandle) -> Result<Agent, StartError> {
        let tags = OwnTags::restore(config.tags.clone(), config.tags_file.clone());
        let tags = tags.map_err(StartError::OwnTags)?;
        let running = start(&config, tags.effective(), logger)?;
        Ok(Agent {
            config,
            flags,
            tags,
            logger: logger.clone(),
            running,
            phase: AgentPhase::Joining { reload: false },
            leavers: Vec::new(),
            interrupted: false,
            dump: Dump::default(),
            notifier: Notifier::from_environment(),
        })
    }

    /// Runs until something ends the agent.
    fn run(&mut self) -> ExitCode {
        if self.config.start_join.is_empty() {
            self.serve();
        } else {
            self.join_at_start();
        }
        loop {
            self.retry_join();
            let deadline = self.deadline();
            let Running { inbox, messages, clock, .. } = &mut self.running;
            for wake in inbox.wait(messages, *clock, deadline) {
                if let ControlFlow::Break(code) = self.take(wake) {
                    return code;
                }
            }
            if self.has_left() {
                return ExitCode::SUCCESS;
            }
        }
    }

    fn deadline(&self) -> Moment {
        match &self.phase {
            AgentPhase::Joining { .. } => Moment::NEVER,
            AgentPhase::Serving { retry_join } => {
                retry_join.as_ref().map_or(Moment::NEVER, RetryJoin::next_deadline)
            }
            AgentPhase::Leaving(leave) => leave.deadline(),
        }
    }

    fn take(&mut self, wake: Wake) -> ControlFlow<ExitCode> {
        match wake {
            Wake::Signal(signal) => return self.signal(signal),
            Wake::Message(ToMain::StartJoined(result)) => return self.start_joined(result),
            Wake::Message(ToMain::RetryJoined(result)) => return self.retry_joined(result),
            Wake::Message(ToMain::NameLost(how)) => return ControlFlow::Break(name_lost(&how)),
            Wake::Message(ToMain::Rejoined(result)) => self.rejoined(result),
            Wake::Message(ToMain::Leave(token)) => self.leave_for(token),
            Wake::Message(ToMain::Said(ticket)) => {
                if let AgentPhase::Leaving(leave) = &mut self.phase {
                    leave.spread(ticket, self.running.clock.now());
                }
            }
            Wake::Message(ToMain::Tags { set, delete, token }) => self.change_tags(set, delete, token),
            Wake::Message(ToMain::ChangeKey { change, query }) => self.change_key(&change, query),
        }
        ControlFlow::Continue(())
    }

    /// Begins to serve.
    pub(super) fn serve(&mut self) {
        self.say_indented("");
        self.say("Log data will now stream in as it occurs:\n");
        self.logger.open_gate();
        self.notifier.ready(RUNNING);
        let (interval, max) = (self.config.retry_interval, self.config.retry_max_attempts);
        let wanted = !self.config.retry_join.is_empty();
        let retry_join = wanted.then(|| RetryJoin::new(interval, max, self.running.clock.now()));
        let before = std::mem::replace(&mut self.phase, AgentPhase::Serving { retry_join });
        // What was asked for while the agent was joining.
        if !self.leavers.is_empty() {
            self.begin_leave();
        }
        if let AgentPhase::Joining { reload: true } = before {
            self.reload_and_notify();
        }
    }

    /// Acts on a signal.
    fn signal(&mut self, signal: Signal) -> ControlFlow<ExitCode> {
        if let Signal::User1 = signal {
            self.dump.write(&Levels::new(self.running.table.clone()));
            return ControlFlow::Continue(());
        }
        if let AgentPhase::Joining { reload } = &mut self.phase {
            return match signal {
                Signal::Interrupt | Signal::Terminate | Signal::Quit => ControlFlow::Break(ExitCode::FAILURE),
                Signal::Hangup | Signal::User1 => {
                    *reload = true;
                    ControlFlow::Continue(())
                }
            };
        }
        self.say(&format!("Caught signal: {}", signal.as_str()));
        let graceful = match signal {
            Signal::Interrupt => !self.config.skip_leave_on_interrupt,
            Signal::Terminate => self.config.leave_on_terminate,
            Signal::Quit => false,
            Signal::Hangup | Signal::User1 => {
                self.reload_and_notify();
                return ControlFlow::Continue(());
            }
        };
        if !graceful || self.interrupted {
            self.running.part();
            return ControlFlow::Break(ExitCode::FAILURE);
        }
        self.interrupted = true;
        self.say("Gracefully shutting down agent...");
        self.begin_leave();
        ControlFlow::Continue(())
    }

    /// Leaves for a control connection.
    fn leave_for(&mut self, token: Token) {
        self.leavers.push(token);
        if let AgentPhase::Joining { .. } = self.phase {
            return;
        }
        log::info!(target: "agent.ipc", "Graceful leave triggered");
        self.begin_leave();
    }

    fn begin_leave(&mut self) {
        if let AgentPhase::Leaving(_) = self.phase {
            return;
        }
        self.notifier.status("Leaving the cluster");
        // An agent that leaves does not come back by itself.
        self.running.rejoin = None;
        self.phase = AgentPhase::Leaving(self.running.begin_leave(self.config.broadcast_timeout));
        if let Some(snapshot) = &self.running.threads.snapshot {
            snapshot.sender().leave();
        }
    }

    /// Goes on with the leave, if there is one. Says whether it is complete, also to the clients that asked for it.
    fn has_left(&mut self) -> bool {
        let AgentPhase::Leaving(leave) = &mut self.phase else { return false };
        let left = self.running.advance(leave);
        if left {
            for token in self.leavers.drain(..) {
                self.running.threads.rpc.sender().reply(token, RpcReply::with::<LeaveCall>(&()));
            }
        }
        left
    }

    /// Reloads, and notifies the service manager when that begins and ends.
    fn reload_and_notify(&mut self) {
        self.notifier.reloading();
        self.reload();
        self.notifier.ready(RUNNING);
    }

    pub(super) fn say(&self, line: &str) {
        say(&self.logger, line);
    }

    pub(super) fn say_indented(&self, line: &str) {
        say_indented(&self.logger, line);
    }
}

/// Another agent keeps this one's name: what an operator has to know, in the log and at the end of
/// standard error.
fn name_lost(how: &NameLost) -> ExitCode {
    log::error!(target: "serf", "{how}");
    complain(&how.to_string());
    ExitCode::FAILURE
}
