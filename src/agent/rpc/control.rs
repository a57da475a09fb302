//! What passes between the thread that serves RPC clients and the rest of the agent. How it waits
//! on its way is `lanes.rs`.

use crate::messaging::QueryProgress;
use crate::messaging::filter::EventFilter;
use crate::model::{Event, Footprint};
use crate::rpc::{LaterRequest, NowRequest, RpcReply, Token};
use crate::telemetry::LogLine;
use log::LevelFilter;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// The agent, as control connections see it. Every call returns at once.
pub(crate) trait Control: Send {
    /// Answers a request.
    fn answer(&mut self, request: NowRequest) -> RpcReply;

    /// Begins what takes time. Unless it refuses, an [`RpcMessage::Reply`] with the same token
    /// follows.
    ///
    /// To a query that is asked follow any number of [`RpcMessage::QueryProgress`] as well, up to and
    /// including the one that says `Done`.
    fn begin(&mut self, request: LaterRequest, token: Token) -> Result<(), Busy>;

    /// From now on these are the filters of all streams together: a member that asks a query wants
    /// to know whether a stream may answer it.
    fn streams_changed(&mut self, filters: Vec<EventFilter>);

    /// From now on lines up to this level are wanted as [`RpcMessage::Log`]; `Off` when no monitor
    /// is left. Called before [`Control::recent_log`].
    fn want_log(&mut self, up_to: LevelFilter);

    /// From now on these are the handlers that the answer to `stats` shows, script by filter.
    fn handlers_changed(&mut self, handlers: BTreeMap<String, String>);

    /// The lines that were logged last, for a new monitor.
    fn recent_log(&self) -> RecentLog;
}

/// The last lines of the log.
///
/// A line that is among the recent ones and also on its way as [`RpcMessage::Log`] reaches a new
/// monitor once: lines are numbered.
#[derive(Clone, Debug, Default)]
pub(crate) struct RecentLog {
    /// Oldest first.
    pub lines: Vec<Arc<LogLine>>,
    /// Number of the first line that is not among them.
    pub next: u64,
}

/// A request is not taken up: the agent has too much to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Busy {
    /// With whatever the request is for.
    Overloaded,
    /// With what comes before a leave.
    Leave,
    /// With joins.
    Joins,
}

impl fmt::Display for Busy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Busy::Overloaded => "the agent has too much to do; try again",
            Busy::Leave => "the agent is too busy to leave; try again",
            Busy::Joins => "too many joins at once; try again",
        })
    }
}

impl std::error::Error for Busy {}

/// What may wake the thread from inside the agent.
#[derive(Clone, Debug)]
pub(crate) enum RpcMessage {
    /// Answers a request that the agent has begun. A query is answered by progress that comes first
    /// as well.
    Reply {
        /// Of the request.
        token: Token,
        /// The answer.
        reply: RpcReply,
    },
    /// For event streams.
    Event(Arc<Event>),
    /// What came in for a query that this client asked. `Done` is never lost and comes after
    /// everything that was sent before it.
    QueryProgress {
        /// Of the request.
        token: Token,
        /// What came in.
        progress: QueryProgress,
    },
    /// For monitors.
    Log(Arc<LogLine>),
    /// `rpc_auth` changed (empty for none); concerns connections from now on.
    AuthKey(String),
    /// The event handlers changed: script by filter.
    Handlers(BTreeMap<String, String>),
}

impl RpcMessage {
    /// How much memory it takes, about, if others decide on that.
    pub(super) fn weight(&self) -> usize {
        size_of::<RpcMessage>()
            + match self {
                RpcMessage::Event(event) => event.footprint(),
                RpcMessage::QueryProgress { progress, .. } => match progress {
                    QueryProgress::Ack { from } => from.footprint(),
                    QueryProgress::Response { from, payload } => from.footprint() + payload.len(),
                    QueryProgress::Done => 0,
                },
                RpcMessage::Log(line) => line.text.len(),
                RpcMessage::Reply { .. } | RpcMessage::AuthKey(_) | RpcMessage::Handlers(_) => 0,
            }
    }
}
