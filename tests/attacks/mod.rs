//! Attacks on the program by an insider: somebody that can put valid messages in, which without a key
//! is everybody that reaches the port. Each is played against a small cluster of real agents with
//! default settings, and afterwards the same cluster has to be healthy.
//!
//! | file | what is in it |
//! | --- | --- |
//! | `insider` | the tool kit: datagrams, streams and exchanges in both dialects |
//! | `cluster`, `health` | the agents under attack, and what a healthy cluster does |
//! | `watch` | memory and pings while an attack goes on |
//! | `hardships` | what the world does without anybody's malice |
//! | the others | the attacks, by what they aim at |
//!
//! An attack goes on for a few seconds, or for `SERF_TEST_ATTACK_SECONDS`. Each prints its figures.

mod cluster;
mod health;
mod insider;
mod watch;

mod acks;
mod clocks;
mod control;
mod copies;
mod handlers;
mod hardships;
mod memory;
mod names;
mod queries;
mod tables;

use std::time::Duration;

/// How long an attack goes on that could go on for ever.
fn attack_time() -> Duration {
    let seconds = match std::env::var("SERF_TEST_ATTACK_SECONDS") {
        Ok(text) => text.parse().expect("SERF_TEST_ATTACK_SECONDS is a number"),
        Err(_) => 4,
    };
    Duration::from_secs(seconds)
}
