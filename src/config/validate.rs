//! From raw settings to the one [`AgentConfig`].
//!
//! Every check that needs no running agent is made here, so that a wrong setting is refused before
//! anything starts. Looking at interfaces and binding sockets is left to `agent/`.
#![allow(clippy::disallowed_methods)] // Reads the host name from its file.

use super::addresses::{
    advertise_address, listen_address, member_address, metrics_address, rpc_address, with_port,
};
use super::agent::{
    AgentConfig, DEFAULT_BIND_PORT, DEFAULT_RPC_SOCKET_MODE, MAX_VALIDATED_NAME_LEN, MdnsConfig,
};
use super::encryption::{KEY_VARIABLE, key_source};
use super::error::{ConfigError, Problem};
use super::flags::Value;
use super::handlers::EventScript;
use super::raw::{RawConfig, Setting, Source};
use crate::model::{NodeName, Tags, Versions, format_duration};
use crate::telemetry::{Facility, Format, parse_level};
use crate::wire::label::Label;
use std::path::PathBuf;
use std::time::Duration;

/// What is broadcast needs a gossip tick or two to get anywhere, so less would always fail.
const MIN_BROADCAST_TIMEOUT: Duration = Duration::from_secs(1);
/// Who asks more often is a burden and no sooner a member (Serf's `minRetryInterval`).
const MIN_RETRY_INTERVAL: Duration = Duration::from_secs(1);
/// The same of members that failed.
const MIN_RECONNECT_INTERVAL: Duration = Duration::from_secs(1);
/// Serf's hard limit on user events, in bytes.
const MAX_USER_EVENT_SIZE: usize = 9 * 1024;
/// Largest query or answer that may be configured, in bytes: no datagram holds more.
const MAX_QUERY_SIZE: usize = 64 * 1024;

/// Checks every setting. Warnings are added, one line each.
pub(super) fn validate(raw: &RawConfig, warnings: &mut Vec<String>) -> Result<AgentConfig, ConfigError> {
    let setting = Reading { raw };

    let bind = setting.read("bind", "0.0.0.0", |text| listen_address("bind", text, DEFAULT_BIND_PORT))?;
    let mode = setting.optional("rpc_socket_mode", socket_mode)?.unwrap_or(DEFAULT_RPC_SOCKET_MODE);
    let validate_node_names = raw.switch("validate_node_names");
    let config = AgentConfig {
        node_name: node_name(raw, validate_node_names)?,
        bind,
        advertise: setting.optional("advertise", |text| advertise_address(text, bind.port()))?,
        interface: raw.text("interface").map(str::to_string),
        rpc_addr: setting.read("rpc_addr", "127.0.0.1", |text| rpc_address(text, mode))?,
        rpc_auth: raw.text("rpc_auth").map(str::to_string),
        keys: key_source(raw, std::env::var(KEY_VARIABLE).ok().as_deref(), warnings)?,
        encrypt_verify_incoming: raw.switch_unless("encrypt_verify_incoming", true),
        encrypt_verify_outgoing: raw.switch_unless("encrypt_verify_outgoing", true),
        label: setting.read("label", "", label)?,
        tags: tags(raw, warnings)?,
        tags_file: raw.text("tags_file").map(PathBuf::from),
        profile: setting.read("profile", "lan", |text| text.parse().map_err(Problem::Profile))?,
        protocol: protocol(raw)?,
        log_level: setting.read("log_level", "info", |text| {
            parse_level(text).map_err(|_| Problem::LogLevel(text.to_string()))
        })?,
        log_format: setting.read("log_format", "serf", log_format)?,
        enable_syslog: raw.switch("enable_syslog"),
        syslog_facility: setting.read("syslog_facility", "LOCAL0", syslog_facility)?,
        start_join: setting.list("start_join", |text| member_address("start_join", text))?,
        replay_on_join: raw.switch("replay_on_join"),
        retry_join: setting.list("retry_join", |text| member_address("retry_join", text))?,
        retry_interval: setting.at_least("retry_interval", "RetryInterval", 30, MIN_RETRY_INTERVAL, warnings),
        // As with Serf, a number below zero never gives up either.
        retry_max_attempts: raw.number("retry_max_attempts").and_then(|n| n.try_into().ok()).unwrap_or(0),
        snapshot_path: raw.text("snapshot_path").map(PathBuf::from),
        rejoin_after_leave: raw.switch("rejoin_after_leave"),
        discover: raw.text("discover").map(str::to_string),
        mdns: mdns(raw)?,
        reconnect_interval: setting.at_least(
            "reconnect_interval",
            "ReconnectInterval",
            30,
            MIN_RECONNECT_INTERVAL,
            warnings,
        ),
        reconnect_timeout: setting.memory("reconnect_timeout")?,
        tombstone_timeout: setting.memory("tombstone_timeout")?,
        disable_coordinates: raw.switch("disable_coordinates"),
        disable_name_resolution: raw.switch("disable_name_resolution"),
        validate_node_names,
        enable_compression: raw.switch("enable_compression"),
        native_only: raw.switch("native_only"),
        leave_on_terminate: raw.switch("leave_on_terminate"),
        skip_leave_on_interrupt: raw.switch("skip_leave_on_interrupt"),
        broadcast_timeout: setting.at_least(
            "broadcast_timeout",
            "BroadcastTimeout",
            5,
            MIN_BROADCAST_TIMEOUT,
            warnings,
        ),
        event_handlers: setting
            .list("event_handlers", |text| EventScript::parse(text).map_err(Problem::EventScript))?,
        handler_timeout: setting.above_zero("handler_timeout")?,
        query_size_limit: setting.bytes("query_size_limit", 1024, MAX_QUERY_SIZE)?,
        query_response_size_limit: setting.bytes("query_response_size_limit", 1024, MAX_QUERY_SIZE)?,
        user_event_size_limit: setting.bytes("user_event_size_limit", 512, MAX_USER_EVENT_SIZE)?,
        statsite_addr: setting.host_port("statsite_addr")?,
        statsd_addr: setting.host_port("statsd_addr")?,
        metrics_addr: setting.optional("metrics_addr", metrics_address)?,
    };
    if config.rejoin_after_leave && config.snapshot_path.is_none() {
        warnings.push("Warning: 'RejoinAfterLeave' enabled without snapshot file".to_string());
    }
    Ok(config)
}

/// Reads single settings and says where a bad one was written.
struct Reading<'a> {
    raw: &'a RawConfig,
}

impl Reading<'_> {
    fn read<T>(
        &self,
        key: &str,
        default: &str,
        parse: impl FnOnce(&str) -> Result<T, Problem>,
    ) -> Result<T, ConfigError> {
        parse(self.raw.text(key).unwrap_or(default)).map_err(|problem| problem.at(self.raw.source(key)))
    }

    fn optional<T>(
        &self,
        key: &str,
        parse: impl FnOnce(&str) -> Result<T, Problem>,
    ) -> Result<Option<T>, ConfigError> {
        self.raw.text(key).map(|text| self.read(key, text, parse)).transpose()
    }

    fn list<T>(&self, key: &str, parse: impl Fn(&str) -> Result<T, Problem>) -> Result<Vec<T>, ConfigError> {
        let item = |Setting { value, source }: &Setting| match value {
            Value::Text(text) => Some(parse(text).map_err(|problem| problem.at(source.clone()))),
            _ => None,
        };
        self.raw.all(key).iter().filter_map(item).collect()
    }

    /// Where metrics are sent; looked up when they are.
    fn host_port(&self, key: &'static str) -> Result<Option<String>, ConfigError> {
        self.optional(key, |text| with_port(key, text).map(|_| text.to_string()))
    }

    fn bytes(&self, key: &'static str, default: usize, most: usize) -> Result<usize, ConfigError> {
        let Some(number) = self.raw.number(key) else { return Ok(default) };
        match usize::try_from(number) {
            Ok(bytes) if (1..=most).contains(&bytes) => Ok(bytes),
            _ => Err(self.refuse(key, number.to_string(), format!("1 to {most} bytes"))),
        }
    }

    fn above_zero(&self, key: &'static str) -> Result<Option<Duration>, ConfigError> {
        match self.raw.duration(key) {
            Some(Duration::ZERO) => Err(self.refuse(key, "0s".to_string(), "more than 0s".to_string())),
            other => Ok(other),
        }
    }

    /// How long the gone are listed; a day unless set. However short it is, what is stale about them
    /// is recognised for longer (`membership/forgotten.rs`).
    fn memory(&self, key: &'static str) -> Result<Duration, ConfigError> {
        Ok(self.above_zero(key)?.unwrap_or(Duration::from_secs(24 * 3600)))
    }

    /// A duration that is raised to the least that makes sense. `name` is what Serf calls it.
    fn at_least(
        &self,
        key: &str,
        name: &str,
        default_secs: u64,
        least: Duration,
        warnings: &mut Vec<String>,
    ) -> Duration {
        let duration = self.raw.duration(key).unwrap_or(Duration::from_secs(default_secs));
        if duration < least {
            warnings.push(format!("Warning: '{name}' is too low. Setting to {}", format_duration(least)));
        }
        duration.max(least)
    }

    fn refuse(&self, key: &'static str, value: String, expected: String) -> ConfigError {
        Problem::Value { key, value, expected }.at(self.raw.source(key))
    }
}

fn label(text: &str) -> Result<Label, Problem> {
    Label::new(text).map_err(|e| Problem::Value {
        key: "label",
        value: format!("{} bytes", e.0),
        expected: format!("at most {} bytes", Label::MAX_LEN),
    })
}

fn node_name(raw: &RawConfig, strictly: bool) -> Result<NodeName, ConfigError> {
    let source = raw.source("node_name");
    let name = match raw.text("node_name") {
        Some(name) => name.to_string(),
        None => host_name().ok_or(Problem::NoHostName.at(Source::Default))?,
    };
    let allowed = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '.';
    if strictly && (name.len() > MAX_VALIDATED_NAME_LEN || !name.chars().all(allowed)) {
        return Err(Problem::NameRefused(name).at(source));
    }
    NodeName::new(name).map_err(|e| Problem::Name(e).at(source))
}

/// The kernel's idea of the host name, or where `/proc` is not mounted that of the file it is
/// set from.
pub(super) fn host_name() -> Option<String> {
    ["/proc/sys/kernel/hostname", "/etc/hostname"]
        .into_iter()
        .filter_map(|path| std::fs::read_to_string(path).ok())
        .map(|text| text.trim().to_string())
        .find(|name| !name.is_empty())
}

/// Tags of files and flags, by key; then the role, which wins over a tag of that name.
fn tags(raw: &RawConfig, warnings: &mut Vec<String>) -> Result<Tags, ConfigError> {
    let mut tags = Tags::default();
    let mut source = Source::Default;
    for setting in raw.all("tags") {
        source = setting.source.clone();
        match &setting.value {
            Value::Pair(key, value) => {
                tags.0.insert(key.clone(), value.clone());
            }
            Value::Text(pair) => {
                let more =
                    Tags::from_pairs([pair]).map_err(|e| Problem::Tags(e).at(setting.source.clone()))?;
                tags.0.extend(more.0);
            }
            Value::Switch(_) | Value::Number(_) | Value::Duration(_) => {}
        }
    }
    if let Some(role) = raw.text("role") {
        source = raw.source("role");
        warnings.push("Deprecation warning: 'Role' has been replaced with 'Tags'".to_string());
        tags.0.insert("role".to_string(), role.to_string());
    }
    if raw.text("tags_file").is_some() && !tags.0.is_empty() {
        return Err(Problem::TagsBesideFile.at(source));
    }
    match tags.encode() {
        Ok(_) => Ok(tags),
        Err(e) => Err(Problem::Tags(e).at(source)),
    }
}

fn protocol(raw: &RawConfig) -> Result<u8, ConfigError> {
    let Some(number) = raw.number("protocol") else {
        return Ok(Versions::SERF_PROTOCOL_MAX);
    };
    u8::try_from(number)
        .ok()
        .filter(|n| (Versions::SERF_PROTOCOL_MIN..=Versions::SERF_PROTOCOL_MAX).contains(n))
        .ok_or_else(|| Problem::Protocol(number).at(raw.source("protocol")))
}

fn mdns(raw: &RawConfig) -> Result<MdnsConfig, ConfigError> {
    let mdns = MdnsConfig {
        interface: raw.text("mdns.interface").map(str::to_string),
        disable_ipv4: raw.switch("mdns.disable_ipv4"),
        disable_ipv6: raw.switch("mdns.disable_ipv6"),
    };
    if mdns.interface.is_some() && raw.text("discover").is_none() {
        return Err(Problem::MdnsWithoutDiscover.at(raw.source("mdns.interface")));
    }
    if mdns.disable_ipv4 && mdns.disable_ipv6 {
        return Err(Problem::MdnsWithoutProtocol.at(raw.source("mdns.disable_ipv6")));
    }
    Ok(mdns)
}

fn socket_mode(text: &str) -> Result<u32, Problem> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let mode = u32::from_str_radix(text, 8).ok().filter(|mode| digits && *mode <= 0o777);
    mode.ok_or_else(|| Problem::Value {
        key: "rpc_socket_mode",
        value: format!("'{text}'"),
        expected: "permissions in octal, such as \"0660\"".to_string(),
    })
}

fn log_format(text: &str) -> Result<Format, Problem> {
    match text.to_ascii_lowercase().as_str() {
        "serf" => Ok(Format::Serf),
        "json" => Ok(Format::Json),
        _ => Err(Problem::Value {
            key: "log_format",
            value: format!("'{text}'"),
            expected: "serf or json".to_string(),
        }),
    }
}

fn syslog_facility(text: &str) -> Result<Facility, Problem> {
    text.parse().map_err(Problem::Facility)
}
