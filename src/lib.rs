//! Serf: who is here.
#![allow(missing_docs)]

pub mod agent;
pub mod cli;
pub mod config;
pub mod membership;
pub mod messaging;
pub mod model;
pub mod rpc;
pub mod telemetry;
pub mod wire;
