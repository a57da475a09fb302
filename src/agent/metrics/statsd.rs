//! Reports to statsd: lines in datagrams. What is lost is lost, and counted where we notice.

use super::receiver::resolve;
use crate::telemetry::counters;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, UdpSocket};

/// The most bytes in a datagram: what fits an Ethernet frame with room to spare, as with Serf.
pub(crate) const MAX_DATAGRAM: usize = 1400;

/// A receiver of datagrams.
pub(crate) struct Statsd {
    receiver: String,
    socket: Option<UdpSocket>,
}

impl Statsd {
    /// Sends to `receiver`, `host:port`. It is looked up with the first report, and again whenever
    /// it could not be sent to.
    pub(crate) fn new(receiver: String) -> Statsd {
        Statsd { receiver, socket: None }
    }

    /// Sends lines, as many in each datagram as fit.
    pub(crate) fn send(&mut self, lines: &[String]) -> io::Result<()> {
        let mut result = Ok(());
        for (datagram, count) in pack(lines) {
            if let Err(e) = self.send_one(datagram.as_bytes()) {
                // It may have moved.
                self.socket = None;
                counters::METRICS_UNSENT.add(count);
                result = Err(e);
            }
        }
        result
    }

    fn send_one(&mut self, datagram: &[u8]) -> io::Result<()> {
        let socket = match &mut self.socket {
            Some(socket) => socket,
            none => none.insert(open(&self.receiver)?),
        };
        socket.send(datagram).map(drop)
    }
}

fn open(receiver: &str) -> io::Result<UdpSocket> {
    let addr = resolve(receiver)?;
    let socket = match addr.is_ipv4() {
        true => UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?,
        false => UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0))?,
    };
    socket.connect(addr)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// Whole lines, each with its end, in pieces that fit datagrams; and how many lines each has.
fn pack(lines: &[String]) -> Vec<(String, usize)> {
    let mut datagrams: Vec<(String, usize)> = Vec::new();
    for line in lines {
        match datagrams.last_mut() {
            Some((datagram, count)) if datagram.len() + line.len() < MAX_DATAGRAM => {
                datagram.push_str(line);
                datagram.push('\n');
                *count += 1;
            }
            _ => datagrams.push((format!("{line}\n"), 1)),
        }
    }
    datagrams
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn datagrams_hold_whole_lines_and_no_more_than_they_may() {
        let lines: Vec<String> = (0..500).map(|i| format!("{}:{i}|c", "x".repeat(i % 90))).collect();
        let datagrams = pack(&lines);
        assert!(datagrams.iter().all(|(d, _)| d.len() <= MAX_DATAGRAM && d.ends_with('\n')));
        let again: Vec<&str> = datagrams.iter().flat_map(|(d, _)| d.lines()).collect();
        assert_eq!(again, lines);
        assert_eq!(datagrams.iter().map(|(_, n)| n).sum::<usize>(), 500);
        assert!(datagrams.len() < 25, "and they are filled: {}", datagrams.len());
    }

    #[test]
    fn a_receiver_that_comes_back_is_found_again() {
        let listener = UdpSocket::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let mut statsd = Statsd::new(addr.to_string());
        drop(listener);
        let line = ["a:1|c".to_string()];
        // The first goes out; the kernel reports the refusal with the next, or the one after.
        assert!((0..100).any(|_| statsd.send(&line).is_err()));
        let listener = UdpSocket::bind(addr).unwrap();
        listener.set_read_timeout(Some(std::time::Duration::from_secs(10))).unwrap();
        statsd.send(&line).unwrap();
        let mut buffer = [0; 100];
        assert_eq!(listener.recv(&mut buffer).unwrap(), 6);
    }
}
