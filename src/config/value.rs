//! A value as it was written, and the place it was written at.

use super::options::Limits;
use crate::model::{DurationError, Text, parse_duration};
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// One value, of the form that its row of the option table asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Value {
    /// A switch.
    Switch(bool),
    /// A text.
    Text(Text),
    /// A number.
    Number(i64),
    /// A duration; none if the text was empty.
    Duration(Option<Duration>),
    /// A pair in a file; a flag's is a text, which is taken apart later.
    Pair(Text, Text),
}

impl Value {
    /// Whether it says no more than if it were not there. As with Serf these are an empty text and, unless
    /// zero counts, zero and a duration of nothing. An item of a list says something whatever it is.
    pub(super) fn sets_nothing(&self, zero_counts: bool) -> bool {
        match self {
            Value::Text(text) => text.is_empty(),
            Value::Number(number) => *number == 0 && !zero_counts,
            Value::Duration(duration) => duration.is_none_or(|duration| duration.is_zero() && !zero_counts),
            Value::Switch(_) | Value::Pair(..) => false,
        }
    }
}

/// Reads a duration. As with Serf one below zero is too short where there is a shortest one, to which
/// it is raised; elsewhere it is refused.
pub(super) fn duration(text: &str, limits: Limits) -> Result<Duration, DurationError> {
    match (text.strip_prefix('-'), limits) {
        (Some(length), Limits::AtLeast(_)) if !length.starts_with('+') => {
            let length = parse_duration(length)?;
            Ok(if length.is_zero() { length } else { Duration::from_nanos(1) })
        }
        _ => parse_duration(text),
    }
}

/// Where a value was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ValueSource {
    /// Nowhere: it is what an agent does unless something else is set.
    Default,
    /// On the command line, with this flag.
    Flag(&'static str),
    /// In a configuration file.
    File(Place),
}

impl fmt::Display for ValueSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ValueSource::Default => write!(f, "default"),
            ValueSource::Flag(flag) => write!(f, "-{flag}"),
            ValueSource::File(place) => place.fmt(f),
        }
    }
}

/// A place in a configuration file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// The file, as it was named.
    pub(crate) path: Arc<Path>,
    /// The line of the value, from 1.
    pub(crate) line: usize,
    /// The key, with the object it is in: `mdns.interface`.
    pub(crate) key: &'static str,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "'{}', line {}, key '{}'", self.path.display(), self.line, self.key)
    }
}

/// One value and its source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Setting {
    /// The value, of the kind that the option table asks for.
    pub(crate) value: Value,
    /// Where it was written.
    pub(crate) source: ValueSource,
}
