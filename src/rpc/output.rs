//! Bytes on their way to one client.

use super::codec::encode_into;
use super::member_list::MemberList;
use super::record::ResponseHeader;
use std::collections::VecDeque;

/// How many bytes of a list are encoded ahead of the client.
const PIECE: usize = 64 * 1024;
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
    /// A list that is being written, and what is to follow it.
    list: Option<(MemberList, Behind)>,
}

/// What waits for a list to be written.
#[derive(Debug, Default)]
struct Behind {
    bytes: Vec<u8>,
    /// Where records end in it.
    records: Vec<usize>,
}

impl Output {
    /// What the socket has not taken yet.
    pub(super) fn pending(&self) -> &[u8] {
        self.bytes.get(self.taken..).unwrap_or_default()
    }

    /// Bytes that are held for the client.
    pub(super) fn backlog(&self) -> usize {
        self.pending().len() + self.list.as_ref().map_or(0, |(_, behind)| behind.bytes.len())
    }

    /// How much memory these take.
    pub(super) fn held(&self) -> usize {
        self.bytes.capacity() + self.list.as_ref().map_or(0, |(_, behind)| behind.bytes.capacity())
    }

    /// Whether a list is being written.
    pub(super) fn is_listing(&self) -> bool {
        self.list.is_some()
    }

    /// The socket took `count` bytes.
    pub(super) fn take(&mut self, count: usize) {
        self.drop_taken(count);
        self.refill();
    }

    /// Encodes more of a list, if the client has read enough of it.
    fn refill(&mut self) {
        let Some((list, _)) = &mut self.list else { return };
        if self.bytes.len() - self.taken >= PIECE / 2 {
            return;
        }
        if list.write(&mut self.bytes, self.taken + PIECE) {
            return;
        }
        let Some((_, behind)) = self.list.take() else { return };
        let start = self.gone + self.pending().len() as u64;
        self.records.extend(behind.records.into_iter().map(|end| start + end as u64));
        self.bytes.extend(behind.bytes);
    }

    fn drop_taken(&mut self, count: usize) {
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
        let bytes = self.list.as_mut().map_or(&mut self.bytes, |(_, behind)| &mut behind.bytes);
        encode_into(bytes, &ResponseHeader { error: error.to_string(), seq });
        bytes.extend_from_slice(body.unwrap_or_default());
    }

    /// Appends a header and a list, which is encoded as the client reads. One at a time.
    pub(super) fn push_list(&mut self, seq: u64, list: MemberList) {
        self.push(seq, "", None);
        self.list = Some((list, Behind::default()));
        self.refill();
    }

    /// Appends a streamed record, which is counted until its last byte was taken.
    pub(super) fn push_record(&mut self, seq: u64, body: &[u8]) {
        self.push(seq, "", Some(body));
        match &mut self.list {
            Some((_, behind)) => behind.records.push(behind.bytes.len()),
            None => self.records.push_back(self.gone + self.pending().len() as u64),
        }
    }

    /// Records that were not taken whole.
    pub(super) fn records(&self) -> usize {
        self.records.len() + self.list.as_ref().map_or(0, |(_, behind)| behind.records.len())
    }

    /// Forgets everything that was not taken.
    pub(super) fn clear(&mut self) {
        *self = Output::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rpc::member_list::ListBudget;
    use crate::rpc::member_list::tests::members;

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
    fn a_list_is_encoded_as_it_is_read_and_what_follows_it_waits() {
        let list = || MemberList::new(members(20_000), &ListBudget::default()).unwrap();
        let mut whole = Vec::new();
        assert!(!list().write(&mut whole, usize::MAX));
        for step in [1_000, 50_000, usize::MAX] {
            let mut output = Output::default();
            output.push(1, "", None);
            output.push_list(2, list());
            output.push_record(3, b"\xa1x");
            output.push(4, "", None);
            assert!(output.is_listing());
            let mut read = Vec::new();
            while !output.pending().is_empty() {
                assert!(output.backlog() < PIECE + 1_000, "{}", output.backlog());
                assert_eq!(output.records(), usize::from(output.is_listing() || read.len() < whole.len()));
                let count = step.min(output.pending().len());
                read.extend_from_slice(&output.pending()[..count]);
                output.take(count);
            }
            assert!(!output.is_listing() && output.records() == 0);
            assert!(read.windows(whole.len()).any(|part| part == whole), "the list is in one piece");
            assert!(read.ends_with(b"\xa5Error\xa0\xa3Seq\x04"), "{:x?}", &read[read.len() - 20..]);
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
