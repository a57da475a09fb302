//! Loopback networks: each test gets addresses nobody else uses, so that tests, and whole test
//! runs, go on side by side.

use super::agent::Agent;
use super::machine::Turn;
use super::spec::AgentSpec;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket};
use std::sync::atomic::{AtomicU32, Ordering};

/// Hosts .1 to .20 are for agents, relays and impostors.
const HOSTS: u8 = 20;

/// The host whose UDP port is held for as long as the network is in use.
const KEEPER: u8 = 254;

/// Ports for gossip and for commands. Serf's own first; others in case something on this machine
/// holds those on all addresses.
const PORTS: [(u16, u16); 3] = [(7946, 7373), (17946, 17373), (27946, 27373)];

/// Ports at which nobody else is, not even when a few bits of an address are wrong.
const PORTS_APART: [(u16, u16); 2] = [(24_821, 24_373), (29_941, 29_373)];

/// The networks 127.A.B.0/24 with A from 64 to 191 and B from 1 to 254.
const NETWORKS: u32 = 128 * 254;

/// The network 127.A.B.0/24, ours while this value lives.
pub(crate) struct Network {
    prefix: (u8, u8),
    gossip_port: u16,
    rpc_port: u16,
    _turn: Turn,
    /// Another test process that comes upon the same network cannot bind this, and moves on.
    _reservation: UdpSocket,
}

impl Network {
    /// Finds a network that nobody uses and reserves it.
    pub(crate) fn claim() -> Network {
        Network::find(&PORTS, Turn::shared())
    }

    /// A network for a test that must have the machine to itself.
    pub(crate) fn claim_alone() -> Network {
        Network::find(&PORTS, Turn::alone())
    }

    /// A network for a test that invents members: they may be at the addresses of another test, one
    /// bit away, and at Serf's own port its agents would take them in.
    pub(crate) fn claim_apart() -> Network {
        Network::find(&PORTS_APART, Turn::shared())
    }

    /// Both: apart from others, and while none runs.
    pub(crate) fn claim_apart_alone() -> Network {
        Network::find(&PORTS_APART, Turn::alone())
    }

    fn find(ports: &[(u16, u16)], turn: Turn) -> Network {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        // Neighbouring process ids start far apart, so that they rarely meet.
        let start = std::process::id().wrapping_mul(97) + COUNT.fetch_add(1, Ordering::Relaxed);
        for &(gossip_port, rpc_port) in ports {
            for step in 0..64 {
                let index = start.wrapping_add(step) % NETWORKS;
                let prefix = (64 + (index / 254) as u8, 1 + (index % 254) as u8);
                let keeper = Ipv4Addr::new(127, prefix.0, prefix.1, KEEPER);
                let Ok(reservation) = UdpSocket::bind((keeper, gossip_port)) else { continue };
                if is_free(prefix, gossip_port, rpc_port) {
                    return Network { prefix, gossip_port, rpc_port, _turn: turn, _reservation: reservation };
                }
            }
        }
        panic!("no free loopback network: are the ports {ports:?} held on all addresses of this machine?");
    }

    pub(crate) fn ip(&self, host: u8) -> Ipv4Addr {
        Ipv4Addr::new(127, self.prefix.0, self.prefix.1, host)
    }

    /// Where an agent at this host gossips (UDP and TCP).
    pub(crate) fn gossip(&self, host: u8) -> SocketAddr {
        SocketAddr::new(IpAddr::V4(self.ip(host)), self.gossip_port)
    }

    /// Where an agent at this host answers commands.
    pub(crate) fn rpc(&self, host: u8) -> SocketAddr {
        SocketAddr::new(IpAddr::V4(self.ip(host)), self.rpc_port)
    }

    /// An agent that could be started at this host.
    pub(crate) fn agent(&self, name: &str, host: u8) -> AgentSpec {
        AgentSpec::new(name, self.gossip(host), self.rpc(host))
    }

    /// A cluster: agents with these names at hosts .1, .2, …, the others joining the first. The
    /// first answers commands on return; the others have just been started.
    pub(crate) fn cluster<const N: usize>(&self, names: [&str; N]) -> [Agent; N] {
        self.cluster_with(names, |spec| spec)
    }

    /// A cluster whose agents are all adjusted in the same way.
    pub(crate) fn cluster_with<const N: usize>(
        &self,
        names: [&str; N],
        adjust: impl Fn(AgentSpec) -> AgentSpec,
    ) -> [Agent; N] {
        let mut host = 0;
        names.map(|name| {
            host += 1;
            let spec = adjust(self.agent(name, host));
            if host == 1 { spec.start() } else { spec.join(self.gossip(1)).spawn() }
        })
    }
}

/// Whether every address can be bound: an agent left over from a killed test run would still hold
/// one.
fn is_free(prefix: (u8, u8), gossip_port: u16, rpc_port: u16) -> bool {
    (1..=HOSTS).all(|host| {
        let ip = Ipv4Addr::new(127, prefix.0, prefix.1, host);
        UdpSocket::bind((ip, gossip_port)).is_ok()
            && TcpListener::bind((ip, gossip_port)).is_ok()
            && TcpListener::bind((ip, rpc_port)).is_ok()
    })
}

/// Addresses on `[::1]` for the gossip and the commands of one agent. IPv6 has a single loopback
/// address, so here it is the ports that differ.
pub(crate) fn free_ipv6_addresses() -> (SocketAddr, SocketAddr) {
    (free_ipv6_port(), free_ipv6_port())
}

fn free_ipv6_port() -> SocketAddr {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    // Below the range from which the system takes ports for outgoing connections.
    const FIRST: u32 = 20_000;
    const PORT_COUNT: u32 = 7_000;
    for _ in 0..PORT_COUNT {
        let offset = std::process::id().wrapping_mul(97) + COUNT.fetch_add(1, Ordering::Relaxed);
        let port = (FIRST + offset % PORT_COUNT) as u16;
        let address = SocketAddr::new(IpAddr::V6(Ipv6Addr::LOCALHOST), port);
        if UdpSocket::bind(address).is_ok() && TcpListener::bind(address).is_ok() {
            return address;
        }
    }
    panic!("no free port on [::1]; does this machine have IPv6 on its loopback interface?");
}

#[test]
fn a_wrong_bit_leads_from_no_network_apart_to_another() {
    for (apart, _) in PORTS_APART {
        for (port, _) in PORTS {
            assert!((apart ^ port).count_ones() >= 8, "{apart} and {port}");
        }
    }
}
