//! Log lines on their way to syslog, on the log thread: RFC 3164 over the socket of this host.
//!
//! It never waits. A socket that is gone or takes nothing costs lines, which are counted; it is
//! opened again, at most once a second.
#![allow(clippy::disallowed_methods, reason = "belongs to the log thread, which does its own I/O")]

use super::counters;
use super::facility::Facility;
use super::line::Entry;
use super::zone::Zone;
use log::Level;
use mio::net::UnixStream;
use std::io::{self, Write};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Where syslog listens on Linux.
pub const SYSLOG_SOCKET: &str = "/dev/log";
/// What the lines are marked with.
const TAG: &str = "serf";
/// Between attempts to open the socket again.
const RETRY: Duration = Duration::from_secs(1);

/// Where syslog listens and how it files the lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyslogOptions {
    /// Its socket, normally [`SYSLOG_SOCKET`].
    pub socket: PathBuf,
    /// Where it files what it gets.
    pub facility: Facility,
}

/// A connection to syslog.
#[derive(Debug)]
pub(super) struct Syslog {
    options: SyslogOptions,
    socket: Option<Socket>,
    retry_at: Instant,
}

#[derive(Debug)]
enum Socket {
    Datagram(UnixDatagram),
    Stream(UnixStream),
}

impl Syslog {
    /// Connects; fails if nobody listens.
    pub(super) fn connect(options: SyslogOptions) -> io::Result<Syslog> {
        let socket = Some(Socket::open(&options.socket)?);
        Ok(Syslog { options, socket, retry_at: Instant::now() })
    }

    /// Sends a line, or counts it as lost.
    pub(super) fn write(&mut self, entry: &Entry, zone: &Zone) {
        let line = render(entry, zone, self.options.facility);
        let mut sent = self.socket.as_mut().is_some_and(|socket| settled(socket.send(&line)));
        if !sent {
            // Syslog was restarted, most likely; the new one has a new socket.
            self.socket = None;
            self.reopen();
            sent = self.socket.as_mut().is_some_and(|socket| settled(socket.send(&line)));
        }
        if !sent {
            counters::SYSLOG_LINES_DROPPED.inc();
        }
    }

    fn reopen(&mut self) {
        let now = Instant::now();
        if now >= self.retry_at {
            self.retry_at = now + RETRY;
            self.socket = Socket::open(&self.options.socket).ok();
        }
    }
}

/// Whether the socket is still good. One that takes nothing right now has cost this line only.
fn settled(sent: io::Result<()>) -> bool {
    match sent {
        Ok(()) => true,
        Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
            counters::SYSLOG_LINES_DROPPED.inc();
            true
        }
        Err(_) => false,
    }
}

impl Socket {
    fn open(path: &Path) -> io::Result<Socket> {
        let datagram = UnixDatagram::unbound()?;
        datagram.set_nonblocking(true)?;
        match datagram.connect(path) {
            Ok(()) => Ok(Socket::Datagram(datagram)),
            // Somebody listens there, for streams.
            Err(e) if e.raw_os_error() == Some(rustix::io::Errno::PROTOTYPE.raw_os_error()) => {
                // Does not wait, unlike that of the standard library.
                UnixStream::connect(path).map(Socket::Stream)
            }
            Err(e) => Err(io::Error::new(e.kind(), format!("{}: {e}", path.display()))),
        }
    }

    fn send(&mut self, line: &str) -> io::Result<()> {
        match self {
            Socket::Datagram(socket) => socket.send(line.as_bytes()).map(drop),
            Socket::Stream(socket) => {
                let bytes = line.as_bytes();
                match socket.write(bytes)? {
                    n if n == bytes.len() => Ok(()),
                    // The rest would have to wait, and half a line would garble the next.
                    _ => Err(io::ErrorKind::WriteZero.into()),
                }
            }
        }
    }
}

/// The line as Serf sends it: priority, time, tag and process, then component and message.
fn render(entry: &Entry, zone: &Zone, facility: Facility) -> String {
    let priority = u32::from(facility.code()) * 8 + severity(entry.level);
    let mut time = String::with_capacity(16);
    zone.syslog_stamp(entry.unix, &mut time);
    format!("<{priority}>{time} {TAG}[{}]: {}: {}\n", std::process::id(), entry.target, entry.message)
}

/// Serf's mapping, in which INFO is a notice.
fn severity(level: Level) -> u32 {
    match level {
        Level::Error => 3,
        Level::Warn => 4,
        Level::Info => 5,
        Level::Debug => 6,
        Level::Trace => 7,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::os::unix::net::UnixListener;
    use std::time::{SystemTime, UNIX_EPOCH};

    const PATIENCE: Duration = Duration::from_secs(10);

    struct SyslogPlace(PathBuf);

    impl SyslogPlace {
        fn new(name: &str) -> SyslogPlace {
            let path = std::env::temp_dir().join(format!("serf-syslog-{}-{name}", std::process::id()));
            let _ = std::fs::remove_file(&path);
            SyslogPlace(path)
        }

        fn listen(&self) -> UnixDatagram {
            let _ = std::fs::remove_file(&self.0);
            let listener = UnixDatagram::bind(&self.0).unwrap();
            listener.set_read_timeout(Some(PATIENCE)).unwrap();
            listener
        }

        fn connect(&self) -> io::Result<Syslog> {
            let facility = "DAEMON".parse().unwrap();
            Syslog::connect(SyslogOptions { socket: self.0.clone(), facility })
        }
    }

    impl Drop for SyslogPlace {
        fn drop(&mut self) {
            let _ = std::fs::remove_file(&self.0);
        }
    }

    fn entry(level: Level, message: &str) -> Entry {
        let at = UNIX_EPOCH + Duration::from_secs(1_795_362_094);
        Entry::from_parts(level, "agent", format_args!("{message}"), at)
    }

    fn received(listener: &UnixDatagram) -> String {
        let mut buffer = [0; 8192];
        let n = listener.recv(&mut buffer).unwrap();
        String::from_utf8(buffer[..n].to_vec()).unwrap()
    }

    #[test]
    fn lines_are_those_of_serf() {
        let place = SyslogPlace::new("lines");
        assert!(place.connect().is_err(), "nobody listens yet");
        let listener = place.listen();
        let mut syslog = place.connect().unwrap();
        let zone = Zone::of_process();
        let levels = [Level::Error, Level::Warn, Level::Info, Level::Debug, Level::Trace];
        for (level, priority) in levels.into_iter().zip([27, 28, 29, 30, 31]) {
            syslog.write(&entry(level, "Serf agent starting"), &zone);
            let line = received(&listener);
            let end = format!(" serf[{}]: agent: Serf agent starting\n", std::process::id());
            assert!(line.starts_with(&format!("<{priority}>Nov 2")) && line.ends_with(&end), "{line}");
        }
    }

    #[test]
    fn a_restarted_syslog_is_found_again() {
        let place = SyslogPlace::new("restarted");
        let first = place.listen();
        let mut syslog = place.connect().unwrap();
        drop(first);
        let second = place.listen();
        syslog.write(&entry(Level::Info, "still here"), &Zone::of_process());
        assert!(received(&second).contains("still here"));
    }

    #[test]
    fn a_missing_or_stuck_syslog_costs_lines_and_never_time() {
        let place = SyslogPlace::new("stuck");
        let listener = place.listen();
        let mut syslog = place.connect().unwrap();
        let before = counters::SYSLOG_LINES_DROPPED.value();
        let started = SystemTime::now();
        // Nobody reads: the kernel keeps a few.
        for _ in 0..2000 {
            syslog.write(&entry(Level::Info, "into the void"), &Zone::of_process());
        }
        assert!(counters::SYSLOG_LINES_DROPPED.value() > before);
        let _ = std::fs::remove_file(&place.0);
        drop(listener);
        let before = counters::SYSLOG_LINES_DROPPED.value();
        for _ in 0..2000 {
            syslog.write(&entry(Level::Info, "into the void"), &Zone::of_process());
        }
        assert!(counters::SYSLOG_LINES_DROPPED.value() >= before + 2000);
        assert!(started.elapsed().unwrap() < PATIENCE);
    }

    #[test]
    fn falls_back_to_a_stream() {
        let place = SyslogPlace::new("stream");
        let listener = UnixListener::bind(&place.0).unwrap();
        let mut syslog = place.connect().unwrap();
        syslog.write(&entry(Level::Warn, "over a stream"), &Zone::of_process());
        let (mut stream, _) = listener.accept().unwrap();
        drop(syslog);
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        assert!(text.starts_with("<28>") && text.ends_with(": agent: over a stream\n"), "{text}");
    }
}
