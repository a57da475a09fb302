//! `serf monitor`: the agent's log and everything that happens, as it happens.

use super::connection::connect;
use super::console::{Console, Failure};
use super::interrupt;
use super::reader::Reader;
use crate::config::Flags;
use crate::model::Tags;
use crate::rpc::record::MemberInfo;
use crate::rpc::{ClientError, Record};
use std::fmt::Write;
use std::net::SocketAddr;

/// Runs the command until it is interrupted, which is success, or the agent ends it.
pub(super) fn run(flags: &Flags, console: &mut Console<'_>) -> Result<(), Failure> {
    let level = flags.given_text("log-level").unwrap_or("INFO".into());
    let mut client = connect(flags)?;
    client.stream("*").map_err(|e| Failure::message("Error starting stream", e))?;
    client.monitor(&level).map_err(|e| Failure::message("Error starting monitor", e))?;
    interrupt::ends_with(0, None).map_err(|e| Failure::message("Error starting monitor", e))?;
    loop {
        match client.next_record(None) {
            Ok(Some((_, record))) => console.line(describe(&record, console.reader()))?,
            Ok(None) | Err(ClientError::Closed | ClientError::Io(_)) => {
                return Err(Failure::Message(
                    "\nRemote side ended the monitor! This usually means that the\n\
                     remote side has exited or crashed."
                        .into(),
                ));
            }
            Err(error) => return Err(Failure::message("Error reading from the agent", error)),
        }
    }
}

/// A log line as it is; anything else as `Event Info:` and one line for each field.
///
/// Serf prints the fields in random order and with Go's notation for values. The order is
/// alphabetical here, and members are lines like those of `serf members`.
fn describe(record: &Record, reader: Reader) -> Vec<u8> {
    let mut out = String::from("Event Info:");
    let mut members = Vec::new();
    match record {
        Record::Log(line) => return reader.show_lines(line),
        Record::User(e) => {
            field(&mut out, "Coalesce", e.coalesce);
            field(&mut out, "Event", quoted(&e.event));
            field(&mut out, "LTime", e.ltime);
            field(&mut out, "Name", quoted(&e.name));
            field(&mut out, "Payload", go_bytes(&e.payload));
        }
        Record::Query(e) => {
            field(&mut out, "Event", quoted(&e.event));
            field(&mut out, "ID", e.id);
            field(&mut out, "LTime", e.ltime);
            field(&mut out, "Name", quoted(&e.name));
            field(&mut out, "Payload", go_bytes(&e.payload));
        }
        Record::Members(e) => {
            field(&mut out, "Event", quoted(&e.event));
            field(&mut out, "Members", e.members.len());
            for member in &e.members {
                members.extend_from_slice(b"\n\t\t");
                members.extend(member_line(member, reader));
            }
        }
        // Of a query of one's own, and a monitor asks none.
        Record::Answer(_) => {}
    }
    [out.into_bytes(), members].concat()
}

fn field(out: &mut String, name: &str, value: impl std::fmt::Display) {
    let _ = write!(out, "\n\t{name}: {value}");
}

/// As Go quotes a text: each byte that is no part of one by its number.
fn quoted(text: impl AsRef<[u8]>) -> String {
    let mut out = String::from("\"");
    for chunk in text.as_ref().utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '"' | '\\' => out.extend(['\\', c]),
                '\u{7}' => out.push_str("\\a"),
                '\u{8}' => out.push_str("\\b"),
                '\u{c}' => out.push_str("\\f"),
                '\n' => out.push_str("\\n"),
                '\r' => out.push_str("\\r"),
                '\t' => out.push_str("\\t"),
                '\u{b}' => out.push_str("\\v"),
                '\'' => out.push(c),
                _ if c.escape_debug().len() == 1 => out.push(c),
                '\0'..='\u{7f}' => out.push_str(&format!("\\x{:02x}", u32::from(c))),
                '\u{80}'..='\u{ffff}' => out.push_str(&format!("\\u{:04x}", u32::from(c))),
                _ => out.push_str(&format!("\\U{:08x}", u32::from(c))),
            }
        }
        out.extend(chunk.invalid().iter().map(|byte| format!("\\x{byte:02x}")));
    }
    out + "\""
}

/// As Go prints a byte string with `%#v`; an empty one travels as nil.
fn go_bytes(bytes: &[u8]) -> String {
    if bytes.is_empty() {
        return "<nil>".to_string();
    }
    let hex: Vec<String> = bytes.iter().map(|b| format!("{b:#x}")).collect();
    format!("[]byte{{{}}}", hex.join(", "))
}

fn member_line(member: &MemberInfo, reader: Reader) -> Vec<u8> {
    let addr = SocketAddr::new(member.addr.0, member.port);
    let (name, tags) = (reader.show(&member.name), reader.show(Tags(member.tags.clone()).to_bytes()));
    let line = [&*name, format!("  {addr}  {}  ", member.status).as_bytes(), &tags].concat();
    line.trim_ascii_end().to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rpc::record::{MemberEventRecord, QueryEventRecord, UserEventRecord, WireAddr};

    fn describe(record: &Record) -> String {
        String::from_utf8(super::describe(record, Reader::Program)).unwrap()
    }

    #[test]
    fn texts_are_quoted_as_go_does() {
        // Printed by HashiCorp's program.
        for (text, expected) in [
            (&b"a b"[..], r#""a b""#),
            (b"q\"\\", r#""q\"\\""#),
            (b"\x07\x08\x0b\x0c\r\n\t\x00\x1b\x7f", r#""\a\b\v\f\r\n\t\x00\x1b\x7f""#),
            (b"\xff\xe2\x82", r#""\xff\xe2\x82""#),
            ("é\u{1f600}\u{200b}'".as_bytes(), "\"é\u{1f600}\\u200b'\""),
        ] {
            assert_eq!(quoted(text), expected);
        }
    }

    #[test]
    fn records_read_like_those_of_serf() {
        let user = UserEventRecord {
            coalesce: true,
            event: "user".into(),
            ltime: 1,
            name: "foo".into(),
            payload: b"bar".to_vec(),
        };
        assert_eq!(
            describe(&Record::User(user)),
            "Event Info:\n\tCoalesce: true\n\tEvent: \"user\"\n\tLTime: 1\n\tName: \"foo\"\n\
             \tPayload: []byte{0x62, 0x61, 0x72}"
        );
        let query =
            QueryEventRecord { event: "query".into(), id: 1, ltime: 2, name: "q".into(), payload: vec![] };
        assert_eq!(
            describe(&Record::Query(query)),
            "Event Info:\n\tEvent: \"query\"\n\tID: 1\n\tLTime: 2\n\tName: \"q\"\n\tPayload: <nil>"
        );
        let member = |name: &str, tag: Option<&str>| MemberInfo {
            name: name.into(),
            addr: WireAddr("::1".parse().unwrap()),
            port: 7946,
            status: "alive".into(),
            tags: tag.map(|v| ("k".into(), v.into())).into_iter().collect(),
            ..MemberInfo::default()
        };
        let joined = MemberEventRecord {
            event: "member-join".into(),
            members: vec![member("a", Some("v")), member("b", None)],
        };
        assert_eq!(
            describe(&Record::Members(joined)),
            "Event Info:\n\tEvent: \"member-join\"\n\tMembers: 2\n\
             \t\ta  [::1]:7946  alive  k=v\n\t\tb  [::1]:7946  alive"
        );
        assert_eq!(describe(&Record::Log("2013/10/22 [INFO] x".into())), "2013/10/22 [INFO] x");
    }
}
