//! From a `query` call to what the agent is asked: every value is checked before any
//! member sees it.

use super::limits::MAX_QUERY_TIMEOUT;
use crate::messaging::QueryParams;
use crate::messaging::expression::{BadExpression, Expression};
use crate::model::{NameError, NodeName, Text, format_duration};
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
    /// The time is longer than [`MAX_QUERY_TIMEOUT`].
    Timeout(Duration),
    /// The factor is not from 0 to 255.
    RelayFactor(i64),
    /// A text is no name of a member.
    Node {
        /// The text.
        name: Text,
        /// What is wrong with it.
        error: NameError,
    },
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
            QueryRefused::Timeout(given) => {
                let (given, most) = (format_duration(*given), format_duration(MAX_QUERY_TIMEOUT));
                write!(f, "Query timeout is too long: {given} (limit is {most})")
            }
            QueryRefused::RelayFactor(factor) => {
                write!(f, "Relay factor must be between 0 and 255, not {factor}")
            }
            QueryRefused::Node { name, error } => write!(f, "Invalid node filter {name:?}: {error}"),
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
    let node = |name: Text| NodeName::new(&name).map_err(|error| QueryRefused::Node { name, error });
    Ok(QueryParams {
        timeout: timeout(call.timeout)?,
        relay_factor: u8::try_from(call.relay_factor)
            .map_err(|_| QueryRefused::RelayFactor(call.relay_factor))?,
        nodes: call.filter_nodes.into_iter().map(node).collect::<Result<_, _>>()?,
        tags: call.filter_tags,
        name: call.name,
        payload: call.payload,
        request_ack: call.request_ack,
    })
}

/// 0 stands for the default. A negative time is over at once, as with Serf.
fn timeout(nanos: i64) -> Result<Option<Duration>, QueryRefused> {
    match Duration::from_nanos(u64::try_from(nanos).unwrap_or_default()) {
        _ if nanos == 0 => Ok(None),
        timeout if timeout > MAX_QUERY_TIMEOUT => Err(QueryRefused::Timeout(timeout)),
        timeout => Ok(Some(timeout)),
    }
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
        assert_eq!(full.nodes.iter().map(NodeName::to_string).collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!((full.relay_factor, full.timeout), (255, Some(Duration::from_millis(1500))));
        assert_eq!((full.tags, full.payload), (tags(&["web|db", ""]), b"x".to_vec()));
        params(QueryCall { name: "_serf_ping".into(), ..request() }).unwrap();
        params(QueryCall { timeout: 24 * 3600 * 1_000_000_000, ..request() }).unwrap();
        for (nanos, expected) in [(0, None), (1, Some(1)), (-1, Some(0)), (i64::MIN, Some(0))] {
            let asked = params(QueryCall { timeout: nanos, ..request() }).unwrap();
            assert_eq!(asked.timeout, expected.map(Duration::from_nanos), "{nanos}");
        }
    }

    #[test]
    fn every_other_is_refused_with_the_value_that_is_wrong() {
        let long = "x".repeat(513);
        for (request, text) in [
            (
                QueryCall { timeout: 24 * 3600 * 1_000_000_000 + 1, ..request() },
                "Query timeout is too long: 24h0m0.000000001s (limit is 24h0m0s)",
            ),
            (QueryCall { relay_factor: 256, ..request() }, "Relay factor must be between 0 and 255, not 256"),
            (QueryCall { relay_factor: -1, ..request() }, "Relay factor must be between 0 and 255, not -1"),
            (
                QueryCall { filter_nodes: vec!["a".into(), Text::default()], ..request() },
                "Invalid node filter \"\": node name is empty",
            ),
            (
                QueryCall { filter_nodes: vec![long.into()], ..request() },
                "node name is 513 bytes long; at most 512 are allowed",
            ),
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
