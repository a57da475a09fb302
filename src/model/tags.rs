//! Tags: the key/value pairs a member describes itself with, and their encoding in the
//! metadata of an `Alive` message.
//!
//! The encoding is Serf's (`encodeTags`): the byte 255, then a MessagePack map of strings.
//! It is part of what every dialect carries, so it lives with the noun. Strings are written
//! in the old "raw" form (never `str8`), as Serf writes them, so that the encoded length and
//! with it the 512-byte limit agree to the byte.

use super::shared_bytes::SharedBytes;
use super::text::{Text, lossy};
use std::collections::BTreeMap;
use std::fmt;

/// Largest encoded size of a member's tags, in bytes (memberlist's `MetaMaxSize`).
pub const MAX_META_LEN: usize = 512;

/// First byte of metadata that holds a tag map; anything else is the role of an agent that
/// speaks Serf protocol 2 or older (`tagMagicByte`).
const TAG_MAGIC: u8 = 255;

/// A member's tags, ordered by key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tags(pub BTreeMap<Text, Text>);

/// Tags as a member said them, encoded. They are decoded where they are shown: decoded they take many times the
/// memory, and most of them are never looked at. Cheap to clone.
#[derive(Clone, PartialEq, Eq)]
pub struct Meta(SharedBytes);

impl Meta {
    /// What an `Alive` message carries.
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_slice()
    }

    /// The tags. Those that do not decode are shown as none.
    pub fn tags(&self) -> Tags {
        Tags::decode(self.as_bytes()).unwrap_or_default()
    }
}

impl From<&[u8]> for Meta {
    fn from(bytes: &[u8]) -> Meta {
        Meta(bytes.into())
    }
}

impl From<Vec<u8>> for Meta {
    fn from(bytes: Vec<u8>) -> Meta {
        bytes.as_slice().into()
    }
}

/// As the tags.
impl fmt::Debug for Meta {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.tags().fmt(f)
    }
}

/// Why tags were refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TagsError {
    /// They take this many bytes, more than [`MAX_META_LEN`].
    TooLarge(usize),
    /// A `key=value` pair has no `=` or an empty key.
    NoKey(Text),
    /// The metadata is no map of strings.
    Malformed,
}

impl fmt::Display for TagsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // To the letter: clients compare it.
            TagsError::TooLarge(_) => {
                write!(f, "Encoded length of tags exceeds limit of {MAX_META_LEN} bytes")
            }
            TagsError::NoKey(s) => write!(f, "Invalid tag: '{s}' (expected key=value)"),
            TagsError::Malformed => write!(f, "tags are not a map of strings"),
        }
    }
}

impl std::error::Error for TagsError {}

impl Tags {
    /// Parses `key=value` pairs; the value may hold further `=` and may be empty.
    pub fn from_pairs<S: AsRef<[u8]>>(pairs: impl IntoIterator<Item = S>) -> Result<Tags, TagsError> {
        let mut tags = BTreeMap::new();
        for pair in pairs {
            let pair = pair.as_ref();
            let (key, value) = split_pair(pair).ok_or_else(|| TagsError::NoKey(pair.into()))?;
            tags.insert(key.into(), value.into());
        }
        Ok(Tags(tags))
    }

    /// The value of one tag.
    pub fn value(&self, key: impl AsRef<[u8]>) -> Option<&Text> {
        self.0.get(key.as_ref())
    }

    /// `k1=v1,k2=v2`, in key order: the form of `members` and of handlers' standard input.
    pub fn to_bytes(&self) -> Vec<u8> {
        let pairs = self.0.iter().map(|(k, v)| [k.as_bytes(), v.as_bytes()].join(&b'='));
        pairs.collect::<Vec<_>>().join(&b',')
    }

    /// The metadata of an `Alive` message, at most [`MAX_META_LEN`] bytes.
    pub fn encode(&self) -> Result<Vec<u8>, TagsError> {
        let mut out = vec![TAG_MAGIC];
        let Ok(count) = u32::try_from(self.0.len()) else {
            return Err(TagsError::TooLarge(usize::MAX));
        };
        // Writing to a Vec cannot fail.
        let _ = rmp::encode::write_map_len(&mut out, count);
        for text in self.0.iter().flat_map(|(k, v)| [k, v]) {
            write_raw(&mut out, text.as_bytes());
        }
        if out.len() > MAX_META_LEN { Err(TagsError::TooLarge(out.len())) } else { Ok(out) }
    }

    /// Reads the metadata of an `Alive` message. Metadata without the magic byte is a role.
    pub fn decode(meta: &[u8]) -> Result<Tags, TagsError> {
        if meta.len() > MAX_META_LEN {
            return Err(TagsError::TooLarge(meta.len()));
        }
        match meta.split_first() {
            Some((&TAG_MAGIC, map)) => rmp_serde::from_slice(map).map(Tags).map_err(|_| TagsError::Malformed),
            _ => Ok(Tags(BTreeMap::from([("role".into(), meta.into())]))),
        }
    }
}

/// As [`Tags::to_bytes`], for people.
impl fmt::Display for Tags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&lossy(&self.to_bytes()))
    }
}

/// The key and the value of `key=value`; the key is not empty.
fn split_pair(pair: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = pair.iter().position(|byte| *byte == b'=').filter(|at| *at > 0)?;
    Some((pair.get(..at)?, pair.get(at + 1..)?))
}

/// A text or byte string in MessagePack's old form, which knows no difference between the two and
/// no lengths of one byte: what Serf's agents write.
pub(crate) fn write_raw(out: &mut Vec<u8>, bytes: &[u8]) {
    let len = bytes.len();
    match u16::try_from(len) {
        Ok(short) if short < 32 => out.push(0xa0 | short as u8),
        Ok(long) => {
            out.push(0xda);
            out.extend_from_slice(&long.to_be_bytes());
        }
        // Nothing that agents write comes near four gigabytes; sizes are checked after writing.
        Err(_) => {
            out.push(0xdb);
            out.extend_from_slice(&u32::try_from(len).unwrap_or(u32::MAX).to_be_bytes());
        }
    }
    out.extend_from_slice(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn encodes_as_serf_does() {
        let tags = Tags::from_pairs(["role=web", "v="]).unwrap();
        assert_eq!(tags.encode().unwrap(), b"\xff\x82\xa4role\xa3web\xa1v\xa0");
        assert_eq!(Tags::default().encode().unwrap(), b"\xff\x80");
        let long = Tags::from_pairs([format!("k={}", "x".repeat(40))]).unwrap();
        assert_eq!(&long.encode().unwrap()[..7], b"\xff\x81\xa1k\xda\x00\x28");
    }

    #[test]
    fn metadata_without_magic_is_a_role() {
        assert_eq!(Tags::decode(b"web").unwrap().value("role"), Some(&"web".into()));
        assert_eq!(Tags::decode(b"").unwrap().value("role"), Some(&Text::default()));
        assert_eq!(Tags::decode(b"\xff\x81\xa1k"), Err(TagsError::Malformed));
    }

    #[test]
    fn limits_are_refused_with_numbers() {
        let big = Tags::from_pairs([format!("k={}", "x".repeat(600))]).unwrap();
        assert_eq!(big.encode(), Err(TagsError::TooLarge(607)));
        assert!(Tags::from_pairs(["novalue"]).is_err());
        assert!(Tags::from_pairs(["=x"]).is_err());
        assert_eq!(Tags::from_pairs(["a=b=c"]).unwrap().value("a"), Some(&"b=c".into()));
    }

    proptest! {
        #[test]
        fn decode_reverses_encode(
            map in proptest::collection::btree_map(
                proptest::collection::vec(any::<u8>(), 1..20), proptest::collection::vec(any::<u8>(), 0..40), 0..6),
        ) {
            let tags = Tags(map.into_iter().map(|(key, value)| (key.into(), value.into())).collect());
            if let Ok(bytes) = tags.encode() {
                prop_assert_eq!(Tags::decode(&bytes).unwrap(), tags);
            }
        }

        #[test]
        fn arbitrary_metadata_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
            let _ = Tags::decode(&bytes);
        }
    }
}
