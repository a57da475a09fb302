//! The agent as process 1 of a container: it reaps what its handlers leave behind, and ends by signals that
//! the kernel keeps from a process 1 without handlers of its own.

use crate::harness::notes::skip;
use crate::harness::{Agent, AgentSpec, Network, Scratch, soon, wait_until};
use std::fs;
use std::process::{Command, Stdio};

/// Each command becomes process 1 of a namespace of its own.
const CONTAINER: [&str; 5] = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"];

/// An agent in a container, if there can be one here.
fn contained(spec: AgentSpec) -> Option<AgentSpec> {
    let [program, options @ ..] = CONTAINER;
    let tried = Command::new(program).args(options).arg("true").stdin(Stdio::null()).output();
    match tried {
        Ok(output) if output.status.success() => Some(spec.inside(CONTAINER.map(str::to_string).to_vec())),
        Ok(output) => {
            let why = String::from_utf8_lossy(&output.stderr).into_owned();
            skip(&format!("process namespaces need root: {why}"))
        }
        Err(e) => skip(&format!("process namespaces need unshare: {e}")),
    }
}

/// The children of a process: their ids and states.
fn children(parent: u32) -> Vec<(u32, char)> {
    let processes = fs::read_dir("/proc").expect("there is a /proc").flatten();
    let stats = processes.filter_map(|process| fs::read_to_string(process.path().join("stat")).ok());
    let child = |stat: String| {
        // "42 (a name) S 1 …"
        let (before, after) = stat.rsplit_once(") ")?;
        let mut fields = after.split(' ');
        let (state, of) = (fields.next()?.chars().next()?, fields.next()?.parse::<u32>().ok()?);
        (of == parent).then_some((before.split(' ').next()?.parse().ok()?, state))
    };
    stats.filter_map(child).collect()
}

/// The process id of the agent in a container, as the host sees it.
fn inside(agent: &Agent) -> u32 {
    let [(pid, _)] = children(agent.pid())[..] else { panic!("one process in the container") };
    pid
}

#[test]
fn as_process_1_it_reaps_orphans_and_gets_its_own_scripts_right() {
    const ROUNDS: usize = 20;
    let net = Network::claim();
    let scratch = Scratch::new("orphans");
    let done = scratch.path().join("done");
    // One in the script's process group, one in a session of its own.
    let script = format!(
        "for i in 1 2; do (sleep 0.$i; echo end >> {0}) & done; setsid sh -c 'sleep 0.1; echo end >> {0}' &",
        done.display()
    );
    let script = format!("exec >/dev/null 2>&1; {script}");
    let spec = net
        .agent("n1", 1)
        .flag(format!("-event-handler=user:fail={script} exit 3"))
        .flag(format!("-event-handler=query:ask=({script}); echo answer"));
    let Some(spec) = contained(spec) else { return };
    let n1 = spec.start();
    let pid = inside(&n1);
    for round in 0..ROUNDS {
        n1.ctl(&["event", "-coalesce=false", "fail", &round.to_string()]).ok();
        let answer = n1.ctl(&["query", "-timeout=20s", "ask"]);
        assert!(answer.ok().contains("Response from 'n1': answer"), "{answer}");
    }
    wait_until(soon(), "all scripts have failed", || match n1.log_count("exit 3': exit status 3") {
        ROUNDS => Ok(()),
        n => Err(format!("{n}\n{}", n1.log())),
    });
    wait_until(soon(), "what they left behind has ended", || {
        let ended = fs::read_to_string(&done).unwrap_or_default().lines().count();
        if ended == 2 * 3 * ROUNDS { Ok(()) } else { Err(format!("{ended}")) }
    });
    wait_until(soon(), "nothing is left of it", || match &children(pid)[..] {
        [] => Ok(()),
        left => Err(format!("{left:?}")),
    });
}

/// A script that is being ended is told apart from orphans, too.
#[test]
fn as_process_1_it_ends_scripts_that_run_too_long_with_all_they_started() {
    let net = Network::claim();
    let scratch = Scratch::new("late");
    let script = "user:hang=trap '' TERM; sleep 60 & sleep 0.1 & while :; do sleep 0.05; done";
    let spec = net.agent("n1", 1).flag(format!("-event-handler={script}"));
    let spec = spec.settings(&scratch, r#"{ "handler_timeout": "500ms" }"#);
    let Some(spec) = contained(spec) else { return };
    let n1 = spec.start();
    let pid = inside(&n1);
    n1.ctl(&["event", "hang"]).ok();
    wait_until(soon(), "it is ended", || match n1.log_count("still running after") {
        0 => Err(n1.log()),
        _ => Ok(()),
    });
    wait_until(soon(), "nothing is left of it", || match &children(pid)[..] {
        [] => Ok(()),
        left => Err(format!("{left:?}")),
    });
}

#[test]
fn as_process_1_it_ends_by_signals_as_anywhere() {
    let net = Network::claim();
    for (name, flag, code) in
        [("TERM", None, 1), ("INT", None, 0), ("TERM", Some(r#"{ "leave_on_terminate": true }"#), 0)]
    {
        let scratch = Scratch::new("pid1");
        let spec = net.agent("n1", 1);
        let spec = match flag {
            Some(json) => spec.settings(&scratch, json),
            None => spec,
        };
        let Some(spec) = contained(spec) else { return };
        let mut n1 = spec.start();
        let pid = inside(&n1).to_string();
        for signal in ["USR2", name] {
            let sent = Command::new("sh").args(["-c", "kill -s \"$0\" \"$1\"", signal, &pid]).status();
            assert!(sent.is_ok_and(|status| status.success()), "{signal} is sent");
        }
        assert_eq!(n1.wait_exit(soon()).code(), Some(code), "{name}: {}", n1.log());
    }
}
