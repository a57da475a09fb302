//! Two processes with their settings: what one wraps, and what the other makes of it.

use super::super::datagram::Packer;
use super::super::keyring::Keyring;
use super::super::label::LabelTooLong;
use super::super::message::{Ack, PushPull};
use super::super::seal::Key;
use super::super::seal::tests::key;
use super::super::{Dialect, WireError};
use super::*;
use proptest::prelude::*;

/// What a datagram holds here: something in the native range.
const CONTENT: &[u8] = b"\x80 what is said";

fn plain() -> Envelope {
    Envelope::default()
}

fn labelled(label: &str) -> Envelope {
    Envelope { label: Label::new(label).unwrap(), ..Envelope::default() }
}

fn with_keys(keys: impl IntoIterator<Item = Key>) -> Envelope {
    let ring = Keyring::from_keys(keys).unwrap();
    Envelope { keyring: Some(SharedKeyring::new(ring)), ..Envelope::default() }
}

fn sealing() -> Envelope {
    with_keys([key(16, 1)])
}

fn both(label: &str) -> Envelope {
    Envelope { label: Label::new(label).unwrap(), ..sealing() }
}

fn all() -> [Envelope; 5] {
    let quiet = Envelope { verify_outgoing: false, ..both("blue") };
    [plain(), labelled("blue"), sealing(), both("blue"), quiet]
}

fn datagram(from: &Envelope, to: &Envelope) -> Result<Vec<u8>, WireError> {
    let label = header_len(&from.label);
    loop {
        let wrapped = from.wrap_datagram(CONTENT).unwrap();
        // One nonce in sixteen makes it look like a plain ping to a reader that has no key.
        if !is_plain_ping(&wrapped[label..]) {
            return unwrapped(to, &wrapped);
        }
    }
}

fn unwrapped(to: &Envelope, bytes: &[u8]) -> Result<Vec<u8>, WireError> {
    to.unwrap_datagram(&mut bytes.to_vec()).map(<[u8]>::to_vec)
}

fn message() -> StreamMessage {
    StreamMessage::PushPull(PushPull {
        join: true,
        ltime: crate::model::LamportTime(9),
        rows: Vec::new(),
        intents: vec![],
        serf: Default::default(),
        ..PushPull::default()
    })
}

fn frame(message: &StreamMessage) -> Vec<u8> {
    stream::encode(Dialect::Native, message)
}

fn read(to: &Envelope, from: Side, bytes: &[u8]) -> Result<Option<StreamMessage>, WireError> {
    to.read_stream(from, &mut Default::default(), &mut bytes.to_vec())
}

fn request(from: &Envelope, to: &Envelope) -> Result<Option<StreamMessage>, WireError> {
    read(to, Side::Opener, &from.wrap_request(frame(&message())).unwrap())
}

/// Why `to` refuses a stream of `from`, and what `from` makes of the refusal.
fn refusal(from: &Envelope, to: &Envelope) -> (WireError, Result<Option<StreamMessage>, WireError>) {
    let why = request(from, to).unwrap_err();
    let heard = to.wrap_refusal(frame(&StreamMessage::Error(why.to_string())), &why).unwrap();
    (why, read(from, Side::Answerer, &heard))
}

fn labelled_otherwise(label: &str) -> WireError {
    WireError::Label(Label::new(label).unwrap())
}

#[test]
fn members_of_one_cluster_understand_each_other() {
    for envelope in all() {
        let reader = Envelope { verify_incoming: envelope.verify_outgoing, ..envelope.clone() };
        assert_eq!(datagram(&envelope, &reader), Ok(CONTENT.to_vec()));
        assert_eq!(request(&envelope, &reader), Ok(Some(message())));
        let answer = envelope.wrap_answer(frame(&message())).unwrap();
        assert_eq!(read(&reader, Side::Answerer, &answer), Ok(Some(message())));
    }
}

#[test]
fn the_budget_counts_label_and_seal() {
    let longest = "x".repeat(Label::MAX_LEN);
    let overheads: Vec<_> = [plain(), labelled("blue"), sealing(), both("blue"), both(&longest)]
        .iter()
        .map(|envelope| {
            let mut packer = Packer::new(1400 - envelope.datagram_overhead());
            while packer.push(&[0x80; 37]) {}
            let _ = packer.push(&vec![0x80; packer.room()]);
            let content = packer.finish();
            let wrapped = envelope.wrap_datagram(&content).unwrap();
            assert_eq!(wrapped.len(), content.len() + envelope.datagram_overhead());
            assert!(wrapped.len() <= 1400, "{} bytes", wrapped.len());
            envelope.datagram_overhead()
        })
        .collect();
    assert_eq!(overheads, [0, 6, 29, 35, 257 + 29]);
    assert_eq!(all()[4].datagram_overhead(), 6, "what is not sealed costs nothing");
}

#[test]
fn the_layout_is_memberlists() {
    let wrapped = both("blue").wrap_datagram(CONTENT).unwrap().into_owned();
    assert_eq!(wrapped[..7], *b"\xf4\x04blue\x01");
    let wrapped = both("blue").wrap_request(frame(&message())).unwrap();
    let len = (wrapped.len() - 11) as u32;
    assert_eq!(wrapped[..11], [b"\xf4\x04blue\x0a", &len.to_be_bytes()[..]].concat());
    assert_eq!(wrapped[11], 1);
    let answer = both("blue").wrap_answer(frame(&message())).unwrap();
    assert_eq!(answer[0], 10, "answers have no label");
}

#[test]
fn other_clusters_are_distinguished() {
    let other = with_keys([key(16, 2)]);
    let cases = [
        (plain(), sealing(), WireError::NotEncrypted),
        (sealing(), plain(), WireError::NoKey),
        (sealing(), other.clone(), WireError::Undecryptable),
        (plain(), labelled("blue"), labelled_otherwise("")),
        (labelled("green"), labelled("blue"), labelled_otherwise("green")),
        (labelled("green"), plain(), labelled_otherwise("green")),
        (both("green"), both("blue"), labelled_otherwise("green")),
        (sealing(), both("blue"), labelled_otherwise("")),
    ];
    for (from, to, why) in cases {
        assert_eq!(datagram(&from, &to), Err(why.clone()));
        assert_eq!(request(&from, &to), Err(why));
    }
}

#[test]
fn both_sides_of_a_stream_learn_why() {
    // The same key, or none: the reason can be read, whatever the labels.
    for (from, to) in
        [(both("green"), both("blue")), (labelled("green"), plain()), (plain(), labelled("blue"))]
    {
        let (why, heard) = refusal(&from, &to);
        assert_eq!(heard, Ok(Some(StreamMessage::Error(why.to_string()))));
    }
    // Different keys: the answer alone says it.
    let (why, heard) = refusal(&sealing(), &with_keys([key(32, 2)]));
    assert_eq!((why, heard), (WireError::Undecryptable, Err(WireError::Undecryptable)));
    let (why, heard) = refusal(&sealing(), &plain());
    assert_eq!((why, heard), (WireError::NoKey, Err(WireError::NotEncrypted)));
    let (why, heard) = refusal(&plain(), &sealing());
    assert_eq!((why, heard), (WireError::NotEncrypted, Err(WireError::NoKey)));
}

#[test]
fn a_seal_belongs_to_its_label() {
    let mut stolen = both("green").wrap_datagram(CONTENT).unwrap().into_owned();
    stolen.splice(..7, *b"\xf4\x04blue");
    assert_eq!(unwrapped(&both("blue"), &stolen), Err(WireError::Undecryptable));
}

#[test]
fn every_key_of_the_ring_opens_and_the_first_seals() {
    let (old, new) = (with_keys([key(16, 1)]), with_keys([key(32, 2)]));
    let between = with_keys([key(32, 2), key(16, 1)]);
    assert!(datagram(&old, &between).is_ok() && datagram(&new, &between).is_ok());
    assert!(datagram(&between, &new).is_ok());
    assert_eq!(datagram(&between, &old), Err(WireError::Undecryptable));
    // And a ring that changes changes what everybody does.
    let Some(ring) = &between.keyring else { unreachable!() };
    ring.replace(Keyring::new(key(16, 1)));
    assert!(datagram(&between, &old).is_ok());
}

#[test]
fn each_step_of_turning_encryption_on_understands_the_one_before_and_after() {
    let readable = Envelope { verify_incoming: false, verify_outgoing: false, ..sealing() };
    let sealed = Envelope { verify_incoming: false, ..sealing() };
    for pair in [plain(), readable, sealed, sealing()].windows(2) {
        let [one, two] = pair else { unreachable!() };
        assert_eq!(datagram(one, two), Ok(CONTENT.to_vec()));
        assert_eq!(datagram(two, one), Ok(CONTENT.to_vec()));
        assert_eq!(request(one, two), Ok(Some(message())));
        assert_eq!(request(two, one), Ok(Some(message())));
    }
}

#[test]
fn plain_pings_of_memberlist_are_not_taken_for_encrypted() {
    let willing = Envelope { verify_incoming: false, ..sealing() };
    for ping in [[0, 0x83, 0xa5], [1, 0x86, 0xa5]] {
        assert_eq!(unwrapped(&plain(), &ping), Ok(ping.to_vec()));
        assert_eq!(unwrapped(&willing, &ping), Ok(ping.to_vec()));
        let longer = [&ping[..], &[7; 100]].concat();
        assert_eq!(unwrapped(&willing, &longer), Ok(longer));
        assert!(unwrapped(&sealing(), &ping).is_err());
    }
}

#[test]
fn a_layer_comes_once() {
    let why = |envelope: &Envelope, bytes: &[u8]| {
        let datagram = unwrapped(envelope, bytes).unwrap_err();
        assert!(matches!(datagram, WireError::Header(_)), "{datagram:?}");
    };
    let (label, seal) = (labelled("blue"), sealing());
    let inner = label.wrap_datagram(CONTENT).unwrap();
    why(&label, &label.wrap_datagram(&inner).unwrap());
    why(&seal, &seal.wrap_datagram(&inner).unwrap());
    why(&seal, &seal.wrap_datagram(&[10, 0, 0, 0, 1, 1]).unwrap());

    let why = |envelope: &Envelope, bytes: &[u8]| {
        let stream = read(envelope, Side::Opener, bytes).unwrap_err();
        assert!(matches!(stream, WireError::Header(_)), "{stream:?}");
    };
    let request = label.wrap_request(frame(&message())).unwrap();
    why(&label, &label.wrap_request(request.clone()).unwrap());
    why(&seal, &seal.wrap_request(request).unwrap());
    why(&seal, &seal.wrap_request(seal.wrap_answer(frame(&message())).unwrap()).unwrap());
}

#[test]
fn malformed_headers_are_named() {
    for bad in [&[LABEL][..], &[LABEL, 0], &[LABEL, 0, 9], &[LABEL, 5, b'b', b'l'], &[LABEL, 255]] {
        for envelope in all() {
            assert!(matches!(unwrapped(&envelope, bad), Err(WireError::Header(_))), "{bad:?}");
        }
    }
    assert_eq!(unwrapped(&plain(), &[]), Err(WireError::Empty));
    assert_eq!(unwrapped(&sealing(), &[]), Err(WireError::Empty));
    assert_eq!(unwrapped(&labelled("a"), &[LABEL, 1, b'a']), Ok(Vec::new()), "the next layer refuses it");
    assert_eq!(unwrapped(&sealing(), &[1; 20]), Err(WireError::Truncated));
    assert!(matches!(unwrapped(&sealing(), &[77; 200]), Err(WireError::Header(_))));
    assert_eq!(unwrapped(&sealing(), &[12; 200]), Err(WireError::NotEncrypted));
    assert_eq!(
        read(&plain(), Side::Opener, &[LABEL, 0]),
        Err(WireError::Header("a label header without a label"))
    );
}

#[test]
fn streams_are_read_at_every_cut_and_no_further() {
    for envelope in all() {
        let reader = Envelope { verify_incoming: envelope.verify_outgoing, ..envelope.clone() };
        let bytes = envelope.wrap_request(frame(&message())).unwrap();
        for cut in 0..bytes.len() {
            assert_eq!(read(&reader, Side::Opener, &bytes[..cut]), Ok(None), "{cut}");
        }
        assert_eq!(read(&reader, Side::Opener, &bytes), Ok(Some(message())));
        assert_eq!(read(&reader, Side::Opener, &[&bytes[..], &[0]].concat()), Err(WireError::Truncated));
    }
}

#[test]
fn an_absurd_length_is_refused_from_the_header() {
    let len = (MAX_SEALED_FRAME + 1) as u32;
    let header = [&[SEALED][..], &len.to_be_bytes()].concat();
    let refused = Err(WireError::TooLong { len: len as usize, limit: MAX_SEALED_FRAME });
    assert_eq!(read(&sealing(), Side::Opener, &header), refused);
}

#[test]
fn labels_are_bounded_and_shown_safely() {
    assert_eq!(Label::new(&"x".repeat(256)), Err(LabelTooLong(256)));
    assert!(Label::new("").unwrap().is_empty());
    let hostile = unwrapped(&plain(), b"\xf4\x04a\n\xff'").unwrap_err();
    assert_eq!(hostile.to_string(), "its label 'a\\n\u{fffd}\\'' is not the label of this cluster");
    let why = unwrapped(&labelled("blue"), CONTENT).unwrap_err();
    assert_eq!(why.to_string(), "it has no label, but this cluster has one");
}

fn any_envelope() -> impl Strategy<Value = Envelope> {
    proptest::sample::select(all().to_vec())
}

proptest! {
    #[test]
    fn unwrap_reverses_wrap(envelope in any_envelope(), content in proptest::collection::vec(0x80u8..0xf0, 1..400)) {
        let reader = Envelope { verify_incoming: envelope.verify_outgoing, ..envelope.clone() };
        let wrapped = envelope.wrap_datagram(&content).unwrap();
        prop_assert_eq!(unwrapped(&reader, &wrapped), Ok(content));
    }

    #[test]
    fn damage_never_opens_what_is_sealed(at in any::<prop::sample::Index>(), bit in 0u8..8, cut in any::<prop::sample::Index>()) {
        let envelope = both("blue");
        for (stream, wrapped) in [
            (false, envelope.wrap_datagram(CONTENT).unwrap().into_owned()),
            (true, envelope.wrap_request(frame(&message())).unwrap()),
        ] {
            let is_open = |bytes: &[u8]| if stream {
                matches!(read(&envelope, Side::Opener, bytes), Ok(Some(_)))
            } else {
                unwrapped(&envelope, bytes).is_ok()
            };
            let mut damaged = wrapped.clone();
            let i = at.index(wrapped.len());
            damaged[i] ^= 1 << bit;
            prop_assert!(!is_open(&damaged));
            prop_assert!(!is_open(&wrapped[..cut.index(wrapped.len())]));
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300), first in proptest::sample::select(vec![0u8, 1, 10, 12, LABEL, 0xa0])) {
        let started = [&[first][..], &bytes].concat();
        let behind_a_label = [b"\xf4\x04blue", &started[..]].concat();
        for envelope in all() {
            for bytes in [&bytes, &started, &behind_a_label] {
                let _ = unwrapped(&envelope, bytes);
                let _ = read(&envelope, Side::Opener, bytes);
                let _ = read(&envelope, Side::Answerer, bytes);
            }
        }
    }

    #[test]
    fn answers_of_any_size_survive(payload in proptest::collection::vec(any::<u8>(), 0..3000)) {
        let message = StreamMessage::Ack(Ack { seq_no: 1, digest: None, payload });
        let bytes = both("blue").wrap_answer(frame(&message)).unwrap();
        prop_assert_eq!(read(&both("blue"), Side::Answerer, &bytes), Ok(Some(message)));
    }
}
