//! Programs by others: HashiCorp's commands drive our agents, our commands drive HashiCorp's
//! agent, and RPC clients written for Python do with our agents what they do with HashiCorp's.

use crate::harness::peers::{hashicorp_serf, python_with_clients};
use crate::harness::raw_rpc::{RpcBody, rpc_request};
use crate::harness::{
    Agent, Answer, Network, Output, all_list, all_see, promised, run, serf, soon, wait_until, within,
};
use serde_json::Value;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::time::Duration;

/// Every command that an operator uses every day, typed into HashiCorp's program.
#[test]
fn hashicorps_commands_drive_our_agents() {
    let Some(theirs) = hashicorp_serf() else { return };
    let net = Network::claim();
    let n1 = net.agent("n1", 1).tag("role", "web").start();
    let n2 = net.agent("n2", 2).start();
    let mut n3 = net.agent("n3", 3).join(net.gossip(2)).start();

    let members = n1.ctl_with(&theirs, &["members"]);
    let columns: Vec<&str> = members.ok().split_whitespace().collect();
    assert_eq!(columns, ["n1", &net.gossip(1).to_string(), "alive", "role=web"]);

    let info = n1.ctl_with(&theirs, &["info"]);
    for line in ["agent:", "\tname = n1", "serf:", "\tmembers = 1", "\tfailed = 0", "tags:", "\trole = web"] {
        assert!(info.ok().lines().any(|l| l == line), "no line '{line}' in:\n{info}");
    }

    let joined = n1.ctl_with(&theirs, &["join", &net.gossip(2).to_string()]);
    assert_eq!(joined.ok().trim(), "Successfully joined cluster by contacting 1 nodes.");
    let all_alive = [("n1", "alive"), ("n2", "alive"), ("n3", "alive")];
    wait_until(soon(), "three agents agree", || all_list(&[&n1, &n2, &n3], &all_alive));
    let nobody = n1.ctl_with(&theirs, &["join", &net.gossip(9).to_string()]);
    assert!(nobody.refused().contains(&net.ip(9).to_string()), "the error names the address: {nobody}");

    n3.kill();
    wait_until(promised(20), "n3 is seen as failed", || all_see(&[&n1, &n2], &[("n3", "failed")]));
    n1.ctl_with(&theirs, &["force-leave", "n3"]).ok();
    wait_until(soon(), "n3 counts as left", || all_see(&[&n1, &n2], &[("n3", "left")]));
    n1.ctl_with(&theirs, &["force-leave", "-prune", "n3"]).ok();
    wait_until(soon(), "n3 is gone", || all_list(&[&n1, &n2], &[("n1", "alive"), ("n2", "alive")]));

    check_json_members(&n1, n1.ctl_with(&theirs, &["members", "-format=json"]).ok());
    check_monitor(&n1, &theirs);

    let mut n2 = n2;
    assert_eq!(n2.ctl_with(&theirs, &["leave"]).ok().trim(), "Graceful leave complete");
    assert_eq!(n2.wait_exit(soon()).code(), Some(0), "exit code after HashiCorp's leave");
    wait_until(promised(3), "n2 left", || all_see(&[&n1], &[("n2", "left")]));
}

/// The fields that scripts read.
fn check_json_members(agent: &Agent, json: &str) {
    let list: Value = serde_json::from_str(json).expect("members -format=json prints JSON");
    let members = list["members"].as_array().expect("there is a list of members");
    let member =
        members.iter().find(|member| member["name"] == agent.name()).expect("the agent lists itself");
    assert_eq!(member["name"], agent.name(), "{json}");
    assert_eq!(member["addr"], agent.gossip().to_string(), "{json}");
    assert_eq!(member["port"], agent.gossip().port(), "{json}");
    assert_eq!(member["tags"]["role"], "web", "{json}");
    assert_eq!(member["status"], "alive", "{json}");
    assert_eq!(member["protocol"]["version"], 5, "{json}");
    assert_eq!(member["protocol"]["max"], 5, "{json}");
    assert_eq!(member["protocol"]["min"], 2, "{json}");
}

/// `monitor` shows what was logged before it came, and what is logged while it watches.
fn check_monitor(n1: &Agent, program: &Path) {
    let watcher =
        Output::watch(program, &["monitor", &format!("-rpc-addr={}", n1.rpc()), "-log-level=debug"]);
    wait_until(soon(), "monitor shows old lines", || watcher.shows("EventMemberJoin: n1 "));
    // Something new happens: an attempt to join nobody.
    let nobody = std::net::SocketAddr::new(n1.gossip().ip(), 1);
    n1.ctl(&["join", &nobody.to_string()]).refused();
    wait_until(soon(), "monitor shows new lines", || watcher.shows(&nobody.to_string()));
}

/// Connections to an agent that take every place it has for clients.
fn take_every_place(agent: &Agent) -> Vec<TcpStream> {
    let hello = rpc_request(0, "handshake", Some(RpcBody::Handshake { version: 1 }));
    let connect = |_| {
        let mut socket = TcpStream::connect(agent.rpc()).expect("it listens");
        socket.set_read_timeout(Some(Duration::from_secs(30))).expect("a timeout can be set");
        socket.write_all(&hello).expect("it reads");
        socket.read_exact(&mut [0; 12]).expect("it answers");
        socket
    };
    (0..128).map(connect).collect()
}

/// The client that is one too many is told so, and shows it, whichever program it is.
#[test]
fn one_client_too_many_shows_why() {
    let net = Network::claim();
    let agent = net.agent("n1", 1).start();
    let mut places = take_every_place(&agent);
    let why = "Too many clients (limit is 128)";
    for program in [Some(serf()), hashicorp_serf()].into_iter().flatten() {
        let refused = agent.ctl_with(&program, &["members"]).refused();
        assert!(refused.contains(why), "{}: {refused}", program.display());
    }
    // Those that say nothing take no place of those that are served.
    let silent: Vec<TcpStream> =
        (0..64).map(|_| TcpStream::connect(agent.rpc()).expect("it listens")).collect();
    places.drain(..10);
    wait_until(soon(), "there is room again", || {
        let listed = agent.ctl(&["members"]);
        if listed.code() == Some(0) { Ok(()) } else { Err(listed.to_string()) }
    });
    drop(silent);
    let mut members = rpc_request(7, "members", None);
    members.extend(rpc_request(8, "stats", None));
    let kept = &mut places[0];
    kept.write_all(&members).expect("it still reads");
    kept.read_exact(&mut [0; 100]).expect("it still answers");
}

/// Our commands against HashiCorp's agents.
#[test]
fn our_commands_drive_hashicorps_agents() {
    let Some(theirs) = hashicorp_serf() else { return };
    let net = Network::claim();
    let h1 = net.agent("h1", 1).program(&theirs).tag("role", "web").start();
    let mut h2 = net.agent("h2", 2).program(&theirs).start();

    let members = h1.ctl(&["members"]);
    let columns: Vec<&str> = members.ok().split_whitespace().collect();
    assert_eq!(columns, ["h1", &net.gossip(1).to_string(), "alive", "role=web"]);
    assert_eq!(h1.info("serf", "members").as_deref(), Ok("1"));
    assert!(h1.ctl(&["info"]).ok().contains("\tname = h1"));

    let joined = h1.ctl(&["join", &net.gossip(2).to_string()]);
    assert_eq!(joined.ok().trim(), "Successfully joined cluster by contacting 1 nodes.");
    wait_until(soon(), "the two agree", || all_list(&[&h1, &h2], &[("h1", "alive"), ("h2", "alive")]));
    check_json_members(&h1, h1.ctl(&["members", "-format=json"]).ok());

    assert_eq!(h2.ctl(&["leave"]).ok().trim(), "Graceful leave complete");
    h2.wait_exit(soon());
    wait_until(soon(), "h2 left", || all_see(&[&h1], &[("h2", "left")]));
    h1.ctl(&["join", &net.gossip(9).to_string()]).refused();
}

/// What is said to the cluster: our commands print, line for line, what HashiCorp's print.
#[test]
fn our_events_and_queries_through_hashicorps_agents() {
    let Some(theirs) = hashicorp_serf() else { return };
    let net = Network::claim();
    let agent = |name: &str, host| {
        let script = "query:load=echo up $SERF_SELF_NAME";
        let raw = "query:raw=printf 'a\\377\\010\\001\\342\\202<&>'";
        let spec = net.agent(name, host).program(&theirs).tag("role", name);
        spec.flag(format!("-event-handler={script}")).flag(format!("-event-handler={raw}"))
    };
    let h1 = agent("h1", 1).start();
    let mut h2 = agent("h2", 2).join(net.gossip(1)).start();
    wait_until(soon(), "the two agree", || all_list(&[&h1, &h2], &[("h1", "alive"), ("h2", "alive")]));

    let watcher = Output::watch(&serf(), &["monitor", &format!("-rpc-addr={}", h1.rpc())]);
    wait_until(soon(), "the monitor is there", || watcher.shows("Received event: member-join"));
    for args in [
        &["event", "-coalesce=false", "deploy", "v2"][..],
        &["event", "deploy"],
        &["query", "-timeout=1s", "-node=h2", "load"],
        &["query", "-timeout=1s", "-tag", "role=h1", "load", "now"],
        &["query", "-timeout=1s", "-no-ack", "-node=h1", "load"],
        &["query", "-timeout=1s", "-format=json", "load"],
        &["query", "-timeout=1s", "-format=json", "-node=h2", "raw"],
        &["query", "-timeout=1s", "-format=json", "-node=nobody", "load"],
        &["reachability"],
    ] {
        // Answers of two members may come in either order.
        let lines = |text: &str| {
            let mut lines: Vec<String> = text.lines().map(|l| l.trim_end_matches(',').to_string()).collect();
            lines.sort();
            lines
        };
        // Theirs now and then shows an answer of nobody, when a query has just ended.
        wait_until(soon(), &format!("the same of {args:?}"), || {
            let (ours, expected) = (h1.ctl(args), h1.ctl_with(&theirs, args));
            // The exit code of `reachability` says whether there was one.
            let seen = |answer: &Answer| (answer.code(), lines(&answer.stdout));
            let same = ours.stderr.is_empty() && ours.code() == Some(0) && seen(&ours) == seen(&expected);
            if same { Ok(()) } else { Err(format!("{ours}\n{expected}")) }
        });
    }
    for line in ["\tName: \"deploy\"", "\tPayload: []byte{0x76, 0x32}", "\tName: \"load\"", "\tID: "] {
        wait_until(soon(), "the monitor shows what was said", || watcher.shows(line));
    }

    // A member that is gone but not yet known to be: it is named, and nothing else changes.
    h2.kill();
    let silent = h1.ctl(&["query", "-timeout=500ms", "load"]);
    assert!(silent.ok().ends_with("Total Acks: 1\nTotal Responses: 1\n"), "{silent}");
    assert_eq!(silent.stderr, "no ack from: h2\n");
    assert_eq!(h1.ctl(&["query", "-timeout=500ms", "-format=json", "load"]).stderr, "");
}

/// Either program's commands about events and queries, with either program's agents.
#[test]
fn commands_and_agents_of_both_programs_talk_of_events_and_queries() {
    let Some(theirs) = hashicorp_serf() else { return };
    let ours = serf();
    for (agents, commands) in [(&ours, &theirs), (&theirs, &ours)] {
        let net = Network::claim();
        let names = ["n1", "n2", "n3"];
        let cluster = net.cluster_with(names, |spec| {
            let spec = spec.program(agents).flag("-event-handler=query:load=echo 0.5");
            spec.flag("-event-handler=user:deploy=cat").flag("-log-level=debug")
        });
        wait_until(soon(), "three agree", || {
            all_list(&cluster.each_ref(), &names.map(|name| (name, "alive")))
        });
        let ask = |arguments: &[&str]| cluster[0].ctl_with(commands, arguments);

        let sent = ask(&["event", "-coalesce=false", "deploy", "the payload"]);
        assert_eq!(sent.ok().trim(), "Event 'deploy' dispatched! Coalescing enabled: false");
        wait_until(soon(), "each handler printed the payload", || {
            match cluster.iter().find(|agent| agent.log_count("the payload") == 0) {
                None => Ok(()),
                Some(agent) => Err(format!("not that of {}", agent.name())),
            }
        });

        let mut expected = vec!["Query 'load' dispatched".to_string()];
        expected.extend(names.map(|name| format!("Ack from '{name}'")));
        expected.extend(names.map(|name| format!("Response from '{name}': 0.5")));
        expected.extend(["Total Acks: 3".to_string(), "Total Responses: 3".to_string()]);
        expected.sort_unstable();
        // Gossip of HashiCorp's agents passes a member by now and then, and their queries last for the
        // whole timeout: short, with another try. Ours end early, and must be right at once.
        let theirs = agents == &theirs;
        let timeout = if theirs { "-timeout=2s" } else { "-timeout=30s" };
        let tries = if theirs { soon() } else { within(0) };
        wait_until(tries, "all three answer", || {
            let answer = ask(&["query", timeout, "load", "now"]);
            let mut lines: Vec<&str> = answer.ok().lines().collect();
            lines.sort_unstable();
            if lines == expected { Ok(()) } else { Err(answer.to_string()) }
        });
        wait_until(tries, "one of them answers", || {
            let json = ask(&["query", timeout, "-format=json", "-node=n2", "load"]);
            let json: Value = serde_json::from_str(json.ok()).expect("query -format=json prints JSON");
            let answered = json["Acks"] == serde_json::json!(["n2"]) && json["Responses"]["n2"] == "0.5\n";
            if answered { Ok(()) } else { Err(json.to_string()) }
        });
        wait_until(tries, "all can be reached", || {
            let reached = ask(&["reachability"]);
            let well =
                reached.code() == Some(0) && reached.stdout.contains("Successfully contacted all live nodes");
            if well { Ok(()) } else { Err(reached.to_string()) }
        });
    }
}

/// Each client is told the same by our agent as by HashiCorp's.
#[test]
fn python_clients_send_and_stream_events_and_queries() {
    let Some(python) = python_with_clients() else { return };
    let expected = [
        ("serfclient_events.py", "deploy "),
        (
            "serfio_events.py",
            "streamed: user deploy b'abc\\xff'\nstreamed: query load b'now?'\nanswered: n1 b'so\\xff'\n",
        ),
    ];
    for (script, beginning) in expected {
        let said = |program: &Path| {
            let net = Network::claim();
            let agent = net.agent("n1", 1).program(program).start();
            let path = format!("{}/tests/peers/{script}", env!("CARGO_MANIFEST_DIR"));
            // Tasks of serfio that read at the same time overwrite each other's input now and then.
            wait_until(within(40), "the script comes to its end", || {
                let said =
                    run(&python, [path.clone(), net.ip(1).to_string(), agent.rpc().port().to_string()]);
                if said.code() == Some(0) { Ok(said.stdout) } else { Err(said.to_string()) }
            })
        };
        let ours = said(&serf());
        assert!(ours.starts_with(beginning), "{script}: {ours}");
        if let Some(theirs) = hashicorp_serf() {
            assert_eq!(ours, said(&theirs), "{script}");
        }
    }
}

#[test]
fn pythons_serfclient_lists_our_members() {
    check_python_client("serfclient_members.py");
}

#[test]
fn pythons_serfio_lists_our_members() {
    check_python_client("serfio_members.py");
}

fn check_python_client(script: &str) {
    let Some(python) = python_with_clients() else { return };
    let net = Network::claim();
    let [n1, n2] = net.cluster_with(["n1", "n2"], |spec| spec.tag("role", "web"));
    wait_until(soon(), "the two agree", || all_list(&[&n1, &n2], &[("n1", "alive"), ("n2", "alive")]));
    let script = format!("{}/tests/peers/{script}", env!("CARGO_MANIFEST_DIR"));
    let listed = run(&python, [script, n1.rpc().ip().to_string(), n1.rpc().port().to_string()]);
    let mut lines: Vec<&str> = listed.ok().lines().collect();
    lines.sort_unstable();
    let expected =
        [format!("n1 {} alive", n1.gossip()), format!("n2 {} alive", n2.gossip()), "web: n1 n2".into()];
    // The order of members is the list's own; only the set is promised to other clients.
    let mut last: Vec<&str> = lines[2].split_whitespace().collect();
    last[1..].sort_unstable();
    assert_eq!([lines[0], lines[1], &last.join(" ")], expected.each_ref().map(String::as_str));
}
