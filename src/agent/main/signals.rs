//! Signals, as bytes in pipes that the main thread polls.

use mio::net::UnixStream;
use mio::{Interest, Registry, Token};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1};
use std::io::{self, Read};

/// A signal that the agent acts on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Signal {
    /// Leave gracefully, unless configured otherwise.
    Interrupt,
    /// Stop without leaving, unless configured otherwise.
    Terminate,
    /// Reload the configuration.
    Hangup,
    /// Write the metrics to standard error.
    User1,
}

impl Signal {
    const ALL: [(Signal, i32); 4] = [
        (Signal::Interrupt, SIGINT),
        (Signal::Terminate, SIGTERM),
        (Signal::Hangup, SIGHUP),
        (Signal::User1, SIGUSR1),
    ];

    /// The name that Serf prints.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Signal::Interrupt => "interrupt",
            Signal::Terminate => "terminated",
            Signal::Hangup => "hangup",
            Signal::User1 => "user defined signal 1",
        }
    }
}

/// The receiving ends of the pipes.
#[derive(Debug)]
pub(crate) struct Signals {
    pipes: Vec<(Signal, UnixStream)>,
}

impl Signals {
    /// Takes the signals over from the system's default, from now on. Their tokens start at
    /// `first`.
    pub(crate) fn register(registry: &Registry, first: usize) -> io::Result<Signals> {
        let mut pipes = Vec::new();
        for (i, (signal, number)) in Signal::ALL.into_iter().enumerate() {
            let (read, write) = std::os::unix::net::UnixStream::pair()?;
            read.set_nonblocking(true)?;
            signal_hook::low_level::pipe::register(number, write)?;
            let mut read = UnixStream::from_std(read);
            registry.register(&mut read, Token(first + i), Interest::READABLE)?;
            pipes.push((signal, read));
        }
        Ok(Signals { pipes })
    }

    /// The signals that have come since the last call, each once.
    pub(crate) fn pending(&mut self) -> Vec<Signal> {
        let mut come = Vec::new();
        let mut buffer = [0; 64];
        for (signal, pipe) in &mut self.pipes {
            while let Ok(n) = pipe.read(&mut buffer) {
                if n == 0 {
                    break;
                }
                if !come.contains(signal) {
                    come.push(*signal);
                }
            }
        }
        come
    }
}
