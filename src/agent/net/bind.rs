//! Which address to bind and which to advertise: `-bind`, `-iface`, `-advertise`.
//!
//! [`decide`] is pure: what it has to know of this host is looked up in `host`, and sockets are opened in
//! `sockets`.
//!
//! With a wildcard address (`0.0.0.0`, `[::]`) others must still learn one address to reach us
//! at. Like memberlist we take a private one and prefer IPv4, or IPv6 when `[::]` was asked for.
//! Among several the choice is always the same, by the first of these that differs:
//!
//! 1. the preferred family,
//! 2. an interface that is up,
//! 3. the interface of the default route, because that is where other hosts are; bridges of
//!    containers and virtual machines have private addresses too,
//! 4. the range: RFC 1918 and RFC 4193, then RFC 6598 (carrier NAT), then RFC 2544 (benchmarks),
//! 5. the interface's name, then the kernel's order.
//!
//! A public address is never advertised unasked, and neither is a loopback or link-local one.

use super::host::{Host, InterfaceAddr};
use crate::model::canonical_ip;
use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Where to bind and what to advertise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Endpoints {
    /// The address for the UDP and TCP sockets.
    ///
    /// `[::]` where `0.0.0.0` was asked for but only an IPv6 address can be advertised: Serf's
    /// `0.0.0.0` takes both families, and so does `[::]`.
    pub(crate) bind: SocketAddr,
    /// The address that others are to use. Port 0 means the port that the socket will be given.
    pub(crate) advertise: SocketAddr,
    /// What Serf prints before it starts: `Using interface 'x' address 'y'`.
    pub(crate) announce: Option<String>,
    /// For the log at INFO: which address was chosen, and why.
    pub(crate) note: Option<String>,
    /// For the log at WARN: why others will probably not reach us.
    pub(crate) warning: Option<String>,
}

/// Which option an address came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flag {
    /// `-bind`
    Bind,
    /// `-advertise`
    Advertise,
}

impl fmt::Display for Flag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Flag::Bind => "bind",
            Flag::Advertise => "advertise",
        })
    }
}

/// Why no address could be chosen.
#[derive(Debug)]
pub(crate) enum BindError {
    /// The address is a multicast or broadcast address.
    NotUnicast {
        /// The option.
        flag: Flag,
        /// What was given.
        ip: IpAddr,
    },
    /// The interfaces of this host could not be listed.
    List(io::Error),
    /// There is no such interface.
    NoInterface(String),
    /// The interface has no address.
    NoAddresses(String),
    /// The interface has addresses, but only link-local ones.
    NoUsable(String),
    /// The interface lacks the address that was given with `-bind`.
    NotOnInterface {
        /// The interface.
        interface: String,
        /// The address.
        ip: IpAddr,
    },
    /// A wildcard was to be bound and the host has no private address. Carries what it has.
    NoPrivate(Vec<InterfaceAddr>),
}

impl fmt::Display for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BindError::NotUnicast { flag, ip } => {
                write!(f, "Invalid {flag} address: {ip} is not the address of a host")
            }
            BindError::List(error) => write!(f, "Failed to get interface addresses: {error}"),
            BindError::NoInterface(name) => {
                write!(f, "Invalid network interface: there is no interface '{name}'")
            }
            BindError::NoAddresses(name) => write!(f, "Interface '{name}' has no addresses"),
            BindError::NoUsable(name) => {
                write!(f, "Failed to find usable address for interface '{name}'")
            }
            BindError::NotOnInterface { interface, ip } => {
                write!(f, "Interface '{interface}' has no '{ip}' address")
            }
            BindError::NoPrivate(found) => {
                write!(f, "No private IP address found, and explicit IP not provided. ")?;
                write!(f, "Say with -bind which address to use, or with -advertise how others reach it")?;
                match found.as_slice() {
                    [] => write!(f, " (this host has only loopback and link-local addresses)"),
                    found => write!(f, " (this host has {})", list(found)),
                }
            }
        }
    }
}

impl std::error::Error for BindError {}

/// Decides. `advertise` with a wildcard address stands for its default: any.
pub(crate) fn decide(
    host: &Host,
    bind: SocketAddr,
    interface: Option<&str>,
    advertise: Option<SocketAddr>,
) -> Result<Endpoints, BindError> {
    let bind = unicast(Flag::Bind, bind)?;
    let advertise = advertise.map(|a| unicast(Flag::Advertise, a)).transpose()?;
    let mut chosen = Endpoints { bind, advertise: bind, announce: None, note: None, warning: None };

    if let Some(name) = interface.filter(|name| !name.is_empty()) {
        let ip = on_interface(host, name, bind.ip())?;
        if ip != bind.ip() {
            chosen.announce = Some(format!("Using interface '{name}' address '{ip}'"));
        }
        chosen.bind.set_ip(ip);
    }

    match advertise {
        Some(addr) if !addr.ip().is_unspecified() => chosen.advertise = addr,
        _ => {
            chosen.advertise = chosen.bind;
            if chosen.bind.ip().is_unspecified() {
                choose_private(host, &mut chosen)?;
            }
            if let Some(addr) = advertise {
                chosen.advertise.set_port(addr.port());
            }
        }
    }
    chosen.warning = doubt(&chosen);
    Ok(chosen)
}

/// The address of interface `name` to bind when `wanted` was asked for.
fn on_interface(host: &Host, name: &str, wanted: IpAddr) -> Result<IpAddr, BindError> {
    let addrs: Vec<IpAddr> = host.addrs.iter().filter(|a| a.interface == name).map(|a| a.ip).collect();
    if addrs.is_empty() {
        return Err(match host.interfaces.iter().any(|i| i == name) {
            true => BindError::NoAddresses(name.into()),
            false => BindError::NoInterface(name.into()),
        });
    }
    if !wanted.is_unspecified() {
        return match addrs.contains(&wanted) {
            true => Ok(wanted),
            false => Err(BindError::NotOnInterface { interface: name.into(), ip: wanted }),
        };
    }
    let usable = || addrs.iter().copied().filter(|ip| !is_link_local(*ip));
    usable()
        .find(|ip| ip.is_ipv6() == wanted.is_ipv6())
        .or_else(|| usable().next())
        .ok_or_else(|| BindError::NoUsable(name.into()))
}

/// Finds the address to advertise while a wildcard is bound.
fn choose_private(host: &Host, chosen: &mut Endpoints) -> Result<(), BindError> {
    let wildcard = chosen.bind.ip();
    let mut candidates: Vec<(&InterfaceAddr, u8)> =
        host.addrs.iter().filter_map(|a| private_rank(a.ip).map(|rank| (a, rank))).collect();
    // Stable: addresses of one interface stay in the kernel's order.
    candidates.sort_by_key(|(a, rank)| {
        let route = host.default_routes.iter().position(|name| *name == a.interface);
        let preferred = a.ip.is_ipv6() == wildcard.is_ipv6();
        (!preferred, !a.up, route.unwrap_or(usize::MAX), *rank, a.interface.as_str())
    });
    let Some(((best, _), others)) = candidates.split_first() else {
        let reachable = |a: &&InterfaceAddr| !a.ip.is_loopback() && !is_link_local(a.ip);
        return Err(BindError::NoPrivate(host.addrs.iter().filter(reachable).cloned().collect()));
    };
    chosen.advertise.set_ip(best.ip);
    if best.ip.is_ipv6() {
        chosen.bind.set_ip(Ipv6Addr::UNSPECIFIED.into());
    }

    let why = if host.default_routes.contains(&best.interface) {
        "a private address on the interface of the default route"
    } else if others.is_empty() {
        "the only private address"
    } else {
        "a private address; none is on the interface of the default route"
    };
    let mut note = format!("Advertising {} of interface '{}': {why}", best.ip, best.interface);
    if !others.is_empty() {
        let others: Vec<InterfaceAddr> = others.iter().map(|(a, _)| (*a).clone()).collect();
        note += &format!(" (not chosen: {}; -advertise chooses another)", list(&others));
    }
    chosen.note = Some(note);
    Ok(())
}

/// Whether an address is private, and how gladly it is taken: 0 is best.
fn private_rank(ip: IpAddr) -> Option<u8> {
    match ip {
        IpAddr::V4(ip) if ip.is_private() => Some(0),
        IpAddr::V4(ip) => match ip.octets() {
            [100, b, ..] if b & 0xc0 == 64 => Some(1),
            [198, b, ..] if b & 0xfe == 18 => Some(2),
            _ => None,
        },
        IpAddr::V6(ip) => ip.is_unique_local().then_some(0),
    }
}

fn is_link_local(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    }
}

fn unicast(flag: Flag, addr: SocketAddr) -> Result<SocketAddr, BindError> {
    match canonical_ip(addr.ip()) {
        ip if ip.is_multicast() || ip == IpAddr::V4(Ipv4Addr::BROADCAST) => {
            Err(BindError::NotUnicast { flag, ip })
        }
        // Keeps the scope of an IPv6 link-local address.
        ip if ip == addr.ip() => Ok(addr),
        ip => Ok(SocketAddr::new(ip, addr.port())),
    }
}

/// What looks wrong about a choice that is nevertheless carried out.
fn doubt(chosen: &Endpoints) -> Option<String> {
    let (bind, advertise) = (chosen.bind, chosen.advertise);
    if advertise.ip().is_loopback() && !bind.ip().is_loopback() {
        Some(format!("Advertising the loopback address {}: no other host can reach it", advertise.ip()))
    } else if bind.ip().is_loopback() && !advertise.ip().is_loopback() {
        Some(format!("Bound to the loopback address {} only: no other host can reach it", bind.ip()))
    } else if is_link_local(advertise.ip()) {
        Some(format!(
            "Advertising the link-local address {}: it means nothing on another link",
            advertise.ip()
        ))
    } else if advertise.port() != bind.port() && bind.port() != 0 {
        let (advertised, bound) = (advertise.port(), bind.port());
        Some(format!("Advertising port {advertised} while port {bound} is bound: something must forward it"))
    } else {
        None
    }
}

/// `eth0 10.0.0.1, eth1 10.1.0.1, and 3 more`
fn list(addrs: &[InterfaceAddr]) -> String {
    const SHOWN: usize = 5;
    let mut parts: Vec<String> =
        addrs.iter().take(SHOWN).map(|a| format!("{} {}", a.interface, a.ip)).collect();
    if addrs.len() > SHOWN {
        parts.push(format!("and {} more", addrs.len() - SHOWN));
    }
    parts.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(addrs: &[(&str, &str)], default_routes: &[&str]) -> Host {
        let addr = |&(interface, ip): &(&str, &str)| InterfaceAddr {
            interface: interface.into(),
            ip: ip.parse().unwrap(),
            up: true,
        };
        let addrs: Vec<_> = [("lo", "127.0.0.1"), ("lo", "::1")].iter().chain(addrs).map(addr).collect();
        let mut interfaces: Vec<String> = addrs.iter().map(|a| a.interface.clone()).collect();
        interfaces.push("bare0".into());
        let default_routes = default_routes.iter().map(|name| name.to_string()).collect();
        Host { addrs, interfaces, default_routes }
    }

    fn sock(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    /// The addresses chosen, or the error's text.
    fn chosen(host: &Host, bind: &str, interface: &str, advertise: &str) -> String {
        let advertise = (!advertise.is_empty()).then(|| sock(advertise));
        match decide(host, sock(bind), Some(interface), advertise) {
            Ok(e) => format!("{} {}", e.bind, e.advertise),
            Err(error) => error.to_string(),
        }
    }

    const ANY: &str = "0.0.0.0:7946";

    #[test]
    fn an_explicit_address_is_taken_as_it_is() {
        let h = host(&[("eth0", "10.0.0.5")], &["eth0"]);
        assert_eq!(chosen(&h, "127.8.3.1:7946", "", ""), "127.8.3.1:7946 127.8.3.1:7946");
        assert_eq!(chosen(&h, "[::1]:80", "", ""), "[::1]:80 [::1]:80");
        assert_eq!(chosen(&h, "10.0.0.5:0", "", ""), "10.0.0.5:0 10.0.0.5:0");
        assert_eq!(chosen(&h, "[::ffff:10.0.0.5]:1", "", ""), "10.0.0.5:1 10.0.0.5:1");
        assert_eq!(chosen(&h, ANY, "", "192.0.2.9:99"), "0.0.0.0:7946 192.0.2.9:99");
        assert!(chosen(&h, "224.0.0.1:7946", "", "").starts_with("Invalid bind address"));
        assert!(chosen(&h, ANY, "", "255.255.255.255:1").starts_with("Invalid advertise address"));
    }

    #[test]
    fn a_wildcard_advertises_a_private_address() {
        let both = host(&[("eth0", "10.0.0.5"), ("eth0", "fd00::5"), ("eth0", "fe80::5")], &["eth0"]);
        assert_eq!(chosen(&both, ANY, "", ""), "0.0.0.0:7946 10.0.0.5:7946");
        assert_eq!(chosen(&both, "[::]:7946", "", ""), "[::]:7946 [fd00::5]:7946");
        assert_eq!(chosen(&both, "0.0.0.0:9000", "", "0.0.0.0:7946"), "0.0.0.0:9000 10.0.0.5:7946");

        // Serf's 0.0.0.0 takes both families; so must ours if only IPv6 can be advertised.
        let v6 = host(&[("eth0", "192.0.2.2"), ("eth0", "fd00::5")], &["eth0"]);
        assert_eq!(chosen(&v6, ANY, "", ""), "[::]:7946 [fd00::5]:7946");
        let v4 = host(&[("eth0", "192.168.1.2")], &["eth0"]);
        assert_eq!(chosen(&v4, "[::]:7946", "", ""), "[::]:7946 192.168.1.2:7946");
    }

    #[test]
    fn among_several_the_choice_is_always_the_same() {
        let addrs =
            [("docker0", "172.17.0.1"), ("wan", "100.64.0.9"), ("lan", "192.168.0.1"), ("lan", "10.1.1.1")];
        let pick = |routes: &[&str], down: &str| {
            let mut h = host(&addrs, routes);
            h.addrs.iter_mut().filter(|a| a.interface == down).for_each(|a| a.up = false);
            decide(&h, sock(ANY), None, None).unwrap().advertise.ip().to_string()
        };
        assert_eq!(pick(&["lan"], ""), "192.168.0.1", "the kernel's order within an interface");
        assert_eq!(pick(&["wan", "lan"], ""), "100.64.0.9", "the first default route");
        assert_eq!(pick(&[], ""), "172.17.0.1", "by name");
        assert_eq!(pick(&["lan"], "lan"), "172.17.0.1", "one that is up");
        assert_eq!(pick(&["other"], "docker0"), "192.168.0.1", "the better range");
    }

    #[test]
    fn the_log_says_which_and_why() {
        let h = host(&[("docker0", "172.17.0.1"), ("eth0", "10.0.0.5")], &["eth0"]);
        let e = decide(&h, sock(ANY), None, None).unwrap();
        assert_eq!(
            e.note.unwrap(),
            "Advertising 10.0.0.5 of interface 'eth0': a private address on the interface of the default \
             route (not chosen: docker0 172.17.0.1; -advertise chooses another)"
        );
        let e = decide(&host(&[("eth0", "10.0.0.5")], &[]), sock(ANY), None, None).unwrap();
        assert_eq!(e.note.unwrap(), "Advertising 10.0.0.5 of interface 'eth0': the only private address");
    }

    #[test]
    fn nothing_private_is_an_error_that_says_what_to_do() {
        let text = chosen(&host(&[("eth0", "fe80::1"), ("eth0", "169.254.1.1")], &[]), ANY, "", "");
        assert!(text.contains("-bind") && text.contains("-advertise"), "{text}");
        assert!(text.contains("only loopback and link-local"), "{text}");
        let text = chosen(&host(&[("eth0", "198.51.100.7")], &["eth0"]), ANY, "", "");
        assert!(text.contains("(this host has eth0 198.51.100.7)"), "{text}");
    }

    #[test]
    fn an_interface_chooses_as_in_serf() {
        let h = host(
            &[
                ("eth0", "fe80::1"),
                ("eth0", "169.254.0.1"),
                ("eth0", "192.0.2.2"),
                ("eth0", "fd00::2"),
                ("ll0", "fe80::2"),
            ],
            &[],
        );
        assert_eq!(chosen(&h, ANY, "eth0", ""), "192.0.2.2:7946 192.0.2.2:7946");
        assert_eq!(chosen(&h, "[::]:7946", "eth0", ""), "[fd00::2]:7946 [fd00::2]:7946");
        assert_eq!(chosen(&h, ANY, "lo", ""), "127.0.0.1:7946 127.0.0.1:7946");
        assert_eq!(chosen(&h, "192.0.2.2:1", "eth0", ""), "192.0.2.2:1 192.0.2.2:1");
        assert_eq!(chosen(&h, "10.9.9.9:1", "eth0", ""), "Interface 'eth0' has no '10.9.9.9' address");
        assert_eq!(chosen(&h, ANY, "bare0", ""), "Interface 'bare0' has no addresses");
        assert_eq!(chosen(&h, ANY, "ll0", ""), "Failed to find usable address for interface 'll0'");
        assert_eq!(chosen(&h, ANY, "eth9", ""), "Invalid network interface: there is no interface 'eth9'");

        let announced = |bind, name| decide(&h, sock(bind), Some(name), None).unwrap().announce;
        assert_eq!(announced(ANY, "eth0").unwrap(), "Using interface 'eth0' address '192.0.2.2'");
        assert_eq!(announced("192.0.2.2:1", "eth0"), None);
    }

    #[test]
    fn doubtful_choices_are_warned_of() {
        let h = host(&[("eth0", "10.0.0.5")], &["eth0"]);
        let warning = |bind, advertise| decide(&h, sock(bind), None, Some(sock(advertise))).unwrap().warning;
        assert!(warning(ANY, "127.0.0.1:7946").unwrap().contains("loopback"));
        assert!(warning("127.0.0.1:7946", "10.0.0.5:7946").unwrap().contains("Bound to the loopback"));
        assert!(warning(ANY, "169.254.1.1:7946").unwrap().contains("link-local"));
        assert!(warning("10.0.0.5:9000", "10.0.0.5:7946").unwrap().contains("7946 while port 9000"));
        assert_eq!(warning("10.0.0.5:0", "192.0.2.1:7946"), None);
        assert_eq!(warning("127.8.3.1:7946", "127.8.3.1:7946"), None);
    }
}
