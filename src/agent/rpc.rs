//! The `serf-rpc` thread: sockets and deadlines of the control protocol.
//!
//! It waits on mio, serves every client from one loop and never blocks on one. What the bytes mean
//! is `rpc/connection.rs`; what requests do is behind `Control`. A client that does not read
//! loses its streams, never the time of others.
//!
//! Architecture invariant: the thread holds no lock across a socket call and waits for nothing but
//! its poll.

pub(super) mod actor;
mod control;
mod dispatch;
pub(super) mod lanes;
mod session;
mod socket;

pub(crate) use control::{Busy, Control, RecentLog, RpcMessage};
pub(crate) use lanes::RpcSender;

use super::clock::Clock;
use super::thread::Thread;
use crate::config::RpcAddress;
use actor::{LISTENER, RpcActor, RpcParts, WAKER};
use lanes::RpcReceiver;
use mio::{Poll, Waker};
use socket::Listener;
use std::sync::Arc;
use std::{fmt, io};

/// Where to listen, and what clients must show.
#[derive(Clone, Debug)]
pub(crate) struct RpcSettings {
    /// The port or the Unix socket.
    pub(crate) listen: RpcAddress,
    /// `rpc_auth`; empty when clients need no key.
    pub(crate) auth_key: String,
}

/// Why the thread did not start.
#[derive(Debug)]
pub enum RpcError {
    /// The address cannot be listened on.
    Listen {
        /// The address.
        addr: RpcAddress,
        /// The system's reason.
        error: io::Error,
    },
    /// The system gave no poll, waker or thread.
    Start(io::Error),
}

impl fmt::Display for RpcError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RpcError::Listen { addr, error } => write!(f, "cannot listen for RPC on {addr}: {error}"),
            RpcError::Start(error) => write!(f, "cannot start the RPC thread: {error}"),
        }
    }
}

impl std::error::Error for RpcError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            RpcError::Listen { error, .. } | RpcError::Start(error) => Some(error),
        }
    }
}

/// A bound listener whose thread has not started: its sender can be given to what will answer
/// requests.
#[derive(Debug)]
pub(crate) struct RpcServer {
    poll: Poll,
    listener: Listener,
    auth_key: String,
    sender: RpcSender,
    receiver: RpcReceiver,
}

impl RpcServer {
    /// Listens. Clients queue in the kernel until [`RpcServer::spawn`].
    pub(crate) fn bind(settings: RpcSettings) -> Result<RpcServer, RpcError> {
        let listen = |error| RpcError::Listen { addr: settings.listen.clone(), error };
        let mut listener = Listener::bind(&settings.listen).map_err(listen)?;
        let addr = listener.address(&settings.listen).map_err(listen)?;
        let poll = Poll::new().map_err(RpcError::Start)?;
        listener.register(poll.registry(), LISTENER).map_err(RpcError::Start)?;
        let waker = Waker::new(poll.registry(), WAKER).map_err(RpcError::Start)?;
        let (sender, receiver) = lanes::channel(Arc::new(waker));
        if let RpcAddress::Tcp(ip) = &addr
            && settings.auth_key.is_empty()
            && !ip.ip().to_canonical().is_loopback()
        {
            log::warn!(
                target: "agent.ipc",
                "RPC listens on {addr}, beyond loopback, without rpc_auth: anyone who reaches it controls this agent"
            );
        }
        Ok(RpcServer { poll, listener, auth_key: settings.auth_key, sender, receiver })
    }

    /// For answers, events and log lines.
    pub(crate) fn sender(&self) -> RpcSender {
        self.sender.clone()
    }

    /// Starts the thread. `clock` is the one by which deadlines of queries are given.
    pub(crate) fn spawn(self, control: Box<dyn Control>, clock: Clock) -> Result<RpcHandle, RpcError> {
        let RpcServer { poll, listener, auth_key, sender, receiver } = self;
        let parts = RpcParts { poll, listener, sender: sender.clone(), receiver, auth_key, control, clock };
        let (actor, waker) = (RpcActor::new(parts), sender.clone());
        let thread = Thread::spawn(move || actor, move || waker.wake()).map_err(RpcError::Start)?;
        Ok(RpcHandle { sender, thread })
    }
}

/// The running thread, seen from outside.
#[derive(Debug)]
pub(crate) struct RpcHandle {
    sender: RpcSender,
    thread: Thread,
}

impl RpcHandle {
    /// For answers, events and log lines.
    pub(crate) fn sender(&self) -> RpcSender {
        self.sender.clone()
    }

    /// Delivers what was answered, closes everything and waits for the thread's end.
    pub(crate) fn stop(self) {
        self.thread.stop();
    }
}

#[cfg(test)]
mod tests;
