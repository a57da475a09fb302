//! From Go's language of expressions to that of `regex-lite`. What reads the same in both is passed
//! on as it is, and what neither knows is refused by the engine; here is what differs:
//!
//! * `\pL`, `\p{Lu}`, `\P…` and `(?i)` become sets of characters, with all of Unicode in them;
//! * `\Q…\E` and each escaped or unusual character become plain characters;
//! * sets are read here altogether, as `[a[b]` and `[a&&b]` mean other things in Rust;
//! * `{` that begins no repetition stands for itself;
//! * nothing asks what a group has matched, so groups only group.

use super::unicode::{CharSet, cases};
use std::fmt;

/// The most classes of Unicode in one expression: each takes up to 13 kB and 0.1 ms.
const MAX_CLASSES: usize = 32;

/// The most repetitions that a `{…}` may ask for, as in Go.
const MAX_REPEAT: u32 = 1000;

/// Why an expression is refused before the engine sees it. The texts are Go's where it has any.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum TranslationProblem {
    /// A backslash before something that needs none or has no meaning.
    Escape(String),
    /// A set or a range in it is not valid.
    Range(String),
    /// A set has no end.
    NoBracket(String),
    /// What follows `(?` is unknown.
    Group(String),
    /// A repetition asks for too many.
    Repeat(String),
    /// A repetition of a repetition.
    Nested(String),
    /// It has more than [`MAX_CLASSES`].
    TooManyClasses,
}

impl fmt::Display for TranslationProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TranslationProblem::Escape(part) => write!(f, "invalid escape sequence: `{part}`"),
            TranslationProblem::Range(part) => write!(f, "invalid character class range: `{part}`"),
            TranslationProblem::NoBracket(part) => write!(f, "missing closing ]: `{part}`"),
            TranslationProblem::Group(part) => write!(f, "invalid or unsupported Perl syntax: `{part}`"),
            TranslationProblem::Nested(part) => write!(f, "invalid nested repetition operator: `{part}`"),
            TranslationProblem::Repeat(part) => write!(f, "invalid repeat count: `{part}`"),
            TranslationProblem::TooManyClasses => {
                write!(f, "it has more than {MAX_CLASSES} Unicode character classes")
            }
        }
    }
}

/// The expression in the engine's language.
pub(super) fn from_go(expression: &str) -> Result<String, TranslationProblem> {
    let (out, outer) = Default::default();
    let mut translator =
        Translator { rest: expression, out, fold: false, outer, repeated: false, classes: 0 };
    while let Some(c) = translator.next() {
        translator.one(c)?;
    }
    Ok(translator.out)
}

struct Translator<'a> {
    /// What is still to be read.
    rest: &'a str,
    out: String,
    /// Whether case makes no difference here, and whether it did outside of each open group.
    fold: bool,
    outer: Vec<bool>,
    /// Whether what was read last is a repetition.
    repeated: bool,
    /// How many classes of Unicode there were.
    classes: usize,
}

impl<'a> Translator<'a> {
    fn next(&mut self) -> Option<char> {
        let mut chars = self.rest.chars();
        let c = chars.next()?;
        self.rest = chars.as_str();
        Some(c)
    }

    fn take(&mut self, wanted: &str) -> bool {
        let rest = self.rest.strip_prefix(wanted);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    /// What was read since `before` was still to be read.
    fn read_since(&self, before: &'a str) -> String {
        before.get(..before.len() - self.rest.len()).unwrap_or_default().to_string()
    }

    /// Translates what begins with `c`, which has been read.
    fn one(&mut self, c: char) -> Result<(), TranslationProblem> {
        let repeated = std::mem::take(&mut self.repeated);
        match c {
            '\\' => return self.backslash(),
            '[' => {
                let set = self.brackets()?;
                self.emit(&set);
            }
            '(' => return self.open(),
            ')' => {
                // Without an opening one the engine refuses it.
                self.fold = self.outer.pop().unwrap_or(self.fold);
                self.out.push(')');
            }
            '*' | '+' | '?' => return self.repetition(&c.to_string(), repeated),
            '{' => match self.counted()? {
                Some(counted) => return self.repetition(&counted, repeated),
                None => self.literal('{'),
            },
            '^' | '$' | '.' | '|' => self.out.push(c),
            _ => self.literal(c),
        }
        Ok(())
    }

    fn literal(&mut self, c: char) {
        let set = if self.fold { cases(c) } else { CharSet::of(&[(c, c)]) };
        if set == CharSet::of(&[(c, c)]) && (c.is_ascii_alphanumeric() || !c.is_ascii()) {
            self.out.push(c);
        } else {
            self.emit(&set);
        }
    }

    fn emit(&mut self, set: &CharSet) {
        let start = self.out.len();
        self.out.push('[');
        for (first, last) in set.pairs() {
            self.out.push_str(&format!("\\x{{{:X}}}-\\x{{{:X}}}", u32::from(first), u32::from(last)));
        }
        if self.out.len() == start + 1 {
            // Nothing matches an empty set.
            self.out.push_str("^\\x{0}-\\x{10FFFF}");
        }
        self.out.push(']');
    }

    fn backslash(&mut self) -> Result<(), TranslationProblem> {
        if self.take("Q") {
            let (quoted, rest) = self.rest.split_once("\\E").unwrap_or((self.rest, ""));
            self.rest = rest;
            quoted.chars().for_each(|c| self.literal(c));
            return Ok(());
        }
        for same in ["A", "b", "B", "z"] {
            if self.take(same) {
                self.out.push('\\');
                self.out.push_str(same);
                return Ok(());
            }
        }
        match self.class()? {
            Some(set) => self.emit(&set),
            None => {
                let c = self.escaped()?;
                self.literal(c);
            }
        }
        Ok(())
    }

    /// A class behind a backslash, if there is one: `\d`, `\pL`, …
    fn class(&mut self) -> Result<Option<CharSet>, TranslationProblem> {
        let before = self.rest;
        let (mut set, inverted) = match self.next() {
            Some(c @ ('p' | 'P')) => {
                self.classes += 1;
                if self.classes > MAX_CLASSES {
                    return Err(TranslationProblem::TooManyClasses);
                }
                let mut buffer = [0; 4];
                let name = if self.take("{") {
                    let Some((name, rest)) = self.rest.split_once('}') else {
                        return Err(TranslationProblem::Range(format!("\\{before}")));
                    };
                    self.rest = rest;
                    name
                } else {
                    self.next().map_or("", |c| c.encode_utf8(&mut buffer))
                };
                let (name, inverted) = name.strip_prefix('^').map_or((name, false), |name| (name, true));
                let set = CharSet::category(name);
                let set =
                    set.ok_or_else(|| TranslationProblem::Range(format!("\\{}", self.read_since(before))))?;
                (set, inverted != (c == 'P'))
            }
            Some(c) => match ascii_class(&c.to_ascii_lowercase().to_string()) {
                Some(set) if "dswDSW".contains(c) => (set, c.is_ascii_uppercase()),
                _ => {
                    self.rest = before;
                    return Ok(None);
                }
            },
            None => return Ok(None),
        };
        if self.fold {
            set.add_cases();
        }
        Ok(Some(if inverted { set.inverted() } else { set }))
    }

    /// The character that an escape stands for; the backslash has been read.
    fn escaped(&mut self) -> Result<char, TranslationProblem> {
        let before = self.rest;
        let c = match self.next() {
            Some('a') => Some('\x07'),
            Some('f') => Some('\x0C'),
            Some('n') => Some('\n'),
            Some('r') => Some('\r'),
            Some('t') => Some('\t'),
            Some('v') => Some('\x0B'),
            Some('x') => self.hex(),
            Some(first @ '0'..='7') => {
                self.rest = before;
                // A single digit but 0 refers to a group, which Go does not have.
                let digits = self.rest.bytes().take(3).take_while(|b| (b'0'..=b'7').contains(b)).count();
                let (number, rest) = self.rest.split_at(digits);
                self.rest = rest;
                let refers = digits == 1 && first != '0';
                u32::from_str_radix(number, 8).ok().filter(|_| !refers).and_then(char::from_u32)
            }
            Some(c) if c.is_ascii() && !c.is_ascii_alphanumeric() => Some(c),
            Some(_) | None => None,
        };
        c.ok_or_else(|| TranslationProblem::Escape(format!("\\{}", self.read_since(before))))
    }

    fn hex(&mut self) -> Option<char> {
        let digits = if self.take("{") {
            let (digits, rest) = self.rest.split_once('}')?;
            self.rest = rest;
            digits
        } else {
            let (digits, rest) = self.rest.split_at_checked(2)?;
            self.rest = rest;
            digits
        };
        let valid = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_hexdigit());
        u32::from_str_radix(digits, 16).ok().filter(|_| valid).and_then(char::from_u32)
    }

    /// A set in brackets; the opening one has been read.
    fn brackets(&mut self) -> Result<CharSet, TranslationProblem> {
        let before = self.rest;
        let no_end = || TranslationProblem::NoBracket(format!("[{before}"));
        let inverted = self.take("^");
        let mut set = CharSet::default();
        let mut first = true;
        while first || !self.rest.starts_with(']') {
            first = false;
            let item = self.rest;
            if let Some(named) = self.named_class()? {
                set.add(&named);
                continue;
            }
            if self.take("\\") {
                if let Some(class) = self.class()? {
                    set.add(&class);
                    continue;
                }
                self.rest = item;
            }
            let low = self.member().ok_or_else(no_end)??;
            let is_range = self.rest.starts_with('-') && !self.rest.starts_with("-]") && self.rest != "-";
            let high = match is_range && self.take("-") {
                true => self.member().ok_or_else(no_end)??,
                false => low,
            };
            if high < low {
                return Err(TranslationProblem::Range(self.read_since(item)));
            }
            let mut range = CharSet::of(&[(low, high)]);
            if self.fold {
                range.add_cases();
            }
            set.add(&range);
        }
        self.take("]");
        Ok(if inverted { set.inverted() } else { set })
    }

    /// One character in brackets; nothing at the end of the expression.
    fn member(&mut self) -> Option<Result<char, TranslationProblem>> {
        match self.next()? {
            '\\' => Some(self.escaped()),
            c => Some(Ok(c)),
        }
    }

    /// `[:alpha:]` in brackets, if there is one.
    fn named_class(&mut self) -> Result<Option<CharSet>, TranslationProblem> {
        let Some((name, rest)) = self.rest.strip_prefix("[:").and_then(|rest| rest.split_once(":]")) else {
            return Ok(None);
        };
        let (plain, inverted) = name.strip_prefix('^').map_or((name, false), |name| (name, true));
        let mut set = Some(plain).filter(|name| name.len() > 1).and_then(ascii_class);
        let set = set.as_mut().ok_or_else(|| TranslationProblem::Range(format!("[:{name}:]")))?;
        self.rest = rest;
        if self.fold {
            set.add_cases();
        }
        Ok(Some(if inverted { set.inverted() } else { set.clone() }))
    }

    /// A group, or flags from here to the end of the group; `(` has been read.
    fn open(&mut self) -> Result<(), TranslationProblem> {
        let before = self.rest;
        if !self.take("?") {
            self.outer.push(self.fold);
            self.out.push_str("(?:");
            return Ok(());
        }
        if self.take("P<") || self.take("<") {
            let (name, rest) = self.rest.split_once('>').unwrap_or_default();
            if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
                return Err(TranslationProblem::Group(format!("({before}")));
            }
            self.rest = rest;
            self.outer.push(self.fold);
            self.out.push_str("(?:");
            return Ok(());
        }
        let (mut fold, mut on, mut off, mut minus) = (self.fold, String::new(), String::new(), false);
        loop {
            match self.next() {
                Some('i') => fold = !minus,
                Some(c @ ('m' | 's' | 'U')) => if minus { &mut off } else { &mut on }.push(c),
                Some('-') if !minus => minus = true,
                Some(end @ (':' | ')')) => {
                    let flags = match (on.as_str(), off.as_str()) {
                        (on, "") => on.to_string(),
                        (on, off) => format!("{on}-{off}"),
                    };
                    if end == ':' {
                        self.outer.push(self.fold);
                        self.out.push_str(&format!("(?{flags}:"));
                    } else if !flags.is_empty() {
                        self.out.push_str(&format!("(?{flags})"));
                    }
                    self.fold = fold;
                    return Ok(());
                }
                Some(_) | None => {
                    return Err(TranslationProblem::Group(format!("({}", self.read_since(before))));
                }
            }
        }
    }

    /// A repetition, and the `?` behind it that makes it lazy.
    fn repetition(&mut self, operator: &str, repeated: bool) -> Result<(), TranslationProblem> {
        if repeated {
            return Err(TranslationProblem::Nested(operator.to_string()));
        }
        self.out.push_str(operator);
        if self.take("?") {
            self.out.push('?');
        }
        self.repeated = true;
        Ok(())
    }

    /// A repetition such as `{2}`, `{2,}` or `{2,3}`, if there is one; `{` has been read.
    fn counted(&mut self) -> Result<Option<String>, TranslationProblem> {
        let count = |text: &str| {
            let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
            digits.then(|| text.parse().unwrap_or(u32::MAX))
        };
        let Some((inside, rest)) = self.rest.split_once('}') else { return Ok(None) };
        let (low, high) = match inside.split_once(',') {
            None => (count(inside), Some(0)),
            Some((low, "")) => (count(low), Some(0)),
            Some((low, high)) => (count(low), count(high)),
        };
        let (Some(low), Some(high)) = (low, high) else { return Ok(None) };
        if low.max(high) > MAX_REPEAT {
            return Err(TranslationProblem::Repeat(format!("{{{inside}}}")));
        }
        self.rest = rest;
        Ok(Some(format!("{{{inside}}}")))
    }
}

/// The classes of ASCII, by the names between `[:` and `:]`, or by the letter behind a backslash.
fn ascii_class(name: &str) -> Option<CharSet> {
    const DIGIT: &[(char, char)] = &[('0', '9')];
    const WORD: &[(char, char)] = &[('0', '9'), ('A', 'Z'), ('_', '_'), ('a', 'z')];
    let pairs: &[(char, char)] = match name {
        "alnum" => &[('0', '9'), ('A', 'Z'), ('a', 'z')],
        "alpha" => &[('A', 'Z'), ('a', 'z')],
        "ascii" => &[('\0', '\x7F')],
        "blank" => &[('\t', '\t'), (' ', ' ')],
        "cntrl" => &[('\0', '\x1F'), ('\x7F', '\x7F')],
        "d" | "digit" => DIGIT,
        "graph" => &[('!', '~')],
        "lower" => &[('a', 'z')],
        "print" => &[(' ', '~')],
        "punct" => &[('!', '/'), (':', '@'), ('[', '`'), ('{', '~')],
        // Without the vertical tab, which is in the class of this name.
        "s" => &[('\t', '\n'), ('\x0C', '\r'), (' ', ' ')],
        "space" => &[('\t', '\r'), (' ', ' ')],
        "upper" => &[('A', 'Z')],
        "w" | "word" => WORD,
        "xdigit" => &[('0', '9'), ('A', 'F'), ('a', 'f')],
        _ => return None,
    };
    Some(CharSet::of(pairs))
}
