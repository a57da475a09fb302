//! The numbers that drive membership: memberlist's and Serf's constants, by profile.

use crate::model::Ceilings;
use std::fmt;
use std::time::Duration;

/// A set of timings for a kind of network (`-profile`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Profile {
    /// A data centre or office network.
    #[default]
    Lan,
    /// Between sites: patient timers.
    Wan,
    /// Loopback or one rack: impatient timers.
    Local,
}

impl Profile {
    /// The word used on the command line and in the banner.
    pub fn as_str(self) -> &'static str {
        match self {
            Profile::Lan => "lan",
            Profile::Wan => "wan",
            Profile::Local => "local",
        }
    }
}

/// A text that names no profile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProfileError(String);

impl fmt::Display for ProfileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Unknown profile: {} (expected lan, wan or local)", self.0)
    }
}

impl std::error::Error for ProfileError {}

impl std::str::FromStr for Profile {
    type Err = ProfileError;

    fn from_str(s: &str) -> Result<Self, ProfileError> {
        [Profile::Lan, Profile::Wan, Profile::Local]
            .into_iter()
            .find(|p| p.as_str() == s)
            .ok_or_else(|| ProfileError(s.to_string()))
    }
}

/// Timers, fan-outs and multipliers of the membership rules.
///
/// The defaults are those of memberlist's `DefaultLANConfig`, `DefaultWANConfig` and
/// `DefaultLocalConfig` and of Serf's `DefaultConfig`; where we differ, the field says why.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Time between probes of one member after the other. Scaled by local health.
    pub probe_interval: Duration,
    /// How long to wait for a direct ack before asking others. Less than `probe_interval`.
    pub probe_timeout: Duration,
    /// How many members are asked to probe indirectly (k of SWIM §3.1).
    pub indirect_checks: usize,
    /// Upper end of the local health multiplier, exclusive (Lifeguard's S + 1).
    pub awareness_max: u32,
    /// Suspicion lasts at least this × log10(n) probe intervals.
    pub suspicion_mult: u32,
    /// Suspicion without confirmation lasts this many times the least.
    pub suspicion_max_timeout_mult: u32,
    /// How long a member may refuse connections until it is declared dead, if several members see it;
    /// zero never declares one dead for that. Not memberlist's. A process that is started anew within that
    /// time goes on unnoticed.
    pub crash_patience: Duration,
    /// Time between gossip ticks while there is something to say.
    pub gossip_interval: Duration,
    /// How many members are sent news on each tick.
    pub gossip_nodes: usize,
    /// How long the dead are still sent news, so that they can refute when they return.
    pub gossip_to_the_dead: Duration,
    /// Each broadcast is sent this × ⌈log10(n+1)⌉ times.
    pub retransmit_mult: u32,
    /// Lower bound of ⌈log10(n+1)⌉ in the transmit limit. A broadcast that is sent t times to
    /// random members misses a given one with probability e⁻ᵗ; with memberlist's 4 in small
    /// clusters that left stragglers in most runs of 50 agents joining at once.
    pub retransmit_min_scale: u32,
    /// Time between full exchanges with a random member, in clusters of up to 32.
    pub push_pull_interval: Duration,
    /// Deadline of a TCP exchange.
    pub tcp_timeout: Duration,
    /// Time between attempts to reach one of the failed members, or a seed that is missing.
    pub reconnect_interval: Duration,
    /// How long a failed member is kept before it is forgotten.
    pub reconnect_timeout: Duration,
    /// How long a member that left is remembered.
    pub tombstone_timeout: Duration,
    /// How long an intent about an unknown member is kept in case its Alive is on the way.
    pub recent_intent_timeout: Duration,
    /// How long a failed member's name stays tied to its address. A member that left frees its
    /// name at once. (memberlist's `DeadNodeReclaimTime`, which Serf leaves at "never".)
    pub dead_reclaim: Duration,
    /// Whether names of others may only have letters, digits, dashes and dots, at most 128 bytes
    /// of them (`validate_node_names`).
    pub validate_names: bool,
    /// Largest datagram, everything included.
    pub datagram_budget: usize,
    /// Whether this process takes part in network coordinates.
    pub coordinates: bool,
    /// Whether what is sent to HashiCorp's agents may be compressed.
    pub compression: bool,
    /// Whether only members that speak the native dialect are admitted.
    pub native_only: bool,
    /// How far incarnations and Lamport times are believed.
    pub ceilings: Ceilings,
}

impl Config {
    /// The default of `crash_patience`.
    pub const CRASH_PATIENCE: Duration = Duration::from_secs(2);

    /// The numbers of a profile.
    pub fn for_profile(profile: Profile) -> Config {
        let lan = Config {
            probe_interval: Duration::from_secs(1),
            probe_timeout: Duration::from_millis(500),
            indirect_checks: 3,
            awareness_max: 8,
            suspicion_mult: 4,
            suspicion_max_timeout_mult: 6,
            crash_patience: Config::CRASH_PATIENCE,
            gossip_interval: Duration::from_millis(200),
            gossip_nodes: 3,
            gossip_to_the_dead: Duration::from_secs(30),
            retransmit_mult: 4,
            retransmit_min_scale: 3,
            push_pull_interval: Duration::from_secs(30),
            tcp_timeout: Duration::from_secs(10),
            reconnect_interval: Duration::from_secs(30),
            reconnect_timeout: Duration::from_secs(24 * 3600),
            tombstone_timeout: Duration::from_secs(24 * 3600),
            recent_intent_timeout: Duration::from_secs(300),
            dead_reclaim: Duration::from_secs(30),
            validate_names: false,
            datagram_budget: 1400,
            coordinates: true,
            compression: true,
            native_only: false,
            ceilings: Ceilings::default(),
        };
        match profile {
            Profile::Lan => lan,
            Profile::Wan => Config {
                tcp_timeout: Duration::from_secs(30),
                suspicion_mult: 6,
                push_pull_interval: Duration::from_secs(60),
                probe_timeout: Duration::from_secs(3),
                probe_interval: Duration::from_secs(5),
                gossip_nodes: 4,
                gossip_interval: Duration::from_millis(500),
                gossip_to_the_dead: Duration::from_secs(60),
                ..lan
            },
            Profile::Local => Config {
                tcp_timeout: Duration::from_secs(1),
                indirect_checks: 1,
                retransmit_mult: 2,
                // As many transmissions in all as elsewhere: with 4, HashiCorp's agents pass one of
                // ten by in most clusters, and then only the next push/pull mends it.
                retransmit_min_scale: 6,
                suspicion_mult: 3,
                push_pull_interval: Duration::from_secs(15),
                probe_timeout: Duration::from_millis(200),
                gossip_interval: Duration::from_millis(100),
                gossip_to_the_dead: Duration::from_secs(15),
                ..lan
            },
        }
    }

    /// How late an ack has to be for a probe to try TCP. Long before the probe timeout, because a refusal says
    /// at once what silence takes long to say; while acks come in time it costs nothing.
    pub fn stream_delay(&self) -> Duration {
        self.probe_timeout / 5
    }

    /// How often one broadcast is sent in a cluster of `members` (memberlist's
    /// `retransmitLimit`, with the floor of `retransmit_min_scale`).
    pub fn transmit_limit(&self, members: usize) -> u32 {
        let scale = ((members + 1) as f64).log10().ceil() as u32;
        self.retransmit_mult * scale.max(self.retransmit_min_scale)
    }

    /// Least and greatest suspicion timeout in a cluster of `members` (memberlist's
    /// `suspicionTimeout`; Lifeguard §IV-B).
    pub fn suspicion_timeouts(&self, members: usize) -> (Duration, Duration) {
        let scale = (members.max(1) as f64).log10().max(1.0);
        let min = self.probe_interval.mul_f64(f64::from(self.suspicion_mult) * scale);
        (min, min * self.suspicion_max_timeout_mult)
    }

    /// How long after a member is gone someone may still take it for alive, in a cluster of
    /// `members`: gossip may have passed that one by, then a push/pull may fail, then the next
    /// one makes the member a suspect there. A process that was stopped may take longer to find
    /// out, so it is at least `recent_intent_timeout`. Until then a reaped member is remembered.
    pub fn reaped_memory(&self, members: usize) -> Duration {
        let levelled = self.push_pull_period(members) * 2 + self.suspicion_timeouts(members).1;
        levelled.max(self.recent_intent_timeout)
    }

    /// Time between push/pulls in a cluster of `members`: one more interval with every
    /// doubling beyond 32 (memberlist's `pushPullScale`).
    pub fn push_pull_period(&self, members: usize) -> Duration {
        const THRESHOLD: f64 = 32.0;
        let n = members as f64;
        if n <= THRESHOLD {
            return self.push_pull_interval;
        }
        self.push_pull_interval * ((n.log2() - THRESHOLD.log2()).ceil() as u32 + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scales_with_the_cluster_as_memberlist_does() {
        let lan = Config::for_profile(Profile::Lan);
        let limits: Vec<u32> = [1, 9, 10, 99, 999, 1000].map(|n| lan.transmit_limit(n)).to_vec();
        assert_eq!(limits, [12, 12, 12, 12, 12, 16]);
        assert_eq!(Config::for_profile(Profile::Local).transmit_limit(9), 12);
        assert_eq!(lan.suspicion_timeouts(5), (Duration::from_secs(4), Duration::from_secs(24)));
        assert_eq!(lan.suspicion_timeouts(100).0, Duration::from_secs(8));
        let periods = [1, 32, 33, 64, 65, 128].map(|n| lan.push_pull_period(n).as_secs());
        assert_eq!(periods, [30, 30, 60, 60, 90, 90]);
        let memories = [5, 32, 1000].map(|n| lan.reaped_memory(n).as_secs());
        assert_eq!(memories, [300, 300, 432]);
    }

    #[test]
    fn profiles_by_name() {
        for p in [Profile::Lan, Profile::Wan, Profile::Local] {
            assert_eq!(p.as_str().parse(), Ok(p));
        }
        assert!("LAN".parse::<Profile>().is_err());
        assert_eq!(Config::for_profile(Profile::Wan).probe_interval, Duration::from_secs(5));
        assert_eq!(Config::for_profile(Profile::Local).indirect_checks, 1);
    }
}
