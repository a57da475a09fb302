//! What clients pick: members by expression, events by kind. Pure functions.

use super::record::MembersFilteredRequest;
use crate::model::{Member, MemberEventKind};
use regex_lite::{Regex, RegexBuilder};
use std::fmt;

/// The most memory that one compiled expression may take, in bytes.
pub const MAX_EXPRESSION_SIZE: usize = 256 * 1024;

/// The most tag expressions in one request; each is compiled.
pub const MAX_TAG_EXPRESSIONS: usize = 64;

/// The most items in one event filter; there are eight kinds, the rest are names.
pub const MAX_EVENT_FILTERS: usize = 256;

/// Why a filter was refused. The texts begin as Serf's do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FilterError {
    /// The expression is not valid, or too large.
    BadExpression {
        /// As it was given.
        expression: String,
        /// What is wrong with it.
        problem: String,
    },
    /// There are this many tag expressions, more than [`MAX_TAG_EXPRESSIONS`].
    TooManyTags(usize),
}

impl fmt::Display for FilterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FilterError::BadExpression { expression, problem } => {
                write!(f, "Failed to compile regex: '{expression}': {problem}")
            }
            FilterError::TooManyTags(count) => {
                write!(f, "Too many tag filters: {count} (limit is {MAX_TAG_EXPRESSIONS})")
            }
        }
    }
}

impl std::error::Error for FilterError {}

/// An expression that must match the whole of a text.
///
/// Anchors go around a group, so that every branch of `a|b` is anchored. (Serf puts them before
/// the first branch and after the last, so that its `web|db` also matches `webmail`.)
pub fn anchored(expression: &str) -> Result<Regex, FilterError> {
    let bad = |problem: String| FilterError::BadExpression { expression: expression.to_string(), problem };
    let compile = |pattern: &str| RegexBuilder::new(pattern).size_limit(MAX_EXPRESSION_SIZE).build();
    // On its own first: `a)(b` would become valid inside a group.
    compile(expression).map_err(|e| bad(e.to_string()))?;
    compile(&format!("^(?:{expression})$")).map_err(|e| bad(e.to_string()))
}

/// The compiled form of a `members-filtered` request.
#[derive(Clone, Debug)]
pub struct MemberFilter {
    name: Option<Regex>,
    status: Option<Regex>,
    tags: Vec<(String, Regex)>,
}

impl MemberFilter {
    /// Compiles the expressions. An empty name or status matches anything.
    pub fn compile(request: &MembersFilteredRequest) -> Result<MemberFilter, FilterError> {
        if request.tags.len() > MAX_TAG_EXPRESSIONS {
            return Err(FilterError::TooManyTags(request.tags.len()));
        }
        let optional = |text: &str| if text.is_empty() { Ok(None) } else { anchored(text).map(Some) };
        Ok(MemberFilter {
            name: optional(&request.name)?,
            status: optional(&request.status)?,
            tags: request
                .tags
                .iter()
                .map(|(key, expression)| Ok((key.clone(), anchored(expression)?)))
                .collect::<Result<_, FilterError>>()?,
        })
    }

    /// Whether the member passes every expression. A tag that it lacks counts as empty.
    pub fn matches(&self, member: &Member) -> bool {
        self.name.as_ref().is_none_or(|re| re.is_match(member.name.as_str()))
            && self.status.as_ref().is_none_or(|re| re.is_match(member.status.as_str()))
            && self.tags.iter().all(|(key, re)| re.is_match(member.tags.value(key).unwrap_or("")))
    }
}

/// One item of an event filter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EventFilter {
    /// `*`: everything.
    All,
    /// `member-join` and so on.
    Member(MemberEventKind),
    /// `user` or `user:name`.
    User(Option<String>),
    /// `query` or `query:name`.
    Query(Option<String>),
}

/// A text that names no event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidEventFilter;

impl fmt::Display for InvalidEventFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Invalid event filter")
    }
}

impl std::error::Error for InvalidEventFilter {}

impl EventFilter {
    /// Parses items separated by commas, without spaces. Nothing at all means everything;
    /// `user:` is any user event. At most [`MAX_EVENT_FILTERS`].
    pub fn parse(text: &str) -> Result<Vec<EventFilter>, InvalidEventFilter> {
        if text.is_empty() {
            return Ok(vec![EventFilter::All]);
        }
        if text.split(',').nth(MAX_EVENT_FILTERS).is_some() {
            return Err(InvalidEventFilter);
        }
        let named = |name: &str| (!name.is_empty()).then(|| name.to_string());
        text.split(',')
            .map(|item| match item {
                "*" => Ok(EventFilter::All),
                "member-join" => Ok(EventFilter::Member(MemberEventKind::Join)),
                "member-leave" => Ok(EventFilter::Member(MemberEventKind::Leave)),
                "member-failed" => Ok(EventFilter::Member(MemberEventKind::Failed)),
                "member-update" => Ok(EventFilter::Member(MemberEventKind::Update)),
                "member-reap" => Ok(EventFilter::Member(MemberEventKind::Reap)),
                "user" => Ok(EventFilter::User(None)),
                "query" => Ok(EventFilter::Query(None)),
                _ => match item.split_once(':') {
                    Some(("user", name)) => Ok(EventFilter::User(named(name))),
                    Some(("query", name)) => Ok(EventFilter::Query(named(name))),
                    _ => Err(InvalidEventFilter),
                },
            })
            .collect()
    }

    /// Whether member events of this kind pass.
    pub fn passes_member(&self, kind: MemberEventKind) -> bool {
        matches!(self, EventFilter::All) || *self == EventFilter::Member(kind)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Incarnation, NodeName, Status, Tags, Versions};
    use std::collections::BTreeMap;

    fn member(name: &str, status: Status, tags: &[&str]) -> Member {
        Member {
            name: NodeName::new(name).unwrap(),
            addr: "10.0.0.1:7946".parse().unwrap(),
            tags: Tags::from_pairs(tags).unwrap(),
            status,
            versions: Versions::OURS,
            incarnation: Incarnation(1),
        }
    }

    fn request(name: &str, status: &str, tags: &[(&str, &str)]) -> MembersFilteredRequest {
        MembersFilteredRequest {
            name: name.into(),
            status: status.into(),
            tags: tags.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect(),
        }
    }

    #[test]
    fn members_are_picked_by_whole_values() {
        let web = member("web-1", Status::Alive, &["role=web", "dc=eu"]);
        for (name, status, tags, expected) in [
            ("", "", &[][..], true),
            ("web", "", &[], false),
            ("web.*", "", &[], true),
            ("we|eb-1", "", &[], false),
            ("x|web-1", "", &[], true),
            ("(?i)WEB-1", "", &[], true),
            ("", "alive", &[], true),
            ("", "failed|alive", &[], true),
            ("", "live", &[], false),
            ("", "", &[("role", "web"), ("dc", "eu|us")], true),
            ("", "", &[("role", "we")], false),
            ("", "", &[("absent", "")], true),
            ("", "", &[("absent", ".+")], false),
            ("", "", &[("role", "")], false),
        ] {
            let filter = MemberFilter::compile(&request(name, status, tags)).unwrap();
            assert_eq!(filter.matches(&web), expected, "{name:?} {status:?} {tags:?}");
        }
    }

    #[test]
    fn bad_expressions_are_named() {
        for bad in ["[", "a)(b", "(", "*", r"\p{Greek}", "((a{500}){500}){500}"] {
            for request in [request(bad, "", &[]), request("", bad, &[]), request("", "", &[("k", bad)])] {
                let error = MemberFilter::compile(&request).unwrap_err().to_string();
                assert!(error.starts_with(&format!("Failed to compile regex: '{bad}': ")), "{error}");
            }
        }
        let many = MembersFilteredRequest {
            tags: (0..65).map(|i| (i.to_string(), String::new())).collect::<BTreeMap<_, _>>(),
            ..MembersFilteredRequest::default()
        };
        assert_eq!(MemberFilter::compile(&many).unwrap_err(), FilterError::TooManyTags(65));
    }

    #[test]
    fn event_filters_as_serf_reads_them() {
        use EventFilter::*;
        for (text, expected) in [
            ("", vec![All]),
            ("*", vec![All]),
            ("member-join,member-reap", vec![Member(MemberEventKind::Join), Member(MemberEventKind::Reap)]),
            ("user", vec![User(None)]),
            ("user:", vec![User(None)]),
            ("user:deploy,query:load", vec![User(Some("deploy".into())), Query(Some("load".into()))]),
            ("user:a:b", vec![User(Some("a:b".into()))]),
            ("query", vec![Query(None)]),
        ] {
            assert_eq!(EventFilter::parse(text), Ok(expected), "{text:?}");
        }
        for text in ["foo", "member-join, user", ",", "user,", "Member-join", "member-join:x", "*:x"] {
            assert_eq!(EventFilter::parse(text), Err(InvalidEventFilter), "{text:?}");
        }
        assert!(All.passes_member(MemberEventKind::Failed));
        assert!(!Member(MemberEventKind::Join).passes_member(MemberEventKind::Failed));
        assert!(!User(None).passes_member(MemberEventKind::Join));
    }
}
