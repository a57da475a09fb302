//! What a host does to a process: signals that mean nothing to the agent, and the limits of a shell. None of
//! it ends the agent without a word.

use crate::harness::rpc::counter;
use crate::harness::{Agent, AgentSpec, Network, Scratch, soon, wait_until};
use std::fs;

/// Signals that end a process by default and that HashiCorp's program survives. Real-time ones by number.
const MEANINGLESS: &[&str] =
    &["USR2", "ALRM", "VTALRM", "PROF", "XCPU", "XFSZ", "IO", "PWR", "35", "36", "50", "64"];

fn logged(agent: &Agent, text: &str) -> Result<(), String> {
    if agent.log_count(text) > 0 { Ok(()) } else { Err(format!("no '{text}' in:\n{}", agent.log())) }
}

/// An agent, and the commands that ask it, under a limit of the shell: `-f 0`.
fn limited(spec: AgentSpec, limit: &str) -> AgentSpec {
    let shell = format!("ulimit {limit} && exec \"$0\" \"$@\"");
    spec.inside(["sh", "-c", &shell].map(str::to_string).to_vec())
}

#[test]
fn signals_that_mean_nothing_do_not_end_the_agent_and_handlers_have_their_defaults() {
    let net = Network::claim();
    let scratch = Scratch::new("signals");
    let seen = scratch.path().join("seen");
    let handler = format!("user:look=grep -E '^Sig(Blk|Ign|Cgt)' /proc/self/status >> {}", seen.display());
    let mut n1 = net.agent("n1", 1).flag(format!("-event-handler={handler}")).start();
    for name in MEANINGLESS {
        n1.send_signal(name);
    }
    n1.ctl(&["event", "look"]).ok();
    let status = wait_until(soon(), "a handler looks at its signals", || {
        let text = fs::read_to_string(&seen).unwrap_or_default();
        if text.contains("SigCgt") { Ok(text) } else { Err(format!("'{text}'\n{}", n1.log())) }
    });
    for (line, numbers) in status.lines().zip([&[10, 12, 14, 24, 25, 26, 27, 29, 30, 35, 64][..]; 3]) {
        let mask = line.split_whitespace().nth(1).and_then(|hex| u64::from_str_radix(hex, 16).ok());
        let mask = mask.unwrap_or_else(|| panic!("no mask in '{line}'"));
        for number in numbers {
            assert_eq!(mask >> (number - 1) & 1, 0, "signal {number} has its default: {line}");
        }
    }
    assert!(n1.is_running());
}

#[test]
fn a_quit_signal_ends_the_agent_with_a_word() {
    let net = Network::claim();
    let mut n1 = net.agent("n1", 1).start();
    n1.send_signal("QUIT");
    assert_eq!(n1.wait_exit(soon()).code(), Some(1));
    logged(&n1, "==> Caught signal: quit").unwrap();
    logged(&n1, "shutdown complete").unwrap();
}

/// The snapshot is nearly as large as a file may be.
#[test]
fn a_write_beyond_the_limit_of_file_sizes_is_a_failing_disk() {
    let net = Network::claim();
    let scratch = Scratch::new("fsize");
    let path = scratch.file("serf.snapshot", &"event-clock: 1\n".repeat(32 * 1024 / 15));
    // In blocks of 512 bytes, or 1,024.
    let spec = net.agent("n1", 1).flag(format!("-snapshot={path}"));
    let mut n1 = limited(spec, "-f 32").start();
    let mut events = 0;
    let complaint = format!("Failed to write the snapshot {path}: File too large (os error 27)");
    wait_until(soon(), "the file has reached the limit", || {
        n1.ctl(&["event", &format!("e{events}")]).ok();
        events += 1;
        logged(&n1, &complaint)
    });
    wait_until(soon(), "a short one takes its place", || logged(&n1, "is complete again"));
    let short = fs::metadata(&path).expect("the snapshot is there").len();
    assert!(short < 16 * 1024, "{short} bytes");
    assert!(n1.is_running());
}

/// No file of the agent's can be written, its log included.
#[test]
fn an_agent_that_may_write_no_file_goes_on() {
    let net = Network::claim();
    let scratch = Scratch::new("nowrite");
    let file = |name: &str| scratch.path().join(name).display().to_string();
    let spec = net.agent("n1", 1).flag(format!("-snapshot={}", file("snapshot")));
    let spec = spec.flag(format!("-tags-file={}", file("tags")));
    let mut n1 = limited(spec, "-f 0").start();
    let refused = n1.ctl(&["tags", "-set", "role=web"]).refused();
    assert!(refused.contains("Failed to write tags file") && refused.contains("File too large"), "{refused}");
    n1.ctl(&["event", "deploy"]).ok();
    wait_until(soon(), "the snapshot fails", || match counter(&n1, "snapshot_writes_failed") {
        0 => Err("not yet".to_string()),
        _ => Ok(()),
    });
    n1.ctl(&["leave"]).ok();
    assert_eq!(n1.wait_exit(soon()).code(), Some(0));
}

/// With few descriptors it says what it lacks; with enough to start it says that they are few.
#[test]
fn too_few_descriptors_are_spoken_of() {
    let net = Network::claim();
    let scratch = Scratch::new("nofile");
    let snapshot = format!("-snapshot={}", scratch.path().join("snapshot").display());
    for files in [6, 10, 14, 18, 22] {
        let spec = limited(net.agent("n1", 1).flag(&snapshot), &format!("-n {files}"));
        let said = spec.run().refused();
        assert!(said.contains("Too many open files (os error 24)"), "with {files}: {said}");
    }
    let mut n1 = limited(net.agent("n1", 1).flag(&snapshot), "-n 40").start();
    wait_until(soon(), "they are few", || logged(&n1, "[WARN] agent: Limited to 40 open files (ulimit -n)"));
    assert!(n1.is_running());
}

#[test]
fn a_limit_of_cpu_time_is_spoken_of() {
    let net = Network::claim();
    let n1 = limited(net.agent("n1", 1), "-t 3600").start();
    let warning = "[WARN] agent: Limited to 3600 s of CPU time (ulimit -t)";
    wait_until(soon(), "the limit is spoken of", || logged(&n1, warning));
}
