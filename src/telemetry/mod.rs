//! Counters and the logger; any floor may count and log.
