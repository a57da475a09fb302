//! The client's end of the connection: TCP or a Unix socket, with timeouts.

use super::error::ClientError;
use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// Either kind of connection.
#[derive(Debug)]
pub(super) enum ClientSocket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl ClientSocket {
    pub(super) fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        match self {
            ClientSocket::Tcp(socket) => socket.set_read_timeout(timeout),
            ClientSocket::Unix(socket) => socket.set_read_timeout(timeout),
        }
    }

    pub(super) fn set_write_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        match self {
            ClientSocket::Tcp(socket) => socket.set_write_timeout(timeout),
            ClientSocket::Unix(socket) => socket.set_write_timeout(timeout),
        }
    }

    pub(super) fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            ClientSocket::Tcp(socket) => socket.read(buffer),
            ClientSocket::Unix(socket) => socket.read(buffer),
        }
    }

    pub(super) fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            ClientSocket::Tcp(socket) => socket.write_all(bytes),
            ClientSocket::Unix(socket) => socket.write_all(bytes),
        }
    }
}

pub(super) fn dial(addr: &str, timeout: Duration) -> Result<ClientSocket, ClientError> {
    let connect = |error| ClientError::Connect { addr: addr.to_string(), error };
    if let Some(path) = addr.strip_prefix("unix:") {
        return UnixStream::connect(path).map(ClientSocket::Unix).map_err(connect);
    }
    let resolve = |error| ClientError::Resolve { addr: addr.to_string(), error };
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for candidate in addr.to_socket_addrs().map_err(resolve)? {
        match TcpStream::connect_timeout(&candidate, timeout) {
            Ok(socket) => {
                // Requests are small and waited for; a failure costs latency alone.
                let _ = socket.set_nodelay(true);
                return Ok(ClientSocket::Tcp(socket));
            }
            Err(e) => last = e,
        }
    }
    Err(connect(last))
}

pub(super) fn is_timeout(e: &io::Error) -> bool {
    matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}
