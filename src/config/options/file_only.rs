//! Rows of the table for what an agent can be told in a configuration file and nowhere else.

use super::{Kind, OptionSpec};

const fn switch(key: &'static str, help: &'static str) -> OptionSpec {
    OptionSpec::switch("", help).key(key).default("false")
}

const fn text(key: &'static str, placeholder: &'static str, help: &'static str) -> OptionSpec {
    OptionSpec::text("", placeholder, help).key(key)
}

const fn bytes(key: &'static str, default: &'static str, help: &'static str) -> OptionSpec {
    OptionSpec::new(Kind::Number, "", "bytes", help).key(key).default(default)
}

const fn duration(key: &'static str, default: &'static str, help: &'static str) -> OptionSpec {
    OptionSpec::duration("", help).key(key).default(default)
}

/// Settings of `serf agent` without a flag, by key.
pub const FILE_ONLY: &[OptionSpec] = &[
    switch("disable_coordinates", "Take no part in network coordinates."),
    switch(
        "disable_name_resolution",
        "When another member has the same name, only log it, and do not let the cluster vote on who has to go.",
    ),
    switch(
        "enable_compression",
        "Accepted for compatibility. As with Serf, -disable-compression alone decides.",
    )
    .default("true"),
    text("encrypt_key_file", "path", "File with the key that encrypts all gossip, in base64."),
    switch(
        "encrypt_verify_incoming",
        "Refuse gossip that is not encrypted. Set it to false while encryption is being turned on in a running \
         cluster.",
    )
    .default("true"),
    switch(
        "encrypt_verify_outgoing",
        "Encrypt what is sent. Set it to false while members that have no key yet are in the cluster.",
    )
    .default("true"),
    duration(
        "handler_timeout",
        "",
        "How long an event handler may run before it is ended. Without it one that handles an event may run \
         for ever, and one that answers a query until the query's deadline.",
    ),
    switch("leave_on_terminate", "Leave the cluster on SIGTERM too, and not only on SIGINT."),
    text("log_format", "serf|json", "How log lines look: as Serf's, or one JSON object each.")
        .default("serf"),
    text("metrics_addr", "addr:port", "Address to serve metrics at, over HTTP in Prometheus' text format."),
    bytes(
        "query_response_size_limit",
        "1024",
        "Largest answer to a query in bytes, encoded. 1 to 65536; beyond a datagram's size it may not arrive.",
    ),
    bytes("query_size_limit", "1024", "Largest query to send in bytes, encoded. 1 to 65536."),
    duration("reconnect_interval", "30s", "Time between attempts to reach a failed member. At least 1s."),
    duration("reconnect_timeout", "24h", "How long a failed member is kept before it is forgotten."),
    text("rpc_auth", "token", "Token that RPC clients must present.").secret(),
    text(
        "rpc_socket_mode",
        "octal",
        "Permissions of the control socket if rpc_addr is 'unix:' and a path. Whoever may write to it \
         controls the agent.",
    )
    .default("0600"),
    switch("skip_leave_on_interrupt", "Do not leave the cluster on SIGINT; just stop."),
    text("statsd_addr", "host:port", "Where to send metrics over UDP, in statsd's format."),
    text("statsite_addr", "host:port", "Where to stream metrics over TCP, in statsite's format."),
    text("syslog_facility", "name", "Where syslog files what enable_syslog sends it.").default("LOCAL0"),
    duration("tombstone_timeout", "24h", "How long a member that left is remembered."),
    bytes(
        "user_event_size_limit",
        "512",
        "Largest name and payload of a user event together, in bytes. 1 to 9216.",
    ),
    switch(
        "validate_node_names",
        "Refuse names of members with other characters than letters, digits, dashes and dots, or with more \
         than 128 of them.",
    ),
];
