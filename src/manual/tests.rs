//! The topics themselves. `tests/reference.rs` holds their tables against the code.

use super::*;
use crate::config::options::COMMANDS;

#[test]
fn each_topic_is_named_and_says_what_it_is_about() {
    for topic in TOPICS {
        assert!(topic.text.starts_with(&format!("# {}: ", topic.name)), "{}", topic.name);
        assert!(topic.name.bytes().all(|b| b.is_ascii_lowercase()), "{}", topic.name);
        assert!((1..=60).contains(&topic.about().chars().count()), "{}: {}", topic.name, topic.about());
        assert_eq!(TOPICS.iter().filter(|other| other.name == topic.name).count(), 1, "{}", topic.name);
    }
}

#[test]
fn each_topic_reads_well_in_a_pager() {
    for topic in TOPICS {
        let plain = topic.plain();
        for line in plain.lines() {
            let room = if line.starts_with("    ") { 100 } else { 80 };
            assert!(line.chars().count() <= room, "{}: {line}", topic.name);
            assert!(!line.chars().any(char::is_control) && !line.contains('`'), "{}: {line}", topic.name);
        }
    }
}

/// The first cells of the table with this head.
fn first_cells(topic: &str, head: &str) -> Vec<String> {
    let topic = TOPICS.iter().find(|t| t.name == topic).expect("a topic");
    let rows = topic.text.lines().skip_while(|line| *line != head).take_while(|line| line.starts_with('|'));
    rows.skip(2).filter_map(|row| row.split('`').nth(1)).map(str::to_string).collect()
}

#[test]
fn the_manual_has_every_command_of_the_programs() {
    let commands: Vec<&str> = COMMANDS.iter().map(|command| command.name).collect();
    assert_eq!(first_cells("commands", "| command | what it does |"), commands);
}
