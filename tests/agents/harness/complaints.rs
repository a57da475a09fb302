//! Errors and warnings in logs: which of them a test brings about, which come of a machine that did
//! not run processes, and which are complaints.

use super::agent::Agent;
use super::machine::{AFTERMATH, stalled_since};
use super::notes::loudly;
use std::time::Instant;

/// Complaints that come of acks that are late, whichever side is to blame.
const LATE: [&str; 5] = [
    "[ERR] memberlist: Failed fallback ping: *i/o timeout",
    "[WARN] memberlist: Was able to connect to *",
    "[WARN] memberlist: Refuting a suspect message (from: *)",
    "[WARN] memberlist: This process did not run for *",
    "[WARN] agent: Script * slow, execution exceeding *",
];

/// Which agent it is of, and the line.
pub(crate) type Complaint = (String, String);

/// An error or a warning as it follows the time in a line of a log.
pub(crate) fn complaint(line: &str) -> Option<&str> {
    const MARKS: [&str; 5] = ["[ERR]", "[ERROR]", "[WARN]", "panic", "fatal error"];
    let at = MARKS.iter().filter_map(|mark| line.find(mark)).min();
    at.map(|at| &line[at..])
}

/// A complaint that a test brings about.
#[derive(Clone, Debug)]
pub(crate) struct Excuse {
    by: String,
    line: String,
}

impl Excuse {
    /// Agents whose name fits `by` may say what fits `line` (see [`fits`]).
    pub(crate) fn new(by: impl Into<String>, line: impl Into<String>) -> Excuse {
        Excuse { by: by.into(), line: line.into() }
    }

    pub(crate) fn covers(&self, who: &str, complaint: &str) -> bool {
        fits(&self.by, who) && fits(&self.line, complaint)
    }
}

/// Whether a text is this pattern, in which each `*` stands for anything.
pub(crate) fn fits(pattern: &str, text: &str) -> bool {
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
pub(crate) fn nobody_complains<'a>(
    agents: impl IntoIterator<Item = &'a Agent>,
    excuses: &[Excuse],
    since: Instant,
) {
    let mut complaints = Vec::new();
    for agent in agents {
        let (who, log) = (agent.name(), agent.log());
        let excused = |line: &&str| excuses.iter().any(|excuse| excuse.covers(who, line));
        // What an agent says after a signal to stop is about its own end.
        let life = log.split("==> Caught signal: ").next().unwrap_or_default();
        let lines = life.lines().filter_map(complaint).filter(|line| !excused(line));
        complaints.extend(lines.map(|line| (who.to_string(), line.to_string())));
    }
    let complaints = not_of_the_machine(complaints, since);
    assert!(complaints.is_empty(), "complaints that nothing excuses: {complaints:#?}");
}

/// What is left of complaints when those of lateness are taken away, if the machine stood still.
pub(crate) fn not_of_the_machine(mut complaints: Vec<Complaint>, since: Instant) -> Vec<Complaint> {
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

/// The check of the logs finds what it is there to find.
#[test]
fn what_is_excused_is_that_and_nothing_else() {
    let line =
        "    2026/01/02 03:04:05 [ERR] memberlist: Failed fallback ping: dial tcp 127.0.0.3:7946: refused";
    let said = complaint(line).expect("an error is a complaint");
    assert!(said.starts_with("[ERR]"));
    assert_eq!(complaint("2026/01/02 03:04:05 [INFO] serf: EventMemberJoin: o1 127.0.0.2"), None);
    assert!(complaint("thread 'serf-probe' panicked at src/agent/probe.rs").is_some());
    let excuse = |by, line| Excuse::new(by, line);
    assert!(excuse("h*", "[ERR] memberlist: Failed fallback ping: dial tcp 127.0.0.3:*").covers("h1", said));
    for other in [
        excuse("o*", "[ERR] memberlist: Failed fallback ping: dial tcp 127.0.0.3:*"),
        excuse("h*", "[ERR] memberlist: Failed fallback ping: dial tcp 127.0.0.33:*"),
        excuse("h*", "memberlist: Failed fallback ping: dial tcp 127.0.0.3:*"),
        excuse("h*", "[ERR] memberlist: Failed fallback ping: dial tcp 127.0.0.3:7946"),
    ] {
        assert!(!other.covers("h1", said), "{other:?}");
    }
    for (pattern, text, expected) in [
        ("a", "a", true),
        ("a", "ab", false),
        ("a*", "ab", true),
        ("*b", "ab", true),
        ("a*b*c", "a1b2c", true),
        ("a*b*c", "a1c2b", false),
        ("ab*b", "ab", false),
        ("*", "", true),
    ] {
        assert_eq!(fits(pattern, text), expected, "{pattern} {text}");
    }
}
