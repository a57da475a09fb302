//! The thread `serf-handlers`: runs event handlers, however many at a time, from one loop.
//!
//! It owns all scripts that run. Their pipes are polled without blocking; that a child has ended
//! comes as SIGCHLD. Which events there are is decided elsewhere; what becomes of a query's answer
//! as well.
//!
//! | queue | bound; when full |
//! | --- | --- |
//! | of events on their way to the thread | [`sender::EVENTS_CAPACITY`]; what finds no room is refused and counted |
//! | of one script | [`waiting::MAX_WAITING`] events, [`waiting::MAX_WAITING_BYTES`]; the oldest are dropped and counted |
//!
//! Architecture invariant: the thread waits for nothing but its poll, least of all for a script.
//!
//! Here is the handle; `actor` is the inside, `sender` the way to it. A `lane` is one script with what is
//! `waiting` for it and its `run`; `orphans` are what scripts leave behind.

mod actor;
mod input;
mod lane;
mod orphans;
mod output;
mod reply;
mod run;
pub(super) mod sender;
#[cfg(test)]
mod tests;
pub(super) mod waiting;

pub(crate) use actor::{HandlerSettings, SelfFn};
pub(crate) use reply::{AnswerFn, HandlerAnswer};
pub(crate) use sender::HandlerSender;

use super::clock::Clock;
use super::thread::Thread;
use crate::channel::{Sender, bounded};
use crate::config::EventScript;
use actor::{Children, HandlerActor, HandlerParts, Order};
use mio::{Poll, Waker};
use std::io;
use std::time::Duration;

/// How long an order of the main thread waits for room.
const ORDER_PATIENCE: Duration = Duration::from_secs(1);

/// Starts the thread. `answer` is called once for each query that [`HandlerSender::send`] accepted.
pub(crate) fn spawn(
    settings: HandlerSettings,
    self_member: SelfFn,
    answer: AnswerFn,
    clock: Clock,
) -> io::Result<HandlersHandle> {
    let poll = Poll::new()?;
    let (sender, events, missed) =
        sender::channel(Waker::new(poll.registry(), actor::WAKER)?, &settings.scripts);
    let children = Children::watch(poll.registry())?;
    let (orders_in, orders) = bounded(4);
    let parts = HandlerParts { poll, children, events, orders, self_member, answer, missed, clock };
    let waker = sender.clone();
    let thread = Thread::spawn(move || HandlerActor::new(parts, settings), move || waker.wake())?;
    Ok(HandlersHandle { sender, orders: orders_in, thread })
}

/// The running thread, seen from outside.
#[derive(Debug)]
pub(crate) struct HandlersHandle {
    sender: HandlerSender,
    orders: Sender<Order>,
    thread: Thread,
}

impl HandlersHandle {
    /// For what has events.
    pub(crate) fn sender(&self) -> HandlerSender {
        self.sender.clone()
    }

    /// Replaces the handlers. A handler that is configured as before keeps what waits for it; what
    /// waits for one that is gone is dropped and counted; scripts that run end by themselves.
    pub(crate) fn set_scripts(&self, scripts: Vec<EventScript>) {
        // The order first, so that the thread has it before the first event that only the new scripts want.
        let order = Order::SetScripts(scripts.clone());
        if self.orders.send_within(order, ORDER_PATIENCE).is_err() {
            log::error!(target: "agent", "The event handlers were not changed: their thread does not answer");
            return;
        }
        self.sender.want(&scripts);
        self.sender.wake();
    }

    /// Ends scripts that run (SIGTERM, then SIGKILL), drops what waits, and waits for the end.
    pub(crate) fn stop(self) {
        self.thread.stop();
    }
}
