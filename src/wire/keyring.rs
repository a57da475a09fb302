//! The keys of a cluster: one primary key that seals, and any that may open.
//!
//! A keyring is a small value that is replaced as a whole; [`SharedKeyring`] is the one that all
//! threads look at. Rotating keys means to install a new one everywhere, then to use it
//! everywhere, then to remove the old one. How that is agreed upon is not decided here, nor where
//! keys are kept.

use super::seal::{Key, KeyError};
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

/// The most keys on a ring. A rotation needs two; more only make each packet of another cluster
/// dearer, as all of them are tried on it.
pub const MAX_KEYS: usize = 16;

/// Keys; the first is the primary. Never empty. Cloning is cheap and copies no key.
#[derive(Clone, PartialEq, Eq)]
pub struct Keyring {
    primary: Arc<Key>,
    others: Vec<Arc<Key>>,
}

/// Why a keyring cannot be what is asked for. It stays as it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyringError {
    /// A keyring without keys.
    Empty,
    /// A key cannot be read.
    Key(KeyError),
    /// The key to use is not there.
    Unknown,
    /// What seals cannot go.
    Primary,
    /// [`MAX_KEYS`] are there already.
    Full,
}

impl fmt::Display for KeyringError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            KeyringError::Empty => write!(f, "no keys"),
            KeyringError::Key(e) => write!(f, "{e}"),
            KeyringError::Unknown => write!(f, "requested key is not in the keyring"),
            KeyringError::Primary => write!(f, "removing the primary key is not allowed"),
            KeyringError::Full => write!(f, "the keyring is full: at most {MAX_KEYS} keys"),
        }
    }
}

impl std::error::Error for KeyringError {}

impl Keyring {
    /// A ring with a single key.
    pub fn new(primary: Key) -> Keyring {
        Keyring { primary: Arc::new(primary), others: Vec::new() }
    }

    /// A ring of these keys in their order; those that come twice are left out.
    pub fn from_keys(keys: impl IntoIterator<Item = Key>) -> Result<Keyring, KeyringError> {
        let mut keys = keys.into_iter();
        let mut ring = Keyring::new(keys.next().ok_or(KeyringError::Empty)?);
        keys.try_for_each(|key| ring.add(key))?;
        Ok(ring)
    }

    /// Makes a key available for opening. One that is there already stays where it is.
    pub fn add(&mut self, key: Key) -> Result<(), KeyringError> {
        if self.keys().any(|k| *k == key) {
            return Ok(());
        }
        if self.len() >= MAX_KEYS {
            return Err(KeyringError::Full);
        }
        self.others.push(Arc::new(key));
        Ok(())
    }

    /// Makes a key of the ring the primary one.
    pub fn make_primary(&mut self, key: &Key) -> Result<(), KeyringError> {
        if *self.primary == *key {
            return Ok(());
        }
        let at = self.others.iter().position(|k| **k == *key).ok_or(KeyringError::Unknown)?;
        let new = self.others.remove(at);
        let old = std::mem::replace(&mut self.primary, new);
        self.others.insert(0, old);
        Ok(())
    }

    /// Takes a key off the ring. One that is not there is fine; the primary one is not.
    pub fn remove(&mut self, key: &Key) -> Result<(), KeyringError> {
        if *self.primary == *key {
            return Err(KeyringError::Primary);
        }
        self.others.retain(|k| **k != *key);
        Ok(())
    }

    /// The key that seals.
    pub fn primary(&self) -> &Key {
        &self.primary
    }

    /// All keys, in the order in which they are tried.
    pub fn keys(&self) -> impl Iterator<Item = &Key> {
        std::iter::once(&*self.primary).chain(self.others.iter().map(|key| &**key))
    }

    /// How many keys there are; at least one.
    #[allow(clippy::len_without_is_empty, reason = "it never is")]
    pub fn len(&self) -> usize {
        1 + self.others.len()
    }
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keyring({} keys)", self.len())
    }
}

/// The keyring that all threads look at. A lock is held only to take a copy or to put one there.
#[derive(Clone, Debug)]
pub struct SharedKeyring(Arc<RwLock<Arc<Keyring>>>);

impl SharedKeyring {
    /// Shares a keyring.
    pub fn new(ring: Keyring) -> SharedKeyring {
        SharedKeyring(Arc::new(RwLock::new(Arc::new(ring))))
    }

    /// The keyring as it is now.
    pub fn now(&self) -> Arc<Keyring> {
        // A keyring is replaced as a whole, so a panic elsewhere leaves it usable.
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Puts another in its place, for everything that is sealed or opened from now on.
    pub fn replace(&self, ring: Keyring) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(ring);
    }
}

#[cfg(test)]
mod tests {
    use super::super::seal::tests::key;
    use super::*;

    fn ring() -> Keyring {
        Keyring::from_keys([key(16, 1), key(24, 2), key(32, 3)]).unwrap()
    }

    fn is(ring: &Keyring, keys: &[Key]) -> bool {
        ring.keys().eq(keys)
    }

    #[test]
    fn the_first_key_is_primary() {
        let ring = ring();
        assert_eq!(*ring.primary(), key(16, 1));
        assert!(is(&ring, &[key(16, 1), key(24, 2), key(32, 3)]));
        assert_eq!(Keyring::from_keys([]), Err(KeyringError::Empty));
        assert!(is(&Keyring::from_keys([key(16, 1), key(16, 1)]).unwrap(), &[key(16, 1)]));
    }

    #[test]
    fn adding_twice_changes_nothing() {
        let mut ring = ring();
        ring.add(key(24, 2)).unwrap();
        ring.add(key(16, 9)).unwrap();
        assert!(is(&ring, &[key(16, 1), key(24, 2), key(32, 3), key(16, 9)]));
    }

    #[test]
    fn only_a_key_of_the_ring_becomes_primary() {
        let mut ring = ring();
        ring.make_primary(&key(32, 3)).unwrap();
        assert!(is(&ring, &[key(32, 3), key(16, 1), key(24, 2)]));
        assert_eq!(ring.make_primary(&key(32, 4)), Err(KeyringError::Unknown));
        assert_eq!(*ring.primary(), key(32, 3));
    }

    #[test]
    fn the_primary_key_stays() {
        let mut ring = ring();
        assert_eq!(ring.remove(&key(16, 1)), Err(KeyringError::Primary));
        ring.remove(&key(24, 2)).unwrap();
        ring.remove(&key(24, 2)).unwrap();
        assert!(is(&ring, &[key(16, 1), key(32, 3)]));
    }

    #[test]
    fn a_ring_is_bounded() {
        let mut ring = ring();
        for seed in 100.. {
            match ring.add(key(16, seed)) {
                Ok(()) => assert!(ring.len() <= MAX_KEYS),
                Err(why) => {
                    assert_eq!((why, ring.len()), (KeyringError::Full, MAX_KEYS));
                    break;
                }
            }
        }
        assert_eq!(KeyringError::Full.to_string(), "the keyring is full: at most 16 keys");
    }

    #[test]
    fn nothing_shows_a_key() {
        let shown = format!("{:?} {:?}", ring(), SharedKeyring::new(ring()));
        assert!(shown.starts_with("Keyring(3 keys) "), "{shown}");
        for key in ring().keys() {
            assert!(!shown.contains(&**key.to_base64()));
        }
    }

    #[test]
    fn everyone_sees_the_new_ring() {
        let mine = SharedKeyring::new(ring());
        let theirs = mine.clone();
        let old = theirs.now();
        mine.replace(Keyring::new(key(16, 77)));
        assert!(is(&theirs.now(), &[key(16, 77)]));
        assert!(is(&old, &[key(16, 1), key(24, 2), key(32, 3)]), "a reader at work keeps what it has");
    }
}
