//! Configurations as an operator checks them: `serf agent -check-config`.
//!
//! `tests/corpus/config/broken.txt` holds one broken configuration after the other, each with the
//! one line that says why it is refused.

use crate::harness::{Answer, Scratch, run, serf};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// Checks a configuration that consists of these arguments.
fn check(args: &[&str]) -> Answer {
    run(&serf(), ["agent", "-check-config", "-node=n"].iter().chain(args))
}

/// The one line that refuses it, without the directory of the test.
fn refusal(scratch: &Scratch, args: &[&str]) -> String {
    let answer = check(args);
    let directory = format!("{}/", scratch.path().display());
    answer.refused();
    assert_eq!(answer.stdout, "", "complaints go to standard error: {answer}");
    let said = answer.stderr.replace(&directory, "");
    let line = said.strip_suffix('\n').expect("a line");
    assert!(!line.contains('\n'), "one line: {answer}");
    line.strip_prefix("==> ").unwrap_or_else(|| panic!("as the agent says it: {answer}")).to_string()
}

/// One broken configuration.
struct Broken {
    /// What follows `==== ` in the corpus.
    title: String,
    /// The file.
    text: String,
    /// What is said about it.
    expected: String,
}

/// The corpus: a line `==== title`, the file, a line `---- `, and what is said about it.
fn corpus() -> Vec<Broken> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/corpus/config/broken.txt");
    let text = fs::read_to_string(path).unwrap_or_else(|e| panic!("{path}: {e}"));
    let cases = text.split("\n==== ").skip(1);
    let case = |case: &str| {
        let (title, rest) = case.split_once('\n').expect("a title");
        let (text, expected) = rest.rsplit_once("\n---- ").unwrap_or_else(|| panic!("no answer: {title}"));
        Broken { title: title.into(), text: text.into(), expected: expected.trim_end().into() }
    };
    cases.map(case).collect()
}

#[test]
fn each_broken_configuration_has_its_one_clear_error() {
    let scratch = Scratch::new("broken");
    let cases = corpus();
    let mut titles: BTreeMap<&str, ()> = BTreeMap::new();
    let mut wrong = Vec::new();
    for Broken { title, text, expected } in &cases {
        assert!(titles.insert(title, ()).is_none(), "two are called {title}");
        let path = scratch.file("c.json", text);
        let said = refusal(&scratch, &["-config-file", &path]);
        if said != *expected {
            wrong.push(format!("{title}:\n  expected {expected}\n  but said {said}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(cases.len() >= 60, "only {} of them", cases.len());
}

#[test]
fn what_is_no_text_or_no_file_is_refused_at_once() {
    let scratch = Scratch::new("no-files");
    let path = scratch.path();
    let bytes = |name: &str, bytes: &[u8]| {
        fs::write(path.join(name), bytes).unwrap();
        path.join(name).to_str().unwrap().to_string()
    };
    let fifo = path.join("fifo").to_str().unwrap().to_string();
    run(Path::new("mkfifo"), [&fifo]).ok();
    fs::create_dir(path.join("dir")).unwrap();
    bytes("dir/bad.json", b"{\"bind\": 1}");
    fs::create_dir(path.join("broken-link")).unwrap();
    std::os::unix::fs::symlink(path.join("nowhere"), path.join("broken-link/x.json")).unwrap();
    let absent = path.join("absent.json").to_str().unwrap().to_string();
    for (given, expected) in [
        (absent, "Error reading 'absent.json': No such file or directory"),
        (fifo, "Error reading 'fifo': it is neither a file nor a directory"),
        ("/dev/zero".to_string(), "Error reading '/dev/zero': it is neither a file nor a directory"),
        ("".to_string(), "Error reading '': No such file or directory"),
        (
            path.join("broken-link").to_str().unwrap().to_string(),
            "Error reading 'broken-link/x.json': No such file or directory",
        ),
        (
            path.join("dir").to_str().unwrap().to_string(),
            "Error in 'dir/bad.json', line 1, key 'bind': 1 (expected text in quotes)",
        ),
        (
            bytes("latin1.json", b"{\n\"caf\xe9\": 1}"),
            "Error in 'latin1.json', line 2: unknown key 'caf\u{fffd}'",
        ),
        (bytes("utf16.json", b"{\0}\0"), "Error in 'utf16.json', line 1, column 2: key must be a string"),
        (
            bytes("bom.json", b"\xef\xbb\xbf{}"),
            "Error in 'bom.json', line 1: the file begins with a byte order mark; save it as UTF-8 without one",
        ),
        (
            bytes("long.json", &vec![b' '; 1024 * 1024 + 1]),
            "Error reading 'long.json': it is too long (at most 1048576 bytes are read)",
        ),
        (
            bytes("deep.json", &b"{\"tags\": ".iter().copied().chain([b'['; 100_000]).collect::<Vec<u8>>()),
            "Error in 'deep.json', line 1, column 100009: EOF while parsing a list",
        ),
    ] {
        for flag in ["-config-file", "-config-dir"] {
            assert_eq!(refusal(&scratch, &[flag, &given]), expected, "{flag} {given}");
        }
    }
}

#[test]
fn what_cannot_be_read_is_named() {
    let scratch = Scratch::new("unreadable");
    let file = scratch.file("c.json", "{}");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o000)).unwrap();
    if fs::read(&file).is_ok() {
        // Root reads everything.
        return;
    }
    assert_eq!(refusal(&scratch, &["-config-file", &file]), "Error reading 'c.json': Permission denied");
    let directory = scratch.path().join("dir");
    fs::create_dir(&directory).unwrap();
    fs::set_permissions(&directory, fs::Permissions::from_mode(0o000)).unwrap();
    let said = refusal(&scratch, &["-config-dir", directory.to_str().unwrap()]);
    fs::set_permissions(&directory, fs::Permissions::from_mode(0o755)).unwrap();
    assert_eq!(said, "Error reading 'dir': Permission denied");
}

#[test]
fn errors_name_the_last_file_that_set_it() {
    let scratch = Scratch::new("merged");
    let one = scratch.file("1.json", "{\"log_level\": \"loud\"}");
    let two = scratch.file("2.json", "{\n\"log_level\": \"quiet\"}");
    let three = scratch.file("3.json", "{\"log_level\": \"warn\"}");
    let levels = "Valid log levels are: [TRACE DEBUG INFO WARN ERR]";
    assert_eq!(
        refusal(&scratch, &["-config-file", &one, "-config-dir", &two]),
        format!("Error in '2.json', line 2, key 'log_level': Invalid log level: quiet. {levels}")
    );
    assert_eq!(
        refusal(&scratch, &["-config-dir", &two, "-config-file", &one]),
        format!("Error in '1.json', line 1, key 'log_level': Invalid log level: loud. {levels}")
    );
    assert_eq!(
        refusal(&scratch, &["-config-file", &three, "-log-level=shout"]),
        format!("Invalid log level: shout. {levels}")
    );
    // Nobody minds what is overruled.
    check(&["-config-file", &one, "-config-file", &two, "-config-file", &three]).ok();
    check(&["-config-file", &one, "-log-level=err"]).ok();
}

#[test]
fn a_valid_configuration_is_said_to_be_one() {
    let scratch = Scratch::new("valid");
    assert_eq!(check(&[]).ok(), "Configuration is valid\n");
    let path = scratch
        .file("c.json", "{\"rpc_auth\": \"token\", \"role\": \"web\", \"broadcast_timeout\": \"1ms\"}");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    let answer = check(&["-config-file", &path]);
    assert_eq!(
        answer.ok(),
        format!(
            "==> Warning: everyone on this host can read 'rpc_auth' in '{path}'; 'chmod 600 {path}' prevents that\n\
             ==> Deprecation warning: 'Role' has been replaced with 'Tags'\n\
             ==> Warning: 'BroadcastTimeout' is too low. Setting to 1s\n\
             Configuration is valid\n"
        )
    );
    assert_eq!(answer.stderr, "");
    // Empty directories set nothing; nothing is bound, not even an address of another host.
    let empty = scratch.path().join("empty");
    fs::create_dir(&empty).unwrap();
    check(&["-config-dir", empty.to_str().unwrap(), "-bind=203.0.113.1", "-rpc-addr=203.0.113.1"]).ok();
}
