//! Reads arguments as Go's `flag` package does: one dash or two, `-k v` or `-k=v`.
//!
//! Arguments are first walked with the option table and written in one unambiguous form,
//! from which `pico-args` extracts the values. What a value means to an agent is not known
//! here.

use super::options::{CommandSpec, Form, OptionSpec};
use super::value::{Value, duration};
use crate::model::{Text, lossy, parse_number};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::time::Duration;

/// The flags that were given, and the arguments after them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Flags {
    values: BTreeMap<&'static str, Vec<Value>>,
    /// The names of the flags in the order in which they stood.
    order: Vec<&'static str>,
    /// The arguments after the last flag.
    pub(crate) rest: Vec<Text>,
}

/// What the arguments of a command ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Parsed {
    /// To run it.
    Run(Flags),
    /// `-h`, `-help`: to print its help.
    Help,
    /// `-v`, `-version`: to print the program's version.
    Version,
}

/// Why arguments were refused. Every variant names the flag as it was written in the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum FlagError {
    /// The command has no such flag.
    Unknown(String),
    /// Three dashes, or no name before `=`.
    BadSyntax(String),
    /// The last argument is a flag that needs a value.
    MissingValue(&'static str),
    /// The value is not of the flag's kind.
    BadValue {
        /// The flag.
        flag: &'static str,
        /// What was given.
        value: Text,
        /// What would have been right.
        expected: &'static str,
    },
}

impl fmt::Display for FlagError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FlagError::Unknown(name) => write!(f, "unknown flag: -{name}"),
            FlagError::BadSyntax(text) => write!(f, "not a flag: {text} (expected -name or -name=value)"),
            FlagError::MissingValue(flag) => write!(f, "flag -{flag} needs a value"),
            FlagError::BadValue { flag, value, expected } => {
                write!(f, "invalid value \"{value}\" for flag -{flag}: expected {expected}")
            }
        }
    }
}

impl std::error::Error for FlagError {}

impl Flags {
    /// The value that counts where only one does.
    pub(crate) fn last(&self, name: &str) -> Option<&Value> {
        self.values.get(name)?.last()
    }

    /// Whether the flag was given at all, with whatever value.
    pub(crate) fn given(&self, name: &str) -> bool {
        self.values.contains_key(name)
    }

    /// A switch; off unless given.
    pub(crate) fn switch(&self, name: &str) -> bool {
        matches!(self.last(name), Some(Value::Switch(true)))
    }

    /// A word or an address; the last one counts, and an empty one is none. What is not UTF-8 is neither.
    pub(crate) fn text(&self, name: &str) -> Option<Cow<'_, str>> {
        self.bytes(name).map(Text::to_lossy)
    }

    /// A text; the last one counts, and an empty one is none.
    pub(crate) fn bytes(&self, name: &str) -> Option<&Text> {
        self.given_bytes(name).filter(|text| !text.is_empty())
    }

    /// As [`Flags::text`], if the flag was given, even if it is empty.
    pub(crate) fn given_text(&self, name: &str) -> Option<Cow<'_, str>> {
        self.given_bytes(name).map(Text::to_lossy)
    }

    /// A text if the flag was given, even an empty one; the last one counts.
    pub(crate) fn given_bytes(&self, name: &str) -> Option<&Text> {
        match self.last(name) {
            Some(Value::Text(text)) => Some(text),
            _ => None,
        }
    }

    /// Every text given with a repeatable flag, in order, empty ones included.
    pub(crate) fn texts(&self, name: &str) -> Vec<Text> {
        self.all(name)
            .iter()
            .filter_map(|v| if let Value::Text(t) = v { Some(t.clone()) } else { None })
            .collect()
    }

    /// Every text given with any of these flags, in the order in which they stood.
    pub(crate) fn texts_of_any(&self, names: &[&str]) -> Vec<Text> {
        let mut texts: Vec<_> = names.iter().map(|name| self.texts(name).into_iter()).collect();
        let flag = |given: &&'static str| names.iter().position(|name| name == given);
        self.order.iter().filter_map(flag).filter_map(|i| texts[i].next()).collect()
    }

    /// Every value of a flag, in order.
    pub(crate) fn all(&self, name: &str) -> &[Value] {
        self.values.get(name).map(Vec::as_slice).unwrap_or_default()
    }

    /// A number; the last one counts.
    pub(crate) fn number(&self, name: &str) -> Option<i64> {
        match self.last(name) {
            Some(Value::Number(n)) => Some(*n),
            _ => None,
        }
    }

    /// A duration; the last one counts.
    pub(crate) fn duration(&self, name: &str) -> Option<Duration> {
        match self.last(name) {
            Some(Value::Duration(d)) => *d,
            _ => None,
        }
    }
}

/// Reads the arguments after the name of a command.
pub(crate) fn parse(command: &CommandSpec, arguments: Vec<OsString>) -> Result<Parsed, FlagError> {
    let arguments: Vec<Vec<u8>> = arguments.into_iter().map(OsString::into_vec).collect();
    // Serf answers a plea for help wherever it stands, up to `--`: `serf join host -h` does not try to
    // join a host named "-h", and `serf agent -node -h` starts no agent of that name.
    let asked = |words: &[&[u8]]| {
        arguments.iter().take_while(|a| *a != b"--").any(|argument| words.contains(&argument.as_slice()))
    };
    if asked(&[b"-v", b"--version"]) {
        return Ok(Parsed::Version);
    }
    if asked(&[b"-h", b"-help", b"--help"]) {
        return Ok(Parsed::Help);
    }
    match normalise(command, arguments)? {
        Walked::Flags { normal, order, rest } => {
            Ok(Parsed::Run(Flags { values: extract(command, normal)?, order, rest }))
        }
        Walked::Help => Ok(Parsed::Help),
        Walked::Version => Ok(Parsed::Version),
    }
}

enum Walked {
    Flags { normal: Vec<OsString>, order: Vec<&'static str>, rest: Vec<Text> },
    Help,
    Version,
}

/// Walks the arguments with the table in hand, which alone says whether `-a -b` are two
/// switches or a flag and its value.
fn normalise(command: &CommandSpec, arguments: Vec<Vec<u8>>) -> Result<Walked, FlagError> {
    let (mut normal, mut order) = (Vec::new(), Vec::new());
    let mut arguments = arguments.into_iter();
    let mut rest = Vec::new();
    // As with Serf, what follows a command without options is of no matter.
    while !command.options.is_empty()
        && let Some(argument) = arguments.next()
    {
        if argument == b"--" {
            rest.extend(arguments.map(Text::from));
            return Ok(Walked::Flags { normal, order, rest });
        }
        let Some(body) = argument.strip_prefix(b"-").filter(|body| !body.is_empty()) else {
            rest.push(argument.into());
            break;
        };
        let body = body.strip_prefix(b"-").unwrap_or(body);
        let mut halves = body.splitn(2, |byte| *byte == b'=');
        let (name, inline) = (lossy(halves.next().unwrap_or_default()), halves.next().map(<[u8]>::to_vec));
        if name.is_empty() || name.starts_with('-') {
            return Err(FlagError::BadSyntax(lossy(&argument).into_owned()));
        }
        let Some(option) = command.option(&name) else {
            return match &*name {
                "h" | "help" => Ok(Walked::Help),
                "v" | "version" => Ok(Walked::Version),
                _ => Err(FlagError::Unknown(name.to_string())),
            };
        };
        let value = match (inline, option.kind.form()) {
            (Some(value), _) => value,
            (None, Form::Switch) => b"true".to_vec(),
            (None, Form::Text | Form::Pair | Form::Number | Form::Duration) => {
                arguments.next().ok_or(FlagError::MissingValue(option.name()))?
            }
        };
        normal.extend(normal_form(option, &value));
        order.push(option.name());
    }
    rest.extend(arguments.map(Text::from));
    Ok(Walked::Flags { normal, order, rest })
}

/// `--name` and `=value`. With a mark in front no value is ever taken for a flag.
fn normal_form(option: &OptionSpec, value: &[u8]) -> [OsString; 2] {
    [option.long.into(), OsString::from_vec([b"=", value].concat())]
}

fn extract(
    command: &CommandSpec,
    normal: Vec<OsString>,
) -> Result<BTreeMap<&'static str, Vec<Value>>, FlagError> {
    let mut arguments = pico_args::Arguments::from_vec(normal);
    let mut values = BTreeMap::new();
    for option in command.options {
        let unmarked = |marked: &OsStr| {
            let marked = marked.as_bytes();
            Ok::<Text, std::convert::Infallible>(marked.strip_prefix(b"=").unwrap_or(marked).into())
        };
        let texts: Vec<Text> = arguments
            .values_from_os_str(option.long, unmarked)
            // Cannot happen to the normal form, and is an error and not a panic all the same.
            .map_err(|_| FlagError::MissingValue(option.name()))?;
        let checked: Vec<Value> =
            texts.into_iter().map(|text| check(option, text)).collect::<Result<_, FlagError>>()?;
        if !checked.is_empty() {
            values.insert(option.name(), checked);
        }
    }
    debug_assert!(arguments.finish().is_empty(), "every argument came from the table");
    Ok(values)
}

fn check(option: &OptionSpec, text: Text) -> Result<Value, FlagError> {
    let expected = match option.kind.form() {
        Form::Text | Form::Pair => return Ok(Value::Text(text)),
        // The spellings that Go's strconv.ParseBool knows.
        Form::Switch => match &*text.to_lossy() {
            "1" | "t" | "T" | "true" | "TRUE" | "True" => return Ok(Value::Switch(true)),
            "0" | "f" | "F" | "false" | "FALSE" | "False" => return Ok(Value::Switch(false)),
            _ => "true or false",
        },
        Form::Number => match parse_number(&text.to_lossy()) {
            Some(n) => return Ok(Value::Number(n)),
            None => "a whole number",
        },
        // As with Serf, only those that a configuration file has, too, may be empty.
        Form::Duration if text.is_empty() && option.key.is_some() => return Ok(Value::Duration(None)),
        Form::Duration => match duration(&text.to_lossy(), option.limits) {
            Ok(d) => return Ok(Value::Duration(Some(d))),
            Err(_) => "a duration, such as 300ms, 30s or 1h15m",
        },
    };
    Err(FlagError::BadValue { flag: option.name(), value: text, expected })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::options::{AGENT, COMMANDS, JOIN, KEYGEN, MEMBERS};
    use proptest::prelude::*;
    use std::os::unix::ffi::OsStringExt;

    fn read(command: &CommandSpec, arguments: &[&str]) -> Result<Parsed, FlagError> {
        parse(command, arguments.iter().map(OsString::from).collect())
    }

    fn flags(command: &CommandSpec, arguments: &[&str]) -> Flags {
        match read(command, arguments) {
            Ok(Parsed::Run(flags)) => flags,
            other => panic!("{arguments:?}: {other:?}"),
        }
    }

    #[test]
    fn every_flag_in_every_form() {
        for command in COMMANDS {
            for option in command.options {
                let name = option.name();
                let (text, value) = match option.kind.form() {
                    Form::Switch => ("true", Value::Switch(true)),
                    Form::Text | Form::Pair => ("some text", Value::Text("some text".into())),
                    Form::Number => ("-4", Value::Number(-4)),
                    Form::Duration => ("1m30s", Value::Duration(Some(Duration::from_secs(90)))),
                };
                let inline = [format!("-{name}={text}"), format!("--{name}={text}")];
                for argument in &inline {
                    assert_eq!(flags(command, &[argument]).last(name), Some(&value), "{argument}");
                }
                for flag in [format!("-{name}"), format!("--{name}")] {
                    let given = match option.kind.form() {
                        Form::Switch => flags(command, &[&flag]),
                        _ => {
                            assert_eq!(read(command, &[&flag]), Err(FlagError::MissingValue(name)));
                            flags(command, &[&flag, text])
                        }
                    };
                    assert_eq!(given.last(name), Some(&value), "{flag}");
                    assert!(given.rest.is_empty());
                }
            }
        }
    }

    #[test]
    fn awkward_values_arrive_unchanged() {
        for value in
            ["", "\"", "'", "\"quoted\"", "'q", "a\"", "-x", "--name", "--name=y", "a=b=c", "=", " ", "é\n"]
        {
            for arguments in [vec!["-tag".to_string(), value.into()], vec![format!("--tag={value}")]] {
                let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
                assert_eq!(flags(&MEMBERS, &arguments).texts("tag"), [value], "{arguments:?}");
            }
        }
        assert_eq!(flags(&MEMBERS, &["-name", "--"]).text("name").as_deref(), Some("--"));
    }

    #[test]
    fn the_last_value_counts_unless_all_do() {
        let given =
            flags(&AGENT, &["-node=a", "-join=x", "-node", "b", "-join", "y", "-replay", "-replay=f"]);
        assert_eq!(given.text("node").as_deref(), Some("b"));
        assert_eq!(given.texts("join"), ["x", "y"]);
        assert!(given.given("replay") && !given.switch("replay"));
        assert_eq!(flags(&AGENT, &["-node=a", "-node="]).text("node"), None);
    }

    #[test]
    fn flags_that_make_one_list_keep_their_order() {
        let given = flags(&AGENT, &["-config-dir=d", "-config-file=b", "-node=n", "-config-dir", "c"]);
        assert_eq!(given.texts_of_any(&["config-file", "config-dir"]), ["d", "b", "c"]);
        assert_eq!(given.texts_of_any(&["config-file"]), ["b"]);
        assert!(Flags::default().texts_of_any(&["config-file"]).is_empty());
    }

    #[test]
    fn switches_never_swallow_the_next_argument() {
        let given = flags(&JOIN, &["-replay", "false"]);
        assert!(given.switch("replay"));
        assert_eq!(given.rest, ["false"]);
        for (text, on) in
            [("1", true), ("T", true), ("True", true), ("0", false), ("FALSE", false), ("f", false)]
        {
            assert_eq!(flags(&JOIN, &[&format!("-replay={text}")]).switch("replay"), on, "{text}");
        }
    }

    #[test]
    fn flags_end_at_the_first_argument_that_is_none() {
        assert_eq!(flags(&JOIN, &["a", "-replay"]).rest, ["a", "-replay"]);
        assert_eq!(flags(&JOIN, &["-", "b"]).rest, ["-", "b"]);
        assert_eq!(flags(&JOIN, &["--", "-replay", "-h"]).rest, ["-replay", "-h"]);
        assert_eq!(flags(&JOIN, &["a", "--", "-h"]).rest, ["a", "--", "-h"]);
        assert!(!flags(&JOIN, &["a", "-replay"]).switch("replay"));
    }

    #[test]
    fn what_follows_a_command_without_options_is_of_no_matter() {
        for arguments in [&["-bogus"][..], &["x", "y"], &["--", "x"], &["-h=1"]] {
            assert!(matches!(read(&KEYGEN, arguments), Ok(Parsed::Run(_))), "{arguments:?}");
        }
        assert_eq!(read(&KEYGEN, &["x", "-h"]), Ok(Parsed::Help));
    }

    #[test]
    fn help_and_version_are_found() {
        for arguments in [
            &["-h"][..],
            &["--help"],
            &["-help"],
            &["-replay", "-h"],
            &["host", "-h"],
            &["-rpc-addr", "-h"],
            &["-h=false"],
        ] {
            assert_eq!(read(&JOIN, arguments), Ok(Parsed::Help), "{arguments:?}");
        }
        for arguments in [&["-v"][..], &["--version"], &["host", "-v"]] {
            assert_eq!(read(&JOIN, arguments), Ok(Parsed::Version), "{arguments:?}");
        }
    }

    #[test]
    fn refusals_name_the_flag_and_the_value() {
        for (arguments, text) in [
            (&["-bogus"][..], "unknown flag: -bogus"),
            (&["--bogus=1"], "unknown flag: -bogus"),
            (&["---x"], "not a flag: ---x (expected -name or -name=value)"),
            (&["-=x"], "not a flag: -=x (expected -name or -name=value)"),
            (&["--=x"], "not a flag: --=x (expected -name or -name=value)"),
            (&["-bind"], "flag -bind needs a value"),
            (&["-protocol=x"], "invalid value \"x\" for flag -protocol: expected a whole number"),
            (&["-protocol="], "invalid value \"\" for flag -protocol: expected a whole number"),
            (&["-replay=zz"], "invalid value \"zz\" for flag -replay: expected true or false"),
            (&["-replay="], "invalid value \"\" for flag -replay: expected true or false"),
            (
                &["-broadcast-timeout", "5"],
                "invalid value \"5\" for flag -broadcast-timeout: \
                 expected a duration, such as 300ms, 30s or 1h15m",
            ),
        ] {
            assert_eq!(read(&AGENT, arguments).unwrap_err().to_string(), text);
        }
    }

    proptest! {
        #[test]
        fn no_arguments_panic(
            arguments in proptest::collection::vec(
                prop_oneof![
                    proptest::collection::vec(any::<u8>(), 0..12),
                    "-{0,3}[a-z\"'=-]{0,6}".prop_map(String::into_bytes),
                    (0usize..30, "(=.{0,8})?").prop_map(|(i, tail)| {
                        format!("-{}{tail}", AGENT.options[i % AGENT.options.len()].name()).into_bytes()
                    }),
                ],
                0..8,
            ),
        ) {
            for command in COMMANDS {
                let _ = parse(command, arguments.iter().cloned().map(OsString::from_vec).collect());
            }
        }

        #[test]
        fn texts_round_trip(
            values in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..12), 0..5),
        ) {
            let arguments = values.iter().flat_map(|v| ["-tag".into(), OsString::from_vec(v.clone())]).collect();
            let Ok(Parsed::Run(given)) = parse(&AGENT, arguments) else { panic!("refused") };
            prop_assert_eq!(given.texts("tag"), values.into_iter().map(Text::from).collect::<Vec<_>>());
        }
    }
}
