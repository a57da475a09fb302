//! The members that a query is meant for. Pure.

use crate::membership::Row;
use crate::messaging::QueryParams;
use crate::messaging::expression::{BadExpression, Expression};
use crate::model::{NodeName, Text};
use crate::wire::message::{Query, QueryFilter};
use std::cell::LazyCell;
use std::collections::BTreeSet;

/// A query, asked or to be asked, with its filters compiled. To compile an expression may take milliseconds, so
/// that this is made before the table is locked.
#[derive(Clone, Debug)]
pub struct Filtered<Q> {
    /// The query.
    pub query: Q,
    pub(super) audience: Result<Audience, BadExpression>,
}

impl From<Query> for Filtered<Query> {
    fn from(query: Query) -> Self {
        Filtered { audience: Audience::of(&query.filters), query }
    }
}

impl From<QueryParams> for Filtered<QueryParams> {
    fn from(query: QueryParams) -> Self {
        Filtered { audience: Audience::of(&query.filters()), query }
    }
}

/// The filters of a query, ready to be asked about any number of members.
#[derive(Clone, Debug)]
pub(super) struct Audience(Vec<FilterTest>);

#[derive(Clone, Debug)]
enum FilterTest {
    Nodes(BTreeSet<NodeName>),
    Tag(Text, Expression),
}

impl FilterTest {
    fn of(filter: &QueryFilter) -> Result<FilterTest, BadExpression> {
        Ok(match filter {
            QueryFilter::Nodes(nodes) => FilterTest::Nodes(nodes.iter().cloned().collect()),
            QueryFilter::Tag { tag, expression } => {
                FilterTest::Tag(tag.clone(), Expression::anywhere(expression)?)
            }
        })
    }
}

impl Audience {
    /// Compiles each expression once.
    fn of(filters: &[QueryFilter]) -> Result<Audience, BadExpression> {
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
