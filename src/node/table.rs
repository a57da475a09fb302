//! The membership table with the outboxes that must stay in step with it.
//!
//! Events and broadcasts are put into their outboxes in the same step as the change they report, so
//! that their order is the order of the changes, whichever machine made the change. Each outbox has
//! one reader: the conversation, and the broadcast queue.

use super::broadcasts::WaitingBroadcasts;
use crate::membership::{Effects, Members, StreamRequest, Transmit};
use crate::messaging::Ticket;
use crate::model::{MemberEvent, Standing};
use crate::telemetry::counters;
use std::collections::VecDeque;
use std::net::SocketAddr;

/// The most events that wait for the conversation. Its thread waits for nobody, so this many only pile up when the
/// machine starves it; the oldest are dropped and counted. Names and tags in them belong to the table.
pub const MAX_WAITING_EVENTS: usize = 30_000;

/// The table and its outboxes.
#[derive(Debug)]
pub struct Table {
    /// The members.
    pub members: Members,
    /// News to gossip, in the order it came about.
    pub broadcasts: WaitingBroadcasts,
    /// News to deliver to handlers, streams and the log, in the order it came about.
    pub events: VecDeque<MemberEvent>,
    /// Where another process claims this agent's name, if that is news. The latest is enough.
    pub rival: Option<SocketAddr>,
}

/// What is left of [`Effects`] once the outboxes have their part: it involves sockets, and is
/// done after the table has been released.
#[derive(Debug, Default)]
pub struct Outgoing {
    /// Datagrams to send now.
    pub transmits: Vec<Transmit>,
    /// Exchanges over TCP.
    pub streams: Vec<StreamRequest>,
    /// Whether the broadcast queue has something to fetch.
    pub gossip: bool,
    /// Whether the conversation has something to fetch.
    pub events: Fetch,
}

/// What the conversation has to fetch of what happened to members.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fetch {
    /// Nothing.
    #[default]
    Nothing,
    /// Members have come, or changed: where that is one of many, it is coalesced with the rest, and may wait for it.
    Soon,
    /// Members have gone, for which queries wait, or another process claims this one's name.
    Now,
}

impl Fetch {
    fn of(fx: &Effects) -> Fetch {
        let gone = |event: &MemberEvent| match event.kind.standing() {
            Standing::Came | Standing::Stays => Fetch::Soon,
            Standing::Went | Standing::Forgotten => Fetch::Now,
        };
        let rival = if fx.rival.is_some() { Fetch::Now } else { Fetch::Nothing };
        fx.events.iter().map(gone).max().unwrap_or_default().max(rival)
    }
}

impl Table {
    /// A table whose outboxes are empty.
    pub fn new(members: Members) -> Self {
        let (broadcasts, events, rival) = Default::default();
        Table { members, broadcasts, events, rival }
    }

    /// Moves effects to the outboxes. With a `ticket`, the last broadcast carries it.
    pub fn post(&mut self, fx: Effects, ticket: Option<Ticket>) -> Outgoing {
        let out = Outgoing {
            gossip: !fx.broadcasts.is_empty(),
            events: Fetch::of(&fx),
            transmits: fx.transmits,
            streams: fx.streams,
        };
        fx.broadcasts.into_iter().for_each(|message| self.broadcasts.push(message, None));
        if let (Some(last), true) = (self.broadcasts.last_ticket(), out.gossip) {
            *last = ticket;
        }
        self.rival = fx.rival.or(self.rival);
        self.events.extend(fx.events);
        while self.events.len() > MAX_WAITING_EVENTS {
            self.events.pop_front();
            counters::NEWS_DROPPED.inc();
        }
        out
    }

    /// Changes the table by a rule and posts what comes of it.
    pub fn change(&mut self, rule: impl FnOnce(&mut Members, &mut Effects)) -> Outgoing {
        let mut fx = Effects::default();
        rule(&mut self.members, &mut fx);
        self.post(fx, None)
    }
}
