//! What can go wrong between a command and its agent.

use crate::rpc::codec::RecordError;
use crate::rpc::commands::RpcCommand;
use crate::rpc::frame::FrameError;
use std::time::Duration;
use std::{fmt, io};

/// Why a call failed.
#[derive(Debug)]
pub enum ClientError {
    /// The address names no host that can be found.
    Resolve {
        /// As given.
        addr: String,
        /// The system's reason.
        error: io::Error,
    },
    /// No agent could be reached at the address.
    Connect {
        /// As given.
        addr: String,
        /// The system's reason for the last address that was tried.
        error: io::Error,
    },
    /// The agent refused; its own words.
    Server(String),
    /// The agent closed the connection before it replied.
    Closed,
    /// The agent did not reply in time.
    TimedOut(Duration),
    /// The connection broke.
    Io(io::Error),
    /// The agent sent something that is not the protocol.
    Frame(FrameError),
    /// The agent sent something else where a reply or record begins.
    Header(RecordError),
    /// The agent's reply to this command is not what belongs there.
    Reply {
        /// What was asked.
        command: RpcCommand,
        /// What is wrong.
        error: RecordError,
    },
    /// The agent ended a stream or monitor; its own words.
    StreamEnded(String),
}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ClientError::Resolve { addr, error } => write!(f, "cannot resolve {addr}: {error}"),
            ClientError::Connect { addr, error } => write!(f, "cannot connect to {addr}: {error}"),
            ClientError::Server(text) | ClientError::StreamEnded(text) => f.write_str(text),
            ClientError::Closed => write!(f, "the agent closed the connection before it replied"),
            ClientError::TimedOut(after) => {
                write!(f, "the agent did not reply within {} seconds", after.as_secs_f64())
            }
            ClientError::Io(error) => write!(f, "connection to the agent broke: {error}"),
            ClientError::Frame(error) => write!(f, "the agent sent an unreadable message: {error}"),
            ClientError::Header(error) => write!(f, "the agent sent an unexpected message: {error}"),
            ClientError::Reply { command, error } => {
                write!(f, "the agent sent an unexpected reply to {}: {error}", command.word())
            }
        }
    }
}

impl std::error::Error for ClientError {}
