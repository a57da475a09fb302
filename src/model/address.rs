//! Addresses as people write them: `host`, `host:port`, `[v6]:port`.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

/// A host and port as written on a command line, before names are resolved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostPort {
    /// An IP address or a host name; without brackets.
    pub host: String,
    /// The port, 0 to 65535.
    pub port: u16,
}

/// Why a text is no address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AddressError {
    /// Nothing was given.
    Empty,
    /// The part after the last `:` is no port number.
    BadPort(String),
    /// `[` without `]`, or text between `]` and `:`.
    BadBrackets(String),
    /// The host part is empty where a host is needed.
    NoHost(String),
}

impl fmt::Display for AddressError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AddressError::Empty => write!(f, "address is empty"),
            AddressError::BadPort(s) => write!(f, "'{s}' has no valid port (expected 0 to 65535)"),
            AddressError::BadBrackets(s) => write!(f, "'{s}' has unbalanced brackets (expected [v6]:port)"),
            AddressError::NoHost(s) => write!(f, "'{s}' has no host"),
        }
    }
}

impl std::error::Error for AddressError {}

impl HostPort {
    /// Reads `host`, `host:port`, `v6`, `[v6]` or `[v6]:port`.
    pub fn parse(text: &str, default_port: u16) -> Result<HostPort, AddressError> {
        let text = text.trim();
        if text.is_empty() {
            return Err(AddressError::Empty);
        }
        let (host, port) = if let Some(rest) = text.strip_prefix('[') {
            let (host, after) =
                rest.split_once(']').ok_or_else(|| AddressError::BadBrackets(text.to_string()))?;
            match after.strip_prefix(':') {
                Some(port) => (host, Some(port)),
                None if after.is_empty() => (host, None),
                None => return Err(AddressError::BadBrackets(text.to_string())),
            }
        } else if text.matches(':').count() > 1 {
            // An IPv6 address outside brackets has no port.
            (text, None)
        } else {
            match text.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (text, None),
            }
        };
        let port = match port {
            Some(p) => p.parse().map_err(|_| AddressError::BadPort(text.to_string()))?,
            None => default_port,
        };
        if host.is_empty() {
            return Err(AddressError::NoHost(text.to_string()));
        }
        Ok(HostPort { host: host.to_string(), port })
    }

    /// Reads the address of a member to join, which may have its name in front: `name/host:port`.
    pub fn of_member(text: &str, default_port: u16) -> Result<HostPort, AddressError> {
        HostPort::parse(text.rsplit_once('/').map_or(text, |(_, address)| address), default_port)
    }

    /// Reads where to send to: as in Go, this host if none is named.
    pub fn of_receiver(text: &str, default_port: u16) -> Result<HostPort, AddressError> {
        match text.trim().strip_prefix(':') {
            Some(port) if !port.contains(':') => HostPort::parse(&format!("127.0.0.1:{port}"), default_port),
            _ => HostPort::parse(text, default_port),
        }
    }

    /// The address, if the host part is an IP address.
    pub fn literal(&self) -> Option<SocketAddr> {
        self.host.parse::<IpAddr>().ok().map(|ip| SocketAddr::new(canonical_ip(ip), self.port))
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// The one form of an address that is compared: an IPv4 address mapped into IPv6
/// (`::ffff:a.b.c.d`) is the IPv4 address. Otherwise one host would conflict with itself.
pub fn canonical_ip(ip: IpAddr) -> IpAddr {
    ip.to_canonical()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hp(host: &str, port: u16) -> HostPort {
        HostPort { host: host.into(), port }
    }

    #[test]
    fn every_way_to_write_an_address() {
        let p = |s| HostPort::parse(s, 7946);
        assert_eq!(p("10.0.0.1").unwrap(), hp("10.0.0.1", 7946));
        assert_eq!(p("10.0.0.1:80").unwrap(), hp("10.0.0.1", 80));
        assert_eq!(p("web.local:80").unwrap(), hp("web.local", 80));
        assert_eq!(p("::1").unwrap(), hp("::1", 7946));
        assert_eq!(p("[::1]").unwrap(), hp("::1", 7946));
        assert_eq!(p("[::1]:9").unwrap(), hp("::1", 9));
        assert_eq!(p("[::1]:9").unwrap().to_string(), "[::1]:9");
        assert_eq!(p(""), Err(AddressError::Empty));
        assert_eq!(p("h:99999"), Err(AddressError::BadPort("h:99999".into())));
        assert_eq!(p("h:"), Err(AddressError::BadPort("h:".into())));
        assert_eq!(p("[::1"), Err(AddressError::BadBrackets("[::1".into())));
        assert_eq!(p("[::1]x"), Err(AddressError::BadBrackets("[::1]x".into())));
        assert_eq!(p(":80"), Err(AddressError::NoHost(":80".into())));
    }

    #[test]
    fn a_member_may_be_named_before_its_address() {
        let p = |s| HostPort::of_member(s, 7946);
        assert_eq!(p("10.0.0.1:80").unwrap(), hp("10.0.0.1", 80));
        assert_eq!(HostPort::of_receiver(":80", 1).unwrap(), hp("127.0.0.1", 80));
        assert_eq!(HostPort::of_receiver("::1", 1).unwrap(), hp("::1", 1));
        assert_eq!(HostPort::of_receiver("[]:80", 1), Err(AddressError::NoHost("[]:80".into())));
        assert_eq!(p("a/b/[::1]").unwrap(), hp("::1", 7946));
        assert_eq!((p("a/"), p("")), (Err(AddressError::Empty), Err(AddressError::Empty)));
        assert_eq!(p("10.0.0.1:http"), Err(AddressError::BadPort("10.0.0.1:http".into())));
    }

    #[test]
    fn both_forms_of_ipv4_are_one_address() {
        let mapped: IpAddr = "::ffff:10.0.0.1".parse().unwrap();
        assert_eq!(canonical_ip(mapped), "10.0.0.1".parse::<IpAddr>().unwrap());
    }
}
