//! Sealing: AES-GCM around a whole datagram or stream message, laid out as memberlist does.
//!
//! ```text
//! version   nonce, 12 bytes   ciphertext   tag, 16 bytes
//! ```
//!
//! Version 1 is what everyone writes. In version 0 the text is padded to whole blocks (PKCS #7);
//! it is read, and never written. Which keys there are is decided in `keyring`, what is sealed and
//! what must be in `envelope`.
//!
//! A seal proves that the sender holds the key, and nothing about when it was made: as with
//! memberlist, a recorded packet that is sent again opens again. What keeps old news from doing
//! harm are the incarnations and Lamport times inside.

use super::base64_text;
use super::error::WireError;
use aes_gcm::aes::{Aes128, Aes192, Aes256};
use aes_gcm::{AeadInOut, AesGcm, KeyInit, Nonce, Tag};
use std::fmt;
use std::ops::Range;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// The version that is written.
const VERSION: u8 = 1;
/// The version with padding.
const PADDED_VERSION: u8 = 0;
const VERSION_SIZE: usize = 1;
const NONCE_SIZE: usize = 12;
const TAG_SIZE: usize = 16;
const BLOCK_SIZE: usize = 16;

/// Bytes that sealing adds.
pub const OVERHEAD: usize = VERSION_SIZE + NONCE_SIZE + TAG_SIZE;
/// Bytes that sealing adds at most in a version that is read.
pub const MAX_OVERHEAD: usize = OVERHEAD + BLOCK_SIZE;

type Gcm<Aes> = AesGcm<Aes, aes_gcm::aead::consts::U12>;

/// A key, ready for use. Wiped from memory when it is dropped, and never shown.
pub struct Key {
    bytes: Zeroizing<Vec<u8>>,
    cipher: Cipher,
}

/// One for each size of key. Boxed, as expanded keys are large and differ much in size.
enum Cipher {
    Aes128(Box<Gcm<Aes128>>),
    Aes192(Box<Gcm<Aes192>>),
    Aes256(Box<Gcm<Aes256>>),
}

/// Why something is no key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyError {
    /// It has none of the sizes that AES knows.
    Size,
    /// Its text is not base64.
    Base64,
}

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            KeyError::Size => write!(f, "key size must be 16, 24 or 32 bytes"),
            // Not which character is wrong: it may be a part of a secret.
            KeyError::Base64 => write!(f, "it is not base64 (see 'serf keygen')"),
        }
    }
}

impl std::error::Error for KeyError {}

impl Key {
    /// Takes 16, 24 or 32 bytes for AES-128, AES-192 or AES-256.
    pub fn new(bytes: &[u8]) -> Result<Key, KeyError> {
        let cipher = match bytes.len() {
            16 => Gcm::new_from_slice(bytes).map(|c| Cipher::Aes128(Box::new(c))),
            24 => Gcm::new_from_slice(bytes).map(|c| Cipher::Aes192(Box::new(c))),
            32 => Gcm::new_from_slice(bytes).map(|c| Cipher::Aes256(Box::new(c))),
            _ => return Err(KeyError::Size),
        };
        let cipher = cipher.map_err(|_| KeyError::Size)?;
        Ok(Key { bytes: Zeroizing::new(bytes.to_vec()), cipher })
    }

    /// Reads the form in which keys are written everywhere.
    pub fn from_base64(text: &str) -> Result<Key, KeyError> {
        Key::new(&base64_text::decode(text).map_err(|_| KeyError::Base64)?)
    }

    /// The form in which keys are written everywhere.
    pub fn to_base64(&self) -> Zeroizing<String> {
        base64_text::encode(&self.bytes)
    }

    /// Appends `plain`, sealed together with `data`, to `out`: [`OVERHEAD`] bytes more than it has.
    ///
    /// The nonce is drawn from the kernel and from nowhere else: two packets with one nonce under
    /// one key would give both away, so no caller gets to choose it. Fails only where the kernel
    /// has no random source.
    pub fn seal(&self, data: &[u8], plain: &[u8], out: &mut Vec<u8>) -> Result<(), getrandom::Error> {
        let mut nonce = [0; NONCE_SIZE];
        getrandom::fill(&mut nonce)?;
        out.reserve(plain.len() + OVERHEAD);
        out.push(VERSION);
        out.extend_from_slice(&nonce);
        let start = out.len();
        out.extend_from_slice(plain);
        let tag = match &self.cipher {
            Cipher::Aes128(c) => encrypt(&**c, &nonce, data, &mut out[start..]),
            Cipher::Aes192(c) => encrypt(&**c, &nonce, data, &mut out[start..]),
            Cipher::Aes256(c) => encrypt(&**c, &nonce, data, &mut out[start..]),
        };
        out.extend_from_slice(&tag);
        Ok(())
    }

    /// Turns ciphertext into text if this key made it; otherwise leaves it as it is.
    fn open(&self, nonce: &[u8; NONCE_SIZE], data: &[u8], text: &mut [u8], tag: &[u8; TAG_SIZE]) -> bool {
        match &self.cipher {
            Cipher::Aes128(c) => decrypt(&**c, nonce, data, text, tag),
            Cipher::Aes192(c) => decrypt(&**c, nonce, data, text, tag),
            Cipher::Aes256(c) => decrypt(&**c, nonce, data, text, tag),
        }
    }
}

fn encrypt<C>(cipher: &C, nonce: &[u8; NONCE_SIZE], data: &[u8], text: &mut [u8]) -> [u8; TAG_SIZE]
where
    C: AeadInOut<NonceSize = aes_gcm::aead::consts::U12, TagSize = aes_gcm::aead::consts::U16>,
{
    // Refused are only texts of more than 64 GiB.
    let tag = cipher.encrypt_inout_detached(&Nonce::from(*nonce), data, text.into());
    tag.map_or([0; TAG_SIZE], Into::into)
}

fn decrypt<C>(
    cipher: &C,
    nonce: &[u8; NONCE_SIZE],
    data: &[u8],
    text: &mut [u8],
    tag: &[u8; TAG_SIZE],
) -> bool
where
    C: AeadInOut<NonceSize = aes_gcm::aead::consts::U12, TagSize = aes_gcm::aead::consts::U16>,
{
    // Checks the tag first, so that `text` is untouched when it is wrong.
    cipher.decrypt_inout_detached(&Nonce::from(*nonce), data, text.into(), &Tag::from(*tag)).is_ok()
}

impl PartialEq for Key {
    fn eq(&self, other: &Key) -> bool {
        self.bytes.ct_eq(&other.bytes).into()
    }
}

impl Eq for Key {}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({} bytes)", self.bytes.len())
    }
}

/// Whether something may be sealed, as far as its first byte shows.
pub fn is_sealed(bytes: &[u8]) -> bool {
    matches!(bytes.first(), Some(&(PADDED_VERSION | VERSION)))
}

/// Opens `sealed` in place with the first of `keys` that fits, and says where in it the text is. When
/// none fits `sealed` is unchanged. Costs one pass over the bytes for each key.
pub fn open<'k>(
    keys: impl IntoIterator<Item = &'k Key>,
    data: &[u8],
    sealed: &mut [u8],
) -> Result<Range<usize>, WireError> {
    let version = *sealed.first().ok_or(WireError::Empty)?;
    let minimum = match version {
        VERSION => OVERHEAD,
        PADDED_VERSION => MAX_OVERHEAD,
        _ => return Err(WireError::Header("an encryption version that is unknown")),
    };
    if sealed.len() < minimum {
        return Err(WireError::Truncated);
    }
    let rest = sealed.get_mut(VERSION_SIZE..).unwrap_or_default();
    let (nonce, rest) = rest.split_first_chunk_mut().ok_or(WireError::Truncated)?;
    let (text, tag) = rest.split_last_chunk_mut().ok_or(WireError::Truncated)?;
    if !keys.into_iter().any(|key| key.open(nonce, data, text, tag)) {
        return Err(WireError::Undecryptable);
    }
    let len = match version {
        PADDED_VERSION => len_without_padding(text)?,
        _ => text.len(),
    };
    let start = VERSION_SIZE + NONCE_SIZE;
    Ok(start..start + len)
}

/// Where padding starts: it is as many bytes as each of its bytes says.
fn len_without_padding(text: &[u8]) -> Result<usize, WireError> {
    const BAD: WireError = WireError::Header("padding that does not add up");
    let count = usize::from(*text.last().ok_or(BAD)?);
    let len = text.len().checked_sub(count).ok_or(BAD)?;
    let mut padding = text.iter().skip(len);
    let whole = (1..=BLOCK_SIZE).contains(&count) && padding.all(|b| usize::from(*b) == count);
    if whole { Ok(len) } else { Err(BAD) }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use proptest::prelude::*;

    pub(crate) fn key(size: usize, seed: u8) -> Key {
        let bytes: Vec<u8> = (0..size).map(|i| (i as u8).wrapping_mul(17).wrapping_add(seed)).collect();
        Key::new(&bytes).unwrap()
    }

    pub(crate) fn seal(key: &Key, data: &[u8], plain: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        key.seal(data, plain, &mut out).unwrap();
        out
    }

    /// The version that is only read.
    pub(crate) fn seal_padded(key: &Key, data: &[u8], plain: &[u8]) -> Vec<u8> {
        let count = BLOCK_SIZE - plain.len() % BLOCK_SIZE;
        let padded = [plain, &vec![count as u8; count]].concat();
        let mut sealed = seal(key, data, &padded);
        // The version is not under the seal.
        sealed[0] = PADDED_VERSION;
        sealed
    }

    fn opened<'k>(
        keys: impl IntoIterator<Item = &'k Key>,
        data: &[u8],
        sealed: &[u8],
    ) -> Result<Vec<u8>, WireError> {
        let mut sealed = sealed.to_vec();
        open(keys, data, &mut sealed).map(|range| sealed[range].to_vec())
    }

    fn hex(text: &str) -> Vec<u8> {
        let digit = |at| u8::from_str_radix(&text[at..at + 2], 16).unwrap();
        (0..text.len()).step_by(2).map(digit).collect()
    }

    /// The rows of a file of vectors, without its comments.
    fn rows(file: &str) -> impl Iterator<Item = Vec<&str>> {
        file.lines().filter(|line| !line.starts_with('#')).map(|line| line.splitn(5, ' ').collect())
    }

    /// Opens a vector; a stream's header is a part of what is sealed with it.
    fn open_vector(kind: &str, key: &str, label: &str, sealed: &str) -> Vec<u8> {
        let keys = [Key::new(&hex(key)).unwrap()];
        let mut sealed = hex(sealed);
        let header = if kind == "stream" { sealed.drain(..5).collect() } else { Vec::new() };
        if let Some(len) = header.get(1..) {
            assert_eq!((header[0], len), (10, &(sealed.len() as u32).to_be_bytes()[..]));
        }
        let data = [&header[..], label.as_bytes()].concat();
        opened(&keys, &data, &sealed).unwrap()
    }

    #[test]
    fn packets_of_hashicorp_agents_open() {
        let mut sizes = Vec::new();
        for row in rows(include_str!("../../tests/corpus/seal/captured")) {
            let text = open_vector(row[0], row[1], "", row[2]);
            let shown = String::from_utf8_lossy(&text);
            assert!(shown.contains("vector-a") || shown.contains("vector-b"), "{row:?}: {shown}");
            sizes.push(row[1].len() / 2);
        }
        for size in [16, 24, 32] {
            assert!(sizes.iter().filter(|s| **s == size).count() >= 3, "{sizes:?}");
        }
    }

    #[test]
    fn what_memberlist_writes_opens_in_both_versions() {
        let mut seen = Vec::new();
        for row in rows(include_str!("../../tests/corpus/seal/written")) {
            let (label, (text, sealed)) = (row[2].replace('-', ""), split_text(row[3], row[4]));
            let opened = open_vector(row[0], row[1], &label, &sealed);
            assert_eq!(String::from_utf8(opened).unwrap(), text, "{row:?}");
            let version_at = if row[0] == "stream" { 10..12 } else { 0..2 };
            seen.push((row[1].len() / 2, sealed[version_at].to_string()));
        }
        for size in [16, 24, 32] {
            for version in ["00", "01"] {
                let count = seen.iter().filter(|(s, v)| *s == size && v == version).count();
                assert_eq!(count, 6, "vectors of {size} bytes in version {version}");
            }
        }
    }

    /// The text is in quotes and may have spaces; the last word is what is sealed.
    fn split_text(start: &str, rest: &str) -> (String, String) {
        let both = format!("{start} {rest}");
        let (text, sealed) = both.rsplit_once(' ').unwrap();
        (text.trim_matches('"').to_string(), sealed.to_string())
    }

    #[test]
    fn keys_have_three_sizes_and_are_not_shown() {
        for size in 0..100 {
            let made = Key::new(&vec![7; size]);
            match size {
                16 | 24 | 32 => assert_eq!(format!("{:?}", made.unwrap()), format!("Key({size} bytes)")),
                _ => assert_eq!(made, Err(KeyError::Size)),
            }
        }
        let text = "ZWJiY2U2NGU2ZmEwZGQ4MA==";
        let key = Key::from_base64(text).unwrap();
        assert_eq!((&**key.to_base64(), &key), (text, &Key::new(b"ebbce64e6fa0dd80").unwrap()));
        assert_ne!(key, super::tests::key(16, 1));
        // As the shell, an editor or Windows may end it.
        for ended in [format!("{text}\n"), format!("{text}\r\n")] {
            assert_eq!(Key::from_base64(&ended).as_ref(), Ok(&key));
        }
        assert_eq!(Key::from_base64("ZWJiY2U2!"), Err(KeyError::Base64));
        assert_eq!(Key::from_base64("AAAA"), Err(KeyError::Size));
        assert_eq!(Key::from_base64(""), Err(KeyError::Size));
    }

    #[test]
    fn a_nonce_is_never_seen_twice() {
        let key = key(32, 0);
        let mut nonces: Vec<_> = (0..1000).map(|_| seal(&key, b"", b"x")[1..13].to_vec()).collect();
        nonces.sort();
        nonces.dedup();
        assert_eq!(nonces.len(), 1000);
    }

    #[test]
    fn padding_must_add_up() {
        let key = key(16, 3);
        for bad in [[0; 16], [17; 16], [255; 16], [[3; 15].as_slice(), &[4]].concat().try_into().unwrap()] {
            let mut sealed = seal(&key, b"", &bad);
            sealed[0] = PADDED_VERSION;
            assert!(matches!(open([&key], b"", &mut sealed), Err(WireError::Header(_))), "{bad:?}");
        }
    }

    #[test]
    fn damage_is_named() {
        let keys = [key(16, 3)];
        let why = |bytes: &[u8]| opened(&keys, b"", bytes).unwrap_err();
        assert_eq!(why(&[]), WireError::Empty);
        assert!(matches!(why(&[2; 100]), WireError::Header(_)));
        assert_eq!(why(&[1; OVERHEAD - 1]), WireError::Truncated);
        assert_eq!(why(&[0; MAX_OVERHEAD - 1]), WireError::Truncated);
        assert_eq!(why(&[1; OVERHEAD]), WireError::Undecryptable);
        assert_eq!(open([], b"", &mut [1; OVERHEAD]), Err(WireError::Undecryptable));
    }

    fn sealed() -> impl Strategy<Value = (Key, Vec<u8>, Vec<u8>, Vec<u8>)> {
        let bytes = |max| proptest::collection::vec(any::<u8>(), 0..max);
        let key = (proptest::sample::select(vec![16, 24, 32]), any::<u8>());
        (key, bytes(300), bytes(300), any::<bool>()).prop_map(|((size, seed), data, plain, padded)| {
            let key = super::tests::key(size, seed);
            let sealed = if padded { seal_padded(&key, &data, &plain) } else { seal(&key, &data, &plain) };
            (key, data, plain, sealed)
        })
    }

    proptest! {
        #[test]
        fn open_reverses_seal((key, data, plain, sealed) in sealed(), others in 0u8..16) {
            let mut keys: Vec<_> = (0..others).map(|i| super::tests::key(16, i.wrapping_mul(13))).collect();
            keys.push(key);
            prop_assert_eq!(opened(&keys, &data, &sealed), Ok(plain));
        }

        #[test]
        fn any_flipped_bit_keeps_it_shut((key, data, _, sealed) in sealed(), at in any::<prop::sample::Index>(), bit in 0u8..8) {
            let mut damaged = sealed.clone();
            // The version is not under the seal: without the padding, there is nothing to flip it to.
            let i = 1 + at.index(sealed.len() - 1);
            damaged[i] ^= 1 << bit;
            let before = damaged.clone();
            prop_assert_eq!(open([&key], &data, &mut damaged), Err(WireError::Undecryptable));
            prop_assert_eq!(damaged, before, "left as it was");
            if !data.is_empty() {
                let mut other = data.clone();
                other[at.index(data.len())] ^= 1 << bit;
                prop_assert_eq!(open([&key], &other, &mut sealed.clone()), Err(WireError::Undecryptable));
            }
        }

        #[test]
        fn nothing_cut_or_lengthened_opens((key, data, _, sealed) in sealed(), cut in any::<prop::sample::Index>()) {
            let mut longer = [&sealed[..], &[0]].concat();
            prop_assert!(open([&key], &data, &mut longer).is_err());
            prop_assert!(open([&key], &data, &mut sealed[..cut.index(sealed.len())].to_vec()).is_err());
        }

        #[test]
        fn arbitrary_bytes_never_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..100), version in 0u8..3) {
            let keys = [key(16, 1), key(24, 2), key(32, 3)];
            prop_assert!(open(&keys, b"", &mut bytes).is_err());
            if let Some(first) = bytes.first_mut() {
                *first = version;
            }
            prop_assert!(open(&keys, b"", &mut bytes).is_err());
        }
    }
}
