//! From raw flags to the one validated, immutable [`AgentConfig`].
//!
//! Every check that needs no running agent is made here, so that a wrong setting is refused
//! before anything starts. Looking at interfaces and binding sockets is left to `agent/`.
#![allow(clippy::disallowed_methods)] // Reads the host name from its file.

use super::flags::{Flags, Value};
use super::handlers::{EventScript, EventScriptError};
use super::options::{AGENT, Availability};
use crate::membership::Profile;
use crate::model::{
    AddressError, HostPort, NameError, NodeName, Tags, TagsError, Versions, canonical_ip, format_duration,
};
use crate::telemetry::Format;
use log::LevelFilter;
use std::fmt;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::time::Duration;

/// The port of gossip, UDP and TCP.
pub const DEFAULT_BIND_PORT: u16 = 7946;
/// The port of the control protocol.
pub const DEFAULT_RPC_PORT: u16 = 7373;
/// Permissions of the control socket: its owner alone.
pub const DEFAULT_RPC_SOCKET_MODE: u32 = 0o600;
/// What is broadcast needs a gossip tick or two to get anywhere, so less would always fail.
const MIN_BROADCAST_TIMEOUT: Duration = Duration::from_secs(1);

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
    /// Where syslog files them, such as `LOCAL0`.
    pub syslog_facility: String,
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

/// Why a configuration was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConfigError {
    /// The option exists, but not yet in this version.
    NotInThisVersion(&'static str),
    /// No host name could be read and no `-node` was given.
    NoHostName,
    /// The node name cannot be used.
    Name(NameError),
    /// An address cannot be read.
    Address {
        /// Which of them.
        option: &'static str,
        /// Why.
        error: AddressError,
    },
    /// An address is a name that does not resolve.
    Unresolved {
        /// Which of them.
        option: &'static str,
        /// The name.
        host: String,
        /// What the resolver said.
        reason: String,
    },
    /// Nobody could reach what would be advertised.
    AdvertiseUnspecified(SocketAddr),
    /// A tag cannot be read, or they do not fit.
    Tags(TagsError),
    /// Not a profile.
    Profile(String),
    /// Not a log level.
    LogLevel(String),
    /// Not a Serf protocol that we accept.
    Protocol(i64),
    /// An event handler that hears of nothing that exists.
    EventScript(EventScriptError),
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ConfigError::NotInThisVersion(option) => {
                write!(f, "-{option} is not supported in this version of serf")
            }
            ConfigError::NoHostName => write!(f, "Error determining hostname: this host has none; use -node"),
            ConfigError::Name(e) => write!(f, "Invalid node name: {e}"),
            ConfigError::Address { option, error } => write!(f, "Invalid {option} address: {error}"),
            ConfigError::Unresolved { option, host, reason } => {
                write!(f, "Invalid {option} address: cannot resolve '{host}': {reason}")
            }
            ConfigError::AdvertiseUnspecified(addr) => {
                write!(f, "Invalid advertise address: nobody can reach {addr}")
            }
            ConfigError::Tags(e) => write!(f, "Error: {e}"),
            ConfigError::Profile(e) => f.write_str(e),
            ConfigError::LogLevel(s) => {
                write!(f, "Invalid log level: {s}. Valid log levels are: [TRACE DEBUG INFO WARN ERR]")
            }
            ConfigError::EventScript(e) => write!(f, "{e}"),
            ConfigError::Protocol(n) => write!(
                f,
                "Protocol version '{n}' too {}. Must be in range: [{}, {}]",
                if *n < i64::from(Versions::SERF_PROTOCOL_MIN) { "low" } else { "high" },
                Versions::SERF_PROTOCOL_MIN,
                Versions::SERF_PROTOCOL_MAX
            ),
        }
    }
}

impl std::error::Error for ConfigError {}

impl AgentConfig {
    /// Checks the flags of `serf agent`. With the configuration come warnings, one line each.
    pub fn from_flags(flags: &Flags) -> Result<(AgentConfig, Vec<String>), ConfigError> {
        refuse_what_is_missing(flags)?;
        let mut warnings = Vec::new();

        let bind = listen_address("bind", flags.text("bind").unwrap_or("0.0.0.0"), DEFAULT_BIND_PORT)?;
        let advertise =
            flags.text("advertise").map(|text| advertise_address(text, bind.port())).transpose()?;
        let rpc_addr = rpc_address(flags.text("rpc-addr").unwrap_or("127.0.0.1"), DEFAULT_RPC_SOCKET_MODE)?;

        let mut tags = Tags::from_pairs(flags.texts("tag")).map_err(ConfigError::Tags)?;
        if let Some(role) = flags.text("role") {
            warnings.push("Deprecation warning: 'Role' has been replaced with 'Tags'".to_string());
            tags.0.insert("role".to_string(), role.to_string());
        }
        tags.encode().map_err(ConfigError::Tags)?;

        let mut broadcast_timeout = flags.duration("broadcast-timeout").unwrap_or(Duration::from_secs(5));
        if broadcast_timeout < MIN_BROADCAST_TIMEOUT {
            broadcast_timeout = MIN_BROADCAST_TIMEOUT;
            warnings.push(format!(
                "Warning: 'BroadcastTimeout' is too low. Setting to {}",
                format_duration(MIN_BROADCAST_TIMEOUT)
            ));
        }

        let handlers = flags.texts("event-handler");
        let event_handlers = handlers.iter().map(|text| EventScript::parse(text));
        let event_handlers = event_handlers.collect::<Result<_, _>>().map_err(ConfigError::EventScript)?;

        let config = AgentConfig {
            node_name: node_name(flags.text("node"))?,
            bind,
            advertise,
            interface: flags.text("iface").map(str::to_string),
            rpc_addr,
            rpc_auth: None,
            tags,
            tags_file: path(flags.text("tags-file")),
            profile: flags.text("profile").unwrap_or("lan").parse().map_err(ConfigError::Profile)?,
            protocol: protocol(flags.number("protocol"))?,
            log_level: log_level(flags.text("log-level").unwrap_or("info"))?,
            log_format: Format::Serf,
            enable_syslog: flags.switch("syslog"),
            syslog_facility: "LOCAL0".to_string(),
            start_join: flags.texts("join"),
            replay_on_join: flags.switch("replay"),
            retry_join: flags.texts("retry-join"),
            retry_interval: flags.duration("retry-interval").unwrap_or(Duration::from_secs(30)),
            retry_max_attempts: flags.number("retry-max").and_then(|n| u64::try_from(n).ok()).unwrap_or(0),
            snapshot_path: path(flags.text("snapshot")),
            rejoin_after_leave: flags.switch("rejoin"),
            discover: flags.text("discover").map(str::to_string),
            mdns: MdnsConfig {
                interface: flags.text("mdns-iface").map(str::to_string),
                disable_ipv4: flags.switch("mdns-disable-ipv4"),
                disable_ipv6: flags.switch("mdns-disable-ipv6"),
            },
            reconnect_interval: Duration::from_secs(30),
            reconnect_timeout: Duration::from_secs(24 * 3600),
            tombstone_timeout: Duration::from_secs(24 * 3600),
            disable_coordinates: false,
            disable_name_resolution: false,
            validate_node_names: false,
            enable_compression: !flags.switch("disable-compression"),
            leave_on_terminate: false,
            skip_leave_on_interrupt: false,
            broadcast_timeout,
            event_handlers,
            handler_timeout: None,
            query_size_limit: 1024,
            query_response_size_limit: 1024,
            user_event_size_limit: 512,
            statsite_addr: None,
            statsd_addr: None,
            metrics_addr: None,
        };
        Ok((config, warnings))
    }
}

/// An option that does nothing yet is refused rather than ignored. A switch that is set to
/// false asks for nothing and passes.
fn refuse_what_is_missing(flags: &Flags) -> Result<(), ConfigError> {
    let asked = |name| match flags.last(name) {
        None | Some(Value::Switch(false)) => false,
        Some(_) => true,
    };
    match AGENT.options.iter().find(|o| o.availability == Availability::Later && asked(o.name())) {
        Some(option) => Err(ConfigError::NotInThisVersion(option.name())),
        None => Ok(()),
    }
}

fn node_name(given: Option<&str>) -> Result<NodeName, ConfigError> {
    let name = match given {
        Some(name) => name.to_string(),
        None => host_name().ok_or(ConfigError::NoHostName)?,
    };
    NodeName::new(name).map_err(ConfigError::Name)
}

/// The kernel's idea of the host name, or where `/proc` is not mounted that of the file it is
/// set from.
fn host_name() -> Option<String> {
    ["/proc/sys/kernel/hostname", "/etc/hostname"]
        .into_iter()
        .filter_map(|path| std::fs::read_to_string(path).ok())
        .map(|text| text.trim().to_string())
        .find(|name| !name.is_empty())
}

/// An address to listen at. `:port` means every address, as it does in Go.
fn listen_address(option: &'static str, text: &str, default_port: u16) -> Result<SocketAddr, ConfigError> {
    if text.starts_with(':') && !text.starts_with("::") {
        return address(option, &format!("0.0.0.0{text}"), default_port);
    }
    address(option, text, default_port)
}

/// Where the control protocol listens: an address, or `unix:` and a path.
fn rpc_address(text: &str, mode: u32) -> Result<RpcAddress, ConfigError> {
    match text.strip_prefix("unix:") {
        Some("") => Err(ConfigError::Address { option: "rpc-addr", error: AddressError::Empty }),
        Some(path) => Ok(RpcAddress::Unix { path: path.into(), mode }),
        None => listen_address("rpc-addr", text, DEFAULT_RPC_PORT).map(RpcAddress::Tcp),
    }
}

fn path(text: Option<&str>) -> Option<PathBuf> {
    text.map(PathBuf::from)
}

fn advertise_address(text: &str, default_port: u16) -> Result<SocketAddr, ConfigError> {
    let addr = address("advertise", text, default_port)?;
    if addr.ip().is_unspecified() { Err(ConfigError::AdvertiseUnspecified(addr)) } else { Ok(addr) }
}

/// Reads an address; a host name is resolved, IPv4 first as Go does.
fn address(option: &'static str, text: &str, default_port: u16) -> Result<SocketAddr, ConfigError> {
    let host_port =
        HostPort::parse(text, default_port).map_err(|error| ConfigError::Address { option, error })?;
    if let Some(addr) = host_port.literal() {
        return Ok(addr);
    }
    let unresolved =
        |reason: String| ConfigError::Unresolved { option, host: host_port.host.clone(), reason };
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

fn protocol(given: Option<i64>) -> Result<u8, ConfigError> {
    let Some(number) = given else {
        return Ok(Versions::SERF_PROTOCOL_MAX);
    };
    u8::try_from(number)
        .ok()
        .filter(|n| (Versions::SERF_PROTOCOL_MIN..=Versions::SERF_PROTOCOL_MAX).contains(n))
        .ok_or(ConfigError::Protocol(number))
}

fn log_level(text: &str) -> Result<LevelFilter, ConfigError> {
    match text.to_ascii_lowercase().as_str() {
        "trace" => Ok(LevelFilter::Trace),
        "debug" => Ok(LevelFilter::Debug),
        "info" => Ok(LevelFilter::Info),
        "warn" => Ok(LevelFilter::Warn),
        "err" => Ok(LevelFilter::Error),
        _ => Err(ConfigError::LogLevel(text.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::flags::{Parsed, parse};
    use crate::config::options::Kind;
    use proptest::prelude::*;

    fn build(arguments: &[&str]) -> Result<(AgentConfig, Vec<String>), ConfigError> {
        let mut all = vec!["-node=n".into()];
        all.extend(arguments.iter().map(Into::into));
        match parse(&AGENT, all) {
            Ok(Parsed::Run(flags)) => AgentConfig::from_flags(&flags),
            other => panic!("{arguments:?}: {other:?}"),
        }
    }

    fn config(arguments: &[&str]) -> AgentConfig {
        build(arguments).unwrap().0
    }

    fn refusal(arguments: &[&str]) -> String {
        build(arguments).unwrap_err().to_string()
    }

    #[test]
    fn defaults_are_those_of_serf() {
        let expected = AgentConfig {
            node_name: NodeName::new("n").unwrap(),
            bind: "0.0.0.0:7946".parse().unwrap(),
            advertise: None,
            interface: None,
            rpc_addr: RpcAddress::Tcp("127.0.0.1:7373".parse().unwrap()),
            rpc_auth: None,
            tags: Tags::default(),
            tags_file: None,
            profile: Profile::Lan,
            protocol: 5,
            log_level: LevelFilter::Info,
            log_format: Format::Serf,
            enable_syslog: false,
            syslog_facility: "LOCAL0".to_string(),
            start_join: vec![],
            replay_on_join: false,
            retry_join: vec![],
            retry_interval: Duration::from_secs(30),
            retry_max_attempts: 0,
            snapshot_path: None,
            rejoin_after_leave: false,
            discover: None,
            mdns: MdnsConfig::default(),
            reconnect_interval: Duration::from_secs(30),
            reconnect_timeout: Duration::from_secs(24 * 3600),
            tombstone_timeout: Duration::from_secs(24 * 3600),
            disable_coordinates: false,
            disable_name_resolution: false,
            validate_node_names: false,
            enable_compression: true,
            leave_on_terminate: false,
            skip_leave_on_interrupt: false,
            broadcast_timeout: Duration::from_secs(5),
            event_handlers: vec![],
            handler_timeout: None,
            query_size_limit: 1024,
            query_response_size_limit: 1024,
            user_event_size_limit: 512,
            statsite_addr: None,
            statsd_addr: None,
            metrics_addr: None,
        };
        assert_eq!(build(&[]), Ok((expected.clone(), vec![])));
        // An empty text is the same as no flag.
        let empty = ["-bind=", "-advertise=", "-profile=", "-log-level=", "-rpc-addr=", "-role=", "-iface="];
        assert_eq!(build(&empty), Ok((expected, vec![])));
    }

    #[test]
    fn the_host_name_is_the_default_name() {
        let (config, _) = AgentConfig::from_flags(&Flags::default()).unwrap();
        assert_eq!(Some(config.node_name.as_str().to_string()), host_name());
    }

    #[test]
    fn every_way_to_write_an_address() {
        for (text, addr) in [
            ("127.0.0.1", "127.0.0.1:7946"),
            ("127.0.0.1:80", "127.0.0.1:80"),
            ("127.0.0.1:0", "127.0.0.1:0"),
            ("[::1]:80", "[::1]:80"),
            ("[::1]", "[::1]:7946"),
            ("::1", "[::1]:7946"),
            ("::", "[::]:7946"),
            (":80", "0.0.0.0:80"),
            ("localhost:80", "127.0.0.1:80"),
            ("::ffff:127.0.0.1", "127.0.0.1:7946"),
        ] {
            assert_eq!(config(&["-bind", text]).bind, addr.parse().unwrap(), "{text}");
        }
        assert_eq!(config(&["-rpc-addr=[::1]:9"]).rpc_addr, RpcAddress::Tcp("[::1]:9".parse().unwrap()));
        assert_eq!(
            config(&["-rpc-addr=127.0.0.9"]).rpc_addr,
            RpcAddress::Tcp("127.0.0.9:7373".parse().unwrap())
        );
        assert_eq!(
            refusal(&["-bind=1.2.3.4:99999"]),
            "Invalid bind address: '1.2.3.4:99999' has no valid port (expected 0 to 65535)"
        );
        assert!(refusal(&["-rpc-addr=[::1"]).starts_with("Invalid rpc-addr address: "));
        assert_eq!(
            refusal(&["-bind=foo:bar:baz"]),
            "Invalid bind address: cannot resolve 'foo:bar:baz': it is neither an address nor a host name"
        );
    }

    #[test]
    fn the_advertised_port_is_that_of_bind() {
        let given = config(&["-bind=127.0.0.1:80", "-advertise=10.0.0.1"]);
        assert_eq!(given.advertise, Some("10.0.0.1:80".parse().unwrap()));
        assert_eq!(config(&["-advertise=[fe::1]:7"]).advertise, Some("[fe::1]:7".parse().unwrap()));
        assert_eq!(
            refusal(&["-advertise=0.0.0.0"]),
            "Invalid advertise address: nobody can reach 0.0.0.0:7946"
        );
    }

    #[test]
    fn tags_and_role() {
        let (given, warnings) = build(&["-tag", "a=1", "-tag=b=x=y", "-role=web", "-tag=role=db"]).unwrap();
        assert_eq!(given.tags.to_string(), "a=1,b=x=y,role=web");
        assert_eq!(warnings, ["Deprecation warning: 'Role' has been replaced with 'Tags'"]);
        assert_eq!(refusal(&["-tag=foo"]), "Error: Invalid tag: 'foo' (expected key=value)");
        assert_eq!(refusal(&["-tag="]), "Error: Invalid tag: '' (expected key=value)");
        assert!(refusal(&["-tag", &format!("a={}", "x".repeat(512))]).contains("512 bytes"));
        // The role counts too.
        assert!(refusal(&["-role", &"x".repeat(512)]).contains("512 bytes"));
    }

    #[test]
    fn levels_profiles_and_protocols() {
        for (text, level) in [
            ("trace", LevelFilter::Trace),
            ("DEBUG", LevelFilter::Debug),
            ("Info", LevelFilter::Info),
            ("warn", LevelFilter::Warn),
            ("ERR", LevelFilter::Error),
        ] {
            assert_eq!(config(&["-log-level", text]).log_level, level);
        }
        assert_eq!(
            refusal(&["-log-level=error"]),
            "Invalid log level: error. Valid log levels are: [TRACE DEBUG INFO WARN ERR]"
        );
        assert_eq!(config(&["-profile=wan"]).profile, Profile::Wan);
        assert_eq!(refusal(&["-profile=xx"]), "Unknown profile: xx (expected lan, wan or local)");
        for n in 2..=5 {
            assert_eq!(config(&[&format!("-protocol={n}")]).protocol, n);
        }
        assert_eq!(refusal(&["-protocol=6"]), "Protocol version '6' too high. Must be in range: [2, 5]");
        assert_eq!(refusal(&["-protocol=1"]), "Protocol version '1' too low. Must be in range: [2, 5]");
        assert_eq!(refusal(&["-protocol=-1"]), "Protocol version '-1' too low. Must be in range: [2, 5]");
        assert_eq!(refusal(&["-protocol=258"]), "Protocol version '258' too high. Must be in range: [2, 5]");
    }

    #[test]
    fn the_rest_arrives() {
        let given = config(&["-join=a", "-join", "b:1", "-replay", "-iface=eth0", "-broadcast-timeout=7s"]);
        assert_eq!(given.start_join, ["a", "b:1"]);
        assert!(given.replay_on_join);
        assert_eq!(given.interface.as_deref(), Some("eth0"));
        assert_eq!(given.broadcast_timeout, Duration::from_secs(7));
        assert!(config(&[]).enable_compression && !config(&["-disable-compression"]).enable_compression);
        assert!(refusal(&["-node", &"x".repeat(300)]).starts_with("Invalid node name: "));
    }

    #[test]
    fn handlers_keep_their_order() {
        let given =
            config(&["-event-handler=member-join=a", "-event-handler", "b", "--event-handler=user:x=c=d"]);
        let scripts: Vec<_> = given.event_handlers.iter().map(|handler| handler.script.as_str()).collect();
        assert_eq!(scripts, ["a", "b", "c=d"]);
        assert!(
            refusal(&["-event-handler=join=a"])
                .starts_with("Invalid event script: Event 'join' invoking 'a'")
        );
    }

    #[test]
    fn a_broadcast_timeout_that_is_too_low_is_raised() {
        let (given, warnings) = build(&["-broadcast-timeout=10ms"]).unwrap();
        assert_eq!(given.broadcast_timeout, Duration::from_secs(1));
        assert_eq!(warnings, ["Warning: 'BroadcastTimeout' is too low. Setting to 1s"]);
    }

    #[test]
    fn nothing_that_is_missing_is_ignored_in_silence() {
        for option in AGENT.options.iter().filter(|o| o.availability == Availability::Later) {
            let name = option.name();
            let argument = match option.kind {
                Kind::Switch => format!("-{name}"),
                Kind::Text => format!("-{name}=x"),
                Kind::Number => format!("-{name}=3"),
                Kind::Duration => format!("-{name}=30s"),
            };
            assert_eq!(refusal(&[&argument]), format!("-{name} is not supported in this version of serf"));
            if option.kind == Kind::Switch {
                assert_eq!(config(&[&format!("-{name}=false")]), config(&[]));
            }
        }
    }

    proptest! {
        #[test]
        fn no_flags_panic(
            texts in proptest::collection::vec("[a-z0-9:.=\\[\\]-]{0,10}", 8),
            protocol in any::<i64>(),
        ) {
            // Nothing that could be a host name: a property does not wait for a resolver.
            let numeric = |t: &String| t.replace(|c: char| c.is_ascii_alphabetic(), "");
            let arguments = vec![
                format!("-node={}", texts[0]).into(),
                format!("-bind=127.0.0.1:{}", numeric(&texts[1])).into(),
                format!("-advertise=[:{}]", numeric(&texts[2])).into(),
                format!("-tag={}", texts[3]).into(),
                format!("-role={}", texts[4]).into(),
                format!("-profile={}", texts[5]).into(),
                format!("-log-level={}", texts[6]).into(),
                format!("-protocol={protocol}").into(),
            ];
            if let Ok(Parsed::Run(flags)) = parse(&AGENT, arguments) {
                let _ = AgentConfig::from_flags(&flags);
            }
        }
    }
}
