//! `help WORD`: the help of a command, or a topic of the manual.
//!
//! It was asked for, so that it is a result: it goes to standard output, and from there to a pager.
//! `-h`, which may as well be a slip, goes to standard error.

use super::console::{Console, Failure};
use crate::config::nearest::nearest_among;
use crate::config::options::CommandSpec;
use crate::config::usage;
use crate::manual::Topic;
use std::ffi::OsString;
use std::fmt::Write;

/// The words after `help`, without those that ask for help once more.
pub(super) fn words(arguments: impl Iterator<Item = OsString>) -> Vec<String> {
    let words = arguments.map(|word| word.to_string_lossy().into_owned());
    words.filter(|word| !["-h", "-help", "--help"].contains(&word.as_str())).collect()
}

/// The list of topics, for below the list of commands; empty without any.
pub(super) fn topic_list(program: &str, topics: &[Topic]) -> String {
    if topics.is_empty() {
        return String::new();
    }
    let width = topics.iter().map(|topic| topic.name.len()).max().unwrap_or(0);
    let mut out = format!("Topics of the manual, for '{program} help <topic>':\n");
    for topic in topics {
        let _ = writeln!(out, "    {:width$}    {}", topic.name, topic.about());
    }
    out
}

/// Prints what there is on the one word. A command comes before a topic, but no topic has the
/// name of a command.
pub(super) fn print(
    program: &str,
    commands: &[&'static CommandSpec],
    topics: &[Topic],
    words: &[String],
    console: &mut Console<'_>,
) -> Result<(), Failure> {
    let [word] = words else {
        return Err(Failure::Message(format!("'{program} help' takes one command or topic.")));
    };
    if let Some(command) = commands.iter().find(|command| command.name == word) {
        return console.line(usage::help(program, command));
    }
    if let Some(topic) = topics.iter().find(|topic| topic.name == word) {
        return console.line(topic.plain());
    }
    let known = commands.iter().map(|command| command.name).chain(topics.iter().map(|topic| topic.name));
    let meant = match nearest_among(&word.to_lowercase(), known) {
        Some(meant) => format!(" Did you mean '{meant}'?"),
        None => String::new(),
    };
    let listed = if topics.is_empty() { "commands" } else { "commands and topics" };
    Err(Failure::Message(format!(
        "{program} has no help on '{word}'.{meant} '{program} help' lists {listed}."
    )))
}
