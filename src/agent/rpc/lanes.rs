//! The channel to the thread: one lane for each kind of message, so that a flood of one kind
//! pushes out no other.
//!
//! | lane | holds | when full |
//! | --- | --- | --- |
//! | answers | replies and orders | the reply is lost: a client has one request waiting, so there is room for all |
//! | events | events and what comes in for queries, in one order | dropped and counted |
//! | ends | ends of queries that found `events` full | cannot be: see [`ENDS_CAPACITY`] |
//! | log | lines for monitors | dropped and counted |

use super::control::RpcMessage;
use crate::channel::{Receiver, Sender, bounded, weighed};
use crate::messaging::QueryProgress;
use crate::rpc::{RpcReply, Token};
use crate::telemetry::counters;
use crossbeam_channel::TrySendError;
use mio::Waker;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Answers that may wait for the thread. Each connection waits for one at a time.
const ANSWERS_CAPACITY: usize = 512;
/// Events and answers to queries that may wait for the thread. A query to ten thousand members
/// brings twenty thousand; they do not come all at once.
const EVENTS_CAPACITY: usize = 2048;
/// Ends of queries that may wait apart. More would have to end while the thread takes nothing.
const ENDS_CAPACITY: usize = 1024;
/// Log lines that may wait for the thread.
const LOG_CAPACITY: usize = 1024;

/// The most bytes of these events and answers.
pub(crate) const MAX_EVENT_BYTES: usize = 768 * 1024;
/// The most bytes of these lines.
pub(crate) const MAX_LOG_BYTES: usize = 256 * 1024;

/// Sends messages to the thread. Cheap to clone; never blocks.
#[derive(Clone, Debug)]
pub(crate) struct RpcSender {
    answers: Sender<RpcMessage>,
    events: Sender<RpcMessage>,
    ends: Sender<Token>,
    log: Sender<RpcMessage>,
    waker: Arc<Waker>,
    shared: Arc<LaneState>,
}

#[derive(Debug, Default)]
struct LaneState {
    /// Whether the thread was woken and has not looked into its lanes since. Saves a system call
    /// for every further message of a burst.
    woken: AtomicBool,
    /// Whether any stream wants events.
    listening: AtomicBool,
    /// Messages that found their lane full, since the thread last asked.
    refused: AtomicU64,
    /// Records that some client should have had and will never get.
    dropped: AtomicU64,
}

/// The thread's end of the lanes.
#[derive(Debug)]
pub(super) struct RpcReceiver {
    answers: Receiver<RpcMessage>,
    events: Receiver<RpcMessage>,
    ends: Receiver<Token>,
    log: Receiver<RpcMessage>,
    /// Ends of queries that were taken from their lane and wait for what was sent before them.
    ended: VecDeque<Token>,
    /// How many messages of the lane of events may have been sent before the first of `ended`.
    before_ended: usize,
    /// Whether it is the log's turn.
    log_first: bool,
    shared: Arc<LaneState>,
}

/// Both ends.
pub(super) fn channel(waker: Arc<Waker>) -> (RpcSender, RpcReceiver) {
    let (answers_in, answers) = bounded(ANSWERS_CAPACITY);
    let (events_in, events) = weighed(EVENTS_CAPACITY, MAX_EVENT_BYTES, RpcMessage::weight);
    let (ends_in, ends) = bounded(ENDS_CAPACITY);
    let (log_in, log) = weighed(LOG_CAPACITY, MAX_LOG_BYTES, RpcMessage::weight);
    let shared = Arc::new(LaneState::default());
    let sender = RpcSender {
        answers: answers_in,
        events: events_in,
        ends: ends_in,
        log: log_in,
        waker,
        shared: Arc::clone(&shared),
    };
    let (ended, before_ended, log_first) = (VecDeque::new(), 0, false);
    (sender, RpcReceiver { answers, events, ends, log, ended, before_ended, log_first, shared })
}

impl RpcSender {
    /// Queues a message and wakes the thread, unless it is an event and no stream wants any.
    /// Returns whether there was room; what found none is counted. Nothing is logged here: the
    /// caller may be the logger.
    pub(crate) fn send(&self, message: RpcMessage) -> bool {
        let (lane, is_record) = match &message {
            RpcMessage::Event(_) if !self.shared.listening.load(Ordering::SeqCst) => return true,
            RpcMessage::Event(_) | RpcMessage::QueryProgress { .. } => (&self.events, true),
            RpcMessage::Log(_) => (&self.log, true),
            RpcMessage::Reply { .. } | RpcMessage::AuthKey(_) | RpcMessage::Handlers(_) => {
                (&self.answers, false)
            }
        };
        let queued = match lane.try_send(message) {
            Ok(()) => true,
            // A client waits for this one, for ever if it is lost.
            Err(TrySendError::Full(RpcMessage::QueryProgress { token, progress: QueryProgress::Done })) => {
                self.ends.try_send(token).is_ok()
            }
            Err(_) => false,
        };
        if !queued {
            self.shared.refused.fetch_add(1, Ordering::Relaxed);
            if is_record {
                self.count_dropped(1);
            }
        }
        if !self.shared.woken.swap(true, Ordering::SeqCst) && self.waker.wake().is_err() {
            // The next message tries again.
            self.shared.woken.store(false, Ordering::SeqCst);
        }
        queued
    }

    /// Lets the thread look at what there is besides messages.
    pub(super) fn wake(&self) {
        // Without a poll there is no thread that waits.
        let _ = self.waker.wake();
    }

    /// Answers a request.
    pub(crate) fn reply(&self, token: Token, reply: RpcReply) {
        // There is room: see `ANSWERS_CAPACITY`.
        self.send(RpcMessage::Reply { token, reply });
    }

    /// Records that clients should have had and will never get: each counted once, an event or
    /// log line that found its lane full as one. The counter `rpc_records_dropped` counts the same.
    #[cfg(test)]
    pub(crate) fn dropped_records(&self) -> u64 {
        self.shared.dropped.load(Ordering::Relaxed)
    }

    /// Counts records that will not be delivered.
    pub(super) fn count_dropped(&self, records: u64) {
        if records > 0 {
            self.shared.dropped.fetch_add(records, Ordering::Relaxed);
            counters::RPC_RECORDS_DROPPED.add(usize::try_from(records).unwrap_or(usize::MAX));
        }
    }

    /// Whether events are wanted from now on.
    pub(super) fn listen(&self, listening: bool) {
        self.shared.listening.store(listening, Ordering::SeqCst);
    }
}

impl RpcReceiver {
    /// Call before the lanes are emptied, so that what comes later wakes the thread again.
    pub(super) fn begin(&mut self) {
        self.shared.woken.store(false, Ordering::SeqCst);
        if self.ended.is_empty() {
            self.ended.extend(self.ends.try_iter());
            // In this order: what was sent before an end is in its lane when the end is.
            self.before_ended = self.events.len();
        }
    }

    /// The next message: answers first, then events and log lines in turn.
    pub(super) fn next(&mut self) -> Option<RpcMessage> {
        if let Ok(answer) = self.answers.try_recv() {
            return Some(answer);
        }
        self.log_first = !self.log_first;
        if self.log_first {
            self.log.try_recv().ok().or_else(|| self.next_event())
        } else {
            self.next_event().or_else(|| self.log.try_recv().ok())
        }
    }

    fn next_event(&mut self) -> Option<RpcMessage> {
        if self.before_ended == 0
            && let Some(token) = self.ended.pop_front()
        {
            return Some(RpcMessage::QueryProgress { token, progress: QueryProgress::Done });
        }
        self.before_ended = self.before_ended.saturating_sub(1);
        self.events.try_recv().ok()
    }

    /// How many messages wait.
    pub(super) fn waiting(&self) -> usize {
        self.answers.len() + self.events.len() + self.ended.len() + self.ends.len() + self.log.len()
    }

    /// How many messages found their lane full since the last call.
    pub(super) fn take_refused(&self) -> u64 {
        self.shared.refused.swap(0, Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::NodeName;
    use mio::Poll;

    fn lanes() -> (Poll, RpcSender, RpcReceiver) {
        let poll = Poll::new().unwrap();
        let waker = Waker::new(poll.registry(), mio::Token(0)).unwrap();
        let (sender, receiver) = channel(Arc::new(waker));
        (poll, sender, receiver)
    }

    fn ack(seq: u64) -> RpcMessage {
        let progress = QueryProgress::Ack { from: NodeName::new("a").unwrap() };
        RpcMessage::QueryProgress { token: Token { connection: 1, seq }, progress }
    }

    fn done(seq: u64) -> RpcMessage {
        RpcMessage::QueryProgress { token: Token { connection: 1, seq }, progress: QueryProgress::Done }
    }

    fn is_done(message: &RpcMessage, wanted: u64) -> bool {
        matches!(message, RpcMessage::QueryProgress { token, progress: QueryProgress::Done } if token.seq == wanted)
    }

    #[test]
    fn the_end_of_a_query_is_never_lost_and_comes_last() {
        let (_poll, sender, mut receiver) = lanes();
        for _ in 0..EVENTS_CAPACITY {
            assert!(sender.send(ack(1)));
        }
        assert!(!sender.send(ack(1)), "full");
        assert!(sender.send(done(1)) && sender.send(done(2)));
        assert_eq!((sender.dropped_records(), receiver.take_refused()), (1, 1));
        receiver.begin();
        assert!(!is_done(&receiver.next().unwrap(), 1));
        // More of the same while the thread is at it.
        assert!(sender.send(ack(3)));
        let mut rest: Vec<_> = std::iter::from_fn(|| receiver.next()).collect();
        assert!(matches!(rest.pop(), Some(RpcMessage::QueryProgress { token, .. }) if token.seq == 3));
        assert!(is_done(&rest.pop().unwrap(), 2) && is_done(&rest.pop().unwrap(), 1));
        assert_eq!(rest.len(), EVENTS_CAPACITY - 1);
        receiver.begin();
        assert!(receiver.next().is_none());
        assert_eq!(sender.dropped_records(), 1);
    }

    #[test]
    fn a_flood_of_one_kind_leaves_room_for_the_others() {
        let (_poll, sender, mut receiver) = lanes();
        while sender.send(ack(1)) {}
        assert!(sender.send(RpcMessage::AuthKey("k".into())));
        let line = crate::telemetry::LogLine { number: 0, level: log::Level::Info, text: "x".into() };
        assert!(sender.send(RpcMessage::Log(Arc::new(line))));
        receiver.begin();
        assert!(matches!(receiver.next(), Some(RpcMessage::AuthKey(_))));
        let next = [receiver.next(), receiver.next()];
        assert!(next.iter().any(|m| matches!(m, Some(RpcMessage::Log(_)))), "{next:?}");
    }

    #[test]
    fn events_that_nobody_wants_are_not_queued_and_not_counted() {
        use crate::model::{Event, LamportTime, UserEvent};
        let (_poll, sender, mut receiver) = lanes();
        let event =
            UserEvent { ltime: LamportTime(1), name: "x".into(), payload: Vec::new(), coalesce: false };
        let event = Arc::new(Event::User(event));
        for _ in 0..2 * EVENTS_CAPACITY {
            assert!(sender.send(RpcMessage::Event(Arc::clone(&event))));
        }
        assert!(receiver.next().is_none() && sender.dropped_records() == 0);
        sender.listen(true);
        assert!(sender.send(RpcMessage::Event(event)));
        assert!(receiver.next().is_some());
    }
}
