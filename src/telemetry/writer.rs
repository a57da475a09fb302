//! The thread `serf-log`: the only one that writes to the terminal, and to syslog.
//!
//! It may block there for as long as the reader of a pipe likes. Nobody waits for it; lines that
//! find its queue full are counted, and it says how many there were when it catches up.

use super::counters;
use super::feed::Shared;
use super::line::Entry;
use super::syslog::Syslog;
use super::target;
use crate::channel::Receiver;
use log::Level;
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::SystemTime;

/// Lines that the gate holds back; further ones are dropped and counted.
pub const HELD_LINES: usize = 4096;
/// Under a backlog, lines are written together up to about this many bytes.
const WRITE_SIZE: usize = 16 * 1024;

/// How lines look on the terminal. Monitors always see Serf's form.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// As Serf writes them, indented by four spaces.
    #[default]
    Serf,
    /// One JSON object a line, not indented.
    Json,
}

/// What the thread is woken for.
pub(super) enum Command {
    /// A line that the terminal shows was logged.
    Line(Arc<Entry>),
    /// Text for the terminal alone.
    Say(String),
    /// Hold nothing back any more.
    OpenGate,
    /// Write everything and end.
    Stop,
}

impl Command {
    /// How much memory it takes, about.
    pub(super) fn weight(&self) -> usize {
        match self {
            Command::Line(entry) => entry.memory(),
            Command::Say(text) => text.len(),
            Command::OpenGate | Command::Stop => 0,
        }
    }
}

pub(super) struct Writer {
    commands: Receiver<Command>,
    shared: Arc<Shared>,
    terminal: Box<dyn Write + Send>,
    format: Format,
    syslog: Option<Syslog>,
    /// Lines that wait for the gate to open, without line ends.
    held: Vec<String>,
    /// Lines that the gate had no room for.
    unheld: usize,
    /// Bytes that are about to be written.
    pending: Vec<u8>,
}

impl Writer {
    pub(super) fn new(
        commands: Receiver<Command>,
        shared: Arc<Shared>,
        terminal: Box<dyn Write + Send>,
        format: Format,
        syslog: Option<Syslog>,
    ) -> Writer {
        let (held, pending) = Default::default();
        Writer { commands, shared, terminal, format, syslog, held, unheld: 0, pending }
    }

    /// Writes until asked to stop, or until no logger is left.
    pub(super) fn run(mut self) {
        while let Ok(command) = self.commands.recv() {
            let mut next = Some(command);
            // Take what is waiting anyway: one write for many lines.
            while let Some(command) = next {
                if !self.handle(command) {
                    return self.finish();
                }
                if self.pending.len() >= WRITE_SIZE {
                    self.write();
                }
                next = self.commands.try_recv().ok();
            }
            self.report_drops();
            self.write();
        }
        self.finish();
    }

    /// Returns whether to go on.
    fn handle(&mut self, command: Command) -> bool {
        self.check_gate();
        match command {
            Command::Line(entry) => self.line(&entry),
            Command::Say(text) => self.say(&text),
            Command::OpenGate => {
                self.shared.gate_open.store(true, Ordering::Release);
                self.check_gate();
            }
            Command::Stop => return false,
        }
        true
    }

    /// Writes what surrounds the log. Where lines are objects, so is this, without its decoration.
    // The time of a line is a fact for people to read.
    #[allow(clippy::disallowed_methods)]
    fn say(&mut self, text: &str) {
        match self.format {
            Format::Serf => self.put("", text),
            Format::Json => {
                let plain = text.trim_start_matches("==>").trim();
                if !plain.is_empty() {
                    let at = SystemTime::now();
                    let entry = Entry::from_parts(Level::Info, target::AGENT, format_args!("{plain}"), at);
                    self.put("", &entry.render_json());
                }
            }
        }
    }

    fn line(&mut self, entry: &Entry) {
        // The gate is for the terminal's banner only.
        if let Some(syslog) = &mut self.syslog {
            syslog.write(entry, &self.shared.zone);
        }
        let shown = match self.format {
            Format::Serf => entry.render(&self.shared.zone).text,
            Format::Json => entry.render_json(),
        };
        if self.shared.gate_open.load(Ordering::Acquire) {
            self.put(self.indent(), &shown);
        } else if self.held.len() < HELD_LINES {
            self.held.push(shown);
        } else {
            self.unheld += 1;
            counters::LOG_LINES_DROPPED.inc();
        }
    }

    fn indent(&self) -> &'static str {
        match self.format {
            Format::Serf => "    ",
            Format::Json => "",
        }
    }

    fn put(&mut self, indent: &str, text: &str) {
        self.pending.extend_from_slice(indent.as_bytes());
        self.pending.extend_from_slice(text.as_bytes());
        self.pending.push(b'\n');
    }

    /// Releases what was held back once the gate is open.
    fn check_gate(&mut self) {
        if (self.held.is_empty() && self.unheld == 0) || !self.shared.gate_open.load(Ordering::Acquire) {
            return;
        }
        for line in std::mem::take(&mut self.held) {
            self.put(self.indent(), &line);
        }
        let unheld = std::mem::take(&mut self.unheld);
        if unheld > 0 {
            self.say_dropped(unheld);
        }
    }

    fn report_drops(&mut self) {
        let dropped = self.shared.dropped.swap(0, Ordering::Relaxed);
        if dropped > 0 {
            self.say_dropped(dropped);
        }
    }

    // The time of a line is a fact for people to read.
    #[allow(clippy::disallowed_methods)]
    fn say_dropped(&mut self, lines: usize) {
        let message = format_args!("{lines} log lines were dropped");
        let entry = Entry::from_parts(Level::Warn, target::AGENT, message, SystemTime::now());
        if let Some(entry) = self.shared.take_down(entry) {
            self.line(&entry);
        }
    }

    /// Whatever is still held or owed is written, even if start-up never got as far as the gate.
    fn finish(mut self) {
        self.shared.gate_open.store(true, Ordering::Release);
        self.check_gate();
        self.report_drops();
        self.write();
    }

    /// Writes what is pending. A terminal that went away costs the lines and nothing else.
    fn write(&mut self) {
        if self.pending.is_empty() {
            return;
        }
        let done = self.terminal.write_all(&self.pending).and_then(|()| self.terminal.flush());
        if done.is_err() {
            counters::LOG_WRITES_FAILED.inc();
        }
        self.pending.clear();
        // One burst must not keep its memory for ever.
        self.pending.shrink_to(2 * WRITE_SIZE);
    }
}
