//! One function for each decoder: bytes go in, and nothing may panic. Where a decoder has an
//! encoder, what was accepted must survive being written and read again.
//!
//! The fuzz targets and the replay of the corpus (`tests/corpus.rs`) share this file.

use serf::config::raw::RawConfig;
use serf::model::{Moment, Tags};
use serf::node::snapshot::Reading;
use serf::rpc::Connection;
use serf::rpc::frame::FrameScanner;
use serf::wire::envelope::{Envelope, Side};
use serf::wire::keyring::{Keyring, SharedKeyring};
use serf::wire::label::Label;
use serf::wire::seal::{self, Key};
use serf::wire::stream::{self, StreamMessage};
use serf::wire::{
    Dialect, WireError, compression, coordinate, datagram, decode, encode, payload, read_datagram,
};
use std::path::Path;

/// A decoder under test.
pub(crate) type Decoder = fn(&[u8]);

/// Every decoder by its name, which is also that of its folder in the corpus.
pub(crate) const DECODERS: &[(&str, Decoder)] = &[
    ("datagram", datagram),
    ("message", message),
    ("stream", stream),
    ("tags", tags),
    ("rpc_request", rpc_request),
    ("rpc_frame", rpc_frame),
    ("event_filter", event_filter),
    ("snapshot", snapshot),
    ("config", config),
    ("coordinate", coordinate),
    ("conflict_response", conflict_response),
    ("hashicorp_message", hashicorp_message),
    ("hashicorp_stream", hashicorp_stream),
    ("sealed", sealed),
    ("keyring", keyring),
    ("key_payloads", key_payloads),
];

/// A packet as it comes from the gossip socket, compressed or not, and the messages in it.
pub(crate) fn datagram(bytes: &[u8]) {
    if let Ok(parts) = datagram::open(bytes) {
        assert!(parts.iter().map(|part| part.len()).sum::<usize>() <= bytes.len());
    }
    let mut total = 0;
    let _ = read_datagram(bytes, None, |_, part| total += part.len());
    assert!(total <= bytes.len().max(compression::MAX_INFLATED_DATAGRAM));
}

/// One gossip message of our own dialect.
pub(crate) fn message(bytes: &[u8]) {
    if bytes.first().map(|b| Dialect::of(*b)) != Some(Dialect::Native) {
        return;
    }
    if let Ok(message) = decode(bytes) {
        assert_eq!(decode(&encode(Dialect::Native, &message)).as_ref(), Ok(&message));
    }
}

/// One gossip message of HashiCorp's dialect: what is understood is understood again when it is
/// written anew.
pub(crate) fn hashicorp_message(bytes: &[u8]) {
    if let Some((first, rest)) = bytes.split_first() {
        let bytes = [&[first % 16], rest].concat();
        if let Ok(message) = decode(&bytes) {
            let written = encode(Dialect::Hashicorp, &message);
            assert!(decode(&written).is_ok(), "{message:?}");
        }
    }
}

/// What comes over a gossip stream in HashiCorp's dialect, at once and in pieces.
pub(crate) fn hashicorp_stream(bytes: &[u8]) {
    if let Some((first, rest)) = bytes.split_first() {
        let bytes = [&[first % 16], rest].concat();
        let _ = stream::decode(&bytes);
        let mut reader = stream::StreamReader::new(None);
        for length in (0..=bytes.len()).step_by(bytes.len() / 16 + 1) {
            if reader.read(&bytes[..length]).is_err() {
                break;
            }
        }
    }
}

/// A datagram or a stream in its envelope: foreign, and those of a member with this content.
pub(crate) fn sealed(bytes: &[u8]) {
    let key = Key::new(&[7; 16]).expect("16 bytes are a key");
    let label = bytes.first().map_or("", |b| if b % 2 == 0 { "" } else { "blue" });
    let envelope = Envelope {
        label: Label::new(label).expect("it is short"),
        keyring: Some(SharedKeyring::new(Keyring::new(key))),
        ..Envelope::default()
    };
    let _ = envelope.unwrap_datagram(&mut bytes.to_vec());
    let _ = Envelope::default().unwrap_datagram(&mut bytes.to_vec());
    for side in [Side::Opener, Side::Answerer] {
        let _ = envelope.read_stream(side, &mut stream::StreamReader::new(None), &mut bytes.to_vec());
    }
    if bytes.is_empty() {
        return;
    }
    let request = envelope.wrap_request(bytes.to_vec()).expect("there is entropy");
    sealed_stream(&envelope, Side::Opener, &request, bytes);
    let answer = envelope.wrap_answer(bytes.to_vec()).expect("there is entropy");
    sealed_stream(&envelope, Side::Answerer, &answer, bytes);
    let mut wrapped = envelope.wrap_datagram(bytes).expect("there is entropy").into_owned();
    match envelope.unwrap_datagram(&mut wrapped) {
        Ok(content) => assert_eq!(content, bytes),
        // One envelope inside another.
        Err(WireError::Header(_)) => {}
        Err(other) => panic!("{other}"),
    }
}

/// What a member has sealed is read as if it were plain, once all of it is there, and not at all if
/// a single bit of it is another.
fn sealed_stream(envelope: &Envelope, side: Side, sealed: &[u8], content: &[u8]) {
    let read = |reader: &mut stream::StreamReader, bytes: &[u8]| {
        envelope.read_stream(side, reader, &mut bytes.to_vec())
    };
    let mut reader = stream::StreamReader::new(None);
    for length in (0..sealed.len()).step_by(sealed.len() / 8 + 1).chain([sealed.len() - 1]) {
        assert_eq!(read(&mut reader, &sealed[..length]), Ok(None));
    }
    let opened = read(&mut reader, sealed);
    match stream::StreamReader::new(None).read(content) {
        Ok(Some(message)) => assert_eq!(opened, Ok(Some(message))),
        // It ends too early, or is no message.
        Ok(None) | Err(_) => assert!(opened.is_err(), "{opened:?}"),
    }
    let at = content.iter().fold(7_usize, |sum, byte| sum.wrapping_mul(31).wrapping_add((*byte).into()));
    let mut damaged = sealed.to_vec();
    damaged[at / 8 % sealed.len()] ^= 1 << (at % 8);
    // memberlist leaves the version out of what is authenticated: as the older one, an end that looks
    // like padding would be cut off.
    let version = sealed.len() - content.len() - seal::OVERHEAD;
    if damaged[version] == sealed[version] {
        let opened = read(&mut stream::StreamReader::new(None), &damaged);
        assert!(!matches!(opened, Ok(Some(_))), "{opened:?}");
    }
}

/// The list in a keyring file.
pub(crate) fn keyring(bytes: &[u8]) {
    let _ = serf::agent::keys::parse(bytes);
}

/// What internal queries about keys carry.
pub(crate) fn key_payloads(bytes: &[u8]) {
    let _ = payload::keys::read_key_request(bytes);
    let _ = payload::keys::read_key_answer(bytes);
}

/// What comes over a gossip stream: as it is, and with the checksum put right, so that fuzzing
/// gets past it.
pub(crate) fn stream(bytes: &[u8]) {
    take_stream(bytes);
    if let [tag, _, _, _, _, _, _, _, _, body @ ..] = bytes {
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(&[*tag]);
        hasher.update(body);
        let mut right = bytes.to_vec();
        right[5..9].copy_from_slice(&hasher.finalize().to_le_bytes());
        take_stream(&right);
    }
}

fn take_stream(bytes: &[u8]) {
    if bytes.first().map(|b| Dialect::of(*b)) != Some(Dialect::Native) {
        return;
    }
    if let Ok(Some(message)) = stream::decode(bytes) {
        let again: Option<StreamMessage> =
            stream::decode(&stream::encode(Dialect::Native, &message)).unwrap();
        assert_eq!(again, Some(message));
    }
}

/// The metadata of an Alive message.
pub(crate) fn tags(bytes: &[u8]) {
    if let Ok(tags) = Tags::decode(bytes)
        && let Ok(encoded) = tags.encode()
    {
        assert_eq!(Tags::decode(&encoded), Ok(tags));
    }
}

/// A control connection that is sent this, in two pieces.
pub(crate) fn rpc_request(bytes: &[u8]) {
    let now = Moment::ZERO;
    for key in ["", "secret"] {
        let mut connection = Connection::new(1, key.into(), now);
        let (first, second) = bytes.split_at(bytes.len() / 2);
        for part in [first, second] {
            connection.receive(part);
            while let Some((token, _)) = connection.next_request(now) {
                connection.reply_error(token, "fuzzed");
            }
            let written = connection.output().len();
            connection.sent(written, now);
        }
        connection.peer_closed();
        connection.expire(Moment::NEVER);
    }
}

/// The scanner that finds the end of a control record: the same end whether the bytes come at
/// once or one after the other.
pub(crate) fn rpc_frame(bytes: &[u8]) {
    const LIMIT: usize = 1 << 16;
    let whole = FrameScanner::default().scan(bytes, LIMIT);
    let mut scanner = FrameScanner::default();
    let trickled = (0..=bytes.len()).map(|len| scanner.scan(&bytes[..len], LIMIT)).find(|r| *r != Ok(None));
    assert_eq!(trickled.unwrap_or(Ok(None)), whole);
}

/// The filter of an event stream.
pub(crate) fn event_filter(bytes: &[u8]) {
    if let Ok(text) = std::str::from_utf8(bytes) {
        let _ = serf::messaging::filter::EventFilter::parse(text);
        let _ = serf::messaging::expression::Expression::anywhere(text);
    }
}

/// A snapshot, whole and in two pieces: the same is known from both.
pub(crate) fn snapshot(bytes: &[u8]) {
    let (first, second) = bytes.split_at(bytes.len() / 3);
    let read = |pieces: &[&[u8]]| {
        let mut reading = Reading::new(false);
        pieces.iter().for_each(|piece| reading.push(piece));
        reading.finish()
    };
    let (whole, pieces) = (read(&[bytes]), read(&[first, second]));
    assert_eq!((whole.length, whole.skipped), (pieces.length, pieces.skipped));
    assert!(whole.known.alive().eq(pieces.known.alive()));
}

/// A configuration file.
pub(crate) fn config(bytes: &[u8]) {
    let refused = serf::config::json::read(
        &Path::new("fuzz.json").into(),
        bytes,
        &mut RawConfig::default(),
        &mut Vec::new(),
    )
    .err();
    if let Some(problem) = refused {
        assert!(!format!("{problem:?}").is_empty());
    }
}

/// The coordinate in an ack.
pub(crate) fn coordinate(bytes: &[u8]) {
    if let Ok(Some(found)) = coordinate::decode(bytes) {
        assert_eq!(coordinate::decode(&coordinate::encode(&found)), Ok(Some(found)));
    }
}

/// The answer to the question who has a name.
pub(crate) fn conflict_response(bytes: &[u8]) {
    let _ = payload::read_conflict_response(bytes);
}
