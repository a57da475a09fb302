//! `serf keys`: the keys that the cluster encrypts with.

use super::connection::connect;
use super::console::{Console, Failure};
use super::format::columns;
use super::reader::Reader;
use crate::config::Flags;
use crate::model::Text;
use crate::rpc::record::{InstallKeyCall, KeyResponse, ListKeysCall, RemoveKeyCall, UseKeyCall};
use crate::rpc::{Client, ClientError};

/// What all members said, and the error if some of them failed.
type KeyAnswers = Result<(KeyResponse, String), ClientError>;

/// A change, and what is said about it.
struct Change {
    flag: &'static str,
    ask: fn(&mut Client, String) -> KeyAnswers,
    begins: &'static str,
    done: &'static str,
    failed: &'static str,
}

const CHANGES: [Change; 3] = [
    Change {
        flag: "install",
        ask: |client, key| client.call_partly(&InstallKeyCall { key }),
        begins: "==> Installing key on all members...",
        done: "==> Successfully installed key!",
        failed: "Error installing key",
    },
    Change {
        flag: "use",
        ask: |client, key| client.call_partly(&UseKeyCall { key }),
        begins: "==> Changing primary key on all members...",
        done: "==> Successfully changed primary key!",
        failed: "Error changing primary key",
    },
    Change {
        flag: "remove",
        ask: |client, key| client.call_partly(&RemoveKeyCall { key }),
        begins: "==> Removing key on all members...",
        done: "==> Successfully removed key!",
        failed: "Error removing key",
    },
];

/// Runs the command.
pub(super) fn run(flags: &Flags, console: &mut Console<'_>) -> Result<(), Failure> {
    let given = |change: &&Change| flags.text(change.flag).is_some_and(|key| !key.is_empty());
    let changes: Vec<&Change> = CHANGES.iter().filter(given).collect();
    match (changes.as_slice(), flags.switch("list")) {
        ([], true) => list(flags, console),
        ([change], false) => perform(change, flags, console),
        ([], false) => Err(Failure::Misuse("One of -install, -use, -remove or -list is needed".into())),
        _ => Err(Failure::Message("Only one of -install, -use, -remove, or -list allowed".into())),
    }
}

fn perform(change: &Change, flags: &Flags, console: &mut Console<'_>) -> Result<(), Failure> {
    let mut client = connect(flags)?;
    console.line(change.begins)?;
    let key = flags.text(change.flag).unwrap_or_default().to_string();
    let (report, error) = (change.ask)(&mut client, key).map_err(|e| Failure::message(change.failed, e))?;
    if !error.is_empty() {
        print_failures(&report, console);
        return Err(Failure::message(change.failed, error));
    }
    console.line(change.done)
}

fn list(flags: &Flags, console: &mut Console<'_>) -> Result<(), Failure> {
    const FAILED: &str = "Failed to gather member keys";
    let mut client = connect(flags)?;
    console.line("==> Asking all members for installed keys...")?;
    let (report, error) = client.call_partly(&ListKeysCall).map_err(|e| Failure::message(FAILED, e))?;
    if !error.is_empty() {
        print_failures(&report, console);
        return Err(Failure::message(FAILED, error));
    }
    // A list that is not whole must not look like one.
    if let Some(remarks) = messages(&report, "", console.error_reader()) {
        console.error(remarks);
    }
    console.line("==> Keys gathered, listing cluster keys...\n")?;
    console.line(listed(&report, console.reader()))
}

/// Each key with the number of members that have it, and of those that seal with it if any do.
fn listed(report: &KeyResponse, reader: Reader) -> Vec<u8> {
    let total = report.num_nodes;
    let lines = report.keys.iter().flatten().map(|(key, have)| {
        let primary = report.primary_keys.iter().find_map(|keys| keys.get(key));
        let primary = primary.map(|seal| format!("primary [{seal}/{total}]")).unwrap_or_default();
        [reader.show(key), format!("[{have}/{total}]").into_bytes(), primary.into_bytes()]
    });
    // Without the blanks that a key which is not primary would end in.
    let table = columns(&lines.collect::<Vec<_>>());
    table.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii_end).collect::<Vec<_>>().join(&b'\n')
}

fn print_failures(report: &KeyResponse, console: &mut Console<'_>) {
    if let Some(failures) = messages(report, "failed:", console.error_reader()) {
        console.error(failures);
    }
    console.error("");
}

/// What members had to say, if anything.
fn messages(report: &KeyResponse, before: &str, reader: Reader) -> Option<Vec<u8>> {
    let row = |(name, message): (&Text, &Text)| {
        [before.as_bytes().to_vec(), reader.show(name), reader.show(message)]
    };
    let rows: Vec<[Vec<u8>; 3]> = report.messages.iter().map(row).collect();
    if rows.is_empty() { None } else { Some(columns(&rows)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn lists_show_how_many_have_which_key_and_which_is_primary() {
        let counts = |pairs: &[(&str, i64)]| pairs.iter().map(|(k, n)| (k.to_string(), *n)).collect();
        let report = KeyResponse {
            keys: Some(counts(&[("a=", 3), ("longer=", 2), ("old=", 1)])),
            primary_keys: Some(counts(&[("longer=", 2), ("old=", 1)])),
            num_nodes: 3,
            ..KeyResponse::default()
        };
        let listed = |report: &KeyResponse| String::from_utf8(listed(report, Reader::Program)).unwrap();
        assert_eq!(
            listed(&report),
            "a=       [3/3]\nlonger=  [2/3]  primary [2/3]\nold=     [1/3]  primary [1/3]"
        );
        // HashiCorp's agents do not say which is primary.
        let report = KeyResponse { primary_keys: None, ..report };
        assert_eq!(listed(&report), "a=       [3/3]\nlonger=  [2/3]\nold=     [1/3]");
    }

    #[test]
    fn what_members_say_drives_no_terminal() {
        let said = BTreeMap::from([("a".into(), "no".into()), ("bb".into(), "\u{1b}[2J".into())]);
        let report = KeyResponse { messages: said, ..KeyResponse::default() };
        let said = |report, reader| messages(report, "failed:", reader);
        let expected = &b"failed:  a   no\nfailed:  bb  \\u{1b}[2J"[..];
        assert_eq!(said(&report, Reader::Person).as_deref(), Some(expected));
        assert!(said(&report, Reader::Program).unwrap().ends_with(b"bb  \x1b[2J"));
        assert_eq!(said(&KeyResponse::default(), Reader::Person), None);
    }
}
