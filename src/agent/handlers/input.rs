//! What a script is given: variables in its environment and bytes on its standard input, to the
//! byte as Serf writes them. Pure functions.

use crate::model::{Event, Member, Text};

/// The variables that a script sees on top of the agent's own. A name may occur more than once
/// (tags `a-b` and `a.b` are both `SERF_TAG_A_B`); then the last one counts.
pub(crate) fn environment(me: &Member, event: &Event) -> Vec<(String, Text)> {
    let tags = me.meta.tags();
    let role = tags.value("role").cloned().unwrap_or_default();
    let mut variables = vec![
        ("SERF_EVENT".to_string(), event.kind().into()),
        ("SERF_SELF_NAME".to_string(), Text::from(&me.name)),
        ("SERF_SELF_ROLE".to_string(), role),
    ];
    variables.extend(tags.0.into_iter().map(|(name, value)| (tag_variable(&name), value)));
    match event {
        Event::Members(_) => {}
        Event::User(event) => {
            variables.push(("SERF_USER_EVENT".to_string(), event.name.clone()));
            variables.push(("SERF_USER_LTIME".to_string(), event.ltime.to_string().into()));
        }
        Event::Query(query) => {
            variables.push(("SERF_QUERY_NAME".to_string(), query.name.clone()));
            variables.push(("SERF_QUERY_LTIME".to_string(), query.key.ltime.to_string().into()));
        }
    }
    // Tags of this member, perhaps set by a client: without them the script can run all the same.
    variables.retain(|(_, value)| !has_nul(value));
    variables
}

/// Whether a process can be started for this event: a variable of its environment cannot hold a NUL.
pub(crate) fn can_be_given(event: &Event) -> bool {
    match event {
        Event::Members(_) => true,
        Event::User(event) => !has_nul(&event.name),
        Event::Query(query) => !has_nul(&query.name),
    }
}

fn has_nul(text: &Text) -> bool {
    text.as_bytes().contains(&0)
}

/// `SERF_TAG_` and the name in upper case, with `_` for each character that is then none of
/// `A-Z0-9_`.
///
/// Serf maps characters one to one: `ß` stays one character and becomes `_`, never `SS`. Outside of
/// ASCII only the dotless i and the long s have a plain letter as their upper case.
fn tag_variable(tag: &Text) -> String {
    let shown = tag.to_lossy();
    let sanitised = shown.chars().map(|c| match c.to_ascii_uppercase() {
        upper @ ('A'..='Z' | '0'..='9' | '_') => upper,
        'ı' => 'I',
        'ſ' => 'S',
        _ => '_',
    });
    "SERF_TAG_".chars().chain(sanitised).collect()
}

/// What the script reads, until the end of file: a line for each member, or the payload with a
/// line end after it (an empty payload stays empty).
pub(crate) fn standard_input(event: &Event) -> Vec<u8> {
    match event {
        Event::Members(events) => {
            let mut lines = Vec::new();
            events.members.iter().for_each(|member| member_line(member, &mut lines));
            lines
        }
        Event::User(event) => with_line_end(&event.payload),
        Event::Query(query) => with_line_end(&query.payload),
    }
}

/// `name⇥address⇥role⇥tags`. The tags are `k=v,k=v`, in the order of their names (Serf's own order
/// is another one at each look); commas and `=` inside them are not marked in any way.
fn member_line(member: &Member, out: &mut Vec<u8>) {
    push_clean(member.name.as_bytes(), out);
    out.push(b'\t');
    // As in Serf, an IPv4 address mapped into IPv6 is written as what it is.
    out.extend_from_slice(member.addr.ip().to_canonical().to_string().as_bytes());
    out.push(b'\t');
    let tags = member.meta.tags();
    push_clean(tags.value("role").map_or(&[], Text::as_bytes), out);
    out.push(b'\t');
    push_clean(&tags.to_bytes(), out);
    out.push(b'\n');
}

/// Tabs and line ends as `\t` and `\n`, because they separate. Nothing else is escaped, not even
/// the backslash.
fn push_clean(text: &[u8], out: &mut Vec<u8>) {
    for byte in text {
        match byte {
            b'\t' => out.extend_from_slice(b"\\t"),
            b'\n' => out.extend_from_slice(b"\\n"),
            other => out.push(*other),
        }
    }
}

/// The `read` of most shells ignores a last line without its end.
fn with_line_end(payload: &[u8]) -> Vec<u8> {
    let mut bytes = payload.to_vec();
    if bytes.last().is_some_and(|last| *last != b'\n') {
        bytes.push(b'\n');
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::super::tests::samples::{join, member, query, user};
    use super::*;
    use crate::model::Moment;

    fn lines(event: &Event) -> String {
        String::from_utf8(standard_input(event)).unwrap()
    }

    /// Each was seen in the environment that HashiCorp's agent gives.
    #[test]
    fn names_of_tags() {
        for (tag, variable) in [
            ("role", "ROLE"),
            ("co,mma", "CO_MMA"),
            ("tab\tkey", "TAB_KEY"),
            ("aß-B.c", "A__B_C"),
            ("ünï", "_N_"),
            ("ŉ", "_"),
            ("ǆ", "_"),
            ("ı", "I"),
            ("ſ", "S"),
            ("1st", "1ST"),
            ("", ""),
        ] {
            assert_eq!(tag_variable(&tag.into()), format!("SERF_TAG_{variable}"), "{tag:?}");
        }
    }

    #[test]
    fn variables_by_kind_of_event() {
        let me = member("a", "10.0.0.1", &["role=we\tb", "nl=l1\nl2", "eq=a=b"]);
        let text = |event: &Event| {
            let pairs = environment(&me, event);
            pairs.into_iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("|")
        };
        let common =
            "SERF_SELF_NAME=a|SERF_SELF_ROLE=we\tb|SERF_TAG_EQ=a=b|SERF_TAG_NL=l1\nl2|SERF_TAG_ROLE=we\tb";
        assert_eq!(text(&join(&["b"])), format!("SERF_EVENT=member-join|{common}"));
        assert_eq!(
            text(&user("deploy", "x")),
            format!("SERF_EVENT=user|{common}|SERF_USER_EVENT=deploy|SERF_USER_LTIME=7")
        );
        assert_eq!(
            text(&query("load", Moment::NEVER)),
            format!("SERF_EVENT=query|{common}|SERF_QUERY_NAME=load|SERF_QUERY_LTIME=9")
        );
        let plain = member("b", "10.0.0.1", &[]);
        assert!(environment(&plain, &join(&["b"])).contains(&("SERF_SELF_ROLE".into(), Text::default())));
    }

    #[test]
    fn what_no_environment_can_hold_is_left_out_or_not_given_at_all() {
        let me = member("a", "10.0.0.1", &["role=x\0y", "good=1"]);
        let names: Vec<String> = environment(&me, &join(&["b"])).into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["SERF_EVENT", "SERF_SELF_NAME", "SERF_TAG_GOOD"]);
        let fits = [
            (join(&["b"]), true),
            (user("deploy", "a\0b"), true),
            (user("de\0ploy", ""), false),
            (query("\0", Moment::NEVER), false),
        ];
        for (event, fits) in fits {
            assert_eq!(can_be_given(&event), fits, "{event:?}");
        }
    }

    #[test]
    fn a_line_for_each_member() {
        let mut event = join(&["b"]);
        if let Event::Members(events) = &mut event {
            events.members = vec![
                member("b", "127.8.5.2", &[]),
                member("c", "::1", &["role=a b\tc\nd", "v=1,2=3", "ü=ß", "back=\\t"]),
                member("d", "::ffff:10.0.0.4", &["role="]),
                member("e", "::102:304", &["x="]),
            ];
        }
        assert_eq!(
            lines(&event),
            "b\t127.8.5.2\t\t\n\
             c\t::1\ta b\\tc\\nd\tback=\\t,role=a b\\tc\\nd,v=1,2=3,ü=ß\n\
             d\t10.0.0.4\t\trole=\n\
             e\t::102:304\t\tx=\n"
        );
        assert_eq!(lines(&join(&[])), "");
    }

    #[test]
    fn payloads_end_with_a_line_end() {
        assert_eq!(lines(&user("x", "pay")), "pay\n");
        assert_eq!(lines(&user("x", "pay\nx\n")), "pay\nx\n");
        assert_eq!(lines(&user("x", "\n")), "\n");
        assert_eq!(lines(&user("x", "")), "");
        assert_eq!(lines(&query("x", Moment::NEVER)), "x?\n");
    }
}
