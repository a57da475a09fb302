//! Event handlers: scripts see what HashiCorp's agent shows them, byte for byte, and never outlive
//! the agent.

use crate::harness::machine::Turn;
use crate::harness::peers::hashicorp_serf;
use crate::harness::{
    Agent, AgentSpec, Network, Output, Scratch, Signal, all_list, all_see, free_ipv6_addresses, promised,
    serf, soon, wait_until, within,
};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Values with everything that needs escaping, or looks as if it did.
const AWKWARD_TAGS: [(&str, &str); 9] = [
    ("role", "we\tb"),
    ("sp", "a b  c"),
    ("tab\tkey", "x\ty"),
    ("nl", "l1\nl2\n"),
    ("eq", "a=b=c"),
    ("co,mma", "a,b"),
    ("ünï-ß.ı", "grüße"),
    ("back", "\\n\\\\"),
    ("empty", ""),
];

/// A handler that writes down what it is given, and the place where it does.
struct Dump(Scratch);

/// What one run was given.
#[derive(Debug, PartialEq, Eq)]
struct Run {
    /// Variables whose names begin with `SERF_`.
    variables: BTreeMap<String, String>,
    stdin: String,
}

impl Dump {
    fn new(label: &str) -> Dump {
        Dump(Scratch::new(label))
    }

    /// For `-event-handler`. Runs are numbered in their order, as one begins when the other ends.
    fn handler(&self) -> String {
        let dir = self.0.path().display();
        let script = format!(
            "d=$(mktemp -d {dir}/.XXXXXX) && cat > $d/stdin && env -0 > $d/env && mv $d {dir}/$(ls {dir} | wc -l)"
        );
        format!("*={script}")
    }

    /// The runs so far, in order.
    fn runs(&self) -> Vec<Run> {
        let number = |n: &usize| self.0.path().join(n.to_string());
        (0..).map(|n| number(&n)).take_while(|dir| dir.exists()).map(|dir| Run::read(&dir)).collect()
    }

    /// The runs for one kind of event.
    fn told(&self, kind: &str) -> Vec<Run> {
        let mut runs = self.runs();
        runs.retain(|run| run.variables.get("SERF_EVENT").is_some_and(|event| event == kind));
        runs
    }

    /// The lines about members that runs for one kind of event were given.
    fn lines(&self, kind: &str) -> BTreeSet<String> {
        let runs = self.told(kind);
        runs.iter().flat_map(|run| run.stdin.split_inclusive('\n')).map(ordered).collect()
    }

    /// The variables that runs for one kind of event were given.
    fn variables(&self, kind: &str) -> BTreeSet<BTreeMap<String, String>> {
        self.told(kind).into_iter().map(|run| run.variables).collect()
    }
}

impl Run {
    fn read(dir: &Path) -> Run {
        let text = |name: &str| {
            let bytes = fs::read(dir.join(name)).expect("a run is complete when it is there");
            String::from_utf8(bytes).expect("what scripts are given is UTF-8 here")
        };
        let environment = text("env");
        let variables = environment.split_terminator('\0').filter_map(|pair| pair.split_once('='));
        let variables = variables.filter(|(name, _)| name.starts_with("SERF_"));
        let variables = variables.map(|(name, value)| (name.to_string(), value.to_string())).collect();
        Run { variables, stdin: text("stdin") }
    }
}

/// A line with its tags in order, as far as they can be told apart: HashiCorp's agent writes them
/// in another order each time.
fn ordered(line: &str) -> String {
    let Some((start, tags)) = line.strip_suffix('\n').and_then(|line| line.rsplit_once('\t')) else {
        return line.to_string();
    };
    let mut tags: Vec<&str> = tags.split(',').collect();
    tags.sort_unstable();
    format!("{start}\t{}\n", tags.join(","))
}

/// What happens in the cluster of both programs, and what the observer's script must hear of it.
struct Step {
    kind: &'static str,
    cause: fn(&mut Cluster),
    /// How lines begin that it is given.
    lines: &'static [&'static str],
}

/// The same for both programs, so whatever both can do can be a step.
const STORY: &[Step] = &[
    Step { kind: "member-join", cause: |_| {}, lines: &["s1\t", "s2\t", "s3\t", "watcher\t"] },
    Step {
        kind: "member-update",
        cause: |cluster| cluster.ctl("s2", &["tags", "-set", "changed=a\tb, c"]),
        lines: &["s2\t"],
    },
    Step { kind: "member-leave", cause: |cluster| cluster.ctl("s2", &["leave"]), lines: &["s2\t"] },
    Step { kind: "member-failed", cause: |cluster| cluster.kill("s3"), lines: &["s3\t"] },
    Step {
        kind: "member-reap",
        cause: |cluster| cluster.ctl("watcher", &["force-leave", "-prune", "s3"]),
        lines: &["s3\t"],
    },
];

/// What members say in the cluster of both programs: `event` or `query`, a name and a payload.
const SAID: &[(&str, &[&str])] = &[
    ("event", &["deploy", "abc"]),
    ("event", &["deploy"]),
    ("event", &["deploy", ""]),
    ("event", &["ends", "with a newline\n"]),
    ("event", &["lines", "l1\n\nl2"]),
    ("event", &["newline", "\n"]),
    ("event", &["sp ace", "a b  c\t"]),
    ("event", &["ünï-ß.ı=x", "grüße 日本"]),
    ("event", &["a.b-c", "\\n $HOME `id` ; 'q' \"q\""]),
    ("query", &["load", "1"]),
    ("query", &["load"]),
    ("query", &["ends", "with a newline\n"]),
    ("query", &["lines", "l1\n\nl2"]),
    ("query", &["ünï-ß.ı=x", "grüße 日本"]),
    ("event", &["deploy", "after the queries"]),
];

/// Some members, and one whose script writes down what it hears.
struct Cluster {
    program: PathBuf,
    agents: Vec<Agent>,
}

impl Cluster {
    fn start(net: &Network, program: &Path, dump: &Dump) -> Cluster {
        let awkward = |spec: AgentSpec| {
            let tagged = |spec: AgentSpec, (name, value): &(&str, &str)| spec.tag(name, value);
            AWKWARD_TAGS.iter().fold(spec, tagged)
        };
        let plain = |name, host| net.agent(name, host).program(program).flag("-profile=local");
        let s1 = awkward(plain("s1", 1)).start();
        let s2 = awkward(plain("s2", 2)).join(net.gossip(1)).start();
        let s3 = plain("s3", 3).join(net.gossip(1)).start();
        let all = [("s1", "alive"), ("s2", "alive"), ("s3", "alive")];
        wait_until(soon(), "all agree", || all_list(&[&s1, &s2, &s3], &all));
        // Last, so that it learns of the others all at once.
        let watcher = awkward(plain("watcher", 4)).join(net.gossip(1)).flag("-event-handler");
        let watcher = watcher.flag(dump.handler()).start();
        Cluster { program: program.to_path_buf(), agents: vec![s1, s2, s3, watcher] }
    }

    fn agent(&mut self, name: &str) -> &mut Agent {
        self.agents.iter_mut().find(|agent| agent.name() == name).expect("the story names members")
    }

    fn ctl(&mut self, name: &str, command: &[&str]) {
        let program = self.program.clone();
        self.agent(name).ctl_with(&program, command).ok();
    }

    /// Says each thing of [`SAID`] (by the watcher itself: gossip may pass a member by), when the script has been told of the one before.
    fn say(&mut self, dump: &Dump) {
        // Whoever asks waits for the end of the query, which with HashiCorp's agent is its timeout.
        // The timeout is long, because a script that is told late is not told at all; so nobody
        // waits for the commands, and they end with this.
        let mut asking = Vec::new();
        for (command, said) in SAID {
            let kind = if *command == "event" { "user" } else { command };
            let told = dump.told(kind).len();
            if kind == "user" {
                self.ctl("watcher", &[&[*command, "-coalesce=false"], *said].concat());
            } else {
                let address = format!("-rpc-addr={}", self.agent("watcher").rpc());
                let options = [*command, &address, "-timeout=60s"];
                asking.push(Output::watch(&self.program, &[&options[..], *said].concat()));
            }
            wait_until(soon(), &format!("the script hears of {command} {said:?}"), || {
                let runs = dump.told(kind);
                if runs.len() > told { Ok(()) } else { Err(format!("{runs:#?}")) }
            });
        }
    }

    fn kill(&mut self, name: &str) {
        self.agent(name).kill();
        let watcher = &self.agents[3];
        wait_until(promised(20), "it is seen as failed", || all_see(&[watcher], &[(name, "failed")]));
    }
}

/// Plays the story with one program.
fn play(net: &Network, program: &Path, dump: &Dump) {
    let mut cluster = Cluster::start(net, program, dump);
    for step in STORY {
        (step.cause)(&mut cluster);
        wait_until(soon(), &format!("the script hears of {}", step.kind), || {
            let told = dump.lines(step.kind);
            let heard = |start: &&str| told.iter().any(|line| line.starts_with(*start));
            if step.lines.iter().all(heard) { Ok(()) } else { Err(format!("{told:#?}")) }
        });
        if step.kind == "member-join" {
            cluster.say(dump);
        }
    }
}

#[test]
fn scripts_are_given_what_hashicorps_agent_gives_them() {
    let Some(program) = hashicorp_serf() else { return };
    // One after the other, at the same addresses and with the same names.
    let net = Network::claim();
    let (theirs, ours) = (Dump::new("theirs"), Dump::new("ours"));
    play(&net, &program, &theirs);
    play(&net, &serf(), &ours);
    for Step { kind, lines, .. } in STORY {
        // A busy machine may have had an agent report someone else as well.
        let about = |dump: &Dump| {
            let mut told = dump.lines(kind);
            told.retain(|line| lines.iter().any(|start| line.starts_with(start)));
            told
        };
        assert_eq!(about(&ours), about(&theirs), "{kind}");
        assert_eq!(ours.variables(kind), theirs.variables(kind), "{kind}");
    }
    for (kind, command) in [("user", "event"), ("query", "query")] {
        let said = SAID.iter().filter(|(said, _)| *said == command).count();
        assert_eq!(ours.told(kind), theirs.told(kind), "{kind}");
        assert_eq!(ours.told(kind).len(), said, "each {command} once");
    }
    for dump in [&theirs, &ours] {
        let most = dump.told("member-join").iter().map(|run| run.stdin.matches('\n').count()).max();
        assert!(most > Some(1), "several members in one event");
    }
}

#[test]
fn addresses_are_written_as_hashicorps_agent_writes_them() {
    let Some(program) = hashicorp_serf() else { return };
    let _turn = Turn::shared();
    let (gossip, rpc) = free_ipv6_addresses();
    let told = |label: &str, program: &Path| {
        let dump = Dump::new(label);
        let spec = AgentSpec::new("n", gossip, rpc).program(program);
        let _agent = spec.flag("-event-handler").flag(dump.handler()).tag("k", "v").start();
        wait_until(soon(), "it hears of itself", || match dump.told("member-join").first() {
            Some(run) => Ok(run.stdin.clone()),
            None => Err("not yet".to_string()),
        })
    };
    assert_eq!(told("ours", &serf()), told("theirs", &program));
}

#[test]
fn wrong_handlers_are_refused_in_the_same_words() {
    let net = Network::claim();
    let refused = |spec: AgentSpec| {
        let said = spec.flag("-event-handler=member-join,foo=echo a=b").run().refused();
        said.lines().find(|line| line.contains("event script")).unwrap_or_default().to_string()
    };
    let ours = refused(net.agent("n", 1));
    assert!(ours.contains("Invalid event script: Event 'foo' invoking 'echo a=b'"), "{ours}");
    let Some(program) = hashicorp_serf() else { return };
    let theirs = refused(net.agent("n", 1).program(&program));
    assert!(ours.starts_with(&theirs), "theirs: {theirs}\nours:   {ours}");
}

#[test]
fn a_stopped_agent_leaves_no_script_behind() {
    let net = Network::claim();
    let scratch = Scratch::new("scripts");
    let pids = scratch.path().join("pids");
    let script = format!("sleep 300 & echo $! $$ > {p}.new; mv {p}.new {p}; wait", p = pids.display());
    let mut agent = net.agent("n", 1).flag("-event-handler").flag(format!("member-join={script}")).start();
    let running = wait_until(soon(), "the script runs", || {
        fs::read_to_string(&pids).map_err(|e| format!("{}: {e}", pids.display()))
    });
    assert!(agent.thread_names().iter().any(|name| name == "serf-handlers"));
    check_answers(&agent);
    agent.signal(Signal::Terminate);
    agent.wait_exit(within(10));
    // The kernel may need a moment for what was killed.
    wait_until(soon(), "no process of the script has outlived the agent", || {
        match running.split_whitespace().find(|pid| is_running(pid)) {
            None => Ok(()),
            Some(pid) => Err(format!("process {pid} has")),
        }
    });
    assert_eq!(agent.log_count("was ended because the agent stops"), 1);
}

/// A script that does not end keeps the agent from nothing.
fn check_answers(agent: &Agent) {
    all_list(&[agent], &[("n", "alive")]).expect("the agent lists itself");
}

/// A process that has ended and that nobody has reaped does not run.
fn is_running(pid: &str) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
}
