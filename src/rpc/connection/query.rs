//! From a `query` call to what the agent is asked: every value is checked before any
//! member sees it.

use crate::messaging::QueryParams;
use crate::messaging::expression::{BadExpression, Expression};
use crate::model::{NodeName, Text};
use crate::rpc::filter::MAX_TAG_EXPRESSIONS;
use crate::rpc::record::QueryCall;
use std::fmt;
use std::time::Duration;

/// Names that begin so belong to agents.
const INTERNAL_PREFIX: &str = "_serf_";
/// The one internal query that clients may ask, without a payload: it only wants acks.
const PING: &str = "_serf_ping";

/// Why a query is not asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum QueryRefused {
    /// The name belongs to agents.
    InternalName,
    /// The factor is not from 0 to 255.
    RelayFactor(i64),
    /// The expression for a tag is not valid, or too large.
    Tag {
        /// The key of the tag.
        key: Text,
        /// What is wrong with the expression.
        error: BadExpression,
    },
    /// There are this many tag expressions, more than [`MAX_TAG_EXPRESSIONS`].
    TooManyTags(usize),
}

impl fmt::Display for QueryRefused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            QueryRefused::InternalName => write!(f, "Queries cannot contain the '{INTERNAL_PREFIX}' prefix"),
            QueryRefused::RelayFactor(factor) => {
                write!(f, "Relay factor must be between 0 and 255, not {factor}")
            }
            QueryRefused::Tag { key, error } => write!(f, "Invalid filter for tag '{key}': {error}"),
            QueryRefused::TooManyTags(count) => {
                write!(f, "Too many tag filters: {count} (limit is {MAX_TAG_EXPRESSIONS})")
            }
        }
    }
}

impl std::error::Error for QueryRefused {}

/// Checks a call.
pub(super) fn params(call: QueryCall) -> Result<QueryParams, QueryRefused> {
    let pings = call.name == PING && call.payload.is_empty();
    if call.name.starts_with(INTERNAL_PREFIX) && !pings {
        return Err(QueryRefused::InternalName);
    }
    if call.filter_tags.len() > MAX_TAG_EXPRESSIONS {
        return Err(QueryRefused::TooManyTags(call.filter_tags.len()));
    }
    for (key, expression) in &call.filter_tags {
        // The members that are asked compile it themselves, and none of them could say that it is wrong.
        Expression::anywhere(expression).map_err(|error| QueryRefused::Tag { key: key.clone(), error })?;
    }
    // As with Serf, a text that cannot be a name (it is empty, a variable was not set) matches no member.
    let nodes = (!call.filter_nodes.is_empty())
        .then(|| call.filter_nodes.iter().filter_map(|name| NodeName::new(name).ok()).collect());
    Ok(QueryParams {
        timeout: timeout(call.timeout),
        relay_factor: u8::try_from(call.relay_factor)
            .map_err(|_| QueryRefused::RelayFactor(call.relay_factor))?,
        nodes,
        tags: call.filter_tags,
        name: call.name,
        payload: call.payload,
        request_ack: call.request_ack,
    })
}

/// 0 stands for the default. A negative time is over at once, as with Serf; how long a query may last at the most
/// is a rule of queries.
fn timeout(nanos: i64) -> Option<Duration> {
    (nanos != 0).then(|| Duration::from_nanos(u64::try_from(nanos).unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn request() -> QueryCall {
        QueryCall { name: "load".into(), request_ack: true, ..QueryCall::default() }
    }

    fn tags(expressions: &[&str]) -> BTreeMap<Text, Text> {
        expressions.iter().enumerate().map(|(i, e)| (format!("k{i}").into(), (*e).into())).collect()
    }

    #[test]
    fn a_sound_query_is_asked_as_it_is() {
        let plain = params(request()).unwrap();
        let expected = QueryParams { name: "load".into(), request_ack: true, ..QueryParams::default() };
        assert_eq!(plain, expected);
        let full = params(QueryCall {
            filter_nodes: vec!["a".into(), "b".into()],
            filter_tags: tags(&["web|db", ""]),
            payload: b"x".to_vec(),
            relay_factor: 255,
            timeout: 1_500_000_000,
            ..request()
        });
        let full = full.unwrap();
        assert_eq!(full.nodes, Some(vec![NodeName::new("a").unwrap(), NodeName::new("b").unwrap()]));
        for (given, meant) in [("", vec![]), ("a", vec![NodeName::new("a").unwrap()])] {
            let filter_nodes = vec![given.into(), "x".repeat(513).into()];
            let nodes = params(QueryCall { filter_nodes, ..request() }).unwrap().nodes;
            assert_eq!(nodes, Some(meant), "not everyone instead of nobody");
        }
        assert_eq!((full.relay_factor, full.timeout), (255, Some(Duration::from_millis(1500))));
        assert_eq!((full.tags, full.payload), (tags(&["web|db", ""]), b"x".to_vec()));
        params(QueryCall { name: "_serf_ping".into(), ..request() }).unwrap();
        params(QueryCall { timeout: i64::MAX, ..request() }).unwrap();
        for (nanos, expected) in [(0, None), (1, Some(1)), (-1, Some(0)), (i64::MIN, Some(0))] {
            let asked = params(QueryCall { timeout: nanos, ..request() }).unwrap();
            assert_eq!(asked.timeout, expected.map(Duration::from_nanos), "{nanos}");
        }
    }

    #[test]
    fn every_other_is_refused_with_the_value_that_is_wrong() {
        for (request, text) in [
            (QueryCall { relay_factor: 256, ..request() }, "Relay factor must be between 0 and 255, not 256"),
            (QueryCall { relay_factor: -1, ..request() }, "Relay factor must be between 0 and 255, not -1"),
            (
                QueryCall { filter_tags: tags(&["ok", "["]), ..request() },
                "Invalid filter for tag 'k1': Failed to compile regex: '[': ",
            ),
            (
                QueryCall { filter_tags: tags(&["a"; 65]), ..request() },
                "Too many tag filters: 65 (limit is 64)",
            ),
            (
                QueryCall { name: "_serf_conflict".into(), ..request() },
                "Queries cannot contain the '_serf_' prefix",
            ),
            (
                QueryCall { name: "_serf_ping".into(), payload: vec![1], ..request() },
                "Queries cannot contain the '_serf_' prefix",
            ),
        ] {
            let refused = params(request).unwrap_err().to_string();
            assert!(refused.contains(text), "{refused}");
        }
    }
}
