//! Reports to statsite: lines on a TCP stream that is opened again when it breaks.

use super::receiver::resolve;
use super::tokens::STATSITE;
use crate::model::Moment;
use crate::telemetry::counters;
use mio::net::TcpStream;
use mio::{Interest, Poll};
use std::io::{self, Read, Write};
use std::time::Duration;

/// Bytes that may wait for the receiver; further lines are dropped and counted.
const MAX_WAITING: usize = 64 * 1024;
/// Before a broken stream is opened again; doubled with each failure.
const RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// A receiver at the other end of a stream.
pub(crate) struct Statsite {
    receiver: String,
    stream: Option<TcpStream>,
    /// What has not been sent yet.
    waiting: Vec<u8>,
    retry_at: Moment,
    retry_after: Duration,
}

impl Statsite {
    /// Sends to `receiver`, `host:port`.
    pub(crate) fn new(receiver: String) -> Statsite {
        Statsite { receiver, stream: None, waiting: Vec::new(), retry_at: Moment::ZERO, retry_after: RETRY.0 }
    }

    /// Queues lines, connects if need be, and sends what the receiver takes.
    pub(crate) fn send(&mut self, lines: &[String], poll: &Poll, now: Moment) -> io::Result<()> {
        for line in lines {
            if self.waiting.len() + line.len() < MAX_WAITING {
                self.waiting.extend_from_slice(line.as_bytes());
                self.waiting.push(b'\n');
            } else {
                counters::METRICS_UNSENT.inc();
            }
        }
        if self.stream.is_none() && now >= self.retry_at {
            self.retry_at = now + self.retry_after;
            self.retry_after = (self.retry_after * 2).min(RETRY.1);
            let mut stream = TcpStream::connect(resolve(&self.receiver)?)?;
            poll.registry().register(&mut stream, STATSITE, Interest::READABLE | Interest::WRITABLE)?;
            self.stream = Some(stream);
        }
        self.drive()
    }

    /// Sends what the receiver takes. An error ends the stream, and costs what was under way.
    pub(crate) fn drive(&mut self) -> io::Result<()> {
        let Some(stream) = &mut self.stream else { return Ok(()) };
        match flush(stream, &mut self.waiting) {
            Ok(true) => {
                self.retry_after = RETRY.0;
                Ok(())
            }
            Ok(false) => Ok(()),
            Err(e) => {
                // Dropping it takes it out of the poll. Nobody knows which of the lines under way
                // arrived, and half a line would garble what follows.
                self.stream = None;
                let lines = self.waiting.iter().filter(|byte| **byte == b'\n').count();
                counters::METRICS_UNSENT.add(lines);
                self.waiting.clear();
                Err(e)
            }
        }
    }
}

/// Returns whether something was sent.
fn flush(stream: &mut TcpStream, waiting: &mut Vec<u8>) -> io::Result<bool> {
    if let Some(e) = stream.take_error()? {
        return Err(e);
    }
    // It has nothing to say; its end is what this is for.
    let mut said = [0; 256];
    loop {
        match stream.read(&mut said) {
            Ok(0) => return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it closed the connection")),
            Ok(_) => {}
            Err(e) => match e.kind() {
                io::ErrorKind::WouldBlock | io::ErrorKind::NotConnected => break,
                io::ErrorKind::Interrupted => {}
                _ => return Err(e),
            },
        }
    }
    let mut sent = false;
    while !waiting.is_empty() {
        match stream.write(waiting) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(n) => {
                sent = true;
                waiting.drain(..n);
            }
            Err(e) => match e.kind() {
                io::ErrorKind::WouldBlock | io::ErrorKind::NotConnected => break,
                io::ErrorKind::Interrupted => {}
                _ => return Err(e),
            },
        }
    }
    Ok(sent)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn what_waits_for_a_silent_receiver_is_bounded() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let poll = Poll::new().unwrap();
        let mut statsite = Statsite::new(listener.local_addr().unwrap().to_string());
        let before = counters::METRICS_UNSENT.value();
        // Nobody reads. The kernel takes a few megabytes before it stops.
        let lines: Vec<String> = (0..1000).map(|i| format!("{}:{i}|c", "x".repeat(80))).collect();
        for _ in 0..500 {
            statsite.send(&lines, &poll, Moment::ZERO).unwrap();
            assert!(statsite.waiting.len() <= MAX_WAITING);
        }
        assert!(counters::METRICS_UNSENT.value() > before);
    }
}
