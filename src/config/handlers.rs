//! What an event handler is configured with: `[filter,…=]script`, as Serf reads it.
//!
//! Which script wants to hear of what is decided here; running scripts is not.

use crate::messaging::filter::{EventFilter, MAX_EVENT_FILTERS};
use crate::model::{Event, Text};
use std::fmt;

/// One configured handler: a script and the events it wants to hear of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventScript {
    /// What it hears of; never empty.
    pub(crate) filters: Vec<EventFilter>,
    /// What `/bin/sh -c` is given.
    pub(crate) script: Text,
}

/// A filter that names no event. The text begins as Serf's does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum EventScriptError {
    /// This item of the filter names no event.
    NoSuchEvent {
        /// The item.
        event: Text,
        /// The script after it.
        script: Text,
    },
    /// More items than [`MAX_EVENT_FILTERS`].
    TooManyFilters {
        /// How many.
        count: usize,
        /// The script after them.
        script: Text,
    },
}

impl fmt::Display for EventScriptError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            EventScriptError::NoSuchEvent { event, script } => write!(
                f,
                "Invalid event script: Event '{event}' invoking '{script}': '{event}' is no event (expected \
                 {}; before a script that contains '=' write '*=')",
                EventFilter::known()
            ),
            EventScriptError::TooManyFilters { count, script } => write!(
                f,
                "Invalid event script: {count} events invoking '{script}': at most {MAX_EVENT_FILTERS} can \
                 be named"
            ),
        }
    }
}

impl std::error::Error for EventScriptError {}

impl EventScript {
    /// Reads `script`, `event=script` or `event,event=script`. What comes before the first `=` is
    /// the filter; nothing there means everything. The script may be empty, as it may with Serf.
    pub(crate) fn parse(text: impl AsRef<[u8]>) -> Result<EventScript, EventScriptError> {
        let text = text.as_ref();
        let mut halves = text.splitn(2, |byte| *byte == b'=');
        let (filter, script) = match (halves.next(), halves.next()) {
            (Some(filter), Some(script)) => (filter, Text::from(script)),
            _ => (&[][..], Text::from(text)),
        };
        if filter.is_empty() {
            return Ok(EventScript { filters: vec![EventFilter::All], script });
        }
        let items = || filter.split(|byte| *byte == b',');
        let count = items().count();
        if count > MAX_EVENT_FILTERS {
            return Err(EventScriptError::TooManyFilters { count, script });
        }
        let mut filters = Vec::with_capacity(count);
        for item in items() {
            // On its own an empty item would mean everything; between commas it is a mistake.
            match EventFilter::parse(item) {
                Ok(parsed) if !item.is_empty() => filters.extend(parsed),
                _ => return Err(EventScriptError::NoSuchEvent { event: item.into(), script }),
            }
        }
        Ok(EventScript { filters, script })
    }

    /// The events it hears of as `info` names them: `event:name`, the name empty for any.
    pub(crate) fn filter_keys(&self) -> impl Iterator<Item = String> {
        let shown = |name: &Option<Text>| name.as_ref().map(Text::to_string).unwrap_or_default();
        self.filters.iter().map(move |filter| match filter {
            EventFilter::All => "*:".to_string(),
            EventFilter::Member(kind) => format!("{kind}:"),
            EventFilter::User(name) => format!("user:{}", shown(name)),
            EventFilter::Query(name) => format!("query:{}", shown(name)),
        })
    }

    /// Whether the script wants to hear of an event. However many of its filters an event passes,
    /// the script hears of it once. (Serf runs it once for each filter.)
    pub(crate) fn matches(&self, event: &Event) -> bool {
        self.filters.iter().any(|filter| filter.passes(event))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{LamportTime, MemberEventKind, MemberEvents, UserEvent};
    use EventFilter::{All, Member, Query, User};
    use MemberEventKind::{Join, Leave};

    #[test]
    fn specifications_as_serf_reads_them() {
        let user = |name: &str| User(Some(name.into()));
        for (text, filters, script) in [
            ("script.sh", vec![All], "script.sh"),
            ("cat > /tmp/x", vec![All], "cat > /tmp/x"),
            ("", vec![All], ""),
            ("=x", vec![All], "x"),
            ("*=x", vec![All], "x"),
            ("*=A=1 x", vec![All], "A=1 x"),
            ("member-join=x", vec![Member(Join)], "x"),
            ("member-join=", vec![Member(Join)], ""),
            ("member-join=a=b=c", vec![Member(Join)], "a=b=c"),
            ("member-join,member-leave=x", vec![Member(Join), Member(Leave)], "x"),
            ("member-join,user:deploy=x", vec![Member(Join), user("deploy")], "x"),
            ("user=x", vec![User(None)], "x"),
            ("user:=x", vec![User(None)], "x"),
            ("user:deploy prod=x", vec![user("deploy prod")], "x"),
            ("query=x", vec![Query(None)], "x"),
            ("query:load=uptime", vec![Query(Some("load".into()))], "uptime"),
            // Without `=` there is no filter, whatever the script looks like.
            ("member-join", vec![All], "member-join"),
        ] {
            assert_eq!(
                EventScript::parse(text),
                Ok(EventScript { filters, script: script.into() }),
                "{text:?}"
            );
        }
    }

    #[test]
    fn refusals_say_what_was_wrong() {
        for (text, phrase) in [
            ("foo=x", "Invalid event script: Event 'foo' invoking 'x': 'foo' is no event"),
            ("member-join,=x", "Invalid event script: Event '' invoking 'x'"),
            ("member-join, user=x", "Invalid event script: Event ' user' invoking 'x'"),
            ("A=1 foo", "Invalid event script: Event 'A' invoking '1 foo'"),
            ("member-join,foo=x", "Invalid event script: Event 'foo' invoking 'x'"),
            ("*:x=y", "Invalid event script: Event '*:x' invoking 'y'"),
            ("user:a,b=c", "Invalid event script: Event 'b' invoking 'c'"),
            ("Member-Join=x", "Invalid event script: Event 'Member-Join' invoking 'x'"),
        ] {
            let error = EventScript::parse(text).unwrap_err().to_string();
            assert!(error.starts_with(phrase), "{text:?}: {error}");
        }
        let many = format!("{}=x", vec!["user"; MAX_EVENT_FILTERS + 1].join(","));
        let error = EventScript::parse(&many).unwrap_err().to_string();
        assert!(error.starts_with("Invalid event script: 257 events invoking 'x'"), "{error}");
    }

    #[test]
    fn an_event_matches_if_it_passes_any_filter() {
        let join = Event::Members(MemberEvents { kind: Join, members: vec![] });
        let user = |name: &str| {
            let ltime = LamportTime::default();
            Event::User(UserEvent { ltime, name: name.into(), payload: vec![], coalesce: false })
        };
        let script = |text: &str| EventScript::parse(text).unwrap();
        assert!(script("x").matches(&join));
        assert!(script("member-leave,member-join=x").matches(&join));
        assert!(!script("member-leave,user=x").matches(&join));
        assert!(script("user:a,user:b=x").matches(&user("b")));
        assert!(!script("user:a,user:b=x").matches(&user("c")));
        assert!(script("user:=x").matches(&user("c")));
    }
}
