//! Packets that are refused: counted by cause, and complained about at a bounded rate.

use crate::telemetry::{RateLimit, counters};
use crate::wire::WireError;
use std::net::IpAddr;
use std::time::Duration;

/// How many complaints about one address and cause are logged in each [`INTERVAL`].
const LIMIT: u32 = 3;
/// See [`LIMIT`].
const INTERVAL: Duration = Duration::from_secs(60);

/// Bounds what is logged about packets that others send us.
pub(crate) fn complaints() -> RateLimit<IpAddr> {
    RateLimit::new(LIMIT, INTERVAL)
}

/// Counts a packet that was refused, by cause.
pub(crate) fn count(error: &WireError) {
    match error {
        WireError::Checksum => counters::REFUSED_CHECKSUM.inc(),
        WireError::TooLong { .. } => counters::REFUSED_OVERSIZE.inc(),
        WireError::Header(_) => counters::REFUSED_HEADER.inc(),
        WireError::Label(_) => counters::REFUSED_LABEL.inc(),
        WireError::NoKey => counters::REFUSED_ENCRYPTED.inc(),
        WireError::Undecryptable => counters::REFUSED_UNDECRYPTABLE.inc(),
        WireError::NotEncrypted => counters::REFUSED_PLAINTEXT.inc(),
        WireError::Dialect => counters::REFUSED_DIALECT.inc(),
        WireError::Empty
        | WireError::UnknownType(_)
        | WireError::Nested
        | WireError::Truncated
        | WireError::Malformed { .. } => counters::REFUSED_MALFORMED.inc(),
    }
}

/// What an operator should think of, after the error itself.
pub(crate) fn hint(error: &WireError) -> &'static str {
    match error {
        WireError::Undecryptable => {
            " (if a member sent it, the cluster's key was changed while this agent was away)"
        }
        _ => "",
    }
}

/// The cause in a word, by which complaints are distinguished.
pub(crate) fn cause(error: &WireError) -> &'static str {
    match error {
        WireError::Label(_) => "label",
        WireError::NoKey => "no key",
        WireError::Undecryptable => "undecryptable",
        WireError::NotEncrypted => "plaintext",
        WireError::Dialect => "dialect",
        _ => "malformed",
    }
}
