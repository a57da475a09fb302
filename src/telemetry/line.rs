//! One log line: what is taken down where it is logged, and the text it becomes.
//!
//! Where lines go is not decided here.

use super::level::level_name;
use super::zone::Zone;
use log::Level;
use std::fmt::{self, Write};
use std::time::{SystemTime, UNIX_EPOCH};

/// The longest message of a line, in bytes; the rest is cut and marked with `…`.
///
/// With the bounds on the queue and on the ring this bounds the memory that logging can take.
pub const MAX_MESSAGE_LEN: usize = 4096;

/// The longest target of a line, in bytes.
const MAX_TARGET_LEN: usize = 64;

/// A complete log line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLine {
    /// Its place among all lines of this process, from 0.
    pub number: u64,
    /// How important it is; monitors choose by it.
    pub level: Level,
    /// The line as Serf writes it, without indentation and without a line end:
    /// `2026/11/22 15:41:34 [INFO] serf: EventMemberJoin: a 127.9.9.1`.
    pub text: String,
}

/// A record taken down by the thread that logs; cheap to make, rendered elsewhere.
#[derive(Debug)]
pub(super) struct Entry {
    /// Its place among all lines of this process, from 0; given when it is kept.
    pub(super) number: u64,
    /// Seconds since 1970.
    pub(super) unix: i64,
    /// And thousandths of one.
    millis: u32,
    pub(super) level: Level,
    pub(super) target: String,
    pub(super) message: String,
}

impl Entry {
    /// How much memory it takes, about.
    pub(super) fn memory(&self) -> usize {
        size_of::<Entry>() + 64 + self.target.len() + self.message.len()
    }

    /// Takes down `record` as logged at `at`.
    pub(super) fn new(record: &log::Record<'_>, at: SystemTime) -> Entry {
        Entry::from_parts(record.level(), record.target(), *record.args(), at)
    }

    /// Takes down a message that comes from the logger itself.
    pub(super) fn from_parts(
        level: Level,
        target: &str,
        message: fmt::Arguments<'_>,
        at: SystemTime,
    ) -> Entry {
        // A module path stands for its crate: nobody greps for our source tree.
        let component = target.split("::").next().unwrap_or(target);
        let mut short = Printable::new(MAX_TARGET_LEN);
        let mut text = Printable::new(MAX_MESSAGE_LEN);
        // A `Display` that fails leaves what it wrote so far; there is nobody to report it to.
        let _ = short.write_str(component);
        let _ = text.write_fmt(message);
        let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
        Entry {
            number: 0,
            unix: i64::try_from(since.as_secs()).unwrap_or(i64::MAX),
            millis: since.subsec_millis(),
            level,
            target: short.text,
            message: text.text,
        }
    }

    /// The line as Serf writes it.
    pub(super) fn render(&self, zone: &Zone) -> LogLine {
        let mut text = String::with_capacity(32 + self.target.len() + self.message.len());
        zone.stamp(self.unix, &mut text);
        let _ = write!(text, " [{}] {}: {}", level_name(self.level), self.target, self.message);
        LogLine { number: self.number, level: self.level, text }
    }

    /// The line as one JSON object with `time` (RFC 3339, UTC), `level`, `target` and `message`.
    pub(super) fn render_json(&self) -> String {
        let mut time = String::with_capacity(24);
        Zone::rfc3339(self.unix, self.millis, &mut time);
        serde_json::json!({
            "time": time,
            "level": level_name(self.level),
            "target": self.target,
            "message": self.message,
        })
        .to_string()
    }
}

/// Collects text up to a limit with control characters made visible.
///
/// Messages carry names and errors that come from the network. A line end in one of them must
/// not forge a second log line, nor an escape sequence reach an operator's terminal.
struct Printable {
    text: String,
    limit: usize,
    full: bool,
}

impl Printable {
    fn new(limit: usize) -> Printable {
        Printable { text: String::new(), limit, full: false }
    }
}

impl Write for Printable {
    fn write_str(&mut self, s: &str) -> fmt::Result {
        // What most messages consist of needs no look at each character.
        let plain = s.bytes().all(|b| b.is_ascii() && !b.is_ascii_control());
        if plain && !self.full && self.text.len() + s.len() <= self.limit {
            self.text.push_str(s);
            return Ok(());
        }
        for c in s.chars() {
            if self.full {
                return Ok(());
            }
            if self.text.len() + c.len_utf8() > self.limit {
                self.full = true;
                self.text.push('…');
            } else if c.is_control() && c != '\t' {
                self.text.extend(c.escape_default());
            } else {
                self.text.push(c);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn entry(target: &str, message: &str) -> Entry {
        let at = UNIX_EPOCH + Duration::from_millis(1_795_362_094_250);
        Entry::from_parts(Level::Info, target, format_args!("{message}"), at)
    }

    fn text(entry: &Entry) -> String {
        let text = entry.render(&Zone::of_process()).text;
        // The stamp depends on the zone of the host that runs the test.
        text[20..].to_string()
    }

    #[test]
    fn reads_as_serf_writes_it() {
        let e = entry("serf", "EventMemberJoin: a 127.9.9.1");
        assert_eq!(text(&e), "[INFO] serf: EventMemberJoin: a 127.9.9.1");
        assert_eq!(text(&entry("serf::wire::native", "x")), "[INFO] serf: x");
        assert_eq!(text(&entry("agent.ipc", "x")), "[INFO] agent.ipc: x");
    }

    #[test]
    fn no_name_forges_a_line_or_drives_a_terminal() {
        let e = entry("serf", "a\n2026/11/22 00:00:00 [ERR] serf: \x1b[2Jgone\u{9b}31m\tü");
        assert_eq!(text(&e), "[INFO] serf: a\\n2026/11/22 00:00:00 [ERR] serf: \\u{1b}[2Jgone\\u{9b}31m\tü");
    }

    #[test]
    fn messages_are_bounded() {
        let e = entry("serf", &"ü".repeat(MAX_MESSAGE_LEN));
        assert!(e.message.ends_with('…'));
        assert_eq!(e.message.len(), MAX_MESSAGE_LEN + '…'.len_utf8());
        let e = entry(&"t".repeat(1000), "");
        assert!(e.target.len() <= MAX_TARGET_LEN + '…'.len_utf8());
        // Made visible, control characters grow; the bound still holds but for the last one.
        let e = entry("serf", &"\x01".repeat(MAX_MESSAGE_LEN));
        assert!(e.message.len() <= MAX_MESSAGE_LEN + 16);
    }

    #[test]
    fn json_is_one_object() {
        let value: serde_json::Value =
            serde_json::from_str(&entry("agent", "a \"b\"").render_json()).unwrap();
        assert_eq!(value["time"], "2026-11-22T15:41:34.250Z");
        assert_eq!(value["level"], "INFO");
        assert_eq!(value["target"], "agent");
        assert_eq!(value["message"], "a \"b\"");
    }
}
