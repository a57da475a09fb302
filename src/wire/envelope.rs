//! What goes around every datagram and stream: the cluster's label, and encryption. The layout is
//! memberlist's:
//!
//! ```text
//! datagram   [244  length  label]  sealed(content)
//! stream     [244  length  label]  10  length, u32 big-endian  sealed(content)
//! ```
//!
//! The label comes first and can be read by all; it keeps clusters apart that should never have
//! met, and is no secret. Only the side that opens a stream sends it. What is sealed together with the
//! content is the label, and on a stream the type and length in front of it as well: a packet cannot be
//! moved to another cluster with the same keys. Each layer comes once; one inside another is
//! refused.
//!
//! Encryption is turned on in a running cluster by three restarts of each member: first it opens
//! what is sealed and seals nothing (`incoming` and `outgoing` not required), then it seals
//! (`outgoing`), then it takes nothing else (`incoming`).

use super::dialect::FIRST_NATIVE_TAG;
use super::error::WireError;
use super::keyring::SharedKeyring;
use super::label::Label;
use super::seal;
use super::stream::{self, MAX_SEALED_FRAME, StreamMessage};
use std::borrow::Cow;

/// memberlist's `hasLabelMsg`.
const LABEL: u8 = 244;
/// memberlist's `encryptMsg`: a stream that is sealed.
const SEALED: u8 = 10;
/// Type and length in front of a label.
const LABEL_HEADER: usize = 2;
/// Type and length in front of what is sealed on a stream.
const SEALED_HEADER: usize = 5;
/// Plain messages of memberlist start with numbers up to this one (`errMsg`).
const LAST_TYPE: u8 = 13;

/// How many bytes the header of a label has.
fn header_len(label: &Label) -> usize {
    if label.is_empty() { 0 } else { LABEL_HEADER + label.as_bytes().len() }
}

fn write_header(label: &Label, out: &mut Vec<u8>) {
    if !label.is_empty() {
        // Labels are no longer than a byte can say, see [`Label::MAX_LEN`].
        out.extend_from_slice(&[LABEL, label.as_bytes().len() as u8]);
        out.extend_from_slice(label.as_bytes());
    }
}

/// The label in front of `bytes`, and how many bytes it takes there; `None` while it is not
/// complete.
fn read_header(bytes: &[u8]) -> Result<Option<(Label, usize)>, WireError> {
    match *bytes {
        [] | [LABEL] => Ok(None),
        [LABEL, 0, ..] => Err(WireError::Header("a label header without a label")),
        [LABEL, len, ref rest @ ..] => {
            let len = usize::from(len);
            Ok(rest.get(..len).map(|label| (Label::from_bytes(label), LABEL_HEADER + len)))
        }
        _ => Ok(Some((Label::default(), 0))),
    }
}

/// How a process wraps what it sends, and what it asks of what it receives.
#[derive(Clone, Debug)]
pub struct Envelope {
    /// The cluster it belongs to.
    pub label: Label,
    /// Its keys; none without encryption.
    pub keyring: Option<SharedKeyring>,
    /// With keys: whether what is not encrypted is refused. Otherwise both are taken.
    pub verify_incoming: bool,
    /// With keys: whether what is sent is encrypted.
    pub verify_outgoing: bool,
}

impl Default for Envelope {
    /// No label, no encryption.
    fn default() -> Envelope {
        Envelope { label: Label::default(), keyring: None, verify_incoming: true, verify_outgoing: true }
    }
}

/// The kernel has no random bytes, without which nothing can be sealed.
pub type NoEntropy = getrandom::Error;

/// The side that wrote what is read from a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The one that opened it.
    Opener,
    /// The one that answers.
    Answerer,
}

impl Envelope {
    /// How many bytes it adds to each datagram.
    pub fn datagram_overhead(&self) -> usize {
        header_len(&self.label) + if self.seals().is_some() { seal::OVERHEAD } else { 0 }
    }

    /// The keys, if what is sent is to be sealed.
    fn seals(&self) -> Option<&SharedKeyring> {
        self.keyring.as_ref().filter(|_| self.verify_outgoing)
    }

    /// Wraps a datagram: [`Envelope::datagram_overhead`] bytes more than its content.
    pub fn wrap_datagram<'a>(&self, content: &'a [u8]) -> Result<Cow<'a, [u8]>, NoEntropy> {
        if self.datagram_overhead() == 0 {
            return Ok(Cow::Borrowed(content));
        }
        let mut out = Vec::with_capacity(content.len() + self.datagram_overhead());
        write_header(&self.label, &mut out);
        match self.seals() {
            Some(keyring) => keyring.now().primary().seal(self.label.as_bytes(), content, &mut out)?,
            None => out.extend_from_slice(content),
        }
        Ok(Cow::Owned(out))
    }

    /// Checks a datagram and takes its content out, decrypting it in place.
    ///
    /// One of another cluster costs at most one attempt for each key that is installed.
    pub fn unwrap_datagram<'a>(&self, datagram: &'a mut [u8]) -> Result<&'a [u8], WireError> {
        let (label, len) = match read_header(datagram)? {
            Some(found) => found,
            None if datagram.is_empty() => return Err(WireError::Empty),
            None => return Err(WireError::Header("a label that is cut short")),
        };
        let content = datagram.get_mut(len..).unwrap_or_default();
        self.check_label(label, content)?;
        let Some(keyring) = &self.keyring else {
            let sealed = seal::is_sealed(content) && !is_plain_ping(content);
            return if sealed { Err(WireError::NoKey) } else { Ok(content) };
        };
        if !seal::is_sealed(content) {
            return match content.first() {
                Some(&first) if first > LAST_TYPE && first < FIRST_NATIVE_TAG && self.verify_incoming => {
                    Err(WireError::Header("an encryption version that is unknown"))
                }
                Some(_) if self.verify_incoming => Err(WireError::NotEncrypted),
                Some(_) => Ok(content),
                None => Err(WireError::Empty),
            };
        }
        match seal::open(keyring.now().keys(), self.label.as_bytes(), content) {
            Ok(range) => single_layer(content.get(range).unwrap_or_default()),
            // The numbers of the versions are also those of memberlist's plain pings.
            Err(WireError::Undecryptable | WireError::Truncated) if !self.verify_incoming => Ok(content),
            Err(why) => Err(why),
        }
    }

    fn check_label(&self, label: Label, content: &[u8]) -> Result<(), WireError> {
        if content.first() == Some(&LABEL) {
            return Err(WireError::Header("a label inside a label"));
        }
        if label == self.label { Ok(()) } else { Err(WireError::Label(label)) }
    }

    /// Wraps the first message on a stream that this process opened.
    pub fn wrap_request(&self, frame: Vec<u8>) -> Result<Vec<u8>, NoEntropy> {
        let mut out = Vec::new();
        write_header(&self.label, &mut out);
        self.seal_frame(&self.label, frame, out)
    }

    /// Wraps an answer on a stream that another process opened.
    pub fn wrap_answer(&self, frame: Vec<u8>) -> Result<Vec<u8>, NoEntropy> {
        self.seal_frame(&self.label, frame, Vec::new())
    }

    /// Wraps the reason why a stream is refused. A member that has the key can read it even if the
    /// label is another one.
    pub fn wrap_refusal(&self, frame: Vec<u8>, why: &WireError) -> Result<Vec<u8>, NoEntropy> {
        match why {
            WireError::Label(theirs) => self.seal_frame(theirs, frame, Vec::new()),
            _ => self.wrap_answer(frame),
        }
    }

    fn seal_frame(&self, label: &Label, frame: Vec<u8>, mut out: Vec<u8>) -> Result<Vec<u8>, NoEntropy> {
        let Some(keyring) = self.seals() else {
            if out.is_empty() {
                // It may be large.
                return Ok(frame);
            }
            out.extend(frame);
            return Ok(out);
        };
        let start = out.len();
        // A frame is never near 4 GiB: tables are bounded.
        let len = (frame.len() + seal::OVERHEAD) as u32;
        out.push(SEALED);
        out.extend_from_slice(&len.to_be_bytes());
        let data = [&out[start..], label.as_bytes()].concat();
        keyring.now().primary().seal(&data, &frame, &mut out)?;
        Ok(out)
    }

    /// Reads what `from` has sent on a stream so far; `None` while it is not complete. Nothing is
    /// decrypted before all of it is there. Fails as soon as it cannot be accepted any more. The
    /// `reader` is the same in every call for a stream.
    pub fn read_stream(
        &self,
        from: Side,
        reader: &mut stream::StreamReader,
        buffer: &mut [u8],
    ) -> Result<Option<StreamMessage>, WireError> {
        let content = match from {
            Side::Answerer => buffer,
            Side::Opener => {
                let Some((label, len)) = read_header(buffer)? else { return Ok(None) };
                let content = buffer.get_mut(len..).unwrap_or_default();
                self.check_label(label, content)?;
                content
            }
        };
        match (content.first(), &self.keyring) {
            (None, _) => Ok(None),
            (Some(&SEALED), None) => Err(WireError::NoKey),
            (Some(&SEALED), Some(keyring)) => self.read_sealed(content, reader, keyring),
            (Some(_), Some(_)) if self.verify_incoming => Err(WireError::NotEncrypted),
            (Some(_), _) => reader.read(content),
        }
    }

    fn read_sealed(
        &self,
        content: &mut [u8],
        reader: &mut stream::StreamReader,
        keyring: &SharedKeyring,
    ) -> Result<Option<StreamMessage>, WireError> {
        let Some((header, sealed)) = content.split_first_chunk_mut::<SEALED_HEADER>() else {
            return Ok(None);
        };
        let len = u32::from_be_bytes([header[1], header[2], header[3], header[4]]) as usize;
        if len > MAX_SEALED_FRAME {
            return Err(WireError::TooLong { len, limit: MAX_SEALED_FRAME });
        }
        match sealed.len() {
            have if have < len => return Ok(None),
            have if have > len => return Err(WireError::Truncated),
            _ => {}
        }
        let data = [&header[..], self.label.as_bytes()].concat();
        let range = seal::open(keyring.now().keys(), &data, sealed)?;
        let frame = single_layer(sealed.get(range).unwrap_or_default())?;
        reader.read(frame)?.map(Some).ok_or(WireError::Truncated)
    }
}

/// Whether something that starts like encryption may be a plain ping of memberlist's: these have
/// the numbers of the versions, and go on with a map in MessagePack, as does one nonce in sixteen.
fn is_plain_ping(content: &[u8]) -> bool {
    matches!(content.get(1), Some(0x80..=0x8f))
}

/// What was sealed is a message, and not something in another envelope.
fn single_layer(content: &[u8]) -> Result<&[u8], WireError> {
    match content.first() {
        None => Err(WireError::Empty),
        Some(&LABEL) => Err(WireError::Header("a label inside what is encrypted")),
        Some(&SEALED) => Err(WireError::Header("encryption inside encryption")),
        Some(_) => Ok(content),
    }
}

#[cfg(test)]
mod tests;
