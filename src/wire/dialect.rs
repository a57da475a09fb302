//! Which of the two ways of writing messages is spoken to whom.

use super::error::WireError;
use crate::model::Versions;

/// Tags of the native dialect start here; everything below is memberlist's.
pub(crate) const FIRST_NATIVE_TAG: u8 = 0x80;

/// A way to write messages as bytes.
///
/// A reader distinguishes dialects by the first byte of a message: memberlist's message types
/// lie below 0x80, ours are 0x80 and above.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// bincode, little-endian varints: what our agents speak among themselves.
    Native,
    /// memberlist's and Serf's MessagePack: what everyone reads.
    Hashicorp,
}

impl Dialect {
    /// The dialect in which to address a receiver; `None` is a stranger, whose versions are
    /// not known yet.
    pub fn for_receiver(versions: Option<&Versions>) -> Dialect {
        match versions {
            Some(versions) if versions.speaks_native() => Dialect::Native,
            _ => Dialect::Hashicorp,
        }
    }

    /// The dialect of a message, by its first byte.
    pub fn of(first: u8) -> Dialect {
        if first >= FIRST_NATIVE_TAG { Dialect::Native } else { Dialect::Hashicorp }
    }
}

/// Refuses bytes that are not in the dialect `only`, if there is one.
pub(super) fn check_dialect(bytes: &[u8], only: Option<Dialect>) -> Result<(), WireError> {
    match (bytes.first(), only) {
        (Some(&first), Some(only)) if Dialect::of(first) != only => Err(WireError::Dialect),
        _ => Ok(()),
    }
}
