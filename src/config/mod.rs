//! stub
use crate::membership::Profile;
use crate::model::*;
use std::net::SocketAddr;
pub struct AgentConfig {
    pub node_name: NodeName,
    pub bind: HostPort,
    pub advertise: Option<HostPort>,
    pub interface: Option<String>,
    pub rpc_addr: SocketAddr,
    pub rpc_auth: Option<String>,
    pub tags: Tags,
    pub profile: Profile,
    pub protocol: u8,
    pub log_level: log::LevelFilter,
    pub start_join: Vec<String>,
    pub replay_on_join: bool,
    pub leave_on_terminate: bool,
    pub skip_leave_on_interrupt: bool,
    pub broadcast_timeout: std::time::Duration,
}
