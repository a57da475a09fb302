//! The thread `serf-probe`: the heartbeat by which others judge this process. It answers pings,
//! probes, and applies what datagrams say.
//!
//! Architecture invariant: it never waits for anyone but its own socket and its own deadlines.

use super::datagrams::DatagramSender;
use super::refusals;
use crate::agent::channels::{Channels, ToEvents, ToProbe};
use crate::agent::clock::Clock;
use crate::agent::table::SharedTable;
use crate::agent::thread::{Actor, Stop, wait};
use crate::membership::{Prober, StreamPing, Transmit};
use crate::model::Moment;
use crate::node::heartbeat::{self, Batch, HeartbeatTurn};
use crate::node::table::Outgoing;
use crate::telemetry::{RateLimit, counters, metrics};
use crate::wire::datagram::MAX_DATAGRAM;
use crate::wire::envelope::Envelope;
use crate::wire::message::{Message, SerfMessage};
use crate::wire::{self, Dialect, Shared, WireError};
use crossbeam_channel::Receiver;
use fastrand::Rng;
use log::Level;
use mio::net::UdpSocket;
use mio::{Events, Poll, Token};
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

/// Token of the socket in the thread's poll.
pub(crate) const SOCKET: Token = Token(0);
/// Token of the waker in the thread's poll.
pub(crate) const WAKER: Token = Token(1);

/// How many datagrams are applied at once, so that a flood does not keep the table locked.
const BATCH: usize = 64;

/// The thread's state.
pub(crate) struct ProbeActor {
    /// Registered with the socket and the waker.
    pub poll: Poll,
    /// The receiving side.
    pub socket: Arc<UdpSocket>,
    /// The sending side.
    pub sender: DatagramSender,
    /// What datagrams must come in.
    pub envelope: Envelope,
    /// The one dialect that is read, if it is only one.
    pub only: Option<Dialect>,
    /// The table.
    pub table: SharedTable,
    /// The rules.
    pub prober: Prober,
    /// What other threads say.
    pub messages: Receiver<ToProbe>,
    /// News for datagrams that are sent anyway.
    pub piggyback: Receiver<Vec<Shared>>,
    /// To the other threads.
    pub channels: Channels,
    /// Time.
    pub clock: Clock,
    /// The thread's own random source.
    pub rng: Rng,
    /// About datagrams, by the address they came from.
    pub complaints: RateLimit<IpAddr>,
}

impl Actor for ProbeActor {
    const NAME: &'static str = "serf-probe";

    fn run(mut self, stop: &Stop) {
        let mut events = Events::with_capacity(4);
        let mut buffer = vec![0; MAX_DATAGRAM];
        // Whether the socket may hold more: mio reports it only once.
        let mut readable = true;
        loop {
            let deadline = self.prober.plan(&self.table.read().members, self.clock.now());
            let timeout = if readable { Some(Duration::ZERO) } else { self.clock.until(deadline) };
            if !wait(Self::NAME, &mut self.poll, &mut events, timeout) || stop.is_raised() {
                return;
            }
            readable |= events.iter().any(|e| e.token() == SOCKET);
            let mut batch = Batch { stream_pings: self.take_messages(), ..Batch::default() };
            if readable {
                readable = self.receive(&mut buffer, &mut batch.messages);
            }
            self.apply(batch, deadline);
        }
    }
}

impl ProbeActor {
    /// What has become of TCP pings.
    fn take_messages(&self) -> Vec<(u32, StreamPing)> {
        let result = |message| match message {
            ToProbe::StreamPingDone { seq_no, outcome } => Some((seq_no, outcome)),
            ToProbe::TableChanged => None,
        };
        self.messages.try_iter().filter_map(result).collect()
    }

    /// Reads up to [`BATCH`] datagrams. Says whether there may be more.
    fn receive(&mut self, buffer: &mut [u8], batch: &mut Vec<(SocketAddr, Message)>) -> bool {
        for _ in 0..BATCH {
            match self.socket.recv_from(buffer) {
                Ok((len, from)) => {
                    counters::DATAGRAMS_RECEIVED.inc();
                    counters::DATAGRAM_BYTES_RECEIVED.add(len);
                    let bytes = buffer.get_mut(..len).unwrap_or_default();
                    let content = self.envelope.unwrap_datagram(bytes);
                    let read = content.and_then(|content| {
                        wire::read_datagram(content, self.only, |message, len| {
                            if message.is_serf_message() {
                                metrics::SERF_BYTES_RECEIVED.record_size(len);
                            }
                            batch.push((from, message));
                        })
                    });
                    if let Err(e) = read {
                        self.refuse(from, &e);
                    }
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return false,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => {
                    // An ICMP error about something we sent; the next read reports the next.
                    let anyone = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
                    if let Some(passed) = self.complaints.pass(anyone, "read", self.clock.now()) {
                        log::debug!(target: "memberlist", "Error when reading datagrams: {e}{passed}");
                    }
                }
            }
        }
        true
    }

    fn refuse(&mut self, from: SocketAddr, why: &WireError) {
        refusals::count(why);
        if let Some(passed) = self.complaints.pass(from.ip(), refusals::cause(why), self.clock.now()) {
            let level = if why.is_other_cluster() { Level::Warn } else { Level::Debug };
            let hint = refusals::hint(why);
            log::log!(target: "memberlist", level, "Ignoring a datagram from {from}: {why}{hint}{passed}");
        }
    }

    /// Takes a batch in. Serf's messages alone change nothing in the table, so that it stays unlocked
    /// unless something is due by now.
    fn apply(&mut self, mut batch: Batch, deadline: Moment) {
        if self.clock.now() < deadline {
            match batch.into_serf() {
                Ok(serf) => return self.pass_on(serf),
                Err(mixed) => batch = mixed,
            }
        }
        let HeartbeatTurn { out, serf } = {
            let mut table = self.table.write();
            let now = self.clock.now();
            heartbeat::turn(&mut self.prober, batch, &mut table, now, &mut self.rng)
        };
        self.pass_on(serf);
        self.carry_out(out);
    }

    /// Hands Serf's messages to `serf-events`.
    fn pass_on(&self, serf: Vec<SerfMessage>) {
        let count = serf.len();
        if count > 0 && self.channels.events.try_send(ToEvents::Serf(serf)).is_err() {
            counters::NEWS_DROPPED.add(count);
        }
    }

    fn carry_out(&mut self, out: Outgoing) {
        self.channels.wake(out.gossip, out.events);
        self.channels.request(out.streams);
        for transmit in &out.transmits {
            self.transmit(transmit);
        }
    }

    fn transmit(&mut self, transmit: &Transmit) {
        let news =
            if transmit.piggybacks { self.piggyback.try_recv().unwrap_or_default() } else { Vec::new() };
        let failed = self.sender.transmit(transmit, &news).is_err();
        if let (true, Some(seq_no)) = (failed, transmit.probe) {
            self.prober.send_failed(seq_no, self.clock.now());
        }
    }
}
