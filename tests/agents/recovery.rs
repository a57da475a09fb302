//! Recovery: joining in the background, and finding again who is missing.

use crate::harness::netns::Hosts;
use crate::harness::peers::hashicorp_serf;
use crate::harness::{
    Agent, AgentSpec, Network, Relay, Scratch, Signal, all_list, all_see, soon, stays, wait_until, within,
};
use std::time::Duration;

fn logged(agent: &Agent, text: &str) -> Result<(), String> {
    if agent.log_count(text) > 0 { Ok(()) } else { Err(format!("no '{text}' in:\n{}", agent.log())) }
}

/// The one to be joined comes later; nobody has to do anything.
#[test]
fn retry_join_waits_for_someone_who_starts_later() {
    let net = Network::claim();
    let early = net
        .agent("early", 2)
        .flag(format!("-retry-join={}", net.gossip(1)))
        .flag("-retry-interval=1s")
        .flag("-replay")
        .start();
    wait_until(soon(), "the first attempts fail", || match early.log_count(", retrying in 1s") {
        0 | 1 => Err(early.log()),
        _ => Ok(()),
    });
    logged(&early, "[INFO] agent: Joining cluster...(replay: true)").unwrap();
    logged(&early, "[WARN] agent: Join failed: Failed to join ").unwrap();
    assert_eq!(all_list(&[&early], &[("early", "alive")]), Ok(()), "it runs while it waits");

    let late = net.agent("late", 1).start();
    let both = [("early", "alive"), ("late", "alive")];
    wait_until(soon(), "the two have found each other", || all_list(&[&early, &late], &both));
    wait_until(soon(), "it says so", || {
        logged(&early, "[INFO] agent: Join completed. Synced with 1 initial agents")
    });
    let attempts = early.log_count("Joining cluster...");
    stays(Duration::from_secs(3), "having joined, it makes no more attempts", || {
        match early.log_count("Joining cluster...") {
            n if n == attempts => Ok(()),
            n => Err(format!("{n} attempts")),
        }
    });
}

/// `-retry-max` attempts may fail, then one more, then the agent ends.
#[test]
fn retry_max_ends_the_agent_with_1() {
    let net = Network::claim();
    let spec = net.agent("n1", 1).flag(format!("-retry-join={}", net.gossip(9)));
    let mut agent = spec.flag("-retry-interval=1s").flag("-retry-max=2").start();
    assert_eq!(agent.wait_exit(soon()).code(), Some(1));
    let log = agent.log();
    assert_eq!(agent.log_count("Joining cluster...(replay: false)"), 3, "{log}");
    assert_eq!(agent.log_count(", retrying in 1s"), 2, "{log}");
    assert_eq!(agent.log_count("[ERR] agent: maximum retry join attempts made, exiting"), 1, "{log}");
    assert!(log.contains(&net.gossip(9).to_string()), "the address is named:\n{log}");
    assert!(log.contains("shutdown complete"), "it ends in an orderly way:\n{log}");
}

#[test]
fn an_interval_that_is_too_short_is_raised() {
    let net = Network::claim();
    let agent = net.agent("n1", 1).flag("-retry-interval=1ms").start();
    logged(&agent, "==> Warning: 'RetryInterval' is too low. Setting to 1s").unwrap();
}

/// Both kinds of join at once: one must work, the other may.
#[test]
fn join_and_retry_join_go_together() {
    let net = Network::claim();
    let n1 = net.agent("n1", 1).start();
    let n2 = net
        .agent("n2", 2)
        .join(net.gossip(1))
        .flag(format!("-retry-join={}", net.gossip(3)))
        .flag("-retry-interval=1s")
        .start();
    wait_until(soon(), "one has been joined", || all_list(&[&n1, &n2], &[("n1", "alive"), ("n2", "alive")]));
    let n3 = net.agent("n3", 3).start();
    let all = ["n1", "n2", "n3"].map(|name| (name, "alive"));
    wait_until(soon(), "so has the other", || all_list(&[&n1, &n2, &n3], &all));

    let nobody = net.agent("n4", 4).join(net.gossip(9)).flag(format!("-retry-join={}", net.gossip(1))).run();
    assert!(nobody.refused().contains(&net.ip(9).to_string()), "-join insists; {nobody}");
}

/// Who is waiting to join can be told to leave.
#[test]
fn an_agent_that_retries_can_leave() {
    let net = Network::claim();
    let mut agent = net.agent("n1", 1).flag(format!("-retry-join={}", net.gossip(9))).start();
    wait_until(soon(), "it retries", || logged(&agent, ", retrying in 1s"));
    agent.signal(Signal::Interrupt);
    assert_eq!(agent.wait_exit(soon()).code(), Some(0));
}

/// A cluster of twelve is split into halves until each has forgotten the other: nobody is alone,
/// nobody has failed. When the network is whole again, so is the cluster, without anyone's doing.
#[test]
fn a_split_that_outlasts_the_reconnect_timeout_heals_by_itself() {
    const N: u8 = 12;
    let Some(hosts) = Hosts::claim(N) else { return };
    let scratch = Scratch::new("split");
    let settings = r#"{ "reconnect_timeout": "5s", "tombstone_timeout": "5s", "reconnect_interval": "2s" }"#;
    let config = scratch.file("agent.json", settings);
    let name = |host: u8| format!("host-{host:02}");
    let agents: Vec<Agent> = (1..=N)
        .map(|host| {
            let spec = hosts.agent(&name(host), host).flag("-profile=local");
            let spec = spec.flag(format!("-config-file={config}"));
            // One seed, which itself has none.
            if host == 1 { spec.start() } else { spec.join(hosts.gossip(1)).start() }
        })
        .collect();
    let names: Vec<String> = (1..=N).map(name).collect();
    let alive = |of: &[String]| of.iter().map(|n| (n.clone(), "alive")).collect::<Vec<_>>();
    let list = |agents: &[Agent], of: &[String]| {
        let expected = alive(of);
        let expected: Vec<(&str, &str)> = expected.iter().map(|(n, s)| (n.as_str(), *s)).collect();
        all_list(&agents.iter().collect::<Vec<_>>(), &expected)
    };
    wait_until(within(60), "twelve agents list twelve members", || list(&agents, &names));

    hosts.part();
    let (left, right) = agents.split_at(usize::from(N) / 2);
    let (left_names, right_names) = names.split_at(usize::from(N) / 2);
    let split = || list(left, left_names).and_then(|()| list(right, right_names));
    wait_until(within(120), "each half has forgotten the other", split);
    stays(Duration::from_secs(6), "the halves do not know of each other", split);
    wait_until(within(60), "the half without the seed tries its address", || {
        let attempt = format!("attempting reconnect to {0} {0}", hosts.gossip(1));
        if right.iter().any(|agent| agent.log_count(&attempt) > 0) { Ok(()) } else { Err(right[0].log()) }
    });

    hosts.unite();
    wait_until(within(90), "the halves have found each other", || list(&agents, &names));
}

/// A failed member whose host comes back is found without a seed.
#[test]
fn a_failed_member_is_reached_for() {
    let Some(hosts) = Hosts::claim(2) else { return };
    let scratch = Scratch::new("failed");
    let config = scratch.file("agent.json", r#"{ "reconnect_interval": "1s" }"#);
    let agent = |name: &str, host| {
        hosts.agent(name, host).flag("-profile=local").flag(format!("-config-file={config}"))
    };
    let n1 = agent("n1", 1).start();
    let n2 = agent("n2", 2).start();
    n1.ctl(&["join", &hosts.gossip(2).to_string()]).ok();
    let both = [("n1", "alive"), ("n2", "alive")];
    wait_until(soon(), "the two agree", || all_list(&[&n1, &n2], &both));
    hosts.part();
    wait_until(within(60), "each has given the other up", || {
        all_see(&[&n1], &[("n2", "failed")]).and_then(|()| all_see(&[&n2], &[("n1", "failed")]))
    });
    wait_until(soon(), "it is reached for", || logged(&n1, "attempting reconnect to n2 "));
    hosts.unite();
    wait_until(within(60), "the two agree again", || all_list(&[&n1, &n2], &both));
}

/// The address of a failed member is given to an agent of another cluster: the two clusters stay apart, until
/// the member is back.
fn stays_apart(of_kind: impl Fn(AgentSpec) -> AgentSpec, says: &str) {
    let net = Network::claim();
    let scratch = Scratch::new("reused");
    let config = scratch.file("agent.json", r#"{ "reconnect_interval": "1s" }"#);
    let ours = |name: &str, host| {
        net.agent(name, host).flag("-profile=local").flag(format!("-config-file={config}"))
    };
    let n1 = ours("n1", 1).start();
    let mut n2 = ours("n2", 2).join(net.gossip(1)).start();
    wait_until(soon(), "the two agree", || all_list(&[&n1, &n2], &[("n1", "alive"), ("n2", "alive")]));
    n2.kill();
    let failed = [("n1", "alive"), ("n2", "failed")];
    wait_until(soon(), "it is given up", || all_list(&[&n1], &failed));

    let other = of_kind(net.agent("other", 2)).start();
    let line =
        format!("Not reconnecting to n2: what is at {} now does not answer to that name", net.gossip(2));
    wait_until(soon(), "it is found to be another", || logged(&n1, &line).and_then(|()| logged(&n1, says)));
    let attempts = n1.log_count("attempting reconnect to n2");
    wait_until(soon(), "some more attempts", || {
        all_list(&[&other], &[("other", "alive")])?;
        all_list(&[&n1], &failed)?;
        let more = n1.log_count("attempting reconnect to n2") - attempts;
        if more >= 5 { Ok(()) } else { Err(format!("{more}")) }
    });
    assert!(n1.log_count(&line) <= 3, "a few lines a minute:\n{}", n1.log());
    drop(other);

    let n2 = of_kind(ours("n2", 2)).start();
    wait_until(soon(), "the member itself is found", || {
        all_list(&[&n1, &n2], &[("n1", "alive"), ("n2", "alive")])
    });
}

#[test]
fn a_reconnect_that_meets_another_name_merges_nothing() {
    stays_apart(|spec| spec, "this is 'other', not 'n2'");
}

#[test]
fn a_reconnect_that_meets_another_name_of_hashicorps_merges_nothing() {
    let Some(theirs) = hashicorp_serf() else { return };
    stays_apart(|spec| spec.program(&theirs), "closed by the other side");
}

/// Datagrams to a member come through and streams do not: it stays alive, and what is wrong is shown.
#[test]
fn a_member_that_tcp_does_not_reach_is_shown() {
    let net = Network::claim();
    let _relay = Relay::start_without_streams(net.gossip(12), net.gossip(2));
    let local = |name: &str, host| net.agent(name, host).flag("-profile=local");
    let n1 = local("n1", 1).start();
    let n2 = local("n2", 2).flag(format!("-advertise={}", net.gossip(12))).join(net.gossip(1)).start();
    let both = [("n1", "alive"), ("n2", "alive")];
    wait_until(soon(), "the two agree", || all_list(&[&n1, &n2], &both));
    let shown = wait_until(soon(), "exchanges fail", || n1.info("probe_trouble", "n2"));
    assert!(shown.contains(" ok, 0 failed; tcp 0 ok, ") && !shown.ends_with(" 0 failed"), "{shown}");
    let line = format!("Push/Pull with n2 ({}) failed: connection refused", net.gossip(12));
    wait_until(soon(), "it says so", || {
        logged(&n1, &line).and_then(|()| logged(&n1, "It answers over UDP: is TCP blocked?"))
    });
    assert_eq!(all_list(&[&n1, &n2], &both), Ok(()));
    assert!(n2.info("probe_trouble", "n1").is_err(), "the other way is open");
}

/// Names that scripts would choke on are refused when that is asked for: one's own at the start,
/// those of others whenever they come.
#[test]
fn with_validation_only_plain_names_take_part() {
    let net = Network::claim();
    let scratch = Scratch::new("names");
    let config = scratch.file("agent.json", r#"{ "validate_node_names": true }"#);
    let strict = |name: &str, host| net.agent(name, host).flag(format!("-config-file={config}"));
    let said = strict("web_1", 1).run().refused();
    assert!(said.contains("validate_node_names") && said.contains("'web_1'"), "{said}");

    let n1 = strict("n1", 1).start();
    let _odd = net.agent("web_1", 2).join(net.gossip(1)).start();
    let n3 = net.agent("n3", 3).join(net.gossip(1)).start();
    let all = ["n1", "n3"].map(|name| (name, "alive"));
    wait_until(soon(), "the strict one knows the plain ones", || all_list(&[&n1], &all));
    wait_until(soon(), "it says whom it refuses", || logged(&n1, "Ignoring an alive message for 'web_1'"));
    assert_ne!(n1.info("counters", "refused_name_total").unwrap(), "0");
    assert_eq!(all_list(&[&n1], &all), Ok(()));
    assert_eq!(all_see(&[&n3], &all), Ok(()));
}
