//! The agents under attack.

use super::insider::Insider;
use crate::harness::{Agent, AgentSpec, Network, all_see, wait_until, within};
use std::net::{Ipv4Addr, SocketAddr};

/// The host from which an insider attacks, the one that is pinged from, and one that it claims to be at.
const INSIDER: u8 = 15;
const PINGER: u8 = 16;
const CLAIMED: u8 = 17;

/// A cluster of agents `n1`, `n2`, … at hosts .1, .2, …
pub(super) struct Cluster {
    // Agents first: they use the network.
    pub(super) agents: Vec<Agent>,
    pub(super) net: Network,
}

impl Cluster {
    /// Agents with the defaults, that know each other.
    pub(super) fn start(net: Network, count: u8) -> Cluster {
        Cluster::with(net, count, |spec, _| spec)
    }

    /// Agents that are adjusted by their host.
    pub(super) fn with(net: Network, count: u8, adjust: impl Fn(AgentSpec, u8) -> AgentSpec) -> Cluster {
        let cluster = Cluster::apart(net, count, adjust);
        wait_until(within(120), "all agents know each other", || cluster.all_alive());
        cluster
    }

    /// The same, which may not have met yet.
    pub(super) fn apart(net: Network, count: u8, adjust: impl Fn(AgentSpec, u8) -> AgentSpec) -> Cluster {
        let agent = |host: u8| {
            // Something that answers when the health of the cluster is looked at.
            let spec = net.agent(&format!("n{host}"), host).flag("-event-handler=query:health=echo well");
            let spec = adjust(spec, host);
            if host == 1 { spec.start() } else { spec.join(net.gossip(1)).start() }
        };
        Cluster { agents: (1..=count).map(agent).collect(), net }
    }

    pub(super) fn refs(&self) -> Vec<&Agent> {
        self.agents.iter().collect()
    }

    pub(super) fn names(&self) -> Vec<String> {
        self.agents.iter().map(|agent| agent.name().to_string()).collect()
    }

    /// Where its agents are.
    pub(super) fn addrs(&self) -> Vec<SocketAddr> {
        self.agents.iter().map(Agent::gossip).collect()
    }

    /// Whether all list all as alive.
    pub(super) fn all_alive(&self) -> Result<(), String> {
        let names = self.names();
        let alive: Vec<_> = names.iter().map(|name| (name.as_str(), "alive")).collect();
        all_see(&self.refs(), &alive)
    }

    /// Whether none has ended.
    pub(super) fn all_run(&mut self) -> Result<(), String> {
        match self.agents.iter_mut().find_map(|agent| (!agent.is_running()).then(|| agent.name())) {
            None => Ok(()),
            Some(name) => Err(format!("{name} has ended")),
        }
    }

    pub(super) fn insider(&self) -> Insider {
        Insider::at(self.net.ip(INSIDER))
    }

    /// Where an insider can be a member.
    pub(super) fn insider_addr(&self) -> SocketAddr {
        self.net.gossip(INSIDER)
    }

    pub(super) fn pinger_ip(&self) -> Ipv4Addr {
        self.net.ip(PINGER)
    }

    /// Where nothing listens.
    pub(super) fn claimed_addr(&self) -> SocketAddr {
        self.net.gossip(CLAIMED)
    }
}
