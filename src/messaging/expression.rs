//! Regular expressions as operators write them for HashiCorp's program, whose language is Go's.
//!
//! There are two meanings: a filter of `members` matches the whole of a value, a tag filter of a query
//! matches anywhere in it. Nothing else in the program compiles an expression.
//!
//! The engine is `regex-lite`: small, its time linear in expression and text, its memory limited. It
//! has neither Unicode's classes nor its case, so `translate` spells those out with tables of
//! `unicode`; both engines agree on the rest. (A full engine would make the stripped program 540 kB larger,
//! the tables and the translation make it 80 kB.)

mod translate;
mod unicode;

use regex_lite::{Regex, RegexBuilder};
use std::fmt;

/// The most memory that one compiled expression may take, in bytes.
pub const MAX_SIZE: usize = 256 * 1024;

/// The longest expression, in bytes; more than a query can carry.
pub const MAX_LENGTH: usize = 4 * 1024;

/// An expression that is not valid, or too large. The text begins as Serf's does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadExpression {
    /// As it was given.
    pub expression: String,
    /// What is wrong with it.
    pub problem: String,
}

impl fmt::Display for BadExpression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Failed to compile regex: '{}': {}", self.expression, self.problem)
    }
}

impl std::error::Error for BadExpression {}

/// An expression that is ready to be matched with any number of values.
#[derive(Clone, Debug)]
pub struct Expression(Regex);

impl Expression {
    /// One that matches anywhere in a value: a tag filter of a query.
    pub fn anywhere(expression: &str) -> Result<Expression, BadExpression> {
        Expression::compile(expression, expression)
    }

    /// One that matches from the start of a value to its end: a filter of `members`.
    ///
    /// As in Serf, the anchors are simply written around it: `web|db` is what begins with `web` or ends
    /// with `db`, and `*` alone is valid and matches anything.
    pub fn whole(expression: &str) -> Result<Expression, BadExpression> {
        Expression::compile(expression, &format!("^{expression}$"))
    }

    fn compile(given: &str, pattern: &str) -> Result<Expression, BadExpression> {
        let bad = |problem: String| BadExpression { expression: given.to_string(), problem };
        if given.len() > MAX_LENGTH {
            let expression = given.chars().take(40).chain("…".chars()).collect();
            let problem = format!("it is {} bytes long; at most {MAX_LENGTH} are allowed", given.len());
            return Err(BadExpression { expression, problem });
        }
        let pattern = translate::from_go(pattern).map_err(|e| bad(e.to_string()))?;
        let compiled = RegexBuilder::new(&pattern).size_limit(MAX_SIZE).build();
        compiled.map(Expression).map_err(|e| bad(e.to_string()))
    }

    /// Whether it matches a value. Bytes that are no UTF-8 count as U+FFFD each, as in Go.
    pub fn is_match(&self, value: impl AsRef<[u8]>) -> bool {
        let value = value.as_ref();
        match std::str::from_utf8(value) {
            Ok(text) => self.0.is_match(text),
            Err(_) => self.0.is_match(&as_go_reads(value)),
        }
    }
}

/// Text with U+FFFD in place of each byte that belongs to no character.
fn as_go_reads(bytes: &[u8]) -> String {
    let mut text = String::new();
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        text.extend(chunk.invalid().iter().map(|_| char::REPLACEMENT_CHARACTER));
    }
    text
}

#[cfg(test)]
mod tests;
