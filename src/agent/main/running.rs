//! A running agent as the main thread sees it: what it shares with the other threads, and these in the
//! order in which they started. They end in the opposite one.

use super::inbox::Inbox;
use super::keys::Keys;
use crate::agent::channels::{Channels, ToMain};
use crate::agent::clock::Clock;
use crate::agent::handlers::HandlersHandle;
use crate::agent::net::datagrams::DatagramSender;
use crate::agent::rpc::RpcHandle;
use crate::agent::snapshot::SnapshotHandle;
use crate::agent::table::SharedTable;
use crate::agent::thread::Thread;
use crate::channel::Receiver;
use crate::membership::Effects;
use crate::model::{Tags, TagsError};
use crate::node::{Departure, Rejoin};
use fastrand::Rng;
use std::time::Duration;

/// The threads, in the order in which they start: first those that take what happens elsewhere, then
/// `serf-events`, which gives it to them, then those that bring it in.
///
/// They end in the opposite order ([`Threads::stop`]): what has been brought in is delivered, and what has
/// been delivered is dealt with.
#[derive(Debug)]
pub(crate) struct Threads {
    /// `serf-metrics`, if anybody wants them.
    pub(crate) metrics: Option<Thread>,
    /// `serf-rpc`.
    pub(crate) rpc: RpcHandle,
    /// `serf-handlers`.
    pub(crate) handlers: HandlersHandle,
    /// `serf-snapshot`, if a snapshot is kept.
    pub(crate) snapshot: Option<SnapshotHandle>,
    /// `serf-events`.
    pub(crate) events: Thread,
    /// `serf-gossip`.
    pub(crate) gossip: Thread,
    /// `serf-sync`.
    pub(crate) sync: Thread,
    /// `serf-probe`.
    pub(crate) probe: Thread,
    /// `serf-mdns`, if others are to be discovered.
    pub(crate) mdns: Option<Thread>,
}

impl Threads {
    /// Ends all threads, each within a time of its own.
    fn stop(self) {
        let Threads { metrics, rpc, handlers, snapshot, events, gossip, sync, probe, mdns } = self;
        // Nobody is to find this agent any more, nor is it to join anybody.
        mdns.map(Thread::stop);
        probe.stop();
        sync.stop();
        gossip.stop();
        // Delivers what is left.
        events.stop();
        // What is worth keeping is on disk before scripts get their time to end.
        if let Some(snapshot) = snapshot {
            snapshot.stop();
        }
        handlers.stop();
        // Clients get the replies that are due to them.
        rpc.stop();
        metrics.map(Thread::stop);
    }
}

/// A running agent.
pub(crate) struct Running {
    /// The table.
    pub(crate) table: SharedTable,
    /// To the threads.
    pub(crate) channels: Channels,
    /// The keys, which the main thread alone changes; none without encryption.
    pub(crate) keys: Option<Keys>,
    /// Time.
    pub(crate) clock: Clock,
    /// Where the main thread waits.
    pub(crate) inbox: Inbox,
    /// What the threads say to it.
    pub(crate) messages: Receiver<ToMain>,
    /// The attempt to rejoin members of the snapshot, while it lasts.
    pub(crate) rejoin: Option<Rejoin>,
    /// Where the last datagrams go out.
    pub(crate) sender: DatagramSender,
    /// The main thread's own random source.
    pub(crate) rng: Rng,
    /// The threads.
    pub(crate) threads: Threads,
}

impl Running {
    /// Changes this member's tags and announces them to the cluster.
    pub(crate) fn set_tags(&self, tags: Tags) -> Result<(), TagsError> {
        let mut fx = Effects::default();
        let out = {
            let mut table = self.table.write();
            table.members.set_tags(tags, self.clock.now(), &mut fx)?;
            table.post(fx, None)
        };
        self.channels.wake(&out, self.clock.now());
        Ok(())
    }

    /// Begins to leave the cluster.
    pub(crate) fn begin_leave(&self, broadcast_timeout: Duration) -> Departure {
        log::info!(target: "agent", "requesting graceful leave from Serf");
        let (departure, out) = Departure::begin(broadcast_timeout, &mut self.table.write(), self.clock.now());
        self.channels.wake(&out, self.clock.now());
        departure
    }

    /// Goes on with leaving if it is time. Says whether that is complete.
    pub(crate) fn advance(&self, departure: &mut Departure) -> bool {
        let now = self.clock.now();
        if now >= departure.deadline() {
            let out = departure.advance(&mut self.table.write(), now);
            self.channels.wake(&out, self.clock.now());
        }
        departure.is_complete()
    }

    /// Says that this process ends without leaving. It is said before anything else ends, so that
    /// it is known everywhere when a successor starts.
    pub(crate) fn part(&mut self) {
        let mut fx = Effects::default();
        let out = {
            let mut table = self.table.write();
            table.members.part(self.clock.now(), &mut self.rng, &mut fx);
            table.post(fx, None)
        };
        for transmit in &out.transmits {
            // A member that does not hear it takes a successor for one of ours, until that says otherwise.
            let _ = self.sender.transmit(transmit, &[]);
        }
        self.channels.wake(&out, self.clock.now());
    }

    /// Ends the threads.
    pub(crate) fn stop(self) {
        log::info!(target: "agent", "requesting serf shutdown");
        self.threads.stop();
        log::info!(target: "agent", "shutdown complete");
    }
}
