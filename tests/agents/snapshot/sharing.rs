//! A snapshot belongs to one agent at a time.

use super::Files;
use crate::harness::{Network, Signal, all_list, soon, wait_until};
use std::fs;

#[test]
fn a_second_agent_on_a_snapshot_does_not_start_and_names_the_first() {
    let net = Network::claim();
    let files = Files::new();
    let n1 = net.agent("n1", 1).start();
    let mut n2 = files.kept_by(net.agent("n2", 2)).join(net.gossip(1)).start();
    let both = [("n1", "alive"), ("n2", "alive")];
    wait_until(soon(), "the two agree", || all_list(&[&n1, &n2], &both));
    let line = format!("alive: n1 {}", net.gossip(1));
    wait_until(soon(), "the file has the member", || files.says(&line));

    let second = files.kept_by(net.agent("n3", 3));
    let said = second.run().refused();
    let expected =
        format!("{} is in use by the agent 'n2' (process {})", files.snapshot().display(), n2.pid());
    assert!(said.contains(&format!("==> Failed to setup snapshot: {expected}")), "{said}");
    assert_eq!(files.says(&line), Ok(()), "the file is as it was");
    assert!(n2.is_running());

    // However the first ends, the next may have the file.
    n2.kill();
    let mut n3 = second.start();
    wait_until(soon(), "it knows where to go", || {
        all_list(&[&n1, &n3], &[("n1", "alive"), ("n3", "alive"), ("n2", "failed")])
    });
    n3.signal(Signal::Interrupt);
    assert_eq!(n3.wait_exit(soon()).code(), Some(0));
    drop(files.kept_by(net.agent("n2", 2)).start());
}

/// A link to a file elsewhere is as good as the file, has the same lock, and stays a link. A pipe in the place
/// of the lock keeps nobody waiting.
#[test]
fn a_link_to_a_snapshot_is_followed() {
    let net = Network::claim();
    let files = Files::new();
    let link = files.snapshot().with_file_name("link");
    std::os::unix::fs::symlink("serf.snapshot", &link).expect("the directory is there");
    let by_link = |host| net.agent("n1", host).flag(format!("-snapshot={}", link.display()));
    let mut n1 = by_link(1).start();
    let line = format!("alive: n1 {}", net.gossip(1));
    wait_until(soon(), "the file has its member", || files.says(&line));
    assert!(link.is_symlink());
    let said = files.kept_by(net.agent("n2", 2)).run().refused();
    assert!(said.contains("is in use by the agent 'n1'"), "{said}");
    n1.kill();

    let lock = files.snapshot().with_file_name("serf.snapshot.lock");
    fs::remove_file(&lock).expect("the first made one");
    let made = std::process::Command::new("mkfifo").arg(&lock).status().expect("mkfifo is available");
    assert!(made.success());
    let _first = by_link(1).start();
    drop(by_link(2).start());
}

/// People write that who want no snapshot; HashiCorp's program takes it.
#[test]
fn dev_null_is_a_snapshot_that_keeps_nothing() {
    let net = Network::claim();
    let device = fs::metadata("/dev/null").expect("there is one");
    let n1 = net.agent("n1", 1).flag("-snapshot=/dev/null").start();
    // Nor does one keep it from another.
    let mut n2 = net.agent("n2", 2).flag("-snapshot=/dev/null").join(net.gossip(1)).start();
    wait_until(soon(), "the two agree", || all_list(&[&n1, &n2], &[("n1", "alive"), ("n2", "alive")]));
    n2.signal(Signal::Interrupt);
    assert_eq!(n2.wait_exit(soon()).code(), Some(0));
    let after = fs::metadata("/dev/null").expect("it is still there");
    assert_eq!((after.file_type(), after.permissions()), (device.file_type(), device.permissions()));
}
