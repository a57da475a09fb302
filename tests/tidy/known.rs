//! What the tree does not do yet, check by check. A list only gets shorter: what is not on it is a
//! failure, and so is what is on it and has been done. In the end all are empty.

use super::style::Finding;
use std::collections::BTreeSet;

/// Files in a circle of imports.
pub(crate) const CIRCLES: &[&str] = &[];

/// Functions that are too long.
pub(crate) const LONG_FUNCTIONS: &[&str] = &[];

/// Files that are too long.
pub(crate) const LONG_FILES: &[&str] = &[];

/// Words that style.md replaces, by the first form of each.
pub(crate) const WORDS: &[&str] = &[
    "corridor",
    "doorbell",
    "ride",
    "talk",
    "foreigner",
    "twin",
    "bury",
    "manner",
    "surroundings",
    "question",
    "insist",
    "tell",
    "haunt",
    "whoever",
];

/// Lints that are not set.
pub(crate) const LINTS: &[&str] = &[];

/// Complaints about what was found and is not on the list, and about what is on it without need.
pub(crate) fn beyond(known: &[&str], findings: Vec<Finding>) -> Vec<String> {
    let found: BTreeSet<String> = findings.iter().map(|finding| finding.key.clone()).collect();
    let done = known.iter().filter(|key| !found.contains(**key));
    let done: Vec<String> =
        done.map(|key| format!("tests/tidy/known.rs: '{key}' has been done; take it off the list")).collect();
    let new = findings.into_iter().filter(|finding| !known.contains(&finding.key.as_str()));
    new.map(|finding| finding.complaint).chain(done).collect()
}

#[test]
fn what_is_known_is_no_complaint_and_what_is_done_is_one() {
    let finding = |key: &str| Finding::new(key, format!("{key} is wrong"));
    assert_eq!(beyond(&["a", "b"], vec![finding("a"), finding("b")]), Vec::<String>::new());
    assert_eq!(beyond(&["a"], vec![finding("a"), finding("c")]), ["c is wrong"]);
    assert_eq!(
        beyond(&["a", "b"], vec![finding("b")]),
        ["tests/tidy/known.rs: 'a' has been done; take it off the list"]
    );
}
