//! The one validated, immutable [`AgentConfig`]: its fields, how it is loaded, and what of it a reload
//! of the configuration changes.

use super::addresses::RpcAddress;
use super::encryption::{KeySource, key_source, key_variable};
use super::error::ConfigError;
use super::files;
use super::flags::Flags;
use super::handlers::EventScript;
use super::options::{OptionSpec, row};
use super::raw::RawConfig;
use super::reading::{FromRow, SettingReader};
use super::relations::{
    MdnsConfig, advertise, mdns, members_to_join, node_name, protocol, rpc_addr, snapshot_path,
    syslog_facility, tags,
};
use super::reload::Changes;
use crate::membership::Profile;
use crate::model::{NodeName, Tags};
use crate::telemetry::{Facility, Format};
use crate::wire::label::Label;
use log::LevelFilter;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// Declares the configuration, how it is read, and how a reload goes through it, so that one line is
/// all that a setting needs here.
///
/// The name of a field is the key of its row in the option table; where several settings make one
/// field, `as` names the one that stands for them. A field is read by its type ([`FromRow`]), in the
/// order in which the fields stand, or by the expression after `=`, which may use the fields before it.
macro_rules! agent_config {
    (
        $(#[$about:meta])*
        pub struct $config:ident, read by $reader:ident {
            $(
                $(#[$doc:meta])*
                $field:ident $(as $key:literal)?: $type:ty $(= $value:expr)?;
            )+
        }
    ) => {
        $(#[$about])*
        #[derive(Clone, Debug, PartialEq)]
        pub struct $config {
            $($(#[$doc])* pub $field: $type,)+
        }

        impl $config {
            /// Reads and checks every setting; the first that is wrong is the error.
            fn read($reader: &mut SettingReader<'_>) -> Result<$config, ConfigError> {
                $(let $field: $type = agent_config!(@read $reader, $type, $field $(as $key)? $(= $value)?);)+
                Ok($config { $($field),+ })
            }

            /// Takes over from `new` those settings that take effect without a restart, and says which
            /// differ, in the order of the fields.
            pub(crate) fn reload(&mut self, new: $config) -> Changes {
                let mut changes = Changes::default();
                $({
                    const ROW: &OptionSpec = row(agent_config!(@key $field $(as $key)?));
                    if self.$field != new.$field && changes.add(ROW) {
                        self.$field = new.$field;
                    }
                })+
                changes
            }
        }
    };
    (@key $field:ident) => { stringify!($field) };
    (@key $field:ident as $key:literal) => { $key };
    (@read $reader:ident, $type:ty, $field:ident $(as $key:literal)? = $value:expr) => { $value };
    (@read $reader:ident, $type:ty, $field:ident) => {{
        const ROW: &OptionSpec = row(stringify!($field));
        const _: () = assert!(
            ROW.yields(<$type as FromRow>::FORM, <$type as FromRow>::ALWAYS, <$type as FromRow>::LIST),
            "the row of this setting has values of another form, or no default"
        );
        <$type as FromRow>::from_row($reader, ROW)?
    }};
}

agent_config! {
    /// Everything an agent needs to know to start. Checked, and never changed afterwards.
    pub struct AgentConfig, read by reader {
        /// Name of this member.
        node_name: NodeName = node_name(reader)?;
        /// Where gossip listens, UDP and TCP. Port 0 lets the system choose.
        bind: SocketAddr;
        /// What others are to use instead of `bind`.
        advertise: Option<SocketAddr> = advertise(reader, bind)?;
        /// Interface whose address is used where `bind` is unspecified, and which must have the
        /// address of `bind` otherwise.
        interface: Option<String>;
        /// Where the control protocol listens.
        rpc_addr: RpcAddress = rpc_addr(reader)?;
        /// Token that RPC clients must present. There is no flag for it: it would show in `ps`.
        rpc_auth: Option<String>;
        /// Keys of all gossip.
        keys as "encrypt_key": KeySource = key_source(reader.raw, key_variable().as_deref(), reader.warnings)?;
        /// With keys: whether gossip that is not encrypted is refused.
        encrypt_verify_incoming: bool;
        /// With keys: whether what is sent is encrypted.
        encrypt_verify_outgoing: bool;
        /// Which cluster this member belongs to; gossip of others is refused.
        label: Label;
        /// Tags of this member; they fit into an `Alive` message.
        tags: Tags = tags(reader)?;
        /// Keeps the tags that were changed at run time. Excludes configured tags.
        tags_file: Option<PathBuf>;
        /// Timers.
        profile: Profile;
        /// Serf protocol asked for, within what we accept. We speak 5 whatever it is.
        protocol: u8 = protocol(reader)?;
        /// Least severe log lines to print.
        log_level: LevelFilter;
        /// How standard output shows log lines.
        log_format: Format;
        /// Whether log lines go to syslog as well.
        enable_syslog: bool;
        /// Where syslog files them.
        syslog_facility: Facility = syslog_facility(reader, enable_syslog)?;
        /// Members to join when starting, as written; names are resolved when they are joined.
        start_join: Vec<String> = members_to_join(reader, const { row("start_join") })?;
        /// Whether user events of before that join are heard.
        replay_on_join: bool;
        /// Members to join when starting, for as long as it takes.
        retry_join: Vec<String> = members_to_join(reader, const { row("retry_join") })?;
        /// Time between attempts to join these; 1 s or more.
        retry_interval: Duration;
        /// How many attempts may fail before the agent gives up and exits; 0 is any number.
        retry_max_attempts: u64;
        /// Keeps known members and Lamport times across restarts.
        snapshot_path: Option<PathBuf> = snapshot_path(reader)?;
        /// Whether the members in the snapshot are rejoined even after a graceful leave.
        rejoin_after_leave: bool;
        /// Name of a cluster whose members find each other by mDNS.
        discover: Option<String>;
        /// How they do.
        mdns as "mdns.interface": MdnsConfig = mdns(reader)?;
        /// How long a member may refuse connections until it counts as failed; zero is for ever.
        crash_patience: Duration;
        /// Time between attempts to reach one failed member.
        reconnect_interval: Duration;
        /// How long a failed member is kept before it is forgotten.
        reconnect_timeout: Duration;
        /// How long a member that left is remembered.
        tombstone_timeout: Duration;
        /// Whether this agent takes no part in network coordinates.
        disable_coordinates: bool;
        /// Whether a conflict about this agent's name never ends this agent.
        disable_name_resolution: bool;
        /// Whether names of members may only have letters, digits, dashes and dots, at most 128 of them.
        validate_node_names: bool;
        /// Whether what is sent to agents that understand it may be compressed. Ours never need it.
        enable_compression: bool;
        /// Whether HashiCorp's agents are refused: only the native dialect is read and spoken.
        native_only: bool;
        /// Whether SIGTERM leaves gracefully.
        leave_on_terminate: bool;
        /// Whether SIGINT does not.
        skip_leave_on_interrupt: bool;
        /// How long leaving and force-leave wait for their news to spread; 1 s or more.
        broadcast_timeout: Duration;
        /// Scripts to run when something happens, each a lane of its own.
        event_handlers: Vec<EventScript>;
        /// How long a script may run. If none is set, one that handles an event may run for ever, and
        /// one that answers a query until the query's deadline.
        handler_timeout: Option<Duration>;
        /// Largest query that is sent, encoded, in bytes.
        query_size_limit: usize;
        /// Largest answer to a query, encoded, in bytes.
        query_response_size_limit: usize;
        /// Largest user event, in bytes, encoded as it is for HashiCorp's agents.
        user_event_size_limit: usize;
        /// Where metrics are streamed to, over TCP in statsite's format: `host:port`.
        statsite_addr: Option<String>;
        /// Where metrics are sent to, over UDP in statsd's format: `host:port`.
        statsd_addr: Option<String>;
        /// Where metrics can be fetched over HTTP in Prometheus' text format.
        metrics_addr: Option<SocketAddr>;
    }
}

impl AgentConfig {
    /// Reads the configuration files that the flags name and checks the whole: files in the order of
    /// their flags, then the flags themselves. With the configuration come warnings, one line each.
    ///
    /// To reload, call it again with the same flags.
    pub(crate) fn load(flags: &Flags) -> Result<(AgentConfig, Vec<String>), ConfigError> {
        let (mut raw, mut warnings) = (RawConfig::default(), Vec::new());
        files::read(&flags.texts_of_any(&["config-file", "config-dir"]), &mut raw, &mut warnings)?;
        raw.push_flags(flags);
        let config = AgentConfig::read(&mut SettingReader { raw: &raw, warnings: &mut warnings })?;
        if config.rejoin_after_leave && config.snapshot_path.is_none() {
            warnings.push("Warning: 'RejoinAfterLeave' enabled without snapshot file".to_string());
        }
        Ok((config, warnings))
    }
}

#[cfg(test)]
mod tests;
