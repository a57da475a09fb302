//! Why a configuration was refused. Every message says where the value was written, what it was and
//! what would have been accepted.

use super::handlers::EventScriptError;
use super::value::ValueSource;
use crate::membership::ProfileError;
use crate::model::{AddressError, MAX_PLAIN_NAME_LEN, NameError, TagsError};
use crate::telemetry::FacilityError;
use crate::wire::seal::KeyError;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

/// Why a configuration was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ConfigError {
    /// A configuration file cannot be read, or is no object of known settings.
    File(FileError),
    /// A setting cannot be used.
    Setting {
        /// Where it was written.
        source: ValueSource,
        /// What is wrong with it.
        problem: Problem,
    },
}

/// Why a configuration file was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FileError {
    /// The file, or the directory of files.
    pub(crate) path: PathBuf,
    /// What is wrong with it.
    pub(crate) problem: FileProblem,
}

/// What is wrong with a configuration file. Lines count from 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FileProblem {
    /// The system refuses to read it, for this reason.
    Unreadable(String),
    /// It is a pipe, a socket or a device.
    NotAFile,
    /// It is longer than this many bytes.
    TooLong {
        /// How many are read.
        most: u64,
    },
    /// The directory has more of them than this.
    TooManyFiles {
        /// How many are read.
        most: usize,
    },
    /// It begins with a byte order mark, which JSON forbids.
    ByteOrderMark,
    /// It has nothing in it.
    Empty,
    /// It has a comment where JSON has none.
    Comment {
        /// Where.
        line: usize,
    },
    /// It is JSON of another kind.
    NotAnObject {
        /// Where it begins.
        line: usize,
    },
    /// It is no JSON.
    Syntax {
        /// Where.
        line: usize,
        /// Where on that line, in bytes; 0 before its first.
        column: usize,
        /// What the parser says.
        what: String,
    },
    /// There is no such setting.
    UnknownKey {
        /// Where its value is.
        line: usize,
        /// The key.
        key: String,
        /// What was probably meant.
        nearest: Option<&'static str>,
    },
    /// One object has one key twice, written with different capitals.
    Duplicate {
        /// Where the second value is.
        line: usize,
        /// The key.
        key: String,
        /// Where the first value is.
        first: usize,
    },
    /// The value is of another kind than the setting.
    WrongValue {
        /// Where it is.
        line: usize,
        /// The key.
        key: String,
        /// The value, shortened.
        found: String,
        /// What would have been right.
        expected: &'static str,
    },
}

/// What is wrong with a setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Problem {
    /// No host name could be read and no name was given.
    NoHostName,
    /// The node name cannot be used.
    Name(NameError),
    /// `validate_node_names` is on and forbids this name.
    NameRefused(String),
    /// An address cannot be read.
    Address {
        /// Which of them.
        option: &'static str,
        /// Why.
        error: AddressError,
    },
    /// An address is a name that does not resolve.
    Unresolved {
        /// Which of them.
        option: &'static str,
        /// The name.
        host: String,
        /// What the resolver said.
        reason: String,
    },
    /// An address has no port where there is no default.
    NoPort {
        /// Which of them.
        option: &'static str,
        /// The address.
        text: String,
    },
    /// Nobody could reach what would be advertised.
    AdvertiseUnspecified(SocketAddr),
    /// A tag cannot be read, or they do not fit.
    Tags(TagsError),
    /// An encryption key cannot be read.
    Key(KeyError),
    /// The file with the encryption key cannot be read.
    KeyFile {
        /// Which file.
        path: PathBuf,
        /// Why.
        why: KeyFileError,
    },
    /// An encryption key is given twice.
    TwoKeys,
    /// An encryption key is given beside a file that keeps the keys.
    KeyBesideKeyring,
    /// Tags are configured beside a file that keeps them.
    TagsBesideFile,
    /// Not a profile.
    Profile(ProfileError),
    /// Not a log level.
    LogLevel(String),
    /// Not a Serf protocol that we accept.
    Protocol {
        /// What was asked for.
        number: i64,
        /// The oldest.
        least: i64,
        /// The newest.
        most: i64,
    },
    /// Not a facility of syslog.
    Facility(FacilityError),
    /// An event handler that hears of nothing that exists.
    EventScript(EventScriptError),
    /// `mdns.interface` without `discover`.
    MdnsWithoutDiscover,
    /// mDNS over neither IPv4 nor IPv6.
    MdnsWithoutProtocol,
    /// Any other value that the setting does not accept.
    Value {
        /// The key.
        key: &'static str,
        /// The value.
        value: String,
        /// What would have been right.
        expected: String,
    },
}

/// Why a file with an encryption key cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum KeyFileError {
    /// It is a directory, a pipe, a socket or a device.
    NotAFile,
    /// It is longer than any key.
    TooLong {
        /// How many bytes are read.
        most: u64,
    },
    /// The system refuses to read it, for this reason.
    Unreadable(String),
}

impl fmt::Display for KeyFileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            KeyFileError::NotAFile => write!(f, "it is not a file"),
            KeyFileError::TooLong { most } => write!(f, "it is too long (at most {most} bytes are read)"),
            KeyFileError::Unreadable(reason) => f.write_str(reason),
        }
    }
}

impl std::error::Error for KeyFileError {}

impl Problem {
    /// The error about a setting from this source.
    pub(super) fn at(self, source: ValueSource) -> ConfigError {
        ConfigError::Setting { source, problem: self }
    }
}

impl From<FileError> for ConfigError {
    fn from(error: FileError) -> ConfigError {
        ConfigError::File(error)
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ConfigError::File(error) => error.fmt(f),
            // Whatever the value is, an error is one line.
            ConfigError::Setting { source: ValueSource::File(place), problem } => {
                let problem = problem.to_string().replace(char::is_control, " ");
                write!(f, "Error in {place}: {problem}")
            }
            // Flags are few, and the operator has just written them; the text names the setting.
            ConfigError::Setting { source: ValueSource::Flag(_) | ValueSource::Default, problem } => {
                problem.fmt(f)
            }
        }
    }
}

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        match &self.problem {
            FileProblem::Unreadable(reason) => write!(f, "Error reading '{path}': {reason}"),
            FileProblem::NotAFile => {
                write!(f, "Error reading '{path}': it is neither a file nor a directory")
            }
            FileProblem::TooLong { most } => {
                write!(f, "Error reading '{path}': it is too long (at most {most} bytes are read)")
            }
            FileProblem::TooManyFiles { most } => {
                write!(f, "Error reading '{path}': more than {most} files in it end in .json")
            }
            FileProblem::ByteOrderMark => write!(
                f,
                "Error in '{path}', line 1: the file begins with a byte order mark; save it as UTF-8 without one"
            ),
            FileProblem::Empty => {
                write!(f, "Error in '{path}': the file is empty (expected a JSON object; {{}} sets nothing)")
            }
            FileProblem::Comment { line } => {
                write!(f, "Error in '{path}', line {line}: JSON has no comments")
            }
            FileProblem::NotAnObject { line } => {
                write!(f, "Error in '{path}', line {line}: expected a JSON object: {{ ... }}")
            }
            FileProblem::Syntax { line, column: 0, what } => {
                write!(f, "Error in '{path}', line {line}: {what}")
            }
            FileProblem::Syntax { line, column, what } => {
                write!(f, "Error in '{path}', line {line}, column {column}: {what}")
            }
            FileProblem::UnknownKey { line, key, nearest } => {
                write!(f, "Error in '{path}', line {line}: unknown key '{key}'")?;
                match nearest {
                    Some(nearest) => write!(f, " (did you mean '{nearest}'?)"),
                    None => Ok(()),
                }
            }
            FileProblem::Duplicate { line, key, first } => {
                write!(f, "Error in '{path}', line {line}: key '{key}' is already set on line {first}")
            }
            FileProblem::WrongValue { line, key, found, expected } => {
                write!(f, "Error in '{path}', line {line}, key '{key}': {found} (expected {expected})")
            }
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Problem::NoHostName => write!(f, "Error determining hostname: this host has none; use -node"),
            Problem::Name(e) => write!(f, "Invalid node name: {e}"),
            Problem::NameRefused(name) => write!(
                f,
                "Invalid node name: '{name}' (validate_node_names allows letters, digits, dashes and dots, at \
                 most {} of them)",
                MAX_PLAIN_NAME_LEN
            ),
            Problem::Address { option, error } => write!(f, "Invalid {option} address: {error}"),
            Problem::Unresolved { option, host, reason } => {
                write!(f, "Invalid {option} address: cannot resolve '{host}': {reason}")
            }
            Problem::NoPort { option, text } => {
                write!(f, "Invalid {option} address: '{text}' has no port (expected host:port)")
            }
            Problem::AdvertiseUnspecified(addr) => {
                write!(f, "Invalid advertise address: nobody can reach {addr}")
            }
            Problem::Tags(e @ TagsError::TooLarge(taken)) => {
                write!(f, "Error: {e} (they take {taken}); use fewer or shorter tags")
            }
            Problem::Tags(e) => write!(f, "Error: {e}"),
            Problem::Key(e) => write!(f, "Invalid encryption key: {e}"),
            Problem::KeyFile { path, why } => {
                write!(f, "Error reading encryption key file '{}': {why}", path.display())
            }
            Problem::TwoKeys => write!(f, "Only one of encrypt_key and encrypt_key_file is allowed"),
            Problem::KeyBesideKeyring => write!(f, "Encryption key not allowed while using a keyring"),
            Problem::TagsBesideFile => write!(f, "Tags config not allowed while using tag files"),
            Problem::Profile(e) => write!(f, "{e}"),
            Problem::LogLevel(s) => {
                write!(f, "Invalid log level: {s}. Valid log levels are: [TRACE DEBUG INFO WARN ERR]")
            }
            Problem::Facility(e) => write!(f, "{e}"),
            Problem::EventScript(e) => write!(f, "{e}"),
            Problem::MdnsWithoutDiscover => {
                write!(f, "mDNS interface specified without enabling mDNS discovery")
            }
            Problem::MdnsWithoutProtocol => {
                write!(f, "Invalid mDNS configuration: both IPv4 and IPv6 are disabled")
            }
            Problem::Value { key, value, expected } => {
                write!(f, "Invalid {key}: {value} (expected {expected})")
            }
            Problem::Protocol { number, least, most } => write!(
                f,
                "Protocol version '{number}' too {}. Must be in range: [{least}, {most}]",
                if number < least { "low" } else { "high" },
            ),
        }
    }
}

impl std::error::Error for ConfigError {}
impl std::error::Error for FileError {}
