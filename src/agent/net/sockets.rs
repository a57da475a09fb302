//! The gossip sockets, UDP and TCP on one port.

use super::bind::Endpoints;
use mio::net::{TcpListener, UdpSocket};
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;

/// A gossip socket cannot be bound.
#[derive(Debug)]
pub(crate) struct SocketError {
    /// UDP or TCP.
    what: &'static str,
    /// The address that was tried.
    addr: SocketAddr,
    /// What the kernel says.
    why: io::Error,
}

impl fmt::Display for SocketError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Failed to start {} listener on {}: ", self.what, self.addr)?;
        // The two that people run into, in words.
        match self.why.kind() {
            io::ErrorKind::AddrInUse => {
                f.write_str("the address is in use already (is another agent running?)")
            }
            io::ErrorKind::AddrNotAvailable => f.write_str("this host has no such address"),
            _ => write!(f, "{}", self.why),
        }
    }
}

impl std::error::Error for SocketError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.why)
    }
}

/// Opens both gossip sockets on one port. With port 0 the kernel chooses for TCP, and UDP follows.
pub(crate) fn open(endpoints: &mut Endpoints) -> Result<(TcpListener, UdpSocket), SocketError> {
    let addr = endpoints.bind;
    let tcp = TcpListener::bind(addr).map_err(|why| SocketError { what: "TCP", addr, why })?;
    widen_backlog(&tcp);
    let addr = tcp.local_addr().unwrap_or(addr);
    endpoints.bind = addr;
    if endpoints.advertise.port() == 0 {
        endpoints.advertise.set_port(addr.port());
    }
    let udp = UdpSocket::bind(addr).map_err(|why| SocketError { what: "UDP", addr, why })?;
    widen_buffer(&udp);
    Ok((tcp, udp))
}

/// How many bytes of datagrams the kernel may hold until they are read, as in memberlist; it takes its own
/// limit (`net.core.rmem_max`) if that is lower.
const RECEIVE_BUFFER: usize = 2 << 20;

/// Asks for more room for datagrams than there is by default (about a hundred), so that a burst is not dropped
/// while this process is not run. It takes memory only while it holds something.
fn widen_buffer(socket: &impl AsFd) {
    if let Err(e) = rustix::net::sockopt::set_socket_recv_buffer_size(socket, RECEIVE_BUFFER) {
        log::debug!(target: "agent", "keeping the small buffer for datagrams: {e}");
    }
}

/// Connections that the kernel may hold until they are accepted; it takes its own limit
/// (`net.core.somaxconn`) if that is lower.
const BACKLOG: i32 = 4096;

/// Asks for a longer queue of connections than the standard library does. When it is full the
/// kernel drops connection requests, and each costs the other side a second.
pub(crate) fn widen_backlog(listener: &impl AsFd) {
    if let Err(e) = rustix::net::listen(listener, BACKLOG) {
        log::debug!(target: "agent", "keeping the short queue of connections: {e}");
    }
}
