//! Streams in HashiCorp's dialect. Their messages announce no length, so that a reader has to find
//! the end by reading; [`Scan`] does that as the bytes arrive, each of them once.

use super::memberlist::{ACK, PING, read_ack, read_ping, write_ack, write_ping};
use super::parts::malformed;
use super::push_pull::{self, Header, PUSH_PULL};
use super::serf::{self, USER};
use crate::wire::compression::{self, COMPRESSED};
use crate::wire::error::WireError;
use crate::wire::msgpack::{Fault, Reader, Writer};
use crate::wire::stream_message::{MAX_FRAME, MAX_INFLATED, MAX_SMALL_FRAME, StreamMessage};

/// memberlist's `errMsg`.
const ERROR: u8 = 13;

/// The largest compressed message, in bytes; states become a third.
const MAX_COMPRESSED: usize = MAX_FRAME / 2;
/// The largest record of one member in a push/pull: a name, tags, an address.
const MAX_ROW: usize = 4096;
/// The largest of Serf's messages in a stream: a user event at its hard limit, and more.
const MAX_USER_FRAME: usize = 16 * 1024;

/// How far a message has been looked through for its end.
#[derive(Clone, Debug, Default)]
pub(crate) struct Scan {
    /// All before this position has been seen.
    at: usize,
    /// What a push/pull has announced and is still to come.
    header: Option<Header>,
}

impl Scan {
    /// How many bytes the message at the start of `buffer` has, once that is known. Fails as soon
    /// as it cannot be accepted.
    pub(crate) fn frame_len(&mut self, buffer: &[u8]) -> Result<Option<usize>, WireError> {
        let Some(&tag) = buffer.first() else { return Ok(None) };
        let found = match tag {
            PUSH_PULL => self.push_pull(buffer),
            COMPRESSED => compression::frame_len(buffer, MAX_COMPRESSED),
            PING | ACK | ERROR => whole(buffer, MAX_SMALL_FRAME, |r| r.skip()),
            USER => whole(buffer, MAX_USER_FRAME, |r| {
                let len = read_user_header(r)?;
                r.take(len).map(drop)
            }),
            other => Err(WireError::UnknownType(other)),
        }?;
        match found {
            Some(len) if len > MAX_FRAME => Err(WireError::TooLong { len, limit: MAX_FRAME }),
            None if buffer.len() > MAX_FRAME => {
                Err(WireError::TooLong { len: buffer.len(), limit: MAX_FRAME })
            }
            other => Ok(other),
        }
    }

    fn push_pull(&mut self, buffer: &[u8]) -> Result<Option<usize>, WireError> {
        if self.header.is_none() {
            let mut r = Reader::new(buffer.get(1..).unwrap_or_default());
            match Header::read(&mut r) {
                Ok(header) => {
                    let len = usize::try_from(header.serf_len).unwrap_or(usize::MAX);
                    // A row has some bytes, at the very least one.
                    let least = usize::try_from(header.rows).unwrap_or(usize::MAX).saturating_add(len);
                    if least > MAX_FRAME {
                        return Err(WireError::TooLong { len: least, limit: MAX_FRAME });
                    }
                    self.at = buffer.len() - r.rest().len();
                    self.header = Some(header);
                }
                Err(Fault::Short) if buffer.len() <= MAX_ROW => return Ok(None),
                Err(fault) => return Err(malformed("push/pull")(fault)),
            }
        }
        let Some(header) = &mut self.header else { return Ok(None) };
        while header.rows > 0 {
            let rest = buffer.get(self.at..).unwrap_or_default();
            let mut r = Reader::new(rest);
            match r.skip() {
                Ok(()) => {
                    self.at = buffer.len() - r.rest().len();
                    header.rows -= 1;
                }
                Err(Fault::Short) if rest.len() <= MAX_ROW => return Ok(None),
                Err(fault) => return Err(malformed("push/pull")(fault)),
            }
        }
        // Checked against the limit when the header was read.
        let end = self.at.saturating_add(header.serf_len as usize);
        Ok((buffer.len() >= end).then_some(end))
    }
}

/// The length of a message that is small enough to be looked through again and again.
fn whole(
    buffer: &[u8],
    limit: usize,
    read: impl FnOnce(&mut Reader) -> Result<(), Fault>,
) -> Result<Option<usize>, WireError> {
    let mut r = Reader::new(buffer.get(1..).unwrap_or_default());
    match read(&mut r) {
        Ok(()) => Ok(Some(buffer.len() - r.rest().len())),
        Err(Fault::Short) if buffer.len() <= limit => Ok(None),
        Err(Fault::Short) => Err(WireError::TooLong { len: buffer.len(), limit }),
        Err(fault) => Err(malformed("stream")(fault)),
    }
}

fn read_user_header(r: &mut Reader) -> Result<usize, Fault> {
    let mut len = 0;
    r.record(|r, field| {
        if field == b"UserMsgLen" {
            len = r.number_in()?;
        }
        Ok(field == b"UserMsgLen")
    })?;
    if len > MAX_USER_FRAME { Err(Fault::Beyond("the length of a user message")) } else { Ok(len) }
}

/// Writes one message.
pub(crate) fn encode(message: &StreamMessage) -> Vec<u8> {
    match message {
        StreamMessage::PushPull(m) => push_pull::write(m),
        StreamMessage::Ping(m) => write_ping(m),
        StreamMessage::Ack(m) => write_ack(m),
        StreamMessage::Error(why) => {
            let mut w = Writer::of_type(ERROR);
            w.map(1);
            w.field("Error").raw(why.as_bytes());
            w.out
        }
        // It has no form in this dialect: it is never written in it, see `stream::encode`.
        StreamMessage::Difference(_) => Vec::new(),
        StreamMessage::User(m) => {
            let inner = super::encode(m);
            let mut w = Writer::of_type(USER);
            w.map(1);
            // The type byte for memberlist is the stream's own.
            let inner = inner.get(1..).unwrap_or_default();
            w.field("UserMsgLen").unsigned(inner.len() as u64);
            w.out.extend_from_slice(inner);
            w.out
        }
    }
}

/// Reads one message, all of whose bytes are there.
pub(crate) fn decode(frame: &[u8]) -> Result<StreamMessage, WireError> {
    if frame.first() == Some(&COMPRESSED) {
        let plain = compression::unpack(frame, MAX_INFLATED)?;
        return match plain.first() {
            Some(&COMPRESSED) => Err(WireError::Nested),
            _ => decode_plain(&plain),
        };
    }
    decode_plain(frame)
}

fn decode_plain(frame: &[u8]) -> Result<StreamMessage, WireError> {
    let (&tag, body) = frame.split_first().ok_or(WireError::Empty)?;
    let mut r = Reader::new(body);
    let message = match tag {
        PUSH_PULL => push_pull::read(&mut r).map(StreamMessage::PushPull).map_err(malformed("push/pull")),
        PING => read_ping(&mut r).map(StreamMessage::Ping).map_err(malformed("ping")),
        ACK => read_ack(&mut r).map(StreamMessage::Ack).map_err(malformed("ack")),
        ERROR => read_error(&mut r).map(StreamMessage::Error).map_err(malformed("error")),
        USER => {
            let len = read_user_header(&mut r).map_err(malformed("user message"))?;
            let inner = r.take(len).map_err(malformed("user message"))?;
            serf::decode(inner).map(StreamMessage::User)
        }
        other => Err(WireError::UnknownType(other)),
    }?;
    if r.rest().is_empty() { Ok(message) } else { Err(WireError::Truncated) }
}

fn read_error(r: &mut Reader) -> Result<String, Fault> {
    let mut why = String::new();
    r.record(|r, field| {
        if field == b"Error" {
            why = String::from_utf8_lossy(r.bytes()?).into_owned();
        }
        Ok(field == b"Error")
    })?;
    Ok(why)
}
