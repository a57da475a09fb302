//! Clusters of our agents and HashiCorp's: each kind is an ordinary member to the other. After each
//! test the logs of both kinds are searched for complaints (`harness::mixed_cluster`, or
//! `harness::complaints` by hand).

mod agreement;
mod dialects;
mod keys;
mod life;
mod names;
mod odd_text;
mod rolling_replacement;
mod versions;

use crate::harness::{Agent, wait_until, within};
use serde_json::Value;

const KEY: &str = "5wMT8rBJWKZrcnNoPzYVGQ==";

const THREE_AND_THREE: [&str; 6] = ["h1", "o1", "h2", "o2", "o3", "h3"];

/// Whether each agent's handler ran exactly once for this payload.
fn handled_once(agents: &[&Agent], payload: &str) -> Result<(), String> {
    let line = format!("handled: {payload}");
    match agents.iter().find(|agent| agent.log_count(&line) != 1) {
        Some(agent) => Err(format!("{} times at {}", agent.log_count(&line), agent.name())),
        None => Ok(()),
    }
}

/// Asks, and compares who answered with the expectation. HashiCorp's gossip passes a member by now
/// and then, so there is another try.
fn answered_by(agent: &Agent, arguments: &[&str], expected: &[&str]) {
    wait_until(within(60), "everyone who is asked answers", || {
        let args = [&["query", "-timeout=2s", "-format=json"], arguments].concat();
        let json = agent.ctl(&args);
        let json: Value = serde_json::from_str(json.ok()).map_err(|e| e.to_string())?;
        let names = |value: &Value| {
            let mut names: Vec<String> = match value {
                Value::Object(map) => map.keys().cloned().collect(),
                Value::Array(list) => list.iter().filter_map(|v| v.as_str().map(str::to_string)).collect(),
                _ => Vec::new(),
            };
            names.sort();
            names
        };
        if names(&json["Acks"]) == expected && names(&json["Responses"]) == expected {
            Ok(())
        } else {
            Err(json.to_string())
        }
    });
}
