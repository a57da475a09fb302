//! The control protocol: records, a connection as a state machine, a blocking client.

mod command;
pub mod frame;
pub mod record;

pub use command::Command;
