//! Framing of datagrams: a checksum around one message or around several (a compound
//! message). The layout is memberlist's and the same for every dialect:
//!
//! ```text
//! 12  crc32(rest), big-endian   rest = message | 7  count  count × u16 length  messages
//! ```
//!
//! In HashiCorp's dialect the rest may be compressed, and old agents know no checksum.
//!
//! One size budget, counted with every overhead, holds for every datagram without exception.

use super::compression::{self, COMPRESSED};
use super::error::WireError;

/// memberlist's `hasCrcMsg`.
const CHECKSUM: u8 = 12;
/// memberlist's `compoundMsg`.
const COMPOUND: u8 = 7;

/// Bytes in front of every datagram: the checksum's type and value.
pub const CHECKSUM_OVERHEAD: usize = 5;
/// Bytes in front of the messages of a compound: its type and their count.
pub const COMPOUND_OVERHEAD: usize = 2;
/// Bytes that each message of a compound costs on top of its own: its length.
pub const PART_OVERHEAD: usize = 2;
/// The most messages in one compound: the count is one byte.
pub const MAX_PARTS: usize = 255;
/// The largest datagram that is read; UDP itself ends here.
pub const MAX_DATAGRAM: usize = 65_507;

/// What a datagram is wrapped in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wrapping {
    /// Whether the receiver knows checksums.
    pub checksum: bool,
    /// Whether to compress, if that makes it smaller.
    pub compress: bool,
}

/// Collects messages for one datagram, as long as they fit its budget.
#[derive(Debug)]
pub struct Packer {
    budget: usize,
    parts: Vec<u8>,
    lengths: Vec<u16>,
}

impl Packer {
    /// An empty datagram of at most `budget` bytes.
    pub fn new(budget: usize) -> Self {
        Packer { budget: budget.min(MAX_DATAGRAM), parts: Vec::new(), lengths: Vec::new() }
    }

    /// How many bytes the next message may have.
    pub fn room(&self) -> usize {
        if self.lengths.len() >= MAX_PARTS {
            return 0;
        }
        let used = CHECKSUM_OVERHEAD
            + COMPOUND_OVERHEAD
            + (self.lengths.len() + 1) * PART_OVERHEAD
            + self.parts.len();
        self.budget.saturating_sub(used).min(usize::from(u16::MAX))
    }

    /// How many more messages the count can say.
    pub fn parts_left(&self) -> usize {
        MAX_PARTS - self.lengths.len()
    }

    /// Adds a message if it fits; says whether it did.
    #[must_use]
    pub fn push(&mut self, message: &[u8]) -> bool {
        let Ok(len) = u16::try_from(message.len()) else { return false };
        if message.len() > self.room() {
            return false;
        }
        self.lengths.push(len);
        self.parts.extend_from_slice(message);
        true
    }

    /// Whether nothing was added.
    pub fn is_empty(&self) -> bool {
        self.lengths.is_empty()
    }

    /// The datagram, with a checksum and uncompressed.
    pub fn finish(self) -> Vec<u8> {
        self.finish_in(Wrapping { checksum: true, compress: false })
    }

    /// The datagram. However it is wrapped, it keeps within the budget.
    pub fn finish_in(self, wrapping: Wrapping) -> Vec<u8> {
        let mut content = self.content();
        if wrapping.compress {
            content = compression::pack(content);
        }
        if wrapping.checksum {
            let crc = crc32fast::hash(&content);
            content.splice(..0, [CHECKSUM].into_iter().chain(crc.to_be_bytes()));
        }
        content
    }

    fn content(self) -> Vec<u8> {
        let room = CHECKSUM_OVERHEAD + COMPOUND_OVERHEAD + PART_OVERHEAD * self.lengths.len();
        let mut out = Vec::with_capacity(self.parts.len() + room);
        if self.lengths.len() != 1 {
            out.push(COMPOUND);
            // `push` keeps the number of parts within a byte.
            out.push(self.lengths.len() as u8);
            for len in &self.lengths {
                out.extend_from_slice(&len.to_be_bytes());
            }
        }
        out.extend_from_slice(&self.parts);
        out
    }
}

/// Checks a datagram and splits it into its messages, still encoded. What is compressed comes as
/// one, for [`open_inflated`] to split.
///
/// A compound that is cut short is refused as a whole: with the checksum it is either whole
/// or damaged.
pub fn open(datagram: &[u8]) -> Result<Vec<&[u8]>, WireError> {
    if datagram.len() > MAX_DATAGRAM {
        return Err(WireError::TooLong { len: datagram.len(), limit: MAX_DATAGRAM });
    }
    let content = match datagram.split_first() {
        None => return Err(WireError::Empty),
        Some((&CHECKSUM, rest)) => {
            let (crc, content) = rest.split_first_chunk::<4>().ok_or(WireError::Truncated)?;
            if crc32fast::hash(content) != u32::from_be_bytes(*crc) {
                return Err(WireError::Checksum);
            }
            content
        }
        Some(_) => datagram,
    };
    match content.split_first() {
        None => Err(WireError::Empty),
        Some((&COMPOUND, rest)) => split(rest),
        Some(_) => Ok(vec![content]),
    }
}

/// Splits what was compressed in a datagram.
pub fn open_inflated(content: &[u8]) -> Result<Vec<&[u8]>, WireError> {
    match content.first() {
        Some(&(CHECKSUM | COMPRESSED)) => Err(WireError::Nested),
        _ => open(content),
    }
}

fn split(compound: &[u8]) -> Result<Vec<&[u8]>, WireError> {
    let (&count, rest) = compound.split_first().ok_or(WireError::Truncated)?;
    let (lengths, mut rest) =
        rest.split_at_checked(usize::from(count) * PART_OVERHEAD).ok_or(WireError::Truncated)?;
    let mut parts = Vec::with_capacity(usize::from(count));
    for len in lengths.chunks_exact(PART_OVERHEAD) {
        let len = usize::from(u16::from_be_bytes([len[0], len[1]]));
        let (part, tail) = rest.split_at_checked(len).ok_or(WireError::Truncated)?;
        match part.first() {
            None => return Err(WireError::Empty),
            Some(&(COMPOUND | CHECKSUM | COMPRESSED)) => return Err(WireError::Nested),
            Some(_) => parts.push(part),
        }
        rest = tail;
    }
    if rest.is_empty() { Ok(parts) } else { Err(WireError::Truncated) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn one_message_is_not_compound() {
        let mut p = Packer::new(1400);
        assert!(p.push(b"\x80hello"));
        let d = p.finish();
        assert_eq!(d.len(), CHECKSUM_OVERHEAD + 6);
        assert_eq!(open(&d), Ok(vec![&b"\x80hello"[..]]));
    }

    #[test]
    fn the_budget_counts_every_overhead() {
        let mut p = Packer::new(100);
        while p.push(&[0x80; 10]) {}
        let d = p.finish();
        assert!(d.len() <= 100, "{} bytes", d.len());
        assert_eq!(open(&d).unwrap().len(), 7);
        assert!(!Packer::new(20).push(&[0x80; 12]));
        assert!(Packer::new(21).push(&[0x80; 12]));
    }

    #[test]
    fn never_more_parts_than_the_count_can_say() {
        let mut p = Packer::new(60_000);
        let taken = (0..300).filter(|_| p.push(&[0x80])).count();
        assert_eq!(taken, MAX_PARTS);
        assert_eq!(p.room(), 0);
        assert_eq!(open(&p.finish()).unwrap().len(), MAX_PARTS);
        assert!(!Packer::new(100_000).push(&vec![0x80; 70_000]), "parts end at 64 KiB");
    }

    #[test]
    fn damage_is_named() {
        let d = |b: &[u8]| open(b).unwrap_err();
        assert_eq!(d(b""), WireError::Empty);
        assert_eq!(d(&[12, 0, 0]), WireError::Truncated);
        assert_eq!(d(&[12, 1, 2, 3, 4, 5]), WireError::Checksum);
        assert_eq!(d(&[12, 0, 0, 0, 0]), WireError::Empty);
        assert_eq!(d(&[7]), WireError::Truncated);
        assert_eq!(d(&[7, 2, 0, 1]), WireError::Truncated);
        assert_eq!(d(&[7, 1, 0, 9, 1]), WireError::Truncated);
        assert_eq!(d(&[7, 1, 0, 0]), WireError::Empty);
        assert_eq!(d(&[7, 1, 0, 1, 7]), WireError::Nested);
        assert_eq!(d(&[7, 1, 0, 1, 12]), WireError::Nested);
        assert_eq!(d(&[7, 1, 0, 1, 9]), WireError::Nested);
        assert_eq!(open_inflated(&[9, 0x80]), Err(WireError::Nested));
        assert_eq!(open_inflated(&[12, 0, 0, 0, 0]), Err(WireError::Nested));
        assert_eq!(d(&[7, 1, 0, 1, 1, 1]), WireError::Truncated);
        assert_eq!(d(&vec![0; 70_000]), WireError::TooLong { len: 70_000, limit: MAX_DATAGRAM });
    }

    proptest! {
        #[test]
        fn open_reverses_pack(parts in proptest::collection::vec(
            proptest::collection::vec(0x80u8.., 1..50), 1..20)) {
            let mut p = Packer::new(1400);
            let taken: Vec<_> = parts.iter().filter(|m| p.push(m)).collect();
            let d = p.finish();
            prop_assert!(d.len() <= 1400);
            prop_assert_eq!(open(&d).unwrap(), taken);
        }

        #[test]
        fn any_flipped_bit_is_noticed(len in 1usize..200, at in any::<prop::sample::Index>(), bit in 0u8..8) {
            let mut p = Packer::new(1400);
            prop_assert!(p.push(&vec![0x80; len]));
            let mut d = p.finish();
            let i = 1 + at.index(d.len() - 1);
            d[i] ^= 1 << bit;
            prop_assert_eq!(open(&d), Err(WireError::Checksum));
        }

        #[test]
        fn arbitrary_bytes_never_panic(b in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = open(&b);
        }
    }
}
