//! The name of a cluster, and the header that carries it.

use std::fmt;

/// memberlist's `hasLabelMsg`.
pub(super) const LABEL: u8 = 244;
/// Type and length in front of a label.
const LABEL_HEADER: usize = 2;

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

/// A header that announces a label of no bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct HeaderWithoutLabel;

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

    /// Its bytes; none without a label.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many bytes its header has.
    pub(super) fn header_len(&self) -> usize {
        if self.is_empty() { 0 } else { LABEL_HEADER + self.0.len() }
    }

    /// Writes the header, if there is a label.
    pub(super) fn write_header(&self, out: &mut Vec<u8>) {
        if !self.is_empty() {
            // `new` keeps the length within a byte, as does the header of one that was received.
            out.extend_from_slice(&[LABEL, self.0.len() as u8]);
            out.extend_from_slice(&self.0);
        }
    }

    /// The label in front of `bytes`, and how many bytes it takes there; `None` while it is not
    /// complete.
    pub(super) fn read(bytes: &[u8]) -> Result<Option<(Label, usize)>, HeaderWithoutLabel> {
        match *bytes {
            [] | [LABEL] => Ok(None),
            [LABEL, 0, ..] => Err(HeaderWithoutLabel),
            [LABEL, len, ref rest @ ..] => {
                let len = usize::from(len);
                Ok(rest.get(..len).map(|label| (Label(label.into()), LABEL_HEADER + len)))
            }
            _ => Ok(Some((Label::default(), 0))),
        }
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", String::from_utf8_lossy(&self.0).escape_debug())
    }
}
