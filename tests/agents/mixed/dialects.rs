//! Which dialect is spoken to whom.

use crate::harness::complaints::Excuse;
use crate::harness::mixed_cluster::MixedCluster;
use crate::harness::peers::hashicorp_serf;
use crate::harness::rpc::counter;
use crate::harness::{Agent, all_list, soon, wait_until};
use std::path::Path;

#[test]
fn a_cluster_of_ours_alone_speaks_native_after_first_contact() {
    let mixed = MixedCluster::start(Path::new("nobody's"), &["o1", "o2", "o3"], &[]);
    let agents = mixed.present();
    let foreign = |agent: &&Agent| {
        counter(agent, "datagrams_sent_hashicorp") + counter(agent, "streams_sent_hashicorp")
    };
    let before: Vec<u64> = agents.iter().map(foreign).collect();
    let start: Vec<u64> = agents.iter().map(|agent| counter(agent, "datagrams_sent_native")).collect();
    agents[0].ctl(&["event", "something", "is said"]).ok();
    wait_until(soon(), "they have talked", || {
        let talked = |(agent, start): (&&Agent, &u64)| counter(agent, "datagrams_sent_native") >= start + 5;
        if agents.iter().zip(&start).all(talked) { Ok(()) } else { Err("not yet".into()) }
    });
    assert_eq!(agents.iter().map(foreign).collect::<Vec<_>>(), before, "first contact is over");
}

#[test]
fn native_only_refuses_the_other_dialect() {
    let Some(theirs) = hashicorp_serf() else { return };
    let mut mixed = MixedCluster::new(&theirs, &[]);
    for name in ["o1", "o2"] {
        mixed.admit(name, |spec| spec.flag("-native-only"));
    }
    mixed.agree();
    let alone = mixed.spec("h1");
    mixed.start_as(&alone);
    let (o1, h1) = (mixed.of("o1").gossip(), mixed.of("h1").gossip());
    mixed.excuse([
        // The join that is refused, at both ends.
        Excuse::new("h1", "[WARN] agent: error joining: *"),
        Excuse::new(
            "o1",
            "[WARN] memberlist: Ignoring a stream from *: it is in HashiCorp's dialect and native_only is set*",
        ),
        // The join that is not understood.
        Excuse::new("h1", "[ERR] memberlist: Received invalid msgType (160) from=*"),
    ]);
    let refused = mixed.of("h1").ctl(&["join", &o1.to_string()]);
    assert!(refused.refused().contains("native_only"), "it is told why: {refused}");
    mixed.of("o1").ctl(&["join", &h1.to_string()]).refused();
    wait_until(soon(), "it is counted", || mixed.of("o1").info("counters", "refused_dialect_total"));
    let both = [("o1", "alive"), ("o2", "alive")];
    assert_eq!(all_list(&[mixed.of("o1"), mixed.of("o2")], &both), Ok(()));
}
