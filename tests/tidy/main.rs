//! The rules of the house that a test can check: floors, circles of imports, rules without I/O,
//! sizes, words, headings, dependencies, nothing left undone. Each check is a function from text to
//! complaints, and each is shown, beside it, to fire on a bad sample.
#![allow(clippy::disallowed_methods, reason = "reads the source tree")]

mod floors;
mod graph;
mod manifest;
mod map;
mod paths;
mod source;
mod style;
mod tree;

use graph::Graph;
use source::Source;
use style::Finding;
use tree::{files_below, read};

#[track_caller]
fn report(complaints: Vec<String>) {
    assert!(complaints.is_empty(), "\n{}\n{} complaints", complaints.join("\n"), complaints.len());
}

/// The Rust files below a folder, each read as source.
fn sources(folder: &str) -> Vec<(String, Source)> {
    let files = files_below(folder, &["rs"]);
    assert!(files.len() > 5, "found the source");
    files.into_iter().map(|(path, text)| (path, Source::of(&text))).collect()
}

fn complaints_of(findings: Vec<Finding>) -> Vec<String> {
    findings.into_iter().map(|finding| finding.complaint).collect()
}

fn all_findings(files: &[(String, String)], check: impl Fn(&str, &str) -> Vec<Finding>) -> Vec<Finding> {
    files.iter().flat_map(|(path, text)| check(path, text)).collect()
}

#[test]
fn source_files_are_tidy() {
    let mut complaints = Vec::new();
    let files = files_below("src", &["rs"]);
    for (path, text) in &files {
        complaints.extend(style::heading(path, text));
        complaints.extend(style::name(path));
        complaints.extend(style::undone(path, text));
    }
    complaints.extend(complaints_of(all_findings(&files, style::size)));
    report(complaints);
}

#[test]
fn tests_and_scripts_are_tidy() {
    let mut files = files_below("tests", &["rs", "py", "sh"]);
    files.extend(files_below("scripts", &[]));
    let mut complaints = Vec::new();
    for (path, text) in &files {
        complaints.extend(style::undone(path, text));
        if path.ends_with(".rs") {
            complaints.extend(style::heading(path, text));
            complaints.extend(style::size(path, text).into_iter().map(|finding| finding.complaint));
        }
    }
    report(complaints);
}

#[test]
fn imports_go_down_and_rules_do_no_io() {
    let files = sources("src");
    let paths: Vec<String> = files.iter().map(|(path, _)| path.clone()).collect();
    let mut complaints = floors::unknown_floors(&paths);
    for (path, source) in &files {
        complaints.extend(floors::imports(path, source));
        complaints.extend(floors::io_in_rules(path, source));
        complaints.extend(floors::dialect_codec(path, source));
    }
    report(complaints);
}

#[test]
fn imports_have_no_circles() {
    let mut findings = Vec::new();
    for folder in ["src", "tests/agents", "tests/tidy"] {
        findings.extend(graph::circles(&Graph::of(folder, &sources(folder))));
    }
    report(complaints_of(findings));
}

#[test]
fn functions_fit_two_screens() {
    let files = sources("src");
    let shipped = files.iter().filter(|(path, _)| !tree::is_test_file(path));
    let findings = shipped.flat_map(|(path, source)| style::functions(path, source)).collect();
    report(complaints_of(findings));
}

#[test]
fn the_map_names_what_is_there() {
    report(map::missing_places(&read("src/lib.rs"), tree::exists));
}

#[test]
fn words_are_those_of_the_field() {
    let files = files_below("src", &["rs", "md"]);
    report(complaints_of(all_findings(&files, style::words)));
}

#[test]
fn the_manifest_is_tidy() {
    let manifest = read("Cargo.toml");
    let mut complaints = manifest::unexplained_dependencies(&manifest);
    complaints.extend(complaints_of(manifest::missing_lints(&manifest)));
    complaints.extend(manifest::runtimes(&read("Cargo.lock")));
    complaints.extend(manifest::license(&manifest));
    report(complaints);
    assert!(read("LICENSE-MIT").contains("Permission is hereby granted"));
    assert!(read("LICENSE-APACHE").contains("END OF TERMS AND CONDITIONS"));
}

#[test]
fn the_top_level_is_tidy() {
    report(manifest::strangers_at_top_level(&tree::top_level()));
}
