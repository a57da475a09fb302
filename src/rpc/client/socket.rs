//! The client's end of the connection: TCP or a Unix socket, with timeouts.

use super::error::ClientError;
use crate::config::options::RPC_PORT;
use crate::model::HostPort;
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, ToSocketAddrs};
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
    for candidate in addresses(addr).map_err(resolve)? {
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

/// The addresses behind a text, which is read as the agent reads where it is to listen: without a port
/// it means that of Serf, and without a host this one.
fn addresses(text: &str) -> io::Result<Vec<SocketAddr>> {
    let invalid = |e| io::Error::new(io::ErrorKind::InvalidInput, e);
    let HostPort { host, port } = HostPort::of_receiver(text, RPC_PORT).map_err(invalid)?;
    if text.trim().strip_prefix(':').is_some_and(|port| !port.contains(':')) {
        let here: [IpAddr; 2] = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
        return Ok(here.map(|ip| SocketAddr::new(ip, port)).to_vec());
    }
    Ok((host.as_str(), port).to_socket_addrs()?.collect())
}

pub(super) fn is_timeout(e: &io::Error) -> bool {
    matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_the_agent_reads_them() {
        for (text, expected) in [
            ("127.0.0.1", &["127.0.0.1:7373"][..]),
            ("127.0.0.1:1", &["127.0.0.1:1"]),
            ("::1", &["[::1]:7373"]),
            ("[::1]:2", &["[::1]:2"]),
            (":3", &["127.0.0.1:3", "[::1]:3"]),
        ] {
            let expected: Vec<SocketAddr> = expected.iter().map(|addr| addr.parse().unwrap()).collect();
            assert_eq!(addresses(text).unwrap(), expected, "{text}");
        }
        for text in ["", ":", "127.0.0.1:", "127.0.0.1:x", "127.0.0.1:99999", "[::1"] {
            assert!(addresses(text).is_err(), "{text}");
        }
    }
}
