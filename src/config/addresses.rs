//! Addresses in settings: reading them, and looking up names where an address is needed at once.

use super::agent::{DEFAULT_RPC_PORT, RpcAddress};
use super::error::Problem;
use crate::model::{AddressError, HostPort, canonical_ip};
use std::net::{SocketAddr, ToSocketAddrs};

/// An address to listen at. `:port` means every address, as it does in Go.
pub(super) fn listen_address(
    option: &'static str,
    text: &str,
    default_port: u16,
) -> Result<SocketAddr, Problem> {
    if text.starts_with(':') && !text.starts_with("::") {
        return address(option, &format!("0.0.0.0{text}"), default_port);
    }
    address(option, text, default_port)
}

/// Where the control protocol listens: an address, or `unix:` and a path.
pub(super) fn rpc_address(text: &str, mode: u32) -> Result<RpcAddress, Problem> {
    match text.strip_prefix("unix:") {
        Some("") => Err(Problem::Address { option: "rpc-addr", error: AddressError::Empty }),
        Some(path) => Ok(RpcAddress::Unix { path: path.into(), mode }),
        None => listen_address("rpc-addr", text, DEFAULT_RPC_PORT).map(RpcAddress::Tcp),
    }
}

/// The address that the others are told.
pub(super) fn advertise_address(text: &str, default_port: u16) -> Result<SocketAddr, Problem> {
    let addr = address("advertise", text, default_port)?;
    if addr.ip().is_unspecified() { Err(Problem::AdvertiseUnspecified(addr)) } else { Ok(addr) }
}

/// An address whose port has no default.
pub(super) fn with_port(option: &'static str, text: &str) -> Result<HostPort, Problem> {
    let parsed = |port| HostPort::parse(text, port).map_err(|error| Problem::Address { option, error });
    let address = parsed(0)?;
    if address == parsed(1)? { Ok(address) } else { Err(Problem::NoPort { option, text: text.to_string() }) }
}

/// Where metrics can be fetched.
pub(super) fn metrics_address(text: &str) -> Result<SocketAddr, Problem> {
    let option = "metrics_addr";
    if !text.starts_with(':') || text.starts_with("::") {
        with_port(option, text)?;
    }
    listen_address(option, text, 0)
}

/// A member to join, which is looked up when it is joined. Serf also accepts `name/address`.
pub(super) fn member_address(option: &'static str, text: &str) -> Result<String, Problem> {
    let address = text.rsplit_once('/').map_or(text, |(_, address)| address);
    match HostPort::parse(address, 0) {
        Ok(_) => Ok(text.to_string()),
        Err(error) => Err(Problem::Address { option, error }),
    }
}

/// Reads an address; a host name is resolved, IPv4 first as Go does.
fn address(option: &'static str, text: &str, default_port: u16) -> Result<SocketAddr, Problem> {
    let host_port =
        HostPort::parse(text, default_port).map_err(|error| Problem::Address { option, error })?;
    if let Some(addr) = host_port.literal() {
        return Ok(addr);
    }
    let unresolved = |reason: String| Problem::Unresolved { option, host: host_port.host.clone(), reason };
    // A mistyped address must not become a question to the name server. A `%` is the zone of a
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
