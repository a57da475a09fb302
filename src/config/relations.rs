//! What one setting means to another: the rules that no single row of the option table can hold.
#![allow(clippy::disallowed_methods)] // Reads the host name from its file.

use super::addresses::{RpcAddress, advertise_address};
use super::error::{ConfigError, Problem};
use super::options::{Limits, OptionSpec, row};
use super::reading::{FromRow, FromText, SettingReader};
use super::value::{Setting, Value, ValueSource};
use crate::model::{HostPort, NodeName, Tags, Text};
use crate::telemetry::Facility;
use std::net::SocketAddr;
use std::path::PathBuf;

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

/// The name that was given, or else that of the host; `validate_node_names` holds for it too.
pub(super) fn node_name(reader: &mut SettingReader<'_>) -> Result<NodeName, ConfigError> {
    let strictly = bool::from_row(reader, const { row("validate_node_names") })?;
    let source = reader.raw.source("node_name");
    let name = match reader.text(const { row("node_name") }) {
        Some(name) => name,
        None => host_name().map(Text::from).ok_or(Problem::NoHostName.at(ValueSource::Default))?,
    };
    let node = NodeName::new(&name).map_err(|e| Problem::Name(e).at(source.clone()))?;
    if strictly && node.check_plain().is_err() {
        return Err(Problem::NameRefused(name.to_string()).at(source));
    }
    Ok(node)
}

/// The host's name as the kernel has it: by a system call, so that it needs no /proc and no file. A host that was given
/// none is called `(none)` by Linux.
pub(super) fn host_name() -> Option<String> {
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    Some(name).filter(|name| !name.is_empty() && name != "(none)")
}

/// What others are to use instead of `bind`, whose port it has if none is written.
pub(super) fn advertise(
    reader: &mut SettingReader<'_>,
    bind: SocketAddr,
) -> Result<Option<SocketAddr>, ConfigError> {
    reader.parsed(const { row("advertise") }, |text| advertise_address(&text.to_lossy(), bind.port()))
}

/// Where the control protocol listens; a socket in the file system has the permissions of
/// `rpc_socket_mode`.
pub(super) fn rpc_addr(reader: &mut SettingReader<'_>) -> Result<RpcAddress, ConfigError> {
    let SocketMode(permissions) = SocketMode::from_row(reader, const { row("rpc_socket_mode") })?;
    let mut address = RpcAddress::from_row(reader, const { row("rpc_addr") })?;
    if let RpcAddress::Unix { mode, .. } = &mut address {
        *mode = permissions;
    }
    Ok(address)
}

/// Permissions of a socket in the file system.
struct SocketMode(u32);

impl FromText for SocketMode {
    fn from_text(text: &str, row: &'static OptionSpec) -> Result<SocketMode, Problem> {
        let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        let mode = u32::from_str_radix(text, 8).ok().filter(|mode| digits && *mode <= 0o777);
        mode.map(SocketMode).ok_or_else(|| Problem::Value {
            key: row.key(),
            value: format!("'{text}'"),
            expected: "permissions in octal, such as \"0660\"".to_string(),
        })
    }
}

/// Tags of files and flags, by key; then the role, which wins over a tag of that name.
pub(super) fn tags(reader: &mut SettingReader<'_>) -> Result<Tags, ConfigError> {
    let raw = reader.raw;
    let mut tags = Tags::default();
    let mut source = ValueSource::Default;
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
        reader.warnings.push("Deprecation warning: 'Role' has been replaced with 'Tags'".to_string());
        tags.0.insert("role".into(), role.clone());
    }
    if raw.text("tags_file").is_some() && !tags.0.is_empty() {
        return Err(Problem::TagsBesideFile.at(source));
    }
    match tags.encode() {
        Ok(_) => Ok(tags),
        Err(e) => Err(Problem::Tags(e).at(source)),
    }
}

/// The Serf protocol, whose refusal has Serf's words.
pub(super) fn protocol(reader: &mut SettingReader<'_>) -> Result<u8, ConfigError> {
    let row = const { row("protocol") };
    // As with Serf a number below zero sets nothing.
    let given = reader.raw.all(row.key()).iter().rev().find_map(|setting| match setting.value {
        Value::Number(number) if number > 0 => Some((number, setting.source.clone())),
        _ => None,
    });
    let (number, source) = match given {
        Some(given) => given,
        None => (row.default_number().unwrap_or_default(), ValueSource::Default),
    };
    let (least, most) = match row.limits {
        Limits::Between(least, most) => (least, most),
        _ => (0, u8::MAX.into()),
    };
    u8::try_from(number)
        .ok()
        .filter(|_| (least..=most).contains(&number))
        .ok_or_else(|| Problem::Protocol { number, least, most }.at(source))
}

/// Where syslog files lines. Without syslog a name that it does not have is no reason not to start.
pub(super) fn syslog_facility(reader: &mut SettingReader<'_>, used: bool) -> Result<Facility, ConfigError> {
    match Facility::from_row(reader, const { row("syslog_facility") }) {
        Err(error) if !used => {
            reader.warnings.push(format!("Warning: of no matter while enable_syslog is off: {error}"));
            Ok(Facility::default())
        }
        facility => facility,
    }
}

/// Members to join. One that cannot be (often an unset variable) is no reason not to join the others,
/// nor not to start.
pub(super) fn members_to_join(
    reader: &mut SettingReader<'_>,
    row: &'static OptionSpec,
) -> Result<Vec<String>, ConfigError> {
    for Setting { value, source } in reader.raw.all(row.key()) {
        if let Value::Text(text) = value
            && let Err(why) = HostPort::of_member(&text.to_lossy(), 0)
        {
            reader.warnings.push(format!("Warning: {source}: '{text}' cannot be joined: {why}"));
        }
    }
    Vec::from_row(reader, row)
}

/// Where the snapshot is. Serf writes it into `/dev/null` as well, and when it has become large puts a
/// file in its place.
pub(super) fn snapshot_path(reader: &mut SettingReader<'_>) -> Result<Option<PathBuf>, ConfigError> {
    let path: Option<PathBuf> = Option::from_row(reader, const { row("snapshot_path") })?;
    Ok(path.filter(|path| path.as_os_str() != "/dev/null"))
}

/// How multicast DNS finds members, which is of use with `discover` alone.
pub(super) fn mdns(reader: &mut SettingReader<'_>) -> Result<MdnsConfig, ConfigError> {
    let mdns = MdnsConfig {
        interface: Option::from_row(reader, const { row("mdns.interface") })?,
        disable_ipv4: bool::from_row(reader, const { row("mdns.disable_ipv4") })?,
        disable_ipv6: bool::from_row(reader, const { row("mdns.disable_ipv6") })?,
    };
    if mdns.interface.is_some() && reader.raw.text("discover").is_none() {
        return Err(Problem::MdnsWithoutDiscover.at(reader.raw.source("mdns.interface")));
    }
    if mdns.disable_ipv4 && mdns.disable_ipv6 {
        return Err(Problem::MdnsWithoutProtocol.at(reader.raw.source("mdns.disable_ipv6")));
    }
    Ok(mdns)
}
