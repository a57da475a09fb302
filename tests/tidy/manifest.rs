//! `Cargo.toml`, the lock file and the top level: reasons for dependencies, lints, no runtime.

/// Lints that hold for every file.
const LINTS: [&str; 4] = [
    "unsafe_code = \"forbid\"",
    "unused_must_use = \"deny\"",
    "missing_docs = \"warn\"",
    "unreachable_pub = \"deny\"",
];
/// Runtimes, and what brings one.
const RUNTIMES: [&str; 6] = ["tokio", "async-std", "hyper", "smol", "async-executor", "reqwest"];
/// What the top level may hold besides dot-files and what building leaves there.
const TOP_LEVEL: [&str; 8] =
    ["Cargo.toml", "Cargo.lock", "src", "tests", "scripts", "README.md", "LICENSE-MIT", "LICENSE-APACHE"];
/// What building and testing leaves at the top level.
const LEFT_BY_TOOLS: [&str; 2] = ["target", "proptest-regressions"];

use super::style::Finding;

pub(crate) fn unexplained_dependencies(manifest: &str) -> Vec<String> {
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

pub(crate) fn missing_lints(manifest: &str) -> Vec<Finding> {
    let missing = LINTS.iter().filter(|lint| !manifest.lines().any(|line| line == **lint));
    missing.map(|lint| Finding::new(lint, format!("Cargo.toml: lint {lint}"))).collect()
}

pub(crate) fn license(manifest: &str) -> Vec<String> {
    let named = manifest.contains("license = \"MIT OR Apache-2.0\"");
    super::style::complain(!named, || "Cargo.toml: the license is MIT OR Apache-2.0".into())
}

pub(crate) fn runtimes(lock: &str) -> Vec<String> {
    let present = |name: &&&str| lock.lines().any(|line| line == format!("name = \"{name}\""));
    RUNTIMES.iter().filter(present).map(|name| format!("Cargo.lock: no runtime, but {name}")).collect()
}

pub(crate) fn strangers_at_top_level(names: &[String]) -> Vec<String> {
    let known = |n: &str| {
        n.starts_with('.') || TOP_LEVEL.contains(&n) || LEFT_BY_TOOLS.contains(&n) || n.ends_with(".log")
    };
    let strangers = names.iter().filter(|n| !known(n));
    strangers.map(|n| format!("{n}: has no place at the top level")).collect()
}

// ---- Shown to fire ----

#[test]
fn checks_of_the_manifest_fire() {
    let manifest = "[package]\nname = \"x\"\n[dependencies]\n# Why.\nlog = \"1\"\nmio = \"1\"\n\n[target.'cfg(unix)'.dependencies]\nlibc = \"1\"\n[features]\na = []\n";
    let complaints = unexplained_dependencies(manifest);
    assert_eq!(complaints.len(), 2, "{complaints:?}");
    assert!(complaints[0].contains("mio") && complaints[1].contains("libc"));
    assert_eq!(missing_lints("[lints.rust]\nunsafe_code = \"forbid\"\n").len(), LINTS.len() - 1);
    assert!(missing_lints(&LINTS.join("\n")).is_empty());
    assert_eq!(license("[package]\nlicense = \"MIT\"\n").len(), 1);
    assert_eq!(runtimes("[[package]]\nname = \"tokio\"\n").len(), 1);
    assert!(runtimes("[[package]]\nname = \"tokio-free\"\n").is_empty());

    let names = |list: &[&str]| list.iter().map(|n| n.to_string()).collect::<Vec<_>>();
    assert_eq!(strangers_at_top_level(&names(&["src", "docs", ".ci", "target"])).len(), 1);
}
