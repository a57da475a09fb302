//! Why the agent did not start.

use super::keys::KeysError;
use super::tags::TagsChangeError;
use crate::agent::net::bind::BindError;
use crate::agent::net::mdns::MdnsError;
use crate::agent::net::sockets::SocketError;
use crate::agent::rpc::RpcError;
use crate::agent::snapshot::SnapshotError;
use crate::model::TagsError;
use std::fmt;
use std::io;

/// Why the agent did not start. Nothing keeps running.
#[derive(Debug)]
pub(crate) enum StartError {
    /// The tags file cannot be used.
    OwnTags(TagsChangeError),
    /// No address to bind or advertise was found.
    Bind(BindError),
    /// A gossip socket cannot be bound.
    Socket(SocketError),
    /// The snapshot cannot be used.
    Snapshot(SnapshotError),
    /// The RPC listener cannot be started.
    Rpc(RpcError),
    /// Metrics cannot be served.
    Metrics(io::Error),
    /// The tags do not fit.
    Tags(TagsError),
    /// The keyring cannot be loaded.
    Keys(KeysError),
    /// Discovery cannot be started.
    Mdns(MdnsError),
    /// The system refuses something every process needs.
    System(&'static str, io::Error),
}

impl StartError {
    /// The system refuses to do this.
    pub(crate) fn system(what: &'static str) -> impl Fn(io::Error) -> StartError {
        move |why| StartError::System(what, why)
    }
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StartError::OwnTags(e) => write!(f, "{e}"),
            StartError::Bind(e) => write!(f, "{e}"),
            StartError::Socket(e) => write!(f, "{e}"),
            StartError::Snapshot(e) => write!(f, "{e}"),
            StartError::Rpc(e) => write!(f, "Error starting RPC listener: {e}"),
            StartError::Metrics(e) => write!(f, "Failed to start the metrics: {e}"),
            StartError::Tags(e) => write!(f, "{e}"),
            StartError::Keys(e) => write!(f, "{e}"),
            StartError::Mdns(e) => write!(f, "{e}"),
            StartError::System(what, why) => write!(f, "Failed to {what}: {why}"),
        }
    }
}

impl std::error::Error for StartError {}
