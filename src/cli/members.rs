//! `serf members`: which members there are.

use super::connection::connect;
use super::console::{Console, Failure};
use super::format::{OutputFormat, columns, json};
use super::reader::Reader;
use crate::config::Flags;
use crate::model::{Status, Tags, Text, lossy};
use crate::rpc::record::{MemberInfo, MembersFilteredCall};
use serde::Serialize;
use std::collections::BTreeMap;
use std::net::SocketAddr;

/// Runs the command.
pub(super) fn run(flags: &Flags, console: &mut Console<'_>) -> Result<(), Failure> {
    let format = OutputFormat::parse(flags.given_text("format").as_deref())?;
    let mut filters = flags.texts("tag");
    if let Some(role) = flags.bytes("role") {
        // Not on standard output, where it would spoil JSON.
        console.error("Deprecation warning: 'Role' has been replaced with 'Tags'");
        filters.push([b"role=", role.as_bytes()].concat().into());
    }
    let filter = MembersFilteredCall {
        tags: Tags::from_pairs(filters).map_err(|e| Failure::message("Error", e))?.0,
        status: flags.bytes("status").cloned().unwrap_or_default(),
        name: flags.bytes("name").cloned().unwrap_or_default(),
    };
    let reply = connect(flags)?.call(&filter).map_err(|e| Failure::message("Error retrieving members", e))?;
    let mut members = reply.members;
    members.sort_by(|a, b| a.name.cmp(&b.name));
    match format {
        OutputFormat::Json => console.line(as_json(&members)?),
        OutputFormat::Text => console.line(match console.has_colour() {
            true => coloured(&members, flags.switch("detailed")).into_bytes(),
            false => as_text(&members, flags.switch("detailed"), console.reader()),
        }),
    }
}

#[derive(Serialize)]
struct List<'a> {
    /// Go writes an empty list that was never touched as null, and so do we.
    members: Option<Vec<MemberRow<'a>>>,
}

/// A member as JSON shows it; the order of the fields is that of the output.
#[derive(Serialize)]
struct MemberRow<'a> {
    name: &'a Text,
    addr: String,
    port: u16,
    tags: &'a BTreeMap<Text, Text>,
    status: &'a str,
    protocol: Protocol,
}

/// In Go a map, hence in alphabetical order.
#[derive(Serialize)]
struct Protocol {
    max: u8,
    min: u8,
    version: u8,
}

/// `10.0.0.1:7946`, `[::1]:7946`.
fn address(member: &MemberInfo) -> String {
    SocketAddr::new(member.addr.0, member.port).to_string()
}

fn as_json(members: &[MemberInfo]) -> Result<String, Failure> {
    let rows: Vec<MemberRow<'_>> = members
        .iter()
        .map(|m| MemberRow {
            name: &m.name,
            addr: address(m),
            port: m.port,
            tags: &m.tags,
            status: &m.status,
            protocol: Protocol { max: m.delegate_max, min: m.delegate_min, version: m.delegate_cur },
        })
        .collect();
    json(&List { members: if rows.is_empty() { None } else { Some(rows) } })
}

fn as_text(members: &[MemberInfo], detailed: bool, reader: Reader) -> Vec<u8> {
    let cells = |m: &MemberInfo| {
        let tags = reader.show(Tags(m.tags.clone()).to_bytes());
        [reader.show(&m.name), address(m).into_bytes(), m.status.clone().into_bytes(), tags]
    };
    if !detailed {
        return columns(&members.iter().map(cells).collect::<Vec<_>>());
    }
    let rows: Vec<[Vec<u8>; 7]> = members
        .iter()
        .map(|m| {
            let [name, addr, status, tags] = cells(m);
            let speaks = format!("Protocol Version: {}", m.delegate_cur);
            let understands = format!("Available Protocol Range: [{}, {}]", m.delegate_min, m.delegate_max);
            let dialect = format!("Dialect: {}", m.dialect());
            let [speaks, understands, dialect] = [speaks, understands, dialect].map(String::into_bytes);
            [name, addr, status, tags, speaks, understands, dialect]
        })
        .collect();
    columns(&rows)
}

/// The same lines for a terminal that has colours, with the status in one.
fn coloured(members: &[MemberInfo], detailed: bool) -> String {
    let text = as_text(members, detailed, Reader::Person);
    // The status is the third column, at the same place in every line: coloured after the
    // columns were laid out, because colours have no width.
    let width = |cell: fn(&MemberInfo) -> Vec<u8>| {
        members.iter().map(|m| lossy(&cell(m)).chars().count()).max().unwrap_or(0)
    };
    let start = width(|m| Reader::Person.show(&m.name)) + 2 + width(|m| address(m).into_bytes()) + 2;
    let lines: Vec<String> = lossy(&text)
        .lines()
        .zip(members)
        .map(|(line, member)| {
            let word = member.status.as_str();
            let Ok(status) = word.parse() else { return line.to_string() };
            let at = line.char_indices().nth(start).map_or(line.len(), |(at, _)| at);
            match line.split_at(at) {
                (before, rest) if rest.starts_with(word) => {
                    format!("{before}\x1b[{}m{word}\x1b[0m{}", shade(status), &rest[word.len()..])
                }
                _ => line.to_string(),
            }
        })
        .collect();
    lines.join("\n")
}

/// ANSI colours: green, yellow, grey, red.
fn shade(status: Status) -> u8 {
    match status {
        Status::Alive => 32,
        Status::Leaving => 33,
        Status::Left => 90,
        Status::Failed => 31,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Incarnation, Member, NodeName, Versions};

    fn member(name: &str, addr: &str, status: Status, tags: &[&str]) -> MemberInfo {
        MemberInfo::from(&Member {
            name: NodeName::new(name).unwrap(),
            addr: addr.parse().unwrap(),
            meta: Tags::from_pairs(tags).unwrap().encode().unwrap().into(),
            status,
            versions: Versions::OURS,
            incarnation: Incarnation::default(),
        })
    }

    fn two() -> [MemberInfo; 2] {
        [
            member("a", "127.8.2.1:7946", Status::Alive, &["x=1", "h=<a&b>"]),
            member("a-longer", "127.8.2.2:7946", Status::Alive, &[]),
        ]
    }

    fn as_text(members: &[MemberInfo], detailed: bool) -> String {
        String::from_utf8(super::as_text(members, detailed, Reader::Program)).unwrap()
    }

    // The three expectations that follow are what Serf 0.8.2 printed for such a cluster, with
    // the tags in order; the dialect is ours.

    #[test]
    fn text_is_that_of_serf() {
        assert_eq!(
            as_text(&two(), false),
            "a         127.8.2.1:7946  alive  h=<a&b>,x=1\n\
             a-longer  127.8.2.2:7946  alive"
        );
        assert_eq!(
            as_text(&two(), true),
            "a         127.8.2.1:7946  alive  h=<a&b>,x=1  Protocol Version: 5  Available Protocol Range: [2, 5]  Dialect: native\n\
             a-longer  127.8.2.2:7946  alive               Protocol Version: 5  Available Protocol Range: [2, 5]  Dialect: native"
        );
        let mut reversed = two();
        reversed.reverse();
        assert_eq!(
            as_text(&reversed, false),
            "a-longer  127.8.2.2:7946  alive  \n\
             a         127.8.2.1:7946  alive  h=<a&b>,x=1"
        );
        assert_eq!(as_text(&[], true), "");
    }

    #[test]
    fn json_is_that_of_serf() {
        let expected = r#"{
  "members": [
    {
      "name": "a",
      "addr": "127.8.2.1:7946",
      "port": 7946,
      "tags": {
        "h": "\u003ca\u0026b\u003e",
        "x": "1"
      },
      "status": "alive",
      "protocol": {
        "max": 5,
        "min": 2,
        "version": 5
      }
    },
    {
      "name": "a-longer",
      "addr": "127.8.2.2:7946",
      "port": 7946,
      "tags": {},
      "status": "alive",
      "protocol": {
        "max": 5,
        "min": 2,
        "version": 5
      }
    }
  ]
}"#;
        assert_eq!(as_json(&two()).unwrap(), expected);
        assert_eq!(as_json(&[]).unwrap(), "{\n  \"members\": null\n}");
        let six = as_json(&[member("n", "[::1]:7946", Status::Left, &[])]).unwrap();
        assert!(six.contains("\"addr\": \"[::1]:7946\""));
    }

    #[test]
    fn a_terminal_gets_colours_and_no_commands() {
        let members = [
            member("é", "127.0.0.1:1", Status::Alive, &["k=\u{1b}[2Jx"]),
            member("long-name", "127.0.0.1:12", Status::Failed, &[]),
        ];
        assert_eq!(
            coloured(&members, false),
            "é          127.0.0.1:1   \u{1b}[32malive\u{1b}[0m   k=\\u{1b}[2Jx\n\
             long-name  127.0.0.1:12  \u{1b}[31mfailed\u{1b}[0m"
        );
        assert_eq!(
            super::as_text(&members, false, Reader::Person),
            "é          127.0.0.1:1   alive   k=\\u{1b}[2Jx\nlong-name  127.0.0.1:12  failed".as_bytes()
        );
        assert_eq!(coloured(&[], true), "");
        let odd = [MemberInfo { name: b"n\xff".as_slice().into(), ..members[0].clone() }];
        assert_eq!(
            super::as_text(&odd, false, Reader::Program),
            b"n\xff  127.0.0.1:1  alive  k=\x1b[2Jx",
            "a script gets the bytes"
        );
    }
}
