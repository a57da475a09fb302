//! Errors and warnings in logs: which of them a test brings about, which come of a machine that did
//! not run processes, and which are complaints.

use super::Agent;
use std::io::Write;
use std::sync::{Mutex, Once};
use std::thread;
use std::time::{Duration, Instant};

/// Who said it, and the line.
pub type Complaint = (String, String);

/// An error or a warning as it follows the time in a line of a log.
pub fn complaint(line: &str) -> Option<&str> {
    const MARKS: [&str; 5] = ["[ERR]", "[ERROR]", "[WARN]", "panic", "fatal error"];
    let at = MARKS.iter().filter_map(|mark| line.find(mark)).min();
    at.map(|at| &line[at..])
}

/// A complaint that a test brings about.
#[derive(Clone, Debug)]
pub struct Excuse {
    by: String,
    line: String,
}

impl Excuse {
    /// Agents whose name fits `by` may say what fits `line` (see [`fits`]).
    pub fn new(by: impl Into<String>, line: impl Into<String>) -> Excuse {
        Excuse { by: by.into(), line: line.into() }
    }

    pub fn covers(&self, who: &str, complaint: &str) -> bool {
        fits(&self.by, who) && fits(&self.line, complaint)
    }
}

/// Whether a text is this pattern, in which each `*` stands for anything.
pub fn fits(pattern: &str, text: &str) -> bool {
    let Some((start, rest)) = pattern.split_once('*') else { return pattern == text };
    let Some(mut text) = text.strip_prefix(start) else { return false };
    let mut parts: Vec<&str> = rest.split('*').collect();
    let end = parts.pop().expect("a split has a last part");
    for part in parts {
        let Some(at) = text.find(part) else { return false };
        text = &text[at + part.len()..];
    }
    text.ends_with(end)
}

/// Fails if one of these agents has complained about anything that is not excused, since the time
/// that the machine has been watched from.
#[track_caller]
pub fn nobody_complains<'a>(agents: impl IntoIterator<Item = &'a Agent>, excuses: &[Excuse], since: Instant) {
    let mut complaints = Vec::new();
    for agent in agents {
        let (who, log) = (agent.name(), agent.log());
        let excused = |line: &&str| excuses.iter().any(|excuse| excuse.covers(who, line));
        // What an agent says after it was told to stop is about its own end.
        let life = log.split("==> Caught signal: ").next().unwrap_or_default();
        let lines = life.lines().filter_map(complaint).filter(|line| !excused(line));
        complaints.extend(lines.map(|line| (who.to_string(), line.to_string())));
    }
    let complaints = not_of_the_machine(complaints, since);
    assert!(complaints.is_empty(), "complaints that nothing excuses: {complaints:#?}");
}

/// What is left of complaints when those of lateness are taken away, if the machine stood still.
pub fn not_of_the_machine(mut complaints: Vec<Complaint>, since: Instant) -> Vec<Complaint> {
    if let Some(stall) = stalled_since(since.checked_sub(AFTERMATH).unwrap_or(since)) {
        complaints.retain(|(who, line)| {
            let late = LATE.iter().any(|pattern| fits(pattern, line));
            if late {
                loudly(&format!("the machine stood still for {stall:?}; so {who} said: {line}"));
            }
            !late
        });
    }
    complaints
}

// ---- The machine ----

/// Complaints that come of acks that are late, whoever is to blame.
const LATE: [&str; 5] = [
    "[ERR] memberlist: Failed fallback ping: *i/o timeout",
    "[WARN] memberlist: Was able to connect to *",
    "[WARN] memberlist: Refuting a suspect message (from: *)",
    "[WARN] memberlist: This process did not run for *",
    "[WARN] agent: Script * slow, execution exceeding *",
];

/// A pause of all processes that is worth noting: half of the shortest time that a ping has.
const STALL: Duration = Duration::from_millis(100);
/// How long the effects of a stall go on: a probe, the suspicion and its refutation.
pub const AFTERMATH: Duration = Duration::from_secs(10);
/// Between two looks at the clock.
const PULSE: Duration = Duration::from_millis(20);

/// When this process was last found late, and by how much: the machine did not run it, nor perhaps
/// the agents.
static STALLS: Mutex<Vec<(Instant, Duration)>> = Mutex::new(Vec::new());

/// Notes from now on when the machine does not run this process.
pub fn watch_the_machine() {
    static WATCH: Once = Once::new();
    WATCH.call_once(|| {
        thread::spawn(|| {
            loop {
                let start = Instant::now();
                thread::sleep(PULSE);
                let late = start.elapsed().saturating_sub(PULSE);
                if late >= STALL {
                    STALLS.lock().expect("nobody panics with it").push((Instant::now(), late));
                }
            }
        });
    });
}

/// The longest time since then that the machine did not run this process for.
pub fn stalled_since(then: Instant) -> Option<Duration> {
    let stalls = STALLS.lock().expect("nobody panics with it");
    stalls.iter().filter(|(at, _)| *at >= then).map(|(_, late)| *late).max()
}

/// Tells whoever runs the tests. Not `eprintln!`, which the test runner keeps to itself when a
/// test passes.
pub fn loudly(what: &str) {
    let test = thread::current().name().unwrap_or("a test").to_string();
    let _ = writeln!(std::io::stderr(), "\n**** {test}: {what}\n");
}
