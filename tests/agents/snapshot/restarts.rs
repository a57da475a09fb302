//! Agents that come back after a crash or a leave.

use super::{Files, rejoined};
use crate::harness::rpc::counter;
use crate::harness::{Network, Scratch, Signal, all_list, soon, wait_until, within};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

#[test]
fn who_crashed_comes_back_and_hears_what_it_missed_and_nothing_twice() {
    let net = Network::claim();
    let files = Files::new();
    let n1 = net.agent("n1", 1).start();
    let mut n2 = files.kept_by(net.agent("n 2", 2)).join(net.gossip(1)).start();
    let both = [("n1", "alive"), ("n 2", "alive")];
    wait_until(soon(), "the two agree", || all_list(&[&n1, &n2], &both));
    assert!(n2.log().contains("Snapshot: true") && n1.log().contains("Snapshot: false"));
    n1.ctl(&["event", "-coalesce=false", "before", "1"]).ok();
    n1.ctl(&["query", "-timeout=1s", "ask"]).ok();
    wait_until(soon(), "the event is given", || files.given_ends_with("before 1"));
    // Nothing happens now that would flush anything.
    wait_until(soon(), "the file has the event", || files.says("event-clock: 1"));
    wait_until(soon(), "the file has the query", || files.says("query-clock: 1"));
    wait_until(soon(), "the file has the member", || files.says(&format!("alive: n1 {}", net.gossip(1))));
    assert_eq!(fs::metadata(files.snapshot()).unwrap().permissions().mode() & 0o777, 0o600);

    n2.kill();
    n1.ctl(&["event", "-coalesce=false", "meanwhile", "2"]).ok();
    let n2 = files.kept_by(net.agent("n 2", 2)).start();
    wait_until(soon(), "it is back", || all_list(&[&n1, &n2], &both));
    wait_until(soon(), "it says so", || rejoined(&n2));
    let known = format!("previously known node: n1: {}", net.gossip(1));
    assert!(n2.log().contains(&format!("Attempting re-join to {known}")), "{}", n2.log());
    wait_until(soon(), "it hears what it missed", || files.given_ends_with("meanwhile 2"));
    n2.ctl(&["event", "-coalesce=false", "after", "3"]).ok();
    wait_until(soon(), "it goes on", || files.given_ends_with("after 3"));
    // Lamport times go on, too, where they were.
    assert_eq!(files.given(), ["1 before 1", "2 meanwhile 2", "3 after 3"]);
    assert_eq!(counter(&n2, "snapshot_lines_skipped"), 0);
}

#[test]
fn whoever_left_stays_away_unless_told_to_rejoin() {
    let net = Network::claim();
    let files = Files::new();
    let n1 = net.agent("n1", 1).start();
    let spec = files.kept_by(net.agent("n2", 2));
    let mut n2 = spec.clone().join(net.gossip(1)).start();
    wait_until(soon(), "the two agree", || all_list(&[&n1, &n2], &[("n1", "alive"), ("n2", "alive")]));
    n2.signal(Signal::Interrupt);
    assert_eq!(n2.wait_exit(soon()).code(), Some(0));
    assert_eq!(files.says("leave"), Ok(()));

    let mut n2 = spec.start();
    wait_until(soon(), "the file has its new life", || {
        let text = fs::read_to_string(files.snapshot()).unwrap_or_default();
        if text.ends_with("leave\n") { Err(text) } else { Ok(()) }
    });
    assert_eq!(all_list(&[&n2], &[("n2", "alive")]), Ok(()));
    assert_eq!(n2.log_count("re-join"), 0, "{}", n2.log());
    n2.ctl(&["join", &net.gossip(1).to_string()]).ok();
    wait_until(soon(), "it knows the other", || files.says(&format!("alive: n1 {}", net.gossip(1))));
    n2.signal(Signal::Interrupt);
    assert_eq!(n2.wait_exit(soon()).code(), Some(0));

    let n2 = spec.flag("-rejoin").start();
    wait_until(soon(), "it is back", || all_list(&[&n1, &n2], &[("n1", "alive"), ("n2", "alive")]));
    wait_until(soon(), "it says so", || rejoined(&n2));
}

#[test]
fn nobody_to_rejoin_is_no_reason_to_end_and_whoever_comes_later_is_found() {
    let net = Network::claim();
    let files = Files::new();
    let gone = net.gossip(9);
    fs::write(files.snapshot(), format!("alive: x {gone}\nalive: n1 {}\nalive: y {gone}\n", net.gossip(1)))
        .unwrap();
    let config = files.0.path().join("config.json");
    fs::write(&config, "{\"reconnect_interval\": \"1s\"}").unwrap();
    let n1 = files.kept_by(net.agent("n1", 1)).flag(format!("-config-file={}", config.display())).start();
    wait_until(soon(), "it gives up", || {
        let tried = n1.log_count("Attempting re-join to previously known node: ");
        let over = n1.log_count("Failed to re-join any previously known node");
        if (tried, over) == (2, 1) { Ok(()) } else { Err(format!("{tried} tried")) }
    });
    assert_eq!(all_list(&[&n1], &[("n1", "alive")]), Ok(()));

    // After a power failure the others are only late.
    let late = net.agent("y", 9).start();
    wait_until(within(60), "they find each other", || {
        all_list(&[&n1, &late], &[("n1", "alive"), ("y", "alive")])
    });
}

#[test]
fn a_path_that_is_no_file_is_refused_with_a_reason() {
    let net = Network::claim();
    let scratch = Scratch::new("paths");
    let path = |name: &str| scratch.path().join(name);
    fs::create_dir(path("directory")).unwrap();
    std::os::unix::fs::symlink(path("circle"), path("circle")).unwrap();
    assert!(Command::new("mkfifo").arg(path("pipe")).status().expect("mkfifo is available").success());
    let cases = [("directory", "a directory"), ("circle", "a symbolic link"), ("pipe", "a named pipe")];
    for (name, what) in cases {
        let said =
            net.agent("n1", 1).flag("-snapshot").flag(path(name).display().to_string()).run().refused();
        let expected = format!("Failed to setup snapshot: {} is {what}", path(name).display());
        assert!(said.contains(&expected), "{said}");
    }
    let said =
        net.agent("n1", 1).flag(format!("-snapshot={}", path("no/such/file").display())).run().refused();
    assert!(said.contains("no/such/file: No such file or directory"), "{said}");
}
