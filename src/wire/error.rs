//! What is wrong with bytes that came in.

use super::label::Label;
use std::fmt;

/// Why bytes are no message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WireError {
    /// Nothing is there.
    Empty,
    /// This many bytes where at most `limit` are allowed.
    TooLong {
        /// How many there are, or are announced.
        len: usize,
        /// How many may be.
        limit: usize,
    },
    /// The checksum over the content does not match.
    Checksum,
    /// No dialect knows this first byte.
    UnknownType(u8),
    /// A compound or compressed message inside another.
    Nested,
    /// The content ends before its announced end, or continues behind it.
    Truncated,
    /// What is around a message (label, encryption) is not of the right form: this is there.
    Header(&'static str),
    /// The label is another cluster's: this, or none if it is empty.
    Label(Label),
    /// It is encrypted, and no key is configured here.
    NoKey,
    /// It is encrypted, and no key that is installed here opens it.
    Undecryptable,
    /// It must be encrypted, and is not.
    NotEncrypted,
    /// It is in HashiCorp's dialect, and only the native one is read.
    Dialect,
    /// The body of a message does not decode.
    Malformed {
        /// Which message.
        what: &'static str,
        /// What the decoder said.
        why: String,
    },
}

impl fmt::Display for WireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WireError::Empty => write!(f, "empty message"),
            WireError::TooLong { len, limit } => {
                write!(f, "{len} bytes are more than the limit of {limit}")
            }
            WireError::Checksum => write!(f, "checksum does not match"),
            WireError::UnknownType(t) => write!(f, "unknown message type {t}"),
            WireError::Nested => write!(f, "compound or compressed message inside another"),
            WireError::Truncated => write!(f, "message does not end where it should"),
            WireError::Header(what) => write!(f, "malformed header: {what}"),
            WireError::Label(label) if label.is_empty() => {
                write!(f, "it has no label, but this cluster has one")
            }
            WireError::Label(label) => write!(f, "its label '{label}' is not the label of this cluster"),
            // These three are memberlist's, so that both programs' logs are found by one search.
            WireError::NoKey => write!(f, "it is encrypted and encryption is not configured"),
            WireError::Undecryptable => write!(f, "no installed keys could decrypt the message"),
            WireError::NotEncrypted => write!(f, "encryption is configured but it is not encrypted"),
            WireError::Dialect => write!(f, "it is in HashiCorp's dialect and native_only is set"),
            WireError::Malformed { what, why } => write!(f, "malformed {what}: {why}"),
        }
    }
}

impl std::error::Error for WireError {}

impl WireError {
    /// Whether it comes from another cluster, or from a member with other keys or tongues.
    pub fn is_other_cluster(&self) -> bool {
        use WireError::*;
        matches!(self, Label(_) | NoKey | Undecryptable | NotEncrypted | Dialect)
    }
}
