//! A join under way, and how it ends.

use crate::model::Moment;
use std::fmt;

/// Names a join of this process; never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct JoinId(pub u64);

/// Why nothing was joined.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JoinError {
    /// No address was given, or names led to none.
    NoAddress,
    /// What was wrong with each address.
    All(Vec<String>),
    /// Too many joins are under way.
    TooMany,
    /// The agent stopped first.
    GivenUp,
}

impl fmt::Display for JoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            JoinError::NoAddress => f.write_str("no address to join was given"),
            JoinError::All(errors) => f.write_str(&errors.join("; ")),
            JoinError::TooMany => f.write_str("too many joins at once"),
            JoinError::GivenUp => f.write_str("the join was given up"),
        }
    }
}

impl std::error::Error for JoinError {}

impl JoinError {
    /// In several lines, as Serf says it to clients: how many errors there were, then each of them.
    pub fn as_list(&self) -> String {
        let JoinError::All(errors) = self else { return self.to_string() };
        let noun = if errors.len() == 1 { "error" } else { "errors" };
        let items: String = errors.iter().map(|error| format!("\n\t* {error}")).collect();
        format!("{} {noun} occurred:{items}\n\n", errors.len())
    }
}

/// How many addresses are still open, and how the others went.
#[derive(Debug)]
pub(super) struct Join {
    /// When it began.
    pub began: Moment,
    pending: usize,
    joined: usize,
    errors: Vec<String>,
    /// Whether past user events are to be heard.
    pub replay: bool,
}

impl Join {
    /// A join through so many addresses; `errors` are those of the names that led nowhere.
    ///
    /// One more is pending than there are addresses, so that it does not end while it still begins:
    /// [`Join::begun`] takes it away.
    pub(crate) fn new(addrs: usize, errors: Vec<String>, replay: bool, began: Moment) -> Join {
        Join { began, pending: addrs + 1, joined: 0, errors, replay }
    }

    /// An address has been joined. Says whether it is the first.
    pub(crate) fn succeeded(&mut self) -> bool {
        self.pending -= 1;
        self.joined += 1;
        self.joined == 1
    }

    /// An address could not be joined.
    pub(crate) fn failed(&mut self, why: String) {
        self.pending -= 1;
        self.errors.push(why);
    }

    /// All addresses have been tried.
    pub(crate) fn begun(&mut self) {
        self.pending -= 1;
    }

    /// Whether nothing is pending any more.
    pub(crate) fn is_over(&self) -> bool {
        self.pending == 0
    }

    /// How it went.
    pub(crate) fn outcome(self) -> Result<usize, JoinError> {
        match self.joined {
            0 if self.errors.is_empty() => Err(JoinError::NoAddress),
            0 => Err(JoinError::All(self.errors)),
            n => Ok(n),
        }
    }
}
