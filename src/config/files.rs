//! Finding and reading configuration files. What is in them is read in `json`.
#![allow(clippy::disallowed_methods)] // Configuration files are read here and nowhere else.

use super::error::{FileError, FileProblem};
use super::json;
use super::raw::RawConfig;
use crate::model::Text;
use std::ffi::OsString;
use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Largest configuration file, in bytes. All settings together fit into a few kilobytes.
const MAX_FILE_LEN: u64 = 1024 * 1024;
/// Most files that are read from one directory.
pub(super) const MAX_FILES: usize = 1024;
/// Permission of everyone to read a file.
const READABLE_BY_ALL: u32 = 0o004;

/// Reads files, and directories of files, in this order. With the settings come warnings.
pub(super) fn read(paths: &[Text], raw: &mut RawConfig, warnings: &mut Vec<String>) -> Result<(), FileError> {
    for path in paths.iter().map(|path| Path::new(path.as_os_str())) {
        let about = metadata(path)?;
        if about.is_dir() {
            for (file, about) in files_in(path)? {
                read_file(&file, &about, raw, warnings)?;
            }
        } else if about.is_file() {
            read_file(path, &about, raw, warnings)?;
        } else {
            // Reading a pipe or a device could take for ever.
            return Err(error(path, FileProblem::NotAFile));
        }
    }
    Ok(())
}

/// The files of a directory whose names end in `.json`, by name. Directories in it are not looked
/// into, and pipes, sockets and devices are passed over.
fn files_in(directory: &Path) -> Result<Vec<(PathBuf, Metadata)>, FileError> {
    let unreadable = |e: io::Error| error(directory, FileProblem::Unreadable(reason(&e)));
    let mut names: Vec<OsString> = Vec::new();
    for entry in fs::read_dir(directory).map_err(unreadable)? {
        let name = entry.map_err(unreadable)?.file_name();
        if name.as_encoded_bytes().ends_with(b".json") {
            names.push(name);
        }
        if names.len() > MAX_FILES {
            return Err(error(directory, FileProblem::TooManyFiles { most: MAX_FILES }));
        }
    }
    names.sort();
    let mut files = Vec::with_capacity(names.len());
    for name in names {
        let path = directory.join(name);
        let about = metadata(&path)?;
        if about.is_file() {
            files.push((path, about));
        }
    }
    Ok(files)
}

fn read_file(
    path: &Path,
    about: &Metadata,
    raw: &mut RawConfig,
    warnings: &mut Vec<String>,
) -> Result<(), FileError> {
    let mut bytes = Vec::new();
    // The file may grow meanwhile, so that its length alone proves nothing.
    File::open(path)
        .and_then(|file| file.take(MAX_FILE_LEN + 1).read_to_end(&mut bytes))
        .map_err(|e| error(path, FileProblem::Unreadable(reason(&e))))?;
    if bytes.len() as u64 > MAX_FILE_LEN {
        return Err(error(path, FileProblem::TooLong { most: MAX_FILE_LEN }));
    }
    let name: Arc<Path> = Arc::from(path);
    let secret = json::read(&name, &bytes, raw, warnings).map_err(|problem| error(path, problem))?;
    if let Some(key) = secret.filter(|_| about.permissions().mode() & READABLE_BY_ALL != 0) {
        warnings.push(format!(
            "Warning: everyone on this host can read '{key}' in '{0}'; 'chmod 600 {0}' prevents that",
            path.display()
        ));
    }
    Ok(())
}

fn metadata(path: &Path) -> Result<Metadata, FileError> {
    fs::metadata(path).map_err(|e| error(path, FileProblem::Unreadable(reason(&e))))
}

fn error(path: &Path, problem: FileProblem) -> FileError {
    FileError { path: path.to_path_buf(), problem }
}

/// What the system says, without its number.
fn reason(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or_default().to_string()
}
