//! The name of a member, unique in its cluster.

use super::shared_bytes::SharedBytes;
use super::text::{Text, lossy};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::borrow::{Borrow, Cow};
use std::fmt;

/// The longest node name that is accepted, in bytes.
///
/// Serf has no bound but the datagram's (its `MaxNodeNameLength` of 128 is only checked with
/// `validate_node_names`). This is the longest of which two fit a datagram with whatever goes
/// around them, as in a ping or a suspicion, or one with the largest tags, as in an alive message.
pub const MAX_NAME_LEN: usize = 512;

/// A node name: 1 to [`MAX_NAME_LEN`] bytes, UTF-8 by custom only. Cloning is cheap.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeName(SharedBytes);

/// Why a text is no node name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NameError {
    /// The name has no characters.
    Empty,
    /// The name has this many bytes, more than [`MAX_NAME_LEN`].
    TooLong(usize),
    /// The name has other characters than `validate_node_names` lets pass.
    NotPlain(String),
    /// The name has this many bytes, more than `validate_node_names` lets pass.
    TooLongForPlain(usize),
}

/// The longest name that `validate_node_names` lets pass, in bytes (Serf's `MaxNodeNameLength`).
pub const MAX_PLAIN_NAME_LEN: usize = 128;

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NameError::Empty => write!(f, "node name is empty"),
            NameError::TooLong(n) => {
                write!(f, "node name is {n} bytes long; at most {MAX_NAME_LEN} are allowed")
            }
            NameError::NotPlain(name) => write!(
                f,
                "node name contains invalid characters: '{name}'; only letters, digits, dashes and dots are allowed"
            ),
            NameError::TooLongForPlain(n) => {
                write!(f, "node name is {n} bytes long; at most {MAX_PLAIN_NAME_LEN} are allowed")
            }
        }
    }
}

impl std::error::Error for NameError {}

impl NodeName {
    /// Checks the length and takes the name.
    pub fn new(name: impl AsRef<[u8]>) -> Result<Self, NameError> {
        let name = name.as_ref();
        match name.len() {
            0 => Err(NameError::Empty),
            n if n > MAX_NAME_LEN => Err(NameError::TooLong(n)),
            _ => Ok(NodeName(name.into())),
        }
    }

    /// Whether the name is one that `validate_node_names` lets pass: ASCII letters, digits, dashes
    /// and dots, at most [`MAX_PLAIN_NAME_LEN`] of them.
    pub fn check_plain(&self) -> Result<(), NameError> {
        if !self.as_bytes().iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.')) {
            return Err(NameError::NotPlain(self.to_string()));
        }
        match self.as_bytes().len() {
            n if n > MAX_PLAIN_NAME_LEN => Err(NameError::TooLongForPlain(n)),
            _ => Ok(()),
        }
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_slice()
    }

    /// For people: see [`lossy`].
    pub fn to_lossy(&self) -> Cow<'_, str> {
        lossy(self.as_bytes())
    }
}

/// Maps by name are asked by bytes.
impl Borrow<[u8]> for NodeName {
    fn borrow(&self) -> &[u8] {
        self.0.as_slice()
    }
}

impl AsRef<[u8]> for NodeName {
    fn as_ref(&self) -> &[u8] {
        self.0.as_slice()
    }
}

impl From<&NodeName> for Text {
    fn from(name: &NodeName) -> Text {
        Text::from(name.as_bytes())
    }
}

impl fmt::Display for NodeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.to_lossy())
    }
}

impl fmt::Debug for NodeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.to_lossy(), f)
    }
}

impl Serialize for NodeName {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_bytes(self.as_bytes())
    }
}

impl<'de> Deserialize<'de> for NodeName {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        Text::deserialize(d).and_then(|name| NodeName::new(name).map_err(serde::de::Error::custom))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds() {
        assert_eq!(NodeName::new(""), Err(NameError::Empty));
        assert_eq!(NodeName::new("x".repeat(513)), Err(NameError::TooLong(513)));
        assert_eq!(NodeName::new("x".repeat(512)).unwrap().as_bytes().len(), 512);
        assert_eq!(NodeName::new(b"a\xff").unwrap().to_string(), "a\u{fffd}");
    }

    #[test]
    fn plain_names() {
        let check = |name: &str| NodeName::new(name).unwrap().check_plain();
        let longest = "x".repeat(MAX_PLAIN_NAME_LEN);
        for name in ["a", "web-1.example.org", "0", longest.as_str()] {
            assert_eq!(check(name), Ok(()), "{name}");
        }
        for name in ["a b", "web_1", "a/b", "café", "a\n", "a:1"] {
            assert_eq!(check(name), Err(NameError::NotPlain(name.to_string())), "{name}");
        }
        assert_eq!(check(&"x".repeat(129)), Err(NameError::TooLongForPlain(129)));
    }
}
