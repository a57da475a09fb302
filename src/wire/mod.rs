//! Messages and their bytes: what agents say to each other, and how it is written down.
//! No sockets here; bytes go in and typed messages come out, or an error that says what was
//! wrong.
//!
//! * [`message`]: every message once, typed.
//! * `native`: our own dialect; `hashicorp`: that of HashiCorp's agents. Which of them is spoken
//!   is chosen for one receiver at a time, never globally; see [`Dialect`].
//! * [`compression`]: what HashiCorp's agents compress.
//! * [`datagram`]: several messages in one UDP datagram, with a checksum and a size budget.
//! * [`stream`]: messages over TCP.
//! * [`coordinate`]: what acks carry besides.
//! * [`envelope`]: what goes around either, the cluster's label and encryption; [`seal`] is the
//!   encryption, [`keyring`] its keys.
//! * [`payload`]: what internal queries carry, the same in every dialect.
//!
//! Every byte that comes in is hostile until decoded: lengths are bounded before anything is
//! allocated, nesting is refused, nothing is indexed unchecked, nothing panics.

pub mod compression;
pub mod coordinate;
pub mod datagram;
pub mod envelope;
mod hashicorp;
pub mod keyring;
pub mod message;
mod native;
pub mod payload;
pub mod seal;
pub mod stream;

use crate::model::Versions;
use envelope::Label;
use message::Message;
use std::fmt;
use std::sync::{Arc, OnceLock};

/// A way to write messages as bytes.
///
/// A reader tells dialects apart by the first byte of a message: memberlist's message types
/// lie below 0x80, ours are `native::FIRST_TAG` and above.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// bincode, little-endian varints: what our agents speak among themselves.
    Native,
    /// memberlist's and Serf's MessagePack: what everyone reads.
    Hashicorp,
}

impl Dialect {
    /// The dialect in which to address a receiver; `None` is a stranger, whose versions are
    /// not known yet.
    pub fn for_receiver(versions: Option<&Versions>) -> Dialect {
        match versions {
            Some(versions) if versions.speaks_native() => Dialect::Native,
            _ => Dialect::Hashicorp,
        }
    }

    /// The dialect of a message, by its first byte.
    pub fn of(first: u8) -> Dialect {
        if first >= native::FIRST_TAG { Dialect::Native } else { Dialect::Hashicorp }
    }
}

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
    pub fn is_foreign(&self) -> bool {
        use WireError::*;
        matches!(self, Label(_) | NoKey | Undecryptable | NotEncrypted | Dialect)
    }
}

/// Writes one message.
pub fn encode(dialect: Dialect, message: &Message) -> Vec<u8> {
    match dialect {
        Dialect::Native => native::encode(message),
        Dialect::Hashicorp => hashicorp::encode(message),
    }
}

/// Reads one message, whatever its dialect.
pub fn decode(bytes: &[u8]) -> Result<Message, WireError> {
    match bytes.first().map(|first| Dialect::of(*first)) {
        None => Err(WireError::Empty),
        Some(Dialect::Native) => native::decode(bytes),
        Some(Dialect::Hashicorp) => hashicorp::decode(bytes),
    }
}

/// Reads a datagram: checksum, compression, compound. `each` is given a message and its length in
/// bytes; those in front of one that does not decode are kept. With `only`, nothing is read that is
/// in another dialect.
pub fn read_datagram(
    bytes: &[u8],
    only: Option<Dialect>,
    mut each: impl FnMut(Message, usize),
) -> Result<(), WireError> {
    for part in datagram::open(bytes)? {
        check_dialect(part, only)?;
        if part.first() == Some(&compression::COMPRESSED) {
            let plain = compression::unpack(part, compression::MAX_INFLATED_DATAGRAM)?;
            for part in datagram::open_inflated(&plain)? {
                each(decode(part)?, part.len());
            }
        } else {
            each(decode(part)?, part.len());
        }
    }
    Ok(())
}

fn check_dialect(bytes: &[u8], only: Option<Dialect>) -> Result<(), WireError> {
    match (bytes.first(), only) {
        (Some(&first), Some(only)) if Dialect::of(first) != only => Err(WireError::Dialect),
        _ => Ok(()),
    }
}

/// A message that goes to several receivers: encoded at most once per dialect. Cloning is
/// cheap.
#[derive(Clone, Debug)]
pub struct Shared(Arc<SharedInner>);

#[derive(Debug)]
struct SharedInner {
    message: Message,
    native: OnceLock<Box<[u8]>>,
    hashicorp: OnceLock<Box<[u8]>>,
}

impl Shared {
    /// Takes the message; nothing is encoded yet.
    pub fn new(message: Message) -> Self {
        Shared(Arc::new(SharedInner { message, native: OnceLock::new(), hashicorp: OnceLock::new() }))
    }

    /// What is said.
    pub fn message(&self) -> &Message {
        &self.0.message
    }

    /// Its bytes in one dialect.
    pub fn bytes(&self, dialect: Dialect) -> &[u8] {
        let bytes = match dialect {
            Dialect::Native => &self.0.native,
            Dialect::Hashicorp => &self.0.hashicorp,
        };
        bytes.get_or_init(|| encode(dialect, &self.0.message).into_boxed_slice())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Incarnation, NodeName};

    #[test]
    fn the_first_byte_tells_the_dialect() {
        assert_eq!(decode(&[]), Err(WireError::Empty));
        assert_eq!(decode(&[6, 1, 2]), Err(WireError::UnknownType(6)));
        assert!(matches!(decode(&[0, 1, 2]), Err(WireError::Malformed { what: "ping", .. })));
        assert_eq!(decode(&[0xff]), Err(WireError::UnknownType(0xff)));
    }

    #[test]
    fn shared_messages_encode_once() {
        let name = NodeName::new("a").unwrap();
        let m = Message::from(message::Dead { incarnation: Incarnation(3), node: name.clone(), from: name });
        let shared = Shared::new(m.clone());
        for dialect in [Dialect::Native, Dialect::Hashicorp] {
            let first = shared.bytes(dialect).as_ptr();
            assert_eq!(first, shared.clone().bytes(dialect).as_ptr());
            assert_eq!(Dialect::of(shared.bytes(dialect)[0]), dialect);
            assert_eq!(decode(shared.bytes(dialect)), Ok(m.clone()));
        }
    }
}
