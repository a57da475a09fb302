//! The agent's keyring and the file that keeps it: a JSON list of keys in base64, the primary one
//! first, as Serf writes it.

use crate::agent::durable;
use crate::config::KeySource;
use crate::messaging::keys::NOTHING_TO_MODIFY;
use crate::wire::keyring::{Keyring, KeyringError, SharedKeyring};
use crate::wire::seal::{Key, KeyError};
use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// Largest keyring file, in bytes: far more than a full keyring takes.
const MAX_FILE_LEN: u64 = 64 * 1024;
/// Permissions that a keyring file should not have.
const OTHERS: u32 = 0o077;

/// The keyring of this agent, and its file if it has one. A handle: clones are the same keyring.
#[derive(Clone, Debug)]
pub(crate) struct Keys {
    ring: SharedKeyring,
    file: Option<PathBuf>,
}

/// Why keys cannot be loaded or changed. The keyring stays as it was.
#[derive(Debug)]
pub enum KeysError {
    /// The file cannot be read.
    Unreadable(PathBuf, io::Error),
    /// The file is no list of texts.
    NotAList,
    /// The file has an empty list.
    NoKeys,
    /// One of them is no key.
    Key(KeyError),
    /// There is no keyring: gossip is not encrypted.
    NoKeyring,
    /// The keyring refuses.
    Ring(KeyringError),
    /// The file cannot be written.
    Unwritable(io::Error),
}

impl fmt::Display for KeysError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            KeysError::Unreadable(path, e) => {
                write!(f, "Failed to read keyring file: {}: {e}", path.display())
            }
            // Not what the parser says: it would quote the file.
            KeysError::NotAList => {
                write!(f, "Failed to decode keyring file: it is not a JSON list of keys in base64")
            }
            KeysError::NoKeys => write!(f, "Keyring file contains no keys"),
            KeysError::Key(KeyError::Base64) => {
                write!(f, "Failed to decode key from keyring: {}", KeyError::Base64)
            }
            KeysError::Key(e) => write!(f, "Failed to restore keyring: {e}"),
            KeysError::NoKeyring => f.write_str(NOTHING_TO_MODIFY),
            KeysError::Ring(e) => write!(f, "{e}"),
            KeysError::Unwritable(e) => write!(f, "Failed to write keyring file: {e}"),
        }
    }
}

impl std::error::Error for KeysError {}

impl Keys {
    /// The keys that were configured; none without encryption.
    pub(crate) fn load(source: &KeySource) -> Result<Option<Keys>, KeysError> {
        match source {
            KeySource::None => Ok(None),
            KeySource::Key(ring) => Ok(Some(Keys { ring: SharedKeyring::new(ring.clone()), file: None })),
            KeySource::File(path) => {
                let ring = read(path)?;
                log::info!(target: "agent", "Restored keyring with {} keys from {}", ring.len(), path.display());
                Ok(Some(Keys { ring: SharedKeyring::new(ring), file: Some(path.clone()) }))
            }
        }
    }

    /// The keyring that packets are sealed and opened with.
    pub(crate) fn ring(&self) -> &SharedKeyring {
        &self.ring
    }

    /// Changes the keyring, in its file first: what is in force survives a crash. Only one thread
    /// may do this. Writes to disk.
    pub(crate) fn change(
        &self,
        change: impl FnOnce(&mut Keyring) -> Result<(), KeyringError>,
    ) -> Result<(), KeysError> {
        let before = self.ring.now();
        let mut ring = Keyring::clone(&before);
        change(&mut ring).map_err(KeysError::Ring)?;
        if let Some(path) = self.file.as_deref().filter(|_| ring != *before) {
            durable::replace(path, write(&ring).as_bytes()).map_err(KeysError::Unwritable)?;
        }
        self.ring.replace(ring);
        Ok(())
    }
}

fn read(path: &Path) -> Result<Keyring, KeysError> {
    let unreadable = |e| KeysError::Unreadable(path.to_path_buf(), e);
    let about = fs::metadata(path).map_err(unreadable)?;
    if !about.is_file() {
        // Reading a pipe or a device could take for ever.
        return Err(unreadable(io::Error::other("it is not a file")));
    }
    if about.len() > MAX_FILE_LEN {
        return Err(unreadable(io::Error::other(format!("it has more than {MAX_FILE_LEN} bytes"))));
    }
    if about.permissions().mode() & OTHERS != 0 {
        log::warn!(
            target: "agent",
            "Others than its owner may use keyring file {0}; 'chmod 600 {0}' prevents that", path.display()
        );
    }
    // Room for everything at once: growing would leave copies behind.
    let mut text = Zeroizing::new(Vec::with_capacity(MAX_FILE_LEN as usize + 1));
    File::open(path).and_then(|file| file.take(MAX_FILE_LEN).read_to_end(&mut text)).map_err(unreadable)?;
    parse(&text)
}

/// Reads the list as Serf writes it.
pub fn parse(text: &[u8]) -> Result<Keyring, KeysError> {
    let texts: Vec<Zeroizing<String>> = serde_json::from_slice::<Vec<String>>(text)
        .map_err(|_| KeysError::NotAList)?
        .into_iter()
        .map(Zeroizing::new)
        .collect();
    let keys = texts.iter().map(|text| Key::from_base64(text)).collect::<Result<Vec<_>, _>>();
    Keyring::from_keys(keys.map_err(KeysError::Key)?).map_err(|e| match e {
        KeyringError::Empty => KeysError::NoKeys,
        e => KeysError::Ring(e),
    })
}

/// The list as Serf writes it.
fn write(ring: &Keyring) -> Zeroizing<String> {
    let keys: Vec<_> = ring.keys().map(Key::to_base64).collect();
    let lines: Vec<_> = keys.iter().map(|key| format!("  \"{}\"", **key)).collect();
    let text = Zeroizing::new(format!("[\n{}\n]", lines.join(",\n")));
    lines.into_iter().for_each(|line| drop(Zeroizing::new(line)));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: &str = "enjTwAFRe4IE71bOFhirzQ==";
    const NEW: &str = "HvY8ubRZMgafUOWvrOadwckVa1wN3QWAo46FVKbVN8o=";

    struct Scratch(PathBuf);

    impl Scratch {
        fn new(name: &str, text: &str) -> Scratch {
            let directory = std::env::temp_dir().join(format!("serf-{name}-{}", std::process::id()));
            fs::create_dir_all(&directory).unwrap();
            fs::write(directory.join("keyring"), text).unwrap();
            Scratch(directory)
        }

        fn file(&self) -> PathBuf {
            self.0.join("keyring")
        }

        fn load(&self) -> Result<Keys, String> {
            match Keys::load(&KeySource::File(self.file())) {
                Ok(keys) => Ok(keys.unwrap()),
                Err(e) => Err(e.to_string()),
            }
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn key(text: &str) -> Key {
        Key::from_base64(text).unwrap()
    }

    #[test]
    fn a_change_survives() {
        let scratch = Scratch::new("keys", &format!("[\"{OLD}\"]"));
        let keys = scratch.load().unwrap();
        keys.change(|ring| ring.add(key(NEW))).unwrap();
        keys.change(|ring| ring.make_primary(&key(NEW))).unwrap();
        // Byte for byte what Serf writes.
        let file = fs::read_to_string(scratch.file()).unwrap();
        assert_eq!(file, format!("[\n  \"{NEW}\",\n  \"{OLD}\"\n]"));
        assert_eq!(fs::metadata(scratch.file()).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(*scratch.load().unwrap().ring().now(), *keys.ring().now());

        let refused = keys.change(|ring| ring.remove(&key(NEW))).unwrap_err();
        assert_eq!(refused.to_string(), "removing the primary key is not allowed");
        assert_eq!(fs::read_to_string(scratch.file()).unwrap(), file);
    }

    #[test]
    fn a_line_end_is_no_part_of_a_key() {
        let scratch = Scratch::new("keys-ended", &format!("[\"{OLD}\\n\"]"));
        assert_eq!(*scratch.load().unwrap().ring().now().primary(), key(OLD));
    }

    #[test]
    fn what_cannot_be_written_is_not_in_force() {
        let scratch = Scratch::new("keys-gone", &format!("[\"{OLD}\"]"));
        let keys = scratch.load().unwrap();
        fs::remove_dir_all(&scratch.0).unwrap();
        assert!(matches!(keys.change(|ring| ring.add(key(NEW))), Err(KeysError::Unwritable(_))));
        assert_eq!(keys.ring().now().len(), 1);
    }

    #[test]
    fn bad_files_are_refused_without_quoting_them() {
        for (text, why) in [
            ("[]", "Keyring file contains no keys"),
            ("", "Failed to decode keyring file: it is not a JSON list of keys in base64"),
            ("[\"hush", "Failed to decode keyring file: it is not a JSON list of keys in base64"),
            ("{\"hush\": 1}", "Failed to decode keyring file: it is not a JSON list of keys in base64"),
            ("[\"hush!\"]", "Failed to decode key from keyring: it is not base64 (see 'serf keygen')"),
            ("[\"aHVzaA==\"]", "Failed to restore keyring: key size must be 16, 24 or 32 bytes"),
        ] {
            assert_eq!(Scratch::new("keys-bad", text).load().map(drop), Err(why.to_string()));
        }
        let missing = Keys::load(&KeySource::File("/no/such/file".into())).unwrap_err().to_string();
        assert!(missing.starts_with("Failed to read keyring file: /no/such/file: No such file"), "{missing}");
        assert!(Keys::load(&KeySource::File("/dev/zero".into())).is_err());
    }
}
