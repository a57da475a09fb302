//! What holds for each row of the option table: a setting that is added is tested by these at once.

use super::*;
use crate::config::options::{
    DefaultValue, FILE_ONLY, Form, Limits, OptionSpec, Reload, SettingKind, settings,
};
use crate::config::reload::Changes;
use serde_json::{Map, Value, json};

const KEY: &str = "enjTwAFRe4IE71bOFhirzQ==";

/// What some settings need beside them to be of use.
fn base() -> Map<String, Value> {
    let Value::Object(base) = json!({ "discover": "c", "rpc_addr": "unix:/run/serf.sock" }) else { panic!() };
    base
}

/// Loads a file that sets `value`, beside the base, and these flags.
fn load_with(
    scratch: &Scratch,
    row: &OptionSpec,
    value: Option<Value>,
    flags: &[String],
) -> Result<(AgentConfig, Vec<String>), ConfigError> {
    let mut file = base();
    if let Some(value) = value {
        match row.key().split_once('.') {
            Some((group, key)) => file.insert(group.to_string(), json!({ key: value })),
            None => file.insert(row.key().to_string(), value),
        };
    }
    let path = scratch.file("row.json", Value::Object(file).to_string());
    let arguments = [format!("-config-file={path}")].into_iter().chain(flags.iter().cloned());
    match parse(&AGENT, arguments.map(Into::into).collect()) {
        Ok(Parsed::Run(flags)) => AgentConfig::load(&flags),
        other => panic!("{flags:?}: {other:?}"),
    }
}

/// A value that is accepted and is not the default.
fn other_value(scratch: &Scratch, row: &OptionSpec) -> Value {
    match row.key() {
        "advertise" => json!("10.0.0.1"),
        "encrypt_key" => json!(KEY),
        "encrypt_key_file" => json!(scratch.file("key", KEY)),
        "rpc_socket_mode" => json!("0660"),
        "syslog_facility" => json!("local3"),
        _ => match (row.kind, row.default, row.limits) {
            (SettingKind::Switch, default, _) => json!(default != DefaultValue::On),
            (SettingKind::Text | SettingKind::Path, ..) if row.repeatable => json!(["other"]),
            (SettingKind::Text | SettingKind::Path, ..) => json!("other"),
            (SettingKind::Choice(words), default, _) => {
                json!(words.iter().find(|word| default != DefaultValue::Text(word)).unwrap())
            }
            (SettingKind::Listen(_) | SettingKind::HostPort, ..) => json!("127.0.0.9:9"),
            (SettingKind::Member, ..) => json!(["127.0.0.9"]),
            (SettingKind::MemberName, ..) => json!(["other"]),
            (
                SettingKind::Number | SettingKind::Size,
                DefaultValue::Number(default),
                Limits::Between(least, most),
            ) => {
                json!(if default < most { default + 1 } else { least })
            }
            (SettingKind::Number | SettingKind::Size, ..) => json!(7),
            (SettingKind::Duration, ..) => json!("77m"),
            (SettingKind::Pair, ..) => json!({"a": "b"}),
        },
    }
}

/// The same value behind the flag.
fn as_flag(row: &OptionSpec, value: &Value) -> String {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Array(items) => items[0].as_str().unwrap().to_string(),
        Value::Object(pairs) => {
            pairs.iter().map(|(key, value)| format!("{key}={}", value.as_str().unwrap())).collect()
        }
        other => other.to_string(),
    };
    format!("-{}={text}", row.name())
}

#[test]
fn every_setting_reaches_the_agent_and_a_reload_does_what_its_row_says() {
    let scratch = Scratch::new("rows");
    let load = |row, value, flags: &[String]| load_with(&scratch, row, value, flags).unwrap().0;
    // As with Serf the flag alone decides.
    for row in settings().filter(|row| row.key() != "enable_compression") {
        let (key, value) = (row.key(), other_value(&scratch, row));
        let old = load(row, None, &[]);
        let new = load(row, Some(value.clone()), &[]);
        assert_ne!(new, old, "{key} = {value} changes nothing");
        if row.flag().is_some() {
            assert_eq!(load(row, None, &[as_flag(row, &value)]), new, "-{} and {key} differ", row.name());
        }
        let mut reloaded = old.clone();
        let Changes { applied, at_restart } = reloaded.reload(new.clone());
        assert_eq!(applied.len() + at_restart.len(), 1, "{key}: {applied:?} {at_restart:?}");
        assert_eq!(applied.len() == 1, row.reload == Reload::Applied, "{key}");
        assert_eq!(reloaded, if applied.is_empty() { old } else { new.clone() }, "{key}");
        // What waits for a restart is named again and again.
        assert_eq!(reloaded.reload(new), Changes { applied: vec![], at_restart }, "{key}");
    }
}

#[test]
fn the_default_that_is_shown_is_the_default_that_holds() {
    let scratch = Scratch::new("row-defaults");
    let given = AgentConfig::load(&Flags::default()).unwrap();
    for row in settings() {
        let text = row.default_text();
        let value = match (row.default, row.kind.form()) {
            (DefaultValue::None, Form::Switch) => json!(false),
            (DefaultValue::None | DefaultValue::Words(_), _) => continue,
            (_, Form::Switch | Form::Number) => serde_json::from_str(&text).unwrap(),
            _ => json!(text),
        };
        let file = json!({ row.key().split('.').next_back().unwrap(): value });
        let file = match row.key().split_once('.') {
            Some((group, _)) => json!({ group: file }),
            None => file,
        };
        let path = scratch.file("default.json", file.to_string());
        let Ok(Parsed::Run(flags)) = parse(&AGENT, vec![format!("-config-file={path}").into()]) else {
            panic!()
        };
        assert_eq!(AgentConfig::load(&flags).unwrap(), given, "{} = {text}", row.key());
    }
}

#[test]
fn limits_hold() {
    let scratch = Scratch::new("limits");
    let load = |row, value: Value| load_with(&scratch, row, Some(value), &[]);
    for row in settings() {
        let key = row.key();
        let refused = |value: Value| {
            let error = load(row, value.clone()).expect_err(key).to_string();
            let place = format!("row.json', line 1, key '{key}': ");
            assert!(error.contains(&place), "{key} = {value}: {error}");
            error
        };
        match row.limits {
            Limits::None => {}
            Limits::Between(least, most) => {
                for inside in [least, most] {
                    assert!(load(row, json!(inside)).is_ok(), "{key} = {inside}");
                }
                // Zero sets nothing, nor does for this one a number below it.
                let below = [least - 1, -1].into_iter().filter(|n| *n != 0 && (*n > 0 || key != "protocol"));
                for outside in below.chain([most + 1, i64::MAX]) {
                    let error = refused(json!(outside));
                    assert!(
                        error.ends_with(&format!("(expected {least} to {most} bytes)"))
                            || error.ends_with(&format!("(expected {least} to {most})"))
                            || error.ends_with(&format!("Must be in range: [{least}, {most}]")),
                        "{error}"
                    );
                }
            }
            Limits::NotBelow(least) => {
                assert_eq!(load(row, json!(least - 1)), load(row, json!(least)), "{key}");
            }
            Limits::AtLeast(least) => {
                let (given, warnings) = load(row, json!("1ns")).unwrap();
                assert_eq!(load(row, json!("-5s")), Ok((given.clone(), warnings.clone())), "{key}");
                assert_eq!(Ok((given, vec![])), load(row, json!(crate::model::format_duration(least))));
                assert!(warnings[0].starts_with("Warning: '"), "{warnings:?}");
                assert!(warnings[0].ends_with(" is too low. Setting to 1s"), "{warnings:?}");
            }
            Limits::Length(most) => {
                assert!(load(row, json!("x".repeat(most))).is_ok(), "{key}");
                let error = refused(json!("x".repeat(most + 1)));
                assert!(
                    error.ends_with(&format!("{} bytes (expected at most {most} bytes)", most + 1)),
                    "{error}"
                );
            }
        }
    }
}

#[test]
fn an_empty_text_and_zero_set_nothing() {
    let scratch = Scratch::new("nothing");
    for row in settings().filter(|row| !row.repeatable) {
        let nothing: &[Value] = match row.kind.form() {
            Form::Switch | Form::Pair => continue,
            Form::Text => &[json!(""), json!(null)],
            Form::Number => &[json!(0), json!(-0.0), json!(null)],
            Form::Duration if row.zero_counts => &[json!(""), json!(null)],
            Form::Duration => &[json!(""), json!("0s"), json!(null)],
        };
        let default = load_with(&scratch, row, None, &[]).unwrap();
        for value in nothing {
            if row.key() != "rpc_addr" && row.key() != "discover" {
                let given = load_with(&scratch, row, Some(value.clone()), &[]);
                assert_eq!(given.as_ref(), Ok(&default), "{} = {value}", row.key());
            }
        }
    }
}

#[test]
fn a_value_of_another_form_is_refused_with_its_place() {
    let scratch = Scratch::new("forms");
    for row in settings() {
        for wrong in [json!(true), json!(1), json!("no duration"), json!(["x"]), json!({"a": "b"})] {
            let fits = match (row.kind.form(), row.repeatable) {
                (Form::Switch, _) => wrong.is_boolean(),
                (Form::Number, _) => wrong.is_number(),
                (Form::Text, false) => wrong.is_string(),
                (Form::Text, true) => wrong.is_array(),
                (Form::Pair, _) => wrong.is_object(),
                (Form::Duration, _) => false,
            };
            if !fits {
                let error = load_with(&scratch, row, Some(wrong.clone()), &[]).unwrap_err().to_string();
                assert!(error.contains(&format!("key '{}': ", row.key())), "{error}");
                assert!(!row.secret || error.contains("a value that is not shown"), "{error}");
            }
        }
    }
    assert!(FILE_ONLY.iter().any(|row| row.secret), "no secret was tried");
}
