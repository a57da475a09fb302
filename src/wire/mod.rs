//! Messages and their bytes: what agents say to each other, and how it is written down.
//! No sockets here; bytes go in and typed messages come out, or an error that says what was
//! wrong.
//!
//! * [`message`]: every message once, typed.
//! * `native`: our own dialect; `hashicorp`: that of HashiCorp's agents. Which of them is spoken
//!   is chosen for one receiver at a time, never globally; see [`Dialect`] in `dialect`.
//! * [`compression`]: what HashiCorp's agents compress.
//! * [`datagram`]: several messages in one UDP datagram, with a checksum and a size budget.
//! * [`stream`]: messages over TCP, which are those of `stream_message`.
//! * [`coordinate`]: what acks carry besides.
//! * [`envelope`]: what goes around either, the cluster's label (`label`) and encryption; [`seal`]
//!   is the encryption, [`keyring`] its keys.
//! * [`payload`]: what internal queries carry, the same in every dialect.
//! * `error`: why bytes were refused ([`WireError`]).
//!
//! Every byte that comes in is hostile until decoded: lengths are bounded before anything is
//! allocated, nesting is refused, nothing is indexed unchecked, nothing panics.

pub mod compression;
pub mod coordinate;
pub mod datagram;
mod dialect;
pub mod envelope;
mod error;
mod hashicorp;
pub mod keyring;
mod label;
pub mod message;
mod native;
pub mod payload;
pub mod seal;
pub mod stream;
mod stream_message;

pub use dialect::Dialect;
pub use error::WireError;

use dialect::check_dialect;
use message::Message;
use std::sync::{Arc, OnceLock};

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
        let m = Message::Dead(message::Dead { incarnation: Incarnation(3), node: name.clone(), from: name });
        let shared = Shared::new(m.clone());
        for dialect in [Dialect::Native, Dialect::Hashicorp] {
            let first = shared.bytes(dialect).as_ptr();
            assert_eq!(first, shared.clone().bytes(dialect).as_ptr());
            assert_eq!(Dialect::of(shared.bytes(dialect)[0]), dialect);
            assert_eq!(decode(shared.bytes(dialect)), Ok(m.clone()));
        }
    }
}
