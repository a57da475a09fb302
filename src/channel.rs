//! Bounded channels between threads that take memory for what waits, not for what may wait.
//!
//! crossbeam makes all slots of a bounded channel in advance, and each has the size of the largest message:
//! with messages of a hundred bytes and bounds of a thousand, that was most of an idle agent's memory. Its
//! channels without a bound grow and shrink by 31 messages; this is one of those, with the bound in
//! front. Where messages are large or come from others, what waits is also bounded in bytes.

use crossbeam_channel::{RecvError, TryRecvError, TrySendError, unbounded};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// How often a sender that waits looks for room.
const PAUSE: Duration = Duration::from_millis(1);

/// How many bytes a message keeps, and how many all that wait may.
#[derive(Debug)]
struct Weighing<T> {
    weigh: fn(&T) -> usize,
    most: usize,
    held: Arc<AtomicUsize>,
}

impl<T> Clone for Weighing<T> {
    fn clone(&self) -> Self {
        Weighing { weigh: self.weigh, most: self.most, held: Arc::clone(&self.held) }
    }
}

/// A channel for `bound` messages. Threads that send at the same instant may exceed it by one message each.
pub(crate) fn bounded<T>(bound: usize) -> (Sender<T>, Receiver<T>) {
    weighed(bound, usize::MAX, |_| 0)
}

/// A channel for `bound` messages that together keep at most `bytes`, by `weigh`. A single one that keeps more
/// may wait alone.
pub(crate) fn weighed<T>(bound: usize, bytes: usize, weigh: fn(&T) -> usize) -> (Sender<T>, Receiver<T>) {
    let (queue, receiver) = unbounded();
    let weighing = Weighing { weigh, most: bytes, held: Arc::default() };
    (Sender { queue, bound, weighing: weighing.clone() }, Receiver { queue: receiver, weighing })
}

/// The sending end. Clones send to the same receiver.
#[derive(Debug)]
pub(crate) struct Sender<T> {
    queue: crossbeam_channel::Sender<T>,
    bound: usize,
    weighing: Weighing<T>,
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        Sender { queue: self.queue.clone(), bound: self.bound, weighing: self.weighing.clone() }
    }
}

impl<T> Sender<T> {
    /// Sends without waiting; gives the message back if the channel is full, or closed.
    pub(crate) fn try_send(&self, message: T) -> Result<(), TrySendError<T>> {
        if self.queue.len() >= self.bound {
            return Err(TrySendError::Full(message));
        }
        let Weighing { weigh, most, held } = &self.weighing;
        let weight = weigh(&message);
        // Counted first, so that two at once cannot both find room for one.
        let before = held.fetch_add(weight, Ordering::Relaxed);
        if before > 0 && before.saturating_add(weight) > *most {
            held.fetch_sub(weight, Ordering::Relaxed);
            return Err(TrySendError::Full(message));
        }
        self.queue.send(message).map_err(|e| TrySendError::Disconnected(e.0))
    }

    /// Sends, and waits up to `patience` for room if it must; for the few that may wait.
    // How long a sender waits is no rule of the cluster.
    #[allow(clippy::disallowed_methods)]
    pub(crate) fn send_within(&self, message: T, patience: Duration) -> Result<(), TrySendError<T>> {
        let started = Instant::now();
        let mut result = self.try_send(message);
        while let Err(TrySendError::Full(message)) = result {
            if started.elapsed() >= patience {
                return Err(TrySendError::Full(message));
            }
            thread::park_timeout(PAUSE);
            result = self.try_send(message);
        }
        result
    }

    /// Whether at least half of the room is taken.
    pub(crate) fn is_half_full(&self) -> bool {
        2 * self.queue.len() >= self.bound
    }

    /// How many messages wait.
    pub(crate) fn len(&self) -> usize {
        self.queue.len()
    }
}

/// The receiving end.
#[derive(Debug)]
pub(crate) struct Receiver<T> {
    queue: crossbeam_channel::Receiver<T>,
    weighing: Weighing<T>,
}

impl<T> Receiver<T> {
    /// The next message, if there is one.
    pub(crate) fn try_recv(&self) -> Result<T, TryRecvError> {
        let message = self.queue.try_recv()?;
        self.weighing.held.fetch_sub((self.weighing.weigh)(&message), Ordering::Relaxed);
        Ok(message)
    }

    /// The next message; an error once no sender is left.
    pub(crate) fn recv(&self) -> Result<T, RecvError> {
        let message = self.queue.recv()?;
        self.weighing.held.fetch_sub((self.weighing.weigh)(&message), Ordering::Relaxed);
        Ok(message)
    }

    /// All messages that are there.
    pub(crate) fn try_iter(&self) -> impl Iterator<Item = T> {
        std::iter::from_fn(|| self.try_recv().ok())
    }

    /// How many messages wait.
    pub(crate) fn len(&self) -> usize {
        self.queue.len()
    }

    /// Whether none does.
    pub(crate) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_channel_gives_the_message_back_until_there_is_room() {
        let (sender, receiver) = bounded(2);
        assert_eq!((sender.try_send(1), sender.try_send(2)), (Ok(()), Ok(())));
        assert_eq!(sender.try_send(3), Err(TrySendError::Full(3)));
        assert_eq!(sender.len(), 2);
        assert_eq!(receiver.try_recv(), Ok(1));
        assert_eq!(sender.try_send(3), Ok(()));
        assert_eq!(receiver.try_iter().collect::<Vec<_>>(), [2, 3]);
    }

    #[test]
    fn a_closed_channel_says_so_full_or_not() {
        let (sender, receiver) = bounded(1);
        sender.try_send(1).unwrap();
        drop(receiver);
        assert_eq!(sender.send_within(2, Duration::ZERO), Err(TrySendError::Disconnected(2)));
    }

    #[test]
    fn a_sender_that_waits_ends_when_there_is_room_and_when_there_is_none_in_time() {
        let (sender, receiver) = bounded(1);
        sender.try_send(1).unwrap();
        assert_eq!(sender.send_within(2, Duration::from_millis(5)), Err(TrySendError::Full(2)));
        let waiting = sender.clone();
        let thread = thread::Builder::new().spawn(move || waiting.send_within(2, Duration::from_secs(20)));
        assert_eq!(receiver.recv(), Ok(1));
        assert_eq!(thread.unwrap().join().unwrap(), Ok(()));
        assert_eq!(receiver.recv(), Ok(2));
    }

    #[test]
    fn what_waits_is_bounded_in_bytes_and_a_large_message_waits_alone() {
        let (sender, receiver) = weighed(10, 100, String::len);
        let text = |len| "x".repeat(len);
        for (len, fits) in [(60, true), (41, false), (40, true), (1, false), (0, true)] {
            assert_eq!(sender.try_send(text(len)).is_ok(), fits, "{len}");
        }
        assert_eq!(receiver.try_recv().map(|text| text.len()), Ok(60));
        assert!(sender.try_send(text(60)).is_ok());
        assert_eq!(receiver.try_iter().map(|text| text.len()).collect::<Vec<_>>(), [40, 0, 60]);
        assert!(sender.try_send(text(1000)).is_ok(), "alone");
        assert!(sender.try_send(text(1)).is_err());
        assert_eq!(receiver.try_iter().count(), 1);
        assert_eq!(receiver.weighing.held.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn nothing_is_lost_between_threads_and_the_bound_holds_but_for_one_of_each() {
        const SENDERS: usize = 4;
        let (sender, receiver) = bounded(3);
        let threads: Vec<_> = (0..SENDERS)
            .map(|_| {
                let sender = sender.clone();
                thread::Builder::new()
                    .spawn(move || (0..1000).all(|i| sender.send_within(i, Duration::from_secs(20)).is_ok()))
            })
            .collect();
        let mut sum = 0;
        for _ in 0..SENDERS * 1000 {
            assert!(receiver.len() <= 3 + SENDERS);
            sum += receiver.recv().unwrap();
        }
        assert_eq!(sum, SENDERS * (0..1000).sum::<usize>());
        assert!(threads.into_iter().all(|thread| thread.unwrap().join().unwrap()));
    }
}
