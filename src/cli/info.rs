//! `serf info`: the agent's counters, queue depths and clocks.

use super::connection::connect;
use super::console::{Console, Failure};
use super::format::{OutputFormat, json};
use super::reader::Reader;
use crate::config::Flags;
use crate::rpc::record::Stats;

/// The groups that Serf prints. Ours come after them.
const OF_SERF: [&str; 5] = ["agent", "event_handlers", "runtime", "serf", "tags"];

/// Runs the command.
pub(super) fn run(flags: &Flags, console: &mut Console<'_>) -> Result<(), Failure> {
    let format = OutputFormat::parse(flags.given_text("format").as_deref())?;
    let stats = connect(flags)?.stats().map_err(|e| Failure::message("Error querying agent", e))?;
    console.line(match format {
        OutputFormat::Json => json(&stats)?.into_bytes(),
        OutputFormat::Text => as_text(&stats, console.reader()),
    })
}

fn as_text(stats: &Stats, reader: Reader) -> Vec<u8> {
    let mut out = Vec::new();
    let of_serf = |group: &&String| OF_SERF.contains(&group.as_str());
    let more = stats.keys().filter(|group| !of_serf(group));
    for group in stats.keys().filter(of_serf).chain(more) {
        let values = &stats[group];
        out.extend([&*reader.show(group.as_bytes()), b":\n"].concat());
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
    fn what_serf_does_not_have_comes_last() {
        let mut stats = stats();
        stats.insert("counters".to_string(), [("x_total".into(), "3".into())].into());
        assert!(
            as_text(&stats, Reader::Program)
                .ends_with(b"tags:\n\th = <a&b>\n\tx = 1\ncounters:\n\tx_total = 3")
        );
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
