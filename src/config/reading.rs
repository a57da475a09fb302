//! From what was written to a typed value, by the row of the setting: defaults, limits, and the one
//! line that refuses what does not fit.
//!
//! A field of the configuration whose type is [`FromRow`] is read by its row alone. What one setting
//! means to another is in `relations`.

use super::addresses::{RpcAddress, listen_address, rpc_address};
use super::error::{ConfigError, Problem};
use super::handlers::EventScript;
use super::options::{DefaultValue, Form, Limits, OptionSpec, SettingKind};
use super::raw::RawConfig;
use super::value::{Setting, Value};
use crate::membership::Profile;
use crate::model::{HostPort, Text, format_duration};
use crate::telemetry::{Facility, Format, parse_level};
use crate::wire::label::Label;
use log::LevelFilter;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// Reads settings, collects warnings, and says where a bad value was written.
pub(super) struct SettingReader<'a> {
    /// What was written.
    pub(super) raw: &'a RawConfig,
    /// Warnings, one line each.
    pub(super) warnings: &'a mut Vec<String>,
}

impl SettingReader<'_> {
    /// A switch.
    fn switch(&self, row: &OptionSpec) -> bool {
        let given = self.raw.last(row.key());
        given.map_or(row.default == DefaultValue::On, |setting| setting.value == Value::Switch(true))
    }

    /// A number or a size within its limits.
    fn number(&self, row: &OptionSpec) -> Result<Option<i64>, ConfigError> {
        let Some(number) = self.raw.number(row.key()).or(row.default_number()) else { return Ok(None) };
        match row.limits {
            Limits::Between(least, most) if !(least..=most).contains(&number) => {
                let unit = if row.kind == SettingKind::Size { " bytes" } else { "" };
                self.refuse(row, number.to_string(), format!("{least} to {most}{unit}"))
            }
            Limits::NotBelow(least) => Ok(Some(number.max(least))),
            _ => Ok(Some(number)),
        }
    }

    /// A duration within its limits.
    fn duration(&mut self, row: &OptionSpec) -> Result<Option<Duration>, ConfigError> {
        let default = match row.default {
            DefaultValue::Duration(duration) => Some(duration),
            _ => None,
        };
        let Some(duration) = self.raw.duration(row.key()).or(default) else { return Ok(None) };
        match row.limits {
            Limits::AtLeast(least) if duration < least => {
                let (name, least_text) = (camel_case(row.key()), format_duration(least));
                self.warnings.push(format!("Warning: '{name}' is too low. Setting to {least_text}"));
                Ok(Some(least))
            }
            _ => Ok(Some(duration)),
        }
    }

    /// A text, or its default.
    pub(super) fn text(&self, row: &OptionSpec) -> Option<Text> {
        let default = match row.default {
            DefaultValue::Text(text) => Some(text.into()),
            _ => None,
        };
        self.raw.text(row.key()).cloned().or(default)
    }

    /// What a text means, if there is one.
    pub(super) fn parsed<T>(
        &self,
        row: &OptionSpec,
        parse: impl FnOnce(&Text) -> Result<T, Problem>,
    ) -> Result<Option<T>, ConfigError> {
        let Some(text) = self.text(row) else { return Ok(None) };
        if let Limits::Length(most) = row.limits
            && text.len() > most
        {
            return self.refuse(row, format!("{} bytes", text.len()), format!("at most {most} bytes"));
        }
        parse(&text).map(Some).map_err(|problem| problem.at(self.raw.source(row.key())))
    }

    /// What each text of a list means.
    fn list<T>(
        &self,
        row: &OptionSpec,
        parse: impl Fn(&Text) -> Result<T, Problem>,
    ) -> Result<Vec<T>, ConfigError> {
        let item = |Setting { value, source }: &Setting| match value {
            Value::Text(text) => Some(parse(text).map_err(|problem| problem.at(source.clone()))),
            _ => None,
        };
        self.raw.all(row.key()).iter().filter_map(item).collect()
    }

    fn refuse<T>(&self, row: &OptionSpec, value: String, expected: String) -> Result<T, ConfigError> {
        Err(Problem::Value { key: row.key(), value, expected }.at(self.raw.source(row.key())))
    }
}

/// What Serf calls a setting in its warnings: `RetryInterval` for `retry_interval`.
fn camel_case(key: &str) -> String {
    let capital = |word: &str| word[..1].to_ascii_uppercase() + &word[1..];
    key.split(['_', '.']).filter(|word| !word.is_empty()).map(capital).collect()
}

/// A type of which the row of a setting alone says how to read it.
pub(super) trait FromRow: Sized {
    /// How its values are written.
    const FORM: Form;
    /// Whether it needs a value, so that the row needs a default.
    const ALWAYS: bool = true;
    /// Whether it takes any number of values.
    const LIST: bool = false;

    /// The value of a setting, or its default.
    fn from_row(reader: &mut SettingReader<'_>, row: &'static OptionSpec) -> Result<Self, ConfigError>;
}

impl FromRow for bool {
    const FORM: Form = Form::Switch;

    fn from_row(reader: &mut SettingReader<'_>, row: &'static OptionSpec) -> Result<bool, ConfigError> {
        Ok(reader.switch(row))
    }
}

impl FromRow for u64 {
    const FORM: Form = Form::Number;

    fn from_row(reader: &mut SettingReader<'_>, row: &'static OptionSpec) -> Result<u64, ConfigError> {
        Ok(reader.number(row)?.and_then(|number| number.try_into().ok()).unwrap_or_default())
    }
}

impl FromRow for usize {
    const FORM: Form = Form::Number;

    fn from_row(reader: &mut SettingReader<'_>, row: &'static OptionSpec) -> Result<usize, ConfigError> {
        Ok(reader.number(row)?.and_then(|number| number.try_into().ok()).unwrap_or_default())
    }
}

impl FromRow for Duration {
    const FORM: Form = Form::Duration;

    fn from_row(reader: &mut SettingReader<'_>, row: &'static OptionSpec) -> Result<Duration, ConfigError> {
        // The compiler has made sure that the row has a default.
        Ok(reader.duration(row)?.unwrap_or_default())
    }
}

impl FromRow for Option<Duration> {
    const FORM: Form = Form::Duration;
    const ALWAYS: bool = false;

    fn from_row(reader: &mut SettingReader<'_>, row: &'static OptionSpec) -> Result<Self, ConfigError> {
        reader.duration(row)
    }
}

impl<T: FromText> FromRow for T {
    const FORM: Form = Form::Text;

    fn from_row(reader: &mut SettingReader<'_>, row: &'static OptionSpec) -> Result<T, ConfigError> {
        match reader.parsed(row, |text| T::from_bytes(text, row))? {
            Some(value) => Ok(value),
            // Not reached: the compiler has made sure that the row has a default.
            None => reader.refuse(row, "nothing".to_string(), "a value".to_string()),
        }
    }
}

impl<T: FromText> FromRow for Option<T> {
    const FORM: Form = Form::Text;
    const ALWAYS: bool = false;

    fn from_row(reader: &mut SettingReader<'_>, row: &'static OptionSpec) -> Result<Self, ConfigError> {
        reader.parsed(row, |text| T::from_bytes(text, row))
    }
}

impl<T: FromText> FromRow for Vec<T> {
    const FORM: Form = Form::Text;
    const ALWAYS: bool = false;
    const LIST: bool = true;

    fn from_row(reader: &mut SettingReader<'_>, row: &'static OptionSpec) -> Result<Self, ConfigError> {
        reader.list(row, |text| T::from_bytes(text, row))
    }
}

/// A type that is read from one text.
pub(super) trait FromText: Sized {
    /// What the text means in a setting of this row.
    fn from_text(text: &str, row: &'static OptionSpec) -> Result<Self, Problem>;

    /// The same for any bytes. Where a text has to be one of some words or an address, what is not UTF-8
    /// is refused for that.
    fn from_bytes(text: &Text, row: &'static OptionSpec) -> Result<Self, Problem> {
        Self::from_text(&text.to_lossy(), row)
    }
}

impl FromText for String {
    fn from_text(text: &str, row: &'static OptionSpec) -> Result<String, Problem> {
        if row.kind == SettingKind::HostPort {
            HostPort::of_receiver(text, 0).map_err(|error| Problem::Address { option: row.key(), error })?;
        }
        Ok(text.to_string())
    }
}

impl FromText for PathBuf {
    fn from_text(text: &str, _: &'static OptionSpec) -> Result<PathBuf, Problem> {
        Ok(text.into())
    }

    fn from_bytes(text: &Text, _: &'static OptionSpec) -> Result<PathBuf, Problem> {
        Ok(text.as_os_str().into())
    }
}

impl FromText for Text {
    fn from_text(text: &str, _: &'static OptionSpec) -> Result<Text, Problem> {
        Ok(text.into())
    }

    fn from_bytes(text: &Text, _: &'static OptionSpec) -> Result<Text, Problem> {
        Ok(text.clone())
    }
}

impl FromText for SocketAddr {
    fn from_text(text: &str, row: &'static OptionSpec) -> Result<SocketAddr, Problem> {
        match row.kind {
            SettingKind::Listen(port) => listen_address(row.key(), text, port),
            _ => listen_address(row.key(), text, None),
        }
    }
}

impl FromText for RpcAddress {
    fn from_text(text: &str, row: &'static OptionSpec) -> Result<RpcAddress, Problem> {
        match row.kind {
            SettingKind::Listen(port) => rpc_address(text, port),
            _ => rpc_address(text, None),
        }
    }
}

impl FromText for Label {
    fn from_text(text: &str, row: &'static OptionSpec) -> Result<Label, Problem> {
        Label::new(text).map_err(|e| Problem::Value {
            key: row.key(),
            value: format!("{} bytes", e.0),
            expected: format!("at most {} bytes", Label::MAX_LEN),
        })
    }
}

impl FromText for EventScript {
    fn from_text(text: &str, row: &'static OptionSpec) -> Result<EventScript, Problem> {
        EventScript::from_bytes(&text.into(), row)
    }

    fn from_bytes(text: &Text, _: &'static OptionSpec) -> Result<EventScript, Problem> {
        EventScript::parse(text).map_err(Problem::EventScript)
    }
}

impl FromText for Profile {
    fn from_text(text: &str, _: &'static OptionSpec) -> Result<Profile, Problem> {
        text.parse().map_err(Problem::Profile)
    }
}

impl FromText for LevelFilter {
    fn from_text(text: &str, _: &'static OptionSpec) -> Result<LevelFilter, Problem> {
        parse_level(text).map_err(|_| Problem::LogLevel(text.to_string()))
    }
}

impl FromText for Facility {
    fn from_text(text: &str, _: &'static OptionSpec) -> Result<Facility, Problem> {
        text.parse().map_err(Problem::Facility)
    }
}

impl FromText for Format {
    fn from_text(text: &str, row: &'static OptionSpec) -> Result<Format, Problem> {
        match text.to_ascii_lowercase().as_str() {
            "serf" => Ok(Format::Serf),
            "json" => Ok(Format::Json),
            _ => Err(no_such_word(text, row)),
        }
    }
}

/// The refusal of a text that is none of the words of its row.
fn no_such_word(text: &str, row: &'static OptionSpec) -> Problem {
    let words = match row.kind {
        SettingKind::Choice(words) => words,
        _ => &[],
    };
    let expected = match words {
        [first @ .., last] if !first.is_empty() => format!("{} or {last}", first.join(", ")),
        words => words.join(""),
    };
    Problem::Value { key: row.key(), value: format!("'{text}'"), expected }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_that_serf_warns_of() {
        for (key, name) in
            [("retry_interval", "RetryInterval"), ("bind", "Bind"), ("mdns.x", "MdnsX"), ("", "")]
        {
            assert_eq!(camel_case(key), name);
        }
    }
}
