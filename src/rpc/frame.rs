//! Where one MessagePack value ends in a stream of bytes.
//!
//! The control protocol has no length prefix: a value ends where its structure ends. This scanner
//! finds that place without decoding, allocating or recursing, and remembers how far it came, so
//! that bytes which trickle in are looked at once. What a value means is `record.rs`'s business.

use std::fmt;

/// The deepest nesting that is followed. Serf's records nest three deep (`stats`, `members`).
pub const MAX_DEPTH: usize = 16;

/// Why bytes are no acceptable value. The connection cannot be read any further.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameError {
    /// The value is, or states that it will be, longer than this many bytes.
    TooLarge(usize),
    /// Containers are nested deeper than [`MAX_DEPTH`].
    TooDeep,
    /// The byte 0xc1, which MessagePack never uses.
    Reserved,
}

impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FrameError::TooLarge(limit) => write!(f, "message is larger than {limit} bytes"),
            FrameError::TooDeep => write!(f, "message is nested deeper than {MAX_DEPTH} levels"),
            FrameError::Reserved => write!(f, "message is not MessagePack (byte 0xc1)"),
        }
    }
}

impl std::error::Error for FrameError {}

/// The progress through one value.
#[derive(Clone, Debug, Default)]
pub struct FrameScanner {
    /// Bytes of the value that were passed; may lie beyond the end of what has arrived.
    position: usize,
    /// Values still missing in each open container, outermost first.
    missing: [u64; MAX_DEPTH],
    /// Open containers.
    depth: usize,
}

/// What a marker byte says about the bytes after it.
enum Shape {
    /// A value with this many bytes after the marker.
    Fixed(usize),
    /// A length of so many bytes (1, 2 or 4), then that much data and `extra` more bytes.
    Counted {
        width: usize,
        extra: usize,
    },
    /// A container whose number of values is in the marker.
    Container(u64),
    /// A container with a count of so many bytes, times `values` for each.
    CountedContainer {
        width: usize,
        values: u64,
    },
    Reserved,
}

fn shape(marker: u8) -> Shape {
    match marker {
        0x00..=0x7f | 0xe0..=0xff | 0xc0 | 0xc2 | 0xc3 => Shape::Fixed(0),
        0x80..=0x8f => Shape::Container(2 * u64::from(marker & 0x0f)),
        0x90..=0x9f => Shape::Container(u64::from(marker & 0x0f)),
        0xa0..=0xbf => Shape::Fixed(usize::from(marker & 0x1f)),
        0xc1 => Shape::Reserved,
        0xc4 | 0xd9 => Shape::Counted { width: 1, extra: 0 },
        0xc5 | 0xda => Shape::Counted { width: 2, extra: 0 },
        0xc6 | 0xdb => Shape::Counted { width: 4, extra: 0 },
        // An extension has one byte of type between its length and its data.
        0xc7 => Shape::Counted { width: 1, extra: 1 },
        0xc8 => Shape::Counted { width: 2, extra: 1 },
        0xc9 => Shape::Counted { width: 4, extra: 1 },
        0xcc | 0xd0 => Shape::Fixed(1),
        0xcd | 0xd1 => Shape::Fixed(2),
        0xca | 0xce | 0xd2 => Shape::Fixed(4),
        0xcb | 0xcf | 0xd3 => Shape::Fixed(8),
        0xd4 => Shape::Fixed(2),
        0xd5 => Shape::Fixed(3),
        0xd6 => Shape::Fixed(5),
        0xd7 => Shape::Fixed(9),
        0xd8 => Shape::Fixed(17),
        0xdc => Shape::CountedContainer { width: 2, values: 1 },
        0xdd => Shape::CountedContainer { width: 4, values: 1 },
        0xde => Shape::CountedContainer { width: 2, values: 2 },
        0xdf => Shape::CountedContainer { width: 4, values: 2 },
    }
}

/// A big-endian number of 1, 2 or 4 bytes, if it has arrived.
fn number(bytes: &[u8], at: usize, width: usize) -> Option<u64> {
    let bytes = bytes.get(at..at.checked_add(width)?)?;
    Some(bytes.iter().fold(0, |n, b| n << 8 | u64::from(*b)))
}

impl FrameScanner {
    /// The length of the value at the start of `buffer`, or `None` while its end has not arrived.
    ///
    /// `buffer` must begin with what the last call saw; only bytes that are new are looked at.
    /// `limit` bounds the value in bytes and is enforced on what it declares, before that arrives.
    /// After a length or an error was returned, the scanner starts over.
    pub fn scan(&mut self, buffer: &[u8], limit: usize) -> Result<Option<usize>, FrameError> {
        let outcome = self.advance(buffer, limit);
        if !matches!(outcome, Ok(None)) {
            *self = FrameScanner::default();
        }
        outcome
    }

    fn advance(&mut self, buffer: &[u8], limit: usize) -> Result<Option<usize>, FrameError> {
        loop {
            if self.position > limit {
                return Err(FrameError::TooLarge(limit));
            }
            if self.position > 0 && self.depth == 0 {
                // The one value is passed; its last bytes may still be on their way.
                return Ok((self.position <= buffer.len()).then_some(self.position));
            }
            let Some(&marker) = buffer.get(self.position) else { return Ok(None) };
            let after = self.position + 1;
            let (passed, values) = match shape(marker) {
                Shape::Reserved => return Err(FrameError::Reserved),
                Shape::Fixed(len) => (after + len, 0),
                Shape::Counted { width, extra } => match number(buffer, after, width) {
                    None => return Ok(None),
                    Some(len) => {
                        let len = usize::try_from(len).unwrap_or(usize::MAX);
                        ((after + width + extra).saturating_add(len), 0)
                    }
                },
                Shape::Container(values) => (after, values),
                Shape::CountedContainer { width, values } => match number(buffer, after, width) {
                    None => return Ok(None),
                    Some(count) => (after + width, count * values),
                },
            };
            // Every value takes a byte at least, so a count alone can exceed the limit.
            if u64::try_from(passed).unwrap_or(u64::MAX).saturating_add(values)
                > u64::try_from(limit).unwrap_or(u64::MAX)
            {
                return Err(FrameError::TooLarge(limit));
            }
            self.position = passed;
            self.close_value(values)?;
        }
    }

    /// Accounts for a value that begins a container of `values`, or is complete if that is 0.
    fn close_value(&mut self, values: u64) -> Result<(), FrameError> {
        if values > 0 {
            let slot = self.missing.get_mut(self.depth).ok_or(FrameError::TooDeep)?;
            *slot = values;
            self.depth += 1;
            return Ok(());
        }
        while let Some(innermost) = self.depth.checked_sub(1) {
            self.missing[innermost] -= 1;
            if self.missing[innermost] > 0 {
                break;
            }
            self.depth = innermost;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn scan(bytes: &[u8]) -> Result<Option<usize>, FrameError> {
        FrameScanner::default().scan(bytes, 1 << 20)
    }

    #[test]
    fn every_form_ends_where_it_ends() {
        for (bytes, len) in [
            (&b"\x07"[..], 1),
            (b"\xff", 1),
            (b"\xc0", 1),
            (b"\xcc\xff", 2),
            (b"\xd1\x01\x02", 3),
            (b"\xca\x00\x00\x00\x00", 5),
            (b"\xcf\x00\x00\x00\x00\x00\x00\x00\x01", 9),
            (b"\xa3abc", 4),
            (b"\xd9\x02ab", 4),
            (b"\xda\x00\x02ab", 5),
            (b"\xdb\x00\x00\x00\x02ab", 7),
            (b"\xc4\x00", 2),
            (b"\xc5\x00\x01x", 4),
            (b"\xd4\x01x", 3),
            (b"\xd8\x010123456789abcdef", 18),
            (b"\xc7\x02\x01ab", 5),
            (b"\x80", 1),
            (b"\x90", 1),
            (b"\xdc\x00\x00", 3),
            (b"\x82\xa1a\x92\x01\x02\xa1b\x80", 9),
            (b"\xde\x00\x01\xa1a\xc3", 6),
            (b"\x91\x91\x91\x90", 4),
        ] {
            let mut longer = bytes.to_vec();
            longer.extend_from_slice(b"\xc1\xc1");
            assert_eq!(scan(&longer), Ok(Some(len)), "{bytes:x?}");
            for end in 0..len {
                assert_eq!(scan(&bytes[..end]), Ok(None), "{bytes:x?} cut at {end}");
            }
        }
    }

    #[test]
    fn refuses_before_it_waits() {
        let mut scanner = FrameScanner::default();
        assert_eq!(scanner.scan(b"\xc6\x00\x00\x01\x00", 256), Err(FrameError::TooLarge(256)));
        assert_eq!(scanner.scan(b"\xdf\xff\xff\xff\xff", 256), Err(FrameError::TooLarge(256)));
        assert_eq!(scanner.scan(b"\xdb\xff\xff\xff\xff", 256), Err(FrameError::TooLarge(256)));
        assert_eq!(scanner.scan(b"\x91\xc1", 256), Err(FrameError::Reserved));
        assert_eq!(scanner.scan(&[0x91; MAX_DEPTH], 256), Ok(None));
        scanner = FrameScanner::default();
        assert_eq!(scanner.scan(&[0x91; MAX_DEPTH + 1], 256), Err(FrameError::TooDeep));
        assert_eq!(scanner.scan(b"\xa3abc", 4), Ok(Some(4)));
        assert_eq!(scanner.scan(b"\xa4abcd", 4), Err(FrameError::TooLarge(4)));
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic_and_splits_do_not_matter(
            bytes in proptest::collection::vec(any::<u8>(), 0..200), limit in 1usize..300
        ) {
            let whole = FrameScanner::default().scan(&bytes, limit);
            let mut scanner = FrameScanner::default();
            let mut trickled = Ok(None);
            for end in 0..=bytes.len() {
                trickled = scanner.scan(&bytes[..end], limit);
                if trickled != Ok(None) {
                    break;
                }
            }
            prop_assert_eq!(whole, trickled);
            if let Ok(Some(len)) = whole {
                prop_assert!(len <= bytes.len() && len <= limit);
            }
        }
    }
}
