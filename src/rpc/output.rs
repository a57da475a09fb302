//! Bytes on their way to one client.

use super::codec::encode_into;
use super::record::ResponseHeader;
use std::collections::VecDeque;

/// Memory that an empty buffer may keep, in bytes.
const KEPT_CAPACITY: usize = 16 * 1024;

/// A queue of bytes: replies and records go in whole, the socket takes what it can.
#[derive(Debug, Default)]
pub(super) struct Output {
    bytes: Vec<u8>,
    /// Bytes at the front that were taken.
    taken: usize,
    /// Bytes that were taken since the beginning.
    gone: u64,
    /// Where the records end that were not taken whole, in bytes since the beginning.
    records: VecDeque<u64>,
}

impl Output {
    /// What the socket has not taken yet.
    pub(super) fn pending(&self) -> &[u8] {
        self.bytes.get(self.taken..).unwrap_or_default()
    }

    /// The socket took `count` bytes.
    pub(super) fn take(&mut self, count: usize) {
        let count = count.min(self.bytes.len() - self.taken);
        self.taken += count;
        self.gone += count as u64;
        while self.records.front().is_some_and(|end| *end <= self.gone) {
            self.records.pop_front();
        }
        if self.taken == self.bytes.len() {
            self.taken = 0;
            self.bytes.clear();
            self.bytes.shrink_to(KEPT_CAPACITY);
            self.records.shrink_to(KEPT_CAPACITY / size_of::<u64>());
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

    /// Appends a streamed record, which is counted until its last byte was taken.
    pub(super) fn push_record(&mut self, seq: u64, body: &[u8]) {
        self.push(seq, "", Some(body));
        self.records.push_back(self.gone + self.pending().len() as u64);
    }

    /// Records that were not taken whole.
    pub(super) fn records(&self) -> usize {
        self.records.len()
    }

    /// Forgets everything that was not taken.
    pub(super) fn clear(&mut self) {
        *self = Output::default();
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

    #[test]
    fn a_record_counts_until_its_last_byte_was_taken() {
        let mut output = Output::default();
        output.push(1, "", None);
        let reply = output.pending().len();
        output.push_record(1, b"\xa1x");
        let one = output.pending().len() - reply;
        output.push(2, "", None);
        output.push_record(1, b"\xa1y");
        assert_eq!(output.records(), 2);
        output.take(reply + one - 1);
        assert_eq!(output.records(), 2);
        output.take(1);
        assert_eq!(output.records(), 1);
        output.take(reply);
        assert_eq!(output.records(), 1);
        output.take(usize::MAX);
        assert_eq!(output.records(), 0);
        output.push_record(1, b"\xa1z");
        output.clear();
        assert!(output.records() == 0 && output.pending().is_empty());
    }
}
