//! Flags and files, and the validated configuration they become.
//!
//! Two steps, never mixed. First what was written is collected in `raw`, each value with its source:
//! `flags` reads arguments by the table in `options`, `files` finds configuration files and `json`
//! reads them by the same table. Then `validate` turns all of it into one immutable [`AgentConfig`].
//! Nothing here prints, opens a socket or ends the process; `cli/` does.

mod addresses;
pub mod agent;
pub mod encryption;
mod error;
pub mod files;
pub mod flags;
pub mod handlers;
pub mod json;
pub(crate) mod nearest;
pub mod options;
pub mod raw;
pub mod reference;
pub mod reload;
pub mod usage;
mod validate;

pub use agent::{AgentConfig, DEFAULT_BIND_PORT, DEFAULT_RPC_PORT, MdnsConfig, RpcAddress};
pub use encryption::KeySource;
pub use error::{ConfigError, FileError, FileProblem, Problem};
pub use flags::{FlagError, Flags, Parsed, Value, parse};
pub use handlers::{EventScript, EventScriptError};
pub use options::{CommandSpec, Kind, OptionSpec};
