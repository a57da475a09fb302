//! Files that survive a crash: replaced as a whole or not at all, and readable by their owner only.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Permissions of what is written here: tags, keys and addresses are nobody else's business.
pub(super) const MODE: u32 = 0o600;

/// Replaces the file at `path`: a reader, even after a power failure, finds all of the old
/// content or all of the new one. On an error the old file is still there.
pub(super) fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    renew(path, content).map(drop)
}

/// Replaces the file at `path` as [`replace`] does, and gives back the new one for appending.
pub(super) fn renew(path: &Path, content: &[u8]) -> io::Result<File> {
    let temporary = beside(path, ".new");
    // What a crash left behind may have other permissions.
    match fs::remove_file(&temporary) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    let written = create(&temporary).and_then(|mut file| {
        file.write_all(content)?;
        file.sync_all()?;
        Ok(file)
    });
    let moved = written.and_then(|file| move_into_place(&temporary, path).map(|()| file));
    if moved.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    moved
}

/// Opens a file that must not exist yet for appending.
pub(super) fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create_new(true).mode(MODE).open(path)
}

/// Gives a complete, synced file its name, and makes sure that the name lasts.
pub(super) fn move_into_place(temporary: &Path, path: &Path) -> io::Result<()> {
    fs::rename(temporary, path)?;
    let directory = match path.parent() {
        Some(directory) if !directory.as_os_str().is_empty() => directory,
        _ => Path::new("."),
    };
    File::open(directory)?.sync_all()
}

/// The path with something after the file's name, in the same directory.
pub(super) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    PathBuf::from(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    /// A directory of this test's own, removed when the test is over.
    struct Scratch(PathBuf);

    impl Scratch {
        fn new(name: &str) -> Scratch {
            let path = std::env::temp_dir().join(format!("serf-{name}-{}", std::process::id()));
            fs::create_dir_all(&path).unwrap();
            Scratch(path)
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn a_file_is_replaced_as_a_whole() {
        let scratch = Scratch::new("durable");
        let path = scratch.0.join("tags");
        replace(&path, b"one").unwrap();
        // A crash in the middle left this.
        fs::write(beside(&path, ".new"), b"half").unwrap();
        replace(&path, b"two").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, MODE);
        assert_eq!(fs::read_dir(&scratch.0).unwrap().count(), 1);
    }

    #[test]
    fn a_failure_leaves_the_old_file() {
        let scratch = Scratch::new("undurable");
        let path = scratch.0.join("taken");
        fs::create_dir(&path).unwrap();
        fs::write(path.join("inside"), b"x").unwrap();
        assert!(replace(&path, b"new").is_err());
        assert!(path.join("inside").exists() && !beside(&path, ".new").exists());
        assert!(replace(&scratch.0.join("no/such/directory"), b"new").is_err());
    }
}
