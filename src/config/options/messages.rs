//! Rows of the table for what is said to the cluster: events, queries and the test of
//! reachability.

use super::{CommandSpec, FORMAT, OptionSpec, RPC_ADDR, RPC_AUTH};

/// `serf event`.
pub const EVENT: CommandSpec = CommandSpec {
    name: "event",
    arguments: "[options] name [payload]",
    synopsis: "Send a custom event through the Serf cluster",
    about: "Makes an event known to every member, whose event handlers can act on it. The payload, if there is \
            one, is the second argument, or standard input if that is '-'.",
    options: &[
        OptionSpec::switch(
            "--coalesce",
            "Of several events of this name within a few seconds, members may handle the last alone. \
             -coalesce=false makes each of them count.",
        )
        .default("true"),
        RPC_ADDR,
        RPC_AUTH,
    ],
};

/// `serf query`.
pub const QUERY: CommandSpec = CommandSpec {
    name: "query",
    arguments: "[options] name [payload]",
    synopsis: "Send a query to the Serf cluster",
    about: "Asks the members a question and prints who got it and what they answer, until everyone has or the \
            time is up. The payload, if there is one, is the second argument, or standard input if that is '-'.",
    options: &[
        FORMAT,
        OptionSpec::text("--node", "name", "Ask this member, not everyone.").repeatable(),
        OptionSpec::text("--tag", "key=regexp", "Ask only members that have this tag with such a value.")
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
        .default("0"),
        RPC_ADDR,
        RPC_AUTH,
    ],
};

/// `serf reachability`.
pub const REACHABILITY: CommandSpec = CommandSpec {
    name: "reachability",
    arguments: "[options]",
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
