//! The logger as its callers see it: the global `log` sink and the handle that steers it.
//!
//! Logging keeps the line, gives it to the monitors, and hands it over if the terminal shows it; it never
//! waits (law 1: rules log while the membership table is locked). The thread behind, which writes and is
//! woken for nothing else, is in `writer.rs`.
//!
//! Two thresholds apply. Everything down to DEBUG is kept for `monitor`, which may want more than
//! the terminal. What reaches the terminal is decided by the level (`-log-level`) as refined by
//! directives in `env_logger`'s syntax (`SERF_LOG=memberlist=debug,serf=warn`): a directive with a
//! target wins over the level for that target, one without replaces the level. TRACE exists only
//! where the terminal shows it.

use super::feed::{Shared, SubscriberId, Subscription};
use super::line::{Entry, LogLine};
use super::syslog::{Syslog, SyslogOptions};
use super::writer::{Command, Format, Writer};
use super::zone::Zone;
use crate::channel::{self, Sender};
use crossbeam_channel::{Receiver, TrySendError, bounded};
use log::{Level, LevelFilter, Log, Metadata, Record};
use std::fmt;
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, SystemTime};

/// Lines that may wait for the log thread; further ones are dropped and counted.
pub const QUEUE_LINES: usize = 1024;
/// The most bytes of these lines.
pub const MAX_QUEUE_BYTES: usize = 512 * 1024;
/// DEBUG and TRACE lines are dropped on their way to the terminal when this many wait: a flood of them must not cost an ERR.
const QUEUE_LINES_FOR_DEBUG: usize = QUEUE_LINES / 2;
/// The stack of the log thread, in bytes of address space.
const STACK: usize = 256 * 1024;
/// How long [`LoggerHandle::say`] may wait for room in the queue.
const SAY_PATIENCE: Duration = Duration::from_millis(250);

/// What a logger starts with.
#[derive(Clone, Debug)]
pub struct LogOptions {
    /// The least important level that the terminal shows. Changeable at run time.
    pub level: LevelFilter,
    /// Refinements in `env_logger`'s syntax, normally the value of `SERF_LOG`.
    pub directives: Option<String>,
    /// The terminal's format.
    pub format: Format,
    /// Whether lines are held back until [`LoggerHandle::open_gate`].
    pub gated: bool,
    /// Where syslog listens and how it files the lines, if they go there as well.
    pub syslog: Option<SyslogOptions>,
}

impl Default for LogOptions {
    fn default() -> Self {
        LogOptions {
            level: LevelFilter::Info,
            directives: None,
            format: Format::Serf,
            gated: false,
            syslog: None,
        }
    }
}

/// Why no logger could be installed.
#[derive(Debug)]
pub enum InstallError {
    /// This process has a logger already.
    Taken,
    /// The log thread could not be started.
    Thread(io::Error),
    /// Syslog does not listen.
    Syslog(io::Error),
}

impl fmt::Display for InstallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            InstallError::Taken => f.write_str("Failed to start the log: this process has one already"),
            InstallError::Thread(error) => write!(f, "Failed to start the log thread: {error}"),
            InstallError::Syslog(error) => write!(f, "Syslog setup failed: {error}"),
        }
    }
}

impl std::error::Error for InstallError {}

/// The sink of the `log` facade.
pub struct Logger {
    queue: Sender<Command>,
    shared: Arc<Shared>,
}

/// Steers the logger: the gate, the level, the subscribers, and the end. Cloning is cheap.
#[derive(Clone)]
pub struct LoggerHandle {
    queue: Sender<Command>,
    shared: Arc<Shared>,
    directives: Arc<Option<String>>,
    /// Never carries anything; it closes when the thread has ended.
    ended: Receiver<()>,
}

impl Logger {
    /// Starts the log thread on standard output and makes this the logger of the process.
    ///
    /// Standard output, because that is where Serf's agent logs. From then on nothing else should
    /// write there: see [`LoggerHandle::say`].
    pub fn install(options: LogOptions) -> Result<LoggerHandle, InstallError> {
        let (logger, handle) = Logger::start(options, io::stdout())?;
        log::set_boxed_logger(Box::new(logger)).map_err(|_| InstallError::Taken)?;
        handle.shared.make_global();
        Ok(handle)
    }

    /// Starts the log thread on `terminal`, without making this the logger of the process.
    pub fn start(
        options: LogOptions,
        terminal: impl Write + Send + 'static,
    ) -> Result<(Logger, LoggerHandle), InstallError> {
        let syslog = options.syslog.map(Syslog::connect).transpose().map_err(InstallError::Syslog)?;
        let (queue, commands) = channel::weighed(QUEUE_LINES, MAX_QUEUE_BYTES, Command::weight);
        let (alive, ended) = bounded(0);
        let filter = build_filter(options.level, options.directives.as_deref());
        let shared = Arc::new(Shared::new(filter, !options.gated, Zone::of_process()));
        let terminal = Box::new(terminal);
        let writer = Writer::new(commands, shared.clone(), terminal, options.format, syslog);
        let thread = std::thread::Builder::new().name("serf-log".into()).stack_size(STACK).spawn(move || {
            writer.run();
            drop(alive);
        });
        thread.map_err(InstallError::Thread)?;
        let handle = LoggerHandle {
            queue: queue.clone(),
            shared: shared.clone(),
            directives: Arc::new(options.directives),
            ended,
        };
        Ok((Logger { queue, shared }, handle))
    }
}

#[cfg(test)]
impl Logger {
    /// Whether the log thread has taken everything that was handed to it.
    pub(super) fn queue_is_empty(&self) -> bool {
        self.queue.len() == 0
    }
}

impl Log for Logger {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        self.shared.takes_down(metadata.level())
    }

    // The time of a line is a fact for people to read; no rule ever sees it.
    #[allow(clippy::disallowed_methods)]
    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let Some(shown) = self.shared.take_down(Entry::new(record, SystemTime::now())) else { return };
        let has_room = record.level() < Level::Debug || self.queue.len() < QUEUE_LINES_FOR_DEBUG;
        if !has_room || self.queue.try_send(Command::Line(shown)).is_err() {
            self.shared.count_drop();
        }
    }

    /// Does nothing, because no thread that logs may wait; [`LoggerHandle::stop`] writes what is left.
    fn flush(&self) {}
}

impl LoggerHandle {
    /// Writes `text` to the terminal as it is, in order with the log lines and past the gate.
    ///
    /// For the banner and the `==>` lines: the terminal may be a pipe that nobody reads, and only
    /// the log thread may find that out. Waits a quarter of a second at most for room.
    pub fn say(&self, text: impl Into<String>) {
        if self.queue.send_within(Command::Say(text.into()), SAY_PATIENCE).is_err() {
            self.shared.count_drop();
        }
    }

    /// Lets the lines that were held back, and all that follow, through to the terminal.
    pub fn open_gate(&self) {
        let (queue, flag) = (&self.queue, &self.shared.gate_open);
        // Through the queue, so that what was said before comes before. If the queue is full, the
        // thread has enough to do to notice the flag soon.
        if let Err(TrySendError::Full(_)) = queue.try_send(Command::OpenGate) {
            flag.store(true, Ordering::Release);
        }
    }

    /// Changes the least important level that the terminal shows. Directives stay in force.
    pub fn set_level(&self, level: LevelFilter) {
        self.shared.set_filter(build_filter(level, self.directives.as_deref()));
    }

    /// Gives every further line up to a level to `subscriber`, on the thread that logs it, and returns the
    /// recent ones: together they are all lines, none twice.
    ///
    /// `subscriber` must not block, must not log, and must not call this handle. The recent lines are of all
    /// levels down to DEBUG; choose by [`LogLine::level`].
    pub fn subscribe(
        &self,
        up_to: LevelFilter,
        subscriber: impl Fn(&Arc<LogLine>) + Send + 'static,
    ) -> Subscription {
        self.shared.subscribe(up_to, Box::new(subscriber))
    }

    /// Ends a subscription. When this returns, the subscriber has been dropped.
    pub fn unsubscribe(&self, id: SubscriberId) {
        self.shared.unsubscribe(id);
    }

    /// The last lines, oldest first, [`RECENT_LINES`](super::RECENT_LINES) at most.
    pub fn recent(&self) -> Vec<Arc<LogLine>> {
        self.shared.recent()
    }

    /// Opens the gate, writes everything that was logged before this call, and ends the thread.
    ///
    /// Returns whether that was done within `patience`; a terminal that blocks cannot hold up the
    /// end of the process. Lines logged later are dropped.
    // Part of ending the process; the wait is bounded whatever the clock says.
    #[allow(clippy::disallowed_methods)]
    pub fn stop(&self, patience: Duration) -> bool {
        let started = Instant::now();
        // A second call finds the queue closed, and the thread ended.
        if let Err(TrySendError::Full(_)) = self.queue.send_within(Command::Stop, patience) {
            return false;
        }
        let left = patience.saturating_sub(started.elapsed());
        matches!(self.ended.recv_timeout(left), Err(crossbeam_channel::RecvTimeoutError::Disconnected))
    }
}

/// The terminal's filter: directives refine the level.
fn build_filter(level: LevelFilter, directives: Option<&str>) -> env_logger::Logger {
    let mut builder = env_logger::Builder::new();
    // Every wait of every loop would be a line at TRACE.
    builder.filter_level(level).filter_module("mio", level.min(LevelFilter::Info));
    if let Some(directives) = directives {
        builder.parse_filters(directives);
    }
    builder.build()
}
