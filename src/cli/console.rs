//! Where commands print: standard output and error, and how a command ends.
//!
//! A reader that goes away (`serf members | head -1`) is no error, so every write to standard
//! output returns what a command passes on with `?`.

use super::reader::Reader;
use std::fmt;
use std::io::{self, IsTerminal, Write};

/// How a command that did not succeed ends.
#[derive(Debug)]
pub(super) enum Failure {
    /// The reader of standard output has seen enough. Nothing went wrong.
    ReaderGone,
    /// Standard output cannot be written (a full disk, most likely).
    Output(io::Error),
    /// What went wrong is the result, and has been printed.
    Printed,
    /// Something went wrong; the text says what.
    Message(String),
    /// The command was called in a wrong way; the text says what is missing, and follows the usage.
    Misuse(String),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Failure {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Failure::ReaderGone,
            _ => Failure::Output(error),
        }
    }
}

impl Failure {
    /// `context: error`, on one line of standard error.
    pub(super) fn message(context: &str, error: impl fmt::Display) -> Failure {
        Failure::Message(format!("{context}: {error}"))
    }
}

/// The two streams of a program.
pub(super) struct Console<'a> {
    out: &'a mut dyn Write,
    err: &'a mut dyn Write,
    terminal: bool,
    error_terminal: bool,
    colour: bool,
}

impl<'a> Console<'a> {
    /// Prints to these streams, for programs: no colours.
    pub(super) fn new(out: &'a mut dyn Write, err: &'a mut dyn Write) -> Console<'a> {
        Console { out, err, terminal: false, error_terminal: false, colour: false }
    }

    /// Prints to the streams of the process. Colours are used on a terminal that can show them
    /// unless `NO_COLOR` is set (<https://no-color.org>).
    pub(super) fn of_process(out: &'a mut io::Stdout, err: &'a mut io::Stderr) -> Console<'a> {
        let terminal = out.is_terminal();
        let set = |name| std::env::var_os(name).is_some_and(|v| !v.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|v| v == "dumb");
        let colour = terminal && !dumb && !set("NO_COLOR");
        let error_terminal = err.is_terminal();
        Console { terminal, error_terminal, colour, ..Console::new(out, err) }
    }

    /// What reads standard output.
    pub(super) fn reader(&self) -> Reader {
        Reader::of(self.terminal)
    }

    /// What reads standard error.
    pub(super) fn error_reader(&self) -> Reader {
        Reader::of(self.error_terminal)
    }

    /// Whether that person's terminal may be sent colours.
    pub(super) fn has_colour(&self) -> bool {
        self.colour
    }

    /// Prints a text and a line break.
    pub(super) fn line(&mut self, text: impl AsRef<[u8]>) -> Result<(), Failure> {
        // One write: what a terminal or a pipe gets is whole lines.
        let mut line = text.as_ref().to_vec();
        line.push(b'\n');
        self.out.write_all(&line)?;
        self.out.flush()?;
        Ok(())
    }

    /// Prints a text and a line break to standard error. If even that fails there is nobody
    /// left to report it to.
    pub(super) fn error(&mut self, text: impl AsRef<[u8]>) {
        let mut line = text.as_ref().to_vec();
        line.push(b'\n');
        let _ = self.err.write_all(&line);
        let _ = self.err.flush();
    }
}
