//! Bytes that many places hold.

use std::cmp::Ordering;
use std::hash::{Hash, Hasher};
use triomphe::ThinArc;

/// Bytes that are kept once however often they are cloned, behind a pointer of one word: a name is in
/// half a dozen indexes of the membership table.
#[derive(Clone)]
pub(super) struct SharedBytes(ThinArc<(), u8>);

impl SharedBytes {
    pub(super) fn as_slice(&self) -> &[u8] {
        &self.0.slice
    }
}

impl From<&[u8]> for SharedBytes {
    fn from(bytes: &[u8]) -> Self {
        SharedBytes(ThinArc::from_header_and_slice((), bytes))
    }
}

// Like slices, because maps are asked by slices.

impl PartialEq for SharedBytes {
    fn eq(&self, other: &Self) -> bool {
        self.as_slice() == other.as_slice()
    }
}

impl Eq for SharedBytes {}

impl PartialOrd for SharedBytes {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for SharedBytes {
    fn cmp(&self, other: &Self) -> Ordering {
        self.as_slice().cmp(other.as_slice())
    }
}

impl Hash for SharedBytes {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_slice().hash(state);
    }
}
