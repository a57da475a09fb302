//! Agents that find each other by multicast DNS, on hosts of their own.

use crate::harness::netns::Hosts;
use crate::harness::peers::hashicorp_serf;
use crate::harness::{Agent, Network, all_list, soon, stays, wait_until, within};
use std::time::Duration;

#[test]
fn agents_of_one_cluster_find_each_other_and_nobody_else() {
    let Some(lan) = Hosts::claim(4) else { return };
    let home = |name: &str, host| lan.agent(name, host).flag("-discover=home");
    let first = home("n1", 1).start();
    let second = home("n2", 2).start();
    let other = lan.agent("other", 3).flag("-discover=office").start();
    let both = [("n1", "alive"), ("n2", "alive")];
    wait_until(within(30), "two agents found each other", || all_list(&[&first, &second], &both));
    assert!(first.log().contains("mDNS cluster: home"), "{}", first.log());

    // One that comes later is found by its own announcement, and by its own looking.
    let third = home("n3", 4).flag("-mdns-iface=eth0").flag("-mdns-disable-ipv6").start();
    let all = [("n1", "alive"), ("n2", "alive"), ("n3", "alive")];
    wait_until(within(30), "the third was found", || all_list(&[&first, &second, &third], &all));
    wait_until(soon(), "someone says whom it found", || {
        let logs = [&first, &second, &third].map(Agent::log).concat();
        match (logs.contains("agent.mdns: Discovered"), logs.contains("agent.mdns: Joined 1 hosts")) {
            (true, true) => Ok(()),
            seen => Err(format!("{seen:?}")),
        }
    });
    for agent in [&first, &second, &third] {
        let me = format!("joining: {}", agent.gossip());
        assert_eq!(agent.log_count(&me), 0, "{} joined itself", agent.name());
    }
    stays(Duration::from_secs(2), "the other cluster stays alone", || {
        all_list(&[&other], &[("other", "alive")])
    });
}

/// Both kinds announce and look for the same service.
#[test]
fn ours_and_hashicorps_find_each_other() {
    let Some(theirs) = hashicorp_serf() else { return };
    let Some(lan) = Hosts::claim(2) else { return };
    let both = [("ours", "alive"), ("theirs", "alive")];
    // Whoever comes second finds the first; HashiCorp's looks when it starts, and then each minute.
    for ours_first in [true, false] {
        let ours = lan.agent("ours", 1).flag("-discover=mixed");
        let other = lan.agent("theirs", 2).program(&theirs).flag("-discover=mixed");
        let (first, second) = if ours_first { (ours, other) } else { (other, ours) };
        let (first, second) = (first.start(), second.start());
        wait_until(within(120), "they found each other", || all_list(&[&first, &second], &both));
    }
}

#[test]
fn settings_that_cannot_work_keep_the_agent_from_starting() {
    let net = Network::claim();
    for (flags, text) in [
        (&["-mdns-iface=lo"][..], "mDNS interface specified without enabling mDNS discovery"),
        (&["-discover=home", "-mdns-iface=nosuch0"], "Invalid mDNS network interface"),
        (&["-discover=home", "-mdns-disable-ipv4", "-mdns-disable-ipv6"], "both IPv4 and IPv6 are disabled"),
        (&["-discover=a.b"], "the cluster name 'a.b'"),
    ] {
        let spec = flags.iter().fold(net.agent("n", 1), |spec, flag| spec.flag(*flag));
        let answer = spec.run();
        assert_eq!(answer.code(), Some(1), "{answer}");
        assert!(answer.refused().contains(text), "{answer}");
    }
}
