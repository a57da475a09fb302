//! One client of the control protocol, as the server sees it: a state machine without sockets or
//! clocks. Bytes go in and typed requests come out; replies and records go in and bytes come out.
//!
//! Requests of one client are answered one after the other, as in Serf; the next is not looked at
//! before the last was answered. Every limit is a constant in `limits`. When one is reached the client gets
//! an error, what was queued for it is delivered, and the connection is closed: after an error whose end
//! in the input is unknown nothing more can be read.
//!
//! The bytes are carried by `agent/rpc/session.rs`; what requests do is behind its `Control`.
//!
//! | file | what it holds |
//! | --- | --- |
//! | `state` | the state, and what all others use: replies, refusals, closing |
//! | `requests` | from bytes to requests, and those that the connection answers itself |
//! | `streams` | what is sent without being asked again: events, answers to queries, log lines |
//! | `deadlines` | what a client has to do in time |
//! | `query` | which queries are asked at all |
//! | `pending` | queries that the client may answer |
//! | `own_queries` | queries that the client asked |
//! | `limits` | every limit |

mod deadlines;
pub(crate) mod limits;
mod own_queries;
mod pending;
mod query;
mod requests;
mod state;
mod streams;

pub use state::Connection;
pub(crate) use state::Phase;
pub(crate) use streams::StreamedEvent;

#[cfg(test)]
mod tests;
