//! Rust source as the checks see it: tokens without comments, each with its line, and which of them
//! are production code.

/// A name, a sign or a literal. `::` is one sign, all other signs are single characters; what is
/// inside a literal is left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Token {
    pub(crate) text: String,
    pub(crate) line: usize,
}

impl Token {
    pub(crate) fn is(&self, text: &str) -> bool {
        self.text == text
    }

    pub(crate) fn is_name(&self) -> bool {
        self.text.starts_with(|c: char| c.is_alphabetic() || c == '_')
    }
}

/// A file in tokens.
#[derive(Clone, Debug, Default)]
pub(crate) struct Source {
    /// All of it.
    pub(crate) all: Vec<Token>,
    /// Without what only tests see.
    pub(crate) production: Vec<Token>,
    /// The modules in files of their own that only tests see.
    pub(crate) test_modules: Vec<String>,
}

impl Source {
    pub(crate) fn of(text: &str) -> Source {
        let all = tokens(text);
        let (production, test_modules) = without_tests(&all);
        Source { all, production, test_modules }
    }
}

/// Tokens as text again: without comments and spaces that mean nothing, literals empty.
pub(crate) fn code(tokens: &[Token]) -> String {
    let mut code = String::new();
    for token in tokens {
        if token.is_name() && code.ends_with(is_part_of_a_name) {
            code.push(' ');
        }
        code += &token.text;
    }
    code
}

/// Whether `text` has `word` with no letter, digit or underscore around it.
pub(crate) fn mentions(text: &str, word: &str) -> bool {
    text.match_indices(word).any(|(at, _)| {
        let (before, after) = (&text[..at], &text[at + word.len()..]);
        let starts_a_word = !word.starts_with(is_part_of_a_name) || !before.ends_with(is_part_of_a_name);
        let ends_a_word = !word.ends_with(is_part_of_a_name) || !after.starts_with(is_part_of_a_name);
        starts_a_word && ends_a_word
    })
}

/// Where the bracket that opens at `open` closes; the end of the file if it never does.
pub(crate) fn closing(tokens: &[Token], open: usize) -> usize {
    let mut depth = 0;
    for (at, token) in tokens.iter().enumerate().skip(open) {
        match token.text.as_str() {
            "(" | "[" | "{" => depth += 1,
            ")" | "]" | "}" => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return at;
        }
    }
    tokens.len()
}

/// Whether tokens with these texts stand at a place.
pub(crate) fn stands(tokens: &[Token], at: usize, texts: &[&str]) -> bool {
    tokens.get(at..at + texts.len()).is_some_and(|found| found.iter().zip(texts).all(|(t, text)| t.is(text)))
}

fn is_part_of_a_name(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

// ---- What only tests see ----

const TEST_MARK: [&str; 7] = ["#", "[", "cfg", "(", "test", ")", "]"];
/// Items that end with their `;`, whatever braces they have.
const ENDS_WITH_SEMICOLON: [&str; 4] = ["use", "const", "static", "type"];
/// Other beginnings of items, which may have commas before their end.
const ITEMS: [&str; 11] =
    ["pub", "fn", "mod", "struct", "enum", "trait", "impl", "unsafe", "async", "extern", "macro_rules"];

/// The tokens outside of items under `#[cfg(test)]`, and the names of modules in files among those.
fn without_tests(tokens: &[Token]) -> (Vec<Token>, Vec<String>) {
    let (mut production, mut modules) = (Vec::new(), Vec::new());
    let mut at = 0;
    while at < tokens.len() {
        if !stands(tokens, at, &TEST_MARK) {
            production.push(tokens[at].clone());
            at += 1;
            continue;
        }
        let start = after_attributes(tokens, at);
        let end = end_of_item(tokens, start);
        let item = &tokens[start..end];
        if let [.., keyword, name, semicolon] = item
            && keyword.is("mod")
            && semicolon.is(";")
        {
            modules.push(name.text.clone());
        }
        at = end;
    }
    (production, modules)
}

fn after_attributes(tokens: &[Token], mut at: usize) -> usize {
    while stands(tokens, at, &["#", "["]) {
        at = closing(tokens, at + 1) + 1;
    }
    at.min(tokens.len())
}

/// Behind the item, field, variant or arm that starts here.
fn end_of_item(tokens: &[Token], start: usize) -> usize {
    let after_visibility = match tokens.get(start) {
        Some(token) if token.is("pub") && stands(tokens, start + 1, &["("]) => closing(tokens, start + 1) + 1,
        Some(token) if token.is("pub") => start + 1,
        _ => start,
    };
    let keyword = tokens.get(after_visibility).map_or("", |token| &token.text);
    let is_function = stands(tokens, after_visibility + 1, &["fn"]);
    let by_semicolon = ENDS_WITH_SEMICOLON.contains(&keyword) && !is_function;
    let by_comma = !ITEMS.contains(&keyword) && !by_semicolon && !is_function;
    let mut at = start;
    while at < tokens.len() {
        match tokens[at].text.as_str() {
            ";" => return at + 1,
            "," if by_comma => return at + 1,
            "{" if !by_semicolon => return closing(tokens, at) + 1,
            "(" | "[" | "{" => at = closing(tokens, at),
            // The end of what it is in.
            ")" | "]" | "}" => return at,
            _ => {}
        }
        at += 1;
    }
    tokens.len()
}

// ---- Tokens ----

fn tokens(text: &str) -> Vec<Token> {
    let mut reader = Reader { rest: text, line: 1 };
    let mut tokens = Vec::new();
    while let Some(first) = reader.rest.chars().next() {
        let line = reader.line;
        let length = match first {
            c if c.is_whitespace() => reader.skip(c.len_utf8()),
            '/' if reader.rest.starts_with("//") => {
                let length = reader.rest.find('\n').unwrap_or(reader.rest.len());
                reader.skip(length)
            }
            '/' if reader.rest.starts_with("/*") => {
                let length = block_comment(reader.rest);
                reader.skip(length)
            }
            _ => {
                let (text, length) = token(reader.rest, first);
                tokens.push(Token { text, line });
                reader.skip(length)
            }
        };
        debug_assert!(length > 0);
    }
    tokens
}

struct Reader<'a> {
    rest: &'a str,
    line: usize,
}

impl Reader<'_> {
    fn skip(&mut self, length: usize) -> usize {
        let (skipped, rest) = self.rest.split_at(length);
        self.line += skipped.matches('\n').count();
        self.rest = rest;
        length
    }
}

/// The text that stands for a token, and its length.
fn token(rest: &str, first: char) -> (String, usize) {
    let whole = |length: usize| (rest[..length].to_string(), length);
    if let Some(length) = string(rest) {
        return ("\"\"".to_string(), length);
    }
    match first {
        '\'' => match character(rest) {
            Some(length) => ("''".to_string(), length),
            None => whole(1 + name_length(&rest[1..])),
        },
        ':' if rest.starts_with("::") => whole(2),
        'r' if rest.starts_with("r#") => {
            (rest[2..2 + name_length(&rest[2..])].to_string(), 2 + name_length(&rest[2..]))
        }
        c if is_part_of_a_name(c) => whole(name_length(rest)),
        c => whole(c.len_utf8()),
    }
}

fn name_length(text: &str) -> usize {
    text.find(|c| !is_part_of_a_name(c)).unwrap_or(text.len())
}

/// The length of a string literal of any kind, if there is one at the start.
fn string(rest: &str) -> Option<usize> {
    let prefix = ["br", "cr", "b", "c", "r", ""].into_iter().find(|prefix| {
        let literal = rest.strip_prefix(prefix);
        literal.is_some_and(|literal| {
            let literal = if prefix.ends_with('r') { literal.trim_start_matches('#') } else { literal };
            literal.starts_with('"')
        })
    })?;
    let body = &rest[prefix.len()..];
    if prefix.ends_with('r') {
        let hashes = body.find('"')?;
        let end = format!("\"{}", "#".repeat(hashes));
        let inside = &body[hashes + 1..];
        let length = inside.find(&end).map_or(inside.len(), |at| at + end.len());
        return Some(prefix.len() + hashes + 1 + length);
    }
    Some(prefix.len() + 1 + quoted(&body[1..], '"'))
}

/// The length of a character literal at the start; none for a lifetime.
fn character(rest: &str) -> Option<usize> {
    let mut inside = rest[1..].chars();
    let first = inside.next()?;
    let is_literal = first == '\\' || inside.next() == Some('\'');
    is_literal.then(|| 1 + quoted(&rest[1..], '\''))
}

/// The length of what is quoted, with the sign that ends it.
fn quoted(inside: &str, end: char) -> usize {
    let mut escaped = false;
    for (at, c) in inside.char_indices() {
        if !escaped && c == end {
            return at + 1;
        }
        escaped = !escaped && c == '\\';
    }
    inside.len()
}

/// The length of a block comment, which may hold others.
fn block_comment(rest: &str) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < rest.len() {
        if rest[at..].starts_with("/*") {
            (depth, at) = (depth + 1, at + 2);
        } else if rest[at..].starts_with("*/") {
            (depth, at) = (depth - 1, at + 2);
        } else {
            at += rest[at..].chars().next().map_or(1, char::len_utf8);
        }
        if depth == 0 {
            break;
        }
    }
    at
}

// ---- Shown to work ----

#[test]
fn comments_and_literals_are_no_tokens() {
    let text = "a /* b /* c */ d */ \"e \\\" f\" r#\"g \" h\"# 'i' '\\'' &'j k // l\n b\"m\" r#type x::y";
    let texts: Vec<String> = tokens(text).into_iter().map(|token| token.text).collect();
    assert_eq!(texts, ["a", "\"\"", "\"\"", "''", "''", "&", "'j", "k", "\"\"", "type", "x", "::", "y"]);
    let lines: Vec<usize> = tokens("a\n/* \n */ b \"\n\" c").into_iter().map(|token| token.line).collect();
    assert_eq!(lines, [1, 3, 3, 4]);
    assert_eq!(code(&tokens("use std :: fs; // files\nlet a = 'x';")), "use std::fs;let a='';");
}

#[test]
fn what_only_tests_see_is_left_out() {
    for (text, left) in [
        ("a; #[cfg(test)] mod tests { use b; } c", "a;c"),
        ("#[cfg(test)] #[allow(x)] pub(super) mod tests; c", "c"),
        ("#[cfg(test)] use a::{b, c}; d", "d"),
        ("#[cfg(test)] const A: B = B { c: 1 }; d", "d"),
        ("#[cfg(test)] pub const fn f<A, B>(a: [u8; 2]) -> A { x } d", "d"),
        ("struct S { #[cfg(test)] a: Vec<u8>, b: u8 }", "struct S{b:u8}"),
        ("enum E { A, #[cfg(test)] B }", "enum E{A,}"),
        ("#[cfg(not(test))] mod a { }", "#[cfg(not(test))]mod a{}"),
    ] {
        assert_eq!(code(&Source::of(text).production), left, "{text}");
    }
    assert_eq!(Source::of("#[cfg(test)] pub(super) mod tests; mod b;").test_modules, ["tests"]);
    assert!(Source::of("#[cfg(test)] mod tests { mod c; }").test_modules.is_empty());
}
