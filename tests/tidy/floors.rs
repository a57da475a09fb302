//! The floors: imports go down, rules do no I/O, the codec of the native dialect has one place.

use super::graph::module_of;
use super::paths::paths;
use super::source::{Source, code, mentions};
use super::style::complain;
use super::tree::is_test_file;
use std::collections::BTreeSet;

/// The floors from the lowest to the highest; an import only ever goes down.
pub(crate) const FLOORS: [&str; 11] =
    ["model", "wire", "membership", "messaging", "node", "config", "rpc", "agent", "manual", "cli", "bin"];
/// Any floor may count and log; counting and logging needs the nouns only.
const EVERYWHERE: &str = "telemetry";
/// The channels between threads, below all floors that have threads.
const CHANNEL: &str = "channel";
/// Floors that never touch a socket, a file, a thread or a clock.
const RULES: [&str; 5] = ["model", "wire", "membership", "messaging", "node"];
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

/// Imports that go up, or past the floors.
pub(crate) fn imports(path: &str, source: &Source) -> Vec<String> {
    let (Some(here), Some(module)) = (floor_of(path), module_of("src", path)) else { return Vec::new() };
    let allowed = |there: &str| {
        let rank = |floor: &str| FLOORS.iter().position(|f| *f == floor);
        match (rank(here), rank(there)) {
            _ if here == there => true,
            _ if there == EVERYWHERE => true,
            _ if there == CHANNEL => !RULES.contains(&here),
            _ if here == EVERYWHERE => there == "model",
            (Some(here), Some(there)) => there < here,
            // Not a floor: a macro or a type of the crate's root.
            (_, None) => true,
            (None, Some(_)) => false,
        }
    };
    // Tests import downwards too. Names that stand for modules of the same file stay on its floor.
    let paths = paths(&module, &source.all, &BTreeSet::new());
    let floors: BTreeSet<String> =
        paths.into_iter().filter_map(|path| path.segments.into_iter().next()).collect();
    let up = floors.iter().filter(|there| !allowed(there));
    up.map(|there| format!("{path}: {here} imports {there}; an import only goes down")).collect()
}

pub(crate) fn io_in_rules(path: &str, source: &Source) -> Vec<String> {
    let rules = floor_of(path).is_some_and(|floor| RULES.contains(&floor));
    if !rules || is_test_file(path) {
        return Vec::new();
    }
    let code = code(&source.production);
    let found = IO.iter().filter(|word| mentions(&code, word));
    found.map(|word| format!("{path}: rules do no I/O, but this mentions {word}")).collect()
}

/// The codec of the native dialect is to be replaceable by changing one file.
pub(crate) fn dialect_codec(path: &str, source: &Source) -> Vec<String> {
    let elsewhere = path != "src/wire/native.rs" && mentions(&code(&source.all), "bincode");
    complain(elsewhere, || format!("{path}: bincode is used in src/wire/native.rs and nowhere else"))
}

/// Folders below `src` that are no floor.
pub(crate) fn unknown_floors(paths: &[String]) -> Vec<String> {
    let floors: BTreeSet<&str> = paths.iter().filter_map(|path| floor_of(path)).collect();
    let unknown = floors.into_iter().filter(|floor| !FLOORS.contains(floor) && *floor != EVERYWHERE);
    unknown.map(|floor| format!("src/{floor}: not one of the floors")).collect()
}

/// The folder below `src` that a file lives in; none for the crate's root.
fn floor_of(path: &str) -> Option<&str> {
    path.strip_prefix("src/")?.split_once('/').map(|(floor, _)| floor)
}

// ---- Shown to fire ----

#[test]
fn checks_of_floors_fire() {
    let bad = [
        ("src/wire/a.rs", "use crate::membership::Members;"),
        ("src/membership/a.rs", "use crate::{model::{Member, Tags}, agent::Agent};"),
        ("src/model/a.rs", "fn f() { crate::wire::decode() }"),
        ("src/model/a/b.rs", "use super::super::super::wire::decode;"),
        ("src/telemetry/a.rs", "pub(in crate::agent) use crate::model::Moment;"),
        ("src/rpc/a.rs", "use crate::agent::{self, Agent};"),
        ("src/agent/a.rs", "use crate::cli::run;"),
        ("src/agent/a.rs", "use crate::manual::TOPICS;"),
        ("src/messaging/a.rs", "use crate::node::Node;"),
        ("src/node/a.rs", "use crate::config::Config;"),
        ("src/node/a.rs", "use crate::channel::bounded;"),
        ("src/node/a.rs", "#[cfg(test)] mod tests { use crate::agent::Agent; }"),
    ];
    for (path, text) in bad {
        assert_eq!(imports(path, &Source::of(text)).len(), 1, "{path}: {text}");
    }
    let good = [
        ("src/membership/a.rs", "use crate::{model::Member, telemetry::counters, wire::Message};"),
        ("src/model/a.rs", "// as in crate::agent\nuse crate::telemetry::counters;"),
        ("src/cli/a.rs", "use crate::agent::Agent; use othercrate::bin::x;"),
        ("src/cli/a.rs", "use crate::manual::TOPICS;"),
        ("src/node/a.rs", "use crate::messaging::Queries;"),
        ("src/telemetry/a.rs", "use crate::channel::bounded;"),
        ("src/lib.rs", "pub use crate::cli::run;"),
    ];
    for (path, text) in good {
        assert_eq!(imports(path, &Source::of(text)), Vec::<String>::new(), "{text}");
    }
    let paths = ["src/lib.rs", "src/wire/a.rs", "src/telemetry/a.rs", "src/cellar/a.rs"].map(String::from);
    assert_eq!(unknown_floors(&paths), ["src/cellar: not one of the floors"]);
}

#[test]
fn checks_of_rules_fire() {
    let io = |path: &str, text: &str| io_in_rules(path, &Source::of(text));
    for word in IO {
        let text = format!("//! Rules.\nuse {word};\n");
        assert_eq!(io("src/membership/a.rs", &text).len(), 1, "{word}");
        assert_eq!(io("src/node/a.rs", &text).len(), 1, "{word}");
        assert!(io("src/agent/a.rs", &text).is_empty());
        let test = format!("//! Rules.\n#[cfg(test)]\nmod tests {{\n    use {word};\n}}\n");
        assert!(io("src/membership/a.rs", &test).is_empty(), "tests may");
        let comment = format!("// Unlike {word}, see https://example.org\nlet instants = 1;\n");
        assert!(io("src/wire/a.rs", &comment).is_empty());
    }
    // Only tests are left out, not what follows them.
    let after = "#[cfg(test)]\nfn only_tests() {}\nuse std::fs;\n";
    assert_eq!(io("src/wire/a.rs", after).len(), 1);

    let codec = |path: &str| dialect_codec(path, &Source::of("use bincode::Options;"));
    assert_eq!(codec("src/wire/framing.rs").len(), 1);
    assert!(codec("src/wire/native.rs").is_empty());
}
