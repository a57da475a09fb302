//! The reference of an agent's settings, made from the option table. The manual has it; a test
//! holds it there.

use super::options::{AGENT, FILE_ONLY, Form, OptionSpec};

/// The table in Markdown, a line for its head, one for the rule, and one for each setting: those
/// with a flag in the order of `-h`, then those that only files have.
pub fn reference() -> Vec<String> {
    let head = ["| flag | key | value | default | meaning |", "| --- | --- | --- | --- | --- |"];
    let rows = AGENT.options.iter().chain(FILE_ONLY).map(row);
    head.into_iter().map(str::to_string).chain(rows).collect()
}

/// The same of every setting that is a duration, by key.
pub fn durations() -> Vec<String> {
    let head = ["| key | default | meaning |", "| --- | --- | --- |"];
    let settings = AGENT.options.iter().chain(FILE_ONLY);
    let durations = settings.filter(|option| option.kind.form() == Form::Duration);
    let row = |option: &OptionSpec| {
        let default = match option.default_text() {
            text if text.is_empty() => "none".to_string(),
            text => text,
        };
        format!("| `{}` | {default} | {} |", option.key.unwrap_or_default(), option.help())
    };
    let mut rows: Vec<String> = durations.map(row).collect();
    rows.sort_unstable();
    head.into_iter().map(str::to_string).chain(rows).collect()
}

fn row(option: &OptionSpec) -> String {
    let flag = option.flag().map(|flag| format!("`-{flag}`")).unwrap_or_default();
    let key = option.key.map(|key| format!("`{key}`")).unwrap_or_default();
    let default = match option.default_text().as_str() {
        "" if option.kind.form() == Form::Switch => "`false`".to_string(),
        "" => String::new(),
        words if words.contains(' ') => words.to_string(),
        value => format!("`{value}`"),
    };
    let cells = [flag, key, value(option), default, option.help()];
    // Within a cell the character that separates cells is written so.
    let cells: Vec<String> = cells.iter().map(|cell| cell.replace('|', "\\|")).collect();
    format!("| {} |", cells.join(" | ")).replace("  ", " ")
}

/// What is written after the flag and in a file.
fn value(option: &OptionSpec) -> String {
    let choices = format!("`{}`", option.placeholder().replace('|', "`, `"));
    match (option.kind.form(), option.repeatable) {
        (Form::Switch, _) => "switch".to_string(),
        (Form::Number, _) => "number".to_string(),
        (Form::Duration, _) => "duration".to_string(),
        (Form::Text, true) => format!("list of {choices}"),
        (Form::Pair, _) => format!("object of {choices}"),
        (Form::Text, false) => choices,
    }
}
