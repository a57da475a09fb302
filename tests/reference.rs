//! The manual and the README from outside: tables against the code, topics against what the program
//! prints. If you add a setting or a metric, this says what to write there, and can write it.
#![allow(clippy::disallowed_methods, reason = "tests read files and run the program; rules do not")]

use serf::config;
use serf::config::options::{AGENT, settings};
use serf::membership::{Config, Profile};
use serf::rpc;
use serf::telemetry::metrics;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

/// With this variable in the environment the tables in the manual are replaced.
const UPDATE: &str = "SERF_UPDATE_MANUAL";
/// The most lines of the README.
const README_LINES: usize = 200;
/// The most columns that a topic may take.
const COLUMNS: usize = 100;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn readme() -> String {
    std::fs::read_to_string(root().join("README.md")).unwrap()
}

fn topic_file(name: &str) -> PathBuf {
    root().join("src/manual").join(format!("{name}.md"))
}

/// The names of all topics, by their files.
fn topics() -> Vec<String> {
    let entries = std::fs::read_dir(root().join("src/manual")).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut topics: Vec<String> =
        names.filter_map(|name| name.strip_suffix(".md").map(str::to_string)).collect();
    topics.sort_unstable();
    topics
}

fn help(words: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_serf")).arg("help").args(words).output().unwrap()
}

// ---- Tables ----

/// Each table that comes from the code, with the topic that it belongs into.
fn tables() -> Vec<(&'static str, Vec<String>)> {
    vec![
        ("settings", config::reference::reference()),
        ("metrics", metrics::reference()),
        ("timings", profile_table()),
        ("timings", config::reference::durations()),
        ("rpc", rpc::reference()),
    ]
}

#[test]
fn the_manual_has_every_setting_metric_timing_and_request() {
    for (topic, table) in tables() {
        let file = topic_file(topic);
        let mut text = std::fs::read_to_string(&file).unwrap();
        if std::env::var_os(UPDATE).is_some() {
            text = updated(&text, &table);
            std::fs::write(&file, &text).unwrap();
        }
        let differences = differences(&text, &table);
        assert!(
            differences.is_empty(),
            "{} and the table differ; {UPDATE}=1 in the environment mends that:\n{}",
            file.display(),
            differences.join("\n")
        );
    }
}

/// What depends on the profile.
fn profile_table() -> Vec<String> {
    const MEMBERS: usize = 10;
    let of = |profile| Config::for_profile(profile);
    let configs = [Profile::Lan, Profile::Wan, Profile::Local].map(of);
    let row = |what: &str, value: &dyn Fn(&Config) -> String| {
        let values: Vec<String> = configs.iter().map(value).collect();
        format!("| {what} | {} |", values.join(" | "))
    };
    let duration = |what: &str, value: fn(&Config) -> Duration| row(what, &|c| seconds(value(c)));
    let number = |what: &str, value: fn(&Config) -> usize| row(what, &|c| value(c).to_string());
    vec![
        "| | lan | wan | local |".to_string(),
        "| --- | --- | --- | --- |".to_string(),
        duration("a member probes another every", |c| c.probe_interval),
        duration("a probe tries TCP when its answer is late by", Config::stream_delay),
        duration("a probe waits for its answer", |c| c.probe_timeout),
        number("then so many members are asked to probe", |c| c.indirect_checks),
        duration("suspicion, least (up to 10 members)", |c| c.suspicion_timeouts(MEMBERS).0),
        duration("suspicion that no other member confirms", |c| c.suspicion_timeouts(MEMBERS).1),
        duration("gossip every", |c| c.gossip_interval),
        number("members that gossip goes to at a time", |c| c.gossip_nodes),
        number("times that each piece of news is sent", |c| c.transmit_limit(MEMBERS) as usize),
        duration("gossip still goes to failed members for", |c| c.gossip_to_the_dead),
        duration("an exchange with a random member every", |c| c.push_pull_interval),
        duration("an exchange over TCP may take", |c| c.tcp_timeout),
    ]
}

fn seconds(duration: Duration) -> String {
    format!("{} s", duration.as_secs_f64())
}

/// Lines of the table that the text does not have, and lines that it has and the table does not.
fn differences(text: &str, table: &[String]) -> Vec<String> {
    let there: Vec<&str> =
        text.lines().skip_while(|line| *line != table[0]).take_while(|line| line.starts_with('|')).collect();
    let missing = table.iter().filter(|row| !there.contains(&row.as_str())).map(|row| format!("- {row}"));
    let stale = there.iter().filter(|row| table.iter().all(|r| r != *row)).map(|row| format!("+ {row}"));
    missing.chain(stale).collect()
}

/// The text with the table in place of the one that has the same head.
fn updated(text: &str, table: &[String]) -> String {
    let before: Vec<&str> = text.lines().take_while(|line| *line != table[0]).collect();
    let after = text.lines().skip(before.len()).skip_while(|line| line.starts_with('|'));
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

// ---- Topics ----

#[test]
fn every_topic_is_listed_and_printed() {
    let list = String::from_utf8(help(&[]).stderr).unwrap();
    let (_, listed) = list.split_once("Topics of the manual").expect("the topics follow the commands");
    let listed: Vec<&str> =
        listed.lines().skip(1).filter_map(|line| line.split_whitespace().next()).collect();
    assert!(topics().len() >= 12, "the manual has topics: {:?}", topics());
    for topic in topics() {
        assert!(listed.contains(&topic.as_str()), "'serf help' does not list '{topic}': {listed:?}");
        let printed = help(&[&topic]);
        assert!(printed.status.success() && printed.stderr.is_empty(), "{topic}: {printed:?}");
        let complaints = unreadable(&topic, &String::from_utf8(printed.stdout).unwrap());
        assert!(complaints.is_empty(), "{}", complaints.join("\n"));
    }
    assert_eq!(listed.len(), topics().len(), "{listed:?}");
    assert_eq!(help(&["no-such-topic"]).status.code(), Some(1));
}

/// What keeps a topic from being read on a terminal.
fn unreadable(topic: &str, plain: &str) -> Vec<String> {
    let mut complaints = Vec::new();
    let mut lines = plain.lines();
    let (title, rule) = (lines.next().unwrap_or_default(), lines.next().unwrap_or_default());
    if !title.starts_with(&format!("{topic}: ")) || rule != "=".repeat(title.chars().count()) {
        complaints.push(format!("{topic}: no heading, but '{title}'"));
    }
    for line in plain.lines() {
        if line.chars().count() > COLUMNS {
            complaints.push(format!("{topic}: more than {COLUMNS} columns: {line}"));
        }
        if line.chars().any(char::is_control) {
            complaints.push(format!("{topic}: not only text: {line:?}"));
        }
    }
    complaints
}

#[test]
fn the_check_of_topics_fires() {
    assert!(unreadable("a", "a: b\n====\n\ntext\n").is_empty());
    for bad in
        ["a\n=\n", "a: b\n===\n", "", "a: b\n====\n\x1b[1m", &format!("a: b\n====\n{}", "x".repeat(101))]
    {
        assert_eq!(unreadable("a", bad).len(), 1, "{bad}");
    }
}

// ---- README and the words of other places ----

#[test]
fn the_readme_is_short_and_names_no_missing_topic() {
    let text = readme();
    assert!(text.lines().count() <= README_LINES, "{} lines", text.lines().count());
    let named = topics_named(&text);
    assert!(named.len() > 5, "the README says where the rest is: {named:?}");
    let missing: Vec<_> = named.iter().filter(|name| !help(&[name]).status.success()).collect();
    assert!(missing.is_empty(), "'serf help' has nothing on {missing:?}");
}

#[test]
fn topics_name_no_missing_topic() {
    for topic in topics() {
        let text = std::fs::read_to_string(topic_file(&topic)).unwrap();
        let missing: Vec<_> =
            topics_named(&text).into_iter().filter(|name| !help(&[name]).status.success()).collect();
        assert!(missing.is_empty(), "{topic}: 'serf help' has nothing on {missing:?}");
    }
}

/// The words after each `serf help`, but for those in capitals, which stand for any.
fn topics_named(text: &str) -> Vec<String> {
    let joined = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let after = joined.split("serf help ").skip(1);
    let words = after.map(|rest| rest.chars().take_while(char::is_ascii_alphabetic).collect::<String>());
    words.filter(|word| word.starts_with(|c: char| c.is_ascii_lowercase())).collect()
}

#[test]
fn named_topics_are_found() {
    let text = "See `serf help\nlimits` and `serf help rpc`; `serf help TOPIC`, `serf help`.";
    assert_eq!(topics_named(text), ["limits", "rpc"]);
}
