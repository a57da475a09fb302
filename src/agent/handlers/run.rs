//! One run of a script: its process, its pipes, its deadlines. Nothing here ever waits; the thread
//! gives each run a turn when something may have happened.
//!
//! The end of a run is the end of the child, not of its output: a process that a script leaves in
//! the background may hold the output open for as long as it likes. What is in the pipe when the
//! child has ended is taken, then the pipe is closed (a process in the background that goes on
//! writing to it gets a broken pipe; it should redirect its output).
//!
//! Each child leads a process group of its own, so that ending a script ends what it started.
//! A child that is being ended is reaped only after its group was sent SIGKILL: as long as it is not, its
//! number cannot become the number of somebody else's group.
//!
//! A script starts with no signal blocked. Signals that the agent handles are back at their
//! defaults, SIGPIPE is too; what the agent itself was started with as ignored stays ignored (and
//! glibc ignores its two internal real-time signals in what it starts). Of the agent's open files
//! a script gets none. It is no longer in the foreground of the agent's terminal, so Ctrl-C
//! reaches the agent alone, which then ends it.

use super::input;
use super::output::Tail;
use super::reply::Chance;
use super::waiting::Job;
use crate::model::{Event, Member, Moment, Text, format_duration};
use crate::telemetry::{counters, metrics};
use mio::unix::pipe::{Receiver, Sender};
use mio::{Interest, Registry, Token};
use rustix::process::{self, Pid, Signal, WaitId, WaitIdOptions};
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus};
use std::time::Duration;

/// A script that runs for longer is mentioned in the log, once a run (Serf's `warnSlow`).
pub(crate) const SLOW: Duration = Duration::from_secs(1);

/// How long a script that ran for too long has after SIGTERM, before SIGKILL.
pub(crate) const TERM_GRACE: Duration = Duration::from_secs(2);

/// Output taken in one turn, so that a script that only writes does not keep others waiting.
const TURN_OUTPUT: usize = 64 * 1024;

/// Output taken after the child has ended. All that it left in the pipe fits (a pipe holds 64 KiB,
/// or 1 MiB with the largest pages); a process in the background could go on for ever.
const LAST_OUTPUT: usize = 1024 * 1024;

/// What a run needs besides its event.
pub(crate) struct RunContext<'a> {
    /// Where pipes are polled.
    pub(crate) registry: &'a Registry,
    /// Token of the script's standard input.
    pub(crate) stdin: Token,
    /// Token of its output.
    pub(crate) output: Token,
    /// This member.
    pub(crate) me: &'a Member,
    /// How long the script may run; `None` until its query's deadline, or for ever.
    pub(crate) timeout: Option<Duration>,
    /// The time.
    pub(crate) now: Moment,
}

/// A script that runs.
#[derive(Debug)]
pub(crate) struct Run {
    script: String,
    kind: &'static str,
    /// Gone once it can not answer any more.
    chance: Option<Chance>,
    child: Child,
    /// How the child ended, if it was reaped together with orphans.
    ended: Option<ExitStatus>,
    stdin: Option<(Sender, Vec<u8>)>,
    /// Standard output and standard error in one pipe, which keeps their order; none at its end.
    output: Option<Receiver>,
    tail: Tail,
    started: Moment,
    slow_at: Moment,
    stage: Stage,
    ended_by_us: Option<Reason>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// It may run until then.
    Running { until: Moment },
    /// It was sent SIGTERM and has until then.
    Ending { kill_at: Moment },
    /// It was sent SIGKILL.
    Killed,
}

/// Why a script was ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    /// It ran for too long.
    Timeout,
    /// The agent stops.
    Stop,
}

/// What a turn came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// There is more to do at once.
    Busy,
    /// Nothing until the next wake or deadline.
    Waits,
    /// The run is over and its process reaped.
    Over,
}

/// When a query's script is ended, or any script: never, unless a timeout is configured. A
/// configured timeout counts for queries as well, for scripts that go on after they have answered.
pub(crate) fn until(event: &Event, timeout: Option<Duration>, now: Moment) -> Moment {
    match (timeout, event) {
        (Some(timeout), _) => now + timeout,
        (None, Event::Query(query)) => query.deadline,
        (None, Event::Members(_) | Event::User(_)) => Moment::NEVER,
    }
}

impl Run {
    /// Starts a script. On an error nothing keeps running.
    pub(crate) fn start(script: &Text, job: Job, context: &RunContext<'_>) -> io::Result<Run> {
        let (child_stdin, stdin) = io::pipe()?;
        let (output, child_output) = io::pipe()?;
        let stdin = Sender::from(OwnedFd::from(stdin));
        let mut output = Receiver::from(OwnedFd::from(output));
        stdin.set_nonblocking(true)?;
        output.set_nonblocking(true)?;
        context.registry.register(&mut output, context.output, Interest::READABLE)?;
        // Most input fits into the pipe, and is there with its end before the script starts.
        let mut stdin = give(stdin, input::standard_input(&job.event));
        if let Some((pipe, _)) = &mut stdin {
            context.registry.register(pipe, context.stdin, Interest::WRITABLE)?;
        }
        let variables = input::environment(context.me, &job.event);
        let child = Command::new("/bin/sh")
            .arg("-c")
            .arg(script.as_os_str())
            .envs(variables.iter().map(|(name, value)| (name, value.as_os_str())))
            .stdin(child_stdin)
            .stdout(child_output.try_clone()?)
            .stderr(child_output)
            .process_group(0)
            .spawn()?;
        counters::HANDLERS_RUN.inc();
        Ok(Run {
            script: script.to_string(),
            kind: job.event.kind(),
            chance: job.chance,
            child,
            ended: None,
            stdin,
            output: Some(output),
            tail: Tail::default(),
            started: context.now,
            slow_at: context.now + SLOW,
            stage: Stage::Running { until: until(&job.event, context.timeout, context.now) },
            ended_by_us: None,
        })
    }

    /// When the next turn is due even if nothing happens.
    pub(crate) fn deadline(&self) -> Moment {
        let next = match self.stage {
            Stage::Running { until } => until,
            Stage::Ending { kill_at } => kill_at,
            Stage::Killed => Moment::NEVER,
        };
        next.min(self.slow_at)
    }

    /// Moves bytes, looks whether the child has ended (if `children`, one of them has), and minds
    /// deadlines.
    pub(crate) fn turn(&mut self, now: Moment, children: bool) -> Turn {
        let more = self.take_output(TURN_OUTPUT);
        self.give_input();
        if now >= self.slow_at {
            self.slow_at = Moment::NEVER;
            let limit = format_duration(SLOW);
            log::warn!(target: "agent", "Script '{}' slow, execution exceeding {limit}", self.script);
        }
        let children = children || self.ended.is_some();
        if let Stage::Running { until } = self.stage {
            if (children || self.output.is_none() || now >= until) && self.reaped(now) {
                return Turn::Over;
            }
            if now >= until {
                self.end(Reason::Timeout, now, TERM_GRACE);
            }
        }
        if let Stage::Ending { kill_at } = self.stage
            && (now >= kill_at || self.output.is_none() && self.has_exited())
        {
            // Also when nothing of the group seems to be left: without the child's number nothing
            // of it can be reached any more.
            self.signal_group(Signal::KILL);
            self.stage = Stage::Killed;
        }
        if self.stage == Stage::Killed && self.reaped(now) {
            return Turn::Over;
        }
        if more { Turn::Busy } else { Turn::Waits }
    }

    /// Begins to end the script and all of its group: SIGTERM now, SIGKILL after `grace`.
    pub(crate) fn end(&mut self, reason: Reason, now: Moment, grace: Duration) {
        let kill_at = now + grace;
        // What it may still print is no answer, and others need not wait for it.
        self.chance = None;
        match self.stage {
            Stage::Running { .. } => {
                self.ended_by_us = Some(reason);
                if reason == Reason::Timeout {
                    counters::HANDLERS_TIMED_OUT.inc();
                    let ran = format_duration(round(now.since(self.started)));
                    log::error!(
                        target: "agent",
                        "Error invoking script '{}': still running after {ran}; ending it", self.script
                    );
                }
                self.signal_group(Signal::TERM);
                self.stage = Stage::Ending { kill_at };
            }
            Stage::Ending { kill_at: earlier } => {
                self.stage = Stage::Ending { kill_at: earlier.min(kill_at) }
            }
            Stage::Killed => {}
        }
    }

    /// The process of the script.
    pub(crate) fn child(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// Whether the child must not be reaped yet, see the head of this file.
    pub(crate) fn keeps_child(&self) -> bool {
        matches!(self.stage, Stage::Ending { .. })
    }

    /// The child was reaped; the next turn deals with its end.
    pub(crate) fn child_ended(&mut self, status: ExitStatus) {
        self.ended = Some(status);
    }

    /// Reports the end, if the script has ended. Says whether it has.
    fn reaped(&mut self, now: Moment) -> bool {
        let status = match self.ended {
            Some(status) => Ok(Some(status)),
            None => self.child.try_wait(),
        };
        match status {
            Ok(None) => false,
            Ok(Some(status)) => {
                metrics::SCRIPT_TIME.record_time(now.since(self.started));
                self.finish(if status.success() { Ok(()) } else { Err(describe(status)) });
                true
            }
            Err(e) => {
                self.finish(Err(e.to_string()));
                true
            }
        }
    }

    fn finish(&mut self, result: Result<(), String>) {
        self.take_output(LAST_OUTPUT);
        (self.output, self.stdin) = (None, None);
        let (script, kind) = (&self.script, self.kind);
        if self.tail.truncated() {
            log::warn!(
                target: "agent", "Script '{script}' generated {} bytes of output, truncated to {}",
                self.tail.total(), self.tail.bytes().len()
            );
        }
        // A line has its own end already.
        let said = self.tail.bytes().strip_suffix(b"\n").unwrap_or(self.tail.bytes());
        log::debug!(target: "agent", "Event '{kind}' script output: {}", String::from_utf8_lossy(said));
        match (self.ended_by_us, result) {
            (Some(Reason::Stop), _) => {
                log::warn!(target: "agent", "Script '{script}' was ended because the agent stops");
            }
            // Said when it happened.
            (Some(Reason::Timeout), _) => counters::HANDLERS_FAILED.inc(),
            (None, Err(why)) => {
                counters::HANDLERS_FAILED.inc();
                log::error!(target: "agent", "Error invoking script '{script}': {why}");
            }
            (None, Ok(())) => {
                if let Some(chance) = &self.chance
                    && self.tail.total() > 0
                {
                    chance.answer(self.tail.bytes());
                }
            }
        }
    }

    /// Takes up to about `limit` bytes. Says whether there may be more.
    fn take_output(&mut self, limit: usize) -> bool {
        let Some(pipe) = &mut self.output else { return false };
        let mut chunk = [0; 8 * 1024];
        let mut taken = 0;
        while taken < limit {
            match pipe.read(&mut chunk) {
                Ok(len @ 1..) => {
                    taken += len;
                    self.tail.push(chunk.get(..len).unwrap_or_default());
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return false,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Ok(0) | Err(_) => {
                    self.output = None;
                    return false;
                }
            }
        }
        true
    }

    fn give_input(&mut self) {
        if let Some((pipe, bytes)) = self.stdin.take() {
            self.stdin = give(pipe, bytes);
        }
    }

    fn has_exited(&self) -> bool {
        // Without reaping it.
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        !matches!(process::waitid(WaitId::Pid(self.child()), options), Ok(None))
    }

    fn signal_group(&self, signal: Signal) {
        if self.ended.is_some() {
            return;
        }
        // An error means that nobody is left to be reached, which is what is wanted.
        let _ = process::kill_process_group(self.child(), signal);
    }
}

/// Writes as much as the pipe takes. Returns what is left; nothing closes the pipe. A script that
/// does not want to read is free to: that the pipe is broken is no error.
fn give(mut pipe: Sender, mut bytes: Vec<u8>) -> Option<(Sender, Vec<u8>)> {
    let mut written = 0;
    while written < bytes.len() {
        match pipe.write(bytes.get(written..).unwrap_or_default()) {
            Ok(len @ 1..) => written += len,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                bytes.drain(..written);
                return Some((pipe, bytes));
            }
            Ok(0) | Err(_) => return None,
        }
    }
    None
}

/// Milliseconds are enough for a log.
fn round(time: Duration) -> Duration {
    Duration::from_millis(u64::try_from(time.as_millis()).unwrap_or(u64::MAX))
}

/// How a process ended, in the words that Serf logs.
fn describe(status: ExitStatus) -> String {
    let Some(signal) = status.signal() else {
        return format!("exit status {}", status.code().unwrap_or_default());
    };
    let name = match Signal::from_named_raw(signal) {
        Some(Signal::HUP) => "hangup",
        Some(Signal::INT) => "interrupt",
        Some(Signal::QUIT) => "quit",
        Some(Signal::ILL) => "illegal instruction",
        Some(Signal::ABORT) => "aborted",
        Some(Signal::BUS) => "bus error",
        Some(Signal::FPE) => "floating point exception",
        Some(Signal::KILL) => "killed",
        Some(Signal::SEGV) => "segmentation fault",
        Some(Signal::PIPE) => "broken pipe",
        Some(Signal::ALARM) => "alarm clock",
        Some(Signal::TERM) => "terminated",
        _ => return format!("signal: signal {signal}"),
    };
    let core = if status.core_dumped() { " (core dumped)" } else { "" };
    format!("signal: {name}{core}")
}
