//! What is said to the operator of the tests, of tests that pass too. Not with `eprintln!`: the test
//! runner keeps that to itself unless the test fails.

use std::io::Write;
use std::thread;

/// A line.
pub(crate) fn note(text: &str) {
    // Nothing is lost but the line if standard error is closed.
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// A line that nobody overlooks, with the name of the test.
pub(crate) fn loudly(text: &str) {
    note(&format!("\n**** {}: {text}\n", test()));
}

/// Says that a test is skipped; fails it where everything is required.
pub(crate) fn skip<T>(why: &str) -> Option<T> {
    let required = |name: &str, value: &str| std::env::var(name).is_ok_and(|v| v == value);
    assert!(!required("SERF_REQUIRE_PEERS", "1") && !required("CI", "true"), "required, but {why}");
    note(&format!("SKIPPED: {}: {why}", test()));
    None
}

fn test() -> String {
    thread::current().name().unwrap_or("a test").to_string()
}
