//! The corridors between the threads, all of them, and what travels in each.
//!
//! | to | carries | bound; when full |
//! | --- | --- | --- |
//! | `serf-probe` | [`ToProbe`] | 256; results of TCP pings are dropped and count as unanswered, doorbells are not needed twice |
//! | `serf-gossip` | [`ToGossip`] | 16 doorbells; one is enough |
//! | `serf-sync` | [`ToSync`] | 256; an exchange is skipped (the next one makes up for it), a join is refused with an error |
//! | `serf-events` | [`ToEvents`] | 1024; received events and queries are dropped and counted (push/pull makes up for events), requests are refused with an error |
//! | `serf-handlers` | `HandlerSender` | see `agent/handlers.rs` |
//! | `serf-snapshot` | [`ToSnapshot`] | 1024; clocks supersede each other, members are looked up in the table later; counted |
//! | main | [`ToMain`] | 256; requests are refused with an error |
//! | `serf-rpc` | `RpcMessage` | see `agent/rpc/control.rs` |
//!
//! Riders (news for datagrams that are sent anyway) go from `serf-gossip` to `serf-probe` through
//! a slot of one, refilled when it is empty.
//!
//! Nobody ever waits to send, the main thread aside when it stops the others.

use super::handlers;
use super::snapshot::format::Line;
use crate::config::EventScript;
use crate::membership::{Origin, StreamRequest, Target};
use crate::messaging::filter::EventFilter;
use crate::messaging::keys::{KeyChange, KeyCommand, KeyStep};
use crate::messaging::name_vote::NameLost;
use crate::messaging::{QueryParams, Ticket};
use crate::model::{NodeName, QueryKey};
use crate::rpc::Token;
use crate::telemetry::counters;
use crate::wire::Shared;
use crate::wire::message::{Message, SerfState};
use crossbeam_channel::{Receiver, Sender, bounded};
use mio::Waker;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// What may wake `serf-probe` besides a datagram and a deadline.
#[derive(Debug)]
pub enum ToProbe {
    /// How a TCP ping went.
    StreamPingDone {
        /// That of the ping.
        seq_no: u32,
        /// Whether it was answered.
        answered: bool,
    },
    /// Another thread changed the table: deadlines may have moved.
    TableChanged,
    /// The agent stops.
    Stop,
}

/// What may wake `serf-gossip` besides a deadline.
#[derive(Debug)]
pub enum ToGossip {
    /// There is something in the table's outbox.
    Doorbell,
    /// The agent stops.
    Stop,
}

/// What may wake `serf-events`.
#[derive(Debug)]
pub enum ToEvents {
    /// There is something in the table's outbox.
    Doorbell,
    /// User events, queries and answers that were received.
    Talk(Vec<Message>),
    /// A control connection sends a user event.
    Fire {
        /// What it is called.
        name: String,
        /// What it carries.
        payload: Vec<u8>,
        /// Whether it may be coalesced.
        coalesce: bool,
        /// Whom to tell how it went.
        token: Token,
    },
    /// A control connection asks a query.
    Ask {
        /// What and whom.
        params: Box<QueryParams>,
        /// Whom to tell.
        token: Token,
    },
    /// A control connection asks everyone about keys.
    AskKeys {
        /// What they are to do.
        command: KeyCommand,
        /// Whom to tell.
        token: Token,
    },
    /// The keyring has been changed, or has not.
    KeyChanged {
        /// Who asked for it.
        query: QueryKey,
        /// What was asked for.
        step: KeyStep,
        /// Why it could not be changed.
        result: Result<(), String>,
    },
    /// A control connection answers a query.
    Respond {
        /// Which.
        query: QueryKey,
        /// The answer.
        payload: Vec<u8>,
        /// Whom to tell how it went.
        token: Token,
    },
    /// The handlers are through with a query.
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
    /// `serf-sync` needs what is remembered of events and queries, for this.
    WantTalk(TalkPlan),
    /// Another member's memory of events and queries.
    MergeSerf {
        /// What it remembers.
        serf: SerfState,
        /// Whether its events are history, not news: a join without replay.
        ignore_past: bool,
    },
    /// The agent stops, after delivering what is there.
    Stop,
}

/// What `serf-sync` does with its part of a push/pull once `serf-events` has added its own.
#[derive(Debug)]
pub enum TalkPlan {
    /// Answers on a stream that another member opened.
    Answer {
        /// The stream.
        stream: usize,
        /// Whether the other joins.
        join: bool,
    },
    /// Opens a stream to exchange with a member.
    Exchange {
        /// Its name.
        node: NodeName,
        /// Where it is, and what it speaks.
        to: Target,
    },
    /// Opens a stream to someone who may well not answer.
    Reach {
        /// A failed member or a seed; for the log.
        whom: String,
        /// Where, and in which dialect.
        to: Target,
    },
    /// Opens a stream to join through an address.
    Join {
        /// Which join.
        id: u64,
        /// The address.
        addr: SocketAddr,
    },
}

/// Outcome of a join: how many of the addresses answered, or why none did.
pub type JoinResult = Result<usize, String>;

/// Whom to tell how a join went. Called on `serf-sync`; must not block.
pub type JoinReply = Box<dyn FnOnce(JoinResult) + Send>;

/// A join that someone asked for. Whoever asked is always told how it went, even when the request
/// is dropped half-way because the agent stops.
pub struct JoinRequest {
    /// Addresses as people write them.
    pub addrs: Vec<String>,
    /// Whether past user events are to be heard.
    pub replay: bool,
    reply: Option<JoinReply>,
}

impl JoinRequest {
    /// Asks to join through `addrs`; `reply` is called once.
    pub fn new(addrs: Vec<String>, replay: bool, reply: JoinReply) -> Self {
        JoinRequest { addrs, replay, reply: Some(reply) }
    }

    /// Gives the request up; the one that made it answers by itself.
    pub fn withdraw(mut self) {
        self.reply = None;
    }

    /// Tells whoever asked.
    pub fn answer(mut self, result: JoinResult) {
        if let Some(reply) = self.reply.take() {
            reply(result);
        }
    }
}

impl Drop for JoinRequest {
    fn drop(&mut self) {
        if let Some(reply) = self.reply.take() {
            reply(Err("the join was given up".to_string()));
        }
    }
}

/// What may wake `serf-sync` besides a socket and a deadline.
pub enum ToSync {
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
    /// What is remembered of events and queries, for a push/pull.
    Talk(TalkPlan, SerfState),
    /// One of HashiCorp's agents has come.
    ForeignerCame,
    /// The agent stops.
    Stop,
}

/// What may wake `serf-snapshot` besides a deadline.
#[derive(Debug)]
pub enum ToSnapshot {
    /// Something to keep.
    News(Line),
    /// The agent stops, after writing what is there.
    Stop,
}

/// What may wake the main thread besides a signal.
#[derive(Debug)]
pub enum ToMain {
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
        set: BTreeMap<String, String>,
        /// Tags to delete before that.
        delete: Vec<String>,
        /// Whom to tell how it went.
        token: Token,
    },
    /// The others have decided that another agent keeps this one's name.
    NameLost(NameLost),
    /// The keyring is to be changed, which may take as long as the disk takes.
    ChangeKey {
        /// How.
        change: KeyChange,
        /// Who asks for it; answered by [`ToEvents::KeyChanged`].
        query: QueryKey,
    },
}

/// The sending end of a corridor to a thread that waits in a mio poll: sends, then wakes.
#[derive(Debug)]
pub struct Mailbox<T> {
    sender: Sender<T>,
    waker: Arc<Waker>,
}

impl<T> Clone for Mailbox<T> {
    fn clone(&self) -> Self {
        Mailbox { sender: self.sender.clone(), waker: Arc::clone(&self.waker) }
    }
}

impl<T> Mailbox<T> {
    /// A corridor of `bound` messages to the thread that polls with `waker`.
    pub fn new(bound: usize, waker: Waker) -> (Self, Receiver<T>) {
        let (sender, receiver) = bounded(bound);
        (Mailbox { sender, waker: Arc::new(waker) }, receiver)
    }

    /// Sends, and waits for room if it must: for the main thread, to stop the others, and for
    /// threads that only look something up.
    pub fn insist(&self, message: T, patience: Duration) {
        // A thread that has ended needs no more messages.
        let _ = self.sender.send_timeout(message, patience);
        let _ = self.waker.wake();
    }

    /// Sends without waiting. Gives the message back when the corridor is full or its thread has
    /// ended.
    pub fn send(&self, message: T) -> Result<(), T> {
        let sent = self.sender.try_send(message).map_err(|e| e.into_inner());
        if let Err(e) = self.waker.wake() {
            log::debug!(target: "agent", "cannot wake a thread: {e}");
        }
        sent
    }
}

/// The sending ends that carry out what rules ask for; every thread that changes the table has
/// one.
#[derive(Clone)]
pub struct Corridors {
    /// To `serf-probe`.
    pub probe: Mailbox<ToProbe>,
    /// To `serf-gossip`.
    pub gossip: Sender<ToGossip>,
    /// To `serf-sync`.
    pub sync: Mailbox<ToSync>,
    /// To `serf-events`.
    pub events: Sender<ToEvents>,
    /// To the main thread.
    pub main: Mailbox<ToMain>,
}

/// The receiving ends, one for each thread.
pub struct CorridorEnds {
    /// Of `serf-probe`.
    pub probe: Receiver<ToProbe>,
    /// Of `serf-gossip`.
    pub gossip: Receiver<ToGossip>,
    /// Of `serf-sync`.
    pub sync: Receiver<ToSync>,
    /// Of `serf-events`.
    pub events: Receiver<ToEvents>,
    /// Of the main thread.
    pub main: Receiver<ToMain>,
    /// Riders, from `serf-gossip`.
    pub riders_in: Sender<Vec<Shared>>,
    /// Riders, to `serf-probe`.
    pub riders_out: Receiver<Vec<Shared>>,
}

/// The wakers of the three threads that wait in a mio poll, among them the main thread.
pub struct Wakers {
    /// Of `serf-probe`.
    pub probe: Waker,
    /// Of `serf-sync`.
    pub sync: Waker,
    /// Of the main thread.
    pub main: Waker,
}

/// Lays out all corridors.
pub fn open(wakers: Wakers) -> (Corridors, CorridorEnds) {
    let (probe, probe_end) = Mailbox::new(256, wakers.probe);
    let (gossip, gossip_end) = bounded(16);
    let (sync, sync_end) = Mailbox::new(256, wakers.sync);
    let (events, events_end) = bounded(1024);
    let (main, main_end) = Mailbox::new(256, wakers.main);
    let (riders_in, riders_out) = bounded(1);
    let corridors = Corridors { probe, gossip, sync, events, main };
    let ends = CorridorEnds {
        probe: probe_end,
        gossip: gossip_end,
        sync: sync_end,
        events: events_end,
        main: main_end,
        riders_in,
        riders_out,
    };
    (corridors, ends)
}

impl Corridors {
    /// Rings where something was put into an outbox of the table.
    pub fn ring(&self, gossip: bool, events: bool) {
        // A full corridor holds enough doorbells already; a closed one has no thread any more.
        if gossip {
            let _ = self.gossip.try_send(ToGossip::Doorbell);
        }
        if events {
            let _ = self.events.try_send(ToEvents::Doorbell);
        }
    }

    /// Hands addresses to `serf-sync`, which keeps them as seeds: those of the configuration, and
    /// those that were found in the snapshot or by mDNS.
    pub fn keep_seeds(&self, addrs: Vec<String>, origin: Origin) {
        let count = addrs.len();
        if self.sync.send(ToSync::KeepSeeds(addrs, origin)).is_err() {
            counters::SEEDS_DROPPED.add(count);
        }
    }

    /// Hands exchanges to `serf-sync`.
    pub fn request(&self, streams: Vec<StreamRequest>) {
        for request in streams {
            if self.sync.send(ToSync::Stream(request)).is_err() {
                counters::STREAMS_SKIPPED.inc();
            }
        }
    }
}
