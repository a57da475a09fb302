//! Bytes that are received until their message is complete, and given back to the system as soon as they are dropped.
//!
//! A large piece of the heap that is freed stays with the process: glibc takes it for a sign that such pieces are usual,
//! and from then on keeps twice as much in each thread's part of the heap. So what is large is mapped, not allocated.

use memmap2::MmapMut;
use std::io;

/// Up to here it is allocated.
const SMALL: usize = 64 * 1024;

/// A buffer that grows.
#[derive(Debug)]
pub(super) enum Buffer {
    /// Short messages, which are most.
    Allocated(Vec<u8>),
    /// The bytes, and how many there are.
    Mapped(MmapMut, usize),
}

impl Default for Buffer {
    fn default() -> Buffer {
        Buffer::Allocated(Vec::new())
    }
}

impl Buffer {
    /// How many bytes there are.
    pub(super) fn len(&self) -> usize {
        match self {
            Buffer::Allocated(bytes) => bytes.len(),
            Buffer::Mapped(_, len) => *len,
        }
    }

    /// How much memory they take. What is mapped takes none before it is written.
    pub(super) fn held(&self) -> usize {
        match self {
            Buffer::Allocated(bytes) => bytes.capacity(),
            Buffer::Mapped(_, len) => *len,
        }
    }

    /// All that was added.
    pub(super) fn bytes(&mut self) -> &mut [u8] {
        match self {
            Buffer::Allocated(bytes) => bytes,
            Buffer::Mapped(map, len) => map.get_mut(..*len).unwrap_or_default(),
        }
    }

    /// Adds bytes. Fails if the system has no memory for them.
    pub(super) fn extend(&mut self, more: &[u8]) -> io::Result<()> {
        let needed = self.len() + more.len();
        match self {
            Buffer::Allocated(bytes) if needed <= SMALL => bytes.extend_from_slice(more),
            Buffer::Mapped(map, len) if needed <= map.len() => {
                map.get_mut(*len..needed).unwrap_or_default().copy_from_slice(more);
                *len = needed;
            }
            Buffer::Allocated(_) | Buffer::Mapped(..) => {
                let mut map = MmapMut::map_anon(2 * needed)?;
                let (before, rest) = map.split_at_mut(self.len());
                before.copy_from_slice(self.bytes());
                rest.get_mut(..more.len()).unwrap_or_default().copy_from_slice(more);
                *self = Buffer::Mapped(map, needed);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_added_is_there_however_much_it_is() {
        for step in [1_000, 16 * 1024, 100_000, 1_000_000] {
            let (mut buffer, mut all) = (Buffer::default(), Vec::new());
            while all.len() < 2_000_000 {
                let more: Vec<u8> = (0..step).map(|i| ((all.len() + i) % 251) as u8).collect();
                buffer.extend(&more).unwrap();
                all.extend(more);
                assert_eq!(buffer.len(), all.len());
            }
            assert!(buffer.bytes() == &all[..], "in steps of {step}");
            assert!(matches!(buffer, Buffer::Mapped(..)) && buffer.held() == all.len());
        }
        let mut small = Buffer::default();
        small.extend(&[7; SMALL]).unwrap();
        assert!(matches!(small, Buffer::Allocated(_)) && small.held() >= SMALL);
    }
}
