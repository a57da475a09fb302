//! What a script has written: the last of it, and how much it was. Pure.

/// How much of a script's output is kept, in bytes (Serf's `maxBufSize`): the last of it, as a
/// failing script says why at its end.
pub(crate) const MAX_OUTPUT: usize = 8 * 1024;

/// The end of a stream of bytes.
#[derive(Debug, Default)]
pub(crate) struct Tail {
    /// Holds at most twice [`MAX_OUTPUT`], so that old bytes are moved out in large steps.
    bytes: Vec<u8>,
    total: u64,
}

impl Tail {
    /// Takes more of the stream.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.total += bytes.len() as u64;
        let last = bytes.get(bytes.len().saturating_sub(MAX_OUTPUT)..).unwrap_or_default();
        if self.bytes.len() + last.len() > 2 * MAX_OUTPUT {
            let surplus = (self.bytes.len() + last.len()).saturating_sub(MAX_OUTPUT).min(self.bytes.len());
            self.bytes.drain(..surplus);
        }
        self.bytes.extend_from_slice(last);
    }

    /// The last [`MAX_OUTPUT`] bytes.
    pub(crate) fn bytes(&self) -> &[u8] {
        self.bytes.get(self.bytes.len().saturating_sub(MAX_OUTPUT)..).unwrap_or_default()
    }

    /// How long the stream has been so far, in bytes.
    pub(crate) fn total(&self) -> u64 {
        self.total
    }

    /// Whether something is missing from [`Tail::bytes`].
    pub(crate) fn truncated(&self) -> bool {
        self.total > MAX_OUTPUT as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_last_is_kept() {
        let mut tail = Tail::default();
        assert_eq!((tail.bytes(), tail.total(), tail.truncated()), (&b""[..], 0, false));
        tail.push(&[1; MAX_OUTPUT]);
        assert!(!tail.truncated());
        tail.push(&[2]);
        assert!(tail.truncated());
        assert_eq!(tail.total(), MAX_OUTPUT as u64 + 1);
        assert_eq!(tail.bytes().len(), MAX_OUTPUT);
        assert_eq!(tail.bytes()[MAX_OUTPUT - 2..], [1, 2]);
    }

    proptest! {
        #[test]
        fn however_it_comes(chunks in proptest::collection::vec(0usize..3 * MAX_OUTPUT, 0..12)) {
            let (mut tail, mut all) = (Tail::default(), Vec::new());
            for (i, len) in chunks.into_iter().enumerate() {
                let chunk: Vec<u8> = (0..len).map(|n| (n * 31 + i) as u8).collect();
                tail.push(&chunk);
                all.extend_from_slice(&chunk);
                prop_assert!(tail.bytes.len() <= 2 * MAX_OUTPUT);
            }
            prop_assert_eq!(tail.bytes(), &all[all.len().saturating_sub(MAX_OUTPUT)..]);
            prop_assert_eq!(tail.total(), all.len() as u64);
        }
    }
}
