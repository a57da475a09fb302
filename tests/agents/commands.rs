//! The control commands, as people and scripts use them.

use crate::harness::{Agent, Network, Output, all_list, run, serf, serf_ctl, soon, wait_until, within};
use serde_json::Value;
use std::process::{Command, Stdio};

/// The commands that the first release has at the least.
const COMMANDS: [&str; 11] = [
    "event",
    "force-leave",
    "info",
    "join",
    "leave",
    "members",
    "monitor",
    "query",
    "reachability",
    "rtt",
    "tags",
];

#[test]
fn every_command_explains_itself() {
    let programs = [(serf(), "serf"), (serf_ctl(), "serf-ctl")];
    for (program, name) in programs {
        let overview = run(&program, ["-h"]);
        assert_eq!(overview.code(), Some(0), "{overview}");
        let overview = overview.everything();
        let (_, list) =
            overview.split_once("Available commands are:").expect("the overview lists the commands");
        let listed: Vec<&str> = list.lines().filter_map(|line| line.split_whitespace().next()).collect();
        for command in COMMANDS {
            assert!(listed.contains(&command), "{name} -h lists {command}: {listed:?}");
        }
        assert_eq!(listed.contains(&"agent"), name == "serf", "only serf can be an agent: {listed:?}");
        for command in listed.into_iter().filter(|command| *command != "version") {
            for flag in ["-h", "--help"] {
                let help = run(&program, [command, flag]);
                assert_eq!(help.code(), Some(0), "{help}");
                let said = help.everything();
                let usage = format!("Usage: {name} {command}");
                assert!(said.starts_with(&usage), "{name} {command} {flag} starts with '{usage}': {said}");
            }
        }
    }
}

#[test]
fn unknown_commands_and_flags_are_refused_with_the_usage() {
    for program in [serf(), serf_ctl()] {
        for args in [vec!["bogus"], vec![]] {
            let answer = run(&program, &args);
            assert_eq!(answer.code(), Some(127), "exit code for no such command; {answer}");
            assert!(answer.stderr.contains("Usage: serf"), "{answer}");
        }
        let answer = run(&program, ["members", "-bogus"]);
        assert!(answer.refused().contains("bogus"), "{answer}");
    }
    assert!(run(&serf(), ["version"]).ok().lines().count() >= 1);
    assert!(run(&serf(), ["--version"]).ok().lines().count() >= 1);
}

/// Two members with tags, whose names are not in the order of their start.
fn zoe_and_adam(net: &Network) -> [Agent; 2] {
    let zoe = net.agent("zoe", 1).tag("role", "web").start();
    let adam = net.agent("adam", 2).tag("role", "db").join(net.gossip(1)).start();
    wait_until(soon(), "the two agree", || all_list(&[&zoe, &adam], &[("adam", "alive"), ("zoe", "alive")]));
    [zoe, adam]
}

#[test]
fn members_prints_serfs_columns() {
    let net = Network::claim();
    let [zoe, _adam] = zoe_and_adam(&net);
    let (address1, address2) = (net.gossip(1).to_string(), net.gossip(2).to_string());
    for program in [serf(), serf_ctl()] {
        let text = zoe.ctl_with(&program, &["members"]);
        let mut lines: Vec<&str> = text.ok().lines().collect();
        lines.sort_unstable();
        // Columns are padded to the widest entry and lie two spaces apart.
        assert_eq!(lines[0], format!("adam  {address2}  alive  role=db"));
        assert_eq!(lines[1], format!("zoe   {address1}  alive  role=web"));
        assert_eq!(lines.len(), 2, "{text}");

        let detailed = zoe.ctl_with(&program, &["members", "-detailed", "-name=adam"]);
        let expected =
            "alive  role=db  Protocol Version: 5  Available Protocol Range: [2, 5]  Dialect: native";
        assert_eq!(detailed.ok().trim_end(), format!("adam  {address2}  {expected}"));
    }
}

#[test]
fn members_prints_serfs_json() {
    let net = Network::claim();
    let [zoe, _adam] = zoe_and_adam(&net);
    for program in [serf(), serf_ctl()] {
        let answer = zoe.ctl_with(&program, &["members", "-format=json", "-name=zoe"]);
        let expected = serde_json::json!({
            "members": [{
                "name": "zoe",
                "addr": net.gossip(1).to_string(),
                "port": net.gossip(1).port(),
                "tags": { "role": "web" },
                "status": "alive",
                "protocol": { "max": 5, "min": 2, "version": 5 },
            }]
        });
        let seen: Value = serde_json::from_str(answer.ok()).expect("it is JSON");
        assert_eq!(seen, expected);
    }
}

/// Going beyond Serf: the list has an order.
#[test]
fn members_are_sorted_by_name() {
    let net = Network::claim();
    let names = ["m", "zz", "a", "k", "b", "y", "c"];
    let agents = net.cluster(names);
    wait_until(soon(), "seven agents agree", || all_list(&agents.each_ref(), &names.map(|n| (n, "alive"))));
    let mut sorted = names;
    sorted.sort_unstable();
    for agent in &agents {
        let text = agent.ctl(&["members"]);
        let seen: Vec<&str> = text.ok().lines().filter_map(|line| line.split_whitespace().next()).collect();
        assert_eq!(seen, sorted, "the table of {}", agent.name());
        let seen: Vec<String> = agent.members().unwrap().into_iter().map(|m| m.name).collect();
        assert_eq!(seen, sorted, "the JSON of {}", agent.name());
    }
}

/// So have the tags of a member.
#[test]
fn tags_are_sorted_by_key() {
    let net = Network::claim();
    let tags = ["q", "d", "x", "a"];
    let spec = tags.iter().fold(net.agent("zoe", 1), |spec, tag| spec.tag(tag, "1"));
    let zoe = spec.start();
    let text = zoe.ctl(&["members"]);
    assert!(text.ok().trim_end().ends_with("  a=1,d=1,q=1,x=1"), "{text}");
}

#[test]
fn members_filters_by_anchored_expressions() {
    let net = Network::claim();
    let [zoe, _adam] = zoe_and_adam(&net);
    let names = |args: &[&str]| {
        let mut all = vec!["members"];
        all.extend(args);
        let answer = zoe.ctl(&all);
        let mut names: Vec<String> =
            answer.ok().lines().filter_map(|l| l.split_whitespace().next()).map(str::to_string).collect();
        names.sort_unstable();
        names.join(" ")
    };
    assert_eq!(names(&["-name=z.*"]), "zoe");
    assert_eq!(names(&["-name=z"]), "", "an expression must match the whole name");
    assert_eq!(names(&["-status=alive"]), "adam zoe");
    assert_eq!(names(&["-status=failed|left"]), "");
    // An old flag, about which a warning may be printed first.
    assert!(names(&["-role=web"]).ends_with("zoe"));
    assert_eq!(names(&["-tag", "role=d."]), "adam");
    assert_eq!(names(&["-name=.*", "-tag", "role=w.*"]), "zoe");
    zoe.ctl(&["members", "-name=("]).refused();
    let unknown = zoe.ctl(&["members", "-format=xml"]).refused();
    assert!(unknown.contains("xml"), "{unknown}");
}

#[test]
fn info_prints_sections_and_json() {
    let net = Network::claim();
    let [zoe, _adam] = zoe_and_adam(&net);
    let text = zoe.ctl(&["info"]);
    for line in ["agent:", "\tname = zoe", "serf:", "\tmembers = 2", "\tfailed = 0", "\tleft = 0", "tags:"] {
        assert!(text.ok().lines().any(|l| l == line), "info has the line '{line}': {text}");
    }
    for (section, key, value) in [
        ("agent", "name", "zoe"),
        ("serf", "members", "2"),
        ("serf", "encrypted", "false"),
        ("serf", "health_score", "0"),
        ("tags", "role", "web"),
    ] {
        assert_eq!(zoe.info(section, key).as_deref(), Ok(value), "{section}: {key}");
    }
}

/// A reader that has seen enough, as in `members | head -1`, is no error.
#[test]
fn a_closed_pipe_is_no_error() {
    let net = Network::claim();
    let [zoe, _adam] = zoe_and_adam(&net);
    let rpc = format!("-rpc-addr={}", zoe.rpc());
    for args in [vec!["members", &rpc], vec!["info", &rpc], vec!["members", &rpc, "-format=json"], vec!["-h"]]
    {
        let mut child = Command::new(serf_ctl())
            .args(&args)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // Before it has connected, let alone printed.
        drop(child.stdout.take());
        let ended = child.wait_with_output().unwrap();
        let complaint = String::from_utf8_lossy(&ended.stderr);
        assert!(!complaint.contains("panicked"), "{args:?}: {complaint}");
        // Ended by SIGPIPE, which has no exit code, is as good as success.
        assert!(matches!(ended.status.code(), Some(0) | None), "{args:?} ended with {}", ended.status);
    }

    let in_a_pipe = Command::new("sh")
        .args(["-c", "\"$0\" members \"$1\" | head -n 1", serf_ctl().to_str().unwrap(), &rpc])
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&in_a_pipe.stdout).lines().count(), 1);
    assert_eq!(String::from_utf8_lossy(&in_a_pipe.stderr), "");
}

/// `monitor` streams what has been and what comes, at the level asked for, until it is ended.
#[test]
fn monitor_streams_the_log() {
    let net = Network::claim();
    let zoe = net.agent("zoe", 1).start();
    let rpc = format!("-rpc-addr={}", zoe.rpc());
    let watcher = Output::watch(&serf(), &["monitor", &rpc]);
    wait_until(soon(), "old lines are shown", || watcher.shows("[INFO] serf: EventMemberJoin: zoe "));
    let _adam = net.agent("adam", 2).join(net.gossip(1)).start();
    wait_until(soon(), "new lines are shown", || watcher.shows("[INFO] serf: EventMemberJoin: adam "));
    let refused = run(&serf_ctl(), ["monitor", &rpc, "-log-level=loud"]).everything();
    assert!(refused.to_lowercase().contains("level"), "an unknown level is refused: {refused}");
}

#[test]
fn commands_without_an_agent_say_so() {
    let net = Network::claim();
    let nobody = net.rpc(1).to_string();
    let flag = format!("-rpc-addr={nobody}");
    for args in [
        vec!["members", &flag],
        vec!["info", &flag],
        vec!["join", &flag, "127.0.0.1"],
        vec!["leave", &flag],
        vec!["force-leave", &flag, "x"],
        vec!["monitor", &flag],
        vec!["event", &flag, "x"],
        vec!["query", &flag, "x"],
        vec!["reachability", &flag],
        vec!["rtt", &flag, "x"],
    ] {
        let answer = run(&serf_ctl(), &args);
        let said = answer.refused();
        assert!(said.contains(&nobody), "the address is named; {answer}");
        assert_eq!(said.lines().count(), 1, "one line is enough; {answer}");
    }
}

#[test]
fn arguments_that_are_missing_are_asked_for() {
    let net = Network::claim();
    let zoe = net.agent("zoe", 1).start();
    zoe.ctl(&["join"]).refused();
    zoe.ctl(&["force-leave"]).refused();
}

/// The address may come from the environment; a flag goes before it.
#[test]
fn the_environment_names_the_agent() {
    let net = Network::claim();
    let zoe = net.agent("zoe", 1).start();
    let members = |variable: String, flags: &[String]| {
        let mut command = Command::new(serf_ctl());
        let output = command.arg("members").args(flags).env("SERF_RPC_ADDR", variable).output().unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let (code, listed) = members(zoe.rpc().to_string(), &[]);
    assert_eq!(code, Some(0));
    assert!(listed.starts_with("zoe"), "{listed}");
    let (code, listed) = members(net.rpc(9).to_string(), &[format!("-rpc-addr={}", zoe.rpc())]);
    assert_eq!(code, Some(0));
    assert!(listed.starts_with("zoe"), "{listed}");
    assert_eq!(members(net.rpc(9).to_string(), &[]).0, Some(1));
}

/// `leave` is answered before the agent goes.
#[test]
fn leave_is_answered() {
    let net = Network::claim();
    let mut zoe = net.agent("zoe", 1).start();
    assert_eq!(zoe.ctl(&["leave"]).ok().trim(), "Graceful leave complete");
    assert_eq!(zoe.wait_exit(within(10)).code(), Some(0));
}
