//! The `serf-rpc` thread: sockets and deadlines of the control protocol.
//!
//! It waits on mio, serves every client from one loop and never blocks on one. What the bytes mean
//! is `rpc/connection.rs`; what requests do is behind [`Control`]. A client that does not read
//! loses its streams, never the time of others.
//!
//! Architecture invariant: the thread holds no lock across a socket call and waits for nothing but
//! its poll.

mod actor;
mod client;
mod control;
mod lanes;
mod socket;

pub use crate::config::RpcAddress;
pub use control::{Control, RecentLog, RpcMessage};
pub use lanes::RpcSender;

use super::clock::Clock;
use super::thread::Thread;
use actor::RpcActor;
use lanes::RpcReceiver;
use mio::{Poll, Waker};
use socket::Listener;
use std::sync::Arc;
use std::time::Duration;
use std::{fmt, io};

/// Clients that are served at a time.
pub const MAX_CLIENTS: usize = 128;
/// Clients beyond [`MAX_CLIENTS`] that are being told so; further ones are dropped silently.
pub const MAX_REFUSED_CLIENTS: usize = 16;
/// For the last replies to be written when the thread is told to stop.
pub const STOP_TIMEOUT: Duration = Duration::from_secs(1);
const LISTENER: mio::Token = mio::Token(0);
const WAKER: mio::Token = mio::Token(1);

/// Where to listen and whom to serve.
#[derive(Clone, Debug)]
pub struct RpcSettings {
    /// The port or the Unix socket.
    pub listen: RpcAddress,
    /// `rpc_auth`; empty when clients need no key.
    pub auth_key: String,
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

/// A bound listener whose thread has not started: its sender can be given to whatever will
/// answer requests.
#[derive(Debug)]
pub struct RpcServer {
    poll: Poll,
    listener: Listener,
    addr: RpcAddress,
    auth_key: String,
    sender: RpcSender,
    receiver: RpcReceiver,
}

impl RpcServer {
    /// Listens. Clients queue in the kernel until [`RpcServer::spawn`].
    pub fn bind(settings: RpcSettings) -> Result<RpcServer, RpcError> {
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
                "RPC listens on {addr}, beyond loopback, without rpc_auth: whoever reaches it controls this agent"
            );
        }
        Ok(RpcServer { poll, listener, addr, auth_key: settings.auth_key, sender, receiver })
    }

    /// Where clients can connect.
    pub fn local_addr(&self) -> &RpcAddress {
        &self.addr
    }

    /// For answers, events and log lines.
    pub fn sender(&self) -> RpcSender {
        self.sender.clone()
    }

    /// Starts the thread. `clock` is the one by which deadlines of queries are told.
    pub fn spawn(self, control: Box<dyn Control>, clock: Clock) -> Result<RpcHandle, RpcError> {
        let (addr, sender) = (self.addr.clone(), self.sender.clone());
        let (actor, waker) = (RpcActor::new(self, control, clock), sender.clone());
        let thread = Thread::spawn(move || actor, move || waker.wake()).map_err(RpcError::Start)?;
        Ok(RpcHandle { addr, sender, thread })
    }
}

/// The running thread, seen from outside.
#[derive(Debug)]
pub struct RpcHandle {
    addr: RpcAddress,
    sender: RpcSender,
    thread: Thread,
}

impl RpcHandle {
    /// Where clients can connect.
    pub fn local_addr(&self) -> &RpcAddress {
        &self.addr
    }

    /// For answers, events and log lines.
    pub fn sender(&self) -> RpcSender {
        self.sender.clone()
    }

    /// Delivers what was answered, closes everything and waits for the thread's end.
    pub fn stop(self) {
        self.thread.stop();
    }
}

#[cfg(test)]
mod tests;
