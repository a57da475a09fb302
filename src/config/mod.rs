//! Flags and files, and the validated configuration they become.
//!
//! | file | what it holds |
//! | --- | --- |
//! | `options` | the one table of commands, their options and an agent's settings; how to add a setting |
//! | `value` | a value as it was written, and where |
//! | `flags`, `usage`, `completion` | arguments read by the table; `-h` and what shells complete, written by it |
//! | `files`, `json`, `nearest` | configuration files found, and read by the table |
//! | `raw` | everything that was written, by key |
//! | `reading` | from what was written to typed values, by the rows of the table |
//! | `relations`, `addresses`, `encryption`, `handlers` | what no row can hold: rules between settings, and types of their own |
//! | `agent` | the immutable [`AgentConfig`]: a line for each setting |
//! | `reload` | what changes when the configuration is read again |
//! | `reference` | the table of settings for the manual |
//! | `error` | why a configuration was refused |
//!
//! Nothing here prints, opens a socket or ends the process; `cli/` does.

mod addresses;
mod agent;
pub(crate) mod completion;
mod encryption;
mod error;
mod files;
pub(crate) mod flags;
mod handlers;
pub mod json;
pub(crate) mod nearest;
pub mod options;
pub mod raw;
mod reading;
pub mod reference;
mod relations;
mod reload;
pub(crate) mod usage;
mod value;

pub use addresses::RpcAddress;
pub use agent::AgentConfig;
pub use encryption::KeySource;
pub use flags::Flags;
pub(crate) use flags::{Parsed, parse};
pub use handlers::EventScript;
pub use relations::MdnsConfig;
