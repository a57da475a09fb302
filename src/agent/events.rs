//! The thread `serf-events`: owns the conversation (`node/conversation`), and carries out what it
//! asks for, in order.
//!
//! Architecture invariant: it waits for nobody. A consumer that does not keep up loses its
//! messages, and only its own.

use super::channels::{Channels, LOOK_AGAIN, ToEvents, ToMain, ToProbe, ToSync};
use super::clock::Clock;
use super::handlers::{HandlerAnswer, HandlerSender};
use super::mailbox::Parked;
use super::rpc::{RpcMessage, RpcSender};
use super::snapshot::SnapshotSender;
use super::table::SharedTable;
use super::thread::{Actor, Stop};
use crate::agent::net::datagrams::DatagramSender;
use crate::agent::net::gossip::Depths;
use crate::config::EventScript;
use crate::messaging::filter::EventFilter;
use crate::messaging::queries::Filtered;
use crate::model::{Event, LamportTime, Moment, Token};
use crate::node::Conversation;
use crate::node::conversation::{
    ConversationEffect, ConversationReply, ConversationTurn, Incoming, MERGED_AT_ONCE,
};
use crate::rpc::RpcReply;
use crate::rpc::record::{EventCall, ListKeysCall, QueryCall, RespondCall};
use crate::telemetry::counters;
use fastrand::Rng;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Messages that are taken in a row before deadlines are looked at.
const BATCH: usize = 256;

/// The thread's state.
pub(crate) struct EventActor {
    /// The rules.
    pub conversation: Conversation,
    /// The table with the outboxes.
    pub table: SharedTable,
    /// What other threads say.
    pub messages: Parked<ToEvents>,
    /// To the other threads.
    pub channels: Channels,
    /// Where answers to queries go out.
    pub sender: DatagramSender,
    /// To the event handlers.
    pub handlers: HandlerSender,
    /// To control connections.
    pub rpc: RpcSender,
    /// To the snapshot, if one is kept.
    pub snapshot: Option<SnapshotSender>,
    /// Lamport times, for statistics.
    pub depths: Arc<Depths>,
    /// Time.
    pub clock: Clock,
    /// When to look at what happened to members without being woken.
    pub look_again: Moment,
    /// The thread's own random source.
    pub rng: Rng,
}

impl Actor for EventActor {
    const NAME: &'static str = "serf-events";

    /// Runs, and delivers even at the end what there is.
    fn run(mut self, stop: &Stop) {
        self.show_times();
        loop {
            let deadline = self.conversation.next_deadline().min(self.look_again);
            self.messages.wait(self.clock, deadline);
            self.look_again = Moment::NEVER;
            let stopping = stop.is_raised();
            let batch = if stopping { self.messages.len() } else { BATCH };
            for _ in 0..batch {
                // Only within the batch: what is taken out of the channel is dealt with.
                let Some(message) = self.messages.next() else { break };
                // Member events first: they were there when the message came.
                self.fetch();
                self.take(message);
            }
            self.fetch();
            if stopping {
                return self.turn(Conversation::flush);
            }
            self.turn(Conversation::tick);
            self.show_times();
        }
    }
}

impl EventActor {
    /// For statistics, and for `serf-probe`, which passes on nothing that is absurd.
    fn show_times(&self) {
        let shown = |time: LamportTime| usize::try_from(time.0).unwrap_or(usize::MAX);
        let (events, queries) = self.conversation.times();
        self.depths.event_time.store(shown(events), Ordering::Relaxed);
        self.depths.query_time.store(shown(queries), Ordering::Relaxed);
    }

    fn take(&mut self, message: ToEvents) {
        match message {
            ToEvents::Serf(messages) => {
                // Filters of queries are compiled before the table is locked.
                let messages: Vec<Incoming> = messages.into_iter().map(Incoming::from).collect();
                self.turn(|conversation, turn| {
                    messages.into_iter().for_each(|message| conversation.hear(message, turn));
                });
            }
            ToEvents::Fire { name, payload, coalesce, token } => {
                self.turn(|c, turn| c.fire(name, payload, coalesce, token, turn));
            }
            ToEvents::Ask { params, token } => {
                let filtered = Filtered::from(*params);
                self.turn(|c, turn| c.ask(filtered, token, turn));
            }
            ToEvents::AskKeys { command, token } => {
                self.turn(|c, turn| c.ask_about_keys(&command, token, turn));
            }
            ToEvents::KeyChanged { query, step, result } => {
                self.turn(|c, turn| c.key_changed(query, step, result, turn));
            }
            ToEvents::Respond { query, payload, token } => {
                self.turn(|c, turn| c.respond(query, payload, token, turn));
            }
            ToEvents::Handled { query, answer } => {
                self.turn(|c, turn| match answer {
                    HandlerAnswer::Payload(payload) => c.handler_answered(query, payload, turn),
                    HandlerAnswer::None => c.handlers_declined(query, turn),
                });
            }
            ToEvents::Scripts(scripts) => self.conversation.set_handlers(filters(&scripts)),
            ToEvents::Streams(filters) => self.conversation.set_streams(filters),
            ToEvents::Recall => {
                let serf = self.conversation.recall();
                if self.channels.sync.send(ToSync::Recalled(serf)).is_err() {
                    counters::STREAMS_SKIPPED.inc();
                }
            }
            ToEvents::MergeSerf { serf, ignore_past } => {
                for piece in serf.pieces(MERGED_AT_ONCE) {
                    self.turn(|c, turn| c.merge(piece, ignore_past, turn));
                }
            }
        }
    }

    /// Fetches what has happened to members.
    fn fetch(&mut self) {
        {
            let table = self.table.read();
            if table.events.is_empty() && table.rival.is_none() {
                return;
            }
        }
        let (events, rival) = {
            let mut table = self.table.write();
            (std::mem::take(&mut table.events), table.rival.take())
        };
        // Until then, what happens to members need not wake this thread.
        self.look_again = self.clock.now() + LOOK_AGAIN;
        self.turn(|conversation, turn| conversation.members_changed(events, rival, turn));
    }

    /// One input of the conversation; what it asks for is done after the table has been released.
    fn turn(&mut self, input: impl FnOnce(&mut Conversation, &mut ConversationTurn)) {
        let mut fx = Vec::new();
        {
            let (table, now) = (self.table.read(), self.clock.now());
            let (members, rng) = (&table.members, &mut self.rng);
            input(&mut self.conversation, &mut ConversationTurn { members, now, rng, fx: &mut fx });
        }
        for effect in fx {
            self.carry_out(effect);
        }
    }

    fn carry_out(&mut self, effect: ConversationEffect) {
        match effect {
            ConversationEffect::Broadcast(message) => {
                self.channels.say(message, &self.table);
            }
            ConversationEffect::Merged(found) => {
                // If that thread is too busy, what others lack shows in the acks.
                let _ = self.channels.probe.send(ToProbe::Merged(found));
            }
            ConversationEffect::Send(transmit) => {
                // Lost like any datagram; the sender counts it. A relayed copy may get through.
                let _ = self.sender.transmit(&transmit, &[]);
            }
            ConversationEffect::Keep(line) => {
                if let Some(snapshot) = &self.snapshot {
                    snapshot.keep(line);
                }
            }
            ConversationEffect::Deliver(event) => {
                let event = Arc::new(event);
                // What finds no room is counted by each.
                if !self.handlers.send(&event)
                    && let Event::Query(query) = &*event
                {
                    self.turn(|conversation, turn| conversation.handlers_declined(query.key, turn));
                }
                self.rpc.send(RpcMessage::Event(event));
            }
            ConversationEffect::Reply(token, reply) => {
                self.reply(token, reply);
            }
            ConversationEffect::ChangeKey { change, query } => {
                if self.channels.main.send(ToMain::ChangeKey { change, query }).is_err() {
                    self.turn(|conversation, turn| conversation.key_change_refused(query, turn));
                }
            }
            ConversationEffect::HashicorpMemberCame => {
                // The next exchange makes up for it.
                let _ = self.channels.sync.send(ToSync::HashicorpMemberCame);
            }
            ConversationEffect::NameLost(how) => {
                if self.channels.main.send(ToMain::NameLost(how)).is_err() {
                    // The next claim that is heard makes for another vote.
                    log::warn!(target: "agent", "The main thread is too busy to hear of a lost name");
                }
            }
        }
    }

    /// Reports to a control connection what has come of its request.
    fn reply(&self, token: Token, reply: ConversationReply) {
        let reply = match reply {
            ConversationReply::Progress(progress) => {
                self.rpc.send(RpcMessage::QueryProgress { token, progress });
                return;
            }
            ConversationReply::Fired(result) => RpcReply::to::<EventCall>(result),
            ConversationReply::QueryStarted(result) => RpcReply::to::<QueryCall>(result.map(|_| ())),
            // Serf says so of any query.
            ConversationReply::Responded(result) => RpcReply::to::<RespondCall>(
                result.map_err(|why| format!("failed to respond to key query: {why}")),
            ),
            // All four commands about keys are answered so.
            ConversationReply::Keys(Ok(report)) => {
                let error = report.error();
                RpcReply::with::<ListKeysCall>(&(*report).into()).but(error)
            }
            ConversationReply::Keys(Err(why)) => RpcReply::refusal(why),
        };
        self.rpc.reply(token, reply);
    }
}

/// The filters of all handlers together: whether any of them may answer a query.
pub(crate) fn filters(scripts: &[EventScript]) -> Vec<EventFilter> {
    scripts.iter().flat_map(|script| script.filters.iter().cloned()).collect()
}
