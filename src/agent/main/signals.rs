//! Signals: those that the agent acts on, as bytes in pipes that the main thread polls, and those that must
//! not end it.

use mio::net::UnixStream;
use mio::{Interest, Registry, Token};
use rustix::process::Signal as Number;
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1};
use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// Signals that end a process by default and mean nothing to this one. A timer or a limit that the agent has
/// inherited sends them, or somebody by mistake; HashiCorp's program survives them, too.
const MEANINGLESS: &[Number] = &[
    Number::USR2,
    Number::ALARM,
    Number::VTALARM,
    Number::PROF,
    Number::XCPU,
    // A write beyond the limit of file sizes fails then, as on a full disk.
    Number::XFSZ,
    Number::IO,
    #[cfg(target_os = "linux")]
    Number::POWER,
    #[cfg(all(
        target_os = "linux",
        any(target_arch = "x86_64", target_arch = "x86", target_arch = "aarch64", target_arch = "arm")
    ))]
    Number::STKFLT,
];

/// The numbers that real-time signals may have. The C library keeps the first two or three.
const REAL_TIME: std::ops::RangeInclusive<i32> = 32..=64;

/// Lets no signal end the process that means nothing to it.
///
/// They are caught by a handler that does nothing, and not ignored: the kernel gives caught ones back their
/// defaults in the scripts that the agent starts, but would leave them ignored there.
pub(crate) fn survive_meaningless() {
    let nothing = Arc::new(AtomicBool::new(false));
    for signal in MEANINGLESS.iter().map(|signal| signal.as_raw()).chain(REAL_TIME) {
        // What cannot be caught is the C library's own, or does not exist on this system.
        let _ = signal_hook::flag::register(signal, Arc::clone(&nothing));
    }
}

/// A signal that the agent acts on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Signal {
    /// Leave gracefully, unless configured otherwise.
    Interrupt,
    /// Stop without leaving, unless configured otherwise.
    Terminate,
    /// Stop without leaving, whatever is configured.
    Quit,
    /// Reload the configuration.
    Hangup,
    /// Write the metrics to standard error.
    User1,
}

impl Signal {
    const ALL: [(Signal, i32); 5] = [
        (Signal::Interrupt, SIGINT),
        (Signal::Terminate, SIGTERM),
        (Signal::Quit, SIGQUIT),
        (Signal::Hangup, SIGHUP),
        (Signal::User1, SIGUSR1),
    ];

    /// The name that Serf prints.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Signal::Interrupt => "interrupt",
            Signal::Terminate => "terminated",
            Signal::Quit => "quit",
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
