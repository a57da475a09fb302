//! Where the keys of an agent come from: a setting, a file with one key, the environment, or a file
//! that keeps a whole keyring. The last of these changes at run time, so `agent/` reads and writes
//! it; the others are read here.
#![allow(clippy::disallowed_methods)] // Reads the file that `encrypt_key_file` names.

use super::error::{ConfigError, KeyFileError, Problem};
use super::raw::RawConfig;
use super::value::ValueSource;
use crate::wire::keyring::Keyring;
use crate::wire::seal::Key;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// The variable with a key. As with the file, the key does not show in the process list.
const KEY_VARIABLE: &str = "SERF_ENCRYPT_KEY";
/// Largest file with a key, in bytes. A key has 44 at most.
const MAX_KEY_FILE_LEN: u64 = 4096;
/// Permission of everyone to read a file.
const READABLE_BY_ALL: u32 = 0o004;

/// What an agent encrypts with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeySource {
    /// Nothing: no encryption.
    None,
    /// This key alone. Others that are installed at run time are forgotten when the agent ends.
    Key(Keyring),
    /// The keys in this file, which is written when they change.
    File(PathBuf),
}

/// The key in the environment, if there is one.
pub(super) fn key_variable() -> Option<String> {
    std::env::var(KEY_VARIABLE).ok()
}

/// Finds out where the key is. `environment` is the value of [`KEY_VARIABLE`]; it counts if nothing
/// else names a key.
pub(super) fn key_source(
    raw: &RawConfig,
    environment: Option<&str>,
    warnings: &mut Vec<String>,
) -> Result<KeySource, ConfigError> {
    let text = |key| raw.text(key).map(|text| (text, raw.source(key)));
    let (given, file, ring) = (text("encrypt_key"), text("encrypt_key_file"), text("keyring_file"));
    let environment = environment.filter(|text| !text.is_empty());
    match (given, file, ring) {
        (Some(_), _, Some((_, source))) | (None, Some(_), Some((_, source))) => {
            Err(Problem::KeyBesideKeyring.at(source))
        }
        (None, None, Some((_, source))) if environment.is_some() => Err(Problem::KeyBesideKeyring.at(source)),
        (None, None, Some((path, _))) => Ok(KeySource::File(path.as_os_str().into())),
        (Some(_), Some((_, source)), None) => Err(Problem::TwoKeys.at(source)),
        (Some((text, source)), None, None) => key(&text.to_lossy(), source),
        (None, Some((path, source)), None) => {
            let text = key_file(Path::new(path.as_os_str()), warnings)
                .map_err(|why| Problem::KeyFile { path: path.as_os_str().into(), why }.at(source.clone()))?;
            key(text.trim(), source)
        }
        (None, None, None) => {
            environment.map_or(Ok(KeySource::None), |text| key(text.trim(), ValueSource::Default))
        }
    }
}

fn key(text: &str, source: ValueSource) -> Result<KeySource, ConfigError> {
    let key = Key::from_base64(text).map_err(|e| Problem::Key(e).at(source))?;
    Ok(KeySource::Key(Keyring::new(key)))
}

fn key_file(path: &Path, warnings: &mut Vec<String>) -> Result<Zeroizing<String>, KeyFileError> {
    let reason = |e: io::Error| KeyFileError::Unreadable(e.to_string());
    let about = std::fs::metadata(path).map_err(reason)?;
    if !about.is_file() {
        // Reading a pipe or a device could take for ever.
        return Err(KeyFileError::NotAFile);
    }
    if about.len() > MAX_KEY_FILE_LEN {
        return Err(KeyFileError::TooLong { most: MAX_KEY_FILE_LEN });
    }
    if about.permissions().mode() & READABLE_BY_ALL != 0 {
        warnings.push(format!(
            "Warning: everyone on this host can read the key in '{0}'; 'chmod 600 {0}' prevents that",
            path.display()
        ));
    }
    // Room for everything at once: growing would leave copies behind.
    let mut text = Zeroizing::new(String::with_capacity(MAX_KEY_FILE_LEN as usize + 1));
    File::open(path)
        .and_then(|file| file.take(MAX_KEY_FILE_LEN).read_to_string(&mut text))
        .map_err(reason)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::value::Value;
    use std::fs;

    const KEY: &str = "enjTwAFRe4IE71bOFhirzQ==";
    const OTHER: &str = "HvY8ubRZMgafUOWvrOadwckVa1wN3QWAo46FVKbVN8o=";

    fn source(
        settings: &[(&'static str, &str)],
        environment: Option<&str>,
    ) -> Result<(KeySource, Vec<String>), String> {
        let (mut raw, mut warnings) = (RawConfig::default(), Vec::new());
        for (key, text) in settings {
            raw.push(key, Value::Text((*text).into()), ValueSource::Flag(key));
        }
        let found = key_source(&raw, environment, &mut warnings);
        found.map(|source| (source, warnings)).map_err(|e| e.to_string())
    }

    fn ring(text: &str) -> KeySource {
        KeySource::Key(Keyring::new(Key::from_base64(text).unwrap()))
    }

    /// A file of this test's own, removed when the test is over.
    struct KeyFile(PathBuf);

    impl KeyFile {
        fn new(name: &str, text: &str, mode: u32) -> KeyFile {
            let path = std::env::temp_dir().join(format!("serf-{name}-{}", std::process::id()));
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            KeyFile(path)
        }

        fn path(&self) -> &str {
            self.0.to_str().unwrap()
        }
    }

    impl Drop for KeyFile {
        fn drop(&mut self) {
            let _ = fs::remove_file(&self.0);
        }
    }

    #[test]
    fn every_place_for_a_key() {
        let file = KeyFile::new("key", &format!("{OTHER}\n"), 0o600);
        assert_eq!(source(&[], None), Ok((KeySource::None, vec![])));
        assert_eq!(source(&[], Some("")), Ok((KeySource::None, vec![])));
        assert_eq!(source(&[("encrypt_key", KEY)], None), Ok((ring(KEY), vec![])));
        assert_eq!(source(&[], Some(KEY)), Ok((ring(KEY), vec![])));
        assert_eq!(source(&[("encrypt_key_file", file.path())], None), Ok((ring(OTHER), vec![])));
        let keyring = source(&[("keyring_file", "/k")], None);
        assert_eq!(keyring, Ok((KeySource::File("/k".into()), vec![])), "read when the agent starts");
        // A key may end in a line end wherever it is.
        let ended = format!("{KEY}\r\n");
        assert_eq!(source(&[("encrypt_key", &ended)], None), Ok((ring(KEY), vec![])));
        assert_eq!(source(&[], Some(&ended)), Ok((ring(KEY), vec![])));
        // The environment counts least.
        assert_eq!(source(&[("encrypt_key", KEY)], Some(OTHER)), Ok((ring(KEY), vec![])));
        assert_eq!(source(&[("encrypt_key_file", file.path())], Some(KEY)), Ok((ring(OTHER), vec![])));
    }

    #[test]
    fn a_file_that_everyone_can_read_is_complained_about() {
        let file = KeyFile::new("open-key", KEY, 0o644);
        let (found, warnings) = source(&[("encrypt_key_file", file.path())], None).unwrap();
        assert_eq!(found, ring(KEY));
        assert!(
            warnings[0].starts_with("Warning: everyone on this host can read the key in"),
            "{warnings:?}"
        );
    }

    #[test]
    fn one_key_from_one_place() {
        let beside = Err("Encryption key not allowed while using a keyring".to_string());
        assert_eq!(source(&[("encrypt_key", KEY), ("keyring_file", "/k")], None), beside);
        assert_eq!(source(&[("encrypt_key_file", "/f"), ("keyring_file", "/k")], None), beside);
        assert_eq!(source(&[("keyring_file", "/k")], Some(KEY)), beside);
        let two = source(&[("encrypt_key", KEY), ("encrypt_key_file", "/f")], None);
        assert_eq!(two, Err("Only one of encrypt_key and encrypt_key_file is allowed".to_string()));
    }

    #[test]
    fn bad_keys_are_refused_without_quoting_them() {
        let size = "Invalid encryption key: key size must be 16, 24 or 32 bytes";
        let base64 = "Invalid encryption key: it is not base64 (see 'serf keygen')";
        for (text, why) in [("aHVzaA==", size), ("hush!", base64), ("enjTwAFRe4IE71bOFhirzQ", base64)] {
            assert_eq!(source(&[("encrypt_key", text)], None), Err(why.to_string()));
            assert_eq!(source(&[], Some(text)), Err(why.to_string()));
            let file = KeyFile::new("bad-key", text, 0o600);
            assert_eq!(source(&[("encrypt_key_file", file.path())], None), Err(why.to_string()));
        }
        let long = KeyFile::new("long-key", &"x".repeat(5000), 0o600);
        assert!(source(&[("encrypt_key_file", long.path())], None).unwrap_err().contains("too long"));
        assert!(source(&[("encrypt_key_file", "/dev/zero")], None).unwrap_err().contains("not a file"));
        assert!(source(&[("encrypt_key_file", "/no/such")], None).unwrap_err().contains("No such file"));
    }
}
