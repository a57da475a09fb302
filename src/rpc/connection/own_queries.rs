//! The queries that the client itself asked.

use crate::model::Moment;

/// A query that the client asked.
#[derive(Debug, Default)]
pub(super) struct OwnQuery {
    pub(super) last_answer: Option<Moment>,
    /// It is over, and its end is to be delivered then.
    pub(super) ends: Option<Moment>,
}
