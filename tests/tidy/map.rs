//! The map in `src/lib.rs`: every place that it names is there.

/// Places in backticks that do not exist; `exists` is asked for paths from the top of the tree.
pub(crate) fn missing_places(map: &str, exists: impl Fn(&str) -> bool) -> Vec<String> {
    let comments = map.lines().filter_map(|line| line.strip_prefix("//! "));
    let quoted = comments.flat_map(|line| line.split('`').skip(1).step_by(2));
    let places = quoted.filter(|place| is_place(place));
    let missing = places.filter(|place| !exists(&format!("src/{place}")) && !exists(place));
    missing.map(|place| format!("src/lib.rs: there is no `{place}`")).collect()
}

/// Whether this is a file or a folder, and not a name, a command or a setting.
fn is_place(text: &str) -> bool {
    text.contains('/') && text.chars().all(|c| c.is_ascii_lowercase() || "_/.".contains(c))
}

#[test]
fn a_place_that_is_not_there_is_found() {
    let exists = |path: &str| ["src/agent/", "src/wire/message.rs", "tests/simulation"].contains(&path);
    let good = "//! `agent/` has `wire/message.rs`; `tests/simulation`, `SERF_LOG=a/b`, `serf-log`\n//! `membership`.\n";
    assert_eq!(missing_places(good, exists), Vec::<String>::new());
    let bad = "//! `agent/sync.rs` does.\nlet x = `gone/`;\n";
    assert_eq!(missing_places(bad, exists), ["src/lib.rs: there is no `agent/sync.rs`"]);
}
