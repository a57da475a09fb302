//! The rows of the control commands: what `serf` and `serf-ctl` say to a running agent, or do alone.

use super::spec::{CommandSpec, DefaultValue, Operands, OptionSpec};

/// The shells for which there are completions.
pub(crate) const SHELLS: [&str; 3] = ["bash", "zsh", "fish"];

const RPC_ADDR: OptionSpec = OptionSpec::text(
    "--rpc-addr",
    "addr:port",
    "Where the agent to control listens. SERF_RPC_ADDR in the environment changes the default.",
)
.default(DefaultValue::Text("127.0.0.1:7373"));

const RPC_AUTH: OptionSpec = OptionSpec::text(
    "--rpc-auth",
    "token",
    "The agent's RPC token, if it asks for one. SERF_RPC_AUTH in the environment changes the default, \
     and unlike the flag it does not show in the process list.",
);

const FORMAT: OptionSpec =
    OptionSpec::choice("--format", &["text", "json"], "How to print: for people or for programs.")
        .default(DefaultValue::Text("text"));

/// `serf completion`.
pub(crate) const COMPLETION: CommandSpec = CommandSpec {
    name: "completion",
    arguments: "bash|zsh|fish",
    operands: Operands::Words(&SHELLS),
    synopsis: "Prints a script that completes commands in a shell",
    about: "Prints a script with which a shell completes commands, flags, their values and names of members. For \
            bash, 'source <(serf completion bash)' in ~/.bashrc loads it; for zsh, 'source <(serf completion zsh)' \
            after compinit in ~/.zshrc; for fish, 'serf completion fish | source' in ~/.config/fish/config.fish.",
    options: &[],
};

/// `serf event`.
pub(crate) const EVENT: CommandSpec = CommandSpec {
    name: "event",
    arguments: "[options] name [payload]",
    operands: Operands::Others,
    synopsis: "Send a custom event through the Serf cluster",
    about: "Makes an event known to every member, whose event handlers can act on it. The payload, if there is \
            one, is the second argument, or standard input if that is '-'.",
    options: &[
        OptionSpec::switch(
            "--coalesce",
            "Of several events of this name within a few seconds, members may handle the last alone. \
             -coalesce=false makes each of them count.",
        )
        .default(DefaultValue::On),
        RPC_ADDR,
        RPC_AUTH,
    ],
};

/// `serf force-leave`.
pub(crate) const FORCE_LEAVE: CommandSpec = CommandSpec {
    name: "force-leave",
    arguments: "[options] name",
    operands: Operands::MemberNames,
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
pub(crate) const INFO: CommandSpec = CommandSpec {
    name: "info",
    arguments: "[options]",
    operands: Operands::Others,
    synopsis: "Provides debugging information for operators",
    about: "Prints the agent's counters, queue depths and clocks.",
    options: &[FORMAT, RPC_ADDR, RPC_AUTH],
};

/// `serf join`.
pub(crate) const JOIN: CommandSpec = CommandSpec {
    name: "join",
    arguments: "[options] address ...",
    operands: Operands::Others,
    synopsis: "Tell Serf agent to join cluster",
    about: "Lets a running agent join the cluster of the given members. One that can be reached is enough.",
    options: &[
        OptionSpec::switch("--replay", "Also hear the user events of before the join."),
        RPC_ADDR,
        RPC_AUTH,
    ],
};

/// `serf keygen`.
pub(crate) const KEYGEN: CommandSpec = CommandSpec {
    name: "keygen",
    arguments: "",
    operands: Operands::Others,
    synopsis: "Generates a new encryption key",
    about: "Prints a fresh random key of 32 bytes in base64, ready for the agent's -encrypt.",
    options: &[],
};

/// `serf keys`.
pub(crate) const KEYS: CommandSpec = CommandSpec {
    name: "keys",
    arguments: "[options]",
    operands: Operands::Others,
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
pub(crate) const LEAVE: CommandSpec = CommandSpec {
    name: "leave",
    arguments: "[options]",
    operands: Operands::Others,
    synopsis: "Gracefully leaves the Serf cluster and shuts down",
    about: "Lets the agent say goodbye to the cluster, so that others see it as left and not as failed, and \
            ends it.",
    options: &[RPC_ADDR, RPC_AUTH],
};

/// `serf members`.
pub(crate) const MEMBERS: CommandSpec = CommandSpec {
    name: "members",
    arguments: "[options]",
    operands: Operands::Others,
    synopsis: "Lists the members of a Serf cluster",
    about: "Lists the members that the agent knows, sorted by name, with address, status and tags. Filters are \
            regular expressions with '^' and '$' put around them.",
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
pub(crate) const MONITOR: CommandSpec = CommandSpec {
    name: "monitor",
    arguments: "[options]",
    operands: Operands::Others,
    synopsis: "Stream logs from a Serf agent",
    about: "Prints the agent's latest log lines, then every log line and event as it happens, until it is \
            interrupted. The level may be finer than the agent's own.",
    options: &[
        OptionSpec::choice(
            "--log-level",
            &["trace", "debug", "info", "warn", "err"],
            "Least severe lines to show: trace, debug, info, warn or err.",
        )
        .shown_as("level")
        .default(DefaultValue::Text("info")),
        RPC_ADDR,
        RPC_AUTH,
    ],
};

/// `serf query`.
pub(crate) const QUERY: CommandSpec = CommandSpec {
    name: "query",
    arguments: "[options] name [payload]",
    operands: Operands::Others,
    synopsis: "Send a query to the Serf cluster",
    about: "Sends a query to the members and prints which of them got it and what they answer, until everyone \
            has or the time is up. The payload, if there is one, is the second argument, or standard input if \
            that is '-'.",
    options: &[
        FORMAT,
        OptionSpec::member_names("--node", "Ask this member, not everyone."),
        OptionSpec::text(
            "--tag",
            "key=regexp",
            "Ask only members in whose value of this tag the expression matches.",
        )
        .repeatable(),
        OptionSpec::duration(
            "--timeout",
            "How long answers are waited for. If not given, the more members the longer.",
        ),
        OptionSpec::switch("--no-ack", "Do not let members confirm that the query has arrived."),
        OptionSpec::number(
            "--relay-factor",
            "Through how many other members each answer is sent as well, against loss; 0 to 255.",
        )
        .default(DefaultValue::Number(0)),
        RPC_ADDR,
        RPC_AUTH,
    ],
};

/// `serf reachability`.
pub(crate) const REACHABILITY: CommandSpec = CommandSpec {
    name: "reachability",
    arguments: "[options]",
    operands: Operands::Others,
    synopsis: "Test network reachability",
    about: "Sends the agent's cluster a ping and compares the members that answer with those that count as alive. \
            Fails if they differ.",
    options: &[
        OptionSpec::switch(
            "--verbose",
            "Also print each answer as it comes in, and how long all of it took.",
        ),
        RPC_ADDR,
        RPC_AUTH,
    ],
};

/// `serf rtt`.
pub(crate) const RTT: CommandSpec = CommandSpec {
    name: "rtt",
    arguments: "[options] node1 [node2]",
    operands: Operands::MemberNames,
    synopsis: "Estimates network round trip time between nodes",
    about: "Estimates the round trip time between two members from their network coordinates, without sending \
            anything between them. The second member is the agent itself unless given. Members go by the names \
            that 'serf members' shows.",
    options: &[RPC_ADDR, RPC_AUTH],
};

/// `serf tags`.
pub(crate) const TAGS: CommandSpec = CommandSpec {
    name: "tags",
    arguments: "[options]",
    operands: Operands::Others,
    synopsis: "Modify tags of a running Serf agent",
    about: "Changes the tags of a running agent and announces them to the cluster. What is set here outlives a \
            reload of the configuration, and with a tags file a restart.",
    options: &[
        OptionSpec::text("--set", "key=value", "Creates or changes a tag.").repeatable(),
        OptionSpec::text("--delete", "key", "Removes a tag, if there is one. Done before -set.").repeatable(),
        RPC_ADDR,
        RPC_AUTH,
    ],
};

/// `serf version`.
pub(crate) const VERSION: CommandSpec = CommandSpec {
    name: "version",
    arguments: "",
    operands: Operands::Others,
    synopsis: "Prints the Serf version",
    about: "Prints the version of the program and the Serf protocols it speaks.",
    options: &[],
};
