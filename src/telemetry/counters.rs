//! What this process has counted since it started: one table of named atomics.
//!
//! A counter only grows. Current values (members, queue lengths) are not here; whoever reports
//! asks their owners. How counters are reported (SIGUSR1, statsd, Prometheus) is not here either.

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A number that only grows, with its name and meaning.
///
/// It is as wide as a pointer, because 32-bit MIPS (many routers) has no wider atomics. There it
/// starts again at zero after 2^32, which whoever computes rates treats as a restart.
pub struct Counter {
    name: &'static str,
    help: &'static str,
    value: AtomicUsize,
}

impl Counter {
    const fn new(name: &'static str, help: &'static str) -> Counter {
        Counter { name, help, value: AtomicUsize::new(0) }
    }

    /// Counts `n` more.
    pub fn add(&self, n: usize) {
        self.value.fetch_add(n, Ordering::Relaxed);
    }

    /// Counts one more.
    pub fn inc(&self) {
        self.add(1);
    }

    /// The count so far.
    pub fn value(&self) -> u64 {
        self.value.load(Ordering::Relaxed) as u64
    }

    /// The name: lower case letters and underscores, unique.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// What is counted, in one sentence.
    pub fn help(&self) -> &'static str {
        self.help
    }
}

impl fmt::Debug for Counter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.name, self.value())
    }
}

/// Declares each counter once: its constant, its name and its meaning.
macro_rules! counters {
    ($($constant:ident = $name:literal, $help:literal;)+) => {
        $(#[doc = $help] pub static $constant: Counter = Counter::new($name, $help);)+

        /// Every counter, in the order of the table.
        pub static ALL: &[&Counter] = &[$(&$constant),+];
    };
}

counters! {
    DATAGRAMS_RECEIVED = "datagrams_received", "Datagrams read from the gossip socket.";
    DATAGRAM_BYTES_RECEIVED = "datagram_bytes_received", "Bytes of datagrams read from the gossip socket.";
    DATAGRAMS_SENT = "datagrams_sent", "Datagrams handed to the kernel.";
    DATAGRAM_BYTES_SENT = "datagram_bytes_sent", "Bytes of datagrams handed to the kernel.";
    DATAGRAMS_UNSENT = "datagrams_unsent", "Datagrams that the kernel did not take.";
    REFUSED_MALFORMED = "refused_malformed", "Packets refused because they could not be decoded.";
    REFUSED_CHECKSUM = "refused_checksum", "Packets refused because their checksum was wrong.";
    REFUSED_OVERSIZE = "refused_oversize", "Packets refused because they or a part of them were too large.";
    REFUSED_NAME = "refused_name", "Members refused because of characters in their names or their length.";
    REFUSED_FULL = "refused_full", "Members refused because the table was full.";
    REFUSED_UNKNOWN_SENDER = "refused_unknown_sender", "Requests refused because they came from or named a stranger.";
    REFUSED_ABSURD = "refused_absurd", "Messages refused because a time or incarnation was out of range.";
    REFUSED_COORDINATE = "refused_coordinate", "Network coordinates refused because they were malformed or out of range.";
    STREAMS_ACCEPTED = "streams_accepted", "Gossip streams accepted.";
    STREAMS_REFUSED = "streams_refused", "Gossip streams refused because too many were open.";
    STREAMS_OPENED = "streams_opened", "Gossip streams opened to others.";
    STREAMS_SKIPPED = "streams_skipped", "Exchanges left out because the TCP thread did not keep up.";
    DATAGRAMS_TOO_LARGE = "datagrams_too_large", "Messages that fit no datagram and were not sent.";
    SEEDS_DROPPED = "seeds_dropped", "Seeds not kept because there were too many.";
    STREAMS_FAILED = "streams_failed", "Gossip streams that ended with an error, in either direction.";
    BROADCASTS_QUEUED = "broadcasts_queued", "Broadcasts put into the queue.";
    BROADCASTS_SUPERSEDED = "broadcasts_superseded", "Queued broadcasts replaced by newer news.";
    BROADCASTS_DROPPED = "broadcasts_dropped", "Broadcasts dropped because the queue was full or no datagram holds them.";
    NEWS_DROPPED = "news_dropped", "News dropped because its consumer did not keep up.";
    EVENTS_TOLD = "events_told", "Events delivered to handlers and streams.";
    EVENTS_TOO_OLD = "events_too_old", "Events and queries refused because it was forgotten whether they were told.";
    QUERIES_TOLD = "queries_told", "Queries delivered to handlers and streams.";
    HANDLERS_RUN = "handlers_run", "Event handler scripts started.";
    HANDLERS_FAILED = "handlers_failed", "Event handler scripts that could not start or ended with an error.";
    HANDLERS_TIMED_OUT = "handlers_timed_out", "Event handler scripts ended because they ran for too long.";
    HANDLER_EVENTS_DROPPED = "handler_events_dropped", "Events dropped because an event handler did not keep up.";
    RPC_ACCEPTED = "rpc_accepted", "Control connections accepted.";
    RPC_REFUSED = "rpc_refused", "Control connections refused because too many were open.";
    RPC_UNAUTHENTICATED = "rpc_unauthenticated", "Control requests refused for want of the right key.";
    RPC_RECORDS_DROPPED = "rpc_records_dropped", "Records dropped because a control client did not read.";
    SNAPSHOT_COMPACTIONS = "snapshot_compactions", "Times the snapshot was replaced by a whole one.";
    SNAPSHOT_LINES_SKIPPED = "snapshot_lines_skipped", "Torn or unknown lines of the snapshot that were skipped.";
    SNAPSHOT_NEWS_SUPERSEDED = "snapshot_news_superseded", "Changes that the snapshot got later and together, because the disk did not keep up.";
    SNAPSHOT_WRITES_FAILED = "snapshot_writes_failed", "Failed attempts to write the snapshot.";
    PROBES_SENT = "probes_sent", "Probe rounds started.";
    PROBES_FAILED = "probes_failed", "Probe rounds that ended without an ack.";
    PROBES_DISCARDED = "probes_discarded", "Probe rounds discarded because this process woke late.";
    PROBES_TCP_ONLY = "probes_tcp_only", "Probe rounds answered over TCP while UDP went unanswered.";
    SUSPICIONS = "suspicions", "Members that became suspect here.";
    REFUTATIONS = "refutations", "Suspicions and deaths of ourselves that we refuted.";
    CONFLICTS = "conflicts", "Claims of a taken name by another address.";
    LOG_LINES_DROPPED = "log_lines_dropped", "Log lines dropped because the log thread did not keep up.";
    LOG_LINES_SUPPRESSED = "log_lines_suppressed", "Log lines left out by rate limits.";
    LOG_WRITES_FAILED = "log_writes_failed", "Writes of log lines that failed.";
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn names_are_unique_and_plain() {
        let names: BTreeSet<_> = ALL.iter().map(|c| c.name()).collect();
        assert_eq!(names.len(), ALL.len());
        for counter in ALL {
            assert!(counter.name().bytes().all(|b| b.is_ascii_lowercase() || b == b'_'), "{counter:?}");
            assert!(counter.help().ends_with('.'), "{counter:?}");
        }
    }

    #[test]
    fn counting_adds_up() {
        static LOCAL: Counter = Counter::new("local", "Only here.");
        LOCAL.inc();
        LOCAL.add(2);
        assert_eq!(LOCAL.value(), 3);
        assert_eq!(format!("{LOCAL:?}"), "local=3");
    }
}
