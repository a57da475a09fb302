//! What wakes the main thread: signals, messages of the other threads, and a deadline.

use super::signals::{Signal, Signals};
use crate::agent::channels::ToMain;
use crate::agent::clock::Clock;
use crate::agent::thread;
use crate::channel::Receiver;
use crate::model::Moment;
use mio::{Events, Poll, Token, Waker};
use std::io;

/// Token of the waker; those of signals follow.
const WAKER: Token = Token(0);

/// What woke the main thread.
#[derive(Debug)]
pub(crate) enum Wake {
    /// A signal.
    Signal(Signal),
    /// A message.
    Message(ToMain),
}

/// Where the main thread waits.
#[derive(Debug)]
pub(crate) struct Inbox {
    poll: Poll,
    events: Events,
    signals: Signals,
}

impl Inbox {
    /// Takes signals over from the system's default, from now on. The waker is for threads that send messages.
    pub(crate) fn open() -> io::Result<(Inbox, Waker)> {
        let poll = Poll::new()?;
        let waker = Waker::new(poll.registry(), WAKER)?;
        let signals = Signals::register(poll.registry(), WAKER.0 + 1)?;
        Ok((Inbox { poll, events: Events::with_capacity(8), signals }, waker))
    }

    /// Waits until something happens or `deadline` has passed. What happened, signals first.
    pub(crate) fn wait(&mut self, messages: &Receiver<ToMain>, clock: Clock, deadline: Moment) -> Vec<Wake> {
        let waited = thread::wait("the main thread", &mut self.poll, &mut self.events, clock.until(deadline));
        // A process that cannot wait any more has to end.
        let unable = (!waited).then_some(Signal::Terminate);
        let signals = unable.into_iter().chain(self.signals.pending());
        signals.map(Wake::Signal).chain(messages.try_iter().map(Wake::Message)).collect()
    }
}
