//! What the internal queries about keys carry: which key, and what each member has to say.

use super::PayloadError;
use crate::model::write_raw;
use serde::{Deserialize, Deserializer};
use serde_bytes::ByteBuf;
use zeroize::Zeroizing;

/// Serf's `messageKeyRequestType`.
const KEY_REQUEST: u8 = 7;
/// Serf's `messageKeyResponseType`.
const KEY_RESPONSE: u8 = 8;

/// Serf's `nodeKeyResponse`: one member's answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyAnswer {
    /// Whether it did what was asked.
    pub done: bool,
    /// Why it did not, or what else there is to say.
    pub message: String,
    /// The keys that it has, in base64 (`list-keys` alone).
    pub keys: Vec<String>,
    /// The one that seals (`list-keys` alone).
    pub primary: String,
}

impl KeyAnswer {
    /// It could not be done.
    pub fn failed(why: impl ToString) -> KeyAnswer {
        KeyAnswer { message: why.to_string(), ..KeyAnswer::default() }
    }
}

/// Serf's `keyRequest`: the bytes of the key, none to list keys.
pub fn write_key_request(key: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(key.len() + 16);
    out.push(KEY_REQUEST);
    map(&mut out, 1);
    write_raw(&mut out, b"Key");
    write_raw(&mut out, key);
    out
}

#[derive(Deserialize)]
struct RequestRecord {
    #[serde(rename = "Key", default, deserialize_with = "or_nil")]
    key: ByteBuf,
}

/// Reads which key is meant. What its bytes are worth is not looked at.
pub fn read_key_request(bytes: &[u8]) -> Result<Zeroizing<Vec<u8>>, PayloadError> {
    let record: RequestRecord = read(KEY_REQUEST, bytes)?;
    Ok(Zeroizing::new(record.key.into_vec()))
}

/// Serf's `nodeKeyResponse`, field by field in the order of its declaration.
pub fn write_key_answer(answer: &KeyAnswer) -> Vec<u8> {
    let mut out = vec![KEY_RESPONSE];
    map(&mut out, 4);
    write_raw(&mut out, b"Result");
    // Writing to a Vec cannot fail, here and below.
    let _ = rmp::encode::write_bool(&mut out, answer.done);
    write_raw(&mut out, b"Message");
    write_raw(&mut out, answer.message.as_bytes());
    write_raw(&mut out, b"Keys");
    if answer.keys.is_empty() {
        // Go writes a list that was never touched as nil.
        out.push(rmp::Marker::Null.to_u8());
    } else {
        let _ = rmp::encode::write_array_len(&mut out, u32::try_from(answer.keys.len()).unwrap_or(u32::MAX));
        answer.keys.iter().for_each(|key| write_raw(&mut out, key.as_bytes()));
    }
    write_raw(&mut out, b"PrimaryKey");
    write_raw(&mut out, answer.primary.as_bytes());
    out
}

#[derive(Deserialize)]
struct AnswerRecord {
    #[serde(rename = "Result", default, deserialize_with = "or_nil")]
    done: bool,
    #[serde(rename = "Message", default, deserialize_with = "or_nil")]
    message: ByteBuf,
    #[serde(rename = "Keys", default, deserialize_with = "or_nil")]
    keys: Vec<ByteBuf>,
    #[serde(rename = "PrimaryKey", default, deserialize_with = "or_nil")]
    primary: ByteBuf,
}

/// Reads one member's answer. Older agents of HashiCorp send no primary key.
pub fn read_key_answer(bytes: &[u8]) -> Result<KeyAnswer, PayloadError> {
    let record: AnswerRecord = read(KEY_RESPONSE, bytes)?;
    // Any bytes may come as text.
    let text = |bytes: ByteBuf| String::from_utf8_lossy(&bytes).into_owned();
    Ok(KeyAnswer {
        done: record.done,
        message: text(record.message),
        keys: record.keys.into_iter().map(text).collect(),
        primary: text(record.primary),
    })
}

fn map(out: &mut Vec<u8>, fields: u32) {
    // Writing to a Vec cannot fail.
    let _ = rmp::encode::write_map_len(out, fields);
}

fn read<'a, T: Deserialize<'a>>(kind: u8, bytes: &'a [u8]) -> Result<T, PayloadError> {
    match bytes.split_first() {
        // Not what the parser says: it could quote a key.
        Some((&found, body)) if found == kind => {
            rmp_serde::from_slice(body).map_err(|_| PayloadError::Malformed("it does not decode".to_string()))
        }
        other => Err(PayloadError::Type(other.map(|(found, _)| *found))),
    }
}

/// Go writes a nil slice as nil.
fn or_nil<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(d: D) -> Result<T, D::Error> {
    Ok(Option::<T>::deserialize(d)?.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn requests_are_those_of_serf() {
        let bytes = write_key_request(b"0123456789abcdef");
        assert_eq!(bytes, b"\x07\x81\xa3Key\xb00123456789abcdef");
        assert_eq!(**read_key_request(&bytes).unwrap(), *b"0123456789abcdef");
        assert_eq!(write_key_request(b""), b"\x07\x81\xa3Key\xa0");
        // A slice that is nil, bytes that are marked as such, and no field at all.
        for (bytes, key) in [
            (&b"\x07\x81\xa3Key\xc0"[..], &b""[..]),
            (b"\x07\x81\xa3Key\xc4\x02\xff\x00", b"\xff\x00"),
            (b"\x07\x81\xa3Key\xa2\xff\x00", b"\xff\x00"),
            (b"\x07\x80", b""),
        ] {
            assert_eq!(read_key_request(bytes).map(|key| key.to_vec()), Ok(key.to_vec()), "{bytes:?}");
        }
    }

    #[test]
    fn answers_are_those_of_serf() {
        let listed = KeyAnswer {
            done: true,
            message: String::new(),
            keys: vec!["a=".into(), "b=".into()],
            primary: "a=".into(),
        };
        let bytes = b"\x08\x84\xa6Result\xc3\xa7Message\xa0\xa4Keys\x92\xa2a=\xa2b=\xaaPrimaryKey\xa2a=";
        assert_eq!(write_key_answer(&listed), bytes);
        assert_eq!(read_key_answer(bytes), Ok(listed));

        let failed = KeyAnswer::failed("no");
        let bytes = b"\x08\x84\xa6Result\xc2\xa7Message\xa2no\xa4Keys\xc0\xaaPrimaryKey\xa0";
        assert_eq!(write_key_answer(&failed), bytes);
        assert_eq!(read_key_answer(bytes), Ok(failed.clone()));
        let older = b"\x08\x83\xa6Result\xc2\xa7Message\xa2no\xa4Keys\xc0";
        assert_eq!(read_key_answer(older), Ok(failed));
    }

    #[test]
    fn what_is_none_is_refused_without_quoting_it() {
        assert_eq!(read_key_request(b""), Err(PayloadError::Type(None)));
        assert_eq!(read_key_request(b"\x08\x80"), Err(PayloadError::Type(Some(8))));
        assert_eq!(read_key_answer(b"\x07\x80"), Err(PayloadError::Type(Some(7))));
        for bad in [&b"\x07"[..], b"\x07\x81", b"\x07\xa4hush", b"\x07\x81\xa3Key\x01"] {
            let refused = read_key_request(bad).unwrap_err().to_string();
            assert_eq!(refused, "it does not decode", "{bad:?}");
        }
        assert!(
            read_key_answer(b"\x08\x81\xa4Keys\xdd\xff\xff\xff\xff").is_err(),
            "a promise of 4 billion keys"
        );
    }

    proptest! {
        #[test]
        fn answers_round_trip(
            done: bool,
            message in ".{0,40}",
            keys in proptest::collection::vec(".{0,44}", 0..20),
            primary in ".{0,44}",
        ) {
            let answer = KeyAnswer { done, message, keys, primary };
            prop_assert_eq!(read_key_answer(&write_key_answer(&answer)), Ok(answer));
        }

        #[test]
        fn arbitrary_bytes_never_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            for kind in [None, Some(KEY_REQUEST), Some(KEY_RESPONSE)] {
                if let Some(kind) = kind {
                    bytes.insert(0, kind);
                }
                let _ = read_key_request(&bytes);
                let _ = read_key_answer(&bytes);
            }
        }
    }
}
