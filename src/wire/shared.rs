//! A message that is encoded once and sent to many.

use super::codec::encode;
use super::dialect::Dialect;
use super::message::Message;
use std::sync::{Arc, OnceLock};

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

    /// A message that came as these bytes: they need not be written again.
    pub fn read(message: Message, bytes: &[u8]) -> Self {
        let shared = Shared::new(message);
        if bytes.first().is_some_and(|first| Dialect::of(*first) == Dialect::Native) {
            let _ = shared.0.native.set(bytes.into());
        }
        shared
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
    use crate::wire::decode;
    use crate::wire::message::Dead;

    #[test]
    fn shared_messages_encode_once() {
        let name = NodeName::new("a").unwrap();
        let m = Message::from(Dead { incarnation: Incarnation(3), node: name.clone(), from: name });
        let shared = Shared::new(m.clone());
        for dialect in [Dialect::Native, Dialect::Hashicorp] {
            let first = shared.bytes(dialect).as_ptr();
            assert_eq!(first, shared.clone().bytes(dialect).as_ptr());
            assert_eq!(Dialect::of(shared.bytes(dialect)[0]), dialect);
            assert_eq!(decode(shared.bytes(dialect)), Ok(m.clone()));
        }
    }
}
