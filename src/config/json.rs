//! The text of one configuration file: a JSON object of settings, each found with its line.
//!
//! The syntax is checked by `serde_json`. Values are taken as slices of the text
//! ([`RawValue`]), so that where a slice begins shows its line, and nothing is read deeper than the
//! option table asks for.

use super::error::FileProblem;
use super::nearest::nearest;
use super::options::{Form, OptionSpec, settings};
use super::raw::RawConfig;
use super::value::{Place, Value, ValueSource, duration};
use crate::model::lossy;
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
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
    warnings: &mut Vec<String>,
) -> Result<Option<&'static str>, FileProblem> {
    if bytes.starts_with(b"\xef\xbb\xbf") {
        return Err(FileProblem::ByteOrderMark);
    }
    let text = text_of(path, bytes, warnings);
    let breaks = text.match_indices('\n').map(|(at, _)| at).collect();
    let mut reader = JsonReader { path, text: &text, breaks, raw, warnings, secret: None };
    reader.file()?;
    Ok(reader.secret)
}

struct JsonReader<'a, 'r> {
    path: &'a Arc<Path>,
    text: &'a str,
    /// Where the lines end.
    breaks: Vec<usize>,
    raw: &'r mut RawConfig,
    warnings: &'r mut Vec<String>,
    secret: Option<&'static str>,
}

impl<'a> JsonReader<'a, '_> {
    fn file(&mut self) -> Result<(), FileProblem> {
        let start = self.text.trim_start_matches([' ', '\t', '\r', '\n']);
        let line = self.line(start);
        match start.chars().next() {
            None => Err(FileProblem::Empty),
            Some('{') => {
                let object = self.first_value(start)?;
                self.object("", object)
            }
            // As with Serf: an object that sets nothing.
            Some('n') if start.trim_end() == "null" => Ok(()),
            Some('/' | '#') => Err(FileProblem::Comment { line }),
            Some(_) => Err(FileProblem::NotAnObject { line }),
        }
    }

    /// The object that the file begins with. Serf does not read on, so what follows is no reason not to
    /// start, but surely is a mistake.
    fn first_value(&mut self, start: &'a str) -> Result<&'a str, FileProblem> {
        let mut values = serde_json::Deserializer::from_str(start).into_iter::<&RawValue>();
        if !matches!(values.next(), Some(Ok(_))) {
            return Ok(start);
        }
        let (first, rest) = start.split_at(values.byte_offset());
        let rest = rest.trim_start();
        match rest.chars().next() {
            None => {}
            Some('/' | '#') => return Err(FileProblem::Comment { line: self.line(rest) }),
            Some(_) => self.warn(self.line(rest), "what follows the object is ignored"),
        }
        Ok(first)
    }

    /// The members of an object. Of two with one key the last counts, as with Serf.
    fn members(&mut self, group: &str, text: &'a str) -> Result<Vec<(String, &'a RawValue)>, FileProblem> {
        let mut members = self.parse::<Entries<'a>>(text)?.0;
        let mut last: BTreeMap<String, usize> = BTreeMap::new();
        for (key, value) in &members {
            last.insert(key.clone(), self.line(value.get()));
        }
        let mut counts = vec![true; members.len()];
        let mut later = BTreeSet::new();
        for (i, (key, value)) in members.iter().enumerate().rev() {
            counts[i] = later.insert(key.as_str());
            if !counts[i] {
                let shown = shorten(&if group.is_empty() { key.clone() } else { format!("{group}.{key}") });
                let again = last.get(key).copied().unwrap_or_default();
                let line = self.line(value.get());
                self.warn(line, &format!("key '{shown}' is set again on line {again}, which counts"));
            }
        }
        let mut counts = counts.into_iter();
        members.retain(|_| counts.next().unwrap_or(true));
        Ok(members)
    }

    fn warn(&mut self, line: usize, what: &str) {
        self.warnings.push(format!("Warning: '{}', line {line}: {what}", self.path.display()));
    }

    /// The settings of an object; `group` is the key that it stands under.
    fn object(&mut self, group: &str, text: &'a str) -> Result<(), FileProblem> {
        let mut seen: BTreeMap<String, usize> = BTreeMap::new();
        for (key, value) in self.members(group, text)? {
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
                self.set(key, line, Value::Switch(value.get() == "true"));
            }
            (Form::Number, _, b'-' | b'0'..=b'9') => {
                let number = number(value.get()).ok_or_else(wrong)?;
                self.set(key, line, Value::Number(number));
            }
            (Form::Duration, _, b'"') => {
                let text: String = self.parse(value.get())?;
                if !text.is_empty() {
                    let duration = duration(&text, option.limits).map_err(|_| wrong())?;
                    self.set(key, line, Value::Duration(Some(duration)));
                }
            }
            (Form::Text, false, b'"') => {
                let text: String = self.parse(value.get())?;
                self.secret = self.secret.or((option.secret && !text.is_empty()).then_some(key));
                self.set(key, line, Value::Text(text.into()));
            }
            (Form::Text, true, b'[') => {
                for (i, item) in self.parse::<Vec<&'a RawValue>>(value.get())?.into_iter().enumerate() {
                    let line = self.line(item.get());
                    let wrong = || refuse(line, format!("{key}[{i}]"), item, true);
                    let text = self.text_of_item(item)?.ok_or_else(wrong)?;
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
        for (name, item) in self.members(key, value.get())? {
            let line = self.line(item.get());
            let wrong = || refuse(line, shorten(&format!("{key}.{name}")), item, true);
            let text = self.text_of_item(item)?.ok_or_else(wrong)?;
            self.push(key, line, Value::Pair(name.into(), text.into()));
        }
        Ok(())
    }

    /// The text of an item of a list or an object; for Serf null is an empty one. None if it is no text.
    fn text_of_item(&self, item: &'a RawValue) -> Result<Option<String>, FileProblem> {
        match item.get() {
            "null" => Ok(Some(String::new())),
            text if text.starts_with('"') => self.parse(text).map(Some),
            _ => Ok(None),
        }
    }

    /// A value that is the only one of its key.
    fn set(&mut self, key: &'static str, line: usize, value: Value) {
        let place = Place { path: self.path.clone(), line, key };
        self.raw.push_one(key, value, ValueSource::File(place));
    }

    fn push(&mut self, key: &'static str, line: usize, value: Value) {
        let place = Place { path: self.path.clone(), line, key };
        self.raw.push(key, value, ValueSource::File(place));
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

/// The text of a file. A byte that is no text is read as Serf reads it: as U+FFFD.
fn text_of<'a>(path: &Path, bytes: &'a [u8], warnings: &mut Vec<String>) -> Cow<'a, str> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Cow::Borrowed(text),
        Err(e) => {
            let line = 1 + bytes[..e.valid_up_to()].iter().filter(|b| **b == b'\n').count();
            let path = path.display();
            warnings
                .push(format!("Warning: '{path}', line {line}: not UTF-8; each such byte is read as U+FFFD"));
            lossy(bytes)
        }
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
