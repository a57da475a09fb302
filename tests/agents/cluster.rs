//! Life in a cluster: agents find each other, fail, come back, leave, are made to leave, move.

use crate::harness::machine::Turn;
use crate::harness::{
    Agent, AgentSpec, Network, Signal, all_list, all_see, free_ipv6_addresses, promised, soon, wait_until,
};

/// The acceptance story of the first release: five agents, one crash, one return, one goodbye,
/// one termination.
#[test]
fn five_agents_agree_through_crash_return_leave_and_termination() {
    let net = Network::claim();
    let [n1, n2, mut n3, mut n4, mut n5] = net.cluster(["n1", "n2", "n3", "n4", "n5"]);
    let all_alive = ["n1", "n2", "n3", "n4", "n5"].map(|name| (name, "alive"));
    wait_until(promised(5), "five agents all list five members alive", || {
        all_list(&[&n1, &n2, &n3, &n4, &n5], &all_alive)
    });
    let incarnation_before = incarnation(&n5);

    n5.kill();
    wait_until(promised(20), "the other four see that n5 was killed", || {
        all_see(&[&n1, &n2, &n3, &n4], &[("n5", "failed")])
    });
    wait_until(soon(), "the other four report the failure of n5", || {
        match [&n1, &n2, &n3, &n4].map(|agent| agent.failures_reported("n5")) {
            [1, 1, 1, 1] => Ok(()),
            counts => Err(format!("EventMemberFailed lines: {counts:?}")),
        }
    });

    n5 = n5.spec().start();
    wait_until(soon(), "n5 is back", || all_list(&[&n1, &n2, &n3, &n4, &n5], &all_alive));
    let incarnation_after = incarnation(&n5);

    n4.signal(Signal::Interrupt);
    wait_until(promised(3), "the others see that n4 left after SIGINT", || {
        all_see(&[&n1, &n2, &n3, &n5], &[("n4", "left")])
    });
    assert_eq!(n4.wait_exit(soon()).code(), Some(0), "exit code after SIGINT");

    n3.signal(Signal::Terminate);
    assert_eq!(n3.wait_exit(soon()).code(), Some(1), "exit code after SIGTERM");
    wait_until(promised(20), "the others see that n3 failed after SIGTERM", || {
        all_see(&[&n1, &n2, &n5], &[("n3", "failed")])
    });

    // Everything that could have been reported twice has had its time.
    let statuses = [("n1", "alive"), ("n2", "alive"), ("n3", "failed"), ("n4", "left"), ("n5", "alive")];
    wait_until(soon(), "all agree on the end of the story", || all_list(&[&n1, &n2, &n5], &statuses));
    for agent in [&n1, &n2] {
        assert_eq!(agent.failures_reported("n5"), 1, "{} reported the crash once", agent.name());
        assert_eq!(agent.failures_reported("n4"), 0, "{}: a member that left has not failed", agent.name());
        for member in ["n1", "n2"] {
            assert_eq!(agent.failures_reported(member), 0, "{}: {member} never failed", agent.name());
        }
    }

    let (before, after) = (incarnation_before.unwrap(), incarnation_after.unwrap());
    assert!(after > before, "n5 came back with incarnation {after}, which must exceed {before}");
}

fn incarnation(agent: &Agent) -> Result<u64, String> {
    let text = agent.info("native", "incarnation")?;
    text.parse().map_err(|e| format!("incarnation '{text}': {e}"))
}

/// A name that left cleanly belongs to nobody: the same name may come back where it was, or
/// somewhere else, at once.
#[test]
fn a_name_that_left_is_free_at_once() {
    let net = Network::claim();
    let [n1, n2, mut n3] = net.cluster(["n1", "n2", "n3"]);
    let all_alive = [("n1", "alive"), ("n2", "alive"), ("n3", "alive")];
    wait_until(soon(), "three agents agree", || all_list(&[&n1, &n2, &n3], &all_alive));

    let goodbye = n3.ctl(&["leave"]);
    assert_eq!(goodbye.ok().trim(), "Graceful leave complete");
    wait_until(promised(3), "the others see that n3 left", || all_see(&[&n1, &n2], &[("n3", "left")]));
    assert_eq!(n3.wait_exit(soon()).code(), Some(0), "exit code after a leave");

    let mut again = n3.spec().start();
    wait_until(soon(), "n3 is back at its address", || all_list(&[&n1, &n2, &again], &all_alive));
    again.signal(Signal::Interrupt);
    again.wait_exit(soon());
    wait_until(soon(), "n3 left again", || all_see(&[&n1, &n2], &[("n3", "left")]));

    let elsewhere = net.agent("n3", 9).join(net.gossip(2)).start();
    wait_until(soon(), "n3 is back at another address", || {
        all_list(&[&n1, &n2, &elsewhere], &all_alive)?;
        for viewer in [&n1, &n2, &elsewhere] {
            let members = viewer.members()?;
            let addr = members.iter().find(|m| m.name == "n3").map(|m| m.addr.clone());
            if addr != Some(net.gossip(9).to_string()) {
                return Err(format!("{} has n3 at {addr:?}", viewer.name()));
            }
        }
        Ok(())
    });
    for agent in [&n1, &n2] {
        assert_eq!(agent.failures_reported("n3"), 0, "{}: n3 always said goodbye", agent.name());
        assert_eq!(agent.log_count("onflicting address"), 0, "{}: there is no conflict", agent.name());
    }
}

/// What the operator does with a member that will not come back.
#[test]
fn a_failed_member_is_made_to_leave_and_pruned() {
    let net = Network::claim();
    let [n1, n2, mut n3] = net.cluster_with(["n1", "n2", "n3"], |spec| spec.flag("-profile=local"));
    let all_alive = [("n1", "alive"), ("n2", "alive"), ("n3", "alive")];
    wait_until(soon(), "three agents agree", || all_list(&[&n1, &n2, &n3], &all_alive));

    n3.kill();
    wait_until(promised(20), "n3 is seen as failed", || all_see(&[&n1, &n2], &[("n3", "failed")]));
    n1.ctl(&["force-leave", "n3"]).ok();
    wait_until(soon(), "n3 counts as left everywhere", || all_see(&[&n1, &n2], &[("n3", "left")]));

    n2.ctl(&["force-leave", "-prune", "n3"]).ok();
    let without_n3 = [("n1", "alive"), ("n2", "alive")];
    wait_until(soon(), "n3 is gone from every list", || all_list(&[&n1, &n2], &without_n3));

    let back = n3.spec().start();
    wait_until(soon(), "a pruned name may come back", || all_list(&[&n1, &n2, &back], &all_alive));
}

/// A failed member can be pruned without the step in between.
#[test]
fn a_failed_member_is_pruned_at_once() {
    let net = Network::claim();
    let [n1, n2, mut n3] = net.cluster_with(["n1", "n2", "n3"], |spec| spec.flag("-profile=local"));
    let all_alive = [("n1", "alive"), ("n2", "alive"), ("n3", "alive")];
    wait_until(soon(), "three agents agree", || all_list(&[&n1, &n2, &n3], &all_alive));

    n3.kill();
    wait_until(promised(20), "n3 is seen as failed", || all_see(&[&n1, &n2], &[("n3", "failed")]));
    n1.ctl(&["force-leave", "-prune", "n3"]).ok();
    wait_until(soon(), "n3 is gone from every list", || {
        all_list(&[&n1, &n2], &[("n1", "alive"), ("n2", "alive")])
    });
}

/// Whoever is alive says so: force-leave does not remove a member that still runs.
#[test]
fn a_living_member_contradicts_force_leave() {
    let net = Network::claim();
    let [n1, n2] = net.cluster(["n1", "n2"]);
    let all_alive = [("n1", "alive"), ("n2", "alive")];
    wait_until(soon(), "two agents agree", || all_list(&[&n1, &n2], &all_alive));
    n1.ctl(&["force-leave", "n2"]).ok();
    wait_until(soon(), "n2 is still there", || all_list(&[&n1, &n2], &all_alive));
}

/// `join` at run time: two clusters become one, unreachable addresses are named.
#[test]
fn join_connects_clusters_and_names_what_it_cannot_reach() {
    let net = Network::claim();
    let n1 = net.agent("n1", 1).start();
    let n2 = net.agent("n2", 2).start();
    let nobody = net.gossip(9).to_string();

    let said = n1.ctl(&["join", &nobody]).refused();
    assert!(said.contains(&net.ip(9).to_string()), "the error names the address: {said}");
    assert_eq!(all_list(&[&n1], &[("n1", "alive")]), Ok(()), "a failed join changes nothing");

    let joined = n1.ctl(&["join", &nobody, &net.gossip(2).to_string()]);
    assert_eq!(joined.ok().trim(), "Successfully joined cluster by contacting 1 nodes.");
    let all_alive = [("n1", "alive"), ("n2", "alive")];
    wait_until(soon(), "the two are one cluster", || all_list(&[&n1, &n2], &all_alive));
}

/// IPv6 works from the command line to the list of members.
#[test]
fn agents_meet_over_ipv6() {
    let _turn = Turn::shared();
    let ((gossip1, rpc1), (gossip2, rpc2)) = (free_ipv6_addresses(), free_ipv6_addresses());
    let six1 = AgentSpec::new("six1", gossip1, rpc1).start();
    let mut six2 = AgentSpec::new("six2", gossip2, rpc2).join(gossip1).start();
    let all_alive = [("six1", "alive"), ("six2", "alive")];
    wait_until(soon(), "two agents on [::1] agree", || all_list(&[&six1, &six2], &all_alive));
    let mut addresses: Vec<String> = six1.members().unwrap().into_iter().map(|m| m.addr).collect();
    addresses.sort();
    let mut expected = [gossip1, gossip2].map(|a| a.to_string());
    expected.sort();
    assert_eq!(addresses, expected);

    six2.signal(Signal::Interrupt);
    wait_until(promised(3), "a leave travels over IPv6", || all_see(&[&six1], &[("six2", "left")]));
    assert_eq!(six2.wait_exit(soon()).code(), Some(0));
}
