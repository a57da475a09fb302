//! Which members a client picks: by expression. Pure functions.

use super::record::MembersFilteredCall;
use crate::messaging::expression::{BadExpression, Expression};
use crate::model::{Member, Text};
use std::cell::LazyCell;
use std::fmt;

/// The most tag expressions in one request; each is compiled.
pub(super) const MAX_TAG_EXPRESSIONS: usize = 64;

/// Why a filter was refused. The texts begin as Serf's do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FilterError {
    /// An expression is not valid, or too large.
    BadExpression(BadExpression),
    /// There are this many tag expressions, more than [`MAX_TAG_EXPRESSIONS`].
    TooManyTags(usize),
}

impl fmt::Display for FilterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FilterError::BadExpression(e) => write!(f, "{e}"),
            FilterError::TooManyTags(count) => {
                write!(f, "Too many tag filters: {count} (limit is {MAX_TAG_EXPRESSIONS})")
            }
        }
    }
}

impl std::error::Error for FilterError {}

impl From<BadExpression> for FilterError {
    fn from(e: BadExpression) -> Self {
        FilterError::BadExpression(e)
    }
}

/// The compiled form of a `members-filtered` request.
#[derive(Clone, Debug)]
pub struct MemberFilter {
    name: Option<Expression>,
    status: Option<Expression>,
    tags: Vec<(Text, Expression)>,
}

impl MemberFilter {
    /// Compiles the expressions. An empty name or status matches anything.
    pub fn compile(request: &MembersFilteredCall) -> Result<MemberFilter, FilterError> {
        if request.tags.len() > MAX_TAG_EXPRESSIONS {
            return Err(FilterError::TooManyTags(request.tags.len()));
        }
        let optional =
            |text: &Text| if text.is_empty() { Ok(None) } else { Expression::whole(text).map(Some) };
        Ok(MemberFilter {
            name: optional(&request.name)?,
            status: optional(&request.status)?,
            tags: request
                .tags
                .iter()
                .map(|(key, expression)| Ok((key.clone(), Expression::whole(expression)?)))
                .collect::<Result<_, FilterError>>()?,
        })
    }

    /// Whether the member passes every expression. A tag that it lacks counts as empty.
    pub fn matches(&self, member: &Member) -> bool {
        let tags = LazyCell::new(|| member.meta.tags());
        self.name.as_ref().is_none_or(|re| re.is_match(&member.name))
            && self.status.as_ref().is_none_or(|re| re.is_match(member.status.as_str()))
            && self.tags.iter().all(|(key, re)| re.is_match(tags.value(key).map_or(&[][..], Text::as_bytes)))
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
            meta: Tags::from_pairs(tags).unwrap().encode().unwrap().into(),
            status,
            versions: Versions::OURS,
            incarnation: Incarnation(1),
        }
    }

    fn request(name: &str, status: &str, tags: &[(&str, &str)]) -> MembersFilteredCall {
        MembersFilteredCall {
            name: name.into(),
            status: status.into(),
            tags: tags.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect(),
        }
    }

    #[test]
    fn members_are_picked_by_whole_values() {
        let web = member("web-1", Status::Alive, &["role=web", "dc=eu"]);
        for (name, status, tags, expected) in [
            ("", "", &[][..], true),
            ("web", "", &[], false),
            ("web.*", "", &[], true),
            ("we|eb-1", "", &[], true),
            ("(we|eb-1)", "", &[], false),
            ("*", "", &[], true),
            (r"\pL+-\p{Nd}", "", &[], true),
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
        for bad in ["[", "a)(b", "(", r"\p{Nope}", "((a{500}){500}){500}"] {
            for request in [request(bad, "", &[]), request("", bad, &[]), request("", "", &[("k", bad)])] {
                let error = MemberFilter::compile(&request).unwrap_err().to_string();
                assert!(error.starts_with(&format!("Failed to compile regex: '{bad}': ")), "{error}");
            }
        }
        let many = MembersFilteredCall {
            tags: (0..65).map(|i| (i.to_string().into(), Text::default())).collect::<BTreeMap<_, _>>(),
            ..MembersFilteredCall::default()
        };
        assert_eq!(MemberFilter::compile(&many).unwrap_err(), FilterError::TooManyTags(65));
    }
}
