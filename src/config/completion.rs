//! Completions for shells, made from the option table like the help: `serf completion SHELL`.
//!
//! Each shell is offered the commands, the flags of a command, the words of a flag that has a choice, files where one
//! is wanted, and members and topics where their names are.

use super::options::{CommandSpec, Operands, OptionSpec, SettingKind};
use super::usage::first_sentence;
use std::fmt::Write;

/// What a shell is to know of a program.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Completed<'a> {
    /// Its name.
    pub(crate) program: &'a str,
    /// Its commands.
    pub(crate) commands: &'a [&'a CommandSpec],
    /// What `help` knows besides these.
    pub(crate) topics: &'a [&'a str],
}

/// The script for a shell, without a final line break; `None` for one that is not known.
pub(crate) fn script(shell: &str, of: Completed<'_>) -> Option<String> {
    let mut out = match shell {
        "bash" => bash(of),
        "zsh" => zsh(of),
        "fish" => fish(of),
        _ => return None,
    };
    out.truncate(out.trim_end().len());
    Some(out)
}

/// What follows a flag.
enum Value<'a> {
    Nothing,
    Words(&'a [&'static str]),
    Files,
    Members,
    Anything,
}

fn value(option: &OptionSpec) -> Value<'_> {
    match option.kind {
        SettingKind::Switch => Value::Nothing,
        SettingKind::Choice(words) => Value::Words(words),
        SettingKind::Path => Value::Files,
        SettingKind::MemberName => Value::Members,
        SettingKind::Text
        | SettingKind::Listen(_)
        | SettingKind::Member
        | SettingKind::HostPort
        | SettingKind::Number
        | SettingKind::Size
        | SettingKind::Duration
        | SettingKind::Pair => Value::Anything,
    }
}

fn takes_value(option: &OptionSpec) -> bool {
    !matches!(value(option), Value::Nothing)
}

/// Prints the names of members, one a line, and nothing if there is no agent.
fn list_members(program: &str) -> String {
    format!("{program} members 2>/dev/null | while read -r name rest; do echo \"$name\"; done")
}

fn bash(of: Completed<'_>) -> String {
    let Completed { program, commands, topics } = of;
    let function = format!("_{}", program.replace('-', "_"));
    let names: Vec<&str> = commands.iter().map(|command| command.name).collect();
    let mut out =
        format!("# Completions of {program} for bash. To load them: source <({program} completion bash)\n");
    let _ = write!(
        out,
        r#"
{function}_members() {{
    {members}
}}

{function}() {{
    local cur=${{COMP_WORDS[COMP_CWORD]}} prev=${{COMP_WORDS[COMP_CWORD-1]}} command= flag= words= i
    # Bash takes '=' for a word of its own.
    if [[ $cur == = ]]; then
        flag=$prev cur=
    elif [[ $prev == = ]]; then
        flag=${{COMP_WORDS[COMP_CWORD-2]}}
    elif [[ $prev == -* ]]; then
        flag=$prev
    fi
    flag=${{flag/#--/-}}
    for ((i = 1; i < COMP_CWORD; i++)); do
        if [[ ${{COMP_WORDS[i]}} != -* ]]; then
            command=${{COMP_WORDS[i]}}
            break
        fi
    done
    COMPREPLY=()
    case "$command $flag" in
"#,
        members = list_members(program),
    );
    for command in commands {
        for option in command.options.iter().filter(|option| takes_value(option)) {
            let found = match value(option) {
                Value::Words(words) => format!("words='{}'", words.join(" ")),
                Value::Files => "compopt -o default; return".to_string(),
                Value::Members => format!("words=$({function}_members)"),
                Value::Anything | Value::Nothing => "return".to_string(),
            };
            let _ = writeln!(out, "        '{} -{}') {found} ;;", command.name, option.name());
        }
    }
    let _ = writeln!(
        out,
        "    esac\n    if [[ -n $words ]]; then\n        COMPREPLY=($(compgen -W \"$words\" -- \"$cur\"))\n        \
         return\n    fi\n    case $command in\n        '') words='{} help -version -help' ;;\n        help) words='{} {}' ;;",
        names.join(" "),
        names.join(" "),
        topics.join(" "),
    );
    for command in commands {
        let mut words: Vec<String> = command.operands.words().iter().map(ToString::to_string).collect();
        for option in command.options {
            words.push(format!("-{}{}", option.name(), if takes_value(option) { "=" } else { "" }));
        }
        let members = match command.operands {
            Operands::MemberNames => format!(" $({function}_members)"),
            Operands::Words(_) | Operands::Others => String::new(),
        };
        let _ = writeln!(out, "        {}) words=\"{}{members}\" ;;", command.name, words.join(" "));
    }
    let _ = writeln!(
        out,
        "    esac\n    COMPREPLY=($(compgen -W \"$words\" -- \"$cur\"))\n    if [[ ${{#COMPREPLY[@]}} == 1 && \
         ${{COMPREPLY[0]}} == *= ]]; then\n        compopt -o nospace\n    fi\n}}\n\ncomplete -F {function} {program}"
    );
    out
}

/// A text within single quotes.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

fn zsh(of: Completed<'_>) -> String {
    let Completed { program, commands, topics } = of;
    let function = format!("_{program}");
    let mut out = format!(
        "#compdef {program}\n# Completions of {program} for zsh. To load them: source <({program} completion zsh)\n\n\
         {function}_members() {{\n    local -a names\n    names=(${{(f)\"$({members})\"}})\n    \
         compadd -a names\n}}\n\n{function}() {{\n    local state line\n    local -a commands\n    commands=(\n",
        members = list_members(program),
    );
    let colons = |text: &str| text.replace(':', "\\:");
    for command in commands {
        let _ =
            writeln!(out, "        {}", quoted(&format!("{}:{}", command.name, colons(command.synopsis))));
    }
    let _ = writeln!(
        out,
        "        {}\n    )\n    _arguments -C '-version[Print the version]' '-help[List the commands]' \\\n        \
         '1:command:->command' '*::argument:->arguments' && return\n    case $state in\n        command) _describe \
         command commands ;;\n        arguments)\n            case ${{line[1]}} in",
        quoted("help:Explain a command or a topic of the manual"),
    );
    let names: Vec<&str> =
        commands.iter().map(|command| command.name).chain(topics.iter().copied()).collect();
    let _ = writeln!(
        out,
        "                help) _arguments {} ;;",
        quoted(&format!("1:topic:({})", names.join(" ")))
    );
    for command in commands {
        let mut rows: Vec<String> =
            command.options.iter().map(|option| quoted(&zsh_option(program, option))).collect();
        match command.operands {
            Operands::Words(words) => rows.push(quoted(&format!("1:word:({})", words.join(" ")))),
            Operands::MemberNames => rows.push(quoted(&format!("*:member:{function}_members"))),
            Operands::Others => {}
        }
        let rows = rows.join(" \\\n                    ");
        let _ = writeln!(
            out,
            "                {}) _arguments -S \\\n                    {rows} ;;",
            command.name
        );
    }
    let _ = write!(
        out,
        "            esac ;;\n    esac\n}}\n\nif [[ $zsh_eval_context[-1] == loadautofunc ]]; then\n    {function} \
         \"$@\"\nelse\n    compdef {function} {program}\nfi"
    );
    out
}

fn zsh_option(program: &str, option: &OptionSpec) -> String {
    let escaped = |text: &str| {
        let mut out = String::new();
        for c in text.chars() {
            if matches!(c, '[' | ']' | ':' | '\\') {
                out.push('\\');
            }
            out.push(c);
        }
        out
    };
    let repeated = if option.repeatable { "*" } else { "" };
    let about = escaped(&first_sentence(&option.help()));
    let placeholder = escaped(&option.placeholder());
    let action = match value(option) {
        Value::Nothing => return format!("{repeated}-{}[{about}]", option.name()),
        Value::Words(words) => format!("({})", words.join(" ")),
        Value::Files => "_files".to_string(),
        Value::Members => format!("_{program}_members"),
        Value::Anything => " ".to_string(),
    };
    format!("{repeated}-{}=[{about}]:{placeholder}:{action}", option.name())
}

fn fish(of: Completed<'_>) -> String {
    let Completed { program, commands, topics } = of;
    let mut out = format!(
        "# Completions of {program} for fish. To load them: {program} completion fish | source\n\n\
         complete -c {program} -f\n"
    );
    let first = format!("complete -c {program} -n __fish_use_subcommand");
    let _ =
        writeln!(out, "{first} -o version -d 'Print the version'\n{first} -o help -d 'List the commands'");
    let fish_quoted = |text: &str| format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"));
    for command in commands {
        let _ = writeln!(out, "{first} -a {} -d {}", command.name, fish_quoted(command.synopsis));
    }
    let _ = writeln!(out, "{first} -a help -d 'Explain a command or a topic of the manual'");
    let names: Vec<&str> =
        commands.iter().map(|command| command.name).chain(topics.iter().copied()).collect();
    let of_command = |name: &str| format!("complete -c {program} -n '__fish_seen_subcommand_from {name}'");
    let _ = writeln!(out, "{} -a '{}'", of_command("help"), names.join(" "));
    for command in commands {
        let row = of_command(command.name);
        let members = format!("'({program} members 2>/dev/null | string split -f1 \" \")'");
        match command.operands {
            Operands::Words(words) => drop(writeln!(out, "{row} -a '{}'", words.join(" "))),
            Operands::MemberNames => drop(writeln!(out, "{row} -a {members}")),
            Operands::Others => {}
        }
        for option in command.options {
            let takes = match value(option) {
                Value::Nothing => String::new(),
                Value::Words(words) => format!(" -x -a '{}'", words.join(" ")),
                Value::Files => " -r -F".to_string(),
                Value::Members => format!(" -x -a {members}"),
                Value::Anything => " -x".to_string(),
            };
            let about = fish_quoted(&first_sentence(&option.help()));
            let _ = writeln!(out, "{row} -o {}{takes} -d {about}", option.name());
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::options::{AGENT, COMMANDS, SHELLS};

    #[test]
    fn every_command_and_flag_is_in_every_script() {
        for shell in SHELLS {
            let of = Completed { program: "serf", commands: COMMANDS, topics: &["limits"] };
            let script = script(shell, of).unwrap();
            for command in COMMANDS {
                assert!(script.contains(command.name), "{shell}: {}", command.name);
                for option in command.options {
                    assert!(script.contains(option.name()), "{shell}: {} {}", command.name, option.name());
                }
            }
            assert!(script.contains("limits") && script.contains("text json"), "{shell}");
        }
        assert_eq!(script("tcsh", Completed { program: "serf", commands: &[], topics: &[] }), None);
    }

    #[test]
    fn what_means_something_to_zsh_is_escaped() {
        let bind = AGENT.options.iter().find(|option| option.name() == "bind").unwrap();
        let row = zsh_option("serf", bind);
        assert!(row.starts_with("-bind=[") && row.ends_with("]:addr\\[\\:port\\]: "), "{row}");
        assert_eq!(quoted("it's"), "'it'\\''s'");
    }
}
