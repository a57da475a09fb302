//! The bytes of the control protocol's records.
//!
//! Written as the agent of HashiCorp Serf writes them: maps with string keys in alphabetical
//! order, text as `str` (with `str8`), byte strings as `bin`. Read leniently, as Go reads: text and
//! byte strings in any of the old raw, `str` and `bin` forms, nil for anything, fields in any order,
//! unknown ones ignored, missing ones empty, and a list in place of the map. A value's end is found by
//! `frame.rs` before anything here sees it.

use crate::model::Text;
use crate::wire::msgpack::{Fault, Reader};
use std::collections::BTreeMap;
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

/// A value that a record may hold.
pub(crate) trait Field: Sized {
    /// Reads it; nil is an empty one.
    fn read(r: &mut Reader) -> Result<Self, Fault>;

    /// Appends its bytes.
    fn write(&self, out: &mut Vec<u8>);
}

/// Appends the bytes of `value` to `out`.
pub(crate) fn encode_into<T: Field>(out: &mut Vec<u8>, value: &T) {
    value.write(out);
}

/// The bytes of `value`.
pub(crate) fn encode<T: Field>(value: &T) -> Vec<u8> {
    let mut out = Vec::new();
    value.write(&mut out);
    out
}

/// Reads a value from its bytes.
pub(crate) fn decode<T: Field>(bytes: &[u8]) -> Result<T, RecordError> {
    T::read(&mut Reader::new(bytes)).map_err(|fault| RecordError(fault.describe()))
}

// Writing to memory cannot fail, so that the results of `rmp` say nothing.

fn write_str(out: &mut Vec<u8>, bytes: &[u8]) {
    let _ = rmp::encode::write_str_len(out, length(bytes.len()));
    out.extend_from_slice(bytes);
}

fn write_map_head(out: &mut Vec<u8>, pairs: usize) {
    let _ = rmp::encode::write_map_len(out, length(pairs));
}

/// Nothing that is written comes near what the head of a value could not say.
fn length(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX)
}

impl Field for bool {
    fn read(r: &mut Reader) -> Result<bool, Fault> {
        r.flag()
    }

    fn write(&self, out: &mut Vec<u8>) {
        let _ = rmp::encode::write_bool(out, *self);
    }
}

macro_rules! number {
    ($($type:ty: $read:ident, $write:ident as $wide:ty;)*) => { $(
        impl Field for $type {
            fn read(r: &mut Reader) -> Result<$type, Fault> {
                <$type>::try_from(r.$read()?).map_err(|_| Fault::Beyond("a number"))
            }

            fn write(&self, out: &mut Vec<u8>) {
                let _ = rmp::encode::$write(out, <$wide>::from(*self));
            }
        }
    )* };
}

number! {
    u8: unsigned, write_uint as u64;
    u16: unsigned, write_uint as u64;
    u64: unsigned, write_uint as u64;
    i32: signed, write_sint as i64;
    i64: signed, write_sint as i64;
}

impl Field for f64 {
    fn read(r: &mut Reader) -> Result<f64, Fault> {
        r.float()
    }

    fn write(&self, out: &mut Vec<u8>) {
        let _ = rmp::encode::write_f64(out, *self);
    }
}

impl Field for Text {
    fn read(r: &mut Reader) -> Result<Text, Fault> {
        r.bytes().map(Text::from)
    }

    fn write(&self, out: &mut Vec<u8>) {
        write_str(out, self.as_bytes());
    }
}

/// For words of the protocol and of the agent itself. What is not UTF-8 is none of them.
impl Field for String {
    fn read(r: &mut Reader) -> Result<String, Fault> {
        r.bytes().map(|bytes| String::from_utf8_lossy(bytes).into_owned())
    }

    fn write(&self, out: &mut Vec<u8>) {
        write_str(out, self.as_bytes());
    }
}

/// Byte strings. Some clients write them as lists of numbers.
///
/// An empty one is never nil. HashiCorp's agent streams nil for what was sent as nil, and before its
/// version 0.10 for anything empty, and clients written in Go that expect bytes end with a panic; none
/// of those that know nil minds empty bytes.
impl Field for Vec<u8> {
    fn read(r: &mut Reader) -> Result<Vec<u8>, Fault> {
        if r.at_list() {
            (0..r.list()?).map(|_| r.number_in()).collect()
        } else {
            r.bytes().map(<[u8]>::to_vec)
        }
    }

    fn write(&self, out: &mut Vec<u8>) {
        let _ = rmp::encode::write_bin(out, self);
    }
}

/// A list. What its head announces is not believed: it ends where the bytes do.
pub(super) fn read_list<T: Field>(r: &mut Reader) -> Result<Vec<T>, Fault> {
    let mut items = Vec::new();
    for _ in 0..r.list()? {
        items.push(T::read(r)?);
    }
    Ok(items)
}

pub(super) fn write_list<T: Field>(items: &[T], out: &mut Vec<u8>) {
    let _ = rmp::encode::write_array_len(out, length(items.len()));
    for item in items {
        item.write(out);
    }
}

/// Makes fields of lists of these.
macro_rules! list {
    ($($type:ty),*) => { $(
        impl crate::rpc::codec::Field for Vec<$type> {
            fn read(r: &mut crate::wire::msgpack::Reader) -> Result<Self, crate::wire::msgpack::Fault> {
                crate::rpc::codec::read_list(r)
            }

            fn write(&self, out: &mut Vec<u8>) {
                crate::rpc::codec::write_list(self, out);
            }
        }
    )* };
}
pub(super) use list;

list!(Text);

impl<K: Field + Ord, V: Field> Field for BTreeMap<K, V> {
    fn read(r: &mut Reader) -> Result<Self, Fault> {
        (0..r.map()?).map(|_| Ok((K::read(r)?, V::read(r)?))).collect()
    }

    fn write(&self, out: &mut Vec<u8>) {
        write_map_head(out, self.len());
        for (key, value) in self {
            key.write(out);
            value.write(out);
        }
    }
}

/// A value that may be absent, which nil says.
impl<T: Field> Field for Option<T> {
    fn read(r: &mut Reader) -> Result<Self, Fault> {
        if r.nil() { Ok(None) } else { T::read(r).map(Some) }
    }

    fn write(&self, out: &mut Vec<u8>) {
        match self {
            Some(value) => value.write(out),
            None => {
                let _ = rmp::encode::write_nil(out);
            }
        }
    }
}

/// A map with the names of its fields.
pub(crate) trait Fields: Default {
    /// The names of its fields on the wire, in alphabetical order.
    const NAMES: &[&str];

    /// The same in the order in which Go declares them, for clients that write a list instead of a map.
    const LISTED: &[&str];

    /// Reads the value of a field, or answers `false` if it has none of that name.
    fn read_field(&mut self, name: &[u8], r: &mut Reader) -> Result<bool, Fault>;

    /// Appends the names and values of all fields.
    fn write_fields(&self, out: &mut Vec<u8>);
}

/// Is given the name of a field and reads its value, or answers `false` if it knows none of that name.
type ReadField<'f> = dyn FnMut(&[u8], &mut Reader) -> Result<bool, Fault> + 'f;

/// Reads a record, field by field.
fn read_fields(r: &mut Reader, listed: &[&str], field: &mut ReadField) -> Result<(), Fault> {
    if r.at_list() {
        for at in 0..r.list()? {
            match listed.get(at) {
                Some(name) if field(name.as_bytes(), r)? => {}
                _ => r.skip()?,
            }
        }
        return Ok(());
    }
    r.record(|r, name| field(name, r))
}

pub(super) fn write_field<T: Field>(name: &str, value: &T, out: &mut Vec<u8>) {
    write_str(out, name.as_bytes());
    value.write(out);
}

impl<T: Fields> Field for T {
    fn read(r: &mut Reader) -> Result<T, Fault> {
        let mut record = T::default();
        read_fields(r, T::LISTED, &mut |name, r| record.read_field(name, r))?;
        Ok(record)
    }

    fn write(&self, out: &mut Vec<u8>) {
        write_map_head(out, T::NAMES.len());
        self.write_fields(out);
    }
}

/// What follows the header of a request or of a reply: a record, or nothing.
pub(crate) trait Body: Sized {
    /// Whether there is a second value behind the header.
    const PRESENT: bool = true;

    /// The names of its fields on the wire; none for a map of any keys.
    const FIELDS: &[&str] = &[];

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

/// Declares a record: its fields in alphabetical order, each with its name on the wire, and, where
/// clients may write it as a list, all of them in Go's order. Or a request that has no body.
macro_rules! record {
    (
        $(#[$doc:meta])* $vis:vis $name:ident { $($(#[$field_doc:meta])* $wire:literal $field:ident : $type:ty),* $(,)? }
        $(listed $($listed:literal)*)?
    ) => {
        $(#[$doc])*
        #[derive(Clone, Debug, Default, PartialEq)]
        $vis struct $name { $($(#[$field_doc])* pub $field: $type),* }

        impl crate::rpc::codec::Fields for $name {
            const NAMES: &[&str] = &[$($wire),*];
            const LISTED: &[&str] = &[$($($listed),*)?];

            fn read_field(
                &mut self,
                name: &[u8],
                r: &mut crate::wire::msgpack::Reader,
            ) -> Result<bool, crate::wire::msgpack::Fault> {
                $( if name == $wire.as_bytes() {
                    self.$field = crate::rpc::codec::Field::read(r).map_err(|fault| fault.within($wire))?;
                    return Ok(true);
                } )*
                Ok(false)
            }

            fn write_fields(&self, out: &mut Vec<u8>) {
                $( crate::rpc::codec::write_field($wire, &self.$field, out); )*
            }
        }

        impl crate::rpc::codec::Body for $name {
            const FIELDS: &[&str] = <Self as crate::rpc::codec::Fields>::NAMES;

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
