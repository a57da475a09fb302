//! The README against the tables of settings and metrics: whoever adds one is told what to write
//! there.
#![allow(clippy::disallowed_methods, reason = "tests read files; rules do not")]

use serf::config;
use serf::config::options::{AGENT, settings};
use serf::telemetry::metrics;
use std::path::{Path, PathBuf};

/// With this variable in the environment the tables in the README are replaced.
const UPDATE: &str = "SERF_UPDATE_README";

fn readme() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")
}

#[test]
fn the_readme_has_every_setting_and_every_metric() {
    let tables = [config::reference::reference(), metrics::reference()];
    let mut text = std::fs::read_to_string(readme()).unwrap();
    if std::env::var_os(UPDATE).is_some() {
        text = tables.iter().fold(text, |text, table| updated(&text, table));
        std::fs::write(readme(), &text).unwrap();
    }
    for table in tables {
        let differences = differences(&text, &table);
        assert!(
            differences.is_empty(),
            "README.md and the table differ; {UPDATE}=1 in the environment mends that:\n{}",
            differences.join("\n")
        );
    }
}

/// Lines of the table that the README does not have, and lines that it has and the table does not.
fn differences(readme: &str, table: &[String]) -> Vec<String> {
    let there: Vec<&str> = readme
        .lines()
        .skip_while(|line| *line != table[0])
        .take_while(|line| line.starts_with('|'))
        .collect();
    let missing = table.iter().filter(|row| !there.contains(&row.as_str())).map(|row| format!("- {row}"));
    let stale = there.iter().filter(|row| table.iter().all(|r| r != *row)).map(|row| format!("+ {row}"));
    missing.chain(stale).collect()
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
    let table = config::reference::reference();
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
    assert_eq!(differences(stale, &table), ["- | new |", "+ | old |", "+ | older |"]);
    let mended = updated(stale, &table);
    assert!(differences(&mended, &table).is_empty());
    assert_eq!(mended, "x\n\n| a |\n| - |\n| new |\n\ny\n");
}
