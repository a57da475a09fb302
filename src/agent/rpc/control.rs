//! What passes between the thread that serves RPC clients and the rest of the agent. How it waits
//! on its way is `lanes.rs`.

use crate::messaging::filter::EventFilter;
use crate::messaging::keys::{KeyCommand, KeyReport};
use crate::messaging::{QueryParams, QueryProgress};
use crate::model::{Coordinate, Event, Member, QueryKey};
use crate::rpc::Token;
use crate::rpc::record::Stats;
use crate::telemetry::LogLine;
use log::LevelFilter;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What a control connection may ask of the agent. Every call returns at once; what takes time is
/// answered later by an [`RpcMessage`] with the same token.
pub trait Control: Send {
    /// Everyone in the membership table.
    fn members(&self) -> Vec<Member>;

    /// Facts and counters, in groups.
    fn stats(&self) -> Stats;

    /// Where a member is on the network, if that is known.
    fn coordinate(&self, node: &str) -> Option<Coordinate>;

    /// Joins by any of `addrs`; answered by [`RpcMessage::Joined`].
    fn join(&mut self, addrs: Vec<String>, replay: bool, token: Token);

    /// Leaves the cluster; answered by [`RpcMessage::Left`]. The agent shuts down afterwards.
    fn leave(&mut self, token: Token);

    /// Deletes and then sets tags of this member; answered by [`RpcMessage::TagsChanged`].
    fn tags(&mut self, set: BTreeMap<String, String>, delete: Vec<String>, token: Token);

    /// Makes a failed member left, or forgets it; answered by [`RpcMessage::ForceLeft`].
    fn force_leave(&mut self, node: String, prune: bool, token: Token);

    /// Sends a user event; answered by [`RpcMessage::Fired`].
    fn user_event(&mut self, name: String, payload: Vec<u8>, coalesce: bool, token: Token);

    /// Asks a query; answered by [`RpcMessage::QueryStarted`] and, if that is no error, by any
    /// number of [`RpcMessage::QueryProgress`] up to and including the one that says `Done`.
    fn query(&mut self, params: QueryParams, token: Token);

    /// Asks everyone to change or to list keys; answered by [`RpcMessage::Keys`].
    fn keys(&mut self, command: KeyCommand, token: Token);

    /// Answers a query that a stream was told of; answered by [`RpcMessage::Responded`].
    fn respond(&mut self, query: QueryKey, payload: Vec<u8>, token: Token);

    /// From now on these are the filters of all streams together: whoever asks a query wants to
    /// know whether a stream may answer it.
    fn streams_changed(&mut self, filters: Vec<EventFilter>);

    /// From now on lines up to this level are wanted as [`RpcMessage::Log`]; `Off` when no monitor
    /// is left. Called before [`Control::recent_log`].
    fn want_log(&mut self, up_to: LevelFilter);

    /// From now on these are the handlers that [`Control::stats`] shows, script by filter.
    fn handlers_changed(&mut self, handlers: BTreeMap<String, String>);

    /// The lines that were logged last, for a new monitor.
    fn recent_log(&self) -> RecentLog;
}

/// The last lines of the log.
///
/// A line that is among the recent ones and also on its way as [`RpcMessage::Log`] reaches a new
/// monitor once: lines are numbered.
#[derive(Clone, Debug, Default)]
pub struct RecentLog {
    /// Oldest first.
    pub lines: Vec<Arc<LogLine>>,
    /// Number of the first line that is not among them.
    pub next: u64,
}

/// What may wake the thread from inside the agent.
#[derive(Clone, Debug)]
pub enum RpcMessage {
    /// Answers `join`: how many addresses were joined, and what went wrong with the others.
    Joined {
        /// Of the request.
        token: Token,
        /// Addresses that were joined.
        joined: usize,
        /// Text for the client, if any address failed.
        error: Option<String>,
    },
    /// Answers `leave`.
    Left {
        /// Of the request.
        token: Token,
        /// Text for the client if leaving failed.
        result: Result<(), String>,
    },
    /// Answers `force-leave`.
    ForceLeft {
        /// Of the request.
        token: Token,
        /// Text for the client if it failed.
        result: Result<(), String>,
    },
    /// Answers `tags`.
    TagsChanged {
        /// Of the request.
        token: Token,
        /// Text for the client if it failed.
        result: Result<(), String>,
    },
    /// For event streams.
    Event(Arc<Event>),
    /// Answers `event`.
    Fired {
        /// Of the request.
        token: Token,
        /// Text for the client if it failed.
        result: Result<(), String>,
    },
    /// Answers `query`. Progress that comes first answers it as well.
    QueryStarted {
        /// Of the request.
        token: Token,
        /// Text for the client if it failed.
        result: Result<(), String>,
    },
    /// What came in for a query that this client asked. `Done` is never lost and comes after
    /// everything that was sent before it.
    QueryProgress {
        /// Of the request.
        token: Token,
        /// What came in.
        progress: QueryProgress,
    },
    /// Answers the four commands about keys.
    Keys {
        /// Of the request.
        token: Token,
        /// What everyone said.
        report: Box<KeyReport>,
        /// Text for the client if it has not worked everywhere.
        error: String,
    },
    /// Answers `respond`.
    Responded {
        /// Of the request.
        token: Token,
        /// Text for the client if it failed.
        result: Result<(), String>,
    },
    /// For monitors.
    Log(Arc<LogLine>),
    /// `rpc_auth` changed (empty for none); concerns connections from now on.
    AuthKey(String),
    /// The event handlers changed: script by filter.
    Handlers(BTreeMap<String, String>),
}
