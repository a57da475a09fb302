//! A channel to one thread: what is sent wakes it.
//!
//! A thread waits in one of two ways: in a mio poll, if it has sockets, or parked, if it has only its
//! channel. Both are woken by a waker that is apart from the channel, so that a thread can also be made to
//! look at something that is in no channel, and a full channel keeps no thread asleep.
//!
//! crossbeam's own waiting is not used: before it sleeps, a receiver spins and yields, and for a thread that
//! is woken for each message this costs as much as the wake-up.

use super::clock::Clock;
use crate::channel::{Receiver, Sender, weighed};
use crate::model::Moment;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::{self, Thread};
use std::time::Duration;

/// The sending end: sends, then wakes.
#[derive(Debug)]
pub(crate) struct Mailbox<T> {
    sender: Sender<T>,
    waker: Waker,
}

impl<T> Clone for Mailbox<T> {
    fn clone(&self) -> Self {
        Mailbox { sender: self.sender.clone(), waker: self.waker.clone() }
    }
}

#[derive(Clone, Debug)]
enum Waker {
    /// Of a thread that waits in a poll.
    Poll(Arc<mio::Waker>),
    /// Of one that is parked.
    Park(Arc<Parking>),
}

impl<T> Mailbox<T> {
    /// A channel of `bound` messages to the thread that polls with `waker`.
    pub(crate) fn polled(bound: usize, waker: mio::Waker) -> (Mailbox<T>, Receiver<T>) {
        Mailbox::polled_weighed(bound, usize::MAX, |_| 0, waker)
    }

    /// As [`Mailbox::polled`], and the messages together keep at most `bytes`, by `weigh`.
    pub(crate) fn polled_weighed(
        bound: usize,
        bytes: usize,
        weigh: fn(&T) -> usize,
        waker: mio::Waker,
    ) -> (Mailbox<T>, Receiver<T>) {
        let (sender, receiver) = weighed(bound, bytes, weigh);
        (Mailbox { sender, waker: Waker::Poll(Arc::new(waker)) }, receiver)
    }

    /// A channel of `bound` messages that together keep at most `bytes`, to a thread that waits for nothing else.
    pub(crate) fn parked_weighed(
        bound: usize,
        bytes: usize,
        weigh: fn(&T) -> usize,
    ) -> (Mailbox<T>, Parked<T>) {
        let (sender, messages) = weighed(bound, bytes, weigh);
        let parking = Arc::new(Parking::default());
        (Mailbox { sender, waker: Waker::Park(Arc::clone(&parking)) }, Parked { messages, parking })
    }

    /// A channel of `bound` messages to a thread that waits for nothing else.
    pub(crate) fn parked(bound: usize) -> (Mailbox<T>, Parked<T>) {
        Mailbox::parked_weighed(bound, usize::MAX, |_| 0)
    }

    /// Sends without waiting. Gives the message back when the channel is full or its thread has
    /// ended.
    pub(crate) fn send(&self, message: T) -> Result<(), T> {
        let sent = self.sender.try_send(message).map_err(|e| e.into_inner());
        self.wake();
        sent
    }

    /// Sends, and waits for room if it must; for the few that may wait. Says whether there was room.
    pub(crate) fn send_within(&self, message: T, patience: Duration) -> bool {
        let sent = self.sender.send_within(message, patience).is_ok();
        self.wake();
        sent
    }

    /// Sends without waiting what may be looked at as late as `latest`: a thread that looks by itself until then is
    /// not woken, unless half of the room is taken. Otherwise as [`Mailbox::send`].
    pub(crate) fn send_by(&self, message: T, latest: Moment) -> Result<(), T> {
        let sent = self.sender.try_send(message).map_err(|e| e.into_inner());
        if self.sender.is_half_full() {
            self.wake();
        } else {
            self.wake_by(latest);
        }
        sent
    }

    /// As [`Mailbox::wake`], unless the thread looks by itself until `latest`.
    pub(crate) fn wake_by(&self, latest: Moment) {
        let looks = match &self.waker {
            Waker::Poll(_) => false,
            Waker::Park(parking) => parking.looks_by(latest),
        };
        if !looks {
            self.wake();
        }
    }

    /// Lets the thread look at what there is besides messages.
    pub(crate) fn wake(&self) {
        match &self.waker {
            Waker::Poll(waker) => {
                if let Err(e) = waker.wake() {
                    log::debug!(target: "agent", "cannot wake a thread: {e}");
                }
            }
            Waker::Park(parking) => parking.wake(),
        }
    }
}

/// The receiving end of a channel to a thread that waits for nothing else.
#[derive(Debug)]
pub(crate) struct Parked<T> {
    messages: Receiver<T>,
    parking: Arc<Parking>,
}

impl<T> Parked<T> {
    /// Waits until there are messages, the thread is woken, or `deadline` has passed. Always by the same
    /// thread.
    pub(crate) fn wait(&self, clock: Clock, deadline: Moment) {
        self.parking.wait(clock, deadline, || !self.messages.is_empty());
    }

    /// The next message, if there is one.
    pub(crate) fn next(&self) -> Option<T> {
        self.messages.try_recv().ok()
    }

    /// How many messages wait.
    pub(crate) fn len(&self) -> usize {
        self.messages.len()
    }
}

/// How a parked thread is woken.
#[derive(Debug)]
struct Parking {
    /// Whether it was woken and has not waited since. Saves a system call for every further message of a
    /// burst.
    woken: AtomicBool,
    /// Until when it waits at most, in nanoseconds of the clock; for ever while it does not wait, as it may have looked
    /// already at what comes then.
    waits_until: AtomicU64,
    /// The thread, from its first wait on.
    thread: OnceLock<Thread>,
}

impl Default for Parking {
    fn default() -> Self {
        let waits_until = AtomicU64::new(Moment::NEVER.as_nanos());
        Parking { woken: AtomicBool::default(), waits_until, thread: OnceLock::new() }
    }
}

impl Parking {
    fn wake(&self) {
        // Until its first wait the flag alone suffices.
        if !self.woken.swap(true, Ordering::SeqCst)
            && let Some(thread) = self.thread.get()
        {
            thread.unpark();
        }
    }

    /// Whether the thread looks at its messages until `latest` without being woken.
    fn looks_by(&self, latest: Moment) -> bool {
        self.waits_until.load(Ordering::SeqCst) <= latest.as_nanos()
    }

    fn wait(&self, clock: Clock, deadline: Moment, ready: impl Fn() -> bool) {
        self.thread.get_or_init(thread::current);
        // The flag first, so that it is down before the messages are looked at. Parking may end without a
        // reason.
        self.waits_until.store(deadline.as_nanos(), Ordering::SeqCst);
        while !self.woken.swap(false, Ordering::SeqCst) && !ready() {
            match clock.until(deadline) {
                None => thread::park(),
                Some(Duration::ZERO) => break,
                Some(left) => thread::park_timeout(left),
            }
        }
        self.waits_until.store(Moment::NEVER.as_nanos(), Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_has_passed_when_a_wait_for_it_ends() {
        let (_mailbox, messages) = Mailbox::<()>::parked(1);
        let clock = Clock::start();
        let deadline = clock.now() + Duration::from_micros(1300);
        messages.wait(clock, deadline);
        assert!(clock.now() >= deadline);
    }

    #[test]
    fn messages_and_wakes_from_before_a_wait_end_it() {
        let (mailbox, messages) = Mailbox::parked(2);
        let clock = Clock::start();
        mailbox.wake();
        messages.wait(clock, Moment::NEVER);
        assert_eq!(messages.next(), None);
        mailbox.send(1).unwrap();
        mailbox.send(2).unwrap();
        assert_eq!(mailbox.send(3), Err(3), "full");
        messages.wait(clock, Moment::NEVER);
        assert_eq!(messages.next(), Some(1));
        // The one that is left does not wait for another wake.
        messages.wait(clock, Moment::NEVER);
        assert_eq!((messages.next(), messages.next()), (Some(2), None));
    }

    #[test]
    fn what_may_wait_wakes_no_thread_that_looks_in_time() {
        let (mailbox, messages) = Mailbox::parked(4);
        let (clock, parking) = (Clock::start(), Arc::clone(&messages.parking));
        let soon = clock.now() + Duration::from_secs(1000);
        let woken = || parking.woken.load(Ordering::SeqCst);
        mailbox.send_by(1, soon).unwrap();
        assert!(woken(), "it may have looked already");
        for (waits_until, latest, expected) in
            [(Moment::NEVER, soon, true), (soon, soon, false), (soon, clock.now(), true)]
        {
            parking.woken.store(false, Ordering::SeqCst);
            parking.waits_until.store(waits_until.as_nanos(), Ordering::SeqCst);
            mailbox.wake_by(latest);
            assert_eq!(woken(), expected, "until {waits_until}, by {latest}");
        }
        parking.woken.store(false, Ordering::SeqCst);
        parking.waits_until.store(soon.as_nanos(), Ordering::SeqCst);
        mailbox.send_by(2, soon).unwrap();
        assert!(woken(), "half of the room is taken");
    }

    #[test]
    fn no_wake_is_lost_however_the_threads_interleave() {
        const ROUNDS: u32 = 20_000;
        let (mailbox, messages) = Mailbox::parked(1);
        let (answers, answered) = Mailbox::parked(1);
        let clock = Clock::start();
        let echo = thread::spawn(move || {
            for _ in 0..ROUNDS {
                messages.wait(clock, Moment::NEVER);
                while let Some(message) = messages.next() {
                    answers.send(message).unwrap();
                }
            }
        });
        // If one were lost, this would never end.
        for round in 0..ROUNDS / 2 {
            mailbox.send(round).unwrap();
            let answer = loop {
                answered.wait(clock, Moment::NEVER);
                if let Some(answer) = answered.next() {
                    break answer;
                }
            };
            assert_eq!(answer, round);
        }
        // Waits that found nothing, because a message was taken before its wake came.
        while !echo.is_finished() {
            mailbox.wake();
        }
        echo.join().unwrap();
    }
}
