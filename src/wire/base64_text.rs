//! Keys as text: base64, read as Go reads it. Line ends are ignored wherever they stand, so that a key
//! may be what a command printed or a file holds; other blanks are not.

use base64::Engine;
use base64::alphabet;
use base64::engine::{GeneralPurpose, GeneralPurposeConfig};
use std::fmt;
use zeroize::Zeroizing;

/// Go does not look at the bits of the last character that stand for nothing.
const ENGINE: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true),
);

/// A text is not base64 from this byte on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotBase64(pub usize);

impl fmt::Display for NotBase64 {
    /// In Go's words, which are those of Serf.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "illegal base64 data at input byte {}", self.0)
    }
}

impl std::error::Error for NotBase64 {}

/// What the text stands for.
pub fn decode(text: &str) -> Result<Zeroizing<Vec<u8>>, NotBase64> {
    if let Some(at) = illegal_at(text.as_bytes()) {
        return Err(NotBase64(at));
    }
    // Room for everything at once: growing would leave copies behind.
    let mut characters = Zeroizing::new(Vec::with_capacity(text.len()));
    characters.extend(text.bytes().filter(|byte| !matches!(byte, b'\r' | b'\n')));
    let mut bytes = Zeroizing::new(Vec::with_capacity(text.len() + 3));
    ENGINE.decode_vec(&*characters, &mut bytes).map_err(|_| NotBase64(text.len()))?;
    Ok(bytes)
}

/// The byte that Go blames: one that is no part of base64, the first of a group of four that is not
/// whole, or what is wrong with the padding or follows it.
fn illegal_at(text: &[u8]) -> Option<usize> {
    let mut bytes = text.iter().enumerate().filter(|(_, byte)| !matches!(byte, b'\r' | b'\n'));
    let mut in_group = 0;
    while let Some((at, byte)) = bytes.next() {
        match (byte, in_group) {
            (b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'+' | b'/', _) => in_group = (in_group + 1) % 4,
            (b'=', 3) => return bytes.next().map(|(at, _)| at),
            (b'=', 2) => match bytes.next() {
                Some((_, b'=')) => return bytes.next().map(|(at, _)| at),
                Some((at, _)) => return Some(at - 1),
                None => return Some(text.len()),
            },
            _ => return Some(at),
        }
    }
    (in_group > 0).then_some(text.len() - in_group)
}

/// The text that stands for these bytes.
pub fn encode(bytes: &[u8]) -> Zeroizing<String> {
    Zeroizing::new(ENGINE.encode(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    // What Go's encoding/base64 makes of them.

    #[test]
    fn line_ends_are_ignored_anywhere() {
        for text in ["YWJjZA==", "YWJjZA==\n", "\r\nYWJjZA==\r\n", "YW\nJj\rZA\n=\n=", "YWJjZB=="] {
            assert_eq!(decode(text).as_deref().map(Vec::as_slice), Ok(&b"abcd"[..]), "{text:?}");
        }
        assert_eq!(decode("\n").unwrap().len(), 0);
    }

    #[test]
    fn refusals_say_where() {
        for (text, at) in [
            ("x", 0),
            ("bogus", 4),
            ("YWJjZA", 4),
            (" YWJjZA==", 0),
            ("YWJjZA== ", 8),
            ("YWJjZA==\t", 8),
            ("YWJj!A==", 4),
            ("YWJj\n!A==", 5),
        ] {
            assert_eq!(decode(text), Err(NotBase64(at)), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn bytes_round_trip_and_nothing_panics(
            bytes in proptest::collection::vec(any::<u8>(), 0..40),
            text in "[A-Za-z0-9+/=\r\n é]{0,12}",
        ) {
            prop_assert_eq!(&*decode(&encode(&bytes)).unwrap(), &bytes);
            let _ = decode(&text);
        }
    }
}
