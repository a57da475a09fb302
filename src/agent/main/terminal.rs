//! What the agent says to the one who started it, around the log: the lines with `==>`, the banner, and the
//! error that ends the start.

use crate::agent::net::bind::Endpoints;
use crate::config::{AgentConfig, KeySource};
use crate::telemetry::LoggerHandle;
use std::io::{self, Write};

/// A line that Serf prints around the log.
pub(crate) fn say(logger: &LoggerHandle, line: &str) {
    logger.say(format!("==> {line}"));
}

/// A line that belongs to the one before.
pub(crate) fn say_indented(logger: &LoggerHandle, line: &str) {
    logger.say(format!("    {line}"));
}

/// What the agent runs as.
pub(crate) fn banner(config: &AgentConfig, endpoints: &Endpoints, logger: &LoggerHandle) {
    let line = |text: &str| say_indented(logger, text);
    line(&format!("                  Node name: '{}'", config.node_name));
    line(&format!("                  Bind addr: '{}'", endpoints.bind));
    if config.advertise.is_some() {
        line(&format!("             Advertise addr: '{}'", endpoints.advertise));
    }
    line(&format!("                   RPC addr: '{}'", config.rpc_addr));
    line(&format!("                  Encrypted: {}", config.keys != KeySource::None));
    line(&format!("                   Snapshot: {}", config.snapshot_path.is_some()));
    line(&format!("                    Profile: {}", config.profile.as_str()));
    line(&format!("Message Compression Enabled: {}", config.enable_compression));
    if let Some(cluster) = &config.discover {
        line(&format!("               mDNS cluster: {cluster}"));
    }
}

/// An error that ends the agent, at the end of standard error, where an operator looks first. Only the
/// main thread writes these.
pub(crate) fn complain(line: &str) {
    // In one piece, because the logger writes there, too. A closed standard error is ignored.
    let _ = io::stderr().write_all(format!("==> {line}\n").as_bytes());
}
