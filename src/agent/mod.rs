//! The agent: the threads, and what they touch: sockets, clocks, processes. One file per thread.
//!
//! | thread | file | owns |
//! | --- | --- | --- |
//! | `serf-probe` | `probe` | the receiving end of the UDP socket, the prober |
//! | `serf-gossip` | `gossip` | the broadcast queue |
//! | `serf-sync` | `sync`, `stream` | the TCP listener and its streams |
//! | `serf-events` | `events` | clocks, windows and open queries; the order in which events are told |
//! | `serf-handlers` | `handlers` | running scripts |
//! | `serf-rpc` | `rpc` | control connections |
//! | `serf-snapshot` | `snapshot` | the snapshot file |
//! | `serf-mdns` | `mdns` | who was announced by multicast DNS; only with `-discover` |
//! | `serf-metrics` | `metrics` | statsd, statsite and Prometheus, if one of them is configured |
//! | main | here, `dump`, `leave`, `notify`, `rejoin`, `reload`, `signals`, `tags` | start and stop, signals, leaving, this member's tags |
//!
//! They share the membership table (`table`) and send each other messages (`channels`).
#![allow(clippy::disallowed_methods, reason = "this is the floor that does the I/O")]

mod backlog;
mod channels;
mod clock;
mod control;
mod datagrams;
mod dump;
mod durable;
mod events;
mod gossip;
pub mod keys;
mod leave;
mod mdns;
mod metrics;
mod notify;
mod probe;
mod refusals;
mod rejoin;
mod reload;
mod resolve;
mod signals;
mod start;
mod stream;
mod sync;
mod table;
mod tags;

pub mod bind;
pub mod handlers;
pub mod rpc;
pub mod snapshot;

pub use start::StartError;
pub use sync::{MAX_BUFFERED, MAX_INBOUND, MAX_OUTBOUND};

use crate::config::{AgentConfig, Flags};
use crate::membership::{AfterFailure, RetryJoin};
use crate::messaging::keys::{KeyChange, NOTHING_TO_MODIFY};
use crate::messaging::name_vote::NameLost;
use crate::model::{Moment, QueryKey, format_duration};
use crate::rpc::record::{LeaveCall, TagsCall};
use crate::rpc::{RpcReply, Token};
use crate::telemetry::{LogOptions, Logger, LoggerHandle, SYSLOG_SOCKET, SyslogOptions};
use channels::{JoinRequest, JoinResult, ToEvents, ToMain, ToSync};
use dump::Dump;
use leave::Leave;
use metrics::Levels;
use notify::Notifier;
use rejoin::Rejoin;
use signals::Signal;
use start::Running;
use std::collections::BTreeMap;
use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Duration;
use tags::{OwnTags, TagsChangeError};

/// Runs an agent until it is told to stop. Returns 0 after a graceful leave, 1 otherwise. The
/// configuration is read again from what `flags` name when a SIGHUP asks for that.
pub fn run(config: AgentConfig, flags: Flags) -> ExitCode {
    abort_on_panic();
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
    let code = match start_agent(config, flags, &logger) {
        Ok(mut agent) => {
            let code = agent.join_at_start().map_or_else(|code| code, |()| agent.serve());
            agent.notifier.stopping("Stopping");
            agent.running.stop();
            code
        }
        Err(why) => {
            complain(&why);
            ExitCode::FAILURE
        }
    };
    logger.stop(LOG_PATIENCE);
    code
}

fn start_agent(config: AgentConfig, flags: Flags, logger: &LoggerHandle) -> Result<Agent, String> {
    let tags = OwnTags::restore(config.tags.clone(), config.tags_file.clone()).map_err(|e| e.to_string())?;
    let running = start::start(&config, tags.effective(), logger).map_err(|e| e.to_string())?;
    Ok(Agent {
        config,
        flags,
        tags,
        logger: logger.clone(),
        running,
        leave: None,
        retry_join: None,
        leavers: Vec::new(),
        interrupted: false,
        reload_asked: false,
        dump: Dump::default(),
        notifier: Notifier::from_environment(),
    })
}

/// How long the end of the process waits for a terminal that does not take the last lines.
const LOG_PATIENCE: Duration = Duration::from_secs(1);

/// A half-dead agent is worse than a dead one: a panic in any thread ends the process.
fn abort_on_panic() {
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        report(info);
        std::process::abort();
    }));
}

/// An error that ends the start. Only the main thread writes these, straight to standard error.
fn complain(line: &str) {
    // In one piece, because the logger writes there, too. A closed standard error is nobody's
    // problem but that of who closed it.
    let _ = io::stderr().write_all(format!("==> {line}\n").as_bytes());
}

/// Another agent keeps this one's name: what an operator has to know, in the log and at the end of
/// standard error, where whoever started the agent looks first.
fn name_lost(how: &NameLost) -> ExitCode {
    log::error!(target: "serf", "{how}");
    complain(&how.to_string());
    ExitCode::FAILURE
}

/// The lines that Serf prints around the log.
pub(crate) fn say(logger: &LoggerHandle, line: &str) {
    logger.say(format!("==> {line}"));
}

pub(crate) fn say_indented(logger: &LoggerHandle, line: &str) {
    logger.say(format!("    {line}"));
}

/// What a service manager shows of an agent that serves.
const RUNNING: &str = "Running";

/// The main thread's state.
struct Agent {
    /// The settings in force.
    config: AgentConfig,
    /// Those of the command line, which name the files that the others come from.
    flags: Flags,
    tags: OwnTags,
    logger: LoggerHandle,
    running: Running,
    leave: Option<Leave>,
    /// The join in the background, until it has worked.
    retry_join: Option<RetryJoin>,
    /// Control connections that asked to leave and wait for the answer.
    leavers: Vec<Token>,
    /// Whether a signal has asked to leave already; a second one forces the exit.
    interrupted: bool,
    /// Whether a reload was asked for while the agent was still starting.
    reload_asked: bool,
    /// The metrics on standard error.
    dump: Dump,
    /// The service manager.
    notifier: Notifier,
}

/// What woke the main thread.
enum Wake {
    Signal(Signal),
    Message(ToMain),
    Deadline,
}

impl Agent {
    /// Joins the members given on the command line. Fails if none of them answers.
    fn join_at_start(&mut self) -> Result<(), ExitCode> {
        if self.config.start_join.is_empty() {
            return Ok(());
        }
        self.say(&format!("Joining cluster...(replay: {})", self.config.replay_on_join));
        self.notifier.status("Joining the cluster");
        let main = self.running.corridors.main.clone();
        let request = JoinRequest::new(
            self.config.start_join.clone(),
            self.config.replay_on_join,
            Box::new(move |result| {
                // The corridor is wide enough for the one join at start.
                let _ = main.send(ToMain::StartJoined(result));
            }),
        );
        self.running.corridors.sync.insist(ToSync::Join(request), Duration::from_secs(1));
        loop {
            for wake in self.wait(Moment::NEVER) {
                match wake {
                    Wake::Message(ToMain::StartJoined(Ok(n))) => {
                        self.say_indented(&format!("Join completed. Synced with {n} initial agents"));
                        return Ok(());
                    }
                    Wake::Message(ToMain::StartJoined(Err(why))) => {
                        complain(&why);
                        return Err(ExitCode::FAILURE);
                    }
                    Wake::Signal(Signal::Interrupt | Signal::Terminate) => return Err(ExitCode::FAILURE),
                    Wake::Message(ToMain::Leave(token)) => self.leavers.push(token),
                    Wake::Message(ToMain::Rejoined(result)) => self.rejoined(result),
                    Wake::Message(ToMain::Tags { set, delete, token }) => {
                        self.change_tags(set, delete, token);
                    }
                    Wake::Message(ToMain::ChangeKey { change, query }) => self.change_key(&change, query),
                    Wake::Signal(Signal::User1) => self.dump_metrics(),
                    Wake::Signal(Signal::Hangup) => self.reload_asked = true,
                    Wake::Message(ToMain::Said(_) | ToMain::RetryJoined(_)) | Wake::Deadline => {}
                    Wake::Message(ToMain::NameLost(how)) => return Err(name_lost(&how)),
                }
            }
        }
    }

    /// Serves until a signal or a control connection ends it.
    fn serve(&mut self) -> ExitCode {
        self.say_indented("");
        self.say("Log data will now stream in as it occurs:\n");
        self.logger.open_gate();
        self.notifier.ready(RUNNING);
        if !self.config.retry_join.is_empty() {
            let (interval, max) = (self.config.retry_interval, self.config.retry_max_attempts);
            self.retry_join = Some(RetryJoin::new(interval, max, self.running.clock.now()));
        }
        if !self.leavers.is_empty() {
            self.begin_leave();
        }
        if self.reload_asked {
            self.reload_and_tell();
        }
        loop {
            self.retry_join();
            let leave = self.leave.as_ref().map_or(Moment::NEVER, Leave::deadline);
            let join = self.retry_join.as_ref().map_or(Moment::NEVER, RetryJoin::next_deadline);
            for wake in self.wait(leave.min(join)) {
                match wake {
                    Wake::Signal(signal) => {
                        if let Some(code) = self.signal(signal) {
                            return code;
                        }
                    }
                    Wake::Message(ToMain::Leave(token)) => {
                        log::info!(target: "agent.ipc", "Graceful leave triggered");
                        self.leavers.push(token);
                        self.begin_leave();
                    }
                    Wake::Message(ToMain::Said(ticket)) => {
                        if let Some(leave) = &mut self.leave {
                            leave.said(ticket, &self.running.clock);
                        }
                    }
                    Wake::Message(ToMain::Tags { set, delete, token }) => {
                        self.change_tags(set, delete, token);
                    }
                    Wake::Message(ToMain::ChangeKey { change, query }) => self.change_key(&change, query),
                    Wake::Message(ToMain::RetryJoined(result)) => {
                        if let Some(code) = self.retry_joined(result) {
                            return code;
                        }
                    }
                    Wake::Message(ToMain::Rejoined(result)) => self.rejoined(result),
                    Wake::Message(ToMain::NameLost(how)) => return name_lost(&how),
                    Wake::Message(ToMain::StartJoined(_)) | Wake::Deadline => {}
                }
            }
            let Running { table, corridors, clock, .. } = &self.running;
            if self.leave.as_mut().is_some_and(|leave| leave.advance(table, corridors, clock)) {
                for token in self.leavers.drain(..) {
                    self.running.rpc.sender().reply(token, RpcReply::with::<LeaveCall>(&()));
                }
                return ExitCode::SUCCESS;
            }
        }
    }

    /// Begins an attempt to join in the background, if it is time.
    fn retry_join(&mut self) {
        let now = self.running.clock.now();
        if !self.retry_join.as_mut().is_some_and(|join| join.tick(now)) {
            return;
        }
        let replay = self.config.replay_on_join;
        log::info!(target: "agent", "Joining cluster...(replay: {replay})");
        let main = self.running.corridors.main.clone();
        let reply = Box::new(move |result| {
            // There is one attempt at a time, and the main thread is never far behind.
            let _ = main.send(ToMain::RetryJoined(result));
        });
        let request = JoinRequest::new(self.config.retry_join.clone(), replay, reply);
        if let Err(ToSync::Join(request)) = self.running.corridors.sync.send(ToSync::Join(request)) {
            request.answer(Err("too many joins at once".to_string()));
        }
    }

    /// Goes on after an attempt to join in the background; returns the exit code if it was the
    /// last and in vain.
    fn retry_joined(&mut self, result: JoinResult) -> Option<ExitCode> {
        // Whoever leaves is not called back by a join that fails, nor ended by it.
        let join = self.retry_join.as_mut()?;
        let why = match result {
            Ok(n) => {
                log::info!(target: "agent", "Join completed. Synced with {n} initial agents");
                self.retry_join = None;
                return None;
            }
            Err(why) => why,
        };
        match join.failed(self.running.clock.now()) {
            AfterFailure::Retry(after) => {
                let after = format_duration(after);
                log::warn!(target: "agent", "Join failed: {why}, retrying in {after}");
                None
            }
            AfterFailure::GiveUp => {
                log::warn!(target: "agent", "Join failed: {why}");
                log::error!(target: "agent", "maximum retry join attempts made, exiting");
                Some(ExitCode::FAILURE)
            }
        }
    }

    fn say(&self, line: &str) {
        say(&self.logger, line);
    }

    fn say_indented(&self, line: &str) {
        say_indented(&self.logger, line);
    }

    /// Reloads, and tells the service manager when that begins and ends.
    fn reload_and_tell(&mut self) {
        self.notifier.reloading();
        self.reload();
        self.notifier.ready(RUNNING);
    }

    fn dump_metrics(&mut self) {
        self.dump.write(&Levels::new(self.running.table.clone()));
    }

    fn begin_leave(&mut self) {
        if self.leave.is_some() {
            return;
        }
        self.notifier.status("Leaving the cluster");
        // Whoever leaves does not come back by himself.
        self.retry_join = None;
        self.running.rejoin = None;
        let Running { table, corridors, clock, snapshot, .. } = &self.running;
        self.leave = Some(Leave::begin(self.config.broadcast_timeout, table, corridors, clock));
        if let Some(snapshot) = snapshot {
            snapshot.sender().leave();
        }
    }

    fn rejoined(&mut self, result: JoinResult) {
        let rejoin = self.running.rejoin.take();
        self.running.rejoin = rejoin.and_then(|rejoin: Rejoin| rejoin.heard(result, &self.running.corridors));
    }

    /// Acts on a signal; returns the exit code if the agent is to stop at once.
    fn signal(&mut self, signal: Signal) -> Option<ExitCode> {
        if signal != Signal::User1 {
            self.say(&format!("Caught signal: {}", signal.as_str()));
        }
        let graceful = match signal {
            Signal::User1 => {
                self.dump_metrics();
                return None;
            }
            Signal::Hangup => {
                self.reload_and_tell();
                return None;
            }
            Signal::Interrupt => !self.config.skip_leave_on_interrupt,
            Signal::Terminate => self.config.leave_on_terminate,
        };
        if !graceful || self.interrupted {
            self.running.part();
            return Some(ExitCode::FAILURE);
        }
        self.interrupted = true;
        self.say("Gracefully shutting down agent...");
        self.begin_leave();
        None
    }

    /// Changes tags for a control connection.
    fn change_tags(&mut self, set: BTreeMap<String, String>, delete: Vec<String>, token: Token) {
        let changed = self.tags.change(set, delete);
        let result = changed.and_then(|tags| self.running.set_tags(tags).map_err(TagsChangeError::Tags));
        if let Err(why) = &result {
            log::error!(target: "agent", "{why}");
        }
        self.running.rpc.sender().reply(token, RpcReply::to::<TagsCall>(result));
    }

    /// Changes the keyring, its file first, for whoever asked everyone to do so.
    fn change_key(&self, change: &KeyChange, query: QueryKey) {
        let result = match &self.running.keys {
            Some(keys) => keys.change(|ring| change.apply(ring)).map_err(|e| e.to_string()),
            None => Err(NOTHING_TO_MODIFY.to_string()),
        };
        let answer = ToEvents::KeyChanged { query, step: change.step, result };
        if self.running.corridors.events.try_send(answer).is_err() {
            // Whoever asked sees that an answer is missing, and may ask again.
            log::warn!(target: "agent", "serf-events is too busy to answer about a key");
        }
    }

    /// Waits for something to happen, until `deadline`.
    fn wait(&mut self, deadline: Moment) -> Vec<Wake> {
        let timeout = match deadline {
            Moment::NEVER => None,
            deadline => Some(deadline.until(self.running.clock.now())),
        };
        let mut wakes = vec![Wake::Deadline];
        if let Err(e) = self.running.poll.poll(&mut self.running.poll_events, timeout)
            && e.kind() != io::ErrorKind::Interrupted
        {
            log::error!(target: "agent", "the main thread cannot wait: {e}");
            wakes.push(Wake::Signal(Signal::Terminate));
        }
        wakes.extend(self.running.signals.pending().into_iter().map(Wake::Signal));
        wakes.extend(self.running.messages.try_iter().map(Wake::Message));
        wakes
    }
}
