//! The bytes of the control protocol's records.
//!
//! Written as the agent of HashiCorp Serf writes them: maps with string keys in alphabetical
//! order, text as `str` (with `str8`), byte strings as `bin`. Read
//! leniently: text and byte strings in any of the old raw, `str` and `bin` forms, nil for
//! anything, fields in any order, unknown ones ignored, missing ones empty. A value's end is found
//! by `frame.rs` before anything here sees it.

use serde::de::{DeserializeOwned, Deserializer, Visitor};
use serde::{Deserialize, Serialize, Serializer};
use std::fmt;

/// Why bytes are not the record that was expected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordError(pub String);

impl fmt::Display for RecordError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for RecordError {}

/// Appends the bytes of `record` to `out`.
pub(crate) fn encode_into<T: Serialize>(out: &mut Vec<u8>, record: &T) {
    let start = out.len();
    let mut serializer = rmp_serde::Serializer::new(&mut *out).with_struct_map();
    if record.serialize(&mut serializer).is_err() {
        // Only a map of unknown length fails, and no record has one; half a record must not stay.
        debug_assert!(false, "a record could not be written");
        out.truncate(start);
    }
}

/// The bytes of `record`.
pub(crate) fn encode<T: Serialize>(record: &T) -> Vec<u8> {
    let mut out = Vec::new();
    encode_into(&mut out, record);
    out
}

/// Reads one record from the bytes of one value.
pub(crate) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, RecordError> {
    rmp_serde::from_slice(bytes).map_err(|e| RecordError(e.to_string()))
}

/// Go writes a nil map, slice or byte string as nil.
pub(super) fn or_nil<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(d: D) -> Result<T, D::Error> {
    Ok(Option::<T>::deserialize(d)?.unwrap_or_default())
}

/// Byte strings: `bin` when written, anything that holds bytes or nil when read.
///
/// An empty one is never nil. HashiCorp's agent streams nil for what was sent as nil, and before its
/// version 0.10 for anything empty, and clients written in Go that expect bytes end with a panic; none
/// of those that know nil minds empty bytes.
pub(super) mod bytes {
    use serde::{Deserialize, Deserializer, Serializer};

    pub(crate) fn serialize<S: Serializer>(bytes: &[u8], s: S) -> Result<S::Ok, S::Error> {
        s.serialize_bytes(bytes)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Vec<u8>, D::Error> {
        Ok(Option::<serde_bytes::ByteBuf>::deserialize(d)?.unwrap_or_default().into_vec())
    }
}

/// Sequences that Go leaves nil when they are empty.
pub(super) fn nil_if_empty<S: Serializer, T: Serialize>(items: &[T], s: S) -> Result<S::Ok, S::Error> {
    if items.is_empty() { s.serialize_none() } else { items.serialize(s) }
}

/// What follows the header of a request or of a reply: a record, or nothing.
pub(crate) trait Body: Sized {
    /// Whether there is a second value behind the header.
    const PRESENT: bool = true;

    /// The names of its fields on the wire; none for a map of any keys.
    fn fields() -> &'static [&'static str] {
        &[]
    }

    /// Appends its bytes.
    fn write(&self, out: &mut Vec<u8>);

    /// Reads it from the bytes of one value, of none if it is not present.
    fn read(bytes: &[u8]) -> Result<Self, RecordError>;
}

impl Body for () {
    const PRESENT: bool = false;

    fn write(&self, _: &mut Vec<u8>) {}

    fn read(_: &[u8]) -> Result<(), RecordError> {
        Ok(())
    }
}

/// Declares a record, with its fields in alphabetical order, or a request that has no body.
macro_rules! record {
    ($(#[$doc:meta])* $vis:vis $name:ident { $($(#[$field_doc:meta])* $field:ident : $type:ty),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
        #[serde(default, rename_all = "PascalCase")]
        $vis struct $name { $($(#[$field_doc])* pub $field: $type),* }

        impl crate::rpc::codec::Body for $name {
            fn fields() -> &'static [&'static str] {
                crate::rpc::codec::field_names::<Self>()
            }

            fn write(&self, out: &mut Vec<u8>) {
                crate::rpc::codec::encode_into(out, self);
            }

            fn read(bytes: &[u8]) -> Result<Self, crate::rpc::codec::RecordError> {
                crate::rpc::codec::decode(bytes)
            }
        }
    };
    ($(#[$doc:meta])* $vis:vis $name:ident;) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq)]
        $vis struct $name;

        impl crate::rpc::codec::Body for $name {
            const PRESENT: bool = false;

            fn write(&self, _: &mut Vec<u8>) {}

            fn read(_: &[u8]) -> Result<Self, crate::rpc::codec::RecordError> {
                Ok($name)
            }
        }
    };
}
pub(super) use record;

/// The names that a record asks its reader for.
pub(super) fn field_names<T: DeserializeOwned>() -> &'static [&'static str] {
    struct Names<'a>(&'a mut &'static [&'static str]);

    impl<'de> Deserializer<'de> for Names<'_> {
        type Error = serde::de::value::Error;

        fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Self::Error> {
            Err(serde::de::Error::custom("there is nothing to read"))
        }

        fn deserialize_struct<V: Visitor<'de>>(
            self,
            _: &'static str,
            fields: &'static [&'static str],
            visitor: V,
        ) -> Result<V::Value, Self::Error> {
            *self.0 = fields;
            self.deserialize_any(visitor)
        }

        serde::forward_to_deserialize_any! {
            bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit
            unit_struct newtype_struct seq tuple tuple_struct map enum identifier ignored_any
        }
    }

    let mut names: &[&str] = &[];
    // It fails, after it has said what it wants.
    let _ = T::deserialize(Names(&mut names));
    names
}
