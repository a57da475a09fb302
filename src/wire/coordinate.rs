//! A coordinate as acks carry it: Serf's ping payload, a version byte and MessagePack with field
//! names. The same bytes in every dialect, so that HashiCorp's agents read ours and we theirs.

use crate::model::{Coordinate, CoordinateError};
use serde::{Deserialize, Serialize};
use std::fmt;

/// The version of the payload (Serf's `PingVersion`).
const VERSION: u8 = 1;
/// The most bytes that are looked at; a coordinate has 130.
pub const MAX_PAYLOAD: usize = 256;

/// The fields in the order in which Go's encoder sorts them.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct CoordinateFields {
    adjustment: f64,
    error: f64,
    height: f64,
    vec: Vec<f64>,
}

/// Why a payload holds no coordinate.
#[derive(Clone, Debug, PartialEq)]
pub enum CoordinatePayloadError {
    /// This many bytes.
    TooLong(usize),
    /// A version that nobody here knows.
    Version(u8),
    /// No such record.
    Malformed(String),
    /// Numbers that are no coordinate.
    Invalid(CoordinateError),
}

impl fmt::Display for CoordinatePayloadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CoordinatePayloadError::TooLong(len) => {
                write!(f, "{len} bytes where at most {MAX_PAYLOAD} are allowed")
            }
            CoordinatePayloadError::Version(version) => write!(f, "unsupported ping version {version}"),
            CoordinatePayloadError::Malformed(why) => write!(f, "it cannot be decoded: {why}"),
            CoordinatePayloadError::Invalid(why) => write!(f, "{why}"),
        }
    }
}

impl std::error::Error for CoordinatePayloadError {}

/// The payload that holds this coordinate.
pub fn encode(coordinate: &Coordinate) -> Vec<u8> {
    let fields = CoordinateFields {
        adjustment: coordinate.adjustment(),
        error: coordinate.error(),
        height: coordinate.height(),
        vec: coordinate.position().to_vec(),
    };
    let mut bytes = vec![VERSION];
    // Writing numbers to memory cannot fail; if it did, the payload would be refused.
    let _ = rmp_serde::encode::write_named(&mut bytes, &fields);
    bytes
}

/// The coordinate in a payload; `None` if there is no payload, as from an agent that takes no part
/// in coordinates.
pub fn decode(payload: &[u8]) -> Result<Option<Coordinate>, CoordinatePayloadError> {
    let (version, body) = match payload {
        [] => return Ok(None),
        [version, body @ ..] => (*version, body),
    };
    if version != VERSION {
        return Err(CoordinatePayloadError::Version(version));
    }
    if payload.len() > MAX_PAYLOAD {
        return Err(CoordinatePayloadError::TooLong(payload.len()));
    }
    let mut rest = body;
    let fields: CoordinateFields =
        rmp_serde::from_read(&mut rest).map_err(|e| CoordinatePayloadError::Malformed(e.to_string()))?;
    if !rest.is_empty() {
        return Err(CoordinatePayloadError::Malformed(format!("{} bytes too many", rest.len())));
    }
    Coordinate::from_parts(&fields.vec, fields.error, fields.adjustment, fields.height)
        .map(Some)
        .map_err(CoordinatePayloadError::Invalid)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What HashiCorp's agent (0.8.2) sent in an ack.
    const CAPTURED: &str = "0184aa41646a7573746d656e74cb3ee9a05cd4aa2d7da54572726f72cb3ff4e5ec73b413fca6486569676874\
                            cb3f06f9ae9ef1821fa356656398cbbef0399b9987a0fecb3ef09ef1738eb81fcb3efbbf02a5d33ef5cb\
                            bec20c8fe05ed00ecbbf013611cafa0277cb3f099c9252a8fcd8cb3ef8ddaa28d3af28cb3ee420990211163f";

    fn captured() -> Vec<u8> {
        let digits = CAPTURED.as_bytes().chunks(2).map(|two| std::str::from_utf8(two).unwrap());
        digits.map(|two| u8::from_str_radix(two, 16).unwrap()).collect()
    }

    #[test]
    fn what_hashicorps_agent_sends_is_read_and_written_alike() {
        let coordinate = decode(&captured()).unwrap().unwrap();
        assert!((1.30..1.31).contains(&coordinate.error()));
        assert!((43e-6..45e-6).contains(&coordinate.height()), "{coordinate:?}");
        assert_eq!(encode(&coordinate), captured());
        assert_eq!(captured().len(), 130);
    }

    fn payload(write: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
        let mut bytes = vec![VERSION];
        write(&mut bytes);
        bytes
    }

    #[test]
    fn what_is_refused() {
        assert_eq!(decode(&[]), Ok(None));
        assert_eq!(decode(&[2, 0x80]), Err(CoordinatePayloadError::Version(2)));
        let malformed = |bytes: &[u8]| matches!(decode(bytes), Err(CoordinatePayloadError::Malformed(_)));
        assert!(malformed(&[VERSION]));
        assert!(malformed(&[VERSION, 0x80]), "no fields");
        assert!(malformed(&[VERSION, 0xdf, 0xff, 0xff, 0xff, 0xff]), "a map that promises much");
        assert!(malformed(&[captured(), vec![0xc0]].concat()), "more behind it");
        assert!(malformed(&captured()[..129]), "less");
        let long = [captured(), vec![0; MAX_PAYLOAD]].concat();
        assert_eq!(decode(&long), Err(CoordinatePayloadError::TooLong(130 + MAX_PAYLOAD)));
        let nested = payload(|bytes| bytes.extend([0x91; MAX_PAYLOAD - 1]));
        assert!(malformed(&nested));

        let with = |vec: Vec<f64>, error| {
            let fields = CoordinateFields { adjustment: 0.0, error, height: 0.1, vec };
            payload(|bytes| bytes.extend(rmp_serde::to_vec_named(&fields).unwrap()))
        };
        assert!(matches!(decode(&with(vec![0.0; 8], 1.0)), Ok(Some(_))));
        let dimensions = Err(CoordinatePayloadError::Invalid(CoordinateError::Dimensions(7)));
        assert_eq!(decode(&with(vec![0.0; 7], 1.0)), dimensions);
        for wild in [f64::NAN, f64::INFINITY, 1e300] {
            assert!(matches!(decode(&with(vec![wild; 8], 1.0)), Err(CoordinatePayloadError::Invalid(_))));
            assert!(matches!(decode(&with(vec![0.0; 8], wild)), Err(CoordinatePayloadError::Invalid(_))));
        }
    }

    proptest! {
        #[test]
        fn reads_what_it_writes(parts in proptest::array::uniform11(0.0..1.5)) {
            let coordinate = Coordinate::from_parts(&parts[..8], parts[8], parts[9], parts[10]).unwrap();
            let bytes = encode(&coordinate);
            prop_assert!(bytes.len() <= MAX_PAYLOAD);
            prop_assert_eq!(decode(&bytes), Ok(Some(coordinate)));
        }

        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300), flips in 0usize..4) {
            let _ = decode(&payload(|p| p.extend(&bytes)));
            let mut damaged = captured();
            for byte in bytes.iter().take(flips) {
                let at = usize::from(*byte) % damaged.len();
                damaged[at] ^= 1 << (byte % 8);
            }
            let _ = decode(&damaged);
        }
    }
}
