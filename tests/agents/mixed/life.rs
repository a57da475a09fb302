//! What happens in clusters of our agents and HashiCorp's: work, pauses, crashes, farewells, each
//! from either kind.

use super::{KEY, THREE_AND_THREE, answered_by, handled_once};
use crate::harness::mixed_cluster::{Kind, MixedCluster, side_by_side};
use crate::harness::peers::hashicorp_serf;
use crate::harness::{Agent, all_list, all_see, promised, soon, stays, wait_until, within};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

const HANDLERS: [&str; 2] =
    ["-event-handler=query:load=cat >/dev/null; echo up", "-event-handler=user:deploy=echo handled: `cat`"];

/// Asks everyone, some by tag, two by name and relayed; and counts who can be reached.
fn questions_are_answered(from: &Agent) {
    answered_by(from, &["load"], &["h1", "h2", "h3", "o1", "o2", "o3"]);
    answered_by(from, &["-tag=kind=h", "load"], &["h1", "h2", "h3"]);
    answered_by(from, &["-node=o2", "-node=h2", "-relay-factor=2", "load"], &["h2", "o2"]);
    wait_until(within(30), "everyone can be reached", || {
        let reached = from.ctl(&["reachability"]);
        let well = reached.stdout.contains("Successfully contacted all live nodes");
        if well { Ok(()) } else { Err(reached.to_string()) }
    });
}

fn sees_tag(mixed: &MixedCluster, of: &str) -> Result<(), String> {
    for agent in mixed.present() {
        let members = agent.members()?;
        let changed = ("role".to_string(), "changed".to_string());
        if !members.iter().any(|m| m.name == of && m.tags.contains(&changed)) {
            return Err(format!("{} does not", agent.name()));
        }
    }
    Ok(())
}

#[test]
fn three_and_three_live_together() {
    let Some(theirs) = hashicorp_serf() else { return };
    let encrypted = format!("-encrypt={KEY}");
    let configurations: [&[&str]; 3] =
        [&[], &[&encrypted, "-profile=local"], &["-disable-compression", "-profile=local"]];
    side_by_side(&configurations, 3, |flags| live_together(&theirs, flags));
}

/// Events, queries, tags, crashes, force-leave, prune and leave, each from either kind.
fn live_together(theirs: &Path, flags: &[&str]) {
    let mut mixed = MixedCluster::start(theirs, &THREE_AND_THREE, &[&HANDLERS, flags].concat());

    mixed.of("h1").ctl(&["event", "deploy", "theirs"]).ok();
    mixed.of("o1").ctl(&["event", "-coalesce=false", "deploy", "ours"]).ok();
    for payload in ["theirs", "ours"] {
        wait_until(soon(), "each handler runs once", || handled_once(&mixed.present(), payload));
    }
    thread::scope(|scope| {
        for from in ["h1", "o1"].map(|name| mixed.of(name)) {
            scope.spawn(move || questions_are_answered(from));
        }
    });
    // Asking natives and others: what only natives say is not waited for.
    for tagged in ["h2", "o2"] {
        mixed.of(tagged).ctl(&["tags", "-set", "role=changed"]).ok();
        wait_until(soon(), "everyone sees the tag", || sees_tag(&mixed, tagged));
    }
    assert_eq!(mixed.of("o1").info("native", "speaking_native").as_deref(), Ok("3"));
    assert_eq!(mixed.of("o1").info("native", "speaking_hashicorp").as_deref(), Ok("3"));
    let detailed = mixed.of("o1").ctl(&["members", "-detailed"]);
    let speaks = |name: &str| detailed.stdout.lines().any(|l| l.starts_with(name) && l.ends_with("native"));
    assert!(speaks("o2") && !speaks("h2"), "{detailed}");

    for name in ["h3", "o3"] {
        mixed.kill(name);
    }
    let rest = |status| [("h1", "alive"), ("h3", status), ("o1", "alive"), ("o3", status)];
    wait_until(promised(20), "both kinds notice the crashes", || all_see(&mixed.present(), &rest("failed")));
    mixed.of("h1").ctl(&["force-leave", "o3"]).ok();
    mixed.of("o1").ctl(&["force-leave", "h3"]).ok();
    wait_until(soon(), "both kinds hear of force-leave", || all_see(&mixed.present(), &rest("left")));
    mixed.of("h1").ctl(&["force-leave", "-prune", "h3"]).ok();
    mixed.of("o1").ctl(&["force-leave", "-prune", "o3"]).ok();
    let alive = [("h1", "alive"), ("h2", "alive"), ("o1", "alive"), ("o2", "alive")];
    // With the local profile HashiCorp's agent says it twice and no more. Both times it may choose
    // one of the dead, and nobody hears of it; then its operator has to say it again. Ours says
    // it often enough.
    let mut said = Instant::now();
    wait_until(soon(), "both kinds forget who is pruned", || {
        if said.elapsed() > Duration::from_secs(5) {
            mixed.of("h1").ctl(&["force-leave", "-prune", "h3"]).ok();
            said = Instant::now();
        }
        all_list(&mixed.present(), &alive)
    });
    for name in ["h2", "o2"] {
        mixed.leave(name);
    }
    let left = [("h1", "alive"), ("h2", "left"), ("o1", "alive"), ("o2", "left")];
    wait_until(soon(), "both kinds see who left", || all_list(&mixed.present(), &left));
}

#[test]
fn a_pause_of_three_seconds_is_refuted_both_ways() {
    let Some(theirs) = hashicorp_serf() else { return };
    side_by_side(&["h3", "o3"], 2, |&name| {
        let mut mixed = MixedCluster::start(&theirs, &THREE_AND_THREE, &[]);
        mixed.pause(name);
        stays(Duration::from_secs(3), "nobody is reported during the pause", || mixed.nobody_failed());
        mixed.resume(name);
        stays(Duration::from_secs(6), "nobody is reported after the pause", || mixed.nobody_failed());
        mixed.agree();
    });
}

/// HashiCorp's agents forget the dead, and begin with their first incarnation when they return.
#[test]
fn who_was_killed_comes_back_as_either_kind() {
    let Some(theirs) = hashicorp_serf() else { return };
    side_by_side(&["h2", "o2"], 2, |&name| {
        let kind = Kind::of(name);
        let other = if kind == Kind::Ours { Kind::Theirs } else { Kind::Ours };
        let mut mixed = MixedCluster::start(&theirs, &["h1", "o1", name, "h3", "o3"], &["-profile=local"]);
        // A few incarnations, so that the first one is long over.
        for value in ["1", "2", "3"] {
            mixed.of(name).ctl(&["tags", "-set", &format!("life={value}")]).ok();
        }
        // The last two lives: one host changes kind, with its name and its address.
        for kind in [kind, other, kind] {
            mixed.kill(name);
            wait_until(promised(20), "it is seen as failed", || {
                all_see(&mixed.present(), &[(name, "failed")])
            });
            mixed.bring_back(name, kind);
            wait_until(promised(10), "it is back", || all_see(&mixed.present(), &[(name, "alive")]));
            let natives = if kind == Kind::Ours { "3" } else { "2" };
            wait_until(soon(), "it is known what it speaks", || {
                match mixed.of("o1").info("native", "speaking_native") {
                    Ok(n) if n == natives => Ok(()),
                    other => Err(format!("{other:?}, not {natives}")),
                }
            });
        }
    });
}
