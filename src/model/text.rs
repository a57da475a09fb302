//! Text from peers, users and files: bytes, UTF-8 by custom only.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::borrow::{Borrow, Cow};
use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt;

/// A text as Go knows it: any bytes, of which one hopes that they are UTF-8.
///
/// Names of events and queries, keys and values of tags, and whatever else members, users or files
/// say, are of this type and never refused for their encoding. It is shown with U+FFFD for what is not
/// UTF-8; where the bytes themselves matter (on the wire, for handlers), they are there unchanged.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Text(Box<[u8]>);

impl Text {
    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// How many bytes.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// For people: see [`lossy`].
    pub fn to_lossy(&self) -> Cow<'_, str> {
        lossy(&self.0)
    }

    /// For the system: a path, an argument, a variable.
    pub fn as_os_str(&self) -> &OsStr {
        OsStr::from_bytes(&self.0)
    }

    /// Whether it begins with this.
    pub fn starts_with(&self, prefix: &str) -> bool {
        self.0.starts_with(prefix.as_bytes())
    }
}

/// Bytes as people see them: U+FFFD for each byte that is no part of a character, as Go has it. (What
/// Rust calls lossy makes one of several.)
pub fn lossy(bytes: &[u8]) -> Cow<'_, str> {
    if let Ok(text) = std::str::from_utf8(bytes) {
        return text.into();
    }
    let mut out = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        out.push_str(chunk.valid());
        out.extend(chunk.invalid().iter().map(|_| char::REPLACEMENT_CHARACTER));
    }
    out.into()
}

impl From<&str> for Text {
    fn from(text: &str) -> Text {
        Text(text.as_bytes().into())
    }
}

impl From<String> for Text {
    fn from(text: String) -> Text {
        Text(text.into_bytes().into())
    }
}

impl From<&[u8]> for Text {
    fn from(bytes: &[u8]) -> Text {
        Text(bytes.into())
    }
}

impl From<Vec<u8>> for Text {
    fn from(bytes: Vec<u8>) -> Text {
        Text(bytes.into())
    }
}

/// Maps by text are asked by bytes.
impl Borrow<[u8]> for Text {
    fn borrow(&self) -> &[u8] {
        &self.0
    }
}

impl AsRef<[u8]> for Text {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl PartialEq<str> for Text {
    fn eq(&self, other: &str) -> bool {
        *self.0 == *other.as_bytes()
    }
}

impl PartialEq<&str> for Text {
    fn eq(&self, other: &&str) -> bool {
        *self == **other
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The formatter's width counts the characters that are shown.
        f.pad(&self.to_lossy())
    }
}

/// As a text is shown, in quotes and with what is special escaped.
impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.to_lossy(), f)
    }
}

/// Bytes in binary formats; in those for people, what is shown.
impl Serialize for Text {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        if s.is_human_readable() { s.serialize_str(&self.to_lossy()) } else { s.serialize_bytes(&self.0) }
    }
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl serde::de::Visitor<'_> for Visitor {
            type Value = Text;
            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a text")
            }
            fn visit_str<E>(self, text: &str) -> Result<Text, E> {
                Ok(text.into())
            }
            fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Text, E> {
                Ok(bytes.into())
            }
        }
        // MessagePack hands over what is there, text or bytes; for bincode both are a length and bytes.
        if d.is_human_readable() { d.deserialize_str(Visitor) } else { d.deserialize_bytes(Visitor) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn any_bytes_are_text_and_are_shown() {
        let odd = Text::from(&b"a\xffb\n"[..]);
        assert_eq!((odd.as_bytes(), odd.len()), (&b"a\xffb\n"[..], 4));
        assert_eq!(
            (odd.to_string(), format!("{odd:?}")),
            ("a\u{fffd}b\n".into(), "\"a\u{fffd}b\\n\"".into())
        );
        assert_eq!(format!("{:4}|", Text::from("é")), "é   |");
        assert_ne!(odd, Text::from("a\u{fffd}b\n"));
        assert_eq!(BTreeMap::from([(odd, 1)]).get(&b"a\xffb\n"[..]), Some(&1));
    }

    #[test]
    fn each_byte_that_is_no_text_becomes_one_replacement() {
        for (bytes, text) in [
            (&b"plain \xc3\xa9"[..], "plain é"),
            (b"", ""),
            (b"a\xff\xe2\x82<", "a\u{fffd}\u{fffd}\u{fffd}<"),
            (b"\xed\xa0\x80", "\u{fffd}\u{fffd}\u{fffd}"),
            (b"\xe2\x82", "\u{fffd}\u{fffd}"),
        ] {
            assert_eq!(lossy(bytes), text, "{bytes:x?}");
        }
    }

    #[test]
    fn bytes_survive_binary_formats() {
        let odd = Text::from(&b"\xff"[..]);
        assert_eq!(rmp_serde::from_slice::<Text>(b"\xa1\xff").unwrap(), odd);
        assert_eq!(rmp_serde::from_slice::<Text>(b"\xc4\x01\xff").unwrap(), odd);
        assert_eq!(serde_json::to_string(&odd).unwrap(), "\"\u{fffd}\"");
    }
}
