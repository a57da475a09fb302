//! Agents: the programs that ship, on loopback addresses of their own, driven as an operator drives
//! them and met by others as others meet them.
//!
//! One module for each subject; `scripts/test NAME` runs one. `harness` holds
//! what all of them use.
#![allow(clippy::disallowed_methods, reason = "tests read clocks, files and sockets; rules do not")]

mod harness;

// Membership.
mod cluster;
mod coordinates;
mod crashes;
mod discovery;
mod name_conflicts;
mod pauses;
mod recovery;
mod snapshot;
mod tags;

// Messages.
mod answers;
mod encryption;
mod events;
mod keys;
mod queries;

// The agent on its host.
mod check_config;
mod containers;
mod handlers;
mod host_limits;
mod host_services;
mod metrics;
mod reload;
mod startup;
mod wakeups;

// Those who control it.
mod command_lines;
mod commands;
mod control_clients;
mod rpc_answers;
mod shells;
mod slow_consumers;

// Attacks: little that asks for much, and much of what means nothing.
mod amplification;
#[path = "../attacks/mod.rs"]
mod attacks;
mod floods;
mod large_tables;

// Together with HashiCorp's agents, or in their place.
mod mixed;
mod shared_config;
