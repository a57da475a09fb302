//! Settings as they were written, each with the place it was written at. What they mean to an
//! agent is decided in `agent`.
//!
//! Files come first, in the order in which they are read, and flags last. Of a setting with one
//! value the last counts, so that a later file and in the end a flag win; of a list all count.

use super::flags::{Flags, Value};
use super::options::{AGENT, Kind};
use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// Where a value was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// Nowhere: it is what an agent does unless it is told otherwise.
    Default,
    /// On the command line, with this flag.
    Flag(&'static str),
    /// In a configuration file.
    File(Place),
}

/// A place in a configuration file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The file, as it was named.
    pub path: Arc<Path>,
    /// The line of the value, from 1.
    pub line: usize,
    /// The key, with the object it is in: `mdns.interface`.
    pub key: &'static str,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "'{}', line {}, key '{}'", self.path.display(), self.line, self.key)
    }
}

/// One value and its source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// The value, of the kind that the option table asks for.
    pub value: Value,
    /// Where it was written.
    pub source: Source,
}

/// Everything that was written, by key, in the order in which it counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RawConfig {
    settings: BTreeMap<&'static str, Vec<Setting>>,
}

impl RawConfig {
    /// Adds one value after all others of this key.
    pub fn push(&mut self, key: &'static str, value: Value, source: Source) {
        self.settings.entry(key).or_default().push(Setting { value, source });
    }

    /// Adds what the flags set. An empty text sets nothing.
    pub fn push_flags(&mut self, flags: &Flags) {
        for option in AGENT.options {
            let Some(key) = option.key else { continue };
            let given = flags.all(option.name());
            let counts = if option.repeatable { given } else { &given[given.len().saturating_sub(1)..] };
            for value in counts {
                let empty = match value {
                    Value::Text(text) => text.is_empty() && !option.repeatable,
                    Value::Duration(duration) => duration.is_none(),
                    Value::Switch(_) | Value::Number(_) | Value::Pair(..) => false,
                };
                if !empty {
                    self.push(key, value.clone(), Source::Flag(option.name()));
                }
            }
        }
        // With Serf this flag decides even when it is absent, whatever the files say.
        let compress = !flags.switch("disable-compression");
        self.push("enable_compression", Value::Switch(compress), Source::Flag("disable-compression"));
    }

    /// Every value of a key.
    pub fn all(&self, key: &str) -> &[Setting] {
        self.settings.get(key).map(Vec::as_slice).unwrap_or_default()
    }

    /// The value that counts where only one does.
    pub fn last(&self, key: &str) -> Option<&Setting> {
        self.all(key).last()
    }

    /// Where the value that counts was written.
    pub fn source(&self, key: &str) -> Source {
        self.last(key).map_or(Source::Default, |setting| setting.source.clone())
    }

    /// A text, never empty.
    pub fn text(&self, key: &str) -> Option<&str> {
        match &self.last(key)?.value {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// Every text of a list.
    pub fn texts(&self, key: &str) -> Vec<String> {
        let text = |setting: &Setting| match &setting.value {
            Value::Text(text) => Some(text.clone()),
            _ => None,
        };
        self.all(key).iter().filter_map(text).collect()
    }

    /// A switch; off unless set.
    pub fn switch(&self, key: &str) -> bool {
        matches!(self.last(key), Some(Setting { value: Value::Switch(true), .. }))
    }

    /// A switch that is `default` unless set.
    pub fn switch_unless(&self, key: &str, default: bool) -> bool {
        self.last(key).map_or(default, |setting| setting.value == Value::Switch(true))
    }

    /// A number.
    pub fn number(&self, key: &str) -> Option<i64> {
        match self.last(key)?.value {
            Value::Number(number) => Some(number),
            _ => None,
        }
    }

    /// A duration.
    pub fn duration(&self, key: &str) -> Option<Duration> {
        match self.last(key)?.value {
            Value::Duration(duration) => duration,
            _ => None,
        }
    }
}

/// What a configuration file must say for a setting of this kind.
pub(super) fn expected_in_file(kind: Kind, repeatable: bool) -> &'static str {
    match (kind, repeatable) {
        (Kind::Switch, _) => "true or false, without quotes",
        (Kind::Number, _) => "a whole number, without quotes",
        (Kind::Duration, _) => "a duration in quotes, such as \"300ms\", \"30s\" or \"1h15m\"",
        (Kind::Text, false) => "text in quotes",
        (Kind::Text, true) => "a list of texts, such as [\"one\", \"two\"]",
        (Kind::Pair, _) => "an object of texts, such as {\"role\": \"web\"}",
    }
}
