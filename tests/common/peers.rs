//! Programs by others that must work with ours: HashiCorp's `serf` and RPC clients for Python.
//!
//! Where one is not installed its tests are skipped, loudly; with `SERF_REQUIRE_PEERS=1` or
//! `CI=true` a missing peer is a failure.

use std::io::Write;
use std::path::{Path, PathBuf};

/// HashiCorp's own program (Debian package `serf`), or the file that `SERF_TEST_PEER` names.
pub fn hashicorp_serf() -> Option<PathBuf> {
    let candidates = match std::env::var_os("SERF_TEST_PEER") {
        Some(path) => vec![PathBuf::from(path)],
        None => vec![PathBuf::from("/usr/bin/serf"), PathBuf::from("/usr/local/bin/serf")],
    };
    let found = candidates.into_iter().find(|path| path.is_file());
    found.or_else(|| missing("HashiCorp's serf is not installed (Debian package `serf`)"))
}

/// The Python of an environment with `serfclient` and `serfio` installed, in the directory that
/// `SERF_TEST_VENV` names. `scripts/test` makes one.
pub fn python_with_clients() -> Option<PathBuf> {
    let found = std::env::var_os("SERF_TEST_VENV").map(|venv| Path::new(&venv).join("bin/python"));
    found
        .filter(|python| python.exists())
        .or_else(|| missing("SERF_TEST_VENV names no Python environment (with serfclient and serfio)"))
}

/// Skips the test that needs this, or fails it where everything is required.
pub(super) fn missing<T>(what: &str) -> Option<T> {
    let required = |name: &str, value: &str| std::env::var(name).is_ok_and(|v| v == value);
    assert!(!required("SERF_REQUIRE_PEERS", "1") && !required("CI", "true"), "required, but {what}");
    let test = std::thread::current().name().unwrap_or("a test").to_string();
    // Not `eprintln!`, which the test runner keeps to itself when a test passes.
    let _ = writeln!(std::io::stderr(), "SKIPPED: {test}: {what}");
    None
}
