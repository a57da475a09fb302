//! The thread `serf-handlers`: runs event handlers, however many at a time, from one loop.
//!
//! It owns all scripts that run. Their pipes are polled without blocking; that a child has ended
//! comes as SIGCHLD. Which events there are is decided elsewhere; what becomes of a query's answer
//! as well.
//!
//! | queue | bound; when full |
//! | --- | --- |
//! | from whoever has events | [`EVENTS_CAPACITY`]; what finds no room is refused and counted |
//! | of one script | [`MAX_WAITING`] events, [`MAX_WAITING_BYTES`]; the oldest are dropped and counted |
//!
//! Architecture invariant: the thread waits for nothing but its poll, least of all for a script.

mod actor;
mod input;
mod lane;
mod output;
mod question;
mod run;
#[cfg(test)]
mod tests;

pub use actor::STOP_GRACE;
pub use lane::{MAX_WAITING, MAX_WAITING_BYTES};
pub use output::MAX_OUTPUT;
pub use question::{AnswerFn, HandlerAnswer};
pub use run::{SLOW, TERM_GRACE};

use super::clock::Clock;
use super::thread::Thread;
use crate::config::EventScript;
use crate::model::{Event, Member};
use crate::telemetry::counters;
use actor::{Children, HandlerActor, HandlerParts};
use crossbeam_channel::{Sender, bounded};
use mio::{Poll, Waker};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// Events on their way to the thread. It takes them at once, so this many only pile up while the
/// machine starves it.
pub const EVENTS_CAPACITY: usize = 256;

/// How long an order of the main thread waits for room.
const ORDER_PATIENCE: Duration = Duration::from_secs(1);

/// What to run.
#[derive(Clone, Debug, Default)]
pub struct HandlerSettings {
    /// The configured handlers.
    pub scripts: Vec<EventScript>,
    /// How long a script may run before its process group is ended. `None` or zero: for ever, or
    /// until the deadline of the query it answers.
    pub timeout: Option<Duration>,
}

/// Tells what this member looks like now. Called on `serf-handlers`; must not block for long.
pub type SelfFn = Box<dyn Fn() -> Member + Send>;

enum Order {
    SetScripts(Vec<EventScript>),
}

/// Starts the thread. `answer` is told of each query that [`HandlerSender::send`] accepted, once.
pub fn spawn(
    settings: HandlerSettings,
    self_member: SelfFn,
    answer: AnswerFn,
    clock: Clock,
) -> io::Result<HandlersHandle> {
    let poll = Poll::new()?;
    let waker = Arc::new(Waker::new(poll.registry(), actor::WAKER)?);
    let children = Children::watch(poll.registry())?;
    let (events_in, events) = bounded(EVENTS_CAPACITY);
    let (orders_in, orders) = bounded(4);
    let missed = Arc::<Missed>::default();
    let sender = HandlerSender { events: events_in, waker, missed: Arc::clone(&missed) };
    let parts = HandlerParts { poll, children, events, orders, self_member, answer, missed, clock };
    let waker = sender.clone();
    let thread = Thread::spawn(move || HandlerActor::new(parts, settings), move || waker.wake())?;
    Ok(HandlersHandle { sender, orders: orders_in, thread })
}

/// Gives events to the thread. Cheap to clone; never blocks.
#[derive(Clone, Debug)]
pub struct HandlerSender {
    events: Sender<Arc<Event>>,
    waker: Arc<Waker>,
    missed: Arc<Missed>,
}

/// What handlers were not told of.
#[derive(Debug, Default)]
struct Missed {
    /// In total.
    dropped: AtomicUsize,
    /// Of these, what found no room on the way to the thread and it has not complained about.
    refused: AtomicUsize,
}

impl Missed {
    fn count(&self, events: usize) {
        self.dropped.fetch_add(events, Ordering::Relaxed);
        counters::HANDLER_EVENTS_DROPPED.add(events);
    }
}

impl HandlerSender {
    /// Passes an event to every script that wants it. Returns whether there was room; what found
    /// none is counted, and if it is a query, the thread never heard of it and tells nobody.
    pub fn send(&self, event: &Arc<Event>) -> bool {
        let sent = self.events.try_send(Arc::clone(event)).is_ok();
        if !sent {
            self.missed.count(1);
            self.missed.refused.fetch_add(1, Ordering::Relaxed);
        }
        self.wake();
        sent
    }

    /// Lets the thread look at what there is besides events.
    fn wake(&self) {
        if let Err(e) = self.waker.wake() {
            log::debug!(target: "agent", "cannot wake serf-handlers: {e}");
        }
    }

    /// How many events handlers were not told of since the thread started: one for each script
    /// that missed one, and one for each event that was refused.
    pub fn dropped(&self) -> usize {
        self.missed.dropped.load(Ordering::Relaxed)
    }
}

/// The running thread, seen from outside.
#[derive(Debug)]
pub struct HandlersHandle {
    sender: HandlerSender,
    orders: Sender<Order>,
    thread: Thread,
}

impl HandlersHandle {
    /// For whoever has events.
    pub fn sender(&self) -> HandlerSender {
        self.sender.clone()
    }

    /// Replaces the handlers. A handler that is configured as before keeps what waits for it; what
    /// waits for one that is gone is dropped and counted; scripts that run end by themselves.
    pub fn set_scripts(&self, scripts: Vec<EventScript>) {
        if self.orders.send_timeout(Order::SetScripts(scripts), ORDER_PATIENCE).is_err() {
            log::error!(target: "agent", "The event handlers were not changed: their thread does not answer");
        }
        self.sender.wake();
    }

    /// Ends scripts that run (SIGTERM, then SIGKILL), drops what waits, and waits for the end.
    pub fn stop(self) {
        self.thread.stop();
    }
}
