//! The one table of commands and their options: parsing, `-h` and the reference come from it.
//!
//! What a row means is written here and nowhere else. How arguments are read is in `flags`,
//! how the table becomes help text in `usage`, what an agent makes of the values in `agent`.

mod file_only;
mod messages;

pub use file_only::FILE_ONLY;
pub use messages::{EVENT, QUERY, REACHABILITY};

/// What follows a flag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Nothing, or `=true`, `=false` and Go's short forms of them.
    Switch,
    /// Any text. An empty one counts as not given.
    Text,
    /// A decimal integer.
    Number,
    /// A duration as Go writes it. An empty one counts as not given.
    Duration,
    /// `key=value`; in a file all of them are one object.
    Pair,
}

/// One option of one command, or one setting of an agent's configuration file.
#[derive(Clone, Copy, Debug)]
pub struct OptionSpec {
    /// The flag in its long form, `--bind`; empty for a setting that only files have.
    pub long: &'static str,
    /// What follows it.
    pub kind: Kind,
    /// What the help shows in place of the value; empty for a switch.
    pub placeholder: &'static str,
    /// Whether every occurrence counts, not only the last.
    pub repeatable: bool,
    /// The default as the help shows it; empty if there is none.
    pub default: &'static str,
    /// What it does, for `-h`.
    pub help: &'static str,
    /// The key of the same setting in a configuration file.
    pub key: Option<&'static str>,
    /// Whether its value must not show up in messages.
    pub secret: bool,
}

impl OptionSpec {
    /// The flag without its dashes; empty for a setting that only files have.
    pub fn name(&self) -> &'static str {
        self.long.trim_start_matches('-')
    }

    /// The flag without its dashes, if there is one.
    pub fn flag(&self) -> Option<&'static str> {
        Some(self.name()).filter(|name| !name.is_empty())
    }

    const fn new(
        kind: Kind,
        long: &'static str,
        placeholder: &'static str,
        help: &'static str,
    ) -> OptionSpec {
        OptionSpec { long, kind, placeholder, repeatable: false, default: "", help, key: None, secret: false }
    }

    const fn switch(long: &'static str, help: &'static str) -> OptionSpec {
        OptionSpec::new(Kind::Switch, long, "", help)
    }

    const fn text(long: &'static str, placeholder: &'static str, help: &'static str) -> OptionSpec {
        OptionSpec::new(Kind::Text, long, placeholder, help)
    }

    const fn number(long: &'static str, help: &'static str) -> OptionSpec {
        OptionSpec::new(Kind::Number, long, "n", help)
    }

    const fn duration(long: &'static str, help: &'static str) -> OptionSpec {
        OptionSpec::new(Kind::Duration, long, "duration", help)
    }

    const fn pair(long: &'static str, help: &'static str) -> OptionSpec {
        OptionSpec::new(Kind::Pair, long, "key=value", help).repeatable()
    }

    const fn default(mut self, default: &'static str) -> OptionSpec {
        self.default = default;
        self
    }

    const fn key(mut self, key: &'static str) -> OptionSpec {
        self.key = Some(key);
        self
    }

    const fn repeatable(mut self) -> OptionSpec {
        self.repeatable = true;
        self
    }

    const fn secret(mut self) -> OptionSpec {
        self.secret = true;
        self
    }
}

/// One command: how it is called and what it is for.
#[derive(Clone, Copy, Debug)]
pub struct CommandSpec {
    /// The word that selects it.
    pub name: &'static str,
    /// What follows the name in the usage line.
    pub arguments: &'static str,
    /// One line for the list of commands.
    pub synopsis: &'static str,
    /// A paragraph for `-h`.
    pub about: &'static str,
    /// Its options, in the order of the help.
    pub options: &'static [OptionSpec],
}

impl CommandSpec {
    /// The option of this name.
    pub fn option(&self, name: &str) -> Option<&'static OptionSpec> {
        self.options.iter().find(|o| o.name() == name)
    }
}

const RPC_ADDR: OptionSpec = OptionSpec::text(
    "--rpc-addr",
    "addr:port",
    "Where the agent to control listens. SERF_RPC_ADDR in the environment changes the default.",
)
.default("127.0.0.1:7373");

const RPC_AUTH: OptionSpec = OptionSpec::text(
    "--rpc-auth",
    "token",
    "The agent's RPC token, if it asks for one. SERF_RPC_AUTH in the environment changes the default, \
     and unlike the flag it does not show in the process list.",
);

const FORMAT: OptionSpec =
    OptionSpec::text("--format", "text|json", "How to print: for people or for programs.").default("text");

/// `serf agent`.
pub const AGENT: CommandSpec = CommandSpec {
    name: "agent",
    arguments: "[options]",
    synopsis: "Runs a Serf agent",
    about: "Makes this host a member of a cluster. The agent runs until it is interrupted (it then leaves the \
            cluster), terminated, or told to leave over RPC.",
    options: AGENT_OPTIONS,
};

const AGENT_OPTIONS: &[OptionSpec] = &[
    OptionSpec::text(
        "--bind",
        "addr[:port]",
        "Address for gossip, UDP and TCP. An IPv6 address with a port needs brackets: [::1]:7946. With 0.0.0.0 \
         a private address of this host is found and advertised.",
    )
    .default("0.0.0.0:7946")
    .key("bind"),
    OptionSpec::text(
        "--iface",
        "name",
        "Network interface to bind to, for when its name is known and its address is not. Together with \
         -bind, the interface must have that address.",
    )
    .key("interface"),
    OptionSpec::text("--mdns-iface", "name", "Network interface for mDNS, if another one than -iface.")
        .key("mdns.interface"),
    OptionSpec::switch("--mdns-disable-ipv4", "No mDNS over IPv4.").key("mdns.disable_ipv4"),
    OptionSpec::switch("--mdns-disable-ipv6", "No mDNS over IPv6.").key("mdns.disable_ipv6"),
    OptionSpec::text(
        "--advertise",
        "addr[:port]",
        "Address that others are told to reach this agent at, when it is not the one it binds to. The port \
         is that of -bind if none is given.",
    )
    .key("advertise"),
    OptionSpec::text("--config-file", "path", "JSON file with settings. Of two files the later one wins, and flags win over all.").repeatable(),
    OptionSpec::text("--config-dir", "path", "Directory whose *.json files are read, in alphabetical order.")
        .repeatable(),
    OptionSpec::switch(
        "--check-config",
        "Check the flags and the configuration files, say what is wrong with them, and start nothing.",
    ),
    OptionSpec::text("--discover", "cluster", "Find members of this cluster by mDNS and join them.")
        .key("discover"),
    OptionSpec::text(
        "--encrypt",
        "key",
        "Key that encrypts all gossip, in base64 (see 'serf keygen'). SERF_ENCRYPT_KEY in the environment and \
         encrypt_key_file in a configuration file do the same, and do not show in the process list.",
    )
        .key("encrypt_key")
        .secret(),
    OptionSpec::text("--keyring-file", "path", "File that keeps the encryption keys across restarts.")
        .key("keyring_file"),
    OptionSpec::text(
        "--event-handler",
        "[filter=]script",
        "Script to run when something happens. A filter (member-join, user:deploy, query:load, …) names \
         what it wants to hear of; without one it hears of everything.",
    )
    .repeatable()
    .key("event_handlers"),
    OptionSpec::text(
        "--join",
        "addr[:port]",
        "Member to join when starting. If none can be joined, the agent gives up.",
    )
    .repeatable()
    .key("start_join"),
    OptionSpec::text(
        "--label",
        "text",
        "Name of the cluster, at most 255 bytes. Members with different labels, or without one, never join \
         each other. No secret: it is sent in the clear.",
    )
    .key("label"),
    OptionSpec::text("--log-level", "level", "Least severe lines to log: trace, debug, info, warn or err.")
        .default("info")
        .key("log_level"),
    OptionSpec::text("--node", "name", "Name of this member, unique in the cluster.")
        .default("the host name")
        .key("node_name"),
    OptionSpec::text("--profile", "lan|wan|local", "Timers that suit the network between the members.")
        .default("lan")
        .key("profile"),
    OptionSpec::number("--protocol", "Serf protocol version, 2 to 5. This agent speaks 5 with all of them.").default("5").key("protocol"),
    OptionSpec::switch(
        "--rejoin",
        "Rejoin the members in the snapshot even after having left. Needs -snapshot.",
    )
    .key("rejoin_after_leave"),
    OptionSpec::text("--retry-join", "addr[:port]", "Like -join, but keeps trying instead of giving up.")
        .repeatable()
        .key("retry_join"),
    OptionSpec::duration("--retry-interval", "Time between attempts of -retry-join.")
        .default("30s")
        .key("retry_interval"),
    OptionSpec::number("--retry-max", "Attempts of -retry-join before the agent gives up; 0 means never.")
        .default("0")
        .key("retry_max_attempts"),
    OptionSpec::switch(
        "--disable-compression",
        "Send nothing compressed. Only what HashiCorp's agents are sent is compressed at all; what others \
         compressed is always understood.",
    ),
    OptionSpec::switch(
        "--native-only",
        "Refuse HashiCorp's agents: read and speak nothing but the dialect of our own. Set it on every member \
         of a cluster or on none.",
    )
    .key("native_only"),
    OptionSpec::text("--role", "name", "Old form of '-tag role=name'.").key("role"),
    OptionSpec::text("--rpc-addr", "addr:port", "Address for the control protocol.")
        .default("127.0.0.1:7373")
        .key("rpc_addr"),
    OptionSpec::text("--snapshot", "path", "File that keeps known members and event times across restarts.")
        .key("snapshot_path"),
    OptionSpec::pair("--tag", "Tag to describe this member with. All of them take at most 512 bytes, encoded.").key("tags"),
    OptionSpec::text(
        "--tags-file",
        "path",
        "File that keeps tags that were changed while running. Excludes -tag.",
    )
    .key("tags_file"),
    OptionSpec::switch("--syslog", "Log to syslog as well.").key("enable_syslog"),
    OptionSpec::duration(
        "--broadcast-timeout",
        "How long leaving, force-leave and key changes wait for their news to spread. At least 1s.",
    )
    .default("5s")
    .key("broadcast_timeout"),
    OptionSpec::switch("--replay", "With -join: also hear the user events of before the join.")
        .key("replay_on_join"),
];

/// Every setting of an agent that a configuration file can have: those with a flag, then the others.
pub fn settings() -> impl Iterator<Item = &'static OptionSpec> {
    AGENT.options.iter().filter(|option| option.key.is_some()).chain(FILE_ONLY)
}

/// `serf force-leave`.
pub const FORCE_LEAVE: CommandSpec = CommandSpec {
    name: "force-leave",
    arguments: "[options] name",
    synopsis: "Forces a member of the cluster to enter the \"left\" state",
    about: "Declares that a failed member has left for good, so that nobody tries to reach it any more. A member \
            that is in fact alive comes back by itself.",
    options: &[
        OptionSpec::switch(
            "--prune",
            "Forget the member altogether: it disappears from the list of members.",
        ),
        RPC_ADDR,
        RPC_AUTH,
    ],
};

/// `serf info`.
pub const INFO: CommandSpec = CommandSpec {
    name: "info",
    arguments: "[options]",
    synopsis: "Provides debugging information for operators",
    about: "Prints the agent's counters, queue depths and clocks.",
    options: &[FORMAT, RPC_ADDR, RPC_AUTH],
};

/// `serf join`.
pub const JOIN: CommandSpec = CommandSpec {
    name: "join",
    arguments: "[options] address ...",
    synopsis: "Tell Serf agent to join cluster",
    about: "Lets a running agent join the cluster of the given members. One that can be reached is enough.",
    options: &[
        OptionSpec::switch("--replay", "Also hear the user events of before the join."),
        RPC_ADDR,
        RPC_AUTH,
    ],
};

/// `serf keygen`.
pub const KEYGEN: CommandSpec = CommandSpec {
    name: "keygen",
    arguments: "",
    synopsis: "Generates a new encryption key",
    about: "Prints a fresh random key of 32 bytes in base64, ready for the agent's -encrypt.",
    options: &[],
};

/// `serf keys`.
pub const KEYS: CommandSpec = CommandSpec {
    name: "keys",
    arguments: "[options]",
    synopsis: "Manipulate the internal encryption keyring used by Serf",
    about: "Changes or lists the keys of the whole cluster. To replace its key, install a new one, then use it, \
            then remove the old one, and go on to the next step only after success: 0 is the exit code if every \
            member has answered and done it, otherwise 1. Each step may be repeated. Exactly one of these is \
            needed:",
    options: &[
        OptionSpec::text(
            "--install",
            "key",
            "Lets every member decrypt with this key. Nothing is encrypted with it yet.",
        )
        .secret(),
        OptionSpec::text("--use", "key", "Lets every member encrypt with this key, which must be installed.")
            .secret(),
        OptionSpec::text(
            "--remove",
            "key",
            "Makes every member forget this key, unless it encrypts with it.",
        )
        .secret(),
        OptionSpec::switch(
            "--list",
            "Shows each key with the number of members that have it, and of those that encrypt with it.",
        ),
        RPC_ADDR,
        RPC_AUTH,
    ],
};

/// `serf leave`.
pub const LEAVE: CommandSpec = CommandSpec {
    name: "leave",
    arguments: "[options]",
    synopsis: "Gracefully leaves the Serf cluster and shuts down",
    about: "Lets the agent say goodbye to the cluster, so that others see it as left and not as failed, and \
            ends it.",
    options: &[RPC_ADDR, RPC_AUTH],
};

/// `serf members`.
pub const MEMBERS: CommandSpec = CommandSpec {
    name: "members",
    arguments: "[options]",
    synopsis: "Lists the members of a Serf cluster",
    about: "Lists the members that the agent knows, sorted by name, with address, status and tags. Filters are \
            regular expressions that must match from beginning to end.",
    options: &[
        OptionSpec::switch("--detailed", "Show protocol versions too (text only; JSON always has them)."),
        FORMAT,
        OptionSpec::text("--name", "regexp", "Only members with such a name."),
        OptionSpec::text("--role", "regexp", "Old form of '-tag role=regexp'."),
        OptionSpec::text(
            "--status",
            "regexp",
            "Only members with such a status (alive, leaving, left, failed).",
        ),
        OptionSpec::text("--tag", "key=regexp", "Only members that have this tag with such a value.")
            .repeatable(),
        RPC_ADDR,
        RPC_AUTH,
    ],
};

/// `serf monitor`.
pub const MONITOR: CommandSpec = CommandSpec {
    name: "monitor",
    arguments: "[options]",
    synopsis: "Stream logs from a Serf agent",
    about: "Prints the agent's latest log lines, then every log line and event as it happens, until it is \
            interrupted. The level may be finer than the agent's own.",
    options: &[
        OptionSpec::text(
            "--log-level",
            "level",
            "Least severe lines to show: trace, debug, info, warn or err.",
        )
        .default("info"),
        RPC_ADDR,
        RPC_AUTH,
    ],
};

/// `serf rtt`.
pub const RTT: CommandSpec = CommandSpec {
    name: "rtt",
    arguments: "[options] node1 [node2]",
    synopsis: "Estimates network round trip time between nodes",
    about: "Estimates the round trip time between two members from their network coordinates, without sending \
            anything between them. The second member is the agent itself unless given. Members go by the names \
            that 'serf members' shows.",
    options: &[RPC_ADDR, RPC_AUTH],
};

/// `serf tags`.
pub const TAGS: CommandSpec = CommandSpec {
    name: "tags",
    arguments: "[options]",
    synopsis: "Modify tags of a running Serf agent",
    about: "Changes the tags of a running agent and tells the cluster. What is set here outlives a reload of the \
            configuration, and with a tags file a restart.",
    options: &[
        OptionSpec::text("--set", "key=value", "Creates or changes a tag.").repeatable(),
        OptionSpec::text("--delete", "key", "Removes a tag, if there is one. Done before -set.").repeatable(),
        RPC_ADDR,
        RPC_AUTH,
    ],
};

/// `serf version`.
pub const VERSION: CommandSpec = CommandSpec {
    name: "version",
    arguments: "",
    synopsis: "Prints the Serf version",
    about: "Prints the version of the program and the Serf protocols it speaks.",
    options: &[],
};

/// Every command, in alphabetical order.
pub const COMMANDS: &[&CommandSpec] = &[
    &AGENT,
    &EVENT,
    &FORCE_LEAVE,
    &INFO,
    &JOIN,
    &KEYGEN,
    &KEYS,
    &LEAVE,
    &MEMBERS,
    &MONITOR,
    &QUERY,
    &REACHABILITY,
    &RTT,
    &TAGS,
    &VERSION,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_agent_has_every_flag_of_serf() {
        let mut names: Vec<&str> = AGENT.options.iter().map(|o| o.name()).collect();
        names.sort_unstable();
        // `check-config` and `label` are ours.
        let expected = "advertise bind broadcast-timeout check-config config-dir config-file \
                        disable-compression discover encrypt \
                        event-handler iface join keyring-file label log-level mdns-disable-ipv4 mdns-disable-ipv6 \
                        mdns-iface native-only node profile protocol rejoin replay retry-interval retry-join retry-max role \
                        rpc-addr snapshot syslog tag tags-file";
        assert_eq!(names, expected.split_whitespace().collect::<Vec<_>>());
    }

    #[test]
    fn files_have_every_key_of_serf() {
        let mut keys: Vec<&str> = settings().filter_map(|o| o.key).collect();
        keys.sort_unstable();
        // The last line is what Serf does not have.
        let expected = "advertise bind broadcast_timeout disable_coordinates disable_name_resolution discover \
                        enable_compression enable_syslog encrypt_key event_handlers interface keyring_file \
                        leave_on_terminate log_level mdns.disable_ipv4 mdns.disable_ipv6 mdns.interface node_name \
                        profile protocol query_response_size_limit query_size_limit reconnect_interval \
                        reconnect_timeout rejoin_after_leave replay_on_join retry_interval retry_join \
                        retry_max_attempts role rpc_addr rpc_auth skip_leave_on_interrupt snapshot_path start_join \
                        statsd_addr statsite_addr syslog_facility tags tags_file tombstone_timeout \
                        user_event_size_limit validate_node_names \
                        encrypt_key_file encrypt_verify_incoming encrypt_verify_outgoing label \
                        handler_timeout log_format metrics_addr native_only rpc_socket_mode";
        let mut expected: Vec<&str> = expected.split_whitespace().collect();
        expected.sort_unstable();
        assert_eq!(keys, expected);
    }

    #[test]
    fn settings_without_a_flag_are_well_formed() {
        for option in FILE_ONLY {
            let at = option.key.expect("a key at least");
            assert!(option.flag().is_none() && option.help.ends_with('.'), "{at}");
            assert!(at.chars().all(|c| c.is_ascii_lowercase() || c == '_' || c == '.'), "{at}");
        }
    }

    #[test]
    fn rows_are_well_formed() {
        assert!(COMMANDS.is_sorted_by(|a, b| a.name < b.name));
        for command in COMMANDS {
            for (i, option) in command.options.iter().enumerate() {
                let at = format!("{} -{}", command.name, option.name());
                assert_eq!(option.kind == Kind::Switch, option.placeholder.is_empty(), "{at}");
                assert!(option.help.ends_with('.'), "{at}");
                assert!(command.options[..i].iter().all(|o| o.name() != option.name()), "{at} twice");
                // These are answered before the table is asked.
                assert!(!["h", "help", "v", "version"].contains(&option.name()), "{at}");
                // Whoever asks for a list must get all of it, and whoever asks for one value the last.
                assert!(!option.repeatable || matches!(option.kind, Kind::Text | Kind::Pair), "{at}");
            }
        }
    }
}
