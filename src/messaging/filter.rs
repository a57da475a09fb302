//! Filters: which events a handler or stream wants. Pure functions.

use crate::model::{Event, MemberEventKind, Text};
use std::fmt;

/// The most items in one event filter; there are few kinds, the rest are names.
pub const MAX_EVENT_FILTERS: usize = 256;

/// One item of an event filter.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum EventFilter {
    /// `*`: everything.
    All,
    /// `member-join` and so on.
    Member(MemberEventKind),
    /// `user` or `user:name`.
    User(Option<Text>),
    /// `query` or `query:name`.
    Query(Option<Text>),
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
    pub fn parse(text: impl AsRef<[u8]>) -> Result<Vec<EventFilter>, InvalidEventFilter> {
        let text = text.as_ref();
        if text.is_empty() {
            return Ok(vec![EventFilter::All]);
        }
        let items = || text.split(|byte| *byte == b',');
        if items().nth(MAX_EVENT_FILTERS).is_some() {
            return Err(InvalidEventFilter);
        }
        let named = |name: &[u8]| (!name.is_empty()).then(|| name.into());
        let parsed = items().map(|item| {
            if let Some(name) = item.strip_prefix(b"user:") {
                return Ok(EventFilter::User(named(name)));
            }
            if let Some(name) = item.strip_prefix(b"query:") {
                return Ok(EventFilter::Query(named(name)));
            }
            match item {
                b"*" => Ok(EventFilter::All),
                b"user" => Ok(EventFilter::User(None)),
                b"query" => Ok(EventFilter::Query(None)),
                _ => MemberEventKind::named(item).map(EventFilter::Member).ok_or(InvalidEventFilter),
            }
        });
        parsed.collect()
    }

    /// Whether member events of this kind pass.
    pub fn passes_member(&self, kind: MemberEventKind) -> bool {
        match self {
            EventFilter::All => true,
            EventFilter::Member(wanted) => *wanted == kind,
            EventFilter::User(_) | EventFilter::Query(_) => false,
        }
    }

    /// Whether any query may pass.
    pub fn may_pass_queries(&self) -> bool {
        match self {
            EventFilter::All | EventFilter::Query(_) => true,
            EventFilter::Member(_) | EventFilter::User(_) => false,
        }
    }

    /// Whether an event passes.
    pub fn passes(&self, event: &Event) -> bool {
        let named = |wanted: &Option<Text>, name: &Text| wanted.as_ref().is_none_or(|w| w == name);
        match event {
            Event::Members(events) => self.passes_member(events.kind),
            Event::User(event) => match self {
                EventFilter::All => true,
                EventFilter::User(wanted) => named(wanted, &event.name),
                EventFilter::Member(_) | EventFilter::Query(_) => false,
            },
            Event::Query(query) => match self {
                EventFilter::All => true,
                EventFilter::Query(wanted) => named(wanted, &query.name),
                EventFilter::Member(_) | EventFilter::User(_) => false,
            },
        }
    }

    /// Everything that [`EventFilter::parse`] knows, to be shown to an operator who wrote
    /// something else.
    pub fn known() -> String {
        let members = MemberEventKind::ALL.iter().map(|kind| kind.as_str());
        members.chain(["user", "user:name", "query", "query:name or *"]).collect::<Vec<_>>().join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
