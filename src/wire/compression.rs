//! Compression as memberlist does it: LZW with eight-bit literals, least significant bits first,
//! in a record of its own. Read always, within bounds; written only to HashiCorp's agents: our own
//! dialect is smaller to begin with.

use super::error::WireError;
use super::msgpack::{Fault, Reader, Writer};
use weezl::{BitOrder, LzwStatus};

/// memberlist's `compressMsg`.
pub const COMPRESSED: u8 = 9;
/// memberlist's `lzwAlgo`, the only one there is.
const LZW: u64 = 0;
const LITERAL_BITS: u8 = 8;

/// How large a datagram may become: ten times one that fits its budget, and room for a user event
/// at its hard limit of 9 KiB.
pub const MAX_INFLATED_DATAGRAM: usize = 16 * 1024;

/// The most bytes of a record besides what is compressed.
const HEAD: usize = 32;

/// Compresses messages if that makes them smaller.
pub fn pack(plain: Vec<u8>) -> Vec<u8> {
    let Ok(lzw) = weezl::encode::Encoder::new(BitOrder::Lsb, LITERAL_BITS).encode(&plain) else {
        return plain;
    };
    if lzw.len() >= plain.len() {
        return plain;
    }
    let mut w = Writer::of_type(COMPRESSED);
    w.map(2);
    w.field("Algo").unsigned(LZW);
    w.field("Buf").raw(&lzw);
    if w.out.len() < plain.len() { w.out } else { plain }
}

/// The two fields of the record, as far as they are there.
fn read<'a>(r: &mut Reader<'a>) -> Result<(u64, &'a [u8]), Fault> {
    let (mut algorithm, mut lzw) = (LZW, &[][..]);
    for _ in 0..r.map()? {
        // Nothing else has ever been in it, and skipping what is not there yet would take long.
        match r.bytes()? {
            b"Algo" => algorithm = r.unsigned()?,
            b"Buf" => lzw = r.bytes()?,
            _ => return Err(Fault::Not("known field")),
        }
    }
    Ok((algorithm, lzw))
}

/// How many bytes the compressed message at the start of a stream has, once they are there.
pub(super) fn frame_len(buffer: &[u8], limit: usize) -> Result<Option<usize>, WireError> {
    let mut r = Reader::new(buffer.get(1..).unwrap_or_default());
    match read(&mut r) {
        Ok(_) => Ok(Some(buffer.len() - r.rest().len())),
        Err(Fault::Short) if buffer.len() <= limit + HEAD => Ok(None),
        Err(Fault::Short) => Err(WireError::TooLong { len: buffer.len(), limit }),
        Err(fault) => Err(malformed(&fault)),
    }
}

/// Inflates a compressed message, its type byte included, to at most `limit` bytes.
pub fn unpack(message: &[u8], limit: usize) -> Result<Vec<u8>, WireError> {
    let mut r = Reader::new(message.get(1..).unwrap_or_default());
    let (algorithm, mut lzw) = read(&mut r).map_err(|fault| malformed(&fault))?;
    if algorithm != LZW {
        return Err(WireError::Malformed { what: "compressed message", why: "unknown algorithm".into() });
    }
    let damaged = || WireError::Malformed { what: "compressed message", why: "it does not inflate".into() };
    let mut decoder = weezl::decode::Decoder::new(BitOrder::Lsb, LITERAL_BITS);
    let mut plain = Vec::new();
    let mut chunk = [0; 4096];
    loop {
        let done = decoder.decode_bytes(lzw, &mut chunk);
        plain.extend_from_slice(chunk.get(..done.consumed_out).unwrap_or_default());
        lzw = lzw.get(done.consumed_in..).unwrap_or_default();
        if plain.len() > limit {
            return Err(WireError::TooLong { len: plain.len(), limit });
        }
        match done.status {
            Ok(LzwStatus::Done) => return Ok(plain),
            Ok(LzwStatus::Ok) if done.consumed_in > 0 || done.consumed_out > 0 => {}
            // It ends before its end marker, or is damaged.
            _ => return Err(damaged()),
        }
    }
}

fn malformed(fault: &Fault) -> WireError {
    WireError::Malformed { what: "compressed message", why: fault.describe() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn bombs_are_refused_at_the_limit() {
        let bomb = pack(vec![0; 10 << 20]);
        assert!(bomb.len() < 100_000, "{} bytes", bomb.len());
        let refused = unpack(&bomb, MAX_INFLATED_DATAGRAM);
        assert!(matches!(refused, Err(WireError::TooLong { limit: MAX_INFLATED_DATAGRAM, .. })));
        let full = pack(vec![0; MAX_INFLATED_DATAGRAM]);
        assert_eq!(unpack(&full, MAX_INFLATED_DATAGRAM).unwrap().len(), MAX_INFLATED_DATAGRAM);
    }

    #[test]
    fn what_does_not_shrink_is_left_as_it_is() {
        assert_eq!(pack(b"abc".to_vec()), b"abc");
        assert_eq!(pack(Vec::new()), b"");
    }

    #[test]
    fn damage_is_named() {
        let packed = pack(vec![7; 300]);
        for cut in 1..packed.len() {
            assert!(unpack(&packed[..cut], 1000).is_err());
            assert_eq!(frame_len(&packed[..cut], 1000), Ok(None));
        }
        assert_eq!(frame_len(&packed, 1000), Ok(Some(packed.len())));
        assert!(unpack(&[9, 0x81, 0xa4, b'A', b'l', b'g', b'o', 1], 10).is_err(), "another algorithm");
        assert!(unpack(&[9, 0x80], 10).is_err(), "nothing inside");
        assert!(frame_len(&[9, 0x81, 0xa1, b'x'], 10).is_err());
    }

    proptest! {
        #[test]
        fn unpack_reverses_pack(plain in proptest::collection::vec(0u8..4, 0..3000)) {
            let packed = pack(plain.clone());
            if packed != plain {
                prop_assert!(packed.len() < plain.len());
                prop_assert_eq!(unpack(&packed, 3000), Ok(plain));
            }
        }

        #[test]
        fn arbitrary_bytes_never_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = unpack(&bytes, 1000);
            let mut w = Writer::of_type(COMPRESSED);
            w.map(1);
            w.field("Buf").raw(&bytes);
            let _ = unpack(&w.out, 1000);
            bytes.insert(0, COMPRESSED);
            let _ = frame_len(&bytes, 1000);
        }
    }
}
