//! Bytes on their way to one client.

use super::record::{ResponseHeader, encode_into};

/// Memory that an empty buffer may keep, in bytes.
const KEPT_CAPACITY: usize = 16 * 1024;

/// A queue of bytes: replies and records go in whole, the socket takes what it can.
#[derive(Debug, Default)]
pub(super) struct Output {
    bytes: Vec<u8>,
    /// Bytes at the front that were taken.
    taken: usize,
}

impl Output {
    /// What the socket has not taken yet.
    pub(super) fn pending(&self) -> &[u8] {
        self.bytes.get(self.taken..).unwrap_or_default()
    }

    /// The socket took `count` bytes.
    pub(super) fn take(&mut self, count: usize) {
        self.taken = self.taken.saturating_add(count).min(self.bytes.len());
        if self.taken == self.bytes.len() {
            self.taken = 0;
            self.bytes.clear();
            self.bytes.shrink_to(KEPT_CAPACITY);
        } else if self.taken > self.bytes.len() / 2 {
            // Each byte moves at most once for every byte taken.
            self.bytes.drain(..self.taken);
            self.taken = 0;
        }
    }

    /// Appends a header and, if there is one, a body that is encoded already.
    pub(super) fn push(&mut self, seq: u64, error: &str, body: Option<&[u8]>) {
        encode_into(&mut self.bytes, &ResponseHeader { error: error.to_string(), seq });
        self.bytes.extend_from_slice(body.unwrap_or_default());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_leave_in_order_however_many_are_taken() {
        for step in 1..40 {
            let mut output = Output::default();
            let mut all = Vec::new();
            let mut seen = Vec::new();
            for seq in 0..20 {
                output.push(seq, "", Some(b"\x81\xa1k\xa1v"));
                encode_into(&mut all, &ResponseHeader { error: String::new(), seq });
                all.extend_from_slice(b"\x81\xa1k\xa1v");
                let n = step.min(output.pending().len());
                seen.extend_from_slice(&output.pending()[..n]);
                output.take(n);
            }
            seen.extend_from_slice(output.pending());
            output.take(usize::MAX);
            assert!(output.pending().is_empty());
            assert_eq!(seen, all);
        }
    }
}
