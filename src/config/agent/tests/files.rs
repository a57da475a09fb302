//! Configurations that come from files: merged, with their lines in what is refused.

use super::*;

#[test]
fn every_setting_of_a_file_arrives() {
    let scratch = Scratch::new("every");
    let (given, warnings) = scratch
        .load(
            r#"{
            "node_name": "from-file", "bind": "127.0.0.1:1", "advertise": "127.0.0.2", "interface": "lo",
            "rpc_addr": "unix:/run/serf.sock", "rpc_socket_mode": "0660", "rpc_auth": "secret",
            "tags": {"A": "1", "b=c": "d=e"}, "profile": "local", "protocol": 4.0, "log_level": "DEBUG",
            "log_format": "json", "syslog_facility": "local3", "start_join": ["a", "x/b:1"],
            "replay_on_join": true, "disable_coordinates": true, "disable_name_resolution": true,
            "validate_node_names": true, "enable_compression": false, "leave_on_terminate": true,
            "skip_leave_on_interrupt": true, "broadcast_timeout": "7s", "reconnect_interval": "10s", "crash_patience": "0",
            "reconnect_timeout": "1h15m", "tombstone_timeout": "1m", "event_handlers": ["a", "user:b=c"],
            "handler_timeout": "300ms", "query_size_limit": 2000, "query_response_size_limit": 3000,
            "user_event_size_limit": 4000, "statsite_addr": "stats:1", "statsd_addr": "[::1]:2",
            "metrics_addr": ":9"
        }"#,
        )
        .unwrap();
    // `build` gives the name as a flag, which wins.
    assert_eq!(given.node_name.to_string(), "n");
    assert_eq!(given.bind, "127.0.0.1:1".parse().unwrap());
    assert_eq!(given.advertise, Some("127.0.0.2:1".parse().unwrap()));
    assert_eq!(given.interface.as_deref(), Some("lo"));
    assert_eq!(given.rpc_addr, RpcAddress::Unix { path: "/run/serf.sock".into(), mode: 0o660 });
    assert_eq!(given.rpc_auth.as_deref(), Some("secret"));
    assert_eq!(given.tags.value("A"), Some(&"1".into()), "names of tags keep their capitals");
    assert_eq!(given.tags.value("b=c"), Some(&"d=e".into()));
    assert_eq!((given.profile, given.protocol), (Profile::Local, 4));
    assert_eq!((given.log_level, given.log_format), (LevelFilter::Debug, Format::Json));
    assert_eq!(given.syslog_facility.to_string(), "LOCAL3");
    assert_eq!(given.start_join, ["a", "x/b:1"]);
    assert!(given.replay_on_join && given.disable_coordinates && given.disable_name_resolution);
    assert!(given.validate_node_names && given.leave_on_terminate && given.skip_leave_on_interrupt);
    assert!(given.enable_compression, "the flag decides");
    assert_eq!(given.broadcast_timeout, Duration::from_secs(7));
    assert_eq!(given.reconnect_interval, Duration::from_secs(10));
    assert_eq!(given.crash_patience, Duration::ZERO);
    assert_eq!(given.reconnect_timeout, Duration::from_secs(4500));
    assert_eq!(given.tombstone_timeout, Duration::from_secs(60));
    assert_eq!(given.event_handlers.len(), 2);
    assert_eq!(given.handler_timeout, Some(Duration::from_millis(300)));
    assert_eq!((given.query_size_limit, given.query_response_size_limit), (2000, 3000));
    assert_eq!(given.user_event_size_limit, 4000);
    assert_eq!(given.statsite_addr.as_deref(), Some("stats:1"));
    assert_eq!(given.statsd_addr.as_deref(), Some("[::1]:2"));
    assert_eq!(given.metrics_addr, Some("0.0.0.0:9".parse().unwrap()));
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0].starts_with("Warning: everyone on this host can read 'rpc_auth' in '"));
}

#[test]
fn later_values_win_lists_grow_and_flags_come_last() {
    let scratch = Scratch::new("merge");
    let first = scratch.file(
        "first.json",
        r#"{"BIND": "127.0.0.1", "log_level": "warn", "leave_on_terminate": true, "replay_on_join": true,
            "skip_leave_on_interrupt": true, "tags": {"a": "1", "b": "1"}, "start_join": ["one"],
            "profile": "wan", "event_handlers": ["x"], "protocol": 3}"#,
    );
    let folder = scratch.path("folder");
    std::fs::create_dir_all(format!("{folder}/sub.json")).unwrap();
    scratch.file("folder/b.json", r#"{"tags": {"b": "2"}, "start_join": ["three"], "log_level": ""}"#);
    scratch.file(
        "folder/a.json",
        r#"{"tags": {"b": "3"}, "start_join": ["two"], "leave_on_terminate": false, "profile": null}"#,
    );
    scratch.file("folder/not-json.txt", "nonsense");
    scratch.file("folder/sub.json/c.json", "nonsense");
    let given = config(&[
        "-config-dir",
        &first,
        "-config-file",
        &folder,
        "-join=four",
        "-tag=a=9",
        "-event-handler=y",
        "-bind=",
        "-replay=false",
    ]);
    assert_eq!(given.bind, "127.0.0.1:7946".parse().unwrap(), "an empty flag sets nothing");
    assert_eq!(given.log_level, LevelFilter::Warn, "an empty text sets nothing");
    assert!(!given.leave_on_terminate && !given.replay_on_join, "what is switched off later is off");
    assert!(given.skip_leave_on_interrupt);
    assert_eq!((given.profile, given.protocol), (Profile::Wan, 3), "null sets nothing");
    assert_eq!(given.tags.to_string(), "a=9,b=2");
    assert_eq!(given.start_join, ["one", "two", "three", "four"]);
    let scripts: Vec<_> = given.event_handlers.iter().map(|handler| handler.script.to_string()).collect();
    assert_eq!(scripts, ["x", "y"]);
    // The other order, across both flags.
    let given = config(&["-config-dir", &folder, "-config-file", &first]);
    assert_eq!(given.start_join, ["two", "three", "one"]);
    assert_eq!(given.tags.to_string(), "a=1,b=1");
    assert!(given.leave_on_terminate);
}

#[test]
fn a_file_that_others_cannot_read_may_hold_secrets() {
    use std::os::unix::fs::PermissionsExt;
    let scratch = Scratch::new("secrets");
    let path = scratch.file("one.json", r#"{"rpc_auth": "secret"}"#);
    for (mode, warned) in [(0o644, 1), (0o640, 0), (0o600, 0)] {
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        assert_eq!(build(&["-config-file", &path]).unwrap().1.len(), warned, "{mode:o}");
    }
    // Nor do messages show them.
    let refusal = scratch.refusal(r#"{"rpc_auth": ["hidden"]}"#);
    assert!(!refusal.contains("hidden") || refusal.contains("'rpc_auth'"), "{refusal}");
    assert!(!refusal.contains("[\"hidden"), "{refusal}");
}

#[test]
fn what_depends_on_other_settings() {
    let scratch = Scratch::new("depends");
    let tags_file = scratch.refusal("{\"tags_file\": \"/x\",\n\"tags\": {\n\"a\": \"b\"}}");
    assert_eq!(
        tags_file,
        "Error in 'one.json', line 3, key 'tags': Tags config not allowed while using tag files"
    );
    assert_eq!(
        scratch.refusal("{\"validate_node_names\": true, \"node_name\": \"a b\", \"bind\": \"127.0.0.1:x\"}"),
        "Error in 'one.json', line 1, key 'bind': Invalid bind address: '127.0.0.1:x' has no valid port \
         (expected 0 to 65535)"
    );
    let path = scratch.file("one.json", "{\"validate_node_names\": true, \"node_name\": \"a_b\"}");
    let Ok(Parsed::Run(flags)) = parse(&AGENT, vec!["-config-file".into(), path.into()]) else { panic!() };
    assert!(AgentConfig::load(&flags).unwrap_err().to_string().contains("'a_b' (validate_node_names allows"));
    let text = "{\"reconnect_timeout\": \"1s\", \"reconnect_interval\": \"1ms\"}";
    assert_eq!(scratch.load(text).unwrap().1, ["Warning: 'ReconnectInterval' is too low. Setting to 1s"]);
}

#[test]
fn what_is_no_configuration_file() {
    let scratch = Scratch::new("broken");
    for (text, refusal) in [
        ("", "Error in 'one.json': the file is empty (expected a JSON object; {} sets nothing)"),
        (" \n", "Error in 'one.json': the file is empty (expected a JSON object; {} sets nothing)"),
        ("[]", "Error in 'one.json', line 1: expected a JSON object: { ... }"),
        ("// x\n{}", "Error in 'one.json', line 1: JSON has no comments"),
        ("{ # x\n}", "Error in 'one.json', line 1: JSON has no comments"),
        ("{\n\"bind\": \"127.0.0.1\", // x\n}", "Error in 'one.json', line 2: JSON has no comments"),
        ("{}\n// x", "Error in 'one.json', line 2: JSON has no comments"),
        ("{\n\"bind\": \"::1\",\n}", "Error in 'one.json', line 3, column 1: trailing comma"),
        ("{\"bind\": \"x", "Error in 'one.json', line 1, column 11: EOF while parsing a string"),
        ("{'bind': 1}", "Error in 'one.json', line 1, column 2: key must be a string"),
        ("{\"bind\":\n\"\\ud800\"}", "Error in 'one.json', line 2, column 8: unexpected end of hex escape"),
        (
            "\u{feff}{}",
            "Error in 'one.json', line 1: the file begins with a byte order mark; save it as UTF-8 \
          without one",
        ),
        ("{\n\"bnid\": 1}", "Error in 'one.json', line 2: unknown key 'bnid' (did you mean 'bind'?)"),
        ("{\"zzz\": 1}", "Error in 'one.json', line 1: unknown key 'zzz'"),
        (
            "{\"bind\": \"::1\",\n\"Bind\": \"::1\"}",
            "Error in 'one.json', line 2: key 'Bind' is already set on line 1",
        ),
        (
            "{\"event_handlers\": [\n\"a\",\n[2]]}",
            "Error in 'one.json', line 3, key 'event_handlers[1]': [2] (expected text in quotes)",
        ),
        (
            "{\"mdns\": []}",
            "Error in 'one.json', line 1, key 'mdns': [] (expected an object, such as {\"interface\": \"eth0\"})",
        ),
        (
            "{\"encrypt_key\":\n\"x\"}",
            "Error in 'one.json', line 2, key 'encrypt_key': Invalid encryption key: it is not base64 (see 'serf \
             keygen')",
        ),
    ] {
        assert_eq!(scratch.refusal(text), refusal, "{text}");
    }
    // However deep, it is not followed.
    let deep = format!("{{\"bind\": {}", "[".repeat(500_000));
    assert!(scratch.refusal(&deep).contains("EOF while parsing"), "{}", scratch.refusal(&deep));
    let deep = format!("{{\"tags\": {{\"a\": {}1{}}}}}", "[".repeat(200_000), "]".repeat(200_000));
    assert!(scratch.refusal(&deep).ends_with("(expected text in quotes)"));
    assert!(
        scratch
            .refusal(&" ".repeat(1024 * 1024 + 1))
            .ends_with("it is too long (at most 1048576 bytes are read)")
    );
    let refused =
        |path: &str| refusal(&["-config-file", path]).replace(&format!("{}/", scratch.0.display()), "");
    assert_eq!(refused(&scratch.path("absent")), "Error reading 'absent': No such file or directory");
    assert_eq!(refused("/dev/zero"), "Error reading '/dev/zero': it is neither a file nor a directory");
    let many = scratch.path("many");
    std::fs::create_dir_all(&many).unwrap();
    for i in 0..=crate::config::files::MAX_FILES {
        scratch.file(&format!("many/{i}.json"), "");
    }
    assert_eq!(refused(&many), "Error reading 'many': more than 1024 files in it end in .json");
}

/// What Serf's decoder takes, although it surely is a mistake: the agent starts, and says so.
#[test]
fn what_is_only_warned_of() {
    let scratch = Scratch::new("warned");
    let load = |text: &[u8]| {
        let path = scratch.file("one.json", text);
        let (given, warnings) = build(&["-config-file", &path]).unwrap();
        (given, warnings.join("\n").replace(&format!("{}/", scratch.0.display()), ""))
    };
    let (given, warning) = load(b"{\"protocol\": 9,\n\"protocol\": 4}");
    assert_eq!(given.protocol, 4);
    assert_eq!(warning, "Warning: 'one.json', line 1: key 'protocol' is set again on line 2, which counts");
    let (given, warning) = load(b"{\"tags\": {\"a\": \"1\",\n\"a\": \"2\"}}");
    assert_eq!(given.tags.to_string(), "a=2");
    assert_eq!(warning, "Warning: 'one.json', line 1: key 'tags.a' is set again on line 2, which counts");
    // A list replaces the former, too.
    let (given, _) = load(b"{\"retry_join\": [\"a\"], \"retry_join\": [\"b\"]}");
    assert_eq!(given.retry_join, ["b"]);

    for rest in ["x", "{}", "\"", "]"] {
        let (given, warning) = load(format!(" {{\"protocol\": 4}}\n {rest}").as_bytes());
        assert_eq!(given.protocol, 4);
        assert_eq!(warning, "Warning: 'one.json', line 2: what follows the object is ignored", "{rest}");
    }
    let (given, warning) = load(b"{\"tags\":\n{\"a\": \"caf\xe9\", \"b\": null}}");
    assert_eq!(
        (given.tags.value("a"), given.tags.value("b")),
        (Some(&"caf\u{fffd}".into()), Some(&"".into()))
    );
    assert_eq!(warning, "Warning: 'one.json', line 2: not UTF-8; each such byte is read as U+FFFD");
    let (_, warning) = load(b"{\"syslog_facility\": \"nine\"}");
    assert!(warning.starts_with("Warning: of no matter while enable_syslog is off: "), "{warning}");
    assert!(scratch.refusal("{\"syslog_facility\": \"nine\", \"enable_syslog\": true}").contains("nine"));
    let (given, warning) = load(b"{\"start_join\": [null,\n\"127.0.0.1:http\"]}");
    assert_eq!(given.start_join, ["", "127.0.0.1:http"]);
    assert_eq!(warning.lines().count(), 2);
    assert!(warning.starts_with(
        "Warning: 'one.json', line 1, key 'start_join': '' cannot be joined: address is empty\n"
    ));
    // Serf has no warning for this one.
    assert_eq!(load(b" null\n"), (config(&[]), String::new()));
    // No string, no value.
    let refused = build(&["-config-file", &scratch.file("one.json", b"\xe9{}")]).unwrap_err();
    assert!(refused.to_string().contains("expected a JSON object"), "{refused}");
}

proptest! {
    #[test]
    fn no_file_panics(bytes in prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..60),
        "\\{(\"(tags|mdns|protocol|start_join|log_level|bogus)\": ?([0-9.e-]{0,4}|\"[a-z\\\\]{0,3}\"|[\\[\\]{}:,\"a]{0,6}),?\\s?){0,4}\\}?"
            .prop_map(String::into_bytes),
    ]) {
        let path: std::sync::Arc<std::path::Path> = std::path::Path::new("x").into();
        let mut raw = crate::config::raw::RawConfig::default();
        let _ = crate::config::json::read(&path, &bytes, &mut raw, &mut Vec::new());
    }
}
