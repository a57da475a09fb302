//! Keys as text: base64, read as Go reads it. Line ends are ignored wherever they stand, so that a key
//! may be what a command printed or a file holds; other blanks are not.

use base64::alphabet;
use base64::engine::{GeneralPurpose, GeneralPurposeConfig};
use base64::{DecodeError, Engine};
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
    let counts = |byte: &u8| !matches!(byte, b'\r' | b'\n');
    // Room for everything at once: growing would leave copies behind.
    let mut characters = Zeroizing::new(Vec::with_capacity(text.len()));
    characters.extend(text.bytes().filter(counts));
    let mut bytes = Zeroizing::new(Vec::with_capacity(text.len() + 3));
    match ENGINE.decode_vec(&*characters, &mut bytes) {
        Ok(()) => Ok(bytes),
        Err(error) => {
            let at = match error {
                DecodeError::InvalidByte(at, _) | DecodeError::InvalidLastSymbol { offset: at, .. } => at,
                // Characters come in fours; the last ones are too few.
                DecodeError::InvalidLength(_) | DecodeError::InvalidPadding => characters.len() / 4 * 4,
            };
            let mut places = text.bytes().enumerate().filter(|(_, byte)| counts(byte));
            Err(NotBase64(places.nth(at).map_or(text.len(), |(place, _)| place)))
        }
    }
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
