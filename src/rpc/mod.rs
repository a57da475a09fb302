//! The control protocol: a table of commands, a connection as a state machine, a blocking client.
//!
//! | file | what it knows |
//! | --- | --- |
//! | `commands` | every command, a row for each, and how to add one; `table` is its macro |
//! | `record` | every call, response and streamed record; `codec` their bytes |
//! | `reply` | what the agent replies |
//! | `frame` | where a value ends |
//! | `filter` | which members a client picks |
//! | `connection` | the server's side of one client: order, limits, errors; `output` its bytes |
//! | `client` | the other side, for control commands and tests |
//!
//! A client writes a *call*, which a connection turns into a *request* to the agent unless it
//! answers by itself; the agent's *reply* holds the *response* or an error.
//!
//! Architecture invariant: nothing but `client` touches a socket, and nothing reads a clock. The
//! thread that serves connections is `agent/rpc.rs`.

mod client;
pub(crate) mod codec;
mod commands;
pub(crate) mod connection;
pub(crate) mod filter;
pub mod frame;
pub(crate) mod member_list;
mod output;
pub mod record;
mod reply;
mod table;

pub use crate::model::Token;
pub use client::{Answers, Client, ClientConfig, ClientError, QueryAnswer, Record};
#[cfg(test)]
pub(crate) use commands::Call;
pub(crate) use commands::{KeyedAnswer, LaterRequest, NowRequest};
pub use commands::{Request, RpcCommand, reference};
pub use connection::Connection;
pub(crate) use connection::{Phase, StreamedEvent};
pub(crate) use member_list::{ListBudget, MemberList};
pub(crate) use reply::RpcReply;
