//! Framing of streams: what is said over TCP, one frame a message. In the native dialect:
//!
//! ```text
//! tag   length of body, u32 little-endian   crc32(tag, body), little-endian   body
//! ```
//!
//! The tag is in the native range, so that a reader can distinguish a stream of HashiCorp's dialect by
//! its first byte; its framing is memberlist's. A frame is buffered as its bytes arrive, never ahead of them, and never
//! beyond [`MAX_FRAME`].

use super::dialect::{Dialect, check_dialect};
use super::difference::DifferenceMessage;
use super::error::WireError;
use super::{hashicorp, native};

pub use super::stream_message::{MAX_DIFFERENCE_FRAME, MAX_FRAME, MAX_SMALL_FRAME, StreamMessage};

const PUSH_PULL: u8 = 0xa0;
const PING: u8 = 0xa1;
const ACK: u8 = 0xa2;
const ERROR: u8 = 0xa3;
const USER: u8 = 0xa4;
const HELLO: u8 = 0xa5;
const COMPARE: u8 = 0xa6;
const IDS: u8 = 0xa7;
const ROWS: u8 = 0xa8;
const DONE: u8 = 0xa9;

const HEADER: usize = 9;

/// The most that is read of a frame that is encrypted: what it holds shows only once it is there.
pub const MAX_SEALED_FRAME: usize = HEADER + MAX_FRAME + super::seal::MAX_OVERHEAD;
/// Writes one frame.
pub fn encode(dialect: Dialect, message: &StreamMessage) -> Vec<u8> {
    let is_native = matches!(message, StreamMessage::Difference(_));
    match if is_native { Dialect::Native } else { dialect } {
        Dialect::Native => {
            let mut out = vec![0; HEADER];
            let tag = match message {
                StreamMessage::PushPull(m) => write(&mut out, PUSH_PULL, m),
                StreamMessage::Ping(m) => write(&mut out, PING, m),
                StreamMessage::Ack(m) => write(&mut out, ACK, m),
                StreamMessage::Error(m) => write(&mut out, ERROR, m),
                StreamMessage::User(m) => {
                    out.extend(native::encode(m));
                    USER
                }
                StreamMessage::Difference(m) => match m {
                    DifferenceMessage::Hello(m) => write(&mut out, HELLO, m),
                    DifferenceMessage::Compare(m) => write(&mut out, COMPARE, m),
                    DifferenceMessage::Ids(m) => write(&mut out, IDS, m),
                    DifferenceMessage::Rows(m) => write(&mut out, ROWS, m),
                    DifferenceMessage::Done => DONE,
                },
            };
            // A body is never near 4 GiB: tables are bounded.
            let len = (out.len() - HEADER) as u32;
            let crc = checksum(tag, &out[HEADER..]);
            out[0] = tag;
            out[1..5].copy_from_slice(&len.to_le_bytes());
            out[5..9].copy_from_slice(&crc.to_le_bytes());
            out
        }
        Dialect::Hashicorp => hashicorp::stream::encode(message),
    }
}

fn write<T: serde::Serialize>(out: &mut Vec<u8>, tag: u8, body: &T) -> u8 {
    native::write(out, body);
    tag
}

fn checksum(tag: u8, body: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&[tag]);
    hasher.update(body);
    hasher.finalize()
}

/// Finds the end of the message at the start of a buffer that grows, and reads it.
#[derive(Clone, Debug, Default)]
pub struct StreamReader {
    scan: hashicorp::stream::Scan,
    only: Option<Dialect>,
    seen: Option<Dialect>,
}

impl StreamReader {
    /// With `only`, nothing is read that is in another dialect.
    pub fn new(only: Option<Dialect>) -> Self {
        StreamReader { only, ..StreamReader::default() }
    }

    /// The dialect of what has been read, or refused.
    pub fn dialect(&self) -> Option<Dialect> {
        self.seen
    }

    /// How many bytes the message at the start of `buffer` has in all, once that is known. The
    /// buffer must be the one of the last call, with more bytes behind it.
    ///
    /// Fails as soon as it shows that the message cannot be accepted.
    pub fn frame_len(&mut self, buffer: &[u8]) -> Result<Option<usize>, WireError> {
        self.seen = buffer.first().map(|first| Dialect::of(*first));
        check_dialect(buffer, self.only)?;
        match self.seen {
            None => Ok(None),
            Some(Dialect::Native) => native_frame_len(buffer),
            Some(Dialect::Hashicorp) => self.scan.frame_len(buffer),
        }
    }

    /// Reads the message at the start of `buffer`; `None` while it is not complete. Bytes behind
    /// it are refused: a stream carries one message in each direction.
    pub fn read(&mut self, buffer: &[u8]) -> Result<Option<StreamMessage>, WireError> {
        let Some(len) = self.frame_len(buffer)? else { return Ok(None) };
        if buffer.len() < len {
            return Ok(None);
        }
        if buffer.len() > len {
            return Err(WireError::Truncated);
        }
        match self.seen {
            Some(Dialect::Hashicorp) => hashicorp::stream::decode(buffer).map(Some),
            _ => decode_native(buffer).map(Some),
        }
    }
}

/// Reads a message all of whose bytes may be there; see [`StreamReader::read`].
pub fn decode(buffer: &[u8]) -> Result<Option<StreamMessage>, WireError> {
    StreamReader::default().read(buffer)
}

fn native_frame_len(buffer: &[u8]) -> Result<Option<usize>, WireError> {
    let Some(&tag) = buffer.first() else { return Ok(None) };
    let limit = match tag {
        PUSH_PULL => MAX_FRAME,
        COMPARE | IDS | ROWS => MAX_DIFFERENCE_FRAME,
        PING | ACK | ERROR | USER | HELLO => MAX_SMALL_FRAME,
        DONE => 0,
        other => return Err(WireError::UnknownType(other)),
    };
    let Some(len) = buffer.get(1..5) else { return Ok(None) };
    let len = u32::from_le_bytes([len[0], len[1], len[2], len[3]]) as usize;
    if len > limit {
        return Err(WireError::TooLong { len, limit });
    }
    Ok(Some(HEADER + len))
}

fn decode_native(frame: &[u8]) -> Result<StreamMessage, WireError> {
    let (header, body) = frame.split_at_checked(HEADER).ok_or(WireError::Truncated)?;
    let (tag, crc) = (header[0], u32::from_le_bytes([header[5], header[6], header[7], header[8]]));
    if checksum(tag, body) != crc {
        return Err(WireError::Checksum);
    }
    Ok(match tag {
        PUSH_PULL => StreamMessage::PushPull(native::read("push/pull", body)?),
        PING => StreamMessage::Ping(native::read("ping", body)?),
        ACK => StreamMessage::Ack(native::read("ack", body)?),
        USER => StreamMessage::User(native::decode(body)?),
        HELLO => StreamMessage::Difference(DifferenceMessage::Hello(native::read("hello", body)?)),
        COMPARE => StreamMessage::Difference(DifferenceMessage::Compare(native::read("comparison", body)?)),
        IDS => StreamMessage::Difference(DifferenceMessage::Ids(native::read("ids", body)?)),
        ROWS => StreamMessage::Difference(DifferenceMessage::Rows(native::read("rows", body)?)),
        DONE => StreamMessage::Difference(DifferenceMessage::Done),
        _ => StreamMessage::Error(native::read("error", body)?),
    })
}

#[cfg(test)]
mod tests {
    use super::super::message::{Ack, PeerRow, PeerState, Ping, PushPull};
    use super::*;
    use crate::model::{Incarnation, LamportTime, NodeName, Versions};
    use proptest::prelude::*;

    fn push_pull(n: usize) -> StreamMessage {
        let row = |i| PeerRow {
            node: NodeName::new(format!("node-{i}")).unwrap(),
            addr: "10.1.2.3:7946".parse().unwrap(),
            meta: vec![255, 128],
            incarnation: Incarnation(7),
            state: PeerState::Suspect,
            leaving: false,
            status_ltime: LamportTime(99),
            versions: Versions::OURS,
        };
        StreamMessage::PushPull(PushPull {
            join: true,
            ltime: LamportTime(100),
            rows: (0..n).map(row).collect(),
            intents: vec![],
            serf: Default::default(),
            ..PushPull::default()
        })
    }

    fn samples() -> Vec<StreamMessage> {
        let source = super::super::message::Source {
            node: NodeName::new("a").unwrap(),
            addr: "[::1]:1".parse().unwrap(),
        };
        vec![
            push_pull(0),
            push_pull(40),
            StreamMessage::Ping(Ping { seq_no: 5, node: NodeName::new("b").unwrap(), source }),
            StreamMessage::Ack(Ack { seq_no: 5, digest: None, payload: vec![] }),
            StreamMessage::Error("no".into()),
        ]
    }

    #[test]
    fn decode_reverses_encode_at_every_cut() {
        for m in samples() {
            let frame = encode(Dialect::Native, &m);
            for cut in 0..frame.len() {
                assert_eq!(decode(&frame[..cut]), Ok(None));
            }
            assert_eq!(decode(&frame), Ok(Some(m)));
            let longer = [&frame[..], &[0]].concat();
            assert_eq!(decode(&longer), Err(WireError::Truncated));
        }
    }

    #[test]
    fn oversized_frames_are_refused_from_the_header() {
        let header = [PUSH_PULL, 1, 0, 0x80, 0];
        assert_eq!(decode(&header), Err(WireError::TooLong { len: MAX_FRAME + 1, limit: MAX_FRAME }));
        let header = [PING, 1, 0x10, 0, 0];
        assert!(matches!(decode(&header), Err(WireError::TooLong { len: 4097, .. })));
        assert_eq!(decode(&[0x70, 0, 0]), Err(WireError::UnknownType(0x70)));
    }

    proptest! {
        #[test]
        fn any_flipped_bit_is_noticed(at in any::<prop::sample::Index>(), bit in 0u8..8) {
            let mut frame = encode(Dialect::Native, &push_pull(3));
            let i = at.index(frame.len());
            frame[i] ^= 1 << bit;
            // A length that grew waits for more; everything else is an error.
            prop_assert!(!matches!(decode(&frame), Ok(Some(_))));
        }

        #[test]
        fn arbitrary_bytes_never_panic(tag in 0xa0u8..0xa5, b in proptest::collection::vec(any::<u8>(), 0..300)) {
            let mut buffer = vec![tag];
            buffer.extend(b);
            let _ = decode(&buffer);
            // And with a header that fits, so that the body is reached.
            if buffer.len() >= HEADER {
                let len = (buffer.len() - HEADER) as u32;
                let crc = checksum(tag, &buffer[HEADER..]);
                buffer[1..5].copy_from_slice(&len.to_le_bytes());
                buffer[5..9].copy_from_slice(&crc.to_le_bytes());
                let _ = decode(&buffer);
            }
        }
    }
}
