//! What a row of the tables can say about an option, and what a command is.
//!
//! Everything that can be known of a setting without reading one is in its row: parsing,
//! validation, the effect of a reload, help and reference take it from there.

use crate::model::format_duration;
use std::borrow::Cow;
use std::time::Duration;

/// How a value is written, on the command line and in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// Nothing, or `=true`, `=false` and Go's short forms of them.
    Switch,
    /// Any text. An empty one counts as not given.
    Text,
    /// A whole number, on the command line as Go's flags take it. Zero counts as not given, unless the row says otherwise.
    Number,
    /// A duration as Go writes it. An empty one, or one of nothing, counts as not given.
    Duration,
    /// `key=value`; in a file all of them are one object.
    Pair,
}

/// What a value means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SettingKind {
    /// On or off.
    Switch,
    /// Any text.
    Text,
    /// The name of a file or of a directory.
    Path,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// An address of this host, with the port it has if none is written; without such a port
    /// one must be written.
    Listen(Option<u16>),
    /// The address of a member to join, which is looked up when it is joined.
    Member,
    /// The name of a member.
    MemberName,
    /// A host and a port, which are looked up when they are needed.
    HostPort,
    /// A whole number.
    Number,
    /// A size in bytes.
    Size,
    /// A time span.
    Duration,
    /// A name and its value.
    Pair,
}

impl SettingKind {
    /// How it is written.
    pub(crate) const fn form(self) -> Form {
        match self {
            SettingKind::Switch => Form::Switch,
            SettingKind::Text
            | SettingKind::Path
            | SettingKind::Choice(_)
            | SettingKind::Listen(_)
            | SettingKind::Member
            | SettingKind::MemberName
            | SettingKind::HostPort => Form::Text,
            SettingKind::Number | SettingKind::Size => Form::Number,
            SettingKind::Duration => Form::Duration,
            SettingKind::Pair => Form::Pair,
        }
    }
}

/// What holds if an option is not given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DefaultValue {
    /// Nothing; a switch is off.
    None,
    /// A switch is on.
    On,
    /// This text.
    Text(&'static str),
    /// This number, or as many bytes.
    Number(i64),
    /// This long.
    Duration(Duration),
    /// What only the running program can know, in words.
    Words(&'static str),
}

/// Which values are accepted, of those that the kind allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Limits {
    /// All of them.
    None,
    /// Numbers and sizes from the first to the second. Others are refused.
    Between(i64, i64),
    /// A lower number counts as this one.
    NotBelow(i64),
    /// A shorter duration is raised to this one, with a warning.
    AtLeast(Duration),
    /// Texts of at most so many bytes. Longer ones are refused.
    Length(usize),
}

/// When a changed setting takes effect after the configuration was read again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reload {
    /// With the reload.
    Applied,
    /// When the agent starts again.
    Restart,
}

/// One option of one command, or one setting of an agent's configuration file.
#[derive(Clone, Copy, Debug)]
pub struct OptionSpec {
    /// The flag in its long form, `--bind`; empty for a setting that only files have.
    pub(crate) long: &'static str,
    /// What follows it.
    pub(crate) kind: SettingKind,
    /// What the help shows in place of the value; empty for a switch.
    placeholder: &'static str,
    /// Whether every occurrence counts, not only the last.
    pub(crate) repeatable: bool,
    /// What holds if it is not given.
    pub(crate) default: DefaultValue,
    /// Which values are accepted.
    pub(crate) limits: Limits,
    /// What it does, without its limits.
    help: &'static str,
    /// The key of the same setting in a configuration file.
    pub key: Option<&'static str>,
    /// Whether its value must not show up in messages.
    pub(crate) secret: bool,
    /// Whether zero is a value like others. With Serf's settings it counts as not given.
    pub(crate) zero_counts: bool,
    /// When a change takes effect.
    pub(crate) reload: Reload,
}

impl OptionSpec {
    /// The flag without its dashes; empty for a setting that only files have.
    pub fn name(&self) -> &'static str {
        self.long.trim_start_matches('-')
    }

    /// The flag without its dashes, if there is one.
    pub(crate) fn flag(&self) -> Option<&'static str> {
        Some(self.name()).filter(|name| !name.is_empty())
    }

    /// The key; empty for what only the command line has.
    pub(crate) fn key(&self) -> &'static str {
        self.key.unwrap_or_default()
    }

    /// What stands for the value in help and reference; empty for a switch.
    pub(crate) fn placeholder(&self) -> Cow<'static, str> {
        match self.kind {
            SettingKind::Choice(words) if self.placeholder.is_empty() => words.join("|").into(),
            _ => self.placeholder.into(),
        }
    }

    /// What it does and what it accepts, for `-h` and the reference.
    pub(crate) fn help(&self) -> String {
        let limits = match self.limits {
            Limits::None | Limits::NotBelow(_) => return self.help.to_string(),
            Limits::Between(least, most) => format!("{least} to {most}"),
            Limits::AtLeast(least) => format!("At least {}", short(least)),
            Limits::Length(most) => format!("At most {most} bytes"),
        };
        format!("{} {limits}.", self.help)
    }

    /// The default of a number or a size, if there is one.
    pub(crate) fn default_number(&self) -> Option<i64> {
        match self.default {
            DefaultValue::Number(number) => Some(number),
            _ => None,
        }
    }

    /// The default as people write it; empty if there is none.
    pub(crate) fn default_text(&self) -> String {
        match (self.default, self.kind) {
            (DefaultValue::None, _) => String::new(),
            (DefaultValue::On, _) => "true".to_string(),
            (DefaultValue::Text(text), SettingKind::Listen(Some(port))) => format!("{text}:{port}"),
            (DefaultValue::Text(text) | DefaultValue::Words(text), _) => text.to_string(),
            (DefaultValue::Number(number), _) => number.to_string(),
            (DefaultValue::Duration(duration), _) => short(duration),
        }
    }

    /// Whether values of this row are of such a form, and whether there always is one, or a list of
    /// any length.
    pub(crate) const fn yields(&self, form: Form, always: bool, list: bool) -> bool {
        let kept = matches!(form, Form::Switch) || !matches!(self.default, DefaultValue::None);
        self.kind.form() as u8 == form as u8 && (kept || !always) && self.repeatable == list
    }

    const fn new(
        kind: SettingKind,
        long: &'static str,
        placeholder: &'static str,
        help: &'static str,
    ) -> OptionSpec {
        OptionSpec {
            long,
            kind,
            placeholder,
            repeatable: false,
            default: DefaultValue::None,
            limits: Limits::None,
            help,
            key: None,
            secret: false,
            zero_counts: false,
            reload: Reload::Restart,
        }
    }

    pub(super) const fn switch(long: &'static str, help: &'static str) -> OptionSpec {
        OptionSpec::new(SettingKind::Switch, long, "", help)
    }

    pub(super) const fn text(
        long: &'static str,
        placeholder: &'static str,
        help: &'static str,
    ) -> OptionSpec {
        OptionSpec::new(SettingKind::Text, long, placeholder, help)
    }

    pub(super) const fn path(long: &'static str, help: &'static str) -> OptionSpec {
        OptionSpec::new(SettingKind::Path, long, "path", help)
    }

    pub(super) const fn choice(
        long: &'static str,
        words: &'static [&'static str],
        help: &'static str,
    ) -> OptionSpec {
        OptionSpec::new(SettingKind::Choice(words), long, "", help)
    }

    /// An address of this host with a port that is `port` unless one is written.
    pub(super) const fn listen(long: &'static str, port: Option<u16>, help: &'static str) -> OptionSpec {
        let placeholder = if port.is_some() { "addr[:port]" } else { "addr:port" };
        OptionSpec::new(SettingKind::Listen(port), long, placeholder, help)
    }

    /// Members to join.
    pub(super) const fn members(long: &'static str, help: &'static str) -> OptionSpec {
        OptionSpec::new(SettingKind::Member, long, "addr[:port]", help).repeatable()
    }

    /// Names of members.
    pub(super) const fn member_names(long: &'static str, help: &'static str) -> OptionSpec {
        OptionSpec::new(SettingKind::MemberName, long, "name", help).repeatable()
    }

    pub(super) const fn host_port(long: &'static str, help: &'static str) -> OptionSpec {
        OptionSpec::new(SettingKind::HostPort, long, "host:port", help)
    }

    pub(super) const fn number(long: &'static str, help: &'static str) -> OptionSpec {
        OptionSpec::new(SettingKind::Number, long, "n", help)
    }

    pub(super) const fn size(long: &'static str, help: &'static str) -> OptionSpec {
        OptionSpec::new(SettingKind::Size, long, "bytes", help)
    }

    pub(super) const fn duration(long: &'static str, help: &'static str) -> OptionSpec {
        OptionSpec::new(SettingKind::Duration, long, "duration", help)
    }

    pub(super) const fn pair(long: &'static str, help: &'static str) -> OptionSpec {
        OptionSpec::new(SettingKind::Pair, long, "key=value", help).repeatable()
    }

    /// Shows another word in place of the value.
    pub(super) const fn shown_as(mut self, placeholder: &'static str) -> OptionSpec {
        self.placeholder = placeholder;
        self
    }

    pub(super) const fn default(mut self, default: DefaultValue) -> OptionSpec {
        self.default = default;
        self
    }

    pub(super) const fn limits(mut self, limits: Limits) -> OptionSpec {
        self.limits = limits;
        self
    }

    pub(super) const fn keyed(mut self, key: &'static str) -> OptionSpec {
        self.key = Some(key);
        self
    }

    pub(super) const fn repeatable(mut self) -> OptionSpec {
        self.repeatable = true;
        self
    }

    pub(super) const fn secret(mut self) -> OptionSpec {
        self.secret = true;
        self
    }

    pub(super) const fn zero_counts(mut self) -> OptionSpec {
        self.zero_counts = true;
        self
    }

    pub(super) const fn reloadable(mut self) -> OptionSpec {
        self.reload = Reload::Applied;
        self
    }
}

/// A duration without the units that Go prints and nobody writes: `24h`, not `24h0m0s`.
fn short(duration: Duration) -> String {
    let text = format_duration(duration);
    let text = text.strip_suffix("m0s").map_or(text.clone(), |minutes| format!("{minutes}m"));
    text.strip_suffix("h0m").map_or(text.clone(), |hours| format!("{hours}h"))
}

/// What the arguments of a command are that are no flags, as far as a shell can complete them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operands {
    /// Names of members.
    MemberNames,
    /// One of these words.
    Words(&'static [&'static str]),
    /// There are none, or they can be anything.
    Others,
}

impl Operands {
    /// The words, if it is a choice of words.
    pub(crate) fn words(self) -> &'static [&'static str] {
        match self {
            Operands::Words(words) => words,
            Operands::MemberNames | Operands::Others => &[],
        }
    }
}

/// One command: how it is called and what it is for.
#[derive(Clone, Copy, Debug)]
pub struct CommandSpec {
    /// The word that selects it.
    pub name: &'static str,
    /// What follows the name in the usage line.
    pub(crate) arguments: &'static str,
    /// What these arguments are.
    pub(crate) operands: Operands,
    /// One line for the list of commands.
    pub(crate) synopsis: &'static str,
    /// A paragraph for `-h`.
    pub(crate) about: &'static str,
    /// Its options, in the order of the help.
    pub options: &'static [OptionSpec],
}

impl CommandSpec {
    /// The option of this name.
    pub(crate) fn option(&self, name: &str) -> Option<&'static OptionSpec> {
        self.options.iter().find(|o| o.name() == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_shown_as_they_are_written() {
        for (seconds, text) in
            [(0, "0s"), (5, "5s"), (30, "30s"), (60, "1m"), (90, "1m30s"), (86_400, "24h"), (86_460, "24h1m")]
        {
            assert_eq!(short(Duration::from_secs(seconds)), text);
        }
    }

    #[test]
    fn help_and_default_say_what_the_row_holds() {
        let row = OptionSpec::duration("--pause", "A pause.")
            .limits(Limits::AtLeast(Duration::from_millis(300)))
            .default(DefaultValue::Duration(Duration::from_secs(90)));
        assert_eq!((row.help().as_str(), row.default_text().as_str()), ("A pause. At least 300ms.", "1m30s"));
        assert!(row.yields(Form::Duration, true, false) && !row.yields(Form::Number, true, false));
        let row = OptionSpec::choice("--colour", &["red", "blue"], "A colour.");
        assert_eq!((row.placeholder().as_ref(), row.default_text().as_str()), ("red|blue", ""));
        assert!(row.yields(Form::Text, false, false) && !row.yields(Form::Text, true, false));
    }
}
