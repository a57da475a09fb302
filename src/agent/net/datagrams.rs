//! Sending datagrams: the UDP socket as the threads use it, and what its errors mean.

use crate::agent::clock::Clock;
use crate::membership::{Config, Target, Transmit};
use crate::messaging::Datagram;
use crate::node::packing::pack;
use crate::telemetry::{RateLimit, counters};
use crate::wire::envelope::Envelope;
use crate::wire::{Dialect, Shared};
use mio::net::UdpSocket;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// The sending side of the agent's UDP socket. Never waits: what the kernel does not take at once
/// is dropped and counted, as the network would.
#[derive(Clone, Debug)]
pub(crate) struct DatagramSender {
    socket: Arc<UdpSocket>,
    config: Arc<Config>,
    envelope: Envelope,
    /// About datagrams that could not be sent, by the address they were for.
    complaints: Arc<Mutex<RateLimit<IpAddr>>>,
    clock: Clock,
}

/// Complaints about sending to one address: at most this many in this time.
const COMPLAINTS: (u32, Duration) = (5, Duration::from_secs(60));

impl DatagramSender {
    /// Sends through `socket` datagrams whose content is as large as `config` says, each in `envelope`.
    pub(crate) fn new(socket: Arc<UdpSocket>, config: Config, envelope: Envelope, clock: Clock) -> Self {
        let complaints = Arc::new(Mutex::new(RateLimit::new(COMPLAINTS.0, COMPLAINTS.1)));
        DatagramSender { socket, config: Arc::new(config), envelope, complaints, clock }
    }

    /// Sends one datagram.
    pub(crate) fn send(&self, datagram: &Datagram) -> io::Result<()> {
        self.send_to(datagram.to, &datagram.bytes)
    }

    /// Packs and sends messages, and as much news as still fits.
    pub(crate) fn transmit(&self, transmit: &Transmit, news: &[Shared]) -> io::Result<()> {
        match pack(transmit, news, &self.config) {
            Ok(content) => self.send_to(transmit.to, &content),
            Err(why) => {
                counters::DATAGRAMS_TOO_LARGE.inc();
                self.complain(transmit.to.addr, "size", || why.to_string());
                Err(io::ErrorKind::InvalidInput.into())
            }
        }
    }

    /// The one way out of this process, so that no datagram leaves without its envelope.
    fn send_to(&self, to: Target, content: &[u8]) -> io::Result<()> {
        let addr = to.addr;
        let wrapped = self.envelope.wrap_datagram(content).map_err(io::Error::other);
        let sent = wrapped.and_then(|bytes| self.socket.send_to(&bytes, addr));
        match sent {
            Ok(len) => {
                counters::DATAGRAMS_SENT.inc();
                match to.dialect {
                    Dialect::Native => counters::DATAGRAMS_SENT_NATIVE.inc(),
                    Dialect::Hashicorp => counters::DATAGRAMS_SENT_HASHICORP.inc(),
                }
                counters::DATAGRAM_BYTES_SENT.add(len);
                Ok(())
            }
            Err(e) => {
                counters::DATAGRAMS_UNSENT.inc();
                self.complain(addr, "unsent", || {
                    format!("Failed to send a datagram to {addr}: {e}{}", hint(&e))
                });
                Err(e)
            }
        }
    }

    /// Warns, unless that was done often of late. Never waits: two threads that have something to
    /// complain of at once need not both be heard.
    fn complain(&self, about: SocketAddr, kind: &'static str, text: impl FnOnce() -> String) {
        let Ok(mut complaints) = self.complaints.try_lock() else { return };
        if let Some(passed) = complaints.pass(about.ip(), kind, self.clock.now()) {
            log::warn!(target: "memberlist", "{}{passed}", text());
        }
    }
}

/// What an operator should look at when the kernel refuses to send.
pub(crate) fn hint(error: &io::Error) -> &'static str {
    match error.raw_os_error() {
        // EINVAL and ENOBUFS are what Linux says when its neighbour table is full.
        Some(22 | 105) => " (is the neighbour table full? see net.ipv4.neigh.default.gc_thresh3)",
        Some(1) => " (does a firewall rule reject it?)",
        Some(101 | 113) => " (is there a route?)",
        _ => "",
    }
}
