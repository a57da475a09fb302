//! Two agents of different kinds with one name.

use super::THREE_AND_THREE;
use crate::harness::complaints::{Excuse, complaint, fits};
use crate::harness::mixed_cluster::{Kind, MixedCluster, side_by_side};
use crate::harness::peers::hashicorp_serf;
use crate::harness::{all_have, soon, wait_until, within};

/// A newcomer takes a name that an agent of the other kind has. Everyone else votes for who was
/// there first; the newcomer ends and says why.
#[test]
fn a_name_belongs_to_whom_the_majority_of_both_kinds_knows() {
    let Some(theirs) = hashicorp_serf() else { return };
    side_by_side(&["h3", "o3"], 2, |&name| {
        let mut mixed = MixedCluster::start(&theirs, &THREE_AND_THREE, &["-profile=local"]);
        let (a, through) = (mixed.of(name).gossip(), mixed.of("h2").gossip());
        let other = if Kind::of(name) == Kind::Ours { Kind::Theirs } else { Kind::Ours };
        let newcomer = mixed.spec(name).program(&mixed.program(other)).join(through);
        let b = newcomer.gossip();
        // What either kind says of it once it has heard of both.
        mixed.excuse([
            Excuse::new("h*", format!("[WARN] serf: Name conflict for '{name}' both {a} and {b} are claiming")),
            Excuse::new("h*", format!("[ERR] memberlist: Conflicting address for {name}. Mine: {a} Theirs: {b} *")),
            Excuse::new("o*", format!("[WARN] serf: Name conflict for '{name}': both {a} and {b} are claiming it; {a} had it first*")),
        ]);
        // What the one who has the name says.
        mixed.excuse([match Kind::of(name) {
            Kind::Theirs => format!("[ERR] serf: Node name conflicts with another node at {b}. Names must be unique! *"),
            Kind::Ours => format!("[ERR] serf: Node name conflicts with another node: '{name}' is claimed by this agent at {a} and by another at {b}. *"),
        }].map(|line| Excuse::new(name, line)));

        let mut newcomer = newcomer.start();
        let status = newcomer.wait_exit(within(60));
        let log = newcomer.log();
        let said: Vec<&str> = log.lines().filter_map(complaint).collect();
        let expected = match other {
            Kind::Ours => vec![
                format!(
                    "[ERR] serf: Node name conflicts with another node: '{name}' is claimed by this agent at {b} and by another at {a}. Names must be unique! (Resolution enabled: true; a vote begins in * s)"
                ),
                format!(
                    "[ERR] serf: Name conflict for '{name}': this agent at {b} is in the minority [0 / *] against the one at {a} and quits. *"
                ),
            ],
            Kind::Theirs => vec![
                format!(
                    "[ERR] serf: Node name conflicts with another node at {a}. Names must be unique! (Resolution enabled: true)"
                ),
                "[WARN] serf: minority in name conflict resolution, quitting [0 / *]".to_string(),
                "[WARN] agent: Serf shutdown detected, quitting".to_string(),
            ],
        };
        for line in expected {
            assert!(said.iter().any(|said| fits(&line, said)), "{line} is not among {said:#?}");
        }
        assert_eq!(status.code(), Some(if other == Kind::Ours { 1 } else { 0 }), "{log}");
        let all = mixed.present();
        wait_until(soon(), "all have who was there first", || all_have(&all, name, &a.to_string()));
        assert_eq!(mixed.nobody_failed(), Ok(()));
    });
}
