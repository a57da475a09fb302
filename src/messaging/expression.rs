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

use crate::model::lossy;
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
    pub fn anywhere(expression: impl AsRef<[u8]>) -> Result<Expression, BadExpression> {
        Expression::compile(expression.as_ref(), "", "")
    }

    /// One that matches from the start of a value to its end: a filter of `members`.
    ///
    /// As in Serf, the anchors are simply written around it: `web|db` is what begins with `web` or ends
    /// with `db`, and `*` alone is valid and matches anything.
    pub fn whole(expression: impl AsRef<[u8]>) -> Result<Expression, BadExpression> {
        Expression::compile(expression.as_ref(), "^", "$")
    }

    fn compile(given: &[u8], before: &str, after: &str) -> Result<Expression, BadExpression> {
        let bad = |problem: String| BadExpression { expression: lossy(given).into_owned(), problem };
        if given.len() > MAX_LENGTH {
            let expression = lossy(given).chars().take(40).chain("…".chars()).collect();
            let problem = format!("it is {} bytes long; at most {MAX_LENGTH} are allowed", given.len());
            return Err(BadExpression { expression, problem });
        }
        let given_text = std::str::from_utf8(given).map_err(|_| bad("invalid UTF-8".into()))?;
        let pattern =
            translate::from_go(&format!("{before}{given_text}{after}")).map_err(|e| bad(e.to_string()))?;
        let compiled = RegexBuilder::new(&pattern).size_limit(MAX_SIZE).build();
        compiled.map(Expression).map_err(|e| bad(e.to_string()))
    }

    /// Whether it matches a value. Bytes that are no UTF-8 count as U+FFFD each, as in Go.
    pub fn is_match(&self, value: impl AsRef<[u8]>) -> bool {
        self.0.is_match(&lossy(value.as_ref()))
    }
}

#[cfg(test)]
mod tests;
