//! What shells offer and what `man` shows, asked of the real ones.

use crate::harness::notes::skip;
use crate::harness::{Scratch, run, serf};
use std::path::{Path, PathBuf};
use std::process::Command;

/// A program of the host, or a loud line.
fn tool(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|folder| folder.join(name)).find(|path| path.is_file());
    found.or_else(|| skip(&format!("{name} is not installed (Debian package `{name}`)")))
}

/// The script for a shell, in a file.
fn script(scratch: &Scratch, shell: &str) -> PathBuf {
    let script = run(&serf(), ["completion", shell]);
    PathBuf::from(scratch.file(shell, script.ok()))
}

/// What a program prints. There may be no agent: then no members are offered.
fn printed(program: &Path, arguments: &[&str]) -> String {
    let mut command = Command::new(program);
    let output = command.args(arguments).env("SERF_RPC_ADDR", "127.0.0.1:1").output();
    String::from_utf8_lossy(&output.expect("it starts").stdout).into_owned()
}

/// A line up to the cursor, and what is offered there.
const OFFERED: [(&str, &[&str]); 7] = [
    ("serf me", &["members"]),
    ("serf help li", &["limits"]),
    ("serf completion z", &["zsh"]),
    ("serf members -form", &["-format"]),
    ("serf members -format j", &["json"]),
    ("serf agent -config-f", &["-config-file"]),
    ("serf keys -u", &["-use"]),
];

#[test]
fn bash_completes() {
    let Some(bash) = tool("bash") else { return };
    let scratch = Scratch::new("bash");
    let script = script(&scratch, "bash");
    let driver = format!(
        "source {}; COMP_WORDS=(\"$@\"); COMP_CWORD=$(($# - 1)); _serf 2> /dev/null; \
         printf '%s\\n' \"${{COMPREPLY[@]}}\"",
        script.display()
    );
    // Bash takes '=' for a word of its own.
    let split = [("serf members -format = j", &["json"][..]), ("serf agent -log-level = de", &["debug"])];
    for (line, offered) in OFFERED.into_iter().chain(split) {
        let words: Vec<&str> = ["-c", &driver, "bash"].into_iter().chain(line.split(' ')).collect();
        let said = printed(&bash, &words);
        let said: Vec<&str> = said.lines().map(|word| word.trim_end_matches('=')).collect();
        assert_eq!(said, offered, "{line}");
    }
}

#[test]
fn fish_completes() {
    let Some(fish) = tool("fish") else { return };
    let scratch = Scratch::new("fish");
    let script = script(&scratch, "fish");
    for (line, offered) in OFFERED {
        let said = printed(&fish, &["-c", &format!("source {}; complete -C '{line}'", script.display())]);
        let said: Vec<&str> = said.lines().filter_map(|line| line.split('\t').next()).collect();
        assert_eq!(said, offered, "{line}");
    }
}

/// Zsh completes at a terminal only: another zsh types at one.
#[test]
fn zsh_completes() {
    let Some(zsh) = tool("zsh") else { return };
    let scratch = Scratch::new("zsh");
    let script = script(&scratch, "zsh");
    let driver = format!(
        r#"zmodload zsh/zpty
zpty z zsh -f -i
zpty -w z "PS1=; bindkey -e; autoload -U compinit; compinit -u -D; source {}; bindkey '^I' complete-word; echo rea''dy"
zpty -r z said '*ready*'
zpty -w -n z "$1"$'\t'
zpty -w z $'\C-a'"print -r -- 'typed'': "$'\C-e'"' en''d"
zpty -r z said '*typed: * end*'
print -r -- "${{${{said##*typed: }}%% end*}}""#,
        script.display()
    );
    for (line, offered) in OFFERED {
        let said = printed(&zsh, &["-fc", &driver, "zsh", line]);
        let word = said.trim().rsplit(' ').next().unwrap_or_default().trim_end_matches('=');
        assert_eq!([word], offered, "{line}: {said}");
    }
}

#[test]
fn the_pages_of_man_are_sound() {
    let pages = run(&serf(), ["help", "-man"]);
    let pages: Vec<&str> = pages.ok().lines().collect();
    assert_eq!(pages, ["serf.1", "serf-ctl.1", "serf-agent.8", "serf.json.5"]);
    let scratch = Scratch::new("man");
    for page in pages {
        let text = run(&serf(), ["help", "-man", page]);
        let file = scratch.file(page, text.ok());
        if let Some(mandoc) = tool("mandoc") {
            assert_eq!(printed(&mandoc, &["-T", "lint", "-W", "warning", &file]), "", "{page}");
        }
        if let Some(man) = tool("man") {
            let output = Command::new(man).args(["--warnings", "-l", &file]).env("MANWIDTH", "80").output();
            let output = output.expect("it starts");
            assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{page}");
            let shown = String::from_utf8_lossy(&output.stdout);
            let name = page.rsplit_once('.').expect("its section").0;
            assert!(shown.contains("SYNOPSIS") && shown.contains(name), "{shown}");
        }
    }
    let refused = run(&serf(), ["help", "-man", "serf.9"]);
    assert!(refused.refused().contains("There is no page 'serf.9'"), "{refused}");
}
