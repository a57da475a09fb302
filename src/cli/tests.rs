//! Both programs from the outside: streams, exit codes, help. Commands that need an agent are
//! pointed at an address where none listens.

use super::*;
use crate::config::options::{Operands, SettingKind};
use proptest::prelude::*;

/// Nothing listens there: port 1 of a loopback address of our own.
const NOBODY: &str = "-rpc-addr=127.8.2.254:1";

struct Ran {
    code: ExitCode,
    out: String,
    err: String,
}

fn ran(program: Program, arguments: &[&str]) -> Ran {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let arguments = arguments.iter().map(OsString::from).collect();
    let code = run(program, arguments, &mut Console::new(&mut out, &mut err));
    Ran { code, out: String::from_utf8(out).unwrap(), err: String::from_utf8(err).unwrap() }
}

fn serf(arguments: &[&str]) -> Ran {
    ran(SERF, arguments)
}

fn ran_as_ctl(arguments: &[&str]) -> Ran {
    ran(SERF_CTL, arguments)
}

/// Standard output that fails at every write.
struct Refusing(std::io::ErrorKind);

impl std::io::Write for Refusing {
    fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
        Err(self.0.into())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_reader_that_goes_away_is_no_error_and_a_full_disk_is() {
    for (kind, code, expected) in [
        (std::io::ErrorKind::BrokenPipe, ExitCode::SUCCESS, ""),
        (std::io::ErrorKind::StorageFull, ExitCode::FAILURE, "Error writing output: no storage space\n"),
    ] {
        for command in [&["version"][..], &["-v"], &["keygen"], &["help", "limits"], &["help", "members"]] {
            let (mut out, mut err) = (Refusing(kind), Vec::new());
            let words = command.iter().map(OsString::from).collect();
            let ran = run(SERF, words, &mut Console::new(&mut out, &mut err));
            assert_eq!((ran, String::from_utf8(err).unwrap().as_str()), (code, expected), "{command:?}");
        }
    }
}

#[test]
fn the_two_programs_differ_by_the_agent() {
    let names = |p: Program| p.commands().map(|c| c.spec.name).collect::<Vec<_>>();
    let all: Vec<&str> = options::COMMANDS.iter().map(|c| c.name).collect();
    assert_eq!(names(SERF), all);
    let without: Vec<&str> = all.into_iter().filter(|n| *n != "agent").collect();
    assert_eq!(names(SERF_CTL), without);
    let refused = ran(SERF_CTL, &["agent"]);
    assert_eq!(refused.code, ExitCode::from(127));
    assert!(refused.err.starts_with("Usage: serf-ctl "));
    assert!(refused.err.ends_with("\nserf-ctl has no command 'agent'.\n"), "{}", refused.err);
}

#[test]
fn without_a_command_the_list_and_127() {
    for arguments in [&[][..], &["bogus"], &["help"], &["-bogus"], &["bogus", "-h"]] {
        let ran = serf(arguments);
        assert_eq!(ran.code, ExitCode::from(127), "{arguments:?}");
        assert!(
            ran.err
                .contains("Usage: serf [--version] [--help] <command> [<args>]\n\nAvailable commands are:\n")
        );
        assert_eq!(ran.out, "");
    }
    for flag in ["-h", "-help", "--help"] {
        let ran = serf(&[flag]);
        assert_eq!((ran.code, ran.out), (ExitCode::SUCCESS, String::new()));
        assert!(ran.err.starts_with("Usage: serf [--version]"));
    }
}

#[test]
fn a_command_that_there_is_not_may_be_a_slip() {
    for (name, meant) in [("member", "members"), ("Event", "event"), ("force_leave", "force-leave")] {
        let expected = format!("{}\nserf has no command '{name}': did you mean '{meant}'?\n", SERF.list());
        assert_eq!(serf(&[name]).err, expected);
    }
}

#[test]
fn help_alone_lists_commands_and_topics() {
    let ran = serf(&["help"]);
    let topics = help::topic_list("serf", manual::TOPICS);
    assert_eq!(ran.err, format!("{}\n{topics}\n", SERF.list()));
    for topic in manual::TOPICS {
        let listed = |line: &str| line.trim_start().starts_with(topic.name) && line.ends_with(topic.about());
        assert!(topics.lines().any(|line| listed(line) && line.chars().count() <= 80), "{}", topic.name);
    }
    for arguments in [["help", "-h"], ["help", "--help"], ["-h", "help"]] {
        assert_eq!(serf(&arguments).err, ran.err, "{arguments:?}");
    }
    assert_eq!(ran_as_ctl(&["help"]).err, format!("{}\n\n", SERF_CTL.list()));
}

#[test]
fn help_prints_what_there_is_on_a_word() {
    for topic in manual::TOPICS {
        assert!(options::COMMANDS.iter().all(|c| c.name != topic.name), "{} is a command", topic.name);
        let ran = serf(&["help", topic.name]);
        assert_eq!((ran.code, ran.err), (ExitCode::SUCCESS, String::new()), "{}", topic.name);
        assert_eq!(ran.out, topic.plain() + "\n");
    }
    for command in options::COMMANDS {
        let ran = serf(&["help", command.name]);
        assert_eq!((ran.code, ran.err), (ExitCode::SUCCESS, String::new()), "{}", command.name);
        assert_eq!(ran.out, command_help("serf", command) + "\n");
    }
    assert!(ran_as_ctl(&["help", "members"]).out.starts_with("Usage: serf-ctl members"));
}

#[test]
fn help_on_what_there_is_not_says_what_may_be_meant() {
    for (words, text) in [
        (
            &["limts"][..],
            "serf has no help on 'limts'. Did you mean 'limits'? 'serf help' lists commands and topics.\n",
        ),
        (
            &["Member"],
            "serf has no help on 'Member'. Did you mean 'members'? 'serf help' lists commands and topics.\n",
        ),
        (&["nonsense"], "serf has no help on 'nonsense'. 'serf help' lists commands and topics.\n"),
        (&["limits", "x"], "'serf help' takes one command or topic.\n"),
    ] {
        let refused = serf(&[&["help"], words].concat());
        assert_eq!((refused.code, refused.out.as_str()), (ExitCode::FAILURE, ""), "{words:?}");
        assert_eq!(refused.err, text);
    }
    let refused = ran_as_ctl(&["help", "limits"]);
    assert_eq!(refused.err, "serf-ctl has no help on 'limits'. 'serf-ctl help' lists commands.\n");
}

#[test]
fn every_way_to_ask_for_the_version() {
    let expected = format!("{}\nAgent Protocol: 5 (Understands back to: 2)\n", env!("CARGO_PKG_VERSION"));
    for arguments in [&["version"][..], &["-v"], &["--version"], &["-v", "members"], &["members", "-v"]] {
        let ran = serf(arguments);
        assert_eq!((ran.code, ran.out, ran.err), (ExitCode::SUCCESS, expected.clone(), String::new()));
    }
}

#[test]
fn every_command_has_help() {
    for command in options::COMMANDS {
        for arguments in [[command.name, "-h"], [command.name, "--help"], ["-h", command.name]] {
            let ran = serf(&arguments);
            assert_eq!((ran.code, ran.out), (ExitCode::SUCCESS, String::new()), "{arguments:?}");
            assert_eq!(ran.err, command_help("serf", command) + "\n");
        }
    }
}

#[test]
fn wrong_flags_are_named_after_the_usage() {
    for command in options::COMMANDS {
        let usage = command_help("serf", command);
        let refused = serf(&[command.name, "-bogus"]);
        // As with Serf, what follows a command without options is of no matter. Others look at it.
        if command.options.is_empty() && command.operands != Operands::Others {
            assert_eq!((refused.code, refused.out), (ExitCode::FAILURE, String::new()));
            continue;
        }
        if command.options.is_empty() {
            assert_eq!((refused.code, refused.err), (ExitCode::SUCCESS, String::new()));
            continue;
        }
        assert_eq!((refused.code, refused.out), (ExitCode::FAILURE, String::new()));
        assert_eq!(refused.err, format!("{usage}\n\nunknown flag: -bogus\n"));
        for option in command.options.iter().filter(|o| o.kind != SettingKind::Switch) {
            let name = option.name();
            let refused = serf(&[command.name, &format!("-{name}")]);
            assert_eq!(refused.code, ExitCode::FAILURE);
            assert_eq!(refused.err, format!("{usage}\n\nflag -{name} needs a value\n"));
        }
    }
    let misplaced = serf(&["-detailed", "members"]);
    assert_eq!(misplaced.code, ExitCode::FAILURE);
    assert!(misplaced.err.starts_with("Usage: serf members"));
    assert!(misplaced.err.ends_with("\n\nFlags go after the command: serf members ...\n"));
}

#[test]
fn arguments_that_are_missing_are_asked_for() {
    for (arguments, text) in [
        (&["join", NOBODY][..], "At least one address to join must be specified."),
        (&["completion"], "One shell must be named: bash, zsh, fish."),
        (&["completion", "tcsh"], "There are completions for bash, zsh, fish, none for 'tcsh'."),
        (&["force-leave", NOBODY], "A node name must be specified to force leave."),
        (&["force-leave", NOBODY, "a", "b"], "A node name must be specified to force leave."),
        (&["event", NOBODY], "An event name must be specified."),
        (
            &["event", NOBODY, "a", "b", "c"],
            "Too many command line arguments. Only a name and payload must be specified.",
        ),
        (&["query", NOBODY], "A query name must be specified."),
        (&["query", NOBODY, "a", "b", "c"], "Too many command line arguments. Only a name and payload"),
        (&["query", NOBODY, "-format=xml", "x"], "Invalid format: xml"),
        (&["query", NOBODY, "-tag", "foo", "x"], "Error: Invalid tag: 'foo' (expected key=value)"),
        (&["query", NOBODY, "-relay-factor=256", "x"], "Relay factor must be between 0 and 255"),
        (&["query", NOBODY, "-relay-factor=-1", "x"], "Relay factor must be between 0 and 255"),
        (
            &["query", NOBODY, "-timeout=-1s", "x"],
            "invalid value \"-1s\" for flag -timeout: expected a duration",
        ),
        (&["members", NOBODY, "-format=xml"], "Encoding error: Invalid output format \"xml\""),
        (&["info", NOBODY, "-format=xml"], "Encoding error: Invalid output format \"xml\""),
        (&["members", NOBODY, "-tag", "foo"], "Error: Invalid tag: 'foo' (expected key=value)"),
        (&["agent", "-tag", "foo"], "==> Error: Invalid tag: 'foo' (expected key=value)"),
        (&["agent", "-encrypt=x"], "==> Invalid encryption key: it is not base64 (see 'serf keygen')"),
    ] {
        let refused = serf(arguments);
        assert_eq!((refused.code, refused.out), (ExitCode::FAILURE, String::new()), "{arguments:?}");
        let last = refused.err.trim_end().rsplit("\n\n").next().unwrap_or_default();
        assert!(last.starts_with(text), "{arguments:?}: {}", refused.err);
    }
}

#[test]
fn an_agent_that_does_not_answer_is_an_error() {
    for arguments in [
        &["members", NOBODY][..],
        &["info", NOBODY],
        &["join", NOBODY, "127.0.0.1"],
        &["leave", NOBODY],
        &["force-leave", NOBODY, "n"],
        &["monitor", NOBODY],
        &["event", NOBODY, "x"],
        &["query", NOBODY, "x"],
        &["reachability", NOBODY],
        &["rtt", NOBODY, "n"],
    ] {
        let failed = serf(arguments);
        assert_eq!((failed.code, failed.out), (ExitCode::FAILURE, String::new()), "{arguments:?}");
        assert!(failed.err.starts_with("Error connecting to Serf agent: "), "{arguments:?}: {}", failed.err);
        assert_eq!(failed.err.lines().count(), 1, "{}", failed.err);
    }
}

proptest! {
    #[test]
    fn no_arguments_panic(
        // No command word: agents and connections are for the tests with addresses of their own.
        words in proptest::collection::vec("-{0,2}[a-z=\"]{0,5}|bogus|-h|-v|--", 0..5),
        command in "(keygen|version|nothing)?",
    ) {
        for program in [SERF, SERF_CTL] {
            let mut arguments: Vec<&str> = words.iter().map(String::as_str).collect();
            arguments.insert(0, &command);
            let _ = ran(program, &arguments);
        }
    }
}
