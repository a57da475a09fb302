//! The snapshot file itself: opened with suspicion, appended to, replaced as a whole.
//!
//! Lines are written at once and not synced: they survive the end of this process, however it
//! ends, and after a power failure those of the last seconds may be missing. Syncing each would
//! wear out the flash of a small host. A whole file, a leave and the last lines are synced.

use super::lock;
use crate::agent::durable;
use crate::node::snapshot::{Reading, Recalled};
use crate::telemetry::counters;
use std::fmt;
use std::fs::{self, File, FileType, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// How much is read at once.
const CHUNK: usize = 64 * 1024;
/// What others may do with the file: nothing. It shows names and addresses.
const OTHERS: u32 = 0o077;

/// Why a snapshot cannot be used. The agent does not start then: an operator who asked for a
/// snapshot must not find out after a crash that there is none.
#[derive(Debug)]
pub(crate) enum SnapshotError {
    /// Something that is no regular file has this path.
    NotAFile(PathBuf, &'static str),
    /// Another agent uses it, which says this of itself.
    InUse(PathBuf, String),
    /// It cannot be opened, created or looked at.
    Open(PathBuf, io::Error),
    /// It cannot be read.
    Read(PathBuf, io::Error),
}

impl fmt::Display for SnapshotError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Failed to setup snapshot: ")?;
        match self {
            SnapshotError::NotAFile(path, what) => {
                write!(f, "{} is {what}; expected a regular file", path.display())
            }
            SnapshotError::InUse(path, holder) if holder.is_empty() => {
                write!(f, "{} is in use by another agent", path.display())
            }
            SnapshotError::InUse(path, holder) => {
                write!(f, "{} is in use by the agent {holder}", path.display())
            }
            SnapshotError::Open(path, why) => write!(f, "failed to open {}: {why}", path.display()),
            SnapshotError::Read(path, why) => write!(f, "failed to read {}: {why}", path.display()),
        }
    }
}

impl std::error::Error for SnapshotError {}

/// The file, open for appending.
#[derive(Debug)]
pub(super) struct SnapshotFile {
    path: PathBuf,
    /// None after an error: what was appended last may be torn, so that nothing can follow.
    file: Option<File>,
    size: u64,
    whole: u64,
    /// Held while this exists; none where there is no way to lock.
    _lock: Option<File>,
}

impl SnapshotFile {
    /// Opens the file, or makes an empty one, for the agent `owner` alone, and reads what it says.
    ///
    /// A disk without room for a new file is no reason not to start: it may have some later.
    pub(crate) fn open(
        path: &Path,
        rejoin: bool,
        owner: &str,
    ) -> Result<(SnapshotFile, Recalled), SnapshotError> {
        let failed = |why| SnapshotError::Open(path.to_path_buf(), why);
        // The path itself, not what a link at it points to.
        if let Ok(found) = fs::symlink_metadata(path)
            && let Some(what) = not_a_file(found.file_type())
        {
            return Err(SnapshotError::NotAFile(path.to_path_buf(), what));
        }
        // Before anything of the file is looked at: its holder may be about to replace it.
        let lock =
            lock::take(path, owner).map_err(|held| SnapshotError::InUse(path.to_path_buf(), held.0))?;
        let mut snapshot =
            SnapshotFile { path: path.to_path_buf(), file: None, size: 0, whole: 0, _lock: lock };
        match fs::symlink_metadata(path) {
            Ok(_) => {
                snapshot.file = Some(open(path).map_err(failed)?);
                snapshot.narrow();
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound => match durable::create(path) {
                // Opened anew, to be read as well.
                Ok(_) => snapshot.file = Some(open(path).map_err(failed)?),
                Err(e) if is_full(&e) => {
                    log::error!(target: "serf", "Failed to create the snapshot {}: {e}", path.display());
                }
                Err(e) => return Err(failed(e)),
            },
            Err(e) => return Err(failed(e)),
        }
        let recalled = snapshot.read(rejoin)?;
        Ok((snapshot, recalled))
    }

    /// Takes from others what they may do with a file that this agent has not made.
    fn narrow(&self) {
        let Some(file) = &self.file else { return };
        let narrowed = file.metadata().and_then(|found| {
            let mode = found.permissions().mode() & 0o7777;
            if mode & OTHERS == 0 {
                return Ok(None);
            }
            file.set_permissions(Permissions::from_mode(mode & !OTHERS)).map(|()| Some(mode))
        });
        match narrowed {
            Ok(None) => {}
            Ok(Some(mode)) => {
                log::info!(target: "serf", "Permissions of the snapshot {} narrowed from {mode:04o} to {:04o}", self.path.display(), mode & !OTHERS);
            }
            Err(e) => {
                log::warn!(target: "serf", "Others may use the snapshot {}: its permissions cannot be narrowed: {e}", self.path.display());
            }
        }
    }

    fn read(&mut self, rejoin: bool) -> Result<Recalled, SnapshotError> {
        let mut reading = Reading::new(rejoin);
        let mut read = 0;
        if let Some(file) = &mut self.file {
            let mut chunk = vec![0; CHUNK];
            loop {
                match file.read(&mut chunk) {
                    Ok(0) => break,
                    Ok(n) => {
                        reading.push(&chunk[..n]);
                        read += n as u64;
                    }
                    Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                    Err(e) => return Err(SnapshotError::Read(self.path.clone(), e)),
                }
            }
        }
        let recalled = reading.finish();
        self.size = recalled.length;
        if recalled.length < read
            && let Some(file) = &self.file
            && let Err(e) = file.set_len(recalled.length)
        {
            log::warn!(target: "serf", "Failed to cut a torn line off the snapshot {}: {e}", self.path.display());
            self.file = None;
        }
        if recalled.skipped > 0 {
            counters::SNAPSHOT_LINES_SKIPPED.add(recalled.skipped);
            log::warn!(target: "serf", "Skipped {} torn or unknown lines of the snapshot {}", recalled.skipped, self.path.display());
        }
        Ok(recalled)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether lines can be appended.
    pub(crate) fn is_open(&self) -> bool {
        self.file.is_some()
    }

    /// Bytes it has now, and right after it was last replaced.
    pub(crate) fn sizes(&self) -> (u64, u64) {
        (self.size, self.whole)
    }

    /// Appends whole lines. After an error nothing can be appended until the file was replaced.
    pub(crate) fn append(&mut self, lines: &[u8]) -> io::Result<()> {
        let Some(file) = &mut self.file else { return Err(io::Error::from(io::ErrorKind::BrokenPipe)) };
        let appended = file.write_all(lines);
        match appended {
            Ok(()) => self.size += lines.len() as u64,
            Err(_) => self.file = None,
        }
        appended
    }

    /// Replaces the file as a whole. If that fails, a file that was good for appending still is.
    pub(crate) fn replace(&mut self, content: &[u8]) -> io::Result<()> {
        match durable::renew(&self.path, content) {
            Ok(file) => {
                self.file = Some(file);
                self.size = content.len() as u64;
                self.whole = self.size;
                Ok(())
            }
            Err(e) => {
                // Either file may have the name now; both are complete.
                if self.file.take().is_some() {
                    self.file = open(&self.path).ok();
                }
                Err(e)
            }
        }
    }

    /// Empties the file, for which there is always room.
    pub(crate) fn forget(&mut self) -> io::Result<()> {
        let file = open(&self.path)?;
        file.set_len(0)?;
        file.sync_all()?;
        (self.file, self.size, self.whole) = (Some(file), 0, 0);
        Ok(())
    }

    /// Makes sure that even a power failure takes nothing back.
    pub(crate) fn sync(&self) -> io::Result<()> {
        self.file.as_ref().map_or(Ok(()), File::sync_all)
    }
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).append(true).open(path)
}

fn not_a_file(found: FileType) -> Option<&'static str> {
    match found {
        t if t.is_file() => None,
        t if t.is_symlink() => Some("a symbolic link"),
        t if t.is_dir() => Some("a directory"),
        t if t.is_fifo() => Some("a named pipe"),
        t if t.is_socket() => Some("a socket"),
        _ => Some("a device"),
    }
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}
