//! The control protocol: records, a connection as a state machine, a blocking client.
//!
//! | file | what it knows |
//! | --- | --- |
//! | `command` | the names of the commands and what follows them |
//! | `record` | every request, reply and streamed record, and their bytes |
//! | `frame` | where a value ends |
//! | `filter` | which members a client picks |
//! | `connection` | the server's side of one client: order, limits, errors |
//! | `client` | the other side, for commands and tests |
//!
//! Architecture invariant: nothing but `client` touches a socket, and nothing reads a clock. The
//! thread that serves connections is `agent/rpc.rs`.

pub mod client;
mod command;
pub mod connection;
pub mod filter;
pub mod frame;
mod output;
pub mod record;

pub use crate::model::Token;
pub use client::{Answer, Answers, Client, ClientConfig, ClientError, Record};
pub use command::Command;
pub use connection::{Connection, Phase, Request};
