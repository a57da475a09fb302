//! MessagePack as HashiCorp's codec writes it: records are maps with the names of Go's fields in
//! alphabetical order, texts and bytes share the old raw type, an empty slice is nil.
//!
//! The reader is a cursor over bytes that are there already: it allocates nothing, recurses on
//! nothing, reads the newer types (str 8, bin) as well, and skips fields it does not know.

use rmp::Marker;

/// Why bytes are not what was expected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// They end too early.
    Short,
    /// Something else is there.
    Not(&'static str),
    /// A value is out of its range, or a list longer than it may be.
    Beyond(&'static str),
    /// A text that names a member is no node name.
    Name(String),
    /// The value of this field is none of its kind.
    In(&'static str, Box<Fault>),
}

impl Fault {
    /// The same, in the value of a field.
    pub(crate) fn within(self, field: &'static str) -> Fault {
        Fault::In(field, Box::new(self))
    }

    /// In words for an operator who reads the log.
    pub(crate) fn describe(&self) -> String {
        match self {
            Fault::Short => "it ends too early".into(),
            Fault::Not(what) => format!("there is no {what} where one belongs"),
            Fault::Beyond(what) => format!("{what} out of range"),
            Fault::Name(why) => why.clone(),
            Fault::In(field, fault) => format!("{field}: {}", fault.describe()),
        }
    }
}

/// Reads one value after the other.
#[derive(Clone, Debug)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Begins at the start of `bytes`.
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Reader { rest: bytes }
    }

    /// What has not been read.
    pub(crate) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// The next byte, of no value.
    pub(crate) fn byte(&mut self) -> Result<u8, Fault> {
        let (&first, rest) = self.rest.split_first().ok_or(Fault::Short)?;
        self.rest = rest;
        Ok(first)
    }

    /// The next `len` bytes, of no value.
    pub(crate) fn take(&mut self, len: usize) -> Result<&'a [u8], Fault> {
        let (taken, rest) = self.rest.split_at_checked(len).ok_or(Fault::Short)?;
        self.rest = rest;
        Ok(taken)
    }

    fn marker(&mut self) -> Result<Marker, Fault> {
        Ok(Marker::from_u8(self.byte()?))
    }

    /// A big-endian number of `width` bytes, at most eight.
    fn number(&mut self, width: usize) -> Result<u64, Fault> {
        Ok(self.take(width)?.iter().fold(0, |n, byte| n << 8 | u64::from(*byte)))
    }

    fn length(&mut self, width: usize) -> Result<usize, Fault> {
        usize::try_from(self.number(width)?).map_err(|_| Fault::Short)
    }

    /// How many pairs the map has whose head is next; nil is an empty one.
    pub(crate) fn map(&mut self) -> Result<usize, Fault> {
        match self.marker()? {
            Marker::FixMap(n) => Ok(usize::from(n)),
            Marker::Map16 => self.length(2),
            Marker::Map32 => self.length(4),
            Marker::Null => Ok(0),
            _ => Err(Fault::Not("map")),
        }
    }

    /// How many elements the list has whose head is next; nil is an empty one.
    pub(crate) fn list(&mut self) -> Result<usize, Fault> {
        match self.marker()? {
            Marker::FixArray(n) => Ok(usize::from(n)),
            Marker::Array16 => self.length(2),
            Marker::Array32 => self.length(4),
            Marker::Null => Ok(0),
            _ => Err(Fault::Not("list")),
        }
    }

    /// Whether nil is next; it is skipped then.
    pub(crate) fn nil(&mut self) -> bool {
        let nil = self.rest.first() == Some(&Marker::Null.to_u8());
        if nil {
            self.rest = self.rest.get(1..).unwrap_or_default();
        }
        nil
    }

    /// Bytes or a text, of any of the types they may have; nil is none.
    pub(crate) fn bytes(&mut self) -> Result<&'a [u8], Fault> {
        let len = match self.marker()? {
            Marker::FixStr(n) => usize::from(n),
            Marker::Str8 | Marker::Bin8 => self.length(1)?,
            Marker::Str16 | Marker::Bin16 => self.length(2)?,
            Marker::Str32 | Marker::Bin32 => self.length(4)?,
            Marker::Null => 0,
            _ => return Err(Fault::Not("text")),
        };
        self.take(len)
    }

    /// A number that is not negative; nil is zero.
    pub(crate) fn unsigned(&mut self) -> Result<u64, Fault> {
        let signed = |n: u64, bits: u32| {
            // The sign is in the highest of `bits` bits.
            if n >> (bits - 1) == 0 { Ok(n) } else { Err(Fault::Beyond("a number")) }
        };
        match self.marker()? {
            Marker::FixPos(n) => Ok(u64::from(n)),
            Marker::U8 => self.number(1),
            Marker::U16 => self.number(2),
            Marker::U32 => self.number(4),
            Marker::U64 => self.number(8),
            Marker::I8 => signed(self.number(1)?, 8),
            Marker::I16 => signed(self.number(2)?, 16),
            Marker::I32 => signed(self.number(4)?, 32),
            Marker::I64 => signed(self.number(8)?, 64),
            Marker::FixNeg(_) => Err(Fault::Beyond("a number")),
            Marker::Null => Ok(0),
            _ => Err(Fault::Not("number")),
        }
    }

    /// A number that may be negative; nil is zero.
    pub(crate) fn signed(&mut self) -> Result<i64, Fault> {
        let width = match self.rest.first().map(|first| Marker::from_u8(*first)) {
            Some(Marker::FixNeg(n)) => {
                self.byte()?;
                return Ok(i64::from(n));
            }
            Some(Marker::I8) => 1,
            Some(Marker::I16) => 2,
            Some(Marker::I32) => 4,
            Some(Marker::I64) => 8,
            _ => return i64::try_from(self.unsigned()?).map_err(|_| Fault::Beyond("a number")),
        };
        self.byte()?;
        // The sign is moved to the top and comes down again with its copies.
        let unused = 64 - 8 * width as u32;
        Ok(((self.number(width)? << unused) as i64) >> unused)
    }

    /// A floating-point number, or a whole one; nil is zero.
    pub(crate) fn float(&mut self) -> Result<f64, Fault> {
        match self.rest.first().map(|first| Marker::from_u8(*first)) {
            Some(Marker::F64) => {
                self.byte()?;
                Ok(f64::from_bits(self.number(8)?))
            }
            Some(Marker::F32) => {
                self.byte()?;
                Ok(f64::from(f32::from_bits(self.number(4)? as u32)))
            }
            _ => Ok(self.signed()? as f64),
        }
    }

    /// Whether a list is next.
    pub(crate) fn at_list(&self) -> bool {
        let first = self.rest.first().map(|first| Marker::from_u8(*first));
        matches!(first, Some(Marker::FixArray(_) | Marker::Array16 | Marker::Array32))
    }

    /// A number that fits `T`.
    pub(crate) fn number_in<T: TryFrom<u64>>(&mut self) -> Result<T, Fault> {
        T::try_from(self.unsigned()?).map_err(|_| Fault::Beyond("a number"))
    }

    /// True or false; nil is false.
    pub(crate) fn flag(&mut self) -> Result<bool, Fault> {
        match self.marker()? {
            Marker::True => Ok(true),
            Marker::False | Marker::Null => Ok(false),
            _ => Err(Fault::Not("flag")),
        }
    }

    /// Skips one value, however deeply it is nested: what is still to be skipped is only counted.
    pub(crate) fn skip(&mut self) -> Result<(), Fault> {
        let mut left: u64 = 1;
        while left > 0 {
            left -= 1;
            let (bytes, values) = match self.marker()? {
                Marker::FixPos(_) | Marker::FixNeg(_) | Marker::Null | Marker::True | Marker::False => (0, 0),
                Marker::U8 | Marker::I8 => (1, 0),
                Marker::U16 | Marker::I16 | Marker::FixExt1 => (2, 0),
                Marker::FixExt2 => (3, 0),
                Marker::U32 | Marker::I32 | Marker::F32 => (4, 0),
                Marker::FixExt4 => (5, 0),
                Marker::U64 | Marker::I64 | Marker::F64 => (8, 0),
                Marker::FixExt8 => (9, 0),
                Marker::FixExt16 => (17, 0),
                Marker::FixStr(n) => (usize::from(n), 0),
                Marker::Str8 | Marker::Bin8 => (self.length(1)?, 0),
                Marker::Str16 | Marker::Bin16 => (self.length(2)?, 0),
                Marker::Str32 | Marker::Bin32 => (self.length(4)?, 0),
                Marker::Ext8 => (self.length(1)?.saturating_add(1), 0),
                Marker::Ext16 => (self.length(2)?.saturating_add(1), 0),
                Marker::Ext32 => (self.length(4)?.saturating_add(1), 0),
                Marker::FixArray(n) => (0, u64::from(n)),
                Marker::Array16 => (0, self.number(2)?),
                Marker::Array32 => (0, self.number(4)?),
                Marker::FixMap(n) => (0, 2 * u64::from(n)),
                Marker::Map16 => (0, 2 * self.number(2)?),
                Marker::Map32 => (0, 2 * self.number(4)?),
                Marker::Reserved => return Err(Fault::Not("value")),
            };
            self.take(bytes)?;
            left = left.saturating_add(values);
        }
        Ok(())
    }

    /// A reader of the next value alone: whatever is wrong in that, what follows it can be read.
    pub(crate) fn value(&mut self) -> Result<Reader<'a>, Fault> {
        let start = self.rest;
        self.skip()?;
        let (value, _) = start.split_at_checked(start.len() - self.rest.len()).ok_or(Fault::Short)?;
        Ok(Reader::new(value))
    }

    /// Reads a record: `field` is given each name and reads its value, or answers `false` for it
    /// to be skipped. Of two fields of one name the second counts.
    pub(crate) fn record(
        &mut self,
        mut field: impl FnMut(&mut Self, &[u8]) -> Result<bool, Fault>,
    ) -> Result<(), Fault> {
        for _ in 0..self.map()? {
            let name = self.bytes()?;
            if !field(self, name)? {
                self.skip()?;
            }
        }
        Ok(())
    }
}

/// Writes one value after the other, each in its shortest form. Writing to memory cannot fail.
#[derive(Debug, Default)]
pub(crate) struct Writer {
    /// What has been written.
    pub(crate) out: Vec<u8>,
}

impl Writer {
    /// Begins with the type of a message.
    pub(crate) fn of_type(tag: u8) -> Self {
        Writer { out: vec![tag] }
    }

    /// The head of a map. Nothing that is written has as many pairs as the head could not say.
    pub(crate) fn map(&mut self, pairs: usize) {
        let _ = rmp::encode::write_map_len(&mut self.out, pairs as u32);
    }

    /// The head of a list.
    pub(crate) fn list(&mut self, elements: usize) {
        let _ = rmp::encode::write_array_len(&mut self.out, elements as u32);
    }

    /// Bytes or a text, in the raw type. (Not `rmp`'s text, which may be of the newer `str 8`.)
    pub(crate) fn raw(&mut self, bytes: &[u8]) {
        let len = bytes.len();
        match u16::try_from(len) {
            Ok(short) if short < 32 => self.out.push(0xa0 | short as u8),
            Ok(long) => {
                self.out.push(0xda);
                self.out.extend_from_slice(&long.to_be_bytes());
            }
            Err(_) => {
                self.out.push(0xdb);
                self.out.extend_from_slice(&(len as u32).to_be_bytes());
            }
        }
        self.out.extend_from_slice(bytes);
    }

    /// Bytes; none are nil, as Go writes a slice that was never set.
    pub(crate) fn slice(&mut self, bytes: &[u8]) {
        if bytes.is_empty() { self.out.push(0xc0) } else { self.raw(bytes) }
    }

    /// A number.
    pub(crate) fn unsigned(&mut self, n: impl Into<u64>) {
        let _ = rmp::encode::write_uint(&mut self.out, n.into());
    }

    /// True or false.
    pub(crate) fn flag(&mut self, flag: bool) {
        self.out.push(if flag { 0xc3 } else { 0xc2 });
    }

    /// The name of a field.
    pub(crate) fn field(&mut self, name: &str) -> &mut Self {
        self.raw(name.as_bytes());
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn old_and_new_texts_are_read() {
        for bytes in [
            &[0xa2, b'h', b'i'][..],
            &[0xd9, 2, b'h', b'i'],
            &[0xda, 0, 2, b'h', b'i'],
            &[0xdb, 0, 0, 0, 2, b'h', b'i'],
            &[0xc4, 2, b'h', b'i'],
            &[0xc5, 0, 2, b'h', b'i'],
            &[0xc6, 0, 0, 0, 2, b'h', b'i'],
        ] {
            assert_eq!(Reader::new(bytes).bytes(), Ok(&b"hi"[..]));
            assert_eq!(Reader::new(&bytes[..bytes.len() - 1]).bytes(), Err(Fault::Short));
        }
        assert_eq!(Reader::new(&[0xc0]).bytes(), Ok(&[][..]));
        assert_eq!(Reader::new(&[5]).bytes(), Err(Fault::Not("text")));
    }

    #[test]
    fn numbers_of_every_width_are_read_and_none_that_is_negative() {
        let read = |bytes: &[u8]| Reader::new(bytes).unsigned();
        assert_eq!(read(&[0xd0, 5]), Ok(5));
        assert_eq!(read(&[0xd1, 0, 5]), Ok(5));
        assert_eq!(read(&[0xd2, 0, 0, 0, 5]), Ok(5));
        assert_eq!(read(&[0xd3, 0, 0, 0, 0, 0, 0, 0, 5]), Ok(5));
        assert_eq!(read(&[0xd3, 0x80, 0, 0, 0, 0, 0, 0, 5]), Err(Fault::Beyond("a number")));
        assert_eq!(read(&[0xd0, 0xff]), Err(Fault::Beyond("a number")));
        assert_eq!(read(&[0xff]), Err(Fault::Beyond("a number")));
        assert_eq!(read(&[0xcb, 0, 0, 0, 0, 0, 0, 0, 0]), Err(Fault::Not("number")));
        assert_eq!(Reader::new(&[0xcd, 1, 0]).number_in::<u8>(), Err(Fault::Beyond("a number")));
    }

    #[test]
    fn signed_and_floating_numbers_are_read() {
        let signed = |bytes: &[u8]| Reader::new(bytes).signed();
        for (n, bytes) in [
            (5, &[5][..]),
            (-1, &[0xff]),
            (-32, &[0xe0]),
            (-128, &[0xd0, 0x80]),
            (200, &[0xcc, 200]),
            (-2, &[0xd1, 0xff, 0xfe]),
            (-2, &[0xd2, 0xff, 0xff, 0xff, 0xfe]),
            (i64::MIN, &[0xd3, 0x80, 0, 0, 0, 0, 0, 0, 0]),
            (i64::MAX, &[0xcf, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]),
            (0, &[0xc0]),
        ] {
            assert_eq!(signed(bytes), Ok(n), "{bytes:x?}");
        }
        assert_eq!(signed(&[0xcf, 0x80, 0, 0, 0, 0, 0, 0, 0]), Err(Fault::Beyond("a number")));
        assert_eq!(signed(&[0xd1, 0]), Err(Fault::Short));
        assert_eq!(Reader::new(&[0xca, 0x3f, 0x80, 0, 0]).float(), Ok(1.0));
        assert_eq!(Reader::new(&[0xcb, 0xbf, 0xf0, 0, 0, 0, 0, 0, 0]).float(), Ok(-1.0));
        assert_eq!(Reader::new(&[0xff]).float(), Ok(-1.0));
        assert_eq!(Reader::new(&[0xa0]).float(), Err(Fault::Not("number")));
    }

    #[test]
    fn nesting_without_end_is_skipped_without_recursion() {
        let mut deep = vec![0x91; 1 << 20];
        assert_eq!(Reader::new(&deep).skip(), Err(Fault::Short));
        deep.push(0xc0);
        let mut reader = Reader::new(&deep);
        assert_eq!(reader.skip(), Ok(()));
        assert!(reader.rest().is_empty());
        // Lists that announce four milliards of lists of four milliards.
        let announced = [0xdd, 0xff, 0xff, 0xff, 0xff].repeat(100);
        assert_eq!(Reader::new(&announced).skip(), Err(Fault::Short));
    }

    proptest! {
        #[test]
        fn numbers_and_bytes_round_trip(n in any::<u64>(), bytes in proptest::collection::vec(any::<u8>(), 0..70_000)) {
            let mut writer = Writer::default();
            writer.unsigned(n);
            writer.slice(&bytes);
            writer.flag(true);
            let mut reader = Reader::new(&writer.out);
            let mut skipped = reader.clone();
            prop_assert_eq!(reader.unsigned(), Ok(n));
            prop_assert_eq!(reader.bytes(), Ok(&bytes[..]));
            prop_assert_eq!(reader.flag(), Ok(true));
            prop_assert!(reader.rest().is_empty());
            for _ in 0..3 {
                prop_assert_eq!(skipped.skip(), Ok(()));
            }
            prop_assert!(skipped.rest().is_empty());
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = Reader::new(&bytes).skip();
            let _ = Reader::new(&bytes).record(|r, name| { r.unsigned()?; Ok(name.len() > 1) });
        }
    }
}
