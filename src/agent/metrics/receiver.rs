//! Where the receivers of reports are.

use crate::model::{HostPort, canonical_ip};
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};

/// The port of both receivers if none is given. (Serf sends nothing then, and does not say so.)
const DEFAULT_PORT: u16 = 8125;

/// Looks a receiver up. May wait for the system's resolver.
pub(super) fn resolve(receiver: &str) -> io::Result<SocketAddr> {
    let host = HostPort::of_receiver(receiver, DEFAULT_PORT).map_err(io::Error::other)?;
    if let Some(addr) = host.literal() {
        return Ok(addr);
    }
    let mut found = (host.host.as_str(), host.port).to_socket_addrs()?;
    let addr = found.next().ok_or_else(|| io::Error::other(format!("'{receiver}' has no address")))?;
    Ok(SocketAddr::new(canonical_ip(addr.ip()), addr.port()))
}
