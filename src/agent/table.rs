//! The one thing that threads share: the membership table, with the outboxes that must stay in
//! step with it.
//!
//! Events and broadcasts are put into their outboxes while the table is still locked, so that
//! their order is the order of the changes they report, whichever thread made the change. The
//! outboxes are plain vectors in memory; nothing blocks under the lock. Each has one thread that
//! empties it: `serf-events` and `serf-gossip`.

use crate::membership::{Effects, Members, StreamRequest, Transmit};
use crate::messaging::Ticket;
use crate::model::MemberEvent;
use crate::telemetry::counters;
use crate::wire::message::Message;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// The most events that wait for `serf-events`. That thread waits for nobody, so this many only
/// pile up when the machine starves it; the oldest are dropped and counted.
const MAX_EVENTS: usize = 100_000;

/// The table and its outboxes.
#[derive(Debug)]
pub struct Table {
    /// Who is here.
    pub members: Members,
    /// News to gossip, in the order it came about.
    pub broadcasts: VecDeque<(Message, Option<Ticket>)>,
    /// News to tell handlers, streams and the log, in the order it came about.
    pub events: VecDeque<MemberEvent>,
    /// Who claims this agent's name, if that is news. The latest is enough.
    pub rival: Option<SocketAddr>,
}

/// What is left of [`Effects`] once the outboxes have their part: it involves sockets, and is
/// done after unlocking.
#[derive(Debug, Default)]
pub struct Outgoing {
    /// Datagrams to send now.
    pub transmits: Vec<Transmit>,
    /// Exchanges over TCP.
    pub streams: Vec<StreamRequest>,
    /// Whether `serf-gossip` has something to fetch.
    pub gossip: bool,
    /// Whether `serf-events` has.
    pub events: bool,
}

impl Table {
    /// Moves effects to the outboxes. With a `ticket`, the last broadcast carries it.
    pub fn post(&mut self, fx: Effects, ticket: Option<Ticket>) -> Outgoing {
        let out = Outgoing {
            gossip: !fx.broadcasts.is_empty(),
            events: !fx.events.is_empty() || fx.rival.is_some(),
            transmits: fx.transmits,
            streams: fx.streams,
        };
        self.broadcasts.extend(fx.broadcasts.into_iter().map(|m| (m, None)));
        if let (Some(last), true) = (self.broadcasts.back_mut(), out.gossip) {
            last.1 = ticket;
        }
        self.rival = fx.rival.or(self.rival);
        self.events.extend(fx.events);
        while self.events.len() > MAX_EVENTS {
            self.events.pop_front();
            counters::NEWS_DROPPED.inc();
        }
        out
    }
}

/// A handle to the table, one for each thread.
#[derive(Clone, Debug)]
pub struct SharedTable(Arc<RwLock<Table>>);

impl SharedTable {
    /// Shares a table.
    pub fn new(members: Members) -> Self {
        let (broadcasts, events, rival) = Default::default();
        SharedTable(Arc::new(RwLock::new(Table { members, broadcasts, events, rival })))
    }

    /// Locks it for reading.
    pub fn read(&self) -> RwLockReadGuard<'_, Table> {
        // A thread that panics takes the process down, so a poisoned lock is never seen for long.
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Locks it for changing.
    pub fn write(&self) -> RwLockWriteGuard<'_, Table> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}
