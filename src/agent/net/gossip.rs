//! The thread `serf-gossip`: owns the broadcast queue, and sends what is in it.

use super::datagrams::DatagramSender;
use crate::agent::channels::{Channels, ToGossip, ToMain};
use crate::agent::clock::Clock;
use crate::agent::mailbox::Parked;
use crate::agent::table::SharedTable;
use crate::agent::thread::{Actor, Stop};
use crate::channel::Sender;
use crate::messaging::{Gossip, Kind};
use crate::model::LamportTime;
use crate::node::news;
use crate::telemetry::metrics;
use crate::wire::Shared;
use fastrand::Rng;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Messages that are taken in a row before datagrams are sent.
const BATCH: usize = 256;

/// Depths of the queue and Lamport times, for `stats`.
#[derive(Debug, Default)]
pub(crate) struct Depths {
    /// Membership news.
    pub membership: AtomicUsize,
    /// Intents.
    pub intents: AtomicUsize,
    /// Queries.
    pub queries: AtomicUsize,
    /// User events.
    pub events: AtomicUsize,
    /// The Lamport time of user events, kept by `serf-events`.
    pub event_time: AtomicUsize,
    /// The Lamport time of queries, kept by `serf-events`.
    pub query_time: AtomicUsize,
}

impl Depths {
    /// The Lamport times of events and of queries.
    pub(crate) fn clocks(&self) -> [LamportTime; 2] {
        [&self.event_time, &self.query_time].map(|time| LamportTime(time.load(Ordering::Relaxed) as u64))
    }
}

/// The thread's state.
pub(crate) struct GossipActor {
    /// The rules.
    pub gossip: Gossip,
    /// The table.
    pub table: SharedTable,
    /// Where datagrams go out.
    pub sender: DatagramSender,
    /// What other threads say.
    pub messages: Parked<ToGossip>,
    /// Where news for datagrams that are sent anyway goes.
    pub piggyback: Sender<Vec<Shared>>,
    /// To the other threads.
    pub channels: Channels,
    /// For the statistics.
    pub depths: Arc<Depths>,
    /// Time.
    pub clock: Clock,
    /// The thread's own random source.
    pub rng: Rng,
}

impl Actor for GossipActor {
    const NAME: &'static str = "serf-gossip";

    /// Runs, and sends at the end what was broadcast just before.
    fn run(mut self, stop: &Stop) {
        loop {
            self.messages.wait(self.clock, self.gossip.next_deadline());
            let stopping = stop.is_raised();
            let batch = if stopping { self.messages.len() } else { BATCH };
            for _ in 0..batch {
                // Only within the batch: what is taken out of the channel is dealt with.
                let Some(ToGossip::Queue(broadcasts)) = self.messages.next() else { break };
                let (table, now) = (self.table.read(), self.clock.now());
                for (news, ticket) in broadcasts {
                    self.gossip.push(news, ticket, &table.members, now);
                }
            }
            self.turn();
            if stopping {
                return;
            }
        }
    }
}

impl GossipActor {
    /// Sends what is due.
    fn turn(&mut self) {
        let now = self.clock.now();
        let datagrams = {
            let table = self.table.read();
            let datagrams = self.gossip.tick(&table.members, now, &mut self.rng);
            if self.piggyback.len() == 0
                && let Some(news) = news::piggyback(&mut self.gossip, &table.members)
            {
                // Full is impossible: this thread alone fills the slot.
                let _ = self.piggyback.try_send(news);
            }
            datagrams
        };
        for datagram in &datagrams {
            // A lost datagram is what gossip is built for; the sender counts it.
            let _ = self.sender.send(datagram);
        }
        for ticket in self.gossip.queue.take_finished() {
            // The one that waits has a deadline of its own.
            let _ = self.channels.main.send(ToMain::Said(ticket));
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
