//! What the log thread and its callers share: the recent lines, the subscribers, and which levels are
//! wanted. A line is kept and given to the subscribers by the thread that logs it; the log thread is only
//! needed for the terminal and syslog.

use super::counters;
use super::line::{Entry, LogLine};
use super::zone::Zone;
use log::{Level, LevelFilter, Log, Metadata};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

/// Lines that a new monitor is shown.
pub const RECENT_LINES: usize = 512;
/// The most bytes of these lines.
pub const MAX_RECENT_BYTES: usize = 256 * 1024;

/// Names a subscriber to [`LoggerHandle::unsubscribe`](super::LoggerHandle::unsubscribe).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SubscriberId(u64);

/// The answer to [`LoggerHandle::subscribe`](super::LoggerHandle::subscribe).
#[derive(Debug)]
pub struct Subscription {
    /// For [`LoggerHandle::unsubscribe`](super::LoggerHandle::unsubscribe).
    pub id: SubscriberId,
    /// The lines before the first that the subscriber will be given, oldest first.
    pub backlog: Vec<Arc<LogLine>>,
}

/// What the thread and its callers share. Nobody writes to the terminal while holding `feed`, so that no
/// thread that logs ever waits for it.
pub(super) struct Shared {
    /// The least important level that is taken down, as a `usize` of [`LevelFilter`].
    max: AtomicUsize,
    /// Whether this logger is the process's, and thus sets `log::set_max_level`.
    global: AtomicBool,
    pub(super) gate_open: AtomicBool,
    /// Lines dropped because the queue was full.
    pub(super) dropped: AtomicUsize,
    /// In which lines are stamped.
    pub(super) zone: Zone,
    feed: Mutex<Feed>,
}

/// The subscribers that get lines besides the terminal, and which of them the terminal gets.
struct Feed {
    recent: VecDeque<Arc<Entry>>,
    recent_bytes: usize,
    subscribers: Vec<Subscriber>,
    next_id: u64,
    next_line: u64,
    filter: env_logger::Logger,
}

struct Subscriber {
    id: SubscriberId,
    /// The least important level that it wants.
    up_to: LevelFilter,
    take: TakeLine,
}

/// Is given each line, on the thread that logs it.
pub(super) type TakeLine = Box<dyn Fn(&Arc<LogLine>) + Send>;

impl Shared {
    /// Nothing has been logged yet.
    pub(super) fn new(filter: env_logger::Logger, gate_open: bool, zone: Zone) -> Shared {
        Shared {
            max: AtomicUsize::new(taken_down(&filter) as usize),
            global: AtomicBool::new(false),
            gate_open: AtomicBool::new(gate_open),
            dropped: AtomicUsize::new(0),
            zone,
            feed: Mutex::new(Feed {
                recent: VecDeque::new(),
                recent_bytes: 0,
                subscribers: Vec::new(),
                next_id: 0,
                next_line: 0,
                filter,
            }),
        }
    }

    /// Whether lines of this level are taken down.
    pub(super) fn takes_down(&self, level: Level) -> bool {
        level as usize <= self.max.load(Ordering::Relaxed)
    }

    /// Makes this the state of the process's logger.
    pub(super) fn make_global(&self) {
        self.global.store(true, Ordering::Relaxed);
        self.publish_max();
    }

    /// Changes what the terminal shows.
    pub(super) fn set_filter(&self, filter: env_logger::Logger) {
        self.max.store(taken_down(&filter) as usize, Ordering::Relaxed);
        self.feed().filter = filter;
        self.publish_max();
    }

    /// Gives every further line up to a level to `take`, and returns the recent ones.
    pub(super) fn subscribe(&self, up_to: LevelFilter, take: TakeLine) -> Subscription {
        let mut feed = self.feed();
        let id = SubscriberId(feed.next_id);
        feed.next_id += 1;
        feed.subscribers.push(Subscriber { id, up_to, take });
        let recent = feed.recent.clone();
        drop(feed);
        Subscription { id, backlog: self.render(&recent) }
    }

    /// Ends a subscription.
    pub(super) fn unsubscribe(&self, id: SubscriberId) {
        self.feed().subscribers.retain(|subscriber| subscriber.id != id);
    }

    /// The last lines, oldest first.
    pub(super) fn recent(&self) -> Vec<Arc<LogLine>> {
        let recent = self.feed().recent.clone();
        self.render(&recent)
    }

    fn render(&self, entries: &VecDeque<Arc<Entry>>) -> Vec<Arc<LogLine>> {
        entries.iter().map(|entry| Arc::new(entry.render(&self.zone))).collect()
    }

    fn feed(&self) -> MutexGuard<'_, Feed> {
        // A subscriber that panicked has not harmed the recent lines or the filter.
        self.feed.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    pub(super) fn count_drop(&self) {
        counters::LOG_LINES_DROPPED.inc();
        self.dropped.fetch_add(1, Ordering::Relaxed);
    }

    fn publish_max(&self) {
        if self.global.load(Ordering::Relaxed) {
            let max = self.max.load(Ordering::Relaxed);
            let max = LevelFilter::iter().find(|level| *level as usize == max);
            log::set_max_level(max.unwrap_or(LevelFilter::Debug));
        }
    }

    /// Keeps a line, gives it to the subscribers that want it, and returns it if the terminal does.
    pub(super) fn take_down(&self, mut entry: Entry) -> Option<Arc<Entry>> {
        let mut feed = self.feed();
        let metadata = Metadata::builder().level(entry.level).target(&entry.target).build();
        let shown = feed.filter.enabled(&metadata);
        if entry.level == Level::Trace && !shown {
            return None;
        }
        entry.number = feed.next_line;
        feed.next_line += 1;
        let entry = Arc::new(entry);
        let mut wanting = feed.subscribers.iter().filter(|s| entry.level <= s.up_to).peekable();
        if wanting.peek().is_some() {
            let line = Arc::new(entry.render(&self.zone));
            wanting.for_each(|subscriber| (subscriber.take)(&line));
        }
        feed.recent_bytes += entry.memory();
        feed.recent.push_back(Arc::clone(&entry));
        while (feed.recent.len() > RECENT_LINES || feed.recent_bytes > MAX_RECENT_BYTES)
            && let Some(oldest) = feed.recent.pop_front()
        {
            feed.recent_bytes -= oldest.memory();
        }
        shown.then_some(entry)
    }
}

/// The least important level that is worth taking down.
fn taken_down(filter: &env_logger::Logger) -> LevelFilter {
    filter.filter().max(LevelFilter::Debug)
}
