//! Addresses in settings: reading them, and looking up names where an address is needed at once.

use super::error::Problem;
use crate::model::{AddressError, HostPort, canonical_ip};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::path::PathBuf;

/// Where the control protocol listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RpcAddress {
    /// Address and port; port 0 lets the system choose.
    Tcp(SocketAddr),
    /// A socket in the file system.
    Unix {
        /// Its path, at most about 80 bytes.
        path: PathBuf,
        /// Its permissions (`rpc_socket_mode`, by default 0600). A process that may write to it
        /// controls the agent.
        mode: u32,
    },
}

impl fmt::Display for RpcAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RpcAddress::Tcp(addr) => addr.fmt(f),
            RpcAddress::Unix { path, .. } => write!(f, "unix:{}", path.display()),
        }
    }
}

/// Permissions of a control socket until those that are configured are known: none.
const NO_PERMISSIONS: u32 = 0;

/// An address to listen at. `:port` means every address, as it does in Go. Without a port of its own
/// the address has `default_port`, and must name one if there is no such port.
pub(super) fn listen_address(
    option: &'static str,
    text: &str,
    default_port: Option<u16>,
) -> Result<SocketAddr, Problem> {
    let port_alone = text.starts_with(':') && !text.starts_with("::");
    if default_port.is_none() && !port_alone {
        with_port(option, text)?;
    }
    let port = default_port.unwrap_or_default();
    if port_alone {
        return address(option, &format!("0.0.0.0{text}"), port);
    }
    address(option, text, port)
}

/// Where the control protocol listens: an address, or `unix:` and a path, whose permissions are set
/// later.
pub(super) fn rpc_address(text: &str, default_port: Option<u16>) -> Result<RpcAddress, Problem> {
    // Refusals name the flag, as Serf's do.
    let option = "rpc-addr";
    if let Some(path) = text.strip_prefix("unix:") {
        let empty = Err(Problem::Address { option, error: AddressError::Empty });
        return if path.is_empty() {
            empty
        } else {
            Ok(RpcAddress::Unix { path: path.into(), mode: NO_PERMISSIONS })
        };
    }
    let mut addr = listen_address(option, text, default_port)?;
    if text.starts_with(':') && addr.ip() == IpAddr::V4(Ipv4Addr::UNSPECIFIED) {
        // As in Go: the addresses of both families.
        addr.set_ip(IpAddr::V6(Ipv6Addr::UNSPECIFIED));
    }
    Ok(RpcAddress::Tcp(addr))
}

/// The address that others are to use.
pub(super) fn advertise_address(text: &str, default_port: u16) -> Result<SocketAddr, Problem> {
    let addr = address("advertise", text, default_port)?;
    if addr.ip().is_unspecified() { Err(Problem::AdvertiseUnspecified(addr)) } else { Ok(addr) }
}

/// Checks an address whose port has no default.
fn with_port(option: &'static str, text: &str) -> Result<(), Problem> {
    let parsed = |port| HostPort::parse(text, port).map_err(|error| Problem::Address { option, error });
    if parsed(0)? == parsed(1)? { Ok(()) } else { Err(Problem::NoPort { option, text: text.to_string() }) }
}

/// Reads an address; a host name is resolved, IPv4 first as Go does.
fn address(option: &'static str, text: &str, default_port: u16) -> Result<SocketAddr, Problem> {
    let host_port =
        HostPort::parse(text, default_port).map_err(|error| Problem::Address { option, error })?;
    if let Some(addr) = host_port.literal() {
        return Ok(addr);
    }
    let unresolved = |reason: String| Problem::Unresolved { option, host: host_port.host.clone(), reason };
    // A mistyped address must not become a query to the name server. A `%` is the zone of a
    // link-local IPv6 address, which the resolver understands.
    let host = &host_port.host;
    if !host.contains('%') && !host.chars().all(|c| c.is_alphanumeric() || "-._".contains(c)) {
        return Err(unresolved("it is neither an address nor a host name".to_string()));
    }
    let found: Vec<SocketAddr> = (host_port.host.as_str(), host_port.port)
        .to_socket_addrs()
        .map_err(|e| unresolved(e.to_string()))?
        .map(|a| SocketAddr::new(canonical_ip(a.ip()), a.port()))
        .collect();
    found
        .iter()
        .find(|a| a.is_ipv4())
        .or(found.first())
        .copied()
        .ok_or_else(|| unresolved("it has no address".to_string()))
}
