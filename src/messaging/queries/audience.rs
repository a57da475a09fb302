//! The members that a query is meant for. Pure.

use crate::membership::Row;
use crate::messaging::expression::{BadExpression, Expression};
use crate::model::{NodeName, Text};
use crate::wire::message::QueryFilter;
use std::cell::LazyCell;

/// The filters of a query, ready to be asked about any number of members.
#[derive(Debug)]
pub(super) struct Audience<'a>(Vec<FilterTest<'a>>);

#[derive(Debug)]
enum FilterTest<'a> {
    Nodes(&'a [NodeName]),
    Tag(&'a Text, Expression),
}

impl FilterTest<'_> {
    fn of(filter: &QueryFilter) -> Result<FilterTest<'_>, BadExpression> {
        Ok(match filter {
            QueryFilter::Nodes(nodes) => FilterTest::Nodes(nodes),
            QueryFilter::Tag { tag, expression } => FilterTest::Tag(tag, Expression::anywhere(expression)?),
        })
    }
}

impl Audience<'_> {
    /// Compiles each expression once.
    pub(super) fn of(filters: &[QueryFilter]) -> Result<Audience<'_>, BadExpression> {
        filters.iter().map(FilterTest::of).collect::<Result<_, _>>().map(Audience)
    }

    /// Whether a member passes every filter. A tag that it lacks counts as empty.
    pub(super) fn includes(&self, row: &Row) -> bool {
        let tags = LazyCell::new(|| row.meta.tags());
        self.0.iter().all(|test| match test {
            FilterTest::Nodes(nodes) => nodes.contains(&row.name),
            FilterTest::Tag(tag, expression) => {
                expression.is_match(tags.value(tag).map_or(&[][..], Text::as_bytes))
            }
        })
    }
}
