//! A value as it was written, and the place it was written at.

use crate::model::Text;
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

/// Where a value was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// Nowhere: it is what an agent does unless something else is set.
    Default,
    /// On the command line, with this flag.
    Flag(&'static str),
    /// In a configuration file.
    File(Place),
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
    pub(crate) source: Source,
}
