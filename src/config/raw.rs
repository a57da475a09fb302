//! Settings as they were written, each with the place it was written at. What they mean to an
//! agent is decided in `reading`.
//!
//! Files come first, in the order in which they are read, and flags last. Of a setting with one
//! value the last counts, so that a later file and in the end a flag win; of a list all count.

use super::flags::Flags;
use super::options::{AGENT, row};
use super::value::{Setting, Value, ValueSource};
use crate::model::Text;
use std::collections::BTreeMap;
use std::time::Duration;

/// Everything that was written, by key, in the order in which it counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RawConfig {
    settings: BTreeMap<&'static str, Vec<Setting>>,
}

impl RawConfig {
    /// Adds one value after all others of this key, if it sets anything.
    pub(super) fn push_one(&mut self, key: &'static str, value: Value, source: ValueSource) {
        if !value.sets_nothing(row(key).zero_counts) {
            self.push(key, value, source);
        }
    }

    /// Adds one value of a list after all others of this key.
    pub(super) fn push(&mut self, key: &'static str, value: Value, source: ValueSource) {
        self.settings.entry(key).or_default().push(Setting { value, source });
    }

    /// Adds what the flags set.
    pub(super) fn push_flags(&mut self, flags: &Flags) {
        for option in AGENT.options {
            let Some(key) = option.key else { continue };
            let given = flags.all(option.name());
            let source = ValueSource::Flag(option.name());
            if option.repeatable {
                given.iter().for_each(|value| self.push(key, value.clone(), source.clone()));
            } else if let Some(value) = given.last() {
                self.push_one(key, value.clone(), source);
            }
        }
        // With Serf this flag decides even when it is absent, whatever the files say.
        let compress = !flags.switch("disable-compression");
        self.push("enable_compression", Value::Switch(compress), ValueSource::Flag("disable-compression"));
    }

    /// Every value of a key.
    pub(super) fn all(&self, key: &str) -> &[Setting] {
        self.settings.get(key).map(Vec::as_slice).unwrap_or_default()
    }

    /// The value that counts where only one does.
    pub(super) fn last(&self, key: &str) -> Option<&Setting> {
        self.all(key).last()
    }

    /// Where the value that counts was written.
    pub(super) fn source(&self, key: &str) -> ValueSource {
        self.last(key).map_or(ValueSource::Default, |setting| setting.source.clone())
    }

    /// A text, never empty.
    pub(super) fn text(&self, key: &str) -> Option<&Text> {
        match &self.last(key)?.value {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// A number.
    pub(super) fn number(&self, key: &str) -> Option<i64> {
        match self.last(key)?.value {
            Value::Number(number) => Some(number),
            _ => None,
        }
    }

    /// A duration.
    pub(super) fn duration(&self, key: &str) -> Option<Duration> {
        match self.last(key)?.value {
            Value::Duration(duration) => duration,
            _ => None,
        }
    }
}
