//! The text of one configuration file: a JSON object of settings, each found with its line.
//!
//! The syntax is checked by `serde_json`. Values are taken as slices of the text
//! ([`RawValue`]), so that where a slice begins shows its line, and nothing is read deeper than the
//! option table asks for.

use super::error::FileProblem;
use super::nearest::nearest;
use super::options::{Form, OptionSpec, settings};
use super::raw::RawConfig;
use super::value::{Place, Source, Value};
use crate::model::parse_duration;
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

/// How much of a wrong value an error shows, in characters.
const SHOWN: usize = 40;
/// Whole numbers up to here are exact when they are written as `4.0`.
const MAX_EXACT: f64 = 9_007_199_254_740_992.0;

/// Adds the settings of one file. Answers with a key whose value is a secret, if there is one.
pub fn read(
    path: &Arc<Path>,
    bytes: &[u8],
    raw: &mut RawConfig,
) -> Result<Option<&'static str>, FileProblem> {
    if bytes.starts_with(b"\xef\xbb\xbf") {
        return Err(FileProblem::ByteOrderMark);
    }
    let text = std::str::from_utf8(bytes).map_err(|e| {
        let before = &bytes[..e.valid_up_to()];
        FileProblem::NotUtf8 { line: 1 + before.iter().filter(|b| **b == b'\n').count() }
    })?;
    let breaks = text.match_indices('\n').map(|(at, _)| at).collect();
    let mut reader = JsonReader { path, text, breaks, raw, secret: None };
    reader.file()?;
    Ok(reader.secret)
}

struct JsonReader<'a, 'r> {
    path: &'a Arc<Path>,
    text: &'a str,
    /// Where the lines end.
    breaks: Vec<usize>,
    raw: &'r mut RawConfig,
    secret: Option<&'static str>,
}

impl<'a> JsonReader<'a, '_> {
    fn file(&mut self) -> Result<(), FileProblem> {
        let start = self.text.trim_start_matches([' ', '\t', '\r', '\n']);
        let line = self.line(start);
        match start.chars().next() {
            None => Err(FileProblem::Empty),
            Some('{') => self.object("", self.text),
            Some('/' | '#') => Err(FileProblem::Comment { line }),
            Some(_) => Err(FileProblem::NotAnObject { line }),
        }
    }

    /// The settings of an object; `group` is the key that it stands under.
    fn object(&mut self, group: &str, text: &'a str) -> Result<(), FileProblem> {
        let mut seen: BTreeMap<String, usize> = BTreeMap::new();
        for (key, value) in self.parse::<Entries<'a>>(text)?.0 {
            let line = self.line(value.get());
            // A dot stands for an object within the object, and is no part of a key.
            let dotted = key.contains('.');
            let full = if group.is_empty() { key } else { format!("{group}.{key}") };
            if let Some(first) = seen.insert(full.to_ascii_lowercase(), line) {
                return Err(FileProblem::Duplicate { line, key: shorten(&full), first });
            }
            // As if the key were not there, as with Serf.
            let absent = value.get() == "null";
            // Serf's decoder does not mind capitals either.
            let named = |option: &&OptionSpec| {
                !dotted && option.key.is_some_and(|key| key.eq_ignore_ascii_case(&full))
            };
            if let Some(option) = settings().find(named) {
                if !absent {
                    self.setting(option, line, value)?;
                }
            } else if let Some(group) = group_of(&full) {
                if !absent {
                    self.group(group, line, value)?;
                }
            } else {
                let nearest = nearest(&full).filter(|_| !dotted);
                return Err(FileProblem::UnknownKey { line, nearest, key: shorten(&full) });
            }
        }
        Ok(())
    }

    fn group(&mut self, group: &'static str, line: usize, value: &'a RawValue) -> Result<(), FileProblem> {
        if !value.get().starts_with('{') {
            let expected = "an object, such as {\"interface\": \"eth0\"}";
            return Err(FileProblem::WrongValue {
                line,
                key: group.to_string(),
                found: shorten(value.get()),
                expected,
            });
        }
        self.object(group, value.get())
    }

    fn setting(
        &mut self,
        option: &'static OptionSpec,
        line: usize,
        value: &'a RawValue,
    ) -> Result<(), FileProblem> {
        let Some(key) = option.key else { return Ok(()) };
        let refuse = |line, key: String, value: &RawValue, item: bool| FileProblem::WrongValue {
            line,
            key,
            found: if option.secret { "a value that is not shown".to_string() } else { shorten(value.get()) },
            // An item of a list or an object is a text, whatever it stands in.
            expected: if item {
                expected_in_file(Form::Text, false)
            } else {
                expected_in_file(option.kind.form(), option.repeatable)
            },
        };
        let wrong = || refuse(line, key.to_string(), value, false);
        let first = value.get().as_bytes().first().copied().unwrap_or_default();
        match (option.kind.form(), option.repeatable, first) {
            (Form::Switch, _, b't' | b'f') => {
                self.push(key, line, Value::Switch(value.get() == "true"));
            }
            (Form::Number, _, b'-' | b'0'..=b'9') => {
                let number = number(value.get()).ok_or_else(wrong)?;
                self.push(key, line, Value::Number(number));
            }
            (Form::Duration, _, b'"') => {
                let text: String = self.parse(value.get())?;
                if !text.is_empty() {
                    let duration = parse_duration(&text).map_err(|_| wrong())?;
                    self.push(key, line, Value::Duration(Some(duration)));
                }
            }
            (Form::Text, false, b'"') => {
                let text: String = self.parse(value.get())?;
                if !text.is_empty() {
                    self.push(key, line, Value::Text(text.into()));
                    self.secret = self.secret.or(option.secret.then_some(key));
                }
            }
            (Form::Text, true, b'[') => {
                for (i, item) in self.parse::<Vec<&'a RawValue>>(value.get())?.into_iter().enumerate() {
                    let line = self.line(item.get());
                    if !item.get().starts_with('"') {
                        return Err(refuse(line, format!("{key}[{i}]"), item, true));
                    }
                    let text: String = self.parse(item.get())?;
                    self.push(key, line, Value::Text(text.into()));
                }
            }
            (Form::Pair, _, b'{') => self.pairs(key, value, refuse)?,
            _ => return Err(wrong()),
        }
        Ok(())
    }

    fn pairs(
        &mut self,
        key: &'static str,
        value: &'a RawValue,
        refuse: impl Fn(usize, String, &RawValue, bool) -> FileProblem,
    ) -> Result<(), FileProblem> {
        let mut seen: BTreeMap<String, usize> = BTreeMap::new();
        for (name, item) in self.parse::<Entries<'a>>(value.get())?.0 {
            let line = self.line(item.get());
            let full = || shorten(&format!("{key}.{name}"));
            if let Some(first) = seen.insert(name.clone(), line) {
                return Err(FileProblem::Duplicate { line, key: full(), first });
            }
            if !item.get().starts_with('"') {
                return Err(refuse(line, full(), item, true));
            }
            let text: String = self.parse(item.get())?;
            self.push(key, line, Value::Pair(name.into(), text.into()));
        }
        Ok(())
    }

    fn push(&mut self, key: &'static str, line: usize, value: Value) {
        let place = Place { path: self.path.clone(), line, key };
        self.raw.push(key, value, Source::File(place));
    }

    /// Parses a slice of the file.
    fn parse<T: Deserialize<'a>>(&self, slice: &'a str) -> Result<T, FileProblem> {
        serde_json::from_str(slice).map_err(|e| {
            let at = e.line().saturating_sub(1);
            let line = self.line(slice) + at;
            let text = slice.lines().nth(at).unwrap_or_default();
            let byte = text.as_bytes().get(e.column().saturating_sub(1));
            if matches!(byte, Some(b'/' | b'#')) {
                return FileProblem::Comment { line };
            }
            let (what, position) = (e.to_string(), format!(" at line {} column {}", e.line(), e.column()));
            let what = what.strip_suffix(&position).unwrap_or(&what).to_string();
            // The parser counts from where the slice begins.
            let indent = if at == 0 { self.column(slice) } else { 0 };
            FileProblem::Syntax { line, column: indent + e.column(), what }
        })
    }

    /// The line on which a slice of the text begins.
    fn line(&self, slice: &str) -> usize {
        1 + self.breaks.partition_point(|at| *at < self.offset(slice))
    }

    /// How many bytes stand before a slice on its line.
    fn column(&self, slice: &str) -> usize {
        let before = self.line(slice).checked_sub(2).and_then(|line| self.breaks.get(line));
        self.offset(slice) - before.map_or(0, |at| at + 1)
    }

    fn offset(&self, slice: &str) -> usize {
        slice.as_ptr().addr().saturating_sub(self.text.as_ptr().addr())
    }
}

/// What a configuration file must say for a setting of this form.
fn expected_in_file(form: Form, repeatable: bool) -> &'static str {
    match (form, repeatable) {
        (Form::Switch, _) => "true or false, without quotes",
        (Form::Number, _) => "a whole number, without quotes",
        (Form::Duration, _) => "a duration in quotes, such as \"300ms\", \"30s\" or \"1h15m\"",
        (Form::Text, false) => "text in quotes",
        (Form::Text, true) => "a list of texts, such as [\"one\", \"two\"]",
        (Form::Pair, _) => "an object of texts, such as {\"role\": \"web\"}",
    }
}

/// The object of this name, if settings are in one.
fn group_of(key: &str) -> Option<&'static str> {
    let groups = settings().filter_map(|option| Some(option.key?.split_once('.')?.0));
    groups.into_iter().find(|group| group.eq_ignore_ascii_case(key))
}

/// A whole number, also one written `4.0` as some programs do.
fn number(text: &str) -> Option<i64> {
    let whole = |text: &str| {
        let number: f64 = text.parse().ok()?;
        (number.fract() == 0.0 && number.abs() <= MAX_EXACT).then_some(number as i64)
    };
    text.parse().ok().or_else(|| whole(text))
}

/// A text from the file, on one line and not too long.
fn shorten(text: &str) -> String {
    let mut shown: String = text.chars().take(SHOWN).collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    shown.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// The members of an object in the order in which they are written, duplicates included.
struct Entries<'a>(Vec<(String, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Entries<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ObjectMembers;
        impl<'de> Visitor<'de> for ObjectMembers {
            type Value = Vec<(String, &'de RawValue)>;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(entries)
            }
        }
        deserializer.deserialize_map(ObjectMembers).map(Entries)
    }
}
