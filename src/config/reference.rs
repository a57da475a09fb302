//! The reference of an agent's settings, made from the option table. The manual has it; a test
//! holds it there.

use super::options::{AGENT, FILE_ONLY, Kind, OptionSpec};

/// The table in Markdown, a line for its head, one for the rule, and one for each setting: those
/// with a flag in the order of `-h`, then those that only files have.
pub fn reference() -> Vec<String> {
    let head = ["| flag | key | value | default | meaning |", "| --- | --- | --- | --- | --- |"];
    let rows = AGENT.options.iter().chain(FILE_ONLY).map(row);
    head.into_iter().map(str::to_string).chain(rows).collect()
}

fn row(option: &OptionSpec) -> String {
    let flag = option.flag().map(|flag| format!("`-{flag}`")).unwrap_or_default();
    let key = option.key.map(|key| format!("`{key}`")).unwrap_or_default();
    let default = match option.default {
        "" if option.kind == Kind::Switch => "`false`".to_string(),
        "" => String::new(),
        words if words.contains(' ') => words.to_string(),
        value => format!("`{value}`"),
    };
    let cells = [flag, key, value(option), default, option.help.to_string()];
    // Within a cell the character that separates cells is written so.
    let cells: Vec<String> = cells.iter().map(|cell| cell.replace('|', "\\|")).collect();
    format!("| {} |", cells.join(" | ")).replace("  ", " ")
}

/// What is written after the flag and in a file.
fn value(option: &OptionSpec) -> String {
    let choices = format!("`{}`", option.placeholder.replace('|', "`, `"));
    match (option.kind, option.repeatable) {
        (Kind::Switch, _) => "switch".to_string(),
        (Kind::Number, _) => "number".to_string(),
        (Kind::Duration, _) => "duration".to_string(),
        (Kind::Text, true) => format!("list of {choices}"),
        (Kind::Pair, _) => format!("object of {choices}"),
        (Kind::Text, false) => choices,
    }
}
