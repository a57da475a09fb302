//! Messages and datagrams to bytes and back, whatever their dialect.

use super::dialect::{Dialect, check_dialect};
use super::error::WireError;
use super::message::{Message, SerfMessage};
use super::{compression, datagram, hashicorp, native};

/// Writes one message.
pub fn encode(dialect: Dialect, message: &Message) -> Vec<u8> {
    match dialect {
        Dialect::Native => native::encode(message),
        Dialect::Hashicorp => hashicorp::encode(message),
    }
}

/// How long an event, a query or an answer is in HashiCorp's dialect, in bytes, counted as Serf counts
/// it: without memberlist's type byte. Limits are of this size, so that both programs accept the
/// same, and so that what one accepts reaches every member.
pub fn serf_size(message: &SerfMessage) -> usize {
    hashicorp::serf_size(message)
}

/// Reads one message, whatever its dialect.
pub fn decode(bytes: &[u8]) -> Result<Message, WireError> {
    match bytes.first().map(|first| Dialect::of(*first)) {
        None => Err(WireError::Empty),
        Some(Dialect::Native) => native::decode(bytes),
        Some(Dialect::Hashicorp) => hashicorp::decode(bytes),
    }
}

/// Reads a datagram: checksum, compression, compound. `each` is given a message and its
/// bytes; those in front of one that does not decode are kept. With `only`, nothing is read that is
/// in another dialect.
pub fn read_datagram(
    bytes: &[u8],
    only: Option<Dialect>,
    mut each: impl FnMut(Message, &[u8]),
) -> Result<(), WireError> {
    for part in datagram::open(bytes)? {
        check_dialect(part, only)?;
        if part.first() == Some(&compression::COMPRESSED) {
            let plain = compression::unpack(part, compression::MAX_INFLATED_DATAGRAM)?;
            for part in datagram::open_inflated(&plain)? {
                each(decode(part)?, part);
            }
        } else {
            each(decode(part)?, part);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_byte_shows_the_dialect() {
        assert_eq!(decode(&[]), Err(WireError::Empty));
        assert_eq!(decode(&[6, 1, 2]), Err(WireError::UnknownType(6)));
        assert!(matches!(decode(&[0, 1, 2]), Err(WireError::Malformed { what: "ping", .. })));
        assert_eq!(decode(&[0xff]), Err(WireError::UnknownType(0xff)));
    }
}
