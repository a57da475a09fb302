//! The thread `serf-probe`: the heartbeat by which others judge this process. It answers pings,
//! probes, and applies what datagrams say.
//!
//! Architecture invariant: it never waits for anyone but its own socket and its own deadlines.

use super::backlog::Backlog;
use super::datagrams::DatagramSender;
use super::gossip::Depths;
use super::refusals;
use crate::agent::channels::{Channels, ToEvents, ToGossip, ToMain, ToProbe};
use crate::agent::clock::Clock;
use crate::agent::table::SharedTable;
use crate::agent::thread::{Actor, Stop, wait};
use crate::channel::Receiver;
use crate::membership::Transmit;
use crate::messaging::Gossip;
use crate::messaging::wave::Arrived;
use crate::node::heartbeat::{Batch, BeatContext, Heartbeat, HeartbeatTurn};
use crate::telemetry::{RateLimit, counters, metrics};
use crate::wire::datagram::MAX_DATAGRAM;
use crate::wire::envelope::Envelope;
use crate::wire::message::SerfMessage;
use crate::wire::{self, Dialect, Portion, Shared, WireError};
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
/// How many messages these may hold before the news of further datagrams waits: each takes many times its bytes.
const BATCH_MESSAGES: usize = 1024;
/// And how many bytes.
const BATCH_BYTES: usize = 96 * 1024;
/// What these take in memory, about, in bytes: the last datagram may bring as many again as fit one.
#[cfg(test)]
pub(crate) const MAX_BATCH_BYTES: usize = 768 * 1024;
/// How many of what waits are taken in before pings are looked for again: some milliseconds' worth.
const SLICE_MESSAGES: usize = 256;
/// How many datagrams are read at once, for the pings in them.
const READ_AT_ONCE: usize = 512;

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
    pub heartbeat: Heartbeat,
    /// The Lamport times, which `serf-events` keeps.
    pub depths: Arc<Depths>,
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
    /// Datagrams whose news has not been taken in.
    pub backlog: Backlog,
}

/// What is read for one batch.
#[derive(Default)]
struct Fill {
    datagrams: usize,
    messages: usize,
    bytes: usize,
}

impl Fill {
    fn is_full(&self) -> bool {
        self.datagrams >= BATCH || self.messages >= BATCH_MESSAGES || self.bytes >= BATCH_BYTES
    }

    /// The same between two looks at the socket.
    fn is_a_slice(&self) -> bool {
        self.is_full() || self.messages >= SLICE_MESSAGES
    }
}

impl Actor for ProbeActor {
    const NAME: &'static str = "serf-probe";

    fn run(mut self, stop: &Stop) {
        let mut events = Events::with_capacity(4);
        let mut buffer = vec![0; MAX_DATAGRAM];
        // Whether the socket may hold more: mio reports it only once.
        let mut readable = true;
        loop {
            let deadline = self.heartbeat.plan(&self.table.read().members, self.clock.now());
            let is_busy = readable || !self.backlog.is_empty();
            let timeout = if is_busy { Some(Duration::ZERO) } else { self.clock.until(deadline) };
            if !wait(Self::NAME, &mut self.poll, &mut events, timeout) {
                return;
            }
            let stopping = stop.is_raised();
            readable |= events.iter().any(|e| e.token() == SOCKET);
            let mut batch = self.take_messages();
            if readable && !stopping {
                readable = self.receive(&mut buffer, &mut batch);
            }
            self.apply(batch);
            if stopping {
                return;
            }
            if !self.backlog.is_empty() {
                let batch = self.next_of_backlog();
                self.apply(batch);
            }
        }
    }
}

impl ProbeActor {
    /// What other threads have to say.
    fn take_messages(&self) -> Batch {
        let mut batch = Batch::default();
        for message in self.messages.try_iter() {
            match message {
                ToProbe::StreamPingDone { seq_no, outcome } => batch.stream_pings.push((seq_no, outcome)),
                ToProbe::TableChanged => {}
                ToProbe::Say(message) => batch.said.push(message),
                ToProbe::Merged(found) => batch.merged.push(found),
                ToProbe::Heard(from, message) => {
                    let mut arrived = Arrived::default();
                    arrived.push(message.into(), &[]);
                    batch.arrived.push((from, arrived));
                }
            }
        }
        batch
    }

    /// Reads datagrams. Says whether there may be more. When a batch is full, only pings and their answers are read
    /// at once, and the rest has to wait.
    fn receive(&mut self, buffer: &mut [u8], batch: &mut Batch) -> bool {
        let mut fill = Fill::default();
        for _ in 0..READ_AT_ONCE {
            if fill.messages >= 2 * BATCH_MESSAGES {
                return true;
            }
            match self.socket.recv_from(buffer) {
                Ok((len, from)) => {
                    counters::DATAGRAMS_RECEIVED.inc();
                    counters::DATAGRAM_BYTES_RECEIVED.add(len);
                    let bytes = buffer.get_mut(..len).unwrap_or_default();
                    let waits = fill.is_full() || !self.backlog.is_empty();
                    let portion = if waits { Portion::Probes } else { Portion::Whole };
                    let read = self.envelope.unwrap_datagram(bytes).and_then(|content| {
                        let (arrived, has_more) = read_portion(content, self.only, portion, &mut fill);
                        batch.arrived.push((from, arrived));
                        if has_more? {
                            self.backlog.push(from, content);
                        }
                        Ok(())
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

    /// A batch of the news that waits.
    fn next_of_backlog(&mut self) -> Batch {
        let (mut batch, mut fill) = (Batch::default(), Fill::default());
        while !fill.is_a_slice()
            && let Some((from, content)) = self.backlog.pop()
        {
            let (arrived, read) = read_portion(&content, self.only, Portion::Rest, &mut fill);
            batch.arrived.push((from, arrived));
            if let Err(e) = read {
                self.refuse(from, &e);
            }
        }
        batch
    }

    fn refuse(&mut self, from: SocketAddr, why: &WireError) {
        refusals::count(why);
        if let Some(passed) = self.complaints.pass(from.ip(), refusals::cause(why), self.clock.now()) {
            let level = if why.is_other_cluster() { Level::Warn } else { Level::Debug };
            let hint = refusals::hint(why);
            log::log!(target: "memberlist", level, "Ignoring a datagram from {from}: {why}{hint}{passed}");
        }
    }

    /// Takes a batch in. News alone changes nothing in the table, so that it is only read unless there is
    /// more to do.
    fn apply(&mut self, batch: Batch) {
        let mut turn = HeartbeatTurn::default();
        let (rest, has_more, patience) = {
            let table = self.table.read();
            let now = self.clock.now();
            let mut context = BeatContext { clocks: self.depths.clocks(), now, rng: &mut self.rng };
            let rest = self.heartbeat.hear(batch, &table.members, &mut context, &mut turn);
            let due = self.heartbeat.prober.plan(&table.members, now) <= now;
            let has_more = !rest.is_empty() || due || !table.broadcasts.is_empty();
            (rest, has_more, Gossip::patience(&table.members))
        };
        self.carry_out(std::mem::take(&mut turn), patience);
        if has_more {
            {
                let mut table = self.table.write();
                let now = self.clock.now();
                let mut context = BeatContext { clocks: self.depths.clocks(), now, rng: &mut self.rng };
                self.heartbeat.change(rest, &mut table, &mut context, &mut turn);
            }
            self.carry_out(turn, patience);
        }
    }

    /// What is to be gossiped has `patience`.
    fn carry_out(&mut self, turn: HeartbeatTurn, patience: Duration) {
        let HeartbeatTurn { datagrams, out, serf, gossip, finished } = turn;
        for datagram in &datagrams {
            // What is lost is sent again; the sender counts it.
            let _ = self.sender.send(datagram);
        }
        self.pass_on(serf);
        if !gossip.is_empty() {
            let count = gossip.len();
            let latest = self.clock.now() + patience;
            if self.channels.gossip.send_by(ToGossip::Queue(gossip), latest).is_err() {
                counters::BROADCASTS_DROPPED.add(count);
            }
        }
        for ticket in finished {
            // The one that waits has a deadline of its own.
            let _ = self.channels.main.send(ToMain::Said(ticket));
        }
        self.channels.fetch(out.events, self.clock.now());
        self.channels.request(out.streams);
        for transmit in &out.transmits {
            self.transmit(transmit);
        }
    }

    /// Hands Serf's messages to `serf-events`.
    fn pass_on(&self, serf: Vec<SerfMessage>) {
        let count = serf.len();
        if count > 0 && self.channels.events.send(ToEvents::Serf(serf)).is_err() {
            counters::NEWS_DROPPED.add(count);
        }
    }

    fn transmit(&mut self, transmit: &Transmit) {
        let news =
            if transmit.piggybacks { self.piggyback.try_recv().unwrap_or_default() } else { Vec::new() };
        let failed = self.sender.transmit(transmit, &news).is_err();
        if let (true, Some(seq_no)) = (failed, transmit.probe) {
            self.heartbeat.prober.send_failed(seq_no, self.clock.now());
        }
    }
}

/// What a portion of a datagram says, and whether there is more in it.
fn read_portion(
    content: &[u8],
    only: Option<Dialect>,
    portion: Portion,
    fill: &mut Fill,
) -> (Arrived, Result<bool, WireError>) {
    let mut arrived = Arrived::default();
    let has_more = wire::read_portion(content, only, portion, |message, bytes| {
        if message.is_serf_message() {
            metrics::SERF_BYTES_RECEIVED.record_size(bytes.len());
        }
        fill.messages += 1;
        arrived.push(message, bytes);
    });
    fill.datagrams += 1;
    fill.bytes += content.len();
    (arrived, has_more)
}
