//! The thread `serf-gossip`: owns the broadcast queue, and sends what is in it.

use super::channels::{Corridors, ToGossip, ToMain};
use super::clock::Clock;
use super::datagrams::DatagramSender;
use super::table::SharedTable;
use super::thread::{Actor, Received, Stop, receive};
use crate::messaging::{Gossip, Kind};
use crate::telemetry::metrics;
use crate::wire::Shared;
use crossbeam_channel::{Receiver, Sender};
use fastrand::Rng;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// How many bytes of news ride along in a datagram that is sent anyway.
const RIDER_ROOM: usize = 1000;

/// Depths of the queue and Lamport times, for `stats`.
#[derive(Debug, Default)]
pub(crate) struct Depths {
    /// Membership news.
    pub(crate) membership: AtomicUsize,
    /// Intents.
    pub(crate) intents: AtomicUsize,
    /// Queries.
    pub(crate) queries: AtomicUsize,
    /// User events.
    pub(crate) events: AtomicUsize,
    /// The Lamport time of user events, kept by `serf-events`.
    pub(crate) event_time: AtomicUsize,
    /// The Lamport time of queries, kept by `serf-events`.
    pub(crate) query_time: AtomicUsize,
}

/// The thread's state.
pub(crate) struct GossipActor {
    /// The rules.
    pub(crate) gossip: Gossip,
    /// The table.
    pub(crate) table: SharedTable,
    /// Where datagrams go out.
    pub(crate) sender: DatagramSender,
    /// What other threads say.
    pub(crate) messages: Receiver<ToGossip>,
    /// Where news for passing datagrams goes.
    pub(crate) riders: Sender<Vec<Shared>>,
    /// To the other threads.
    pub(crate) corridors: Corridors,
    /// Told to whoever asks for statistics.
    pub(crate) depths: Arc<Depths>,
    /// Time.
    pub(crate) clock: Clock,
    /// The thread's own random source.
    pub(crate) rng: Rng,
}

impl Actor for GossipActor {
    const NAME: &'static str = "serf-gossip";

    fn run(mut self, stop: &Stop) {
        loop {
            match receive(&self.messages, self.clock, self.gossip.next_deadline()) {
                Received::Message(ToGossip::Wake) | Received::Deadline => {}
                Received::Closed => return,
            }
            // Also when it is the last: what was broadcast just before the end is to be heard.
            self.turn();
            if stop.is_raised() {
                return;
            }
        }
    }
}

impl GossipActor {
    /// Fetches what is new and sends what is due.
    fn turn(&mut self) {
        let now = self.clock.now();
        if !self.table.read().broadcasts.is_empty() {
            let mut table = self.table.write();
            let fresh = std::mem::take(&mut table.broadcasts);
            for (message, ticket) in fresh {
                self.gossip.push(Shared::new(message), ticket, &table.members, now);
            }
        }
        let datagrams = {
            let table = self.table.read();
            let datagrams = self.gossip.tick(&table.members, now, &mut self.rng);
            if self.riders.is_empty() && !self.gossip.queue.is_empty() {
                // Full is impossible: this thread alone fills the slot.
                let _ = self.riders.try_send(self.gossip.riders(RIDER_ROOM, &table.members));
            }
            datagrams
        };
        for datagram in &datagrams {
            // A lost datagram is what gossip is built for; the sender counts it.
            let _ = self.sender.send(datagram);
        }
        for ticket in self.gossip.queue.take_finished() {
            // Whoever waits has a deadline of its own.
            let _ = self.corridors.main.send(ToMain::Said(ticket));
        }
        for (kind, depth, sample) in [
            (Kind::Membership, &self.depths.membership, &metrics::MEMBERSHIP_QUEUE),
            (Kind::Intent, &self.depths.intents, &metrics::INTENT_QUEUE),
            (Kind::Query, &self.depths.queries, &metrics::QUERY_QUEUE),
            (Kind::Event, &self.depths.events, &metrics::EVENT_QUEUE),
        ] {
            let waiting = self.gossip.queue.len(kind);
            depth.store(waiting, Ordering::Relaxed);
            sample.record_size(waiting);
        }
        metrics::GOSSIP_TIME.record_time(self.clock.now().since(now));
    }
}
