//! How large and how many queries may be, and why one is refused.

use crate::messaging::expression::BadExpression;
use std::fmt;

/// The most queries of this process that are open at once, and the most that it may still answer. Beyond
/// that the oldest end.
pub const MAX_OPEN: usize = 4096;

/// Limits of sizes, in bytes; Serf's defaults.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueryLimits {
    /// Of an encoded query.
    pub query: usize,
    /// Of an encoded answer.
    pub response: usize,
}

impl Default for QueryLimits {
    fn default() -> Self {
        QueryLimits { query: 1024, response: 1024 }
    }
}

/// Why a query was not asked or not answered. The texts are Serf's where it has any.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum QueryError {
    /// It is larger than this many bytes.
    TooLarge(usize),
    /// The answer is larger than this many bytes.
    ResponseTooLarge(usize),
    /// A filter is no expression.
    Filter(BadExpression),
    /// No such query can be answered (any more).
    Unknown,
    /// This process has answered it already.
    AlreadyAnswered,
    /// The one that asked is not a member any more.
    AskerGone,
}

impl fmt::Display for QueryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            QueryError::TooLarge(limit) => write!(f, "query exceeds limit of {limit} bytes"),
            QueryError::ResponseTooLarge(limit) => write!(f, "response exceeds limit of {limit} bytes"),
            QueryError::Filter(why) => why.fmt(f),
            QueryError::Unknown => f.write_str("response is past the deadline"),
            QueryError::AlreadyAnswered => f.write_str("response already sent"),
            QueryError::AskerGone => f.write_str("the one that asked is not a member any more"),
        }
    }
}

impl std::error::Error for QueryError {}
