//! `serf info`: the agent's counters, queue depths and clocks.

use super::connection::connect;
use super::console::{Console, Failure};
use super::format::{OutputFormat, json};
use super::reader::Reader;
use crate::config::Flags;
use crate::rpc::record::Stats;

/// Runs the command.
pub(super) fn run(flags: &Flags, console: &mut Console<'_>) -> Result<(), Failure> {
    let format = OutputFormat::parse(flags.text("format").as_deref())?;
    let stats = connect(flags)?.stats().map_err(|e| Failure::message("Error querying agent", e))?;
    console.line(match format {
        OutputFormat::Json => json(&stats)?.into_bytes(),
        OutputFormat::Text => as_text(&stats, console.reader()),
    })
}

fn as_text(stats: &Stats, reader: Reader) -> Vec<u8> {
    let mut out = Vec::new();
    for (group, values) in stats {
        out.extend([&*reader.show(group), b":\n"].concat());
        for (key, value) in values {
            out.extend([b"\t", &*reader.show(key), b" = ", &reader.show(value), b"\n"].concat());
        }
    }
    out.trim_ascii().to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stats() -> Stats {
        let group = |pairs: &[(&str, &str)]| pairs.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect();
        Stats::from([
            ("tags".to_string(), group(&[("x", "1"), ("h", "<a&b>")])),
            ("agent".to_string(), group(&[("name", "a")])),
            ("event_handlers".to_string(), group(&[])),
        ])
    }

    // Both expectations are cut from what Serf 0.8.2 printed.

    #[test]
    fn text_is_that_of_serf() {
        let text = String::from_utf8(as_text(&stats(), Reader::Program)).unwrap();
        assert_eq!(text, "agent:\n\tname = a\nevent_handlers:\ntags:\n\th = <a&b>\n\tx = 1");
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
