//! A member that was away for a moment: paused processes (a busy host, a live migration, a laptop
//! lid) are the classic cause of false failures.

use crate::harness::{Agent, Network, Signal, all_list, promised, soon, stays, wait_until};
use std::time::Duration;

/// How long the member is away: an acceptance number, not a wait for something.
const PAUSE: Duration = Duration::from_secs(3);

/// How long the others are watched after that. The first accusation can come one probe (1 s)
/// after the pause began, and nobody is given up later than that plus the smallest suspicion time
/// of ten members (4 s) unless the accusation lives on.
const AFTERMATH: Duration = Duration::from_secs(8);

#[test]
fn a_member_of_ten_that_pauses_for_three_seconds_is_never_reported_failed() {
    let net = Network::claim_alone();
    let names = ["n01", "n02", "n03", "n04", "n05", "n06", "n07", "n08", "n09", "n10"];
    let mut agents = net.cluster(names);
    let all_alive = names.map(|name| (name, "alive"));
    wait_until(promised(5), "ten agents all list ten members alive", || {
        all_list(&agents.each_ref(), &all_alive)
    });

    agents[6].signal(Signal::Stop);
    stays(PAUSE, "nobody is reported failed during the pause", || nobody_failed(&agents));
    agents[6].signal(Signal::Continue);
    stays(AFTERMATH, "nobody is reported failed after the pause", || nobody_failed(&agents));

    wait_until(soon(), "all ten list all ten alive", || all_list(&agents.each_ref(), &all_alive));
    assert_eq!(nobody_failed(&agents), Ok(()));
}

/// What the logs say, of anybody by anybody. A paused agent's log can be read like the others'.
fn nobody_failed(agents: &[Agent]) -> Result<(), String> {
    for agent in agents {
        let log = agent.log();
        if let Some(line) = log.lines().find(|line| line.contains("EventMemberFailed")) {
            return Err(format!("{} logged: {line}", agent.name()));
        }
    }
    Ok(())
}

/// The watch above can see: a member that stays away is reported.
#[test]
fn a_member_that_does_not_come_back_is_reported() {
    let net = Network::claim();
    let mut agents = net.cluster_with(["n1", "n2", "n3"], |spec| spec.flag("-profile=local"));
    let all_alive = [("n1", "alive"), ("n2", "alive"), ("n3", "alive")];
    wait_until(soon(), "three agents agree", || all_list(&agents.each_ref(), &all_alive));
    agents[2].signal(Signal::Stop);
    wait_until(promised(20), "a member that stays paused is reported", || match nobody_failed(&agents) {
        Ok(()) => Err("nobody was reported".to_string()),
        Err(_) => Ok(()),
    });
    agents[2].signal(Signal::Continue);
    wait_until(promised(20), "all three list all three alive again", || {
        all_list(&agents.each_ref(), &all_alive)
    });
}
