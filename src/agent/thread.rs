//! How every thread of the agent is built: an actor inside, which owns what the thread works with, and
//! a handle outside, by which it is stopped.
//!
//! * Inside, an [`Actor`]: its state, a closed `enum` of the messages that may wake it (`channels`),
//!   and a loop that waits ([`wait`] for sockets, `mailbox` for a channel alone), takes what has come, and
//!   does what is due.
//! * Outside, a [`Thread`]: a name, a waker, one way to stop, and a wait for the end that is bounded.
//!
//! A thread is stopped by a flag and not by a message: a flag needs no room in a full channel, and a
//! channel whose senders are spread over all threads cannot be closed. Whatever was sent before the flag
//! was raised is in the channel when the thread sees the flag. So a thread that owes delivery looks at the
//! flag after a wait, takes out what is there, and ends then.
//!
//! `serf-log` (`telemetry/logger.rs`) is built alike, and apart, because telemetry knows no agent and its
//! callers are all threads. What runs for a moment and ends by itself is started with [`start`].

use crate::model::format_duration;
use crossbeam_channel::{Receiver, RecvTimeoutError, bounded};
use mio::{Events, Poll};
use std::convert::Infallible;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

/// The stack of a thread, in bytes of address space; only what is touched takes memory. The deepest is some tens of
/// kilobytes: nothing recurses on input, and large buffers are on the heap. The standard library's 2 MiB do not fit
/// where address space is limited.
const STACK: usize = 512 * 1024;

/// The inside of a thread.
pub(crate) trait Actor {
    /// The thread's name, as `ps -T` shows it: 15 bytes at most.
    const NAME: &'static str;
    /// How long its end may take once it was asked to stop.
    const PATIENCE: Duration = Duration::from_secs(1);

    /// Runs until `stop` is raised, and delivers what is still owed.
    fn run(self, stop: &Stop);
}

/// Whether a thread is to end. Clones are the same flag.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stop(Arc<AtomicBool>);

impl Stop {
    /// Whether the thread was asked to stop.
    pub(crate) fn is_raised(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }

    /// Asks the thread to stop; whatever it waits for has to be ended as well.
    pub(crate) fn raise(&self) {
        self.0.store(true, Ordering::Release);
    }
}

/// A running thread, seen from outside. Dropping it stops it.
pub(crate) struct Thread {
    name: &'static str,
    patience: Duration,
    stop: Stop,
    wake: Box<dyn Fn() + Send + Sync>,
    /// Never carries anything; it closes when the thread has ended.
    ended: Receiver<Infallible>,
    thread: Option<JoinHandle<()>>,
}

impl Thread {
    /// Starts a thread. `build` puts the actor together on the thread itself, so that an actor may hold
    /// what cannot be sent to another. `wake` ends a wait of the thread; it must not block.
    pub(crate) fn spawn<A: Actor>(
        build: impl FnOnce() -> A + Send + 'static,
        wake: impl Fn() + Send + Sync + 'static,
    ) -> io::Result<Thread> {
        let (stop, (alive, ended)) = (Stop::default(), bounded(0));
        let inside = stop.clone();
        let thread = start(A::NAME, move || {
            build().run(&inside);
            drop(alive);
        })?;
        let (wake, thread) = (Box::new(wake), Some(thread));
        Ok(Thread { name: A::NAME, patience: A::PATIENCE, stop, wake, ended, thread })
    }

    /// Asks the thread to stop and waits for its end, [`Actor::PATIENCE`] at most. A thread that takes
    /// longer is named in the log and left behind. Returns whether it has ended.
    pub(crate) fn stop(mut self) -> bool {
        self.end()
    }

    fn end(&mut self) -> bool {
        let Some(thread) = self.thread.take() else { return true };
        self.stop.raise();
        (self.wake)();
        if let Err(RecvTimeoutError::Timeout) = self.ended.recv_timeout(self.patience) {
            let patience = format_duration(self.patience);
            log::error!(target: "agent", "{} has not ended within {patience}; leaving it behind", self.name);
            return false;
        }
        if thread.join().is_err() {
            // Only in tests: elsewhere a panic has aborted the process before it gets here.
            log::error!(target: "agent", "{} has panicked", self.name);
        }
        true
    }
}

impl Drop for Thread {
    fn drop(&mut self) {
        self.end();
    }
}

impl fmt::Debug for Thread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Thread").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Starts a thread that does one thing and ends by itself. Nothing waits for it; it ends with the
/// process.
pub(crate) fn start(name: &'static str, run: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
    debug_assert!(name.len() <= 15, "the kernel cuts {name} off");
    Builder::new().name(name.to_string()).stack_size(STACK).spawn(run)
}

/// Waits in a poll for a socket, the waker or `timeout`; without a timeout for ever. A signal that
/// interrupts is a wake like any other, with nothing in `events`. Returns whether the thread can go on
/// waiting; why not is in the log.
///
/// The timeout needs no margin: mio rounds it up to whole milliseconds, so that a deadline has passed
/// when its timeout has.
pub(crate) fn wait(name: &str, poll: &mut Poll, events: &mut Events, timeout: Option<Duration>) -> bool {
    match poll.poll(events, timeout) {
        Ok(()) => true,
        Err(e) if e.kind() == io::ErrorKind::Interrupted => {
            events.clear();
            true
        }
        Err(e) => {
            log::error!(target: "agent", "{name} cannot wait: {e}");
            false
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::clock::Clock;
    use crate::agent::mailbox::{Mailbox, Parked};
    use crate::model::Moment;
    use crossbeam_channel::Sender;
    use std::time::Instant;

    const PATIENCE: Duration = Duration::from_secs(20);

    /// Passes on what it hears, up to the last.
    struct Echo {
        messages: Parked<u32>,
        heard: Sender<(String, u32)>,
    }

    impl Actor for Echo {
        const NAME: &'static str = "serf-echo";
        const PATIENCE: Duration = PATIENCE;

        fn run(self, stop: &Stop) {
            let name = std::thread::current().name().unwrap_or_default().to_string();
            let clock = Clock::start();
            loop {
                self.messages.wait(clock, Moment::NEVER);
                let stopping = stop.is_raised();
                while let Some(message) = self.messages.next() {
                    self.heard.send((name.clone(), message)).unwrap();
                }
                if stopping {
                    return;
                }
            }
        }
    }

    fn echo() -> (Thread, Mailbox<u32>, Receiver<(String, u32)>) {
        let (mailbox, messages) = Mailbox::parked(16);
        let (heard_in, heard) = bounded(64);
        let waker = mailbox.clone();
        let build = move || Echo { messages, heard: heard_in };
        let thread = Thread::spawn(build, move || waker.wake()).unwrap();
        (thread, mailbox, heard)
    }

    #[test]
    fn a_thread_has_its_name_and_ends_when_asked_with_everything_delivered() {
        let (thread, sender, heard) = echo();
        for i in 1..=16 {
            sender.send(i).unwrap();
        }
        assert!(thread.stop());
        let heard: Vec<_> = heard.try_iter().collect();
        assert!((1..=16).all(|i| heard.contains(&("serf-echo".to_string(), i))), "{heard:?}");
        assert!(sender.send(17).is_err(), "the actor is gone");
    }

    #[test]
    fn dropping_the_handle_stops_the_thread() {
        let (thread, sender, _heard) = echo();
        drop(thread);
        assert!(sender.send(1).is_err());
    }

    /// Does not listen.
    struct Stuck(Receiver<()>);

    impl Actor for Stuck {
        const NAME: &'static str = "serf-stuck";
        const PATIENCE: Duration = Duration::from_millis(20);

        fn run(self, _: &Stop) {
            let _ = self.0.recv();
        }
    }

    #[test]
    fn a_thread_that_hangs_is_left_behind() {
        let (release, wait_for) = bounded(0);
        let thread = Thread::spawn(move || Stuck(wait_for), || {}).unwrap();
        let before = Instant::now();
        assert!(!thread.stop());
        assert!(before.elapsed() < PATIENCE);
        drop(release);
    }

    #[test]
    fn a_deadline_has_passed_when_a_wait_for_it_ends() {
        let (mut poll, mut events, clock) = (Poll::new().unwrap(), Events::with_capacity(1), Clock::start());
        let deadline = clock.now() + Duration::from_micros(1300);
        assert!(wait("test", &mut poll, &mut events, clock.until(deadline)));
        assert!(clock.now() >= deadline);
        assert_eq!(clock.until(Moment::NEVER), None);
    }
}
