//! Flags and files in, a configuration or one clear refusal out. Here: flags.
#![allow(clippy::disallowed_methods)] // Writes files to be read.

use super::*;
use crate::config::flags::{Parsed, parse};
use crate::config::options::AGENT;
use crate::config::relations::host_name;
use proptest::prelude::*;

mod files;
mod rows;

fn build(arguments: &[&str]) -> Result<(AgentConfig, Vec<String>), ConfigError> {
    let mut all = vec!["-node=n".into()];
    all.extend(arguments.iter().map(Into::into));
    match parse(&AGENT, all) {
        Ok(Parsed::Run(flags)) => AgentConfig::load(&flags),
        other => panic!("{arguments:?}: {other:?}"),
    }
}

fn config(arguments: &[&str]) -> AgentConfig {
    build(arguments).unwrap().0
}

fn refusal(arguments: &[&str]) -> String {
    build(arguments).unwrap_err().to_string()
}

#[test]
fn defaults_are_those_of_serf() {
    let expected = AgentConfig {
        bind: "0.0.0.0:7946".parse().unwrap(),
        advertise: None,
        interface: None,
        rpc_addr: RpcAddress::Tcp("127.0.0.1:7373".parse().unwrap()),
        rpc_auth: None,
        keys: KeySource::None,
        encrypt_verify_incoming: true,
        encrypt_verify_outgoing: true,
        label: Label::default(),
        tags: Tags::default(),
        tags_file: None,
        profile: Profile::Lan,
        protocol: 5,
        log_level: LevelFilter::Info,
        log_format: Format::Serf,
        enable_syslog: false,
        syslog_facility: Facility::LOCAL0,
        start_join: vec![],
        replay_on_join: false,
        retry_join: vec![],
        retry_interval: Duration::from_secs(30),
        retry_max_attempts: 0,
        snapshot_path: None,
        rejoin_after_leave: false,
        discover: None,
        mdns: MdnsConfig::default(),
        crash_patience: Duration::from_secs(2),
        reconnect_interval: Duration::from_secs(30),
        reconnect_timeout: Duration::from_secs(24 * 3600),
        tombstone_timeout: Duration::from_secs(24 * 3600),
        disable_coordinates: false,
        disable_name_resolution: false,
        validate_node_names: false,
        enable_compression: true,
        native_only: false,
        leave_on_terminate: false,
        skip_leave_on_interrupt: false,
        broadcast_timeout: Duration::from_secs(5),
        event_handlers: vec![],
        handler_timeout: None,
        query_size_limit: 1024,
        query_response_size_limit: 1024,
        user_event_size_limit: 512,
        statsite_addr: None,
        statsd_addr: None,
        metrics_addr: None,
        // The name, which was given, and what Serf does not have.
        ..config(&[])
    };
    assert_eq!(build(&[]), Ok((expected.clone(), vec![])));
    // An empty text is the same as no flag.
    let empty = ["-bind=", "-advertise=", "-profile=", "-log-level=", "-rpc-addr=", "-role=", "-iface="];
    assert_eq!(build(&empty), Ok((expected, vec![])));
}

#[test]
fn the_host_name_is_the_default_name() {
    let (config, _) = AgentConfig::load(&Flags::default()).unwrap();
    assert_eq!(Some(config.node_name.to_string()), host_name());
}

#[test]
fn every_way_to_write_an_address() {
    for (text, addr) in [
        ("127.0.0.1", "127.0.0.1:7946"),
        ("127.0.0.1:80", "127.0.0.1:80"),
        ("127.0.0.1:0", "127.0.0.1:0"),
        ("[::1]:80", "[::1]:80"),
        ("[::1]", "[::1]:7946"),
        ("::1", "[::1]:7946"),
        ("::", "[::]:7946"),
        (":80", "0.0.0.0:80"),
        ("localhost:80", "127.0.0.1:80"),
        ("::ffff:127.0.0.1", "127.0.0.1:7946"),
    ] {
        assert_eq!(config(&["-bind", text]).bind, addr.parse().unwrap(), "{text}");
    }
    for (text, addr) in [
        ("[::1]:9", "[::1]:9"),
        ("127.0.0.9", "127.0.0.9:7373"),
        ("::1", "[::1]:7373"),
        // As in Go: both families.
        (":9", "[::]:9"),
        ("0.0.0.0:9", "0.0.0.0:9"),
    ] {
        assert_eq!(config(&["-rpc-addr", text]).rpc_addr, RpcAddress::Tcp(addr.parse().unwrap()), "{text}");
    }
    assert_eq!(
        refusal(&["-bind=1.2.3.4:99999"]),
        "Invalid bind address: '1.2.3.4:99999' has no valid port (expected 0 to 65535)"
    );
    assert!(refusal(&["-rpc-addr=[::1"]).starts_with("Invalid rpc-addr address: "));
    assert_eq!(
        refusal(&["-bind=foo:bar:baz"]),
        "Invalid bind address: cannot resolve 'foo:bar:baz': it is neither an address nor a host name"
    );
}

#[test]
fn the_advertised_port_is_that_of_bind() {
    let given = config(&["-bind=127.0.0.1:80", "-advertise=10.0.0.1"]);
    assert_eq!(given.advertise, Some("10.0.0.1:80".parse().unwrap()));
    assert_eq!(config(&["-advertise=[fe::1]:7"]).advertise, Some("[fe::1]:7".parse().unwrap()));
    assert_eq!(refusal(&["-advertise=0.0.0.0"]), "Invalid advertise address: nobody can reach 0.0.0.0:7946");
}

#[test]
fn tags_and_role() {
    let (given, warnings) = build(&["-tag", "a=1", "-tag=b=x=y", "-role=web", "-tag=role=db"]).unwrap();
    assert_eq!(given.tags.to_string(), "a=1,b=x=y,role=web");
    assert_eq!(warnings, ["Deprecation warning: 'Role' has been replaced with 'Tags'"]);
    assert_eq!(refusal(&["-tag=foo"]), "Error: Invalid tag: 'foo' (expected key=value)");
    assert_eq!(refusal(&["-tag="]), "Error: Invalid tag: '' (expected key=value)");
    assert!(refusal(&["-tag", &format!("a={}", "x".repeat(512))]).contains("512 bytes"));
    // The role counts too.
    assert!(refusal(&["-role", &"x".repeat(512)]).contains("512 bytes"));
}

#[test]
fn levels_profiles_and_protocols() {
    for (text, level) in [
        ("trace", LevelFilter::Trace),
        ("DEBUG", LevelFilter::Debug),
        ("Info", LevelFilter::Info),
        ("warn", LevelFilter::Warn),
        ("ERR", LevelFilter::Error),
    ] {
        assert_eq!(config(&["-log-level", text]).log_level, level);
    }
    assert_eq!(
        refusal(&["-log-level=error"]),
        "Invalid log level: error. Valid log levels are: [TRACE DEBUG INFO WARN ERR]"
    );
    assert_eq!(config(&["-profile=wan"]).profile, Profile::Wan);
    assert_eq!(refusal(&["-profile=xx"]), "Unknown profile: xx (expected lan, wan or local)");
    for n in 2..=5 {
        assert_eq!(config(&[&format!("-protocol={n}")]).protocol, n);
    }
    assert_eq!(refusal(&["-protocol=6"]), "Protocol version '6' too high. Must be in range: [2, 5]");
    assert_eq!(refusal(&["-protocol=1"]), "Protocol version '1' too low. Must be in range: [2, 5]");
    for (text, protocol) in [("0", 5), ("-1", 5), ("0x4", 4), ("0b11", 3), ("0_2", 2)] {
        assert_eq!(config(&["-protocol", text]).protocol, protocol, "{text}");
    }
    assert_eq!(refusal(&["-protocol=258"]), "Protocol version '258' too high. Must be in range: [2, 5]");
}

#[test]
fn the_rest_arrives() {
    let given = config(&["-join=a", "-join", "b:1", "-replay", "-iface=eth0", "-broadcast-timeout=7s"]);
    assert_eq!(given.start_join, ["a", "b:1"]);
    assert!(given.replay_on_join);
    assert_eq!(given.interface.as_deref(), Some("eth0"));
    assert_eq!(given.broadcast_timeout, Duration::from_secs(7));
    assert!(config(&[]).enable_compression && !config(&["-disable-compression"]).enable_compression);
    assert!(refusal(&["-node", &"x".repeat(600)]).starts_with("Invalid node name: "));
}

#[test]
fn what_cannot_be_joined_is_warned_of() {
    let given = build(&["-join=", "-join=a", "-retry-join= ", "-retry-join=127.0.0.1:http"]);
    let (given, warnings) = given.unwrap();
    assert_eq!(given.start_join, ["", "a"]);
    assert_eq!(given.retry_join, [" ", "127.0.0.1:http"]);
    assert_eq!(
        warnings,
        [
            "Warning: -join: '' cannot be joined: address is empty",
            "Warning: -retry-join: ' ' cannot be joined: address is empty",
            "Warning: -retry-join: '127.0.0.1:http' cannot be joined: '127.0.0.1:http' has no valid port \
             (expected 0 to 65535)",
        ]
    );
}

#[test]
fn no_snapshot_in_dev_null() {
    let (given, warnings) = build(&["-snapshot=/dev/null", "-rejoin"]).unwrap();
    assert_eq!(given.snapshot_path, None);
    assert_eq!(warnings, ["Warning: 'RejoinAfterLeave' enabled without snapshot file"]);
}

#[test]
fn handlers_keep_their_order() {
    let given =
        config(&["-event-handler=member-join=a", "-event-handler", "b", "--event-handler=user:x=c=d"]);
    let scripts: Vec<_> = given.event_handlers.iter().map(|handler| handler.script.to_string()).collect();
    assert_eq!(scripts, ["a", "b", "c=d"]);
    assert!(
        refusal(&["-event-handler=join=a"]).starts_with("Invalid event script: Event 'join' invoking 'a'")
    );
}

#[test]
fn a_broadcast_timeout_that_is_too_low_is_raised() {
    let (given, warnings) = build(&["-broadcast-timeout=10ms"]).unwrap();
    assert_eq!(given.broadcast_timeout, Duration::from_secs(1));
    assert_eq!(warnings, ["Warning: 'BroadcastTimeout' is too low. Setting to 1s"]);
    assert_eq!(build(&["-broadcast-timeout=-10h"]), Ok((given, warnings)));
    assert_eq!(build(&["-broadcast-timeout=0"]), build(&[]), "zero sets nothing");
}

/// A directory of one test's own, removed when the test is over.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Scratch {
        let path = std::env::temp_dir().join(format!("serf-config-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap();
        Scratch(path)
    }

    fn path(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().to_string()
    }

    fn file(&self, name: &str, text: impl AsRef<[u8]>) -> String {
        std::fs::write(self.path(name), text).unwrap();
        self.path(name)
    }

    /// Loads one file that says this.
    fn load(&self, text: &str) -> Result<(AgentConfig, Vec<String>), ConfigError> {
        build(&["-config-file", &self.file("one.json", text)])
    }

    /// The refusal of one file that says this, without the directory's name.
    fn refusal(&self, text: &str) -> String {
        let error = self.load(text).unwrap_err().to_string();
        error.replace(&format!("{}/", self.0.display()), "")
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

proptest! {
    #[test]
    fn no_flags_panic(
        texts in proptest::collection::vec("[a-z0-9:.=\\[\\]-]{0,10}", 8),
        protocol in any::<i64>(),
    ) {
        // Nothing that could be a host name: a property does not wait for a resolver.
        let numeric = |t: &String| t.replace(|c: char| c.is_ascii_alphabetic(), "");
        let arguments = vec![
            format!("-node={}", texts[0]).into(),
            format!("-bind=127.0.0.1:{}", numeric(&texts[1])).into(),
            format!("-advertise=[:{}]", numeric(&texts[2])).into(),
            format!("-tag={}", texts[3]).into(),
            format!("-role={}", texts[4]).into(),
            format!("-profile={}", texts[5]).into(),
            format!("-log-level={}", texts[6]).into(),
            format!("-protocol={protocol}").into(),
        ];
        if let Ok(Parsed::Run(flags)) = parse(&AGENT, arguments) {
            let _ = AgentConfig::load(&flags);
        }
    }
}
