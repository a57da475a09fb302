//! The cluster's label, by which clusters that should never have met stay apart.

use std::fmt;

/// Which cluster something belongs to: up to 255 bytes, or none.
///
/// One that was received need not be UTF-8, and is escaped when it is shown.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Label(Box<[u8]>);

/// A label that is longer than its header can say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LabelTooLong(pub usize);

impl fmt::Display for LabelTooLong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a label has at most {} bytes, this one has {}", Label::MAX_LEN, self.0)
    }
}

impl std::error::Error for LabelTooLong {}

impl Label {
    /// The longest label, in bytes.
    pub const MAX_LEN: usize = 255;

    /// Takes a label; an empty one is none.
    pub fn new(text: &str) -> Result<Label, LabelTooLong> {
        match text.len() {
            0..=Label::MAX_LEN => Ok(Label(text.as_bytes().into())),
            len => Err(LabelTooLong(len)),
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// One that was received. Its length must have fitted a byte.
    pub(super) fn from_bytes(bytes: &[u8]) -> Label {
        debug_assert!(bytes.len() <= Label::MAX_LEN);
        Label(bytes.into())
    }

    /// Its bytes.
    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", String::from_utf8_lossy(&self.0).escape_debug())
    }
}
