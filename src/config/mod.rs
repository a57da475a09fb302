//! Flags and files, and the validated configuration they become.
//!
//! Two steps, never mixed: `flags` turns arguments into raw values by the table in `options`,
//! and `agent` turns raw values into one immutable [`AgentConfig`]. Nothing here prints,
//! opens a socket or ends the process; `cli/` does.

pub mod agent;
pub mod flags;
pub mod handlers;
pub mod options;
pub mod usage;

pub use agent::{AgentConfig, ConfigError, DEFAULT_BIND_PORT, DEFAULT_RPC_PORT, MdnsConfig, RpcAddress};
pub use flags::{FlagError, Flags, Parsed, Value, parse};
pub use handlers::{EventScript, EventScriptError};
pub use options::{Availability, CommandSpec, Kind, OptionSpec};
