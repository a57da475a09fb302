//! Files as a reader meets them: headings, sizes, names, words, nothing left undone, functions that
//! fit a screen or two.

use super::source::{Source, Token, closing, mentions};

/// Lines in one file, with its tests.
pub(crate) const MAX_LINES: usize = 600;
/// Lines in one function that ships, from `fn` to its last brace.
const MAX_FUNCTION_LINES: usize = 80;
/// Words that mark unfinished work; split so that this file does not contain them.
const UNDONE: [&str; 6] = [
    concat!("TO", "DO"),
    concat!("FIX", "ME"),
    concat!("X", "XX"),
    concat!("to", "do!"),
    concat!("unimplemented", "!"),
    concat!("#[", "ignore"),
];
/// Names that say nothing about what is inside.
const EMPTY_NAMES: [&str; 6] = ["util", "utils", "helper", "helpers", "manager", "misc"];
/// Words that make a reader guess, and what is said instead.
const WORDS: [(&[&str], &str); 14] = [
    (&["corridor", "corridors"], "channel"),
    (&["doorbell", "doorbells"], "waker"),
    (&["ride", "rides", "riding", "rode", "rider", "riders"], "piggyback"),
    (&["talk", "talks", "talked", "talking", "talker", "talkers"], "Serf messages"),
    (&["foreigner", "foreigners", "foreign"], "HashiCorp member, other cluster"),
    (&["twin", "twins"], "same incarnation, two runs"),
    (&["bury", "buries", "buried", "burial"], "conflict grace period"),
    (&["manner", "manners"], "options"),
    (&["surroundings"], "context"),
    (&["question", "questions"], "pending reply"),
    (&["insist", "insists", "insisted", "insisting"], "send with a deadline"),
    (&["tell", "tells", "told", "telling"], "deliver"),
    (&["haunt", "haunts", "haunted", "ghost", "ghosts"], "resurrected by stale gossip"),
    (&["whoever", "whomever"], "a member that, a client that"),
];

/// Where such a word stands because others use it: HashiCorp's synopsis, and names as they were.
const QUOTED: [(&str, &str); 2] = [
    ("src/config/options/control.rs", "Tell Serf agent to join cluster"),
    ("src/manual/changes.md", "| 1.0.0 | metric "),
];

/// What a check has found, by a name that stays the same while lines move.
#[derive(Debug)]
pub(crate) struct Finding {
    pub(crate) key: String,
    pub(crate) complaint: String,
}

impl Finding {
    pub(crate) fn new(key: &str, complaint: String) -> Finding {
        Finding { key: key.to_string(), complaint }
    }
}

pub(crate) fn complain(wrong: bool, what: impl FnOnce() -> String) -> Vec<String> {
    if wrong { vec![what()] } else { Vec::new() }
}

pub(crate) fn heading(path: &str, text: &str) -> Vec<String> {
    complain(!text.starts_with("//! "), || format!("{path}: begins with `//!` saying what lives here"))
}

pub(crate) fn size(path: &str, text: &str) -> Vec<Finding> {
    let lines = text.lines().count();
    if lines <= MAX_LINES {
        return Vec::new();
    }
    vec![Finding::new(path, format!("{path}: {lines} lines, more than {MAX_LINES}"))]
}

pub(crate) fn name(path: &str) -> Vec<String> {
    let mut parts = path.split('/').map(|part| part.trim_end_matches(".rs"));
    let empty = parts.find(|part| EMPTY_NAMES.contains(part));
    complain(empty.is_some(), || format!("{path}: a name that says nothing"))
}

pub(crate) fn undone(path: &str, text: &str) -> Vec<String> {
    let found = |line: &str| UNDONE.iter().find(|word| mentions(line, word)).copied();
    let numbered = text.lines().enumerate();
    let undone = numbered.filter_map(|(i, line)| found(line).map(|word| (i + 1, word)));
    undone.map(|(line, word)| format!("{path}:{line}: unfinished: {word}")).collect()
}

/// Functions that are too long, without those that only tests see.
pub(crate) fn functions(path: &str, source: &Source) -> Vec<Finding> {
    let tokens = &source.production;
    let starts = (0..tokens.len()).filter(|at| tokens[*at].is("fn"));
    let named = starts.filter(|at| tokens.get(at + 1).is_some_and(Token::is_name));
    let long = named.filter_map(|at| {
        let end = tokens.get(closing(tokens, body(tokens, at)?))?.line;
        let (name, lines) = (&tokens[at + 1].text, end - tokens[at].line + 1);
        let complaint = || {
            format!("{path}:{}: `{name}` has {lines} lines, more than {MAX_FUNCTION_LINES}", tokens[at].line)
        };
        (lines > MAX_FUNCTION_LINES).then(|| Finding::new(&format!("{path}: {name}"), complaint()))
    });
    long.collect()
}

/// Where the body of a function begins, if it has one.
fn body(tokens: &[Token], mut at: usize) -> Option<usize> {
    loop {
        match tokens.get(at)?.text.as_str() {
            "{" => return Some(at),
            ";" => return None,
            "(" | "[" => at = closing(tokens, at),
            _ => {}
        }
        at += 1;
    }
}

/// Words that style.md's list replaces, in comments, names and texts.
pub(crate) fn words(path: &str, text: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    let quoted = |line: &str| QUOTED.iter().any(|(file, quote)| path == *file && line.contains(quote));
    for (number, line) in text.lines().enumerate().filter(|(_, line)| !quoted(line)) {
        for word in words_of(line) {
            let replaced = WORDS.iter().find(|(forms, _)| forms.contains(&word.as_str()));
            if let Some((forms, better)) = replaced {
                let complaint = format!("{path}:{}: '{word}'; better: {better}", number + 1);
                findings.push(Finding::new(forms[0], complaint));
            }
        }
    }
    findings
}

/// The words of a line in small letters, also those that a name is made of.
fn words_of(line: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut after_small = false;
    for c in line.chars() {
        if !c.is_alphabetic() || (c.is_uppercase() && after_small) {
            words.push(String::new());
        }
        if c.is_alphabetic() {
            words.last_mut().expect("there is one").extend(c.to_lowercase());
        }
        after_small = c.is_lowercase();
    }
    words.retain(|word| !word.is_empty());
    words
}

// ---- Shown to fire ----

#[test]
fn checks_of_files_fire() {
    assert_eq!(heading("src/a.rs", "use std::io;\n").len(), 1);
    assert!(heading("src/a.rs", "//! What lives here.\n").is_empty());

    assert_eq!(size("src/a.rs", &"x\n".repeat(MAX_LINES + 1)).len(), 1);
    assert!(size("src/a.rs", &"x\n".repeat(MAX_LINES)).is_empty());

    assert_eq!(name("src/wire/utils.rs").len(), 1);
    assert_eq!(name("src/manager/wire.rs").len(), 1);
    assert!(name("src/wire/native.rs").is_empty());

    for word in UNDONE {
        assert_eq!(undone("src/a.rs", &format!("fine\n// {word} later\n")).len(), 1, "{word}");
    }
    assert!(undone("src/a.rs", "let mastodon = 1; // ignored, XXXL\n").is_empty());
}

#[test]
fn long_functions_are_found() {
    let long =
        |lines: usize| format!("fn f<T>(a: [u8; 2]) -> T\nwhere T: A {{\n{}}}\n", "x;\n".repeat(lines));
    let found = |text: &str| functions("src/a.rs", &Source::of(text));
    let findings = found(&format!("impl A {{\n{}}}", long(MAX_FUNCTION_LINES - 2)));
    assert_eq!(findings.len(), 1);
    assert_eq!(findings[0].key, "src/a.rs: f");
    assert_eq!(findings[0].complaint, "src/a.rs:2: `f` has 81 lines, more than 80");
    assert!(found(&long(MAX_FUNCTION_LINES - 3)).is_empty());
    assert!(found(&format!("#[cfg(test)]\nmod tests {{ {} }}", long(100))).is_empty(), "tests may");
    let declared = format!("trait A {{ fn f(g: fn(u8) -> u8); }}\nstruct B {{ {} }}", "\n".repeat(100));
    assert!(found(&declared).is_empty());
}

#[test]
fn words_are_found_wherever_they_stand() {
    for (forms, _) in WORDS {
        for word in forms {
            let capital = format!("{}{}", word[..1].to_uppercase(), &word[1..]);
            for text in [
                format!("// a {word}."),
                format!("fn is_{word}_here()"),
                format!("struct My{capital}Type"),
                format!("{} {}", word.to_uppercase(), "\"\""),
            ] {
                let findings = words("src/a.rs", &text);
                assert_eq!(findings.len(), 1, "{text}: {findings:?}");
                assert_eq!(findings[0].key, forms[0]);
            }
        }
    }
    assert!(words("src/a.rs", "bridge, stalks, intelligence, manners_of: overrides").len() == 1);
    assert!(words("src/a.rs", "a bridge overrides TCPTalkless stalkers").is_empty());
}
