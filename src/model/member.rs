//! A member of the cluster, as everyone outside the membership table sees it.

use super::incarnation::Incarnation;
use super::name::NodeName;
use super::tags::Meta;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::SocketAddr;

/// What Serf says about a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Status {
    /// Answers, or has not failed to for long enough to be given up.
    Alive,
    /// Has announced that it leaves and has not gone yet.
    Leaving,
    /// Left on its own wish, or was made to (`force-leave`) after it failed.
    Left,
    /// Stopped answering without a word.
    Failed,
}

impl Status {
    /// The word that Serf uses in RPC records, `members` and filters.
    pub fn as_str(self) -> &'static str {
        match self {
            Status::Alive => "alive",
            Status::Leaving => "leaving",
            Status::Left => "left",
            Status::Failed => "failed",
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A text that names no [`Status`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParseStatusError(pub String);

impl fmt::Display for ParseStatusError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "unknown member status {:?}; expected alive, leaving, left or failed", self.0)
    }
}

impl std::error::Error for ParseStatusError {}

impl std::str::FromStr for Status {
    type Err = ParseStatusError;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        [Status::Alive, Status::Leaving, Status::Left, Status::Failed]
            .into_iter()
            .find(|status| status.as_str() == s)
            .ok_or_else(|| ParseStatusError(s.to_string()))
    }
}

/// The protocol-version vector of a member, memberlist's six bytes: what it can speak and
/// what it speaks, for memberlist's protocol and for Serf's ("delegate") protocol.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Versions {
    /// Lowest memberlist protocol understood.
    pub protocol_min: u8,
    /// Highest memberlist protocol understood. From [`Versions::NATIVE_BASE`] up it says that
    /// the member understands the native dialect.
    pub protocol_max: u8,
    /// Memberlist protocol spoken.
    pub protocol_cur: u8,
    /// Lowest Serf protocol understood.
    pub delegate_min: u8,
    /// Highest Serf protocol understood.
    pub delegate_max: u8,
    /// Serf protocol spoken.
    pub delegate_cur: u8,
}

impl Versions {
    /// A `protocol_max` at or above this value announces the native dialect. HashiCorp's
    /// agents take the minimum over all members' maxima, so a large value changes nothing for
    /// them; their own numbers have stood at 5 since 2016.
    pub const NATIVE_BASE: u8 = 64;
    /// From this value of `protocol_max` on a member takes part in waves (`messaging/wave`).
    pub const WAVES: u8 = Versions::NATIVE_BASE + 2;
    /// From this value of `protocol_max` on a member exchanges what differs (`node/exchanges/difference.rs`).
    pub const DIFFERENCES: u8 = Versions::NATIVE_BASE + 3;
    /// The newest of memberlist's own protocols, which anyone may speak: what the numbers between
    /// this one and [`Versions::NATIVE_BASE`] mean is not known.
    pub const MEMBERLIST_MAX: u8 = 5;
    /// The oldest Serf protocol that is accepted on the command line and from others.
    pub const SERF_PROTOCOL_MIN: u8 = 2;
    /// The Serf protocol that we speak.
    pub const SERF_PROTOCOL_MAX: u8 = 5;

    /// Our own vector.
    pub const OURS: Versions = Versions {
        protocol_min: 1,
        protocol_max: Versions::DIFFERENCES,
        protocol_cur: 2,
        delegate_min: Versions::SERF_PROTOCOL_MIN,
        delegate_max: Versions::SERF_PROTOCOL_MAX,
        delegate_cur: Versions::SERF_PROTOCOL_MAX,
    };

    /// What any successor at our place speaks too: ours without the native dialect.
    pub const ANY_SUCCESSOR: Versions = Versions { protocol_max: 5, ..Versions::OURS };

    /// The vector as memberlist writes it: least, greatest and spoken, memberlist's protocol first.
    pub fn to_bytes(self) -> [u8; 6] {
        let Versions { protocol_min, protocol_max, protocol_cur, .. } = self;
        let Versions { delegate_min, delegate_max, delegate_cur, .. } = self;
        [protocol_min, protocol_max, protocol_cur, delegate_min, delegate_max, delegate_cur]
    }

    /// The vector that memberlist writes so.
    pub fn from_bytes(bytes: [u8; 6]) -> Versions {
        let [protocol_min, protocol_max, protocol_cur, delegate_min, delegate_max, delegate_cur] = bytes;
        Versions { protocol_min, protocol_max, protocol_cur, delegate_min, delegate_max, delegate_cur }
    }

    /// Whether the member that announced this vector takes part in waves.
    pub fn speaks_waves(&self) -> bool {
        self.protocol_max >= Versions::WAVES
    }

    /// Whether the member that announced this vector exchanges what differs.
    pub fn speaks_differences(&self) -> bool {
        self.protocol_max >= Versions::DIFFERENCES
    }

    /// Whether the member that announced this vector understands the native dialect.
    pub fn speaks_native(&self) -> bool {
        self.protocol_max >= Versions::NATIVE_BASE
    }
}

/// One member, copied out of the table for display, events and RPC.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its name, unique in the cluster.
    pub name: NodeName,
    /// Where it receives gossip (UDP and TCP).
    pub addr: SocketAddr,
    /// Its tags, encoded.
    pub meta: Meta,
    /// What Serf says about it.
    pub status: Status,
    /// The protocols it understands and speaks.
    pub versions: Versions,
    /// How often it has restated that it is alive.
    pub incarnation: Incarnation,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_words_round_trip() {
        for s in ["alive", "leaving", "left", "failed"] {
            assert_eq!(s.parse::<Status>().unwrap().as_str(), s);
        }
        assert!("Alive".parse::<Status>().is_err());
    }
}
