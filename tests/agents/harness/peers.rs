//! Programs by others that must work with ours: HashiCorp's `serf` and RPC clients for Python.
//!
//! Where one is not installed its tests are skipped, loudly; with `SERF_REQUIRE_PEERS=1` or
//! `CI=true` a missing peer is a failure.

use super::notes::skip;
use std::path::{Path, PathBuf};

/// HashiCorp's own program (Debian package `serf`), or the file that `SERF_TEST_PEER` names.
pub(crate) fn hashicorp_serf() -> Option<PathBuf> {
    let candidates = match std::env::var_os("SERF_TEST_PEER") {
        Some(path) => vec![PathBuf::from(path)],
        None => vec![PathBuf::from("/usr/bin/serf"), PathBuf::from("/usr/local/bin/serf")],
    };
    let found = candidates.into_iter().find(|path| path.is_file());
    found.or_else(|| skip("HashiCorp's serf is not installed (Debian package `serf`)"))
}

/// The Python of an environment with `serfclient` and `serfio` installed, in the directory that
/// `SERF_TEST_VENV` names. `scripts/test` makes one.
pub(crate) fn python_with_clients() -> Option<PathBuf> {
    let found = std::env::var_os("SERF_TEST_VENV").map(|venv| Path::new(&venv).join("bin/python"));
    found
        .filter(|python| python.exists())
        .or_else(|| skip("SERF_TEST_VENV names no Python environment (with serfclient and serfio)"))
}
