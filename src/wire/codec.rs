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

/// What is read of a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Portion {
    /// All of it.
    Whole,
    /// Pings and their answers.
    Probes,
    /// What is left after these.
    Rest,
}

impl Portion {
    fn has(self, part: &[u8]) -> bool {
        let is_probe = || match part.first() {
            Some(&tag) if Dialect::of(tag) == Dialect::Native => native::is_probe(tag),
            Some(&tag) => hashicorp::is_probe(tag),
            None => false,
        };
        match self {
            Portion::Whole => true,
            Portion::Probes => is_probe(),
            Portion::Rest => !is_probe(),
        }
    }
}

/// Reads a datagram: checksum, compression, compound. `each` is given a message and its
/// bytes; those in front of one that does not decode are kept. With `only`, nothing is read that is
/// in another dialect.
pub fn read_datagram(
    bytes: &[u8],
    only: Option<Dialect>,
    each: impl FnMut(Message, &[u8]),
) -> Result<(), WireError> {
    read_portion(bytes, only, Portion::Whole, each).map(drop)
}

/// The same for a portion of it. Says whether there is anything else in it.
pub fn read_portion(
    bytes: &[u8],
    only: Option<Dialect>,
    portion: Portion,
    mut each: impl FnMut(Message, &[u8]),
) -> Result<bool, WireError> {
    let mut has_more = false;
    let mut read = |part: &[u8]| -> Result<(), WireError> {
        if portion.has(part) {
            each(decode(part)?, part);
        } else {
            has_more = true;
        }
        Ok(())
    };
    for part in datagram::open(bytes)? {
        check_dialect(part, only)?;
        if part.first() == Some(&compression::COMPRESSED) {
            let plain = compression::unpack(part, compression::MAX_INFLATED_DATAGRAM)?;
            for part in datagram::open_inflated(&plain)? {
                read(part)?;
            }
        } else {
            read(part)?;
        }
    }
    Ok(has_more)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_datagram_can_be_read_in_two_portions() {
        use crate::wire::datagram::{Packer, Wrapping};
        use crate::wire::message::{Ack, JoinIntent, Nack};
        let node = crate::model::NodeName::new("n").unwrap();
        let messages: [Message; 4] = [
            Nack { seq_no: 1 }.into(),
            JoinIntent { ltime: crate::model::LamportTime(7), node }.into(),
            Ack { seq_no: 2, payload: vec![0; 200], digest: None }.into(),
            Nack { seq_no: 3 }.into(),
        ];
        for dialect in [Dialect::Native, Dialect::Hashicorp] {
            for compress in [false, true] {
                let mut packer = Packer::new(1400);
                for message in &messages {
                    assert!(packer.push(&encode(dialect, message)));
                }
                let bytes = packer.finish_in(Wrapping { checksum: true, compress });
                let read = |portion| {
                    let mut read = Vec::new();
                    let has_more = read_portion(&bytes, None, portion, |message, _| read.push(message));
                    (read, has_more.unwrap())
                };
                let [nack, join, ack, last] = messages.clone();
                assert_eq!(read(Portion::Whole), (messages.to_vec(), false));
                assert_eq!(read(Portion::Probes), (vec![nack, ack, last], true));
                assert_eq!(read(Portion::Rest), (vec![join], true));
            }
        }
    }

    #[test]
    fn the_first_byte_shows_the_dialect() {
        assert_eq!(decode(&[]), Err(WireError::Empty));
        assert_eq!(decode(&[6, 1, 2]), Err(WireError::UnknownType(6)));
        assert!(matches!(decode(&[0, 1, 2]), Err(WireError::Malformed { what: "ping", .. })));
        assert_eq!(decode(&[0xff]), Err(WireError::UnknownType(0xff)));
    }
}
