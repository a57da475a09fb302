//! Every command of the control protocol, a row for each. The server reads and sorts requests by
//! these rows, the client sends and waits by them, and the reference is made of them.
//!
//! A row: what the command does; its word; its name, and the record that a client writes, its
//! *call*; the record that it is answered with, `()` for an error or none; how long a client waits.
//! A call that the connection has to look at first has an arrow, and what the agent is asked
//! instead behind it.
//!
//! # To add a command
//!
//! 1. `record/`: its call and, unless that is `()`, its response, in the file of its subject.
//! 2. Here: its row, under `now` if the agent can answer at once, under `later` if it cannot. Under
//!    `connection`, or with an arrow, it needs an arm in `connection/requests.rs`.
//! 3. `agent/control.rs`: what it means, in `answer` or in `begin`. A `later` command is handed to
//!    its thread by a message of `agent/channels.rs`, and the thread answers by `RpcSender::reply`
//!    with the request's token.
//! 4. If it has a command on the command line: a file in `cli/`, which asks by `Client::call`, its line in
//!    `cli/mod.rs`, and its flags and its help in `config/options/control.rs`.
//!
//! After step 2 the compiler names every place of step 3.

use super::codec::{Body, RecordError};
use super::filter::MemberFilter;
use super::record::*;
use super::table::commands;
use crate::messaging::QueryParams;
use crate::model::QueryKey;
use log::Level;

commands! {
    // The connection answers these itself.
    connection {
        /// Opens the conversation; comes first.
        "handshake" Handshake(HandshakeCall) -> (), Usual;
        /// Shows the key, if the agent asks for one; comes second.
        "auth" Auth(AuthCall) -> (), Usual;
        /// Streams the events that pass a filter, from now on.
        "stream" Stream(StreamCall) -> (), Usual;
        /// Streams the latest log lines from a level on, and then every new one.
        "monitor" Monitor(MonitorCall) -> (), Usual;
        /// Ends a stream or the monitor.
        "stop" Stop(StopCall) -> (), Usual;
    }
    // The agent answers these at once.
    now {
        /// Lists the members.
        "members" Members(MembersCall) -> MembersResponse, Usual;
        /// Lists the members that match expressions.
        "members-filtered" MembersFiltered(MembersFilteredCall => MemberFilter) -> MembersResponse, Usual;
        /// Shows facts and counters of the agent, in groups.
        "stats" Stats(StatsCall) -> Stats, Usual;
        /// Shows where on the network a member is.
        "get-coordinate" GetCoordinate(CoordinateCall) -> CoordinateResponse, Usual;
        /// Makes a failed member left, or forgets it.
        "force-leave" ForceLeave(ForceLeaveCall) -> (), Long;
    }
    // The agent answers these when it is done.
    later {
        /// Joins the cluster through any of some addresses.
        "join" Join(JoinCall) -> JoinResponse, Long;
        /// Leaves the cluster and ends the agent.
        "leave" Leave(LeaveCall) -> (), Long;
        /// Deletes and then sets tags of the agent.
        "tags" Tags(TagsCall) -> (), Usual;
        /// Sends a user event.
        "event" Event(EventCall) -> (), Usual;
        /// Asks a query, and streams what is answered.
        "query" Query(QueryCall => QueryParams) -> (), Usual;
        /// Answers a query that came by a stream.
        "respond" Respond(RespondCall => KeyedAnswer) -> (), Usual;
        /// Lets every member decrypt with a key.
        "install-key" InstallKey(InstallKeyCall) -> KeyResponse, Long;
        /// Lets every member encrypt with a key.
        "use-key" UseKey(UseKeyCall) -> KeyResponse, Long;
        /// Makes every member forget a key.
        "remove-key" RemoveKey(RemoveKeyCall) -> KeyResponse, Long;
        /// Lists the keys of all members.
        "list-keys" ListKeys(ListKeysCall) -> KeyResponse, Long;
    }
}

/// A record that is the body of a command's request, or stands for one without a body.
pub(crate) trait Call: Body {
    /// The command.
    const COMMAND: RpcCommand;
    /// What it is answered with.
    type Response: Body + Default;
}

/// A request that a connection does not answer itself.
#[derive(Clone, Debug)]
pub enum Request {
    /// The agent answers at once.
    Now(NowRequest),
    /// The agent answers when it is done.
    Later(LaterRequest),
    /// Log lines up to this level are to be streamed. The thread that serves the connection begins
    /// with the latest: see `Connection::start_monitor`.
    Monitor(Level),
}

/// An answer to a query, which the client knows by a number of its own.
#[derive(Clone, Debug)]
pub struct KeyedAnswer {
    /// The query.
    pub query: QueryKey,
    /// What is answered.
    pub payload: Vec<u8>,
}

/// What answers a command, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answered {
    /// By the connection itself, at once.
    Connection,
    /// By the agent, at once.
    Now,
    /// By the agent, when it is done.
    Later,
}

/// How long a client waits for a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Patience {
    /// As for anything that the agent answers by itself.
    Usual,
    /// For other members too: for addresses that do not answer, for news to spread.
    Long,
}

/// What is known of a command.
struct CommandRow {
    word: &'static str,
    patience: Patience,
    has_request_body: bool,
    has_reply_body: bool,
}

/// What the reference says besides.
struct Documentation {
    help: &'static str,
    answered: Answered,
    request_fields: &'static [&'static str],
    reply_fields: &'static [&'static str],
}

impl RpcCommand {
    /// The word in a request header.
    pub(crate) fn word(self) -> &'static str {
        self.row().word
    }

    /// The command that a request header names.
    pub(super) fn parse(word: &str) -> Option<RpcCommand> {
        RpcCommand::ALL.iter().copied().find(|command| command.word() == word)
    }

    /// Whether a second value, the body, follows the request header.
    pub(super) fn has_request_body(self) -> bool {
        self.row().has_request_body
    }

    /// Whether a second value follows the reply header. Clients wait for it after an error too.
    pub(super) fn has_reply_body(self) -> bool {
        self.row().has_reply_body
    }

    /// How long a client waits for the reply.
    pub(super) fn patience(self) -> Patience {
        self.row().patience
    }
}

/// The table of commands in Markdown, a line for its head, one for the rule, and one for each
/// command, by word.
pub fn reference() -> Vec<String> {
    let head = ["| command | request | reply | answered | meaning |", "| --- | --- | --- | --- | --- |"];
    let mut rows: Vec<String> = RpcCommand::ALL.iter().map(|command| line(*command)).collect();
    rows.sort();
    head.into_iter().map(str::to_string).chain(rows).collect()
}

fn line(command: RpcCommand) -> String {
    let (row, about) = (command.row(), command.documentation());
    let fields = |present: bool, fields: &[&str]| match fields {
        _ if !present => String::new(),
        [] => "groups of texts by key".to_string(),
        fields => fields.iter().map(|field| format!("`{field}`")).collect::<Vec<_>>().join(", "),
    };
    let request = fields(row.has_request_body, about.request_fields);
    let reply = fields(row.has_reply_body, about.reply_fields);
    let answered = match about.answered {
        Answered::Connection | Answered::Now => "at once",
        Answered::Later => "when it is done",
    };
    format!("| `{}` | {request} | {reply} | {answered} | {} |", row.word, about.help.trim())
        .replace("  ", " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_round_trip() {
        for command in RpcCommand::ALL {
            assert_eq!(RpcCommand::parse(command.word()), Some(*command));
        }
        assert_eq!(RpcCommand::parse("Members"), None);
        assert_eq!(RpcCommand::parse(""), None);
    }

    #[test]
    fn bodies_are_those_of_serf() {
        let pick = |which: fn(RpcCommand) -> bool| {
            let picked = RpcCommand::ALL.iter().filter(|command| which(**command));
            picked.map(|command| command.word()).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(pick(|c| !c.has_request_body()), "members stats leave list-keys");
        assert_eq!(
            pick(RpcCommand::has_reply_body),
            "members members-filtered stats get-coordinate join install-key use-key remove-key list-keys"
        );
        assert_eq!(
            pick(|c| c.patience() == Patience::Long),
            "force-leave join leave install-key use-key remove-key list-keys"
        );
    }

    #[test]
    fn the_reference_has_the_names_that_go_over_the_wire() {
        let reference = reference();
        for line in [
            "| `join` | `Existing`, `Replay` | `Num` | when it is done | Joins the cluster through any of some addresses. |",
            "| `leave` | | | when it is done | Leaves the cluster and ends the agent. |",
            "| `respond` | `ID`, `Payload` | | when it is done | Answers a query that came by a stream. |",
            "| `stats` | | groups of texts by key | at once | Shows facts and counters of the agent, in groups. |",
        ] {
            assert!(reference.iter().any(|row| row == line), "{line}\n{}", reference.join("\n"));
        }
        assert_eq!(reference.len(), 2 + RpcCommand::ALL.len());
    }
}
