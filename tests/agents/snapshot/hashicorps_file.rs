//! Either program goes on with the other's snapshot.

use super::{Files, rejoined};
use crate::harness::peers::hashicorp_serf;
use crate::harness::rpc::counter;
use crate::harness::{Network, Signal, all_list, soon, wait_until, within};
use std::fs;
use std::os::unix::fs::PermissionsExt;

#[test]
fn ours_goes_on_with_hashicorps_file() {
    let Some(theirs) = hashicorp_serf() else { return };
    let net = Network::claim();
    let files = Files::new();
    let snapshot = format!("-snapshot={}", files.snapshot().display());
    let h2 = net.agent("n 2", 2).program(&theirs).start();
    let mut h1 = net.agent("n1", 1).program(&theirs).flag(&snapshot).join(net.gossip(2)).start();
    wait_until(soon(), "the two agree", || all_list(&[&h1, &h2], &[("n1", "alive"), ("n 2", "alive")]));
    for n in 0..5 {
        h1.ctl(&["event", "-coalesce=false", "old", &n.to_string()]).ok();
    }
    h1.ctl(&["query", "-timeout=500ms", "ask"]).ok();
    h1.signal(Signal::Terminate);
    h1.wait_exit(soon());
    drop(h2);
    assert_eq!(files.says("event-clock: 5"), Ok(()));

    let n2 = net.agent("n 2", 2).start();
    let n1 = files.kept_by(net.agent("n1", 1)).start();
    wait_until(soon(), "ours rejoins", || all_list(&[&n1, &n2], &[("n1", "alive"), ("n 2", "alive")]));
    wait_until(soon(), "it says so", || rejoined(&n1));
    assert_eq!(counter(&n1, "snapshot_lines_skipped"), 0);
    assert_eq!(fs::metadata(files.snapshot()).unwrap().permissions().mode() & 0o777, 0o600, "narrowed");
    n1.ctl(&["event", "-coalesce=false", "new", "x"]).ok();
    wait_until(soon(), "its clock goes on", || files.given_ends_with("6 new x"));
}

#[test]
fn hashicorps_goes_on_with_our_file() {
    let Some(theirs) = hashicorp_serf() else { return };
    let net = Network::claim();
    let files = Files::new();
    let snapshot = format!("-snapshot={}", files.snapshot().display());
    let [n2, n3] = [net.agent("n 2", 2).start(), net.agent("n3", 3).join(net.gossip(2)).start()];
    let mut n1 = files.kept_by(net.agent("n1", 1)).join(net.gossip(2)).start();
    let three = [("n1", "alive"), ("n 2", "alive"), ("n3", "alive")];
    wait_until(soon(), "three agree", || all_list(&[&n1, &n2, &n3], &three));
    drop(n3);
    wait_until(within(30), "one is gone", || files.says("not-alive: n3"));
    for n in 0..5 {
        n1.ctl(&["event", "-coalesce=false", "old", &n.to_string()]).ok();
    }
    wait_until(soon(), "the file has the events", || files.says("event-clock: 5"));
    n1.kill();
    drop(n2);

    let h2 = net.agent("n 2", 2).program(&theirs).start();
    let h1 = net.agent("n1", 1).program(&theirs).flag(&snapshot).start();
    wait_until(soon(), "theirs rejoins", || all_list(&[&h1, &h2], &[("n1", "alive"), ("n 2", "alive")]));
    wait_until(soon(), "it says so", || rejoined(&h1));
    for complaint in ["Unrecognized snapshot line", "Failed to parse", "Failed to convert"] {
        assert_eq!(h1.log_count(complaint), 0, "{}", h1.log());
    }
    let time: u64 = h1.info("serf", "event_time").unwrap().parse().unwrap();
    assert_eq!(time, 6, "its clock goes on");
}
