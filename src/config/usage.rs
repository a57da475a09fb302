//! Help text, made from the option table. Nothing here is written twice, so nothing can be
//! forgotten.

use super::options::{CommandSpec, Form, OptionSpec};
use std::fmt::Write;

/// Lines end before this column, so that help is readable in the smallest usual terminal.
const WIDTH: usize = 80;
/// Where the text of an option begins.
const TEXT_COLUMN: usize = 30;

/// The text of `-h`, without a final line break. `program` is the word before the command.
pub(crate) fn help(program: &str, command: &CommandSpec) -> String {
    let mut out = format!("Usage: {program} {}", command.name);
    if !command.arguments.is_empty() {
        out.push(' ');
        out.push_str(command.arguments);
    }
    out.push_str("\n\n");
    for line in wrap(command.about, WIDTH - 2) {
        let _ = writeln!(out, "  {line}");
    }
    if !command.options.is_empty() {
        out.push_str("\nOptions:\n\n");
    }
    for option in command.options {
        describe(&mut out, option);
    }
    out.truncate(out.trim_end().len());
    out
}

/// The list of commands, without a final line break.
pub(crate) fn command_list<'a>(program: &str, commands: impl IntoIterator<Item = &'a CommandSpec>) -> String {
    let commands: Vec<&CommandSpec> = commands.into_iter().collect();
    let width = commands.iter().map(|c| c.name.len()).max().unwrap_or(0);
    let mut out =
        format!("Usage: {program} [--version] [--help] <command> [<args>]\n\nAvailable commands are:\n");
    for command in commands {
        let _ = writeln!(out, "    {:width$}    {}", command.name, command.synopsis);
    }
    out
}

/// How an option is written: `-bind=<addr[:port]>`.
fn head(option: &OptionSpec) -> String {
    match option.kind.form() {
        Form::Switch => format!("-{}", option.name()),
        Form::Text | Form::Pair | Form::Number | Form::Duration => {
            format!("-{}=<{}>", option.name(), option.placeholder())
        }
    }
}

fn describe(out: &mut String, option: &OptionSpec) {
    let (mut head, text) = (head(option), explanation(option));
    if head.len() + 4 > TEXT_COLUMN {
        let _ = writeln!(out, "  {head}");
        head.clear();
    }
    for line in wrap(&text, WIDTH - TEXT_COLUMN) {
        let _ = writeln!(out, "  {head:width$}{line}", width = TEXT_COLUMN - 2);
        head.clear();
    }
}

/// What an option does, whether it may be repeated, and what holds without it.
pub(crate) fn explanation(option: &OptionSpec) -> String {
    let (mut text, default) = (option.help(), option.default_text());
    if option.repeatable {
        text.push_str(" May be repeated.");
    }
    if !default.is_empty() {
        let _ = write!(text, " Default: {default}.");
    }
    text
}

/// The first sentence of a text, without its full stop.
pub(crate) fn first_sentence(text: &str) -> String {
    let end = text.find(". ").unwrap_or(text.len());
    text[..end].trim_end_matches('.').to_string()
}

/// Breaks text between words into lines of at most `width` characters; a longer word has a
/// line to itself.
pub(crate) fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_string()),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::options::{self, COMMANDS};

    #[test]
    fn help_names_every_option() {
        for command in COMMANDS {
            let text = help("serf", command);
            assert!(text.starts_with(&format!("Usage: serf {}", command.name)));
            for option in command.options {
                let found = text.lines().any(|l| {
                    let word = l.trim_start().split(['=', ' ']).next().unwrap_or("");
                    word == format!("-{}", option.name())
                });
                assert!(found, "{} -{}\n{text}", command.name, option.name());
                assert!(text.contains(&option.default_text()), "{}", option.name());
            }
            assert!(text.lines().all(|l| l.chars().count() <= WIDTH), "{text}");
            assert!(!text.lines().any(|l| l.ends_with(' ')), "{text}");
        }
    }

    #[test]
    fn help_reads_like_this() {
        assert_eq!(
            help("serf", &options::FORCE_LEAVE),
            "Usage: serf force-leave [options] name\n\
             \n\
             \x20 Declares that a failed member has left for good, so that nobody tries to reach\n\
             \x20 it any more. A member that is in fact alive comes back by itself.\n\
             \n\
             Options:\n\
             \n\
             \x20 -prune                      Forget the member altogether: it disappears from\n\
             \x20                             the list of members.\n\
             \x20 -rpc-addr=<addr:port>       Where the agent to control listens. SERF_RPC_ADDR\n\
             \x20                             in the environment changes the default. Default:\n\
             \x20                             127.0.0.1:7373.\n\
             \x20 -rpc-auth=<token>           The agent's RPC token, if it asks for one.\n\
             \x20                             SERF_RPC_AUTH in the environment changes the\n\
             \x20                             default, and unlike the flag it does not show in\n\
             \x20                             the process list."
        );
        assert!(help("serf", &options::AGENT).contains("Find members of this cluster"));
    }

    #[test]
    fn the_list_is_laid_out_as_serf_does() {
        assert_eq!(
            command_list("serf-ctl", [&options::FORCE_LEAVE, &options::INFO]),
            "Usage: serf-ctl [--version] [--help] <command> [<args>]\n\
             \n\
             Available commands are:\n\
             \x20   force-leave    Forces a member of the cluster to enter the \"left\" state\n\
             \x20   info           Provides debugging information for operators\n"
        );
    }
}
