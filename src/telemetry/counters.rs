//! What this process has counted since it started: one table of named atomics.
//!
//! A counter only grows. Levels and samples are in `metrics`, which lists everything that is
//! measured; how that is reported (SIGUSR1, statsd, Prometheus) is in `report`.

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A number that only grows, with its name and meaning.
///
/// It is as wide as a pointer, because 32-bit MIPS (many routers) has no wider atomics. There it
/// starts again at zero after 2^32, which programs that compute rates treat as a restart.
pub struct Counter {
    name: &'static str,
    serf: Option<&'static str>,
    help: &'static str,
    value: AtomicUsize,
}

impl Counter {
    const fn new(name: &'static str, serf: Option<&'static str>, help: &'static str) -> Counter {
        Counter { name, serf, help, value: AtomicUsize::new(0) }
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

    /// The name under which Serf counts the same, if it does.
    pub fn serf_name(&self) -> Option<&'static str> {
        self.serf
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

/// The name that Serf has for a metric, where the table gives one.
macro_rules! serf_name {
    () => {
        None
    };
    ($name:literal) => {
        Some($name)
    };
}
pub(super) use serf_name;

/// Declares each counter once: its constant, its name, Serf's name for it if there is one, and its
/// meaning.
macro_rules! counters {
    ($($constant:ident = $name:literal $(as $serf:literal)?, $help:literal;)+) => {
        $(#[doc = $help] pub static $constant: Counter = Counter::new($name, serf_name!($($serf)?), $help);)+

        /// Every counter, in the order of the table.
        pub static ALL: &[&Counter] = &[$(&$constant),+];
    };
}

counters! {
    DATAGRAMS_RECEIVED = "datagrams_received", "Datagrams read from the gossip socket.";
    DATAGRAM_BYTES_RECEIVED = "datagram_bytes_received" as "memberlist.udp.received", "Bytes of datagrams read from the gossip socket.";
    DATAGRAMS_SENT = "datagrams_sent", "Datagrams handed to the kernel.";
    DATAGRAM_BYTES_SENT = "datagram_bytes_sent" as "memberlist.udp.sent", "Bytes of datagrams handed to the kernel.";
    DATAGRAMS_SENT_NATIVE = "datagrams_sent_native", "Datagrams sent in the native dialect.";
    DATAGRAMS_SENT_HASHICORP = "datagrams_sent_hashicorp", "Datagrams sent in HashiCorp's dialect.";
    DATAGRAMS_UNSENT = "datagrams_unsent", "Datagrams that the kernel did not take.";
    REFUSED_MALFORMED = "refused_malformed", "Packets refused because they could not be decoded.";
    REFUSED_CHECKSUM = "refused_checksum", "Packets refused because their checksum was wrong.";
    REFUSED_OVERSIZE = "refused_oversize", "Packets refused because they or a part of them were too large.";
    REFUSED_NAME = "refused_name", "Members refused because of characters in their names or their length.";
    REFUSED_HEADER = "refused_header", "Packets refused because a label or encryption header was malformed.";
    REFUSED_LABEL = "refused_label", "Packets refused because they have another cluster's label.";
    REFUSED_UNDECRYPTABLE = "refused_undecryptable", "Packets refused because no installed key opens them.";
    REFUSED_PLAINTEXT = "refused_plaintext", "Packets refused because they are not encrypted.";
    REFUSED_ENCRYPTED = "refused_encrypted", "Packets refused because they are encrypted and no key is configured.";
    REFUSED_FULL = "refused_full", "Members refused because the table was full.";
    REFUSED_UNKNOWN_SENDER = "refused_unknown_sender", "Requests refused because they came from or named a stranger.";
    REFUSED_DIALECT = "refused_dialect", "Packets and members refused because they do not speak the native dialect and native_only is set.";
    REFUSED_ABSURD = "refused_absurd", "Messages refused because a time or incarnation was out of range.";
    REFUSED_COORDINATE = "refused_coordinate" as "serf.coordinate.rejected", "Network coordinates refused because they were malformed or out of range.";
    STREAMS_ACCEPTED = "streams_accepted" as "memberlist.tcp.accept", "Gossip streams accepted.";
    STREAMS_REFUSED = "streams_refused", "Gossip streams refused because too many were open.";
    STREAMS_OVER_BUDGET = "streams_over_budget", "Gossip streams closed because all of them together held too much that was not complete or not read.";
    STREAMS_OPENED = "streams_opened" as "memberlist.tcp.connect", "Gossip streams opened to others.";
    STREAMS_SENT_NATIVE = "streams_sent_native", "Messages sent over gossip streams in the native dialect.";
    STREAMS_SENT_HASHICORP = "streams_sent_hashicorp", "Messages sent over gossip streams in HashiCorp's dialect.";
    STREAMS_SKIPPED = "streams_skipped", "Exchanges left out because the TCP thread did not keep up.";
    DATAGRAMS_TOO_LARGE = "datagrams_too_large", "Messages that fit no datagram and were not sent.";
    SEEDS_DROPPED = "seeds_dropped", "Seeds not kept because there were too many.";
    STREAMS_FAILED = "streams_failed", "Gossip streams that ended with an error, in either direction.";
    BROADCASTS_QUEUED = "broadcasts_queued", "Broadcasts put into the queue.";
    BROADCASTS_SUPERSEDED = "broadcasts_superseded", "Queued broadcasts replaced by newer news.";
    WAVES_STARTED = "waves_started", "Waves of news begun here.";
    WAVES_FORWARDED = "waves_forwarded", "Datagrams of waves passed on to the members behind.";
    NEWS_OFFERED = "news_offered", "Ids of news offered to other members, which may lack it.";
    NEWS_WANTED = "news_wanted", "Ids of news that another member has and this one asked for.";
    NEWS_SENT_AGAIN = "news_sent_again", "News sent to neighbours that had not confirmed it.";
    NEWS_COMPARED = "news_compared", "Members asked what they have because they had heard something else.";
    BROADCASTS_DROPPED = "broadcasts_dropped", "Broadcasts dropped because the queue was full or no datagram holds them.";
    DATAGRAMS_SHED = "datagrams_shed", "Datagrams whose news was dropped because more came than can be taken in; pings in them were answered.";
    NEWS_DROPPED = "news_dropped", "News dropped because its consumer did not keep up.";
    ENTRIES_LEFT_OUT = "entries_left_out", "Entries of exchanges left out because the exchange held more than memory is set aside for.";
    EVENTS_DELIVERED = "events_delivered", "Events delivered to handlers and streams.";
    EVENTS_TOO_OLD = "events_too_old", "Events and queries refused because it was forgotten whether they were delivered.";
    QUERIES_DELIVERED = "queries_delivered", "Queries delivered to handlers and streams.";
    HANDLERS_RUN = "handlers_run", "Event handler scripts started.";
    HANDLERS_FAILED = "handlers_failed", "Event handler scripts that could not start or ended with an error.";
    HANDLERS_TIMED_OUT = "handlers_timed_out", "Event handler scripts ended because they ran for too long.";
    HANDLER_EVENTS_DROPPED = "handler_events_dropped", "Events dropped because an event handler did not keep up.";
    HANDLER_EVENTS_UNFIT = "handler_events_unfit", "Events not given to event handlers because of a NUL in their names.";
    RPC_ACCEPTED = "rpc_accepted" as "agent.ipc.accept", "Control connections accepted.";
    RPC_REFUSED = "rpc_refused", "Control connections refused because too many were open.";
    RPC_EVICTED = "rpc_evicted", "Control connections closed because too much was held for all of them together.";
    RPC_UNAUTHENTICATED = "rpc_unauthenticated", "Control requests refused for want of the right key.";
    RPC_RECORDS_DROPPED = "rpc_records_dropped", "Records dropped because a control client did not read.";
    SNAPSHOT_COMPACTIONS = "snapshot_compactions", "Times the snapshot was replaced by a whole one.";
    SNAPSHOT_LINES_SKIPPED = "snapshot_lines_skipped", "Torn or unknown lines of the snapshot that were skipped.";
    SNAPSHOT_NEWS_SUPERSEDED = "snapshot_news_superseded", "Changes that the snapshot got later and together, because the disk did not keep up.";
    SNAPSHOT_WRITES_FAILED = "snapshot_writes_failed", "Failed attempts to write the snapshot.";
    PROBES_SENT = "probes_sent", "Probe rounds started.";
    PROBES_DEGRADED = "probes_degraded" as "memberlist.degraded.probe", "Probe rounds started while the health score was not 0.";
    PROBES_FAILED = "probes_failed", "Probe rounds that ended without an ack.";
    PROBES_DISCARDED = "probes_discarded", "Probe rounds discarded because this process woke late.";
    PROBES_TCP_ONLY = "probes_tcp_only", "Probe rounds answered over TCP while UDP went unanswered.";
    SUSPICIONS = "suspicions", "Members that became suspect here.";
    CRASHES = "crashes", "Members declared failed here because they refused connections.";
    REFUTATIONS = "refutations", "Suspicions and deaths of ourselves that we refuted.";
    CONFLICTS = "conflicts", "Claims of a taken name by another address.";
    STREAM_BYTES_SENT = "stream_bytes_sent" as "memberlist.tcp.sent", "Bytes sent on gossip streams.";
    MESSAGES_ALIVE = "messages_alive" as "memberlist.msg.alive", "Alive messages that said something new.";
    MESSAGES_SUSPECT = "messages_suspect" as "memberlist.msg.suspect", "Suspect messages that said something new.";
    MESSAGES_DEAD = "messages_dead" as "memberlist.msg.dead", "Dead messages that said something new.";
    QUERIES_EVICTED = "queries_evicted" as "serf.queries.evicted", "Open queries that ended before their time to make room for others.";
    OWNERS_BELIEVED = "owners_believed" as "serf.owners_believed", "Members that were asked themselves and put right what was claimed of them.";
    MEMBERS_JOINED = "members_joined" as "serf.member.join", "Members that joined or came back.";
    MEMBERS_LEFT = "members_left" as "serf.member.left", "Members that left.";
    MEMBERS_FAILED = "members_failed" as "serf.member.failed", "Members that failed.";
    MEMBERS_UPDATED = "members_updated" as "serf.member.update", "Members that changed their tags or address.";
    MEMBERS_REAPED = "members_reaped", "Members that were forgotten.";
    USER_EVENTS = "user_events" as "serf.events", "User events that were new here.";
    QUERIES = "queries" as "serf.queries", "Queries that were new here.";
    QUERY_ACKS = "query_acks" as "serf.query_acks", "Acks of our queries.";
    QUERY_RESPONSES = "query_responses" as "serf.query_responses", "Answers to our queries.";
    QUERY_DUPLICATE_ACKS = "query_duplicate_acks" as "serf.query_duplicate_acks", "Acks of our queries that had come before.";
    QUERY_DUPLICATE_RESPONSES = "query_duplicate_responses" as "serf.query_duplicate_responses", "Answers to our queries that had come before.";
    RPC_COMMANDS = "rpc_commands" as "agent.ipc.command", "Control requests served, handshakes aside.";
    METRICS_UNSENT = "metrics_unsent", "Lines of metrics that statsd or statsite was not sent.";
    METRICS_REFUSED = "metrics_refused", "Connections to metrics_addr refused because too many were open.";
    SYSLOG_LINES_DROPPED = "syslog_lines_dropped", "Log lines that syslog did not take.";
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
        static LOCAL: Counter = Counter::new("local", None, "Only here.");
        LOCAL.inc();
        LOCAL.add(2);
        assert_eq!(LOCAL.value(), 3);
        assert_eq!(format!("{LOCAL:?}"), "local=3");
    }
}
