//! The one table of an agent's settings: those with a flag, then those that only files have.
//!
//! # To add a setting
//!
//! 1. **A row here**: flag or none, key, kind, default, limits, help, and `reloadable()` if a reload
//!    of the configuration applies it. A setting with a flag goes into `FLAGS`, one without into
//!    [`FILE_ONLY`].
//! 2. **A field in `config/agent.rs`** with the name of the key. Its type says how the value is
//!    read: `bool`, `usize`, `Duration`, `Option<Duration>`, `Option<String>`, `Vec<String>` and the
//!    others in `config/reading.rs`. One that does not fit the row does not compile.
//! 3. **The place that uses it.** Where a thread keeps a copy of a reloadable setting,
//!    `agent/reload.rs` sends it the new value.
//!
//! Parsing, limits and their messages, the effect of a reload, `-h` and the reference follow from the
//! row, and so do the tests that go over all rows. `SERF_UPDATE_README=1 cargo test --test reference`
//! writes the reference.

use super::spec::{CommandSpec, DefaultValue, Limits, Operands, OptionSpec};
use crate::membership::Config;
use crate::model::Versions;
use crate::wire::label::Label;
use std::time::Duration;

/// The port of gossip, UDP and TCP.
const BIND_PORT: u16 = 7946;
/// The port of the control protocol.
pub(crate) const RPC_PORT: u16 = 7373;
/// Least time that news gets to spread: it needs a gossip tick or two to get anywhere, so less would
/// always fail.
const MIN_BROADCAST_TIMEOUT: Duration = Duration::from_secs(1);
/// Least time between attempts to reach a member (Serf's `minRetryInterval`): more attempts are a
/// burden, and bring nobody back sooner.
const MIN_RETRY_INTERVAL: Duration = Duration::from_secs(1);
/// Serf's hard limit on user events, in bytes.
const MAX_USER_EVENT_SIZE: i64 = 9 * 1024;
/// Largest query or answer that may be configured, in bytes: no datagram holds more.
const MAX_QUERY_SIZE: i64 = 64 * 1024;
/// How long members that are gone are listed. However short it is, what is stale about them is
/// recognised for longer (`membership/forgotten.rs`).
const LISTED: Duration = Duration::from_secs(24 * 3600);

/// `serf agent`.
pub const AGENT: CommandSpec = CommandSpec {
    name: "agent",
    arguments: "[options]",
    operands: Operands::Others,
    synopsis: "Runs a Serf agent",
    about: "Makes this host a member of a cluster. The agent runs until it is interrupted (it then leaves the \
            cluster), terminated, or asked to leave over RPC.",
    options: FLAGS,
};

/// What `serf agent` has a flag for, in the order of `-h`.
const FLAGS: &[OptionSpec] = &[
    OptionSpec::listen(
        "--bind",
        Some(BIND_PORT),
        "Address for gossip, UDP and TCP. An IPv6 address with a port needs brackets: [::1]:7946. With 0.0.0.0 \
         a private address of this host is found and advertised.",
    )
    .keyed("bind")
    .default(DefaultValue::Text("0.0.0.0")),
    OptionSpec::text(
        "--iface",
        "name",
        "Network interface to bind to, for when its name is known and its address is not. Together with \
         -bind, the interface must have that address.",
    )
    .keyed("interface"),
    OptionSpec::text("--mdns-iface", "name", "Network interface for mDNS, if another one than -iface.")
        .keyed("mdns.interface"),
    OptionSpec::switch("--mdns-disable-ipv4", "No mDNS over IPv4.").keyed("mdns.disable_ipv4"),
    OptionSpec::switch("--mdns-disable-ipv6", "No mDNS over IPv6.").keyed("mdns.disable_ipv6"),
    OptionSpec::text(
        "--advertise",
        "addr[:port]",
        "Address at which others are to reach this agent, when it is not the one it binds to. The port \
         is that of -bind if none is given.",
    )
    .keyed("advertise"),
    OptionSpec::path(
        "--config-file",
        "JSON file with settings. Of two files the later one wins, and flags win over all.",
    )
    .repeatable(),
    OptionSpec::path("--config-dir", "Directory whose *.json files are read, in alphabetical order.")
        .repeatable(),
    OptionSpec::switch(
        "--check-config",
        "Check the flags and the configuration files, say what is wrong with them, and start nothing.",
    ),
    OptionSpec::text("--discover", "cluster", "Find members of this cluster by mDNS and join them.")
        .keyed("discover"),
    OptionSpec::text(
        "--encrypt",
        "key",
        "Key that encrypts all gossip, in base64 (see 'serf keygen'). SERF_ENCRYPT_KEY in the environment and \
         encrypt_key_file in a configuration file do the same, and do not show in the process list.",
    )
    .keyed("encrypt_key")
    .secret(),
    OptionSpec::path("--keyring-file", "File that keeps the encryption keys across restarts.")
        .keyed("keyring_file"),
    OptionSpec::text(
        "--event-handler",
        "[filter=]script",
        "Script to run when something happens. A filter (member-join, user:deploy, query:load, …) names \
         what it wants to hear of; without one it hears of everything.",
    )
    .repeatable()
    .keyed("event_handlers")
    .reloadable(),
    OptionSpec::members("--join", "Member to join when starting. If none can be joined, the agent gives up.")
        .keyed("start_join"),
    OptionSpec::text(
        "--label",
        "text",
        "Name of the cluster. Members with different labels, or without one, never join each other. No \
         secret: it is sent in the clear.",
    )
    .keyed("label")
    .default(DefaultValue::Text(""))
    .limits(Limits::Length(Label::MAX_LEN)),
    OptionSpec::choice(
        "--log-level",
        &["trace", "debug", "info", "warn", "err"],
        "Least severe lines to log: trace, debug, info, warn or err.",
    )
    .shown_as("level")
    .keyed("log_level")
    .default(DefaultValue::Text("info"))
    .reloadable(),
    OptionSpec::text("--node", "name", "Name of this member, unique in the cluster.")
        .keyed("node_name")
        .default(DefaultValue::Words("the host name")),
    OptionSpec::choice(
        "--profile",
        &["lan", "wan", "local"],
        "Timers that suit the network between the members.",
    )
    .keyed("profile")
    .default(DefaultValue::Text("lan")),
    OptionSpec::number("--protocol", "Serf protocol version. This agent speaks 5 with all of them.")
        .keyed("protocol")
        .default(DefaultValue::Number(Versions::SERF_PROTOCOL_MAX as i64))
        .limits(Limits::Between(Versions::SERF_PROTOCOL_MIN as i64, Versions::SERF_PROTOCOL_MAX as i64)),
    OptionSpec::switch(
        "--rejoin",
        "Rejoin the members in the snapshot even after having left. Needs -snapshot.",
    )
    .keyed("rejoin_after_leave"),
    OptionSpec::members("--retry-join", "Like -join, but keeps trying instead of giving up.")
        .keyed("retry_join")
        .reloadable(),
    OptionSpec::duration("--retry-interval", "Time between attempts of -retry-join.")
        .keyed("retry_interval")
        .default(DefaultValue::Duration(Duration::from_secs(30)))
        .limits(Limits::AtLeast(MIN_RETRY_INTERVAL)),
    OptionSpec::number("--retry-max", "Attempts of -retry-join before the agent gives up; 0 means never.")
        .keyed("retry_max_attempts")
        .default(DefaultValue::Number(0))
        // As with Serf, a number below zero never gives up either.
        .limits(Limits::NotBelow(0)),
    OptionSpec::switch(
        "--disable-compression",
        "Send nothing compressed. Only what HashiCorp's agents are sent is compressed at all; what others \
         compressed is always understood.",
    ),
    OptionSpec::switch(
        "--native-only",
        "Refuse HashiCorp's agents: read and speak nothing but the dialect of our own. Set it on every member \
         of a cluster or on none.",
    )
    .keyed("native_only"),
    OptionSpec::text("--role", "name", "Old form of '-tag role=name'.").keyed("role").reloadable(),
    OptionSpec::listen("--rpc-addr", Some(RPC_PORT), "Address for the control protocol.")
        .shown_as("addr:port")
        .keyed("rpc_addr")
        .default(DefaultValue::Text("127.0.0.1")),
    OptionSpec::path("--snapshot", "File that keeps known members and event times across restarts.")
        .keyed("snapshot_path"),
    OptionSpec::pair("--tag", "Tag to describe this member with. All of them take at most 512 bytes, encoded.")
        .keyed("tags")
        .reloadable(),
    OptionSpec::path("--tags-file", "File that keeps tags that were changed while running. Excludes -tag.")
        .keyed("tags_file"),
    OptionSpec::switch("--syslog", "Log to syslog as well.").keyed("enable_syslog"),
    OptionSpec::duration(
        "--broadcast-timeout",
        "How long leaving, force-leave and key changes wait for their news to spread.",
    )
    .keyed("broadcast_timeout")
    .default(DefaultValue::Duration(Duration::from_secs(5)))
    .limits(Limits::AtLeast(MIN_BROADCAST_TIMEOUT))
    .reloadable(),
    OptionSpec::switch("--replay", "With -join: also hear the user events of before the join.")
        .keyed("replay_on_join"),
];

/// Settings of `serf agent` without a flag, by key.
pub(crate) const FILE_ONLY: &[OptionSpec] = &[
    OptionSpec::duration(
        "",
        "How long a member may refuse connections until it counts as failed, if several members see it; 0 means \
         that refusing counts as being silent does.",
    )
    .keyed("crash_patience")
    .default(DefaultValue::Duration(Config::CRASH_PATIENCE))
    .zero_counts(),
    OptionSpec::switch("", "Take no part in network coordinates.").keyed("disable_coordinates"),
    OptionSpec::switch(
        "",
        "When another member has the same name, only log it, and do not let the cluster vote on which has to go.",
    )
    .keyed("disable_name_resolution"),
    OptionSpec::switch(
        "",
        "Accepted for compatibility. As with Serf, -disable-compression alone decides.",
    )
    .keyed("enable_compression")
    .default(DefaultValue::On),
    OptionSpec::path("", "File with the key that encrypts all gossip, in base64.").keyed("encrypt_key_file"),
    OptionSpec::switch(
        "",
        "Refuse gossip that is not encrypted. Set it to false while encryption is being turned on in a running \
         cluster.",
    )
    .keyed("encrypt_verify_incoming")
    .default(DefaultValue::On),
    OptionSpec::switch(
        "",
        "Encrypt what is sent. Set it to false while members that have no key yet are in the cluster.",
    )
    .keyed("encrypt_verify_outgoing")
    .default(DefaultValue::On),
    OptionSpec::duration(
        "",
        "How long an event handler may run before it is ended. Without it one that handles an event may run \
         for ever, and one that answers a query until the query's deadline.",
    )
    .keyed("handler_timeout"),
    OptionSpec::switch("", "Leave the cluster on SIGTERM too, and not only on SIGINT.")
        .keyed("leave_on_terminate")
        .reloadable(),
    OptionSpec::choice("", &["serf", "json"], "How log lines look: as Serf's, or one JSON object each.")
        .keyed("log_format")
        .default(DefaultValue::Text("serf")),
    OptionSpec::listen("", None, "Address to serve metrics at, over HTTP in Prometheus' text format.")
        .keyed("metrics_addr"),
    OptionSpec::size(
        "",
        "Largest answer to a query in bytes, encoded; beyond a datagram's size it may not arrive.",
    )
    .keyed("query_response_size_limit")
    .default(DefaultValue::Number(1024))
    .limits(Limits::Between(1, MAX_QUERY_SIZE)),
    OptionSpec::size("", "Largest query to send in bytes, encoded.")
        .keyed("query_size_limit")
        .default(DefaultValue::Number(1024))
        .limits(Limits::Between(1, MAX_QUERY_SIZE)),
    OptionSpec::duration("", "Time between attempts to reach a failed member.")
        .keyed("reconnect_interval")
        .default(DefaultValue::Duration(Duration::from_secs(30)))
        .limits(Limits::AtLeast(MIN_RETRY_INTERVAL)),
    OptionSpec::duration("", "How long a failed member is kept before it is forgotten.")
        .keyed("reconnect_timeout")
        .default(DefaultValue::Duration(LISTED)),
    OptionSpec::text("", "token", "Token that RPC clients must present.")
        .keyed("rpc_auth")
        .secret()
        .reloadable(),
    OptionSpec::text(
        "",
        "octal",
        "Permissions of the control socket if rpc_addr is 'unix:' and a path. Anyone who may write to it \
         controls the agent.",
    )
    .keyed("rpc_socket_mode")
    // The owner alone.
    .default(DefaultValue::Text("0600")),
    OptionSpec::switch("", "Do not leave the cluster on SIGINT; just stop.")
        .keyed("skip_leave_on_interrupt")
        .reloadable(),
    OptionSpec::host_port("", "Where to send metrics over UDP, in statsd's format.").keyed("statsd_addr"),
    OptionSpec::host_port("", "Where to stream metrics over TCP, in statsite's format.").keyed("statsite_addr"),
    OptionSpec::text("", "name", "Where syslog files what enable_syslog sends it.")
        .keyed("syslog_facility")
        .default(DefaultValue::Text("LOCAL0")),
    OptionSpec::duration("", "How long a member that left is remembered.")
        .keyed("tombstone_timeout")
        .default(DefaultValue::Duration(LISTED)),
    OptionSpec::size("", "Largest user event, in bytes, encoded as it is for HashiCorp's agents.")
        .keyed("user_event_size_limit")
        .default(DefaultValue::Number(512))
        .limits(Limits::Between(1, MAX_USER_EVENT_SIZE)),
    OptionSpec::switch(
        "",
        "Refuse names of members with other characters than letters, digits, dashes and dots, or with more \
         than 128 of them.",
    )
    .keyed("validate_node_names"),
];

/// Every setting of an agent that a configuration file can have: those with a flag, then the others.
pub fn settings() -> impl Iterator<Item = &'static OptionSpec> {
    FLAGS.iter().filter(|option| option.key.is_some()).chain(FILE_ONLY)
}

/// The row of this key. Asked by the compiler (`const { row("bind") }`), so that a key without a row
/// does not compile.
pub(crate) const fn row(key: &str) -> &'static OptionSpec {
    match (find(FLAGS, key), find(FILE_ONLY, key)) {
        (Some(row), _) | (None, Some(row)) => row,
        (None, None) => panic!("no setting has this key"),
    }
}

const fn find(rows: &'static [OptionSpec], key: &str) -> Option<&'static OptionSpec> {
    let mut i = 0;
    while i < rows.len() {
        match rows[i].key {
            Some(found) if equal(found.as_bytes(), key.as_bytes()) => return Some(&rows[i]),
            _ => i += 1,
        }
    }
    None
}

const fn equal(one: &[u8], other: &[u8]) -> bool {
    let mut i = 0;
    while i < one.len() && i < other.len() && one[i] == other[i] {
        i += 1;
    }
    i == one.len() && i == other.len()
}
