//! One configuration directory, two programs: HashiCorp's agent and ours start from the same files,
//! and behave alike.

use crate::harness::machine::Turn;
use crate::harness::peers::hashicorp_serf;
use crate::harness::{
    Agent, AgentSpec, Network, Scratch, Signal, all_see, free_ipv6_addresses, promised, serf, soon,
    wait_until, within,
};
use serde_json::{Map, Value, json};
use serf::config::options::settings;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::path::Path;

const KEY: &str = "HvY8ubRZMgafUOWvrOadwOckVa1wN3QWAo46FVKbVN8=";
const TOKEN: &str = "-rpc-auth=token";
/// What HashiCorp's agent in Debian knows.
const DEBIANS: &str = "advertise bind broadcast_timeout disable_coordinates disable_name_resolution discover \
                       enable_compression enable_syslog encrypt_key event_handlers interface keyring_file \
                       leave_on_terminate log_level node_name profile protocol query_response_size_limit \
                       query_size_limit reconnect_interval reconnect_timeout rejoin_after_leave replay_on_join \
                       retry_interval retry_join retry_max_attempts role rpc_addr rpc_auth \
                       skip_leave_on_interrupt snapshot_path start_join statsd_addr statsite_addr \
                       syslog_facility tags tags_file tombstone_timeout user_event_size_limit";

fn file(scratch: &Scratch, name: &str, settings: Map<String, Value>) {
    scratch.file(name, &Value::Object(settings).to_string());
}

fn spec(program: &Path, spec: AgentSpec, scratch: &Scratch) -> AgentSpec {
    spec.program(program).named_in_files().flag(format!("-config-dir={}", scratch.path().display()))
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        other => panic!("{other} is no object"),
    }
}

/// What was seen of one program, by what was looked at.
type Seen = BTreeMap<&'static str, String>;

/// The settings of an agent at host 1 whose first member to join is at host 2. Its handlers write
/// into `out`, its metrics go to host 3. Two files, so that there is something to merge.
fn everything(net: &Network, out: &Path) -> [Map<String, Value>; 2] {
    let file = |name: &str| out.join(name).display().to_string();
    let variables = "env | grep ^SERF_ | sort";
    let first = json!({
        "node_name": "n1",
        "role": "web",
        "tags": {"dc": "east", "rack": "7"},
        "bind": net.gossip(1).to_string(),
        "advertise": net.gossip(1).to_string(),
        "rpc_addr": net.rpc(1).to_string(),
        "rpc_auth": "token",
        "encrypt_key": KEY,
        "log_level": "debug",
        "profile": "local",
        "protocol": 4,
        "event_handlers": [format!("user:deploy={variables} > {}", file("first"))],
        "start_join": [net.gossip(2).to_string()],
        "replay_on_join": true,
        "retry_join": [net.gossip(2).to_string()],
        "retry_interval": "5s",
        "retry_max_attempts": 3,
        "snapshot_path": file("snapshot"),
        "rejoin_after_leave": true,
        "discover": format!("configured-{}", std::process::id()),
        "leave_on_terminate": true,
        "skip_leave_on_interrupt": true,
        "reconnect_interval": "10s",
        "reconnect_timeout": "1h",
        "tombstone_timeout": "2h",
        "disable_coordinates": true,
        "disable_name_resolution": true,
        "enable_syslog": false,
        "syslog_facility": "LOCAL1",
        "statsd_addr": format!("{}:8126", net.ip(3)),
        "statsite_addr": format!("{}:8125", net.ip(3)),
        "broadcast_timeout": "2s",
        "enable_compression": false,
    });
    let second = json!({
        "tags": {"dc": "west"},
        "event_handlers": [
            format!("user:deploy=cat > {}", file("second")),
            "query:small=echo hi",
            "query:large=head -c 400 /dev/zero | tr '\\0' x",
        ],
        "query_size_limit": 300,
        "query_response_size_limit": 200,
        "user_event_size_limit": 100,
    });
    [object(first), object(second)]
}

/// Settings that exclude some of the others.
fn alternatives(bind: SocketAddr, rpc: SocketAddr, out: &Path) -> Map<String, Value> {
    let file = |name: &str| out.join(name).display().to_string();
    object(json!({
        "node_name": "n1",
        "bind": bind.to_string(),
        "interface": "lo",
        "rpc_addr": rpc.to_string(),
        "keyring_file": file("keyring"),
        "tags_file": file("tags"),
    }))
}

#[test]
fn one_directory_starts_both() {
    let Some(theirs) = hashicorp_serf() else { return };
    let net = Network::claim();
    // Somebody must be there to send metrics to.
    let _statsd = UdpSocket::bind((net.ip(3), 8126)).unwrap();
    let _statsite = TcpListener::bind((net.ip(3), 8125)).unwrap();
    let [expected, seen] = [theirs, serf()].map(|program| with_everything(&program, &net));
    for (what, expected) in &expected {
        assert_eq!(seen.get(what), Some(expected), "{what}");
    }
    assert_eq!(seen.len(), expected.len());
}

fn with_everything(program: &Path, net: &Network) -> Seen {
    let (scratch, out) = (Scratch::new("everything"), Scratch::new("out"));
    let [first, second] = everything(net, out.path());
    file(&scratch, "10-first.json", first);
    file(&scratch, "20-second.json", second);
    scratch.file("ignored.conf", "not read");

    let seed =
        net.agent("seed", 2).program(program).flag("-profile=local").flag(format!("-encrypt={KEY}")).start();
    let spec = spec(program, net.agent("n1", 1), &scratch);
    let mut n1 = spec.start();
    let members = || members(&n1);
    wait_until(soon(), "n1 has joined the seed", || all_see(&[&seed], &[("n1", "alive")]));
    wait_until(soon(), "n1 lists both", || if members().len() == 2 { Ok(()) } else { Err(n1.log()) });

    let mut seen = Seen::new();
    seen.insert("members", format!("{:?}", members()));
    look_at_info(&n1, &mut seen);
    look_at_talk(&n1, out.path(), &mut seen);
    look_at_rpc(&n1, &mut seen);
    for line in ["Node name: 'n1'", "Profile: local", "Joining cluster...(replay: true)", "[DEBUG]"] {
        assert!(n1.log().contains(line), "'{line}' is not in the log:\n{}", n1.log());
    }
    assert!(out.path().join("snapshot").exists());

    n1.signal(Signal::Interrupt);
    seen.insert("exit after SIGINT", format!("{:?}", n1.wait_exit(within(20)).code()));
    wait_until(promised(20), "without a leave n1 failed", || all_see(&[&seed], &[("n1", "failed")]));
    let mut n1 = spec.start();
    wait_until(promised(20), "n1 is back", || all_see(&[&seed], &[("n1", "alive")]));
    n1.signal(Signal::Terminate);
    seen.insert("exit after SIGTERM", format!("{:?}", n1.wait_exit(within(20)).code()));
    wait_until(promised(20), "n1 left", || all_see(&[&seed], &[("n1", "left")]));
    // Each program has a directory of its own.
    let directory = out.path().display().to_string();
    seen.values_mut().for_each(|text| *text = text.replace(&directory, "out"));
    seen
}

/// Name, address, status and tags of each member. The protocol is left out: whatever they are asked
/// for, our agents speak 5.
fn members(agent: &Agent) -> Vec<String> {
    let answer = agent.ctl(&["members", TOKEN, "-format=json"]);
    let list: Value = serde_json::from_str(answer.ok()).expect("members prints JSON");
    let shown = |m: &Value| format!("{} {} {} {}", m["name"], m["addr"], m["status"], m["tags"]);
    let mut members: Vec<String> = list["members"].as_array().expect("a list").iter().map(shown).collect();
    members.sort();
    members
}

fn look_at_info(agent: &Agent, seen: &mut Seen) {
    let answer = agent.ctl(&["info", TOKEN, "-format=json"]);
    let info: Value = serde_json::from_str(answer.ok()).expect("info prints JSON");
    seen.insert("info: name", info["agent"]["name"].to_string());
    seen.insert("info: tags", info["tags"].to_string());
    seen.insert("info: handlers", info["event_handlers"].to_string());
    for key in ["members", "failed", "left"] {
        seen.insert(key, info["serf"][key].to_string());
    }
    assert_eq!(info["serf"]["encrypted"], "true");
}

/// Events, queries, their limits, and what handlers are given.
fn look_at_talk(agent: &Agent, out: &Path, seen: &mut Seen) {
    let long = "x".repeat(400);
    let event = agent.ctl(&["event", TOKEN, "deploy", &long]);
    seen.insert("an event that is too long", event.refused());
    let query = agent.ctl(&["query", TOKEN, "small", &long]);
    seen.insert("a query that is too long", query.refused());

    agent.ctl(&["event", TOKEN, "-coalesce=false", "deploy", "v1"]).ok();
    for (what, name) in [("the first handler", "first"), ("the second handler", "second")] {
        let path = out.join(name);
        let text = wait_until(soon(), what, || match fs::read_to_string(&path) {
            // The shell creates the file before the script has written it.
            Ok(text) if !text.is_empty() => Ok(text),
            other => Err(format!("{other:?}")),
        });
        seen.insert(what, text);
    }
    for (what, name) in [("a short answer", "small"), ("an answer that is too long", "large")] {
        // HashiCorp's gossip does not always reach everyone the first time.
        let answer = wait_until(soon(), what, || {
            let answer = agent.ctl(&["query", TOKEN, "-timeout=2s", "-format=json", "-node=n1", name]);
            let answer: Value = serde_json::from_str(answer.ok()).map_err(|e| e.to_string())?;
            if answer["Acks"] == json!(["n1"]) { Ok(answer) } else { Err(answer.to_string()) }
        });
        seen.insert(what, answer["Responses"].to_string());
    }
}

fn look_at_rpc(agent: &Agent, seen: &mut Seen) {
    seen.insert("no token", agent.ctl(&["members"]).refused());
    seen.insert("a wrong token", agent.ctl(&["members", "-rpc-auth=guess"]).refused());
}

#[test]
fn settings_that_exclude_others_start_both() {
    let Some(theirs) = hashicorp_serf() else { return };
    // Only this address is one of the interface, so that it is the ports that are our own.
    let here = |addr: SocketAddr| SocketAddr::from((Ipv4Addr::LOCALHOST, addr.port()));
    let _turn = Turn::shared();
    let (bind, rpc) = free_ipv6_addresses();
    let (bind, rpc) = (here(bind), here(rpc));
    let [expected, seen] = [theirs, serf()].map(|program| with_alternatives(&program, bind, rpc));
    assert_eq!(expected["name"], seen["name"]);
    assert_eq!(expected["bind"], seen["bind"]);
    for (what, key) in [("tags", "tags_file"), ("encrypted", "keyring_file")] {
        assert_eq!(expected[what], seen[what], "{key}");
    }
    assert_eq!(expected["tags"], "{\"kept\":\"yes\"}");
    assert_eq!(expected["encrypted"], "\"true\"");
}

fn with_alternatives(program: &Path, bind: SocketAddr, rpc: SocketAddr) -> Seen {
    let (scratch, out) = (Scratch::new("alternatives"), Scratch::new("out"));
    out.file("keyring", &json!([KEY]).to_string());
    out.file("tags", &json!({"kept": "yes"}).to_string());
    file(&scratch, "all.json", alternatives(bind, rpc, out.path()));
    let agent = spec(program, AgentSpec::new("n1", bind, rpc), &scratch).start();
    let info: Value = serde_json::from_str(agent.ctl(&["info", "-format=json"]).ok()).expect("JSON");
    let addr = agent.members().expect("a list")[0].addr.clone();
    Seen::from([
        ("name", info["agent"]["name"].to_string()),
        ("tags", info["tags"].to_string()),
        ("encrypted", info["serf"]["encrypted"].to_string()),
        ("bind", addr),
    ])
}

/// The two tests above leave out nothing that both programs know.
#[test]
fn every_key_that_debians_version_knows_is_used() {
    let net = Network::claim();
    let somewhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
    let [first, second] = everything(&net, Path::new("/"));
    let used = first.into_iter().chain(second).chain(alternatives(somewhere, somewhere, Path::new("/")));
    let used: BTreeSet<String> = used.map(|(key, _)| key).collect();
    assert_eq!(used, DEBIANS.split_whitespace().map(str::to_string).collect());
    let ours: Vec<&str> = settings().filter_map(|option| option.key).collect();
    assert!(used.iter().all(|key| ours.contains(&key.as_str())), "{used:?} of {ours:?}");
}
