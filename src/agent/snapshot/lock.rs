//! The lock of a snapshot: two agents that keep one file would take each other's lines for their own, and the
//! first to leave would empty it.
//!
//! It is an advisory lock on a small file beside the snapshot, which says who holds it. The kernel gives the
//! lock back when the process ends, however it ends. The file stays, and means nothing without a lock. The
//! snapshot itself could not carry the lock for long: it is replaced as a whole now and then.

use crate::agent::durable;
use rustix::fs::{FlockOperation, OFlags, flock};
use rustix::io::Errno;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

/// A predecessor that is about to end has this many turns to do so.
const TURNS: u32 = 20;
/// One of [`TURNS`].
const TURN: Duration = Duration::from_millis(50);
/// The most that is read about the holder.
const MAX_HOLDER: u64 = 1024;

/// Another agent has the lock. What it says of itself; nothing if that cannot be read.
#[derive(Debug)]
pub(super) struct Held(pub String);

/// Takes the lock for the agent `owner`; it is held for as long as the file is open. None where there is no way
/// to lock, which is no reason not to start.
pub(super) fn take(snapshot: &Path, owner: &str) -> Result<Option<File>, Held> {
    let path = durable::beside(snapshot, ".lock");
    let unlocked = |why: io::Error| {
        // Where there is no directory, opening the snapshot says so.
        if why.kind() != io::ErrorKind::NotFound {
            log::warn!(
                target: "serf",
                "Nothing keeps another agent from using the snapshot {}: no lock on {}: {why}",
                snapshot.display(), path.display()
            );
        }
        Ok(None)
    };
    let mut file = match open(&path) {
        Ok(file) => file,
        Err(why) => return unlocked(why),
    };
    for turn in 1.. {
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => break,
            Err(Errno::WOULDBLOCK) if turn >= TURNS => return Err(Held(holder(&mut file))),
            Err(Errno::WOULDBLOCK) => std::thread::sleep(TURN),
            Err(Errno::INTR) => {}
            Err(why) => return unlocked(why.into()),
        }
    }
    // On a full disk the next agent cannot name this one; nothing else is lost.
    let text = format!("'{owner}' (process {})\n", std::process::id());
    let _ = file.set_len(0).and_then(|()| file.write_all(text.as_bytes()));
    Ok(Some(file))
}

fn open(path: &Path) -> io::Result<File> {
    // A link that somebody put there must not lead elsewhere.
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let flags = i32::try_from(flags.bits()).unwrap_or_default();
    let mut options = OpenOptions::new();
    let file =
        options.read(true).append(true).create(true).mode(durable::MODE).custom_flags(flags).open(path)?;
    // A pipe would let the reader wait for ever.
    if file.metadata()?.is_file() { Ok(file) } else { Err(io::Error::other("it is no regular file")) }
}

fn holder(file: &mut File) -> String {
    let mut text = Vec::new();
    let _ = file.take(MAX_HOLDER).read_to_end(&mut text);
    String::from_utf8_lossy(&text).chars().filter(|c| !c.is_control()).collect()
}
