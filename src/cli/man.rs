//! `help -man PAGE`: the pages of `man`, from the tables and topics that `-h` and `help` print.

use super::console::{Console, Failure};
use crate::config::options::{CommandSpec, Form, OptionSpec};
use crate::config::usage::explanation;
use crate::manual::Topic;
use crate::manual::roff::{self, escaped};
use std::fmt::Write;

/// A page: its name with its section, and what it is about.
struct Page {
    name: &'static str,
    section: u8,
    about: &'static str,
    /// The topics of the manual that it has.
    topics: &'static [&'static str],
}

const PAGES: [Page; 4] = [
    Page {
        name: "serf",
        section: 1,
        about: "know which hosts of a cluster are alive, and let them hear what happens",
        topics: &["names", "events", "mixed", "compatibility", "rpc"],
    },
    Page { name: "serf-ctl", section: 1, about: "control a running serf agent", topics: &[] },
    Page {
        name: "serf-agent",
        section: 8,
        about: "the daemon that runs on every host of a serf cluster",
        topics: &[
            "running",
            "containers",
            "joining",
            "snapshot",
            "handlers",
            "encryption",
            "security",
            "logs",
            "metrics",
            "timings",
            "limits",
        ],
    },
    Page {
        name: "serf.json",
        section: 5,
        about: "configuration files of a serf agent",
        topics: &["settings"],
    },
];

/// When the pages were last looked through.
const DATE: &str = "2026-11-27";

/// Prints a page, or without one the names of all.
pub(super) fn print(
    program: &str,
    commands: &[&CommandSpec],
    topics: &[Topic],
    words: &[String],
    console: &mut Console<'_>,
) -> Result<(), Failure> {
    let names: Vec<String> = PAGES.iter().map(|page| format!("{}.{}", page.name, page.section)).collect();
    if topics.is_empty() {
        return Err(Failure::Message(format!(
            "{0} has no manual; 'serf help -man {0}.1' has its page.",
            program
        )));
    }
    match words {
        [] => console.line(names.join("\n")),
        [word] => match PAGES.iter().zip(&names).find(|(_, name)| *name == word) {
            Some((page, _)) => console.line(render(page, commands, topics)),
            None => Err(Failure::Message(format!("There is no page '{word}', but {}.", names.join(", ")))),
        },
        _ => Err(Failure::Message("'serf help -man' takes one page.".into())),
    }
}

fn render(page: &Page, commands: &[&CommandSpec], manual: &[Topic]) -> String {
    let Page { name, section, about, topics } = page;
    let version = env!("CARGO_PKG_VERSION");
    let mut out = format!(
        ".TH {} {section} {DATE} \"Serf {version}\" \"Serf\"\n.SH NAME\n{} \\- {}\n.SH SYNOPSIS\n",
        escaped(&name.to_uppercase()),
        escaped(name),
        escaped(about),
    );
    let control = commands.iter().filter(|command| command.name != "agent");
    match *name {
        "serf" | "serf-ctl" => {
            let agent = if *name == "serf" { " and agents" } else { "" };
            let _ = writeln!(out, ".B {}\n.I command\n.RI [ options ]\n.RI [ arguments ]", escaped(name));
            let _ = writeln!(
                out,
                ".br\n.B {}\n.B help\n.RI [ command{} ]",
                escaped(name),
                if agent.is_empty() { "" } else { " | topic" }
            );
            let _ = writeln!(
                out,
                ".SH DESCRIPTION\nControls{agent} of a cluster whose members find each other, notice when one of \
                 them fails, and pass events and queries on, by gossip. Flags take one dash or two, and come after \
                 the command."
            );
            out.push_str(".SH COMMANDS\n");
            if *name == "serf" {
                out.push_str(".SS agent\nRuns an agent; see\n.BR serf\\-agent (8).\n");
            }
            control.for_each(|command| describe(&mut out, name, command));
        }
        "serf-agent" => {
            if let Some(agent) = commands.iter().find(|command| command.name == "agent") {
                let _ = writeln!(
                    out,
                    ".B serf agent\n.RI [ options ]\n.SH DESCRIPTION\n{}",
                    escaped(agent.about)
                );
                out.push_str(".SH OPTIONS\n");
                agent.options.iter().for_each(|option| describe_option(&mut out, option));
            }
        }
        _ => out.push_str(".I /etc/serf/*.json\n"),
    }
    for topic in topics.iter().filter_map(|name| manual.iter().find(|topic| topic.name == *name)) {
        out.push_str(&Topic::roff(topic));
    }
    if *section == 1 {
        out.push_str(
            ".SH ENVIRONMENT\n.TP\n.B SERF_RPC_ADDR\nWhere the agent to control listens, unless \\-rpc\\-addr is \
             given.\n.TP\n.B SERF_RPC_AUTH\nThe agent\\(aqs token, unless \\-rpc\\-auth is given.\n.SH EXIT STATUS\n0 \
             after success, 1 after a failure, 127 if there is no such command.\n",
        );
    }
    let others: Vec<String> = PAGES
        .iter()
        .filter(|other| other.name != *name)
        .map(|other| format!(".BR {} ({})", escaped(other.name), other.section))
        .collect();
    let _ = write!(
        out,
        ".SH SEE ALSO\n{}\n.PP\n\\fBserf help\\fP lists all topics of the manual.",
        others.join(",\n")
    );
    out
}

/// A command with its options.
fn describe(out: &mut String, program: &str, command: &CommandSpec) {
    let _ = writeln!(out, ".SS {}", escaped(command.name));
    let _ = writeln!(out, ".B {} {}", escaped(program), escaped(command.name));
    if !command.arguments.is_empty() {
        let _ = writeln!(out, ".I {}", escaped(command.arguments));
    }
    let _ = writeln!(out, ".PP\n{}", escaped(command.about));
    command.options.iter().for_each(|option| describe_option(out, option));
}

fn describe_option(out: &mut String, option: &OptionSpec) {
    let name = escaped(option.name());
    let _ = match option.kind.form() {
        Form::Switch => writeln!(out, ".TP\n.B \\-{name}"),
        Form::Text | Form::Pair | Form::Number | Form::Duration => {
            writeln!(out, ".TP\n.BI \\-{name} = {}", roff::argument(&option.placeholder()))
        }
    };
    let _ = writeln!(out, "{}", escaped(&explanation(option)));
}

#[cfg(test)]
mod tests {
    use super::super::SERF;
    use super::*;

    #[test]
    fn each_option_of_a_page_is_in_it_and_no_line_is_a_macro_by_accident() {
        let commands: Vec<&CommandSpec> = SERF.commands().map(|command| command.spec).collect();
        for page in &PAGES {
            let text = render(page, &commands, SERF.topics);
            for topic in page.topics {
                assert!(text.contains(&format!(".SH {}\n", topic.to_uppercase())), "{topic}");
            }
            for line in text.lines().filter(|line| line.starts_with(['.', '\''])) {
                let name = line.trim_start_matches('.').split(' ').next().unwrap_or_default();
                let macros = "TH SH SS PP TP B I BI BR RI br IP EX EE".split(' ');
                assert!(macros.clone().any(|known| known == name), "{line}");
            }
            let said = |option: &OptionSpec| text.contains(&format!("\\-{}", escaped(option.name())));
            if page.name == "serf-agent" {
                let agent = commands.iter().find(|command| command.name == "agent").unwrap();
                assert!(agent.options.iter().all(said));
            }
            if page.section == 1 {
                let control = commands.iter().filter(|command| command.name != "agent");
                assert!(control.flat_map(|command| command.options).all(said), "{}", page.name);
            }
        }
    }
}
