//! Version vectors, with real agents: old protocols, future ones, members that change while they are
//! known, and vectors that nobody can understand. Agents that HashiCorp has not written are played by
//! the test (`harness::stand_in`).
//!
//! Each test ends by searching every log for errors and warnings (`nobody_complains`); what a
//! test brings about itself is excused by name.

mod future;
mod old_protocols;
mod unfit;

use crate::harness::complaints::{self, Excuse};
use crate::harness::machine::watch_the_machine;
use crate::harness::{Agent, AgentSpec, Network, all_list, promised, wait_until};
use serde_json::Value;
use std::path::Path;
use std::time::{Duration, Instant};

/// HashiCorp's agent of today.
const THEIRS: [u8; 6] = [1, 5, 2, 2, 5, 5];

/// An agent of either kind whose handlers say what they have handled.
fn spec(net: &Network, name: &str, host: u8) -> AgentSpec {
    watch_the_machine();
    let spec = net.agent(name, host).flag("-log-level=debug").tag("role", name);
    let spec = spec.flag("-event-handler=query:load=cat >/dev/null; echo up");
    spec.flag("-event-handler=user:deploy=echo handled: `cat`")
}

/// Fails if an agent has complained about anything but what the test brought about.
#[track_caller]
fn nobody_complains(agents: &[&Agent], excused: &[&str]) {
    // Of HashiCorp's own making: scripts that do not read what they are given.
    let own = ["Error writing payload", "Error invoking script"];
    let excuse = |text: &&str| Excuse::new("*", format!("*{text}*"));
    let excuses: Vec<Excuse> = own.iter().chain(excused).map(excuse).collect();
    // No test here takes longer.
    let now = Instant::now();
    let start = now.checked_sub(Duration::from_secs(120)).unwrap_or(now);
    complaints::nobody_complains(agents.iter().copied(), &excuses, start);
}

/// Which Serf protocol each viewer shows of a member: the least and greatest it understands, and
/// the one it speaks.
fn shows_protocol(viewers: &[&Agent], of: &str, expected: [u64; 3]) -> Result<(), String> {
    for viewer in viewers {
        let json = viewer.ctl(&["members", "-format=json"]);
        let list: Value = serde_json::from_str(&json.stdout).map_err(|e| format!("{e}: {json}"))?;
        let members = list["members"].as_array().ok_or("no list")?;
        let member = members.iter().find(|m| m["name"] == of).ok_or(format!("{json} lacks {of}"))?;
        let protocol = ["min", "max", "version"].map(|key| member["protocol"][key].as_u64().unwrap_or(0));
        if protocol != expected {
            return Err(format!("{} has {of} at {protocol:?}", viewer.name()));
        }
    }
    Ok(())
}

/// Three that agree: two of ours and one of HashiCorp's.
fn three(theirs: &Path, net: &Network) -> [Agent; 3] {
    let o1 = spec(net, "o1", 1).start();
    let o2 = spec(net, "o2", 2).join(o1.gossip()).start();
    let h1 = spec(net, "h1", 3).program(theirs).join(o1.gossip()).start();
    let all = [o1, o2, h1];
    wait_until(promised(10), "three agree", || all_list(&all.each_ref(), &THREE));
    all
}

const THREE: [(&str, &str); 3] = [("h1", "alive"), ("o1", "alive"), ("o2", "alive")];
const FOUR: [(&str, &str); 4] = [("h1", "alive"), ("o1", "alive"), ("o2", "alive"), ("s", "alive")];
