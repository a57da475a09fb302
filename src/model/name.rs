//! The name of a member, unique in its cluster.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

/// The longest node name that is accepted, in bytes.
///
/// Serf's `MaxNodeNameLength` is 128 and only checked with `validate_node_names`; host names
/// end at 255 bytes, so that is the bound for names we merely hear of.
pub const MAX_NAME_LEN: usize = 255;

/// A node name: 1 to [`MAX_NAME_LEN`] bytes of UTF-8. Cloning is cheap.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeName(Arc<str>);

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
    pub fn new(name: impl AsRef<str>) -> Result<Self, NameError> {
        let name = name.as_ref();
        match name.len() {
            0 => Err(NameError::Empty),
            n if n > MAX_NAME_LEN => Err(NameError::TooLong(n)),
            _ => Ok(NodeName(Arc::from(name))),
        }
    }

    /// Whether the name is one that `validate_node_names` lets pass: ASCII letters, digits, dashes
    /// and dots, at most [`MAX_PLAIN_NAME_LEN`] of them.
    pub fn check_plain(&self) -> Result<(), NameError> {
        if !self.0.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'.') {
            return Err(NameError::NotPlain(self.0.to_string()));
        }
        match self.0.len() {
            n if n > MAX_PLAIN_NAME_LEN => Err(NameError::TooLongForPlain(n)),
            _ => Ok(()),
        }
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for NodeName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for NodeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for NodeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

impl Serialize for NodeName {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for NodeName {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl serde::de::Visitor<'_> for Visitor {
            type Value = NodeName;
            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                write!(f, "a node name of 1 to {MAX_NAME_LEN} bytes")
            }
            fn visit_str<E: serde::de::Error>(self, v: &str) -> Result<NodeName, E> {
                NodeName::new(v).map_err(E::custom)
            }
        }
        d.deserialize_str(Visitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds() {
        assert_eq!(NodeName::new(""), Err(NameError::Empty));
        assert_eq!(NodeName::new("x".repeat(256)), Err(NameError::TooLong(256)));
        assert_eq!(NodeName::new("x".repeat(255)).unwrap().as_str().len(), 255);
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
