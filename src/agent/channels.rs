//! The channels between the threads, all of them, and what is sent in each.
//!
//! | to | carries | bound; when full |
//! | --- | --- | --- |
//! | `serf-probe` | [`ToProbe`] | 256, 512 KiB; results of TCP pings are dropped and count as unanswered, news goes through the outbox of the table instead, and one wake is enough |
//! | `serf-gossip` | [`ToGossip`] | 256, 512 KiB; broadcasts are dropped and counted |
//! | `serf-sync` | [`ToSync`] | 256; an exchange is skipped (the next one makes up for it), a join is refused with an error |
//! | `serf-events` | [`ToEvents`] | 1024, 2 MiB; received events and queries are dropped and counted (push/pull makes up for events), requests are refused with an error |
//! | `serf-handlers` | `HandlerSender` | see `agent/handlers.rs` |
//! | `serf-snapshot` | `Line` | 1024; clocks supersede each other, members are looked up in the table later; counted |
//! | main | [`ToMain`] | 256; requests are refused with an error |
//! | `serf-rpc` | `RpcMessage` | see `agent/rpc/control.rs` |
//!
//! News to piggyback on datagrams that are sent anyway goes from `serf-gossip` to `serf-probe` through
//! a slot of one, refilled when it is empty.
//!
//! A thread that serves the cluster never waits to send. Those that may wait, each until a deadline, are
//! the main thread, when it asks for a join, changes the event handlers or reloads
//! ([`Mailbox::send_within`]), and `serf-resolve`, which does nothing else. That a thread is to stop is
//! not sent at all: see `thread`.

use super::handlers;
use super::mailbox::{Mailbox, Parked};
use super::table::SharedTable;
use crate::agent::main::keys::KeysError;
use crate::channel::{Receiver, Sender, bounded};
use crate::config::EventScript;
use crate::membership::{Origin, StreamPing, StreamRequest};
use crate::messaging::filter::EventFilter;
use crate::messaging::keys::{KeyChange, KeyCommand, KeyStep};
use crate::messaging::name_vote::NameLost;
use crate::messaging::{QueryParams, Ticket};
use crate::model::{Footprint, Moment, QueryKey, Text, Token};
use crate::node::Rejoin;
use crate::node::exchanges::JoinError;
use crate::node::table::{Fetch, Outgoing};
use crate::telemetry::counters;
use crate::wire::Shared;
use crate::wire::message::{Message, SerfMessage, SerfState};
use mio::Waker;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

/// How long after it has looked at what happened to members `serf-events` looks again: hundreds that join at once wake it a
/// few times a second.
pub(crate) const LOOK_AGAIN: Duration = Duration::from_millis(500);
/// The most bytes that wait for `serf-probe`.
pub(crate) const MAX_TO_PROBE: usize = 512 * 1024;
/// The most bytes that wait for `serf-gossip`.
pub(crate) const MAX_TO_GOSSIP: usize = 512 * 1024;
/// The most bytes that wait for `serf-events`: the memory of one other member, as decoded.
pub(crate) const MAX_TO_EVENTS: usize = 2 << 20;

/// What may wake `serf-probe` besides a datagram and a deadline.
#[derive(Debug)]
pub(crate) enum ToProbe {
    /// How a TCP ping went.
    StreamPingDone {
        /// That of the ping.
        seq_no: u32,
        /// How.
        outcome: StreamPing,
    },
    /// Another thread changed the table: deadlines may have moved.
    TableChanged,
    /// This process has something to say to everyone that changed nothing in the table.
    Say(Message),
    /// The memory of another member has been taken in, and these events were new.
    Merged(Vec<Message>),
    /// An event or a query came on a stream from this address.
    Heard(SocketAddr, SerfMessage),
}

impl ToProbe {
    fn weight(&self) -> usize {
        match self {
            ToProbe::StreamPingDone { .. } | ToProbe::TableChanged => 0,
            ToProbe::Say(message) => message.footprint(),
            ToProbe::Merged(found) => found.iter().map(Footprint::footprint).sum(),
            ToProbe::Heard(_, message) => message.footprint(),
        }
    }
}

/// What may wake `serf-gossip` besides a deadline.
#[derive(Debug)]
pub(crate) enum ToGossip {
    /// Queue these, each with what waits for its end.
    Queue(Vec<(Shared, Option<Ticket>)>),
}

impl ToGossip {
    fn weight(&self) -> usize {
        match self {
            ToGossip::Queue(news) => news.iter().map(|(message, _)| message.footprint()).sum(),
        }
    }
}

/// What may wake `serf-events`.
#[derive(Debug)]
pub(crate) enum ToEvents {
    /// User events, queries and answers that were received.
    Serf(Vec<SerfMessage>),
    /// A control connection sends a user event.
    Fire {
        /// What it is called.
        name: Text,
        /// What it carries.
        payload: Vec<u8>,
        /// Whether it may be coalesced.
        coalesce: bool,
        /// Where the outcome is reported.
        token: Token,
    },
    /// A control connection asks a query.
    Ask {
        /// What is asked, and of which members.
        params: Box<QueryParams>,
        /// Where the answers are delivered.
        token: Token,
    },
    /// A control connection asks everyone about keys.
    AskKeys {
        /// What they are to do.
        command: KeyCommand,
        /// Where the answers are delivered.
        token: Token,
    },
    /// The keyring has been changed, or has not.
    KeyChanged {
        /// The query that asked for it.
        query: QueryKey,
        /// What was asked for.
        step: KeyStep,
        /// Whether it worked.
        result: Result<(), KeysError>,
    },
    /// A control connection answers a query.
    Respond {
        /// Which.
        query: QueryKey,
        /// The answer.
        payload: Vec<u8>,
        /// Where the outcome is reported.
        token: Token,
    },
    /// A handler has answered a query, or none does.
    Handled {
        /// Which.
        query: QueryKey,
        /// What they had to say.
        answer: handlers::HandlerAnswer,
    },
    /// The configured event handlers changed.
    Scripts(Vec<EventScript>),
    /// The filters of all streams of control connections together.
    Streams(Vec<EventFilter>),
    /// `serf-sync` needs a copy of what is remembered of events and queries.
    Recall,
    /// Another member's memory of events and queries.
    MergeSerf {
        /// What it remembers.
        serf: SerfState,
        /// Whether its events are history, not news: a join without replay.
        ignore_past: bool,
    },
}

impl ToEvents {
    fn weight(&self) -> usize {
        match self {
            ToEvents::Serf(messages) => messages.iter().map(Footprint::footprint).sum(),
            ToEvents::MergeSerf { serf, .. } => serf.footprint(),
            ToEvents::Fire { name, payload, .. } => name.footprint() + payload.len(),
            ToEvents::Ask { params, .. } => params.footprint(),
            ToEvents::Respond { payload, .. } => payload.len(),
            // What is configured, or bounded where it is made.
            ToEvents::AskKeys { .. }
            | ToEvents::KeyChanged { .. }
            | ToEvents::Handled { .. }
            | ToEvents::Scripts(_)
            | ToEvents::Streams(_)
            | ToEvents::Recall => 0,
        }
    }
}

/// Outcome of a join: how many of the addresses answered, or why none did.
pub(crate) type JoinResult = Result<usize, JoinError>;

/// Reports how a join went. Called on `serf-sync`; must not block.
pub(crate) type JoinReply = Box<dyn FnOnce(JoinResult) + Send>;

/// A join that someone asked for. How it went is always reported, even when the request is dropped
/// half-way because the agent stops.
pub(crate) struct JoinRequest {
    /// Addresses as people write them.
    pub(crate) addrs: Vec<String>,
    /// Whether past user events are to be heard.
    pub(crate) replay: bool,
    reply: Option<JoinReply>,
}

impl JoinRequest {
    /// Asks to join through `addrs`; `reply` is called once.
    pub(crate) fn new(addrs: Vec<String>, replay: bool, reply: JoinReply) -> Self {
        JoinRequest { addrs, replay, reply: Some(reply) }
    }

    /// Gives the request up; the one that made it answers by itself.
    pub(crate) fn withdraw(mut self) {
        self.reply = None;
    }

    /// Reports how it went.
    pub(crate) fn answer(mut self, result: JoinResult) {
        if let Some(reply) = self.reply.take() {
            reply(result);
        }
    }
}

impl Drop for JoinRequest {
    fn drop(&mut self) {
        if let Some(reply) = self.reply.take() {
            reply(Err(JoinError::GivenUp));
        }
    }
}

/// What may wake `serf-sync` besides a socket and a deadline.
pub(crate) enum ToSync {
    /// Join through these.
    Join(JoinRequest),
    /// The names of a join have been looked up: addresses, and what could not be found.
    Resolved(JoinRequest, Vec<SocketAddr>, Vec<String>),
    /// Addresses through which others may be found, as people write them; never forgotten.
    KeepSeeds(Vec<String>, Origin),
    /// Where a seed leads; nowhere if it could not be looked up.
    SeedFound(String, Vec<SocketAddr>),
    /// An exchange that rules ask for.
    Stream(StreamRequest),
    /// The copy, for all exchanges that wait for it.
    Recalled(SerfState),
    /// One of HashiCorp's agents has come.
    HashicorpMemberCame,
}

/// What may wake the main thread besides a signal.
#[derive(Debug)]
pub(crate) enum ToMain {
    /// A broadcast with a ticket has been said often enough.
    Said(Ticket),
    /// The join of the command line is over.
    StartJoined(JoinResult),
    /// An attempt of the join in the background is over.
    RetryJoined(JoinResult),
    /// An attempt to join a member of the snapshot is over.
    Rejoined(JoinResult),
    /// A control connection asks to leave.
    Leave(Token),
    /// A control connection changes this member's tags.
    Tags {
        /// Tags to set.
        set: BTreeMap<Text, Text>,
        /// Tags to delete before that.
        delete: Vec<Text>,
        /// Where the outcome is reported.
        token: Token,
    },
    /// The others have decided that another agent keeps this one's name.
    NameLost(NameLost),
    /// The keyring is to be changed, which may take as long as the disk takes.
    ChangeKey {
        /// How.
        change: KeyChange,
        /// The query that asks for it; answered by [`ToEvents::KeyChanged`].
        query: QueryKey,
    },
}

/// The sending ends that carry out what rules ask for; every thread that changes the table has
/// one.
#[derive(Clone)]
pub(crate) struct Channels {
    /// To `serf-probe`.
    pub(crate) probe: Mailbox<ToProbe>,
    /// To `serf-gossip`.
    pub(crate) gossip: Mailbox<ToGossip>,
    /// To `serf-sync`.
    pub(crate) sync: Mailbox<ToSync>,
    /// To `serf-events`.
    pub(crate) events: Mailbox<ToEvents>,
    /// To the main thread.
    pub(crate) main: Mailbox<ToMain>,
}

/// The receiving ends, one for each thread.
pub(crate) struct ChannelEnds {
    /// Of `serf-probe`.
    pub(crate) probe: Receiver<ToProbe>,
    /// Of `serf-gossip`.
    pub(crate) gossip: Parked<ToGossip>,
    /// Of `serf-sync`.
    pub(crate) sync: Receiver<ToSync>,
    /// Of `serf-events`.
    pub(crate) events: Parked<ToEvents>,
    /// Of the main thread.
    pub(crate) main: Receiver<ToMain>,
    /// News to piggyback, from `serf-gossip`.
    pub(crate) piggyback_in: Sender<Vec<Shared>>,
    /// News to piggyback, to `serf-probe`.
    pub(crate) piggyback_out: Receiver<Vec<Shared>>,
}

/// The wakers of the three threads that wait in a mio poll, among them the main thread.
pub(crate) struct Wakers {
    /// Of `serf-probe`.
    pub(crate) probe: Waker,
    /// Of `serf-sync`.
    pub(crate) sync: Waker,
    /// Of the main thread.
    pub(crate) main: Waker,
}

/// Opens all channels.
pub(crate) fn open(wakers: Wakers) -> (Channels, ChannelEnds) {
    let (probe, probe_end) = Mailbox::polled_weighed(256, MAX_TO_PROBE, ToProbe::weight, wakers.probe);
    let (gossip, gossip_end) = Mailbox::parked_weighed(256, MAX_TO_GOSSIP, ToGossip::weight);
    let (sync, sync_end) = Mailbox::polled(256, wakers.sync);
    let (events, events_end) = Mailbox::parked_weighed(1024, MAX_TO_EVENTS, ToEvents::weight);
    let (main, main_end) = Mailbox::polled(256, wakers.main);
    let (piggyback_in, piggyback_out) = bounded(1);
    let channels = Channels { probe, gossip, sync, events, main };
    let ends = ChannelEnds {
        probe: probe_end,
        gossip: gossip_end,
        sync: sync_end,
        events: events_end,
        main: main_end,
        piggyback_in,
        piggyback_out,
    };
    (channels, ends)
}

impl Channels {
    /// Wakes the threads for which something was put into an outbox of the table.
    pub(crate) fn wake(&self, out: &Outgoing, now: Moment) {
        if out.gossip {
            self.probe.wake();
        }
        self.fetch(out.events, now);
    }

    /// Has `serf-events` look at what has happened to members.
    pub(crate) fn fetch(&self, events: Fetch, now: Moment) {
        match events {
            Fetch::Nothing => {}
            Fetch::Soon => self.events.wake_by(now + LOOK_AGAIN),
            Fetch::Now => self.events.wake(),
        }
    }

    /// Has a message spread that changes nothing in the table: user events and queries.
    pub(crate) fn say(&self, message: Message, table: &SharedTable) {
        if let Err(ToProbe::Say(message)) = self.probe.send(ToProbe::Say(message)) {
            table.write().broadcasts.push(message, None);
        }
    }

    /// Hands addresses to `serf-sync`, which keeps them as seeds: those of the configuration, and
    /// those that were found in the snapshot or by mDNS.
    pub(crate) fn keep_seeds(&self, addrs: Vec<String>, origin: Origin) {
        let count = addrs.len();
        if self.sync.send(ToSync::KeepSeeds(addrs, origin)).is_err() {
            counters::SEEDS_DROPPED.add(count);
        }
    }

    /// Joins the member of the snapshot that is to be tried now.
    pub(crate) fn rejoin(&self, rejoin: &Rejoin) {
        /// How long asking waits for room.
        const PATIENCE: Duration = Duration::from_secs(1);
        let main = self.main.clone();
        let reply = Box::new(move |result| {
            // The channel is wide enough for the one rejoin.
            let _ = main.send(ToMain::Rejoined(result));
        });
        let request = JoinRequest::new(vec![rejoin.address().to_string()], true, reply);
        self.sync.send_within(ToSync::Join(request), PATIENCE);
    }

    /// Hands exchanges to `serf-sync`.
    pub(crate) fn request(&self, streams: Vec<StreamRequest>) {
        for request in streams {
            if self.sync.send(ToSync::Stream(request)).is_err() {
                counters::STREAMS_SKIPPED.inc();
            }
        }
    }
}
