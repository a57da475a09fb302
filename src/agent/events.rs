//! The thread `serf-events`: tells what happened, in order, to everyone who wants to know.
//!
//! Architecture invariant: it waits for nobody. A consumer that does not keep up loses its
//! messages, and only its own.

use super::channels::EventMessage;
use super::clock::Clock;
use super::handlers::HandlerSender;
use super::rpc::{RpcMessage, RpcSender};
use super::table::SharedTable;
use crate::messaging::coalesce::MemberCoalescer;
use crate::model::{Event, MemberEvents};
use crate::telemetry::counters;
use crossbeam_channel::{Receiver, RecvTimeoutError};
use std::sync::Arc;

/// The thread's state.
pub struct EventActor {
    /// The table with the outbox of events.
    pub table: SharedTable,
    /// What other threads say.
    pub messages: Receiver<EventMessage>,
    /// The rules of coalescing.
    pub coalescer: MemberCoalescer,
    /// To the event handlers.
    pub handlers: HandlerSender,
    /// To the streams of control connections.
    pub rpc: RpcSender,
    /// Time.
    pub clock: Clock,
}

impl EventActor {
    /// Runs until told to stop, and tells what there is even then.
    pub fn run(mut self) {
        loop {
            let message = match self.clock.instant(self.coalescer.next_deadline()) {
                Some(deadline) => self.messages.recv_deadline(deadline),
                None => self.messages.recv().map_err(|_| RecvTimeoutError::Disconnected),
            };
            let stop = matches!(message, Ok(EventMessage::Stop) | Err(RecvTimeoutError::Disconnected));
            self.fetch();
            let now = self.clock.now();
            let due = if stop { self.coalescer.flush() } else { self.coalescer.tick(now) };
            due.into_iter().for_each(|events| self.deliver(events));
            if stop {
                return;
            }
        }
    }

    fn fetch(&mut self) {
        if self.table.read().events.is_empty() {
            return;
        }
        let events = std::mem::take(&mut self.table.write().events);
        let now = self.clock.now();
        for event in events {
            for told in self.coalescer.offer(event, now) {
                self.deliver(told);
            }
        }
    }

    fn deliver(&self, events: MemberEvents) {
        log::info!(target: "agent", "Received event: {}", events.kind);
        counters::EVENTS_TOLD.inc();
        let event = Arc::new(Event::Members(events));
        // What finds no room is counted there.
        self.handlers.send(&event);
        self.rpc.send(RpcMessage::Event(event));
    }
}
