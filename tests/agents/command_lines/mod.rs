//! The same command lines for both programs, HashiCorp's and ours: what they print, on which stream, and
//! how they end. `rows` holds those of the commands, `starts` those of agents.
//!
//! A row is a line for the shell, in which `serf` is the program, `$GOSSIP` and `$RPC` are the addresses of
//! an agent, `$NOBODY` is one where nobody listens, and `$DIR` is an empty directory. A difference that is
//! meant is in the row, with its reason; one that is no difference any more is a failure, too. What is
//! meant is told to users in `serf help compatibility`.
//!
//! Of a command that fails, what is said is compared, whatever the stream: HashiCorp's program complains on
//! standard output, ours never does. Usage is compared by its first line.

mod row;
mod rows;
mod starts;

use self::row::Expected::{Meant, Otherwise, Same};
use self::row::{At, Row};
use crate::harness::notes::loudly;
use crate::harness::peers::hashicorp_serf;
use crate::harness::{Agent, Network, Scratch, command, run, run_command, serf};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

/// A command that takes longer hangs.
const DEADLINE: Duration = Duration::from_secs(60);

/// What the shell knows besides.
const PRELUDE: &str = r#"
serf() { "$SERF" "$@"; }
agent() { "$SERF" agent -node=n1 "-bind=$GOSSIP" "-rpc-addr=$RPC" "$@"; }
starting() { agent "$@" "-join=$NOBODY"; }
json() { printf '%s' "$1" >"$DIR/c.json"; echo "$DIR/c.json"; }
latin() { printf "$1" >"$DIR/c.json"; echo "$DIR/c.json"; }
xs() { head -c "$1" /dev/zero | tr '\0' x; }
NL='
'
KEY=HvY8ubRZMgafUOWvrOadwckVa1wN3QWAo46FVKbVN8o=
"#;

/// One program with its agents, all of them named `n1` and tagged `role=web`.
struct Side {
    program: PathBuf,
    /// The first of its hosts: three have agents, at one a line may start another.
    host: u8,
    _agents: [Agent; 3],
}

impl Side {
    fn start(net: &Network, program: &Path, host: u8, scratch: &Scratch) -> Side {
        let spec = |i| net.agent("n1", host + i).program(program).tag("role", "web");
        let encrypted = spec(1).flag("-encrypt=5K9OtfP7efFrNKe5WCQvXvnaXJ5cWP0SvXiwe0kkjM4=");
        let guarded = spec(2).settings(scratch, r#"{"rpc_auth": "token"}"#);
        let agents = [spec(0).start(), encrypted.start(), guarded.start()];
        Side { program: program.to_path_buf(), host, _agents: agents }
    }

    /// Runs these of the rows, one after the other.
    fn run_all(&self, net: &Network, rows: &[&Row], which: &[usize]) -> Vec<(usize, Seen)> {
        which.iter().map(|&i| (i, self.run(net, rows[i]))).collect()
    }

    /// Runs a line and returns what can be compared.
    fn run(&self, net: &Network, row: &Row) -> Seen {
        let host = self.host
            + match row.at {
                At::Nobody | At::Agent => 0,
                At::Encrypted => 1,
                At::Guarded => 2,
                At::Start => 3,
            };
        let nobody = format!("{}:1", net.ip(host));
        let (gossip, rpc) = (net.gossip(host).to_string(), net.rpc(host).to_string());
        let scratch = Scratch::new("line");
        let directory = scratch.path().to_str().expect("the path is UTF-8");
        let mut shell = command(Path::new("sh"));
        shell.args(["-c", &format!("{PRELUDE}{}", row.line)]);
        shell.env("SERF", &self.program).env("DIR", directory);
        shell.env("GOSSIP", &gossip).env("RPC", &rpc).env("NOBODY", &nobody);
        shell.env("SERF_RPC_ADDR", if row.at == At::Nobody { &nobody } else { &rpc });
        let answer = run_command(shell, DEADLINE);
        let plain = |text: &str| {
            let ip = net.ip(host).to_string();
            let text = text.replace(directory, "DIR").replace(&gossip, "GOSSIP").replace(&ip, "IP");
            text.split('\n').map(without_what_varies).collect::<Vec<_>>().join("\n")
        };
        let (out, err) = (plain(&answer.stdout), plain(&answer.stderr));
        let code = answer.code();
        if row.at == At::Start {
            Seen::of_start(code, &out, &err)
        } else {
            Seen::of_command(code, &out, &err)
        }
    }
}

/// What is compared.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Seen {
    code: Option<i32>,
    /// Of a command that failed, what both streams say.
    said: String,
    /// Standard error of a command that did not fail.
    err: String,
    /// Whether a command that failed has said so on standard error.
    complained: bool,
}

impl Seen {
    fn of_command(code: Option<i32>, out: &str, err: &str) -> Seen {
        let ([out_usage, out], [err_usage, err]) = (apart(out), apart(err));
        if code == Some(0) {
            return Seen { code, said: out_usage + &out, err: err_usage + &err, complained: false };
        }
        let complained = !(err_usage.clone() + &err).trim().is_empty();
        let said = out_usage + &err_usage + &out + &err;
        let said = said.lines().filter(|line| !line.is_empty()).collect::<Vec<_>>().join("\n");
        Seen { code, said, err: String::new(), complained }
    }

    fn of_start(code: Option<i32>, out: &str, err: &str) -> Seen {
        let mut said =
            if out.contains("==> Serf agent running!") { "starts" } else { "does not start" }.to_string();
        for line in out.lines().filter(|line| line.contains("arning: ") && line.starts_with("==> ")) {
            said += &format!("\n{line}");
        }
        Seen { code, said, err: String::new(), complained: !err.trim().is_empty() }
    }
}

/// A line without what is another each time, or for each program: times, and the version.
fn without_what_varies(line: &str) -> String {
    let is_number = |word: &str| word.chars().all(|c| c.is_ascii_digit() || c == '.') && word.contains('.');
    if is_number(line.trim_end_matches("-dev")) {
        return "VERSION".to_string();
    }
    let words = line.split(' ').map(|word| if is_number(word) { "N" } else { word });
    words.collect::<Vec<_>>().join(" ")
}

/// The first line of the usage that a text contains, and the text without it. Ours comes before what is
/// wrong and ends with an empty line; HashiCorp's comes after it, and last.
fn apart(text: &str) -> [String; 2] {
    let Some(at) = text.find("Usage: ") else { return [String::new(), text.to_string()] };
    let (before, usage) = text.split_at(at);
    let first: Vec<&str> = usage.lines().next().unwrap_or_default().split(' ').take(3).collect();
    let ours = |(rest, last): (&str, &str)| {
        (rest.contains("\n\n") && !last.starts_with(' ')).then(|| last.to_string())
    };
    let after = usage.trim_end().rsplit_once("\n\n").and_then(ours).unwrap_or_default();
    let before = before.trim_start_matches("==> ");
    [first.join(" ") + "\n", format!("{before}{after}\n")]
}

/// What is wrong with a row, if anything is.
fn judge(row: &Row, theirs: &Seen, ours: &Seen) -> Option<String> {
    let alike = theirs.said == ours.said && theirs.err == ours.err;
    let wrong = match row.expected {
        Same if theirs.code == ours.code && alike => None,
        Same => Some("differs"),
        Meant(_) if theirs.code != ours.code => Some("ends otherwise"),
        Meant(_) if alike => Some("does not differ as it is meant to"),
        Otherwise(_) if theirs.code == ours.code => Some("does not end otherwise, as it is meant to"),
        Meant(_) | Otherwise(_) => None,
    };
    let silent = ours.code != Some(0) && !ours.complained;
    let wrong = wrong.or(silent.then_some("complains, and not on standard error"));
    let reason = match row.expected {
        Same => String::new(),
        Meant(reason) | Otherwise(reason) => format!(" ({reason})"),
    };
    wrong.map(|wrong| {
        format!("{:?} `{}` {wrong}{reason}:\n  theirs: {theirs:?}\n  ours:   {ours:?}", row.at, row.line)
    })
}

#[test]
fn both_programs_do_the_same_or_there_is_a_reason() {
    let Some(theirs) = hashicorp_serf() else { return };
    let version = run(&theirs, ["version"]);
    if !version.ok().starts_with("0.8.") {
        return loudly(&format!("SKIPPED: the table is about 0.8, and this is {}", version.ok()));
    }
    let (net, scratch) = (Network::claim(), Scratch::new("lines"));
    let sides = [Side::start(&net, &theirs, 1, &scratch), Side::start(&net, &serf(), 5, &scratch)];
    let rows: Vec<&Row> = rows::ROWS.iter().chain(starts::STARTS).collect();
    assert!(rows.len() >= 150, "only {} command lines", rows.len());
    // Lines about an agent come one after the other, as they change it; the others have a thread of their
    // own.
    let (about_agents, others): (Vec<usize>, Vec<usize>) =
        (0..rows.len()).partition(|&i| matches!(rows[i].at, At::Agent | At::Encrypted | At::Guarded));
    let [theirs, ours] = thread::scope(|scope| {
        let threads = sides.each_ref().map(|side| {
            let (net, rows) = (&net, &rows);
            [&about_agents, &others].map(|lines| scope.spawn(move || side.run_all(net, rows, lines)))
        });
        threads.map(|both| {
            let mut seen: Vec<(usize, Seen)> =
                both.into_iter().flat_map(|thread| thread.join().expect("no row panics")).collect();
            seen.sort_by_key(|(i, _)| *i);
            seen.into_iter().map(|(_, seen)| seen).collect::<Vec<Seen>>()
        })
    });
    let wrong: Vec<String> =
        rows.iter().zip(theirs.iter().zip(&ours)).filter_map(|(row, (t, o))| judge(row, t, o)).collect();
    assert!(wrong.is_empty(), "{} of {} command lines:\n{}", wrong.len(), rows.len(), wrong.join("\n"));
}

#[test]
fn a_judgement_can_be_against_ours() {
    let seen = |code, out: &str, err: &str| Seen::of_command(Some(code), out, err);
    let row = |expected| Row { at: At::Nobody, line: "x", expected };
    let (fine, other, failed) = (seen(0, "a\n", ""), seen(0, "b\n", ""), seen(1, "", "no\n"));
    let judged = |expected, theirs: &Seen, ours: &Seen| judge(&row(expected), theirs, ours).is_none();
    assert!(judged(Same, &fine, &fine) && !judged(Same, &fine, &other) && !judged(Same, &fine, &failed));
    assert!(judged(Meant("x"), &fine, &other) && !judged(Meant("x"), &fine, &fine));
    assert!(!judged(Meant("x"), &fine, &failed));
    assert!(judged(Otherwise("x"), &fine, &failed) && !judged(Otherwise("x"), &fine, &other));
    // Theirs complains on standard output; ours may not.
    assert!(judged(Same, &seen(1, "no\n", ""), &failed) && !judged(Same, &failed, &seen(1, "no\n", "")));
    // Usage comes first in ours and last in theirs, and may have other words.
    let theirs = seen(1, "none given\n\nUsage: serf x [options]\n\n  Text.\n\n  -a  b\n", "");
    assert_eq!(theirs.said, "Usage: serf x\nnone given");
    let ours = seen(1, "", "Usage: serf x [options] y\n\n  More.\n\nOptions:\n\n  -a  c\n\nnone given\n");
    assert!(judged(Same, &theirs, &ours), "{ours:?}");
}
