//! The main thread, and how the agent starts and stops.
//!
//! | file | what |
//! | --- | --- |
//! | `main_loop` | the loop, and the phases: joining, serving, leaving |
//! | `inbox`, `signals` | what wakes it |
//! | `start`, `start_error`, `parts` | the start, step by step, and what the threads are made of |
//! | `running` | what runs, and in which order it ends |
//! | `limits` | limits of the host that may stop it |
//! | `joins` | the joins of the command line, in the background, and by the snapshot |
//! | `changes`, `tags`, `keys` | this member's tags, and the keyring |
//! | `reload` | the configuration, read again |
//! | `dump`, `notify`, `terminal` | metrics on standard error, the service manager, what people see |

pub(crate) mod changes;
pub(crate) mod dump;
pub(crate) mod inbox;
pub(crate) mod joins;
pub mod keys;
pub(crate) mod limits;
pub(crate) mod main_loop;
pub(crate) mod notify;
pub(crate) mod parts;
pub(crate) mod reload;
pub(crate) mod running;
pub(crate) mod signals;
pub(crate) mod start;
pub(crate) mod start_error;
pub(crate) mod tags;
pub(crate) mod terminal;

pub use main_loop::run;
