//! Counters and the logger; any floor may count and log.

pub mod counters {
    //! Stand-in until the real table of counters arrives.
    use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
    pub struct Counter(AtomicU64);
    impl Counter {
        pub fn add(&self, n: u64) {
            self.0.fetch_add(n, Relaxed);
        }
    }
    macro_rules! counters { ($($n:ident),*) => { $(pub static $n: Counter = Counter(AtomicU64::new(0));)* } }
    counters!(
        MESSAGES_REFUSED,
        SUSPICIONS,
        REFUTATIONS,
        PROBES_SENT,
        PROBES_FAILED,
        PROBES_DISCARDED,
        BROADCASTS_QUEUED,
        BROADCASTS_DROPPED
    );
}
