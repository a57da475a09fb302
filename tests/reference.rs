//! The README against the option table: whoever adds a flag or a key is told what to write there.
#![allow(clippy::disallowed_methods, reason = "tests read files; rules do not")]

use serf::config::options::{AGENT, settings};
use serf::config::reference::reference;
use std::path::{Path, PathBuf};

/// With this variable in the environment the table in the README is replaced.
const UPDATE: &str = "SERF_UPDATE_README";

fn readme() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")
}

#[test]
fn the_readme_has_every_setting() {
    let table = reference();
    let mut text = std::fs::read_to_string(readme()).unwrap();
    if std::env::var_os(UPDATE).is_some() {
        text = updated(&text, &table);
        std::fs::write(readme(), &text).unwrap();
    }
    let missing = missing(&text, &table);
    assert!(
        missing.is_empty(),
        "not in README.md:\n{}\n\nThe whole table, which {UPDATE}=1 in the environment puts there:\n{}",
        missing.join("\n"),
        table.join("\n")
    );
}

/// Lines of the table that the README does not have, and lines it has in their place.
fn missing(readme: &str, table: &[String]) -> Vec<String> {
    let has = |row: &&String| !readme.lines().any(|line| line == *row);
    table.iter().filter(has).cloned().collect()
}

/// The README with the table in place of the one that has the same head.
fn updated(readme: &str, table: &[String]) -> String {
    let before: Vec<&str> = readme.lines().take_while(|line| *line != table[0]).collect();
    let after = readme.lines().skip(before.len()).skip_while(|line| line.starts_with('|'));
    let lines = before.iter().copied().chain(table.iter().map(String::as_str)).chain(after);
    lines.flat_map(|line| [line, "\n"]).collect()
}

#[test]
fn the_table_has_every_flag_and_every_key() {
    let table = reference();
    let cell =
        |text: String| table.iter().any(|row| row.split(" | ").any(|c| c.trim_matches(['|', ' ']) == text));
    for option in AGENT.options {
        assert!(cell(format!("`-{}`", option.name())), "-{}\n{}", option.name(), table.join("\n"));
    }
    for option in settings() {
        let key = option.key.expect("settings have keys");
        assert!(cell(format!("`{key}`")), "{key}\n{}", table.join("\n"));
    }
    assert!(!cell("`-bogus`".to_string()));
}

#[test]
fn the_check_fires_and_the_update_mends() {
    let table: Vec<String> = ["| a |", "| - |", "| new |"].map(String::from).to_vec();
    let stale = "x\n\n| a |\n| - |\n| old |\n| older |\n\ny\n";
    assert_eq!(missing(stale, &table), ["| new |"]);
    assert_eq!(updated(stale, &table), "x\n\n| a |\n| - |\n| new |\n\ny\n");
}
