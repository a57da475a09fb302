//! The rules of rotating keys, from the command to what is made of the answers.

use super::*;
use crate::wire::keyring::MAX_KEYS;
use proptest::prelude::*;

const OLD: &str = "enjTwAFRe4IE71bOFhirzQ==";
const NEW: &str = "HvY8ubRZMgafUOWvrOadwckVa1wN3QWAo46FVKbVN8o=";

fn command(step: KeyStep, key: &str) -> KeyCommand {
    KeyCommand::Change(step, Zeroizing::new(key.to_string()))
}

/// From the command to what a member makes of it.
fn change(step: KeyStep, key: &str) -> KeyChange {
    let params = command(step, key).params().unwrap();
    KeyChange::read(&params.name.to_lossy(), &params.payload).unwrap().unwrap()
}

fn ring(keys: &[&str]) -> Keyring {
    Keyring::from_keys(keys.iter().map(|key| Key::from_base64(key).unwrap())).unwrap()
}

/// What Go's decoder says of each.
#[test]
fn what_is_no_base64_is_refused_where_go_refuses_it() {
    for (text, expected) in [
        ("", Ok(&b""[..])),
        ("QUJDRA==", Ok(b"ABCD")),
        ("QUJD\nRA=\r\n=\n", Ok(b"ABCD")),
        ("QUJDREU=", Ok(b"ABCDE")),
        ("QR==", Ok(b"A")),
        ("!!!", Err(0)),
        ("A", Err(0)),
        ("abc", Err(0)),
        ("====", Err(0)),
        ("é", Err(0)),
        ("QQ=", Err(3)),
        ("QQ=x", Err(2)),
        ("QUJD!", Err(4)),
        ("QUJD=RA=", Err(4)),
        ("QUJDRA", Err(4)),
        ("QUJDRA==x", Err(8)),
        ("QUI=QUI=", Err(4)),
    ] {
        let decoded = decode(text);
        let decoded = decoded.as_ref().map(|bytes| bytes.as_slice()).map_err(|NotBase64(at)| *at);
        assert_eq!(decoded, expected, "{text:?}");
    }
}

#[test]
fn a_member_does_what_it_is_asked() {
    use KeyStep::*;
    let full: Vec<String> =
        (0..MAX_KEYS as u8).map(|n| Key::new(&[n; 16]).unwrap().to_base64().to_string()).collect();
    let full: Vec<&str> = full.iter().map(String::as_str).collect();
    // The keyring, what is asked with which key, and the keyring then or why not.
    type Case<'a> = (&'a [&'a str], KeyStep, &'a str, Result<&'a [&'a str], &'a str>);
    let cases: [Case<'_>; 12] = [
        (&[OLD], Install, NEW, Ok(&[OLD, NEW])),
        (&[OLD, NEW], Install, NEW, Ok(&[OLD, NEW])),
        (&[OLD], Install, "aHVzaA==", Err("key size must be 16, 24 or 32 bytes")),
        (&[OLD], Install, "", Err("key size must be 16, 24 or 32 bytes")),
        (&full, Install, NEW, Err("the keyring is full: at most 16 keys")),
        (&[OLD, NEW], Use, NEW, Ok(&[NEW, OLD])),
        (&[NEW, OLD], Use, NEW, Ok(&[NEW, OLD])),
        (&[OLD], Use, NEW, Err("requested key is not in the keyring")),
        (&[OLD], Use, "aHVzaA==", Err("requested key is not in the keyring")),
        (&[NEW, OLD], Remove, OLD, Ok(&[NEW])),
        (&[NEW], Remove, OLD, Ok(&[NEW])),
        (&[NEW, OLD], Remove, NEW, Err("removing the primary key is not allowed")),
    ];
    for (before, step, key, after) in cases {
        let mut changed = ring(before);
        let result = change(step, key).apply(&mut changed).map_err(|e| e.to_string());
        match after {
            Ok(after) => assert_eq!((result, changed), (Ok(()), ring(after)), "{step:?} {key}"),
            Err(why) => assert_eq!((result, changed), (Err(why.to_string()), ring(before)), "{step:?} {key}"),
        }
    }
}

#[test]
fn only_queries_about_keys_are_taken_for_them() {
    for (name, expected) in [
        ("_serf_install-key", Some(KeyStep::Install)),
        ("_serf_use-key", Some(KeyStep::Use)),
        ("_serf_remove-key", Some(KeyStep::Remove)),
        ("_serf_list-keys", None),
        ("_serf_ping", None),
        ("install-key", None),
    ] {
        let read = KeyChange::read(name, &write_key_request(&[1; 16]));
        assert_eq!(read.map(|change| change.unwrap().step), expected, "{name}");
    }
    assert!(KeyChange::read("_serf_use-key", b"").unwrap().is_err());
    assert!(command(KeyStep::Use, "no key!").params().is_err());
    assert_eq!(KeyCommand::List.params().unwrap().name, "_serf_list-keys");
}

#[test]
fn lists_are_cut_where_they_must_and_say_so() {
    let ring = ring(&[OLD, NEW]);
    let whole = list(Some(&ring), 2);
    assert_eq!(whole.keys, [OLD, NEW]);
    assert_eq!((whole.done, whole.message.as_str(), whole.primary.as_str()), (true, "", OLD));
    let cut = list(Some(&ring), 1);
    assert_eq!(cut.keys, [OLD]);
    assert_eq!(cut.message, "truncated key list response, showing first 1 of 2 keys");
    assert_eq!((cut.done, cut.primary.as_str()), (true, OLD));
    assert!(list(Some(&ring), 0).keys.is_empty());
    let none = list(None, 2);
    assert_eq!((none.done, none.message.as_str()), (false, "Keyring is empty (encryption not enabled)"));
}

#[test]
fn answers_are_counted_as_serf_counts_them() {
    let one = encode(&list(Some(&ring(&[OLD, NEW])), 2));
    let other = encode(&list(Some(&ring(&[NEW])), 1));
    let mut report = KeyReport::new(3);
    report.hear(&NodeName::new("a").unwrap(), &one);
    report.hear(&NodeName::new("b").unwrap(), &other);
    assert_eq!(report.error().unwrap(), "2/3 nodes reported success", "one did not answer");
    report.hear(&NodeName::new("c").unwrap(), &other);
    assert_eq!(report.error(), None);
    assert_eq!(report.keys, BTreeMap::from([(OLD.to_string(), 1), (NEW.to_string(), 3)]));
    assert_eq!(report.primary_keys, BTreeMap::from([(OLD.to_string(), 1), (NEW.to_string(), 2)]));
    assert!(report.messages.is_empty());

    let mut report = KeyReport::new(4);
    report.hear(&NodeName::new("a").unwrap(), &one);
    report.hear(&NodeName::new("b").unwrap(), &encode(&KeyAnswer::failed(NOTHING_TO_MODIFY)));
    report.hear(&NodeName::new("c").unwrap(), b"\x01");
    report.hear(&NodeName::new("d").unwrap(), b"\x08\x01");
    assert_eq!((report.responses, report.errors), (4, 3));
    assert_eq!(report.error().unwrap(), "3/4 nodes reported failure");
    assert_eq!(report.messages[&b"b"[..]], NOTHING_TO_MODIFY);
    assert_eq!(report.messages[&b"c"[..]], "Invalid key query response type: it is of type 1");
    assert_eq!(report.messages[&b"d"[..]], "Failed to decode key query response: it does not decode");
    assert!(!report.messages.contains_key(&b"a"[..]));

    // Success with a remark is a success.
    let mut report = KeyReport::new(1);
    report.hear(&NodeName::new("a").unwrap(), &encode(&list(Some(&ring(&[OLD, NEW])), 1)));
    assert_eq!(report.error(), None);
    assert_eq!(report.messages[&b"a"[..]], "truncated key list response, showing first 1 of 2 keys");
}

#[test]
fn nothing_shows_a_key() {
    let shown = format!("{:?} {:?}", command(KeyStep::Install, NEW), change(KeyStep::Install, NEW));
    assert_eq!(shown, "Install KeyChange(Install)");
}

proptest! {
    #[test]
    fn a_report_is_bounded_and_never_panics(
        payloads in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..100), 0..20),
    ) {
        let mut report = KeyReport::new(3);
        for payload in &payloads {
            report.hear(&NodeName::new("a").unwrap(), payload);
        }
        prop_assert_eq!(report.responses, payloads.len());
        prop_assert!(report.errors <= report.responses);
    }

    #[test]
    fn no_change_leaves_a_ring_without_its_primary_key(
        steps in proptest::collection::vec((0..3usize, 0u8..24), 0..60),
    ) {
        let mut ring = ring(&[OLD]);
        for (step, seed) in steps {
            let key = Zeroizing::new(vec![seed; 16]);
            let change = KeyChange { step: KeyStep::ALL[step], key };
            let primary = ring.primary().to_base64();
            let done = change.apply(&mut ring).is_ok();
            if !(done && change.step == KeyStep::Use) {
                prop_assert_eq!(ring.primary().to_base64(), primary);
            }
            prop_assert!((1..=MAX_KEYS).contains(&ring.len()));
        }
    }
}
