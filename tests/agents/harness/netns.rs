//! Hosts of their own: network namespaces at two switches, and a cable between the switches that
//! can be pulled. Nothing of it is seen by, or reaches, the machine's own network.
//!
//! Needs root and `ip` (Debian package `iproute2`). Where that is missing, tests are skipped,
//! loudly; with `SERF_REQUIRE_PEERS=1` or `CI=true` they fail.

use super::machine::Turn;
use super::notes::skip;
use super::spec::AgentSpec;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};

/// The ports of every host: it has them to itself.
const GOSSIP: u16 = 7946;
const RPC: u16 = 7373;
const NAME: &str = "serf-test";

/// Hosts 10.99.0.1 and so on: the first half at one switch, the others at the other.
pub(crate) struct Hosts {
    prefix: String,
    count: u8,
    _turn: Turn,
}

/// `ip` prepares the machine for its first namespace; two at once get in each other's way.
static BUILDING: Mutex<()> = Mutex::new(());

impl Hosts {
    /// Builds the network, if that is possible here.
    pub(crate) fn claim(count: u8) -> Option<Hosts> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let turn = Turn::shared();
        let _building = BUILDING.lock().unwrap_or_else(PoisonError::into_inner);
        remove_left_over();
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        // From here on, whatever exists is removed on drop.
        let hosts = Hosts { prefix: format!("{NAME}-{}-{number}", std::process::id()), count, _turn: turn };
        if let Err(why) = ip(&["netns", "add", &hosts.switches()]) {
            return skip(&format!("network namespaces need root and iproute2: {why}"));
        }
        hosts.build().unwrap_or_else(|why| panic!("cannot build a network: {why}"));
        Some(hosts)
    }

    fn build(&self) -> Result<(), String> {
        let switches = self.switches();
        let at_switches = |line: &str| in_namespace(&switches, line);
        for switch in ["left", "right"] {
            at_switches(&format!("link add {switch} type bridge"))?;
            at_switches(&format!("link set {switch} up"))?;
        }
        at_switches("link add cable type veth peer name plug")?;
        at_switches("link set cable master left up")?;
        at_switches("link set plug master right up")?;
        for host in 1..=self.count {
            let (namespace, switch) =
                (self.namespace(host), if self.is_left(host) { "left" } else { "right" });
            ip(&["netns", "add", &namespace])?;
            // IPv6 addresses can be used at once, not after a second of asking who else has them.
            let at_once = "echo 0 > /proc/sys/net/ipv6/conf/default/accept_dad";
            ip(&["netns", "exec", &namespace, "sh", "-c", at_once])?;
            at_switches(&format!("link add port{host} type veth peer name eth0 netns {namespace}"))?;
            at_switches(&format!("link set port{host} master {switch} up"))?;
            in_namespace(&namespace, &format!("addr add {}/24 dev eth0", self.ip(host)))?;
            in_namespace(&namespace, "link set eth0 up")?;
            in_namespace(&namespace, "link set lo up")?;
            // Programs that leave it to the routes where multicast goes need one.
            in_namespace(&namespace, "route add default dev eth0")?;
            in_namespace(&namespace, "-6 route add default dev eth0")?;
        }
        Ok(())
    }

    /// Whether a host is at the first switch.
    pub(crate) fn is_left(&self, host: u8) -> bool {
        host <= self.count / 2
    }

    pub(crate) fn ip(&self, host: u8) -> Ipv4Addr {
        Ipv4Addr::new(10, 99, 0, host)
    }

    /// Where an agent at this host gossips.
    pub(crate) fn gossip(&self, host: u8) -> SocketAddr {
        SocketAddr::new(IpAddr::V4(self.ip(host)), GOSSIP)
    }

    /// An agent that could be started at this host.
    pub(crate) fn agent(&self, name: &str, host: u8) -> AgentSpec {
        let rpc = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), RPC);
        let inside = ["ip", "netns", "exec", &self.namespace(host)].map(str::to_string);
        AgentSpec::new(name, self.gossip(host), rpc).inside(inside.to_vec())
    }

    /// From now on no link carries more in one piece, in bytes.
    pub(crate) fn carry_at_most(&self, mtu: u16) {
        for host in 1..=self.count {
            let done = in_namespace(&self.switches(), &format!("link set port{host} mtu {mtu}"))
                .and_then(|_| in_namespace(&self.namespace(host), &format!("link set eth0 mtu {mtu}")));
            done.unwrap_or_else(|why| panic!("the link of {host} cannot carry {mtu}: {why}"));
        }
    }

    /// Pulls the cable between the switches.
    pub(crate) fn part(&self) {
        self.cable("down");
    }

    /// Plugs it in again.
    pub(crate) fn unite(&self) {
        self.cable("up");
    }

    fn cable(&self, state: &str) {
        let done = in_namespace(&self.switches(), &format!("link set cable {state}"));
        done.unwrap_or_else(|why| panic!("the cable cannot be set {state}: {why}"));
    }

    fn namespace(&self, host: u8) -> String {
        format!("{}-{host}", self.prefix)
    }

    fn switches(&self) -> String {
        format!("{}-switches", self.prefix)
    }
}

impl Drop for Hosts {
    fn drop(&mut self) {
        remove(&format!("{}-", self.prefix));
    }
}

/// Removes what test runs that were killed have left behind.
fn remove_left_over() {
    for name in namespaces() {
        let pid = name.strip_prefix(&format!("{NAME}-")).and_then(|rest| rest.split('-').next());
        if let Some(pid) = pid
            && !Path::new("/proc").join(pid).exists()
        {
            let _ = ip(&["netns", "del", &name]);
        }
    }
}

fn remove(prefix: &str) {
    for name in namespaces().iter().filter(|name| name.starts_with(prefix)) {
        let _ = ip(&["netns", "del", name]);
    }
}

fn namespaces() -> Vec<String> {
    let list = ip(&["netns", "list"]).unwrap_or_default();
    list.lines().filter_map(|line| line.split_whitespace().next()).map(str::to_string).collect()
}

fn in_namespace(namespace: &str, line: &str) -> Result<String, String> {
    let words: Vec<&str> = ["-n", namespace].into_iter().chain(line.split_whitespace()).collect();
    ip(&words)
}

fn ip(words: &[&str]) -> Result<String, String> {
    let output =
        Command::new("ip").args(words).stdin(Stdio::null()).output().map_err(|e| format!("ip: {e}"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(format!("ip {}: {}", words.join(" "), String::from_utf8_lossy(&output.stderr).trim()))
}
