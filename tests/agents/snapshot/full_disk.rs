//! A disk that is full for a while.

use super::{is_sound, takes_its_time};
use crate::harness::notes::skip;
use crate::harness::rpc::{client, counter};
use crate::harness::{Agent, Network, Scratch, all_list, soon, wait_until, within};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A file system of its own, unmounted when this is dropped.
struct Disk(PathBuf);

impl Disk {
    fn mount(at: &Path, size: &str) -> Option<Disk> {
        let options = format!("size={size},mode=700");
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", &options, "serf-test"]).arg(at).output();
        let why = match mounted {
            Ok(output) if output.status.success() => return Some(Disk(at.to_path_buf())),
            Ok(output) => String::from_utf8_lossy(&output.stderr).into_owned(),
            Err(e) => e.to_string(),
        };
        skip(&format!("no file system can be mounted to be filled up: {why}"))
    }

    /// Fills it to the last byte.
    fn fill(&self) {
        let mut filler = fs::File::create(self.0.join("filler")).expect("a file can be made");
        for size in [4096, 1] {
            while filler.write_all(&vec![b'x'; size]).is_ok() {}
        }
    }

    fn make_room(&self) {
        fs::remove_file(self.0.join("filler")).expect("the filler is there");
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Lazily, if something still holds a file open.
        for options in [&[][..], &["-l"]] {
            if Command::new("umount").args(options).arg(&self.0).status().is_ok_and(|s| s.success()) {
                return;
            }
        }
    }
}

#[test]
fn a_full_disk_is_spoken_of_and_the_agent_goes_on() {
    let net = Network::claim();
    let scratch = Scratch::new("disk");
    let Some(disk) = Disk::mount(scratch.path(), "256k") else { return };
    let path = scratch.path().join("serf.snapshot");
    let n1 = net.agent("n1", 1).start();
    let spec = net.agent("n2", 2).flag(format!("-snapshot={}", path.display()));
    let mut n2 = spec.clone().join(net.gossip(1)).start();
    let both = [("n1", "alive"), ("n2", "alive")];
    wait_until(soon(), "the two agree", || all_list(&[&n1, &n2], &both));
    let told = |agent: &Agent, n: u64| {
        let told = counter(agent, "events_delivered");
        if told >= n { Ok(()) } else { Err(format!("{told} of {n}")) }
    };

    // What is left of the file's last page has room even on a full disk.
    let mut file = fs::File::options().append(true).open(&path).expect("the file opens");
    let len = usize::try_from(file.metadata().expect("it has a size").len()).expect("it is small");
    let rest = len.next_multiple_of(4096) - len;
    file.write_all(&vec![b'\n'; rest]).expect("the page has room");
    disk.fill();
    let mut sender = client(&n2);
    for n in 0..600 {
        sender.event("burst", n.to_string().as_bytes(), false).expect("an event is sent");
    }
    wait_until(soon(), "it hears all of them", || told(&n2, 600));
    let complaint =
        format!("Failed to write the snapshot {}: No space left on device (os error 28)", path.display());
    wait_until(soon(), "it says that the disk is full", || match n2.log_count(&complaint) {
        0 => Err(n2.log()),
        _ => Ok(()),
    });
    wait_until(within(30), "it keeps trying", || match counter(&n2, "snapshot_writes_failed") {
        0..3 => Err("not yet".to_string()),
        _ => Ok(()),
    });
    assert_eq!(n2.log_count(&complaint), 1, "said once");
    if takes_its_time() {
        wait_until(within(60), "it says so again after a while", || match n2.log_count(&complaint) {
            1 => Err("not yet".to_string()),
            _ => Ok(()),
        });
        assert_eq!(n2.log_count(&complaint), 2, "said once per interval");
    }
    // Meanwhile the cluster goes on, and news is kept in memory.
    let n3 = net.agent("n3", 3).join(net.gossip(1)).start();
    let three = [("n1", "alive"), ("n2", "alive"), ("n3", "alive")];
    wait_until(soon(), "a third is seen", || all_list(&[&n1, &n2, &n3], &three));

    disk.make_room();
    wait_until(within(30), "it recovers", || match n2.log_count("is complete again") {
        0 => Err(n2.log()),
        _ => Ok(()),
    });
    let text = fs::read_to_string(&path).unwrap();
    for line in [format!("alive: n3 {}", net.gossip(3)), "event-clock: 600".to_string()] {
        assert!(text.lines().any(|l| l == line), "no '{line}' in\n{text}");
    }
    assert_eq!(is_sound(&path), Ok(()));
    n2.kill();
    let n2 = spec.start();
    wait_until(soon(), "it is back after a crash", || all_list(&[&n1, &n2, &n3], &three));
    drop((n1, n2, n3, disk));
}
