//! `serf query`: asks the members something and prints their answers as they come in.

use super::connection::connect;
use super::console::{Console, Failure};
use super::format::{OutputFormat, json};
use super::interrupt;
use super::payload::name_and_payload;
use super::reader::Reader;
use crate::config::Flags;
use crate::model::{Status, Tags, Text};
use crate::rpc::record::{MemberInfo, MembersFilteredCall, QueryCall};
use crate::rpc::{Client, QueryAnswer};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// How long an agent may stay silent beyond the time that the query takes.
const SLACK: Duration = Duration::from_secs(60);
/// Longer than the default time of a query in any cluster.
const LONGEST_DEFAULT: Duration = Duration::from_secs(300);
/// How many names are listed of members that did not acknowledge.
const MAX_LISTED: usize = 20;

/// Runs the command.
pub(super) fn run(flags: &Flags, console: &mut Console<'_>) -> Result<(), Failure> {
    let format = match flags.given_text("format").as_deref() {
        Some(other) if !["text", "json"].contains(&other) => {
            return Err(Failure::Message(format!("Invalid format: {other}")));
        }
        format => OutputFormat::parse(format)?,
    };
    let request = request(flags)?;
    let mut client = connect(flags)?;
    interrupt::ends_with(1, None).map_err(|e| Failure::message("Error sending query", e))?;
    // Before the query, so that no member is missed that was not there to be asked.
    let expected = match format {
        OutputFormat::Text if request.request_ack => expected(&mut client, &request),
        _ => BTreeSet::new(),
    };
    let patience = flags.duration("timeout").unwrap_or(LONGEST_DEFAULT).saturating_add(SLACK);
    let answers = client
        .ask(&request, Some(patience))
        .map_err(|e| Failure::message("Error sending query", e))?
        .map(|answer| answer.map_err(|e| Failure::message("Error reading from the agent", e)));
    match format {
        OutputFormat::Json => print_json(answers, console),
        OutputFormat::Text => {
            let acked = print_text(answers, &request, console)?;
            let silent: Vec<&Text> = expected.difference(&acked).collect();
            if !silent.is_empty() {
                console.error([b"no ack from: ", &*listed(&silent, console.error_reader())].concat());
            }
            Ok(())
        }
    }
}

fn request(flags: &Flags) -> Result<QueryCall, Failure> {
    let filter_tags = Tags::from_pairs(flags.texts("tag")).map_err(|e| Failure::message("Error", e))?.0;
    let relay_factor = flags.number("relay-factor").unwrap_or(0);
    if !(0..=255).contains(&relay_factor) {
        return Err(Failure::Message("Relay factor must be between 0 and 255".into()));
    }
    let (name, payload) = name_and_payload("A query", &flags.rest, std::io::stdin())?;
    Ok(QueryCall {
        filter_nodes: flags.texts("node"),
        filter_tags,
        name: name.clone(),
        payload,
        relay_factor,
        request_ack: !flags.switch("no-ack"),
        // The flag ends at what Go can hold, which is what the record can.
        timeout: flags.duration("timeout").map_or(0, |t| i64::try_from(t.as_nanos()).unwrap_or(i64::MAX)),
    })
}

/// The members that should acknowledge. None if that cannot be found out: it only makes the output
/// richer.
fn expected(client: &mut Client, request: &QueryCall) -> BTreeSet<Text> {
    client.call(&matching(request)).map(|reply| asked(reply.members, request)).unwrap_or_default()
}

/// Asks for the members whose tags a query is meant for. The agent matches them: so the expressions mean the same
/// for it, and nobody else is sent. Where a query looks anywhere in a value, this looks at the whole.
fn matching(request: &QueryCall) -> MembersFilteredCall {
    let anywhere = |e: &Text| Text::from([b"(?s:.*)(?:", e.as_bytes(), b")(?s:.*)"].concat());
    MembersFilteredCall {
        status: Status::Alive.as_str().into(),
        tags: request.filter_tags.iter().map(|(key, e)| (key.clone(), anywhere(e))).collect(),
        ..Default::default()
    }
}

/// The names of those among them that the query is meant for.
fn asked(members: Vec<MemberInfo>, request: &QueryCall) -> BTreeSet<Text> {
    let names = members.into_iter().map(|member| member.name);
    names.filter(|name| request.filter_nodes.is_empty() || request.filter_nodes.contains(name)).collect()
}

/// Prints what comes in. Returns the members that acknowledged.
fn print_text(
    answers: impl Iterator<Item = Result<QueryAnswer, Failure>>,
    request: &QueryCall,
    console: &mut Console<'_>,
) -> Result<BTreeSet<Text>, Failure> {
    let mut acked = BTreeSet::new();
    let (mut acks, mut responses) = (0, 0);
    let reader = console.reader();
    console.line([b"Query '", &*reader.show(&request.name), b"' dispatched"].concat())?;
    for answer in answers {
        match answer? {
            answer if is_of_nobody(&answer) => {}
            QueryAnswer::Ack { from } => {
                acks += 1;
                console.line([b"Ack from '", &*reader.show(&from), b"'"].concat())?;
                acked.insert(from);
            }
            QueryAnswer::Response { from, payload } => {
                responses += 1;
                let payload = payload.strip_suffix(b"\n").unwrap_or(&payload);
                let (from, payload) = (reader.show(&from), reader.show_lines(payload));
                console.line([b"Response from '", &*from, b"': ", &payload].concat())?;
            }
            QueryAnswer::Done => {}
        }
    }
    if request.request_ack {
        console.line(format!("Total Acks: {acks}"))?;
    }
    console.line(format!("Total Responses: {responses}"))?;
    Ok(acked)
}

/// HashiCorp's agents may stream answers without a sender when a query ends: what a channel yields that was
/// closed.
fn is_of_nobody(answer: &QueryAnswer) -> bool {
    match answer {
        QueryAnswer::Ack { from } | QueryAnswer::Response { from, .. } => from.is_empty(),
        QueryAnswer::Done => false,
    }
}

/// The order of the fields is that of the output.
#[derive(Default, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Collected {
    /// Go writes an empty list that was never touched as null, and so do we.
    acks: Option<Vec<Text>>,
    responses: BTreeMap<Text, Text>,
}

fn print_json(
    answers: impl Iterator<Item = Result<QueryAnswer, Failure>>,
    console: &mut Console<'_>,
) -> Result<(), Failure> {
    let mut collected = Collected::default();
    for answer in answers {
        match answer? {
            answer if is_of_nobody(&answer) => {}
            QueryAnswer::Ack { from } => collected.acks.get_or_insert_default().push(from),
            QueryAnswer::Response { from, payload } => {
                collected.responses.insert(from, payload.into());
            }
            QueryAnswer::Done => {}
        }
    }
    console.line(json(&collected)?)
}

fn listed(names: &[&Text], reader: Reader) -> Vec<u8> {
    let shown: Vec<Vec<u8>> = names.iter().take(MAX_LISTED).map(|name| reader.show(name)).collect();
    let more = names.len() - shown.len();
    let tail = if more > 0 { format!(" and {more} more") } else { String::new() };
    [shown.join(&b", "[..]), tail.into_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Incarnation, Member, NodeName, Versions};
    use crate::rpc::ClientError;
    use crate::rpc::filter::MemberFilter;

    fn ack(from: &str) -> Result<QueryAnswer, Failure> {
        Ok(QueryAnswer::Ack { from: from.into() })
    }

    fn response(from: &str, payload: &[u8]) -> Result<QueryAnswer, Failure> {
        Ok(QueryAnswer::Response { from: from.into(), payload: payload.to_vec() })
    }

    fn query(ack: bool) -> QueryCall {
        QueryCall { name: "load".into(), request_ack: ack, ..QueryCall::default() }
    }

    fn text(answers: Vec<Result<QueryAnswer, Failure>>, request: &QueryCall) -> (String, BTreeSet<Text>) {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let acked = print_text(answers.into_iter(), request, &mut Console::new(&mut out, &mut err)).unwrap();
        (String::from_utf8_lossy(&out).into_owned(), acked)
    }

    fn json(answers: Vec<Result<QueryAnswer, Failure>>) -> String {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        print_json(answers.into_iter(), &mut Console::new(&mut out, &mut err)).unwrap();
        String::from_utf8(out).unwrap()
    }

    // What Serf 0.8.2 printed for these answers.

    #[test]
    fn text_is_that_of_serf() {
        let answers = || {
            vec![
                ack("h1"),
                response("h1", b"up h1\n"),
                ack("h2"),
                response("h2", b"two\nlines\n\n"),
                response("h3", b"a\x08\x01<&>"),
            ]
        };
        assert_eq!(
            text(answers(), &query(true)).0,
            "Query 'load' dispatched\nAck from 'h1'\nResponse from 'h1': up h1\nAck from 'h2'\n\
             Response from 'h2': two\nlines\n\nResponse from 'h3': a\x08\x01<&>\nTotal Acks: 2\nTotal Responses: 3\n"
        );
        assert_eq!(
            text(vec![response("h1", b"up")], &query(false)).0,
            "Query 'load' dispatched\nResponse from 'h1': up\nTotal Responses: 1\n"
        );
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let raw = vec![response("h", b"\xff")];
        print_text(raw.into_iter(), &query(false), &mut Console::new(&mut out, &mut err)).unwrap();
        assert!(out.windows(4).any(|w| w == b" \xff\nT"), "bytes that are no text arrive as they are");
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let odd = QueryCall { name: b"q\xfe".as_slice().into(), ..query(true) };
        let answers = [Ok(QueryAnswer::Ack { from: b"h\xff".as_slice().into() })];
        print_text(answers.into_iter(), &odd, &mut Console::new(&mut out, &mut err)).unwrap();
        assert!(out.starts_with(b"Query 'q\xfe' dispatched\nAck from 'h\xff'\n"), "{out:?}");
    }

    #[test]
    fn json_is_that_of_serf() {
        assert_eq!(
            json(vec![ack("h1"), ack("h2"), response("h2", b"up h2\n"), response("h1", b"up h1\n")]),
            "{\n  \"Acks\": [\n    \"h1\",\n    \"h2\"\n  ],\n  \"Responses\": {\n    \"h1\": \"up h1\\n\",\n    \
             \"h2\": \"up h2\\n\"\n  }\n}\n"
        );
        assert_eq!(json(vec![]), "{\n  \"Acks\": null,\n  \"Responses\": {}\n}\n");
        let odd = json(vec![response("h2", b"a\xff\x08\x01\xe2\x82<&>")]);
        let expected = r#""h2": "a\ufffd\u0008\u0001\ufffd\ufffd\u003c\u0026\u003e""#;
        assert!(odd.contains(expected), "{odd}");
    }

    #[test]
    fn an_error_of_the_agent_ends_it() {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let answers = [ack("h1"), Err(Failure::message("x", ClientError::Closed)), ack("h2")];
        let ended = print_text(answers.into_iter(), &query(true), &mut Console::new(&mut out, &mut err));
        assert!(matches!(ended, Err(Failure::Message(_))));
        assert!(out.ends_with(b"Ack from 'h1'\n"));
    }

    #[test]
    fn who_is_meant() {
        let member = |name: &str, role: &str| Member {
            name: NodeName::new(name).unwrap(),
            addr: "10.0.0.1:7946".parse().unwrap(),
            meta: Tags::from_pairs([format!("role={role}")]).unwrap().encode().unwrap().into(),
            status: Status::Alive,
            versions: Versions::OURS,
            incarnation: Incarnation(1),
        };
        let members = [member("a", "web"), member("b", "webmail"), member("c", "d\nb")];
        let names = |nodes: &[&str], tags: &[(&str, &str)]| {
            let request = QueryCall {
                filter_nodes: nodes.iter().map(|n| Text::from(*n)).collect(),
                filter_tags: tags.iter().map(|(k, e)| ((*k).into(), (*e).into())).collect(),
                ..QueryCall::default()
            };
            let Ok(filter) = MemberFilter::compile(&matching(&request)) else { return "bad".into() };
            let matching = members.iter().filter(|m| filter.matches(m));
            let infos =
                matching.map(|m| MemberInfo { name: m.name.as_bytes().into(), ..MemberInfo::default() });
            asked(infos.collect(), &request).iter().map(Text::to_string).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(names(&[], &[]), "a b c");
        assert_eq!(names(&["c", "z", "a"], &[]), "a c");
        assert_eq!(names(&[], &[("role", "web|b")]), "a b c");
        assert_eq!(names(&[], &[("role", "^web$|^b")]), "a");
        assert_eq!(names(&["a", "b"], &[("role", "web.+")]), "b");
        assert_eq!(names(&[], &[("role", "(?i)D")]), "c");
        assert_eq!(names(&[], &[("other", ".+")]), "");
        assert_eq!(names(&[], &[("other", "")]), "a b c");
        assert_eq!(names(&[], &[("role", "[")]), "bad");
        let many: Vec<Text> = (0..23).map(|i| format!("n{i:02}").into()).collect();
        let many = listed(&many.iter().collect::<Vec<_>>(), Reader::Person);
        assert!(many.ends_with(b"n18, n19 and 3 more"));
        assert_eq!(listed(&[&"a\x1b".into()], Reader::Person), b"a\\u{1b}");
        assert_eq!(listed(&[&"a\x1b".into(), &b"\xff"[..].into()], Reader::Program), b"a\x1b, \xff");
    }
}
