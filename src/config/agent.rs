//! The one validated, immutable [`AgentConfig`], and how it is loaded.

use super::encryption::KeySource;
use super::error::ConfigError;
use super::files;
use super::flags::Flags;
use super::handlers::EventScript;
use super::raw::RawConfig;
use super::validate::validate;
use crate::membership::Profile;
use crate::model::{NodeName, Tags};
use crate::telemetry::{Facility, Format};
use crate::wire::label::Label;
use log::LevelFilter;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// The port of gossip, UDP and TCP.
pub const DEFAULT_BIND_PORT: u16 = 7946;
/// The port of the control protocol.
pub const DEFAULT_RPC_PORT: u16 = 7373;
/// Permissions of the control socket: its owner alone.
pub const DEFAULT_RPC_SOCKET_MODE: u32 = 0o600;
/// With `validate_node_names`, the longest name in characters (Serf's `MaxNodeNameLength`).
pub const MAX_VALIDATED_NAME_LEN: usize = crate::model::MAX_PLAIN_NAME_LEN;

/// Everything an agent needs to know to start. Checked, and never changed afterwards.
#[derive(Clone, Debug, PartialEq)]
pub struct AgentConfig {
    /// Name of this member.
    pub node_name: NodeName,
    /// Where gossip listens, UDP and TCP. Port 0 lets the system choose.
    pub bind: SocketAddr,
    /// What others are told instead of `bind`.
    pub advertise: Option<SocketAddr>,
    /// Interface whose address is used where `bind` is unspecified, and which must have the
    /// address of `bind` otherwise.
    pub interface: Option<String>,
    /// Where the control protocol listens.
    pub rpc_addr: RpcAddress,
    /// Token that RPC clients must present. There is no flag for it: it would show in `ps`.
    pub rpc_auth: Option<String>,
    /// Keys of all gossip.
    pub keys: KeySource,
    /// With keys: whether gossip that is not encrypted is refused.
    pub encrypt_verify_incoming: bool,
    /// With keys: whether what is sent is encrypted.
    pub encrypt_verify_outgoing: bool,
    /// Which cluster this member belongs to; gossip of others is refused.
    pub label: Label,
    /// Tags of this member; they fit into an `Alive` message.
    pub tags: Tags,
    /// Keeps the tags that were changed at run time. Excludes configured tags.
    pub tags_file: Option<PathBuf>,
    /// Timers.
    pub profile: Profile,
    /// Serf protocol asked for, within what we accept. We speak 5 whatever it is.
    pub protocol: u8,
    /// Least severe log lines to print.
    pub log_level: LevelFilter,
    /// How standard output shows log lines.
    pub log_format: Format,
    /// Whether log lines go to syslog as well.
    pub enable_syslog: bool,
    /// Where syslog files them.
    pub syslog_facility: Facility,
    /// Members to join when starting, as written; names are resolved when they are joined.
    pub start_join: Vec<String>,
    /// Whether user events of before that join are heard.
    pub replay_on_join: bool,
    /// Members to join when starting, for as long as it takes.
    pub retry_join: Vec<String>,
    /// Time between attempts to join these; 1 s or more.
    pub retry_interval: Duration,
    /// How many attempts may fail before the agent gives up and exits; 0 is any number.
    pub retry_max_attempts: u64,
    /// Keeps known members and Lamport times across restarts.
    pub snapshot_path: Option<PathBuf>,
    /// Whether the members in the snapshot are rejoined even after a graceful leave.
    pub rejoin_after_leave: bool,
    /// Name of a cluster whose members find each other by mDNS.
    pub discover: Option<String>,
    /// How they do.
    pub mdns: MdnsConfig,
    /// Time between attempts to reach one failed member.
    pub reconnect_interval: Duration,
    /// How long a failed member is kept before it is forgotten.
    pub reconnect_timeout: Duration,
    /// How long a member that left is remembered.
    pub tombstone_timeout: Duration,
    /// Whether this agent takes no part in network coordinates.
    pub disable_coordinates: bool,
    /// Whether a conflict about this agent's name never ends this agent.
    pub disable_name_resolution: bool,
    /// Whether names of members may only have letters, digits, dashes and dots, at most 128 of them.
    pub validate_node_names: bool,
    /// Whether what is sent to agents that understand it may be compressed. Ours never need it.
    pub enable_compression: bool,
    /// Whether HashiCorp's agents are refused: only the native dialect is read and spoken.
    pub native_only: bool,
    /// Whether SIGTERM leaves gracefully.
    pub leave_on_terminate: bool,
    /// Whether SIGINT does not.
    pub skip_leave_on_interrupt: bool,
    /// How long leaving and force-leave wait for their news to spread; 1 s or more.
    pub broadcast_timeout: Duration,
    /// Scripts to run when something happens, each a lane of its own.
    pub event_handlers: Vec<EventScript>,
    /// How long a script may run. If none is set, one that handles an event may run for ever, and
    /// one that answers a query until the query's deadline.
    pub handler_timeout: Option<Duration>,
    /// Largest query that is sent, encoded, in bytes.
    pub query_size_limit: usize,
    /// Largest answer to a query, encoded, in bytes.
    pub query_response_size_limit: usize,
    /// Largest name and payload of a user event together, in bytes.
    pub user_event_size_limit: usize,
    /// Where metrics are streamed to, over TCP in statsite's format: `host:port`.
    pub statsite_addr: Option<String>,
    /// Where metrics are sent to, over UDP in statsd's format: `host:port`.
    pub statsd_addr: Option<String>,
    /// Where metrics can be fetched over HTTP in Prometheus' text format.
    pub metrics_addr: Option<SocketAddr>,
}

/// Where the control protocol listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RpcAddress {
    /// Address and port; port 0 lets the system choose.
    Tcp(SocketAddr),
    /// A socket in the file system.
    Unix {
        /// Its path, at most about 80 bytes.
        path: PathBuf,
        /// Its permissions (`rpc_socket_mode`, by default 0600). Whoever may write to it controls
        /// the agent.
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

/// Where multicast discovery speaks and listens.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MdnsConfig {
    /// The interface; that of gossip or else every one if none is named.
    pub interface: Option<String>,
    /// No IPv4.
    pub disable_ipv4: bool,
    /// No IPv6.
    pub disable_ipv6: bool,
}

impl AgentConfig {
    /// Reads the configuration files that the flags name and checks the whole: files in the order of
    /// their flags, then the flags themselves. With the configuration come warnings, one line each.
    ///
    /// To reload, call it again with the same flags.
    pub fn load(flags: &Flags) -> Result<(AgentConfig, Vec<String>), ConfigError> {
        let (mut raw, mut warnings) = (RawConfig::default(), Vec::new());
        files::read(&flags.texts_of_any(&["config-file", "config-dir"]), &mut raw, &mut warnings)?;
        raw.push_flags(flags);
        let config = validate(&raw, &mut warnings)?;
        Ok((config, warnings))
    }
}

#[cfg(test)]
mod tests;
