//! HashiCorp's agents that speak an old Serf protocol.

use super::{nobody_complains, shows_protocol, spec};
use crate::harness::peers::hashicorp_serf;
use crate::harness::{Network, all_list, promised, soon, wait_until};
use crate::mixed::{answered_by, handled_once};
use std::path::Path;

#[test]
fn agents_that_speak_serf_protocol_2_live_among_ours() {
    let Some(theirs) = hashicorp_serf() else { return };
    live_with_an_old_protocol(&theirs, 2);
}

#[test]
fn agents_that_speak_serf_protocol_3_live_among_ours() {
    let Some(theirs) = hashicorp_serf() else { return };
    live_with_an_old_protocol(&theirs, 3);
}

#[test]
fn agents_that_speak_serf_protocol_4_live_among_ours() {
    let Some(theirs) = hashicorp_serf() else { return };
    live_with_an_old_protocol(&theirs, 4);
}

/// Joins through either side, events, queries, tags, a leave of each.
fn live_with_an_old_protocol(theirs: &Path, protocol: u64) {
    let net = Network::claim();
    let old = |name, host| spec(&net, name, host).program(theirs).flag(format!("-protocol={protocol}"));
    let o1 = spec(&net, "o1", 1).start();
    let h1 = old("h1", 2).join(o1.gossip()).start();
    let mut o2 = spec(&net, "o2", 3).join(h1.gossip()).start();
    let mut h2 = old("h2", 4).join(o2.gossip()).start();
    let new = spec(&net, "h3", 5).program(theirs).join(h2.gossip()).start();
    {
        let all = [&o1, &h1, &o2, &h2, &new];
        let names = ["h1", "h2", "h3", "o1", "o2"];
        wait_until(promised(10), "all agree on who is here", || {
            all_list(&all, &names.map(|name| (name, "alive")))
        });
        for name in names {
            let speaks = if ["h1", "h2"].contains(&name) { protocol } else { 5 };
            wait_until(soon(), "each shows what the other speaks", || {
                shows_protocol(&all, name, [2, 5, speaks])
            });
        }
        for (from, payload, coalesce) in [
            (&h1, "theirs", "-coalesce=true"),
            (&o1, "ours", "-coalesce=true"),
            (&h2, "theirs at once", "-coalesce=false"),
            (&o2, "ours at once", "-coalesce=false"),
        ] {
            from.ctl(&["event", coalesce, "deploy", payload]).ok();
            wait_until(soon(), "each handler runs once", || handled_once(&all, payload));
        }
        answered_by(&o1, &["load"], &names);
        answered_by(&new, &["load"], &names);
        if protocol >= 4 {
            answered_by(&h1, &["load"], &names);
        } else {
            // They ask nothing of their own.
            h1.ctl(&["query", "load"]).refused();
        }
        for from in [&o1, &h1] {
            from.ctl(&["tags", "-set", "role=changed"]).ok();
            wait_until(soon(), "everyone sees the tag", || {
                let changed = ("role".to_string(), "changed".to_string());
                for agent in all {
                    let members = agent.members()?;
                    if !members.iter().any(|m| m.name == from.name() && m.tags.contains(&changed)) {
                        return Err(format!("{} does not", agent.name()));
                    }
                }
                Ok(())
            });
        }
        nobody_complains(&all, &["Feature not supported"]);
    }
    for leaver in [&mut h2, &mut o2] {
        leaver.ctl(&["leave"]).ok();
        leaver.wait_exit(soon());
    }
    let rest = [&o1, &h1, &new];
    let expected = [("h1", "alive"), ("h2", "left"), ("h3", "alive"), ("o1", "alive"), ("o2", "left")];
    wait_until(soon(), "everyone sees who left", || all_list(&rest, &expected));
    nobody_complains(&rest, &["Feature not supported"]);
}
