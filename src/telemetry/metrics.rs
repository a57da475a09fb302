//! Everything this process measures: the counters of `counters`, and here levels, samples and
//! counters by name; one list of them all, and the reference that users read, made from it.
//!
//! Measuring never waits and never allocates for each packet. How metrics are reported is in
//! `report`.

use super::counters::{self, Counter, serf_name};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::Duration;

/// What every name begins with that is sent to statsd and statsite, as with Serf.
pub const SERVICE: &str = "serf-agent";

/// Names that one [`Family`] distinguishes; further ones are counted together as [`OTHERS`]. Names
/// come from the network and must not fill the memory.
pub const MAX_NAMES: usize = 64;
/// The name under which a full [`Family`] counts the rest.
pub const OTHERS: &str = "_other";
/// Bytes of a name that a [`Family`] keeps.
const MAX_NAME_LEN: usize = 64;

/// What a metric measures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Time: recorded in seconds, reported to statsd in milliseconds as Serf does.
    Seconds,
    /// Bytes.
    Bytes,
    /// A number of things.
    Items,
}

/// A current value, set by the code that reports it.
pub struct Gauge {
    name: &'static str,
    serf: Option<&'static str>,
    help: &'static str,
    value: AtomicUsize,
}

impl Gauge {
    const fn new(name: &'static str, serf: Option<&'static str>, _: Unit, help: &'static str) -> Gauge {
        Gauge { name, serf, help, value: AtomicUsize::new(0) }
    }

    /// Sets the value.
    pub fn set(&self, value: usize) {
        self.value.store(value, Ordering::Relaxed);
    }

    /// The value that was set last.
    pub fn value(&self) -> usize {
        self.value.load(Ordering::Relaxed)
    }
}

/// What a number of measurements come to.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Tally {
    /// How many there were.
    pub count: u64,
    /// Their sum.
    pub sum: f64,
    /// The sum of their squares.
    pub(super) squares: f64,
    /// The smallest; 0 if there were none.
    pub min: f64,
    /// The largest; 0 if there were none.
    pub max: f64,
}

impl Tally {
    const NONE: Tally = Tally { count: 0, sum: 0.0, squares: 0.0, min: 0.0, max: 0.0 };

    fn add(&mut self, value: f64) {
        (self.min, self.max) = match self.count {
            0 => (value, value),
            _ => (self.min.min(value), self.max.max(value)),
        };
        self.count += 1;
        self.sum += value;
        self.squares += value * value;
    }

    /// The mean; 0 if there were none.
    pub fn mean(&self) -> f64 {
        if self.count == 0 { 0.0 } else { self.sum / self.count as f64 }
    }

    /// The standard deviation of the sample; 0 if there were fewer than two.
    pub fn stddev(&self) -> f64 {
        if self.count < 2 {
            return 0.0;
        }
        let n = self.count as f64;
        // Rounding may bring it a little below zero.
        ((n * self.squares - self.sum * self.sum) / (n * (n - 1.0))).max(0.0).sqrt()
    }

    /// The same measurements in another unit.
    pub fn scaled(&self, by: f64) -> Tally {
        let Tally { count, sum, squares, min, max } = *self;
        Tally { count, sum: sum * by, squares: squares * by * by, min: min * by, max: max * by }
    }
}

/// Measurements of one kind: of the whole run, and of the current interval.
pub struct Sample {
    name: &'static str,
    serf: Option<&'static str>,
    unit: Unit,
    help: &'static str,
    tallies: Mutex<(Tally, Tally)>,
}

impl Sample {
    const fn new(name: &'static str, serf: Option<&'static str>, unit: Unit, help: &'static str) -> Sample {
        Sample { name, serf, unit, help, tallies: Mutex::new((Tally::NONE, Tally::NONE)) }
    }

    /// Records a measurement.
    ///
    /// The caller never waits: a measurement that meets another one, or a report, in the same
    /// few nanoseconds is left out. Wide enough atomics do not exist on every processor.
    pub fn record(&self, value: f64) {
        let mut tallies = match self.tallies.try_lock() {
            Ok(tallies) => tallies,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return,
        };
        tallies.0.add(value);
        tallies.1.add(value);
    }

    /// Records a time.
    pub fn record_time(&self, time: Duration) {
        self.record(time.as_secs_f64());
    }

    /// Records a number of bytes or things.
    pub fn record_size(&self, size: usize) {
        self.record(size as f64);
    }

    fn tallies(&self) -> MutexGuard<'_, (Tally, Tally)> {
        self.tallies.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Everything that was recorded.
    pub fn total(&self) -> Tally {
        self.tallies().0
    }

    /// What was recorded since the last call.
    pub fn take_interval(&self) -> Tally {
        std::mem::take(&mut self.tallies().1)
    }

    /// What is measured.
    pub fn unit(&self) -> Unit {
        self.unit
    }
}

/// Counters of one kind that are distinguished by a name that users choose.
pub struct Family {
    name: &'static str,
    serf: &'static str,
    help: &'static str,
    counts: Mutex<Vec<(String, usize)>>,
}

impl Family {
    const fn new(name: &'static str, serf: &'static str, help: &'static str) -> Family {
        Family { name, serf, help, counts: Mutex::new(Vec::new()) }
    }

    /// Counts one more of this name. Allocates only for a name that is new.
    pub fn inc(&self, name: &str) {
        let end = name.char_indices().map(|(at, c)| at + c.len_utf8()).take_while(|end| *end <= MAX_NAME_LEN);
        let short = name.get(..end.last().unwrap_or(0)).unwrap_or_default();
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let full = counts.len() >= MAX_NAMES;
        if let Some((_, count)) = counts.iter_mut().find(|(known, _)| known == short) {
            *count = count.wrapping_add(1);
        } else if !full {
            counts.push((short.to_string(), 1));
        } else if let Some((_, count)) = counts.iter_mut().find(|(known, _)| known == OTHERS) {
            *count = count.wrapping_add(1);
        } else {
            counts.push((OTHERS.to_string(), 1));
        }
    }

    /// The names and how often each was counted, in the order in which they first were. Names are
    /// never taken away.
    pub fn counts(&self) -> Vec<(String, usize)> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Any metric.
#[derive(Clone, Copy)]
pub enum Metric {
    /// A number that only grows.
    Counter(&'static Counter),
    /// A current value.
    Gauge(&'static Gauge),
    /// Measurements.
    Sample(&'static Sample),
    /// Counters by name.
    Family(&'static Family),
}

impl Metric {
    /// Our own name.
    pub fn name(&self) -> &'static str {
        match self {
            Metric::Counter(m) => m.name(),
            Metric::Gauge(m) => m.name,
            Metric::Sample(m) => m.name,
            Metric::Family(m) => m.name,
        }
    }

    /// What is measured, in one sentence.
    pub fn help(&self) -> &'static str {
        match self {
            Metric::Counter(m) => m.help(),
            Metric::Gauge(m) => m.help,
            Metric::Sample(m) => m.help,
            Metric::Family(m) => m.help,
        }
    }

    /// The name with dots, as statsd, statsite and SIGUSR1 have it after [`SERVICE`]: Serf's if it
    /// has one.
    pub fn dotted(&self) -> String {
        let serf = match self {
            Metric::Counter(m) => m.serf_name(),
            Metric::Gauge(m) => m.serf,
            Metric::Sample(m) => m.serf,
            Metric::Family(m) => Some(m.serf),
        };
        serf.map_or_else(|| format!("serf.{}", self.name()), str::to_string)
    }

    /// The name that Prometheus sees.
    pub fn prometheus(&self) -> String {
        match self {
            Metric::Counter(_) | Metric::Family(_) => format!("serf_{}_total", self.name()),
            Metric::Gauge(_) | Metric::Sample(_) => format!("serf_{}", self.name()),
        }
    }

    fn kind(&self) -> &'static str {
        match self {
            Metric::Counter(_) | Metric::Family(_) => "counter",
            Metric::Gauge(_) => "gauge",
            Metric::Sample(sample) if sample.unit == Unit::Seconds => "timer",
            Metric::Sample(_) => "sample",
        }
    }
}

/// Every metric, in the order of the reference.
pub fn all() -> impl Iterator<Item = Metric> {
    let counters = counters::ALL.iter().copied().map(Metric::Counter);
    let families = FAMILIES.iter().copied().map(Metric::Family);
    let gauges = GAUGES.iter().copied().map(Metric::Gauge);
    counters.chain(families).chain(gauges).chain(SAMPLES.iter().copied().map(Metric::Sample))
}

/// The table of all metrics for the manual, in Markdown: a line for its head, one for the rule, and
/// one for each metric.
pub fn reference() -> Vec<String> {
    let head = ["| Prometheus | statsd, statsite, SIGUSR1 | kind | what |", "| --- | --- | --- | --- |"];
    let row = |metric: Metric| {
        let suffix = if let Metric::Family(_) = metric { ".NAME" } else { "" };
        let (prometheus, dotted) = (metric.prometheus(), metric.dotted());
        format!("| `{prometheus}` | `{SERVICE}.{dotted}{suffix}` | {} | {} |", metric.kind(), metric.help())
    };
    head.into_iter().map(str::to_string).chain(all().map(row)).collect()
}

/// Declares gauges or samples: constant, name, Serf's name if there is one, unit, meaning.
macro_rules! metrics {
    ($kind:ident, $all:ident: $($constant:ident = $name:literal $(as $serf:literal)?, $unit:ident, $help:literal;)+) => {
        $(#[doc = $help] pub static $constant: $kind =
            $kind::new($name, serf_name!($($serf)?), Unit::$unit, $help);)+
        static $all: &[&$kind] = &[$(&$constant),+];
    };
}

metrics! { Gauge, GAUGES:
    MEMBERS_ALIVE = "members_alive" as "memberlist.node.instances.alive", Items, "Members that are alive or leaving.";
    MEMBERS_DEAD = "members_dead" as "memberlist.node.instances.dead", Items, "Members that have failed.";
    MEMBERS_GONE = "members_gone" as "memberlist.node.instances.left", Items, "Members that have left.";
    HEALTH_SCORE = "health_score" as "memberlist.health.score", Items, "How far this member mistrusts its own judgement; 0 is healthy.";
    THREADS = "threads" as "runtime.num_goroutines", Items, "Threads of this process.";
    RESIDENT_BYTES = "resident_bytes" as "runtime.sys_bytes", Bytes, "Memory that this process holds.";
    LOCAL_STATE_BYTES = "local_state_bytes" as "memberlist.size.local", Bytes, "Size of the last state sent in a push/pull.";
}

metrics! { Sample, SAMPLES:
    GOSSIP_TIME = "gossip_seconds" as "memberlist.gossip", Seconds, "Time that a turn of gossip takes.";
    PROBE_TIME = "probe_seconds" as "memberlist.probeNode", Seconds, "Time from a probe to its answer, or to giving up.";
    PUSH_PULL_TIME = "push_pull_seconds" as "memberlist.pushPullNode", Seconds, "Time that a push/pull which we began takes.";
    SCRIPT_TIME = "script_seconds" as "agent.invoke", Seconds, "Time that an event handler script runs.";
    REMOTE_STATE_BYTES = "remote_state_bytes" as "memberlist.size.remote", Bytes, "Size of a state received in a push/pull.";
    SERF_BYTES_RECEIVED = "serf_bytes_received" as "serf.msgs.received", Bytes, "Size of an intent, event, query or answer received in a datagram.";
    MEMBERSHIP_QUEUE = "membership_queue" as "memberlist.queue.broadcasts", Items, "Membership news in the queue after a turn of gossip.";
    INTENT_QUEUE = "intent_queue" as "serf.queue.Intent", Items, "Intents in the queue after a turn of gossip.";
    EVENT_QUEUE = "event_queue" as "serf.queue.Event", Items, "User events in the queue after a turn of gossip.";
    QUERY_QUEUE = "query_queue" as "serf.queue.Query", Items, "Queries in the queue after a turn of gossip.";
}

/// User events by name.
pub static USER_EVENTS_BY_NAME: Family =
    Family::new("user_events_by_name", "serf.events", "User events that were new here, by name.");
/// Queries by name.
pub static QUERIES_BY_NAME: Family =
    Family::new("queries_by_name", "serf.queries", "Queries that were new here, by name.");
static FAMILIES: &[&Family] = &[&USER_EVENTS_BY_NAME, &QUERIES_BY_NAME];

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn names_are_unique_and_plain() {
        let count = all().count();
        let names: BTreeSet<_> = all().map(|m| m.prometheus()).collect();
        assert_eq!(names.len(), count);
        let dotted: BTreeSet<_> = all().map(|m| (m.dotted(), matches!(m, Metric::Family(_)))).collect();
        assert_eq!(dotted.len(), count);
        for metric in all() {
            let name = metric.name();
            assert!(name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'), "{name}");
            assert!(metric.help().ends_with('.') && !metric.help().contains(['|', '\n', '\\']), "{name}");
        }
    }

    #[test]
    fn samples_add_up() {
        static LOCAL: Sample = Sample::new("local", None, Unit::Items, "Only here.");
        assert_eq!((LOCAL.total().mean(), LOCAL.total().stddev()), (0.0, 0.0));
        for value in [2.0, 4.0, 9.0] {
            LOCAL.record(value);
        }
        let all = LOCAL.total();
        assert_eq!((all.count, all.sum, all.min, all.max, all.mean()), (3, 15.0, 2.0, 9.0, 5.0));
        assert!((all.stddev() - 13.0_f64.sqrt()).abs() < 1e-9, "{all:?}");
        assert!((all.scaled(1000.0).stddev() - 1000.0 * 13.0_f64.sqrt()).abs() < 1e-6);
        assert_eq!(LOCAL.take_interval(), all);
        LOCAL.record(1.0);
        let fresh = LOCAL.take_interval();
        assert_eq!((fresh.count, fresh.min, fresh.max), (1, 1.0, 1.0));
        assert_eq!(LOCAL.total().count, 4);
    }

    #[test]
    fn names_from_the_network_are_bounded() {
        static LOCAL: Family = Family::new("local", "local", "Only here.");
        for i in 0..1000 {
            LOCAL.inc(&format!("{i}-{}", "ü".repeat(100)));
        }
        let counts = LOCAL.counts();
        assert_eq!(counts.len(), MAX_NAMES + 1);
        assert!(counts.iter().all(|(name, _)| name.len() <= MAX_NAME_LEN));
        assert_eq!(counts.last(), Some(&(OTHERS.to_string(), 1000 - MAX_NAMES)));
        assert_eq!(counts.iter().map(|(_, n)| n).sum::<usize>(), 1000);
    }
}
