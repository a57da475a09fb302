//! The files of this repository.

use std::fs;
use std::path::{Path, PathBuf};

pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

pub(crate) fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Whether there is a file or a folder of this path.
pub(crate) fn exists(path: &str) -> bool {
    root().join(path).exists()
}

/// What lies at the top level.
pub(crate) fn top_level() -> Vec<String> {
    let entries = fs::read_dir(root()).expect("the repository can be listed");
    entries.map(|e| e.unwrap().file_name().into_string().expect("names are UTF-8")).collect()
}

/// Whether a file below `src` holds nothing but tests.
pub(crate) fn is_test_file(path: &str) -> bool {
    path.ends_with("tests.rs") || path.contains("/tests/")
}

/// Files below a folder that end in one of `endings`, or all of them, each with its text.
pub(crate) fn files_below(folder: &str, endings: &[&str]) -> Vec<(String, String)> {
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
                let name = path.strip_prefix(root()).expect("below the root").to_str().expect("UTF-8");
                files.push((name.to_string(), read(name)));
            }
        }
    }
    files.sort();
    files
}
