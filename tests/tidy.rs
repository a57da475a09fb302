//! The rules of the house that a test can check: floors, rules without I/O, sizes, headings,
//! dependencies, nothing left undone. Each check is a function from text to complaints, and each
//! is shown below to fire on a bad sample.

// Reads the source tree.
#![allow(clippy::disallowed_methods)]

use std::fs;
use std::path::{Path, PathBuf};

/// The floors from the lowest to the highest; an import only ever goes down.
const FLOORS: [&str; 10] =
    ["model", "wire", "membership", "messaging", "config", "rpc", "agent", "manual", "cli", "bin"];
/// Any floor may count and log; counting and logging needs the nouns only.
const EVERYWHERE: &str = "telemetry";
/// Floors that never touch a socket, a file, a thread or a clock.
const RULES: [&str; 4] = ["model", "wire", "membership", "messaging"];
/// What the rules never mention.
const IO: [&str; 8] = [
    "TcpStream",
    "TcpListener",
    "UdpSocket",
    "std::fs",
    "std::thread",
    "Instant",
    "SystemTime",
    "std::process",
];
/// Words that mark unfinished work; split so that this file does not contain them.
const UNDONE: [&str; 6] = [
    concat!("TO", "DO"),
    concat!("FIX", "ME"),
    concat!("X", "XX"),
    concat!("to", "do!"),
    concat!("unimplemented", "!"),
    concat!("#[", "ignore"),
];
/// Lines in one file, with its tests.
const MAX_LINES: usize = 700;
/// Names that say nothing about what is inside.
const EMPTY_NAMES: [&str; 6] = ["util", "utils", "helper", "helpers", "manager", "misc"];
/// Runtimes, and what brings one.
const RUNTIMES: [&str; 6] = ["tokio", "async-std", "hyper", "smol", "async-executor", "reqwest"];
/// What the top level may hold besides dot-files and what building leaves there.
const TOP_LEVEL: [&str; 8] =
    ["Cargo.toml", "Cargo.lock", "src", "tests", "scripts", "README.md", "LICENSE-MIT", "LICENSE-APACHE"];
/// What building and testing leaves at the top level.
const LEFT_BY_TOOLS: [&str; 2] = ["target", "proptest-regressions"];

// ---- The tree ----

#[test]
fn source_files_are_tidy() {
    let files = files_below("src", &["rs"]);
    assert!(files.len() > 20, "found the source: {files:?}");
    let check = |path: &str, text: &str| {
        let mut complaints = heading(path, text);
        complaints.extend(size(path, text));
        complaints.extend(name(path));
        complaints.extend(undone(path, text));
        complaints.extend(imports(path, text));
        complaints.extend(io_in_rules(path, text));
        complaints.extend(dialect_codec(path, text));
        complaints
    };
    report(files, check);
}

#[test]
fn tests_and_scripts_are_tidy() {
    let mut files = files_below("tests", &["rs", "py", "sh"]);
    files.extend(files_below("scripts", &[]));
    let check = |path: &str, text: &str| {
        let mut complaints = undone(path, text);
        if path.ends_with(".rs") {
            complaints.extend(heading(path, text));
            complaints.extend(size(path, text));
        }
        complaints
    };
    report(files, check);
}

#[test]
fn the_manifest_is_tidy() {
    let manifest = read("Cargo.toml");
    let mut complaints = unexplained_dependencies(&manifest);
    complaints.extend(missing_lints(&manifest));
    complaints.extend(runtimes(&read("Cargo.lock")));
    if !manifest.contains("license = \"MIT OR Apache-2.0\"") {
        complaints.push("Cargo.toml: the license is MIT OR Apache-2.0".into());
    }
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
    assert!(read("LICENSE-MIT").contains("Permission is hereby granted"));
    assert!(read("LICENSE-APACHE").contains("END OF TERMS AND CONDITIONS"));
}

#[test]
fn the_top_level_is_tidy() {
    let entries = fs::read_dir(root()).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap());
    let complaints = strangers_at_top_level(&entries.collect::<Vec<_>>());
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}

// ---- The checks ----

fn heading(path: &str, text: &str) -> Vec<String> {
    complain(!text.starts_with("//! "), || format!("{path}: begins with `//!` saying what lives here"))
}

fn size(path: &str, text: &str) -> Vec<String> {
    let lines = text.lines().count();
    complain(lines > MAX_LINES, || format!("{path}: {lines} lines, more than {MAX_LINES}"))
}

fn name(path: &str) -> Vec<String> {
    let mut parts = path.split('/').map(|part| part.trim_end_matches(".rs"));
    let empty = parts.find(|part| EMPTY_NAMES.contains(part));
    complain(empty.is_some(), || format!("{path}: a name that says nothing"))
}

fn undone(path: &str, text: &str) -> Vec<String> {
    let found = |line: &str| UNDONE.iter().find(|word| mentions(line, word)).copied();
    let numbered = text.lines().enumerate();
    let undone = numbered.filter_map(|(i, line)| found(line).map(|word| (i + 1, word)));
    undone.map(|(line, word)| format!("{path}:{line}: unfinished: {word}")).collect()
}

/// Imports that go up, or past the floors.
fn imports(path: &str, text: &str) -> Vec<String> {
    let Some(here) = floor_of(path) else { return Vec::new() };
    let allowed = |there: &str| {
        let rank = |floor: &str| FLOORS.iter().position(|f| *f == floor);
        match (rank(here), rank(there)) {
            _ if here == there => true,
            _ if there == EVERYWHERE => true,
            _ if here == EVERYWHERE => there == "model",
            (Some(here), Some(there)) => there < here,
            // Not a floor: a macro or a type of the crate's root.
            (_, None) => true,
            (None, Some(_)) => false,
        }
    };
    let up = crate_paths(&code(text)).into_iter().filter(|there| !allowed(there));
    up.map(|there| format!("{path}: {here} imports {there}; an import only goes down")).collect()
}

fn io_in_rules(path: &str, text: &str) -> Vec<String> {
    let rules = floor_of(path).is_some_and(|floor| RULES.contains(&floor));
    if !rules || is_test_file(path) {
        return Vec::new();
    }
    let code = code(without_tests(text));
    let found = IO.iter().filter(|word| mentions(&code, word));
    found.map(|word| format!("{path}: rules do no I/O, but this mentions {word}")).collect()
}

/// The codec of the native dialect is to be replaceable by changing one file.
fn dialect_codec(path: &str, text: &str) -> Vec<String> {
    let elsewhere = path != "src/wire/native.rs" && mentions(&code(text), "bincode");
    complain(elsewhere, || format!("{path}: bincode is used in src/wire/native.rs and nowhere else"))
}

fn unexplained_dependencies(manifest: &str) -> Vec<String> {
    let mut complaints = Vec::new();
    let (mut in_dependencies, mut previous) = (false, "");
    for line in manifest.lines() {
        if line.starts_with('[') {
            in_dependencies = line.trim_end_matches(']').ends_with("dependencies");
        } else if in_dependencies
            && line.starts_with(|c: char| c.is_ascii_alphanumeric())
            && !previous.starts_with("# ")
        {
            complaints.push(format!("Cargo.toml: no line says why this is needed: {line}"));
        }
        previous = line;
    }
    complaints
}

fn missing_lints(manifest: &str) -> Vec<String> {
    let wanted = ["unsafe_code = \"forbid\"", "unused_must_use = \"deny\"", "missing_docs = \"warn\""];
    let missing = wanted.iter().filter(|lint| !manifest.lines().any(|line| line == **lint));
    missing.map(|lint| format!("Cargo.toml: lint {lint}")).collect()
}

fn runtimes(lock: &str) -> Vec<String> {
    let present = |name: &&&str| lock.lines().any(|line| line == format!("name = \"{name}\""));
    RUNTIMES.iter().filter(present).map(|name| format!("Cargo.lock: no runtime, but {name}")).collect()
}

fn strangers_at_top_level(names: &[String]) -> Vec<String> {
    let known = |n: &str| {
        n.starts_with('.') || TOP_LEVEL.contains(&n) || LEFT_BY_TOOLS.contains(&n) || n.ends_with(".log")
    };
    let strangers = names.iter().filter(|n| !known(n));
    strangers.map(|n| format!("{n}: has no place at the top level")).collect()
}

// ---- Reading source ----

fn complain(wrong: bool, what: impl FnOnce() -> String) -> Vec<String> {
    if wrong { vec![what()] } else { Vec::new() }
}

/// The folder below `src` that a file lives in; none for the crate's root.
fn floor_of(path: &str) -> Option<&str> {
    path.strip_prefix("src/")?.split_once('/').map(|(floor, _)| floor)
}

fn is_test_file(path: &str) -> bool {
    path.ends_with("tests.rs") || path.contains("/tests/")
}

/// `text` up to the tests at its end.
fn without_tests(text: &str) -> &str {
    let tests = text.match_indices("#[cfg(test)]").find(|(at, marker)| {
        let after = text[at + marker.len()..].trim_start();
        after.starts_with("mod ") && after.lines().next().is_some_and(|line| line.ends_with('{'))
    });
    tests.map_or(text, |(at, _)| &text[..at])
}

/// `text` without comments. A `//` right after a `:` is taken for a part of an address.
fn code(text: &str) -> String {
    let comment = |line: &str| {
        let mut starts = line.match_indices("//").map(|(at, _)| at);
        starts.find(|at| !line[..*at].ends_with(':')).unwrap_or(line.len())
    };
    text.lines().flat_map(|line| [&line[..comment(line)], "\n"]).collect()
}

/// Whether `text` has `word` with no letter, digit or underscore around it.
fn mentions(text: &str, word: &str) -> bool {
    let part = |c: char| c.is_alphanumeric() || c == '_';
    text.match_indices(word).any(|(at, _)| {
        let (before, after) = (&text[..at], &text[at + word.len()..]);
        let starts_a_word = !word.starts_with(part) || !before.ends_with(part);
        let ends_a_word = !word.ends_with(part) || !after.starts_with(part);
        starts_a_word && ends_a_word
    })
}

/// The first name after each `crate::`, also of those in braces.
fn crate_paths(code: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (at, start) in code.match_indices("crate::") {
        // `$crate::` and `crate::`, but not `othercrate::`.
        if code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_') {
            continue;
        }
        let rest = &code[at + start.len()..];
        match rest.strip_prefix('{') {
            Some(group) => found.extend(names_in_group(group)),
            None => found.push(first_name(rest)),
        }
    }
    found
}

/// The first name of each path in `a::B, c::{D, E}, f}`.
fn names_in_group(group: &str) -> Vec<String> {
    let (mut found, mut depth, mut expecting) = (Vec::new(), 0, true);
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => expecting = true,
            c if expecting && c.is_alphabetic() => {
                found.push(first_name(&group[at..]));
                expecting = false;
            }
            _ => {}
        }
    }
    found
}

fn first_name(text: &str) -> String {
    text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}

// ---- Files ----

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Files below a folder that end in one of `endings`, or all of them.
fn files_below(folder: &str, endings: &[&str]) -> Vec<String> {
    let mut folders: Vec<PathBuf> = vec![root().join(folder)];
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display())) {
            let path = entry.unwrap().path();
            let ending = path.extension().and_then(|e| e.to_str()).unwrap_or("");
            let made_by_tools = ["target", "__pycache__"].iter().any(|name| path.ends_with(name));
            if path.is_dir() && !made_by_tools {
                folders.push(path);
            } else if path.is_file() && (endings.is_empty() || endings.contains(&ending)) {
                files.push(path.strip_prefix(root()).unwrap().to_str().unwrap().to_string());
            }
        }
    }
    files.sort();
    files
}

fn report(files: Vec<String>, check: impl Fn(&str, &str) -> Vec<String>) {
    let complaints: Vec<String> = files.iter().flat_map(|path| check(path, &read(path))).collect();
    assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
}

// ---- The checks fire ----

#[test]
fn checks_of_files_fire() {
    assert_eq!(heading("src/a.rs", "use std::io;\n").len(), 1);
    assert!(heading("src/a.rs", "//! What lives here.\n").is_empty());

    assert_eq!(size("src/a.rs", &"x\n".repeat(MAX_LINES + 1)).len(), 1);
    assert!(size("src/a.rs", &"x\n".repeat(MAX_LINES)).is_empty());

    assert_eq!(name("src/wire/utils.rs").len(), 1);
    assert_eq!(name("src/manager/wire.rs").len(), 1);
    assert!(name("src/wire/native.rs").is_empty());

    for word in UNDONE {
        assert_eq!(undone("src/a.rs", &format!("fine\n// {word} later\n")).len(), 1, "{word}");
    }
    assert!(undone("src/a.rs", "let mastodon = 1; // ignored, XXXL\n").is_empty());
}

#[test]
fn checks_of_floors_fire() {
    let bad = [
        ("src/wire/a.rs", "use crate::membership::Members;"),
        ("src/membership/a.rs", "use crate::{model::{Member, Tags}, agent::Agent};"),
        ("src/model/a.rs", "fn f() { crate::wire::decode() }"),
        ("src/telemetry/a.rs", "pub(in crate::agent) use crate::model::Moment;"),
        ("src/rpc/a.rs", "use crate::agent::{self, Agent};"),
        ("src/agent/a.rs", "use crate::cli::run;"),
    ];
    for (path, text) in bad {
        assert_eq!(imports(path, text).len(), 1, "{path}: {text}");
    }
    let good = [
        ("src/membership/a.rs", "use crate::{model::Member, telemetry::counters, wire::Message};"),
        ("src/model/a.rs", "// as in crate::agent\nuse crate::telemetry::counters;"),
        ("src/cli/a.rs", "use crate::agent::Agent; use othercrate::bin::x;"),
        ("src/lib.rs", "pub use crate::cli::run;"),
    ];
    for (path, text) in good {
        assert_eq!(imports(path, text), Vec::<String>::new(), "{text}");
    }
}

#[test]
fn checks_of_rules_fire() {
    for word in IO {
        let text = format!("//! Rules.\nuse {word};\n");
        assert_eq!(io_in_rules("src/membership/a.rs", &text).len(), 1, "{word}");
        assert!(io_in_rules("src/agent/a.rs", &text).is_empty());
        let test = format!("//! Rules.\n#[cfg(test)]\nmod tests {{\n    use {word};\n}}\n");
        assert!(io_in_rules("src/membership/a.rs", &test).is_empty(), "tests may");
        let comment = format!("// Unlike {word}, see https://example.org\nlet instants = 1;\n");
        assert!(io_in_rules("src/wire/a.rs", &comment).is_empty());
    }
    // Only tests at the end are left out, not what follows a lone test item.
    let after = "#[cfg(test)]\nfn only_tests() {}\nuse std::fs;\n";
    assert_eq!(io_in_rules("src/wire/a.rs", after).len(), 1);

    assert_eq!(dialect_codec("src/wire/framing.rs", "use bincode::Options;").len(), 1);
    assert!(dialect_codec("src/wire/native.rs", "use bincode::Options;").is_empty());
}

#[test]
fn checks_of_the_manifest_fire() {
    let manifest = "[package]\nname = \"x\"\n[dependencies]\n# Why.\nlog = \"1\"\nmio = \"1\"\n\n[target.'cfg(unix)'.dependencies]\nlibc = \"1\"\n[features]\na = []\n";
    let complaints = unexplained_dependencies(manifest);
    assert_eq!(complaints.len(), 2, "{complaints:?}");
    assert!(complaints[0].contains("mio") && complaints[1].contains("libc"));
    assert_eq!(missing_lints("[lints.rust]\nunsafe_code = \"forbid\"\n").len(), 2);
    assert_eq!(runtimes("[[package]]\nname = \"tokio\"\n").len(), 1);
    assert!(runtimes("[[package]]\nname = \"tokio-free\"\n").is_empty());

    let names = |list: &[&str]| list.iter().map(|n| n.to_string()).collect::<Vec<_>>();
    assert_eq!(strangers_at_top_level(&names(&["src", "docs", ".ci", "target"])).len(), 1);
}
