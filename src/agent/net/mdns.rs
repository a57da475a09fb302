//! Discovery by multicast DNS (`-discover`): announces this agent as an instance of the service
//! `_serf_<cluster>._tcp`, as HashiCorp's agents do, and joins those that others announce.
//!
//! The crate `mdns-sd` speaks the protocol, on a thread of its own (`mDNS_daemon`). The thread
//! `serf-mdns` takes what that finds and decides which agents to join. A host that can send multicast to
//! this network can announce whatever it likes, so what is remembered, how many are joined at once and
//! how often are all bounded; and an announcement only ever leads to a join, which a stranger
//! with another key or another protocol does not survive.

mod peers;

use crate::agent::channels::{Channels, JoinRequest, JoinResult, ToSync};
use crate::agent::clock::Clock;
use crate::agent::table::SharedTable;
use crate::agent::thread::{Actor, Stop, Thread};
use crate::config::MdnsConfig;
use crate::model::{Moment, canonical_ip};
use crate::node::exchanges::JoinError;
use mdns_sd::{
    IfKind, Receiver, RecvTimeoutError, ResolvedService, ServiceDaemon, ServiceEvent, ServiceInfo,
};
use peers::Peers;
use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

/// The most addresses that one instance may announce.
const MAX_ADDRESSES: usize = 4;
/// The longest name of a cluster. With `serf_` before it, this is what the library can announce.
const MAX_CLUSTER_NAME: usize = 25;
/// The longest label of a DNS name, in bytes.
const MAX_LABEL: usize = 63;
/// How often the library looks whether interfaces or addresses have changed.
const LOOK_AT_INTERFACES_S: u32 = 30;

/// Why discovery did not start.
#[derive(Debug)]
pub(crate) enum MdnsError {
    /// A cluster name that cannot be announced.
    Cluster(String),
    /// There is no such interface.
    Interface(String),
    /// The library or the system refuses.
    Library(mdns_sd::Error),
    /// The thread cannot be started.
    Thread(std::io::Error),
}

impl fmt::Display for MdnsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            MdnsError::Cluster(name) => write!(
                f,
                "Error starting mDNS listener: the cluster name '{name}' must have 1 to {MAX_CLUSTER_NAME} \
                 letters, digits, single dashes or underscores"
            ),
            MdnsError::Interface(name) => write!(f, "Invalid mDNS network interface: there is no '{name}'"),
            MdnsError::Library(why) => write!(f, "Error starting mDNS listener: {why}"),
            MdnsError::Thread(why) => write!(f, "Error starting mDNS listener: {why}"),
        }
    }
}

impl std::error::Error for MdnsError {}

/// What discovery is to do.
#[derive(Clone, Debug)]
pub(crate) struct MdnsSettings {
    /// The name of the cluster.
    pub(crate) cluster: String,
    /// The name under which this agent is announced.
    pub(crate) node: String,
    /// The address that is announced.
    pub(crate) addr: SocketAddr,
    /// The only interface to use, if not all.
    pub(crate) interface: Option<String>,
    /// Not to use IPv4, or IPv6.
    pub(crate) protocols: MdnsConfig,
    /// Whether past user events are to be heard when joining.
    pub(crate) replay: bool,
}

/// Checks what the configuration could not know: whether the name can be announced, and whether this
/// host, which has these interfaces, has the one to use.
pub(crate) fn check(
    cluster: Option<&str>,
    interface: Option<&String>,
    interfaces: &[String],
) -> Result<(), MdnsError> {
    let Some(cluster) = cluster else { return Ok(()) };
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    let well_formed = (1..=MAX_CLUSTER_NAME).contains(&cluster.len())
        && cluster.chars().all(fits)
        && !cluster.contains("--")
        && !cluster.ends_with('-');
    if !well_formed {
        return Err(MdnsError::Cluster(cluster.to_string()));
    }
    match interface {
        Some(name) if !interfaces.contains(name) => Err(MdnsError::Interface(name.clone())),
        _ => Ok(()),
    }
}

/// Announces this agent and starts looking for others. Stopping the thread takes the announcement back and
/// ends the library's thread as well.
pub(crate) fn start(
    settings: MdnsSettings,
    table: SharedTable,
    channels: Channels,
    clock: Clock,
) -> Result<Thread, MdnsError> {
    let daemon = ServiceDaemon::new().map_err(MdnsError::Library)?;
    let service = service_type(&settings.cluster);
    let found = configure(&daemon, &settings)
        .and_then(|()| daemon.register(announcement(&settings)?))
        .and_then(|()| daemon.browse(&service));
    let found = match found {
        Ok(found) => found,
        Err(why) => {
            let _ = daemon.shutdown();
            return Err(MdnsError::Library(why));
        }
    };
    let waker = daemon.clone();
    let actor =
        MdnsActor { daemon, found, peers: Peers::new(settings.addr), settings, table, channels, clock };
    // The library says goodbye for what is registered, and closes the channel that the thread waits for. A
    // daemon that has ended is what we want.
    Thread::spawn(move || actor, move || drop(waker.shutdown())).map_err(MdnsError::Thread)
}

fn service_type(cluster: &str) -> String {
    format!("_serf_{cluster}._tcp.local.")
}

/// Restricts the library to what was asked for.
fn configure(daemon: &ServiceDaemon, settings: &MdnsSettings) -> Result<(), mdns_sd::Error> {
    daemon.set_service_name_len_max((MAX_CLUSTER_NAME + "serf_".len()) as u8)?;
    daemon.set_ip_check_interval(LOOK_AT_INTERFACES_S)?;
    if let Some(interface) = &settings.interface {
        daemon.disable_interface(IfKind::All)?;
        daemon.enable_interface(IfKind::Name(interface.clone()))?;
    } else if !settings.addr.ip().is_loopback() {
        // Nobody out there can be reached through these, and nobody in here needs them.
        daemon.disable_interface(vec![IfKind::LoopbackV4, IfKind::LoopbackV6])?;
    }
    if settings.protocols.disable_ipv4 {
        daemon.disable_interface(IfKind::IPv4)?;
    }
    if settings.protocols.disable_ipv6 {
        daemon.disable_interface(IfKind::IPv6)?;
    }
    Ok(())
}

fn announcement(settings: &MdnsSettings) -> Result<ServiceInfo, mdns_sd::Error> {
    let MdnsSettings { cluster, node, addr, .. } = settings;
    // The host's name would do, but two agents on one host must not pass for one.
    let host: String =
        addr.to_string().chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    let text = format!("Serf '{cluster}' cluster");
    let mut info = ServiceInfo::new(
        &service_type(cluster),
        label(node),
        &format!("serf-{}.local.", host.trim_matches('-')),
        addr.ip(),
        addr.port(),
        &[("info", text.as_str())][..],
    )?;
    if let Some(interface) = &settings.interface {
        info.set_interfaces(vec![IfKind::Name(interface.clone())]);
    }
    Ok(info)
}

/// As much of a name as one label of a DNS name can hold.
fn label(name: &str) -> &str {
    let mut end = name.len().min(MAX_LABEL);
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    &name[..end]
}

/// The thread's state.
struct MdnsActor {
    daemon: ServiceDaemon,
    found: Receiver<ServiceEvent>,
    peers: Peers,
    settings: MdnsSettings,
    table: SharedTable,
    channels: Channels,
    clock: Clock,
}

impl Actor for MdnsActor {
    const NAME: &'static str = "serf-mdns";
    /// Saying goodbye takes the library a moment.
    const PATIENCE: Duration = Duration::from_secs(2);

    /// Runs until the library has ended because the thread was asked to stop.
    fn run(mut self, stop: &Stop) {
        loop {
            let event = match self.clock.instant(self.peers.next_deadline()) {
                Some(deadline) => self.found.recv_deadline(deadline),
                None => self.found.recv().map_err(|_| RecvTimeoutError::Disconnected),
            };
            let now = self.clock.now();
            match event {
                Ok(ServiceEvent::ServiceResolved(service)) => self.resolved(&service, now),
                Ok(_) | Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) if stop.is_raised() => return,
                // The library ends a search whose results pile up.
                Err(RecvTimeoutError::Disconnected) => {
                    match self.daemon.browse(&service_type(&self.settings.cluster)) {
                        Ok(found) => self.found = found,
                        Err(why) => {
                            return log::error!(target: "agent.mdns", "Failed to poll for new hosts: {why}");
                        }
                    }
                }
            }
            self.join(now);
        }
    }
}

impl MdnsActor {
    fn resolved(&mut self, service: &ResolvedService, now: Moment) {
        let protocols = &self.settings.protocols;
        let wanted = |addr: &SocketAddr| {
            if addr.is_ipv4() { !protocols.disable_ipv4 } else { !protocols.disable_ipv6 }
        };
        let ips = service.addresses.iter().map(|ip| canonical_ip(ip.to_ip_addr()));
        let mut addrs: Vec<SocketAddr> = ips.map(|ip| SocketAddr::new(ip, service.port)).collect();
        addrs.retain(wanted);
        addrs.sort();
        for addr in addrs.into_iter().take(MAX_ADDRESSES) {
            self.peers.found(addr, now);
        }
    }

    fn join(&mut self, now: Moment) {
        let batch = {
            let table = self.table.read();
            self.peers.tick(now, |addr| table.members.has_address(addr))
        };
        if batch.is_empty() {
            return;
        }
        log::info!(target: "agent.mdns", "Discovered {} peers, joining: {}", batch.len(), list(&batch));
        let addrs = batch.iter().map(SocketAddr::to_string).collect();
        let reply = Box::new(|result: JoinResult| match result {
            Ok(n) => log::info!(target: "agent.mdns", "Joined {n} hosts"),
            Err(why) => log::error!(target: "agent.mdns", "Failed to join: {why}"),
        });
        let request = JoinRequest::new(addrs, self.settings.replay, reply);
        if let Err(ToSync::Join(request)) = self.channels.sync.send(ToSync::Join(request)) {
            request.answer(Err(JoinError::TooMany));
        }
    }
}

fn list(addrs: &[SocketAddr]) -> String {
    addrs.iter().map(SocketAddr::to_string).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_that_cannot_work_are_refused() {
        let (interfaces, eth0, eth9) = (["eth0".to_string()], "eth0".to_string(), "eth9".to_string());
        let says = |cluster, interface| match check(cluster, interface, &interfaces) {
            Ok(()) => "fine".to_string(),
            Err(why) => why.to_string(),
        };
        assert_eq!(says(None, None), "fine");
        assert_eq!(says(Some("home-2"), None), "fine");
        assert_eq!(says(Some("home"), Some(&eth0)), "fine");
        assert!(says(Some("home"), Some(&eth9)).contains("mDNS network interface: there is no 'eth9'"));
        for bad in ["", "a.b", "a--b", "a-", "a b", "é", "abcdefghijklmnopqrstuvwxyz"] {
            assert!(says(Some(bad), None).contains("must have 1 to 25 letters"), "{bad}");
        }
    }

    #[test]
    fn an_agent_is_announced_whatever_its_name() {
        let settings = |node: &str, addr: &str| MdnsSettings {
            cluster: "home".into(),
            node: node.into(),
            addr: addr.parse().unwrap(),
            interface: None,
            protocols: MdnsConfig::default(),
            replay: false,
        };
        for node in ["n1", "n1.example.com", "a b\\c", &"x".repeat(255), &"é".repeat(100)] {
            for addr in ["10.0.0.1:7946", "[fd00::1]:7946"] {
                let info = announcement(&settings(node, addr)).unwrap();
                assert!(info.get_fullname().ends_with("._serf_home._tcp.local."), "{}", info.get_fullname());
                assert_eq!(info.get_port(), 7946);
            }
        }
        assert_eq!(label(&"é".repeat(100)).len(), 62, "not in the middle of a letter");
    }
}
