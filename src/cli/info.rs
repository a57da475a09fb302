//! `serf info`: the agent's counters, queue depths and clocks.

use super::connection::connect;
use super::console::{Console, Failure};
use super::format::{OutputFormat, json};
use crate::config::Flags;
use std::collections::BTreeMap;
use std::fmt::Write;

/// The groups that Serf prints. Ours come after them.
const OF_SERF: [&str; 5] = ["agent", "event_handlers", "runtime", "serf", "tags"];

/// Runs the command.
pub(super) fn run(flags: &Flags, console: &mut Console<'_>) -> Result<(), Failure> {
    let format = OutputFormat::parse(flags.given_text("format").as_deref())?;
    let stats = connect(flags)?.stats().map_err(|e| Failure::message("Error querying agent", e))?;
    console.line(match format {
        OutputFormat::Json => json(&stats)?,
        OutputFormat::Text => as_text(&stats),
    })
}

fn as_text(stats: &BTreeMap<String, BTreeMap<String, String>>) -> String {
    let mut out = String::new();
    let of_serf = |group: &&String| OF_SERF.contains(&group.as_str());
    let more = stats.keys().filter(|group| !of_serf(group));
    for group in stats.keys().filter(of_serf).chain(more) {
        let values = &stats[group];
        let _ = writeln!(out, "{group}:");
        for (key, value) in values {
            let _ = writeln!(out, "\t{key} = {value}");
        }
    }
    out.trim().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stats() -> BTreeMap<String, BTreeMap<String, String>> {
        let group = |pairs: &[(&str, &str)]| {
            pairs.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect::<BTreeMap<_, _>>()
        };
        BTreeMap::from([
            ("tags".to_string(), group(&[("x", "1"), ("h", "<a&b>")])),
            ("agent".to_string(), group(&[("name", "a")])),
            ("event_handlers".to_string(), group(&[])),
        ])
    }

    // Both expectations are cut from what Serf 0.8.2 printed.

    #[test]
    fn text_is_that_of_serf() {
        assert_eq!(as_text(&stats()), "agent:\n\tname = a\nevent_handlers:\ntags:\n\th = <a&b>\n\tx = 1");
    }

    #[test]
    fn what_serf_does_not_have_comes_last() {
        let mut stats = stats();
        stats.insert("counters".to_string(), BTreeMap::from([("x_total".to_string(), "3".to_string())]));
        assert!(as_text(&stats).ends_with("tags:\n\th = <a&b>\n\tx = 1\ncounters:\n\tx_total = 3"));
    }

    #[test]
    fn json_is_that_of_serf() {
        let expected = r#"{
  "agent": {
    "name": "a"
  },
  "event_handlers": {},
  "tags": {
    "h": "\u003ca\u0026b\u003e",
    "x": "1"
  }
}"#;
        assert_eq!(json(&stats()).unwrap(), expected);
    }
}
