//! One file per command; speaks to a human. Both programs are this floor with another list.
//!
//! | file | what it holds |
//! | --- | --- |
//! | `agent` | flags and files to a running agent |
//! | `completion` | a script for a shell |
//! | `event`, `force_leave`, `info`, `join`, `keygen`, `keys`, `leave`, `members`, `monitor`, `query`, `reachability`, `rtt`, `tags`, `version` | the command of that name |
//! | `help`, `man` | `help WORD`: a command's help, or a topic of the manual; `help -man PAGE`: a page for `man` |
//! | `connection` | how a control command finds its agent |
//! | `payload` | what events and queries carry |
//! | `interrupt` | what SIGINT does to a command that waits |
//! | `console` | the two streams, and how a command ends |
//! | `format` | aligned columns and Go's JSON |
//! | `reader` | how words of other hosts are printed |
//!
//! A new command is a file here, its row in `CONTROL`, and its flags and its help in
//! `config/options/control.rs`; what it asks of the agent is a row of `rpc/commands.rs`.
//!
//! Streams and exit codes: results go to standard output, also what `help WORD` prints; complaints,
//! usage and the help of `-h` go to standard error. 0 is success, 1 a failure, 127 no such command.
//! Serf prints complaints to standard output, where they end up in whatever reads the result.
//!
//! Architecture invariant: what a flag means is not decided here (`config/`), and how a
//! request travels is not known here (`rpc/`).
#![allow(clippy::disallowed_methods)] // Commands may touch files, clocks and sockets.

mod agent;
mod completion;
mod connection;
mod console;
mod event;
mod force_leave;
mod format;
mod help;
mod info;
mod interrupt;
mod join;
mod keygen;
mod keys;
mod leave;
mod man;
mod members;
mod monitor;
mod payload;
mod query;
mod reachability;
mod reader;
mod rtt;
mod tags;
mod version;

use crate::config::completion::Completed;
use crate::config::nearest::nearest_among;
use crate::config::options::{self, CommandSpec};
use crate::config::usage::{command_list, help as command_help};
use crate::config::{Flags, Parsed, parse};
use crate::manual::{self, Topic};
use console::{Console, Failure};
use std::ffi::OsString;
use std::process::ExitCode;

/// The exit code of a command that does not exist.
const NO_SUCH_COMMAND: u8 = 127;

/// One of the two programs: its name, its commands and its manual.
///
/// What `serf-ctl` lists does not mention the agent or the manual, so that the linker leaves both out
/// of it: it has less than half the size, which matters on a router.
#[derive(Clone, Copy)]
pub struct Program {
    name: &'static str,
    agent: Option<&'static CliCommand>,
    topics: &'static [Topic],
}

/// `serf`: every command and the manual.
pub const SERF: Program = Program { name: "serf", agent: Some(&AGENT), topics: manual::TOPICS };
/// `serf-ctl`: every command but `agent`.
pub const SERF_CTL: Program = Program { name: "serf-ctl", agent: None, topics: &[] };

/// What a control command does.
type RunCommand = fn(&Flags, &mut Console<'_>) -> Result<(), Failure>;

/// What a command does.
#[derive(Clone, Copy)]
enum Action {
    /// Controls a running agent, or needs none.
    Control(RunCommand),
    /// Says something about the program itself.
    Describe(fn(Completed<'_>, &Flags, &mut Console<'_>) -> Result<(), Failure>),
    /// Becomes an agent, which picks the exit code.
    Agent(fn(&Flags, &mut Console<'_>) -> Result<ExitCode, Failure>),
}

/// A row: what a command is called, with its flags and its help, and what it does.
struct CliCommand {
    spec: &'static CommandSpec,
    action: Action,
}

const AGENT: CliCommand = CliCommand { spec: &options::AGENT, action: Action::Agent(agent::run) };

const fn control(spec: &'static CommandSpec, run: RunCommand) -> CliCommand {
    CliCommand { spec, action: Action::Control(run) }
}

const COMPLETION: CliCommand =
    CliCommand { spec: &options::COMPLETION, action: Action::Describe(completion::run) };

/// What both programs have. By name; `agent` comes before all of them.
const CONTROL: &[CliCommand] = &[
    COMPLETION,
    control(&options::EVENT, event::run),
    control(&options::FORCE_LEAVE, force_leave::run),
    control(&options::INFO, info::run),
    control(&options::JOIN, join::run),
    control(&options::KEYGEN, keygen::run),
    control(&options::KEYS, keys::run),
    control(&options::LEAVE, leave::run),
    control(&options::MEMBERS, members::run),
    control(&options::MONITOR, monitor::run),
    control(&options::QUERY, query::run),
    control(&options::REACHABILITY, reachability::run),
    control(&options::RTT, rtt::run),
    control(&options::TAGS, tags::run),
    control(&options::VERSION, version::run),
];

impl Program {
    fn commands(self) -> impl Iterator<Item = &'static CliCommand> {
        self.agent.into_iter().chain(CONTROL)
    }

    fn specs(self) -> Vec<&'static CommandSpec> {
        self.commands().map(|command| command.spec).collect()
    }

    fn command(self, name: &OsString) -> Option<&'static CliCommand> {
        self.commands().find(|c| name == c.spec.name)
    }

    fn list(self) -> String {
        command_list(self.name, self.specs())
    }

    /// That there is no such command, and which was probably meant.
    fn has_no(self, name: &str) -> String {
        let word = name.to_lowercase();
        // A slip is rarely the first letter.
        let alike = |known: &&str| known.chars().next() == word.chars().next();
        let known = self.commands().map(|command| command.spec.name).filter(alike);
        match nearest_among(&word, known) {
            Some(meant) => format!("{} has no command '{name}': did you mean '{meant}'?", self.name),
            None => format!("{} has no command '{name}'.", self.name),
        }
    }

    /// `help`. Without a word it is no command, as with HashiCorp's program, and lists what there is.
    fn help(self, words: &[String], console: &mut Console<'_>) -> Result<ExitCode, Failure> {
        if words.is_empty() {
            console.error([self.list(), help::topic_list(self.name, self.topics)].join("\n"));
            return Ok(ExitCode::from(NO_SUCH_COMMAND));
        }
        let commands = self.specs();
        if let [flag, rest @ ..] = words
            && ["-man", "--man"].contains(&flag.as_str())
        {
            man::print(self.name, &commands, self.topics, rest, console)?;
            return Ok(ExitCode::SUCCESS);
        }
        help::print(self.name, &commands, self.topics, words, console)?;
        Ok(ExitCode::SUCCESS)
    }
}

/// Runs a program with the arguments and streams of the process.
pub fn main_of(program: Program) -> ExitCode {
    let (mut out, mut err) = (std::io::stdout(), std::io::stderr());
    let mut console = Console::of_process(&mut out, &mut err);
    run(program, std::env::args_os().skip(1).collect(), &mut console)
}

/// Finds the command and runs it.
fn run(program: Program, mut arguments: Vec<OsString>, console: &mut Console<'_>) -> ExitCode {
    let flags_before = arguments.iter().take_while(|a| a.as_encoded_bytes().starts_with(b"-")).count();
    let rest = arguments.split_off(flags_before);
    let mut rest = rest.into_iter();
    let name = rest.next();
    let command = name.as_ref().and_then(|name| program.command(name));
    let before = |words: &[&str]| arguments.iter().any(|a| words.iter().any(|w| a == w));

    if before(&["-v", "-version", "--version"]) {
        return finish(version::print(console).map(|()| ExitCode::SUCCESS), program, None, console);
    }
    let wants_help = before(&["-h", "-help", "--help"]);
    match (command, name) {
        (Some(command), _) if wants_help => {
            console.error(command_help(program.name, command.spec));
            ExitCode::SUCCESS
        }
        (Some(command), _) if flags_before > 0 => {
            let text = format!("Flags go after the command: {} {} ...", program.name, command.spec.name);
            finish(Err(Failure::Misuse(text)), program, Some(command), console)
        }
        (Some(command), _) => execute(program, command, rest.collect(), console),
        (None, Some(name)) if name == "help" && (flags_before == 0 || wants_help) => {
            finish(program.help(&help::words(rest), console), program, None, console)
        }
        (None, name) => {
            console.error(program.list());
            if let Some(name) = &name {
                console.error(program.has_no(&name.to_string_lossy()));
            }
            if wants_help && name.is_none() { ExitCode::SUCCESS } else { ExitCode::from(NO_SUCH_COMMAND) }
        }
    }
}

fn execute(
    program: Program,
    command: &CliCommand,
    arguments: Vec<OsString>,
    console: &mut Console<'_>,
) -> ExitCode {
    let outcome = match parse(command.spec, arguments) {
        Err(error) => Err(Failure::Misuse(error.to_string())),
        Ok(Parsed::Version) => version::print(console).map(|()| ExitCode::SUCCESS),
        Ok(Parsed::Help) => {
            console.error(command_help(program.name, command.spec));
            Ok(ExitCode::SUCCESS)
        }
        Ok(Parsed::Run(flags)) => match command.action {
            Action::Agent(run) => run(&flags, console),
            Action::Describe(run) => {
                let commands = program.specs();
                let topics: Vec<&str> = program.topics.iter().map(|topic| topic.name).collect();
                let described = Completed { program: program.name, commands: &commands, topics: &topics };
                run(described, &flags, console).map(|()| ExitCode::SUCCESS)
            }
            Action::Control(run) => {
                log_to_stderr();
                run(&flags, console).map(|()| ExitCode::SUCCESS)
            }
        },
    };
    finish(outcome, program, Some(command), console)
}

/// Says what went wrong and picks the exit code.
fn finish(
    outcome: Result<ExitCode, Failure>,
    program: Program,
    command: Option<&CliCommand>,
    console: &mut Console<'_>,
) -> ExitCode {
    match outcome {
        Ok(code) => return code,
        Err(Failure::ReaderGone) => return ExitCode::SUCCESS,
        Err(Failure::Output(error)) => console.error(format!("Error writing output: {error}")),
        Err(Failure::Printed) => {}
        Err(Failure::Message(text)) => console.error(text),
        Err(Failure::Misuse(text)) => {
            console.error(match command {
                Some(command) => command_help(program.name, command.spec),
                None => program.list(),
            });
            // Last, where it is not scrolled away.
            console.error(format!("\n{text}"));
        }
    }
    ExitCode::FAILURE
}

/// What control commands log is for people who look for a fault: nothing unless `SERF_LOG` asks.
/// The agent has a log of its own.
fn log_to_stderr() {
    let wanted = env_logger::Env::new().filter_or("SERF_LOG", "off");
    // Fails if there is a logger already, which then serves as well.
    let _ = env_logger::Builder::from_env(wanted).try_init();
}

#[cfg(test)]
mod tests;
