//! Files that survive a crash: replaced as a whole or not at all, and readable by their owner only.
//!
//! A symbolic link stays one: what it leads to is replaced. A file that cannot be replaced, because it is a mount
//! of its own or nothing may be put beside it, is overwritten: a crash in that moment may leave half of it.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Permissions of what is written here: tags, keys and addresses are nobody else's business.
pub(super) const MODE: u32 = 0o600;

/// As many links as the kernel follows; more go in a circle.
const MAX_LINKS: u32 = 40;

/// Replaces the file at `path`: a reader, even after a power failure, finds all of the old
/// content or all of the new one. On an error the old file is still there.
pub(super) fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    renew(path, content).map(drop)
}

/// Replaces the file at `path` as [`replace`] does, and gives back the new one for appending.
pub(super) fn renew(path: &Path, content: &[u8]) -> io::Result<File> {
    let path = resolved(path);
    exchange(&path, content).or_else(|why| match why.kind() {
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::ResourceBusy => {
            overwrite(&path, content).map_err(|_| why)
        }
        _ => Err(why),
    })
}

/// Puts another file in the place of the one at `path`.
fn exchange(path: &Path, content: &[u8]) -> io::Result<File> {
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

/// Writes into the file that is there. After an error it has its old content again.
fn overwrite(path: &Path, content: &[u8]) -> io::Result<File> {
    fn fill(mut file: &File, content: &[u8]) -> io::Result<()> {
        file.set_len(0)?;
        file.write_all(content)?;
        file.sync_all()
    }
    let before = fs::read(path)?;
    let file = OpenOptions::new().append(true).open(path)?;
    if let Err(why) = fill(&file, content) {
        // There was room for it a moment ago.
        let _ = fill(&file, &before);
        return Err(why);
    }
    Ok(file)
}

/// The path of the file itself where `path` is a link to it, whether it exists or not. A circle of links stays
/// a link.
pub(super) fn resolved(path: &Path) -> PathBuf {
    let mut path = path.to_path_buf();
    for _ in 0..MAX_LINKS {
        match fs::read_link(&path) {
            // Relative to where the link is.
            Ok(target) => path = path.parent().unwrap_or(Path::new("")).join(target),
            Err(_) => break,
        }
    }
    path
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
    fn what_a_link_leads_to_is_replaced() {
        let scratch = Scratch::new("linked");
        let path = |name: &str| scratch.0.join(name);
        fs::create_dir(path("data")).unwrap();
        std::os::unix::fs::symlink("second", path("first")).unwrap();
        std::os::unix::fs::symlink("data/file", path("second")).unwrap();
        for content in [b"one", b"two"] {
            replace(&path("first"), content).unwrap();
            assert_eq!(fs::read(path("data/file")).unwrap(), content);
        }
        assert!(path("first").is_symlink() && path("second").is_symlink());
        std::os::unix::fs::symlink("circle", path("circle")).unwrap();
        assert!(resolved(&path("circle")).is_symlink());
        // As root nothing that may be put beside a file can be refused.
        fs::write(path("file"), b"a longer one").unwrap();
        overwrite(&path("file"), b"short").unwrap().write_all(b"er").unwrap();
        assert_eq!(fs::read(path("file")).unwrap(), b"shorter");
        assert!(overwrite(&path("none"), b"x").is_err() && !path("none").exists());
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
