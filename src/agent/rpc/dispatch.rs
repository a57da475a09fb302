//! How the requests of all clients reach the agent.

use super::control::Control;
use super::lanes::RpcSender;
use crate::messaging::filter::EventFilter;
use crate::rpc::{Connection, Request, RpcReply, Token};
use crate::telemetry::counters;
use log::{Level, LevelFilter};
use std::collections::{BTreeMap, BTreeSet};

/// The agent behind the requests, and what the clients together want to hear.
pub(super) struct Dispatcher {
    control: Box<dyn Control>,
    sender: RpcSender,
    wanted_log: LevelFilter,
    /// The filters of all streams of each connection that has any.
    filters: BTreeMap<u64, Vec<EventFilter>>,
    /// The filters that the agent knows of.
    wanted_events: BTreeSet<EventFilter>,
}

impl Dispatcher {
    pub(super) fn new(control: Box<dyn Control>, sender: RpcSender) -> Dispatcher {
        Dispatcher {
            control,
            sender,
            wanted_log: LevelFilter::Off,
            filters: BTreeMap::new(),
            wanted_events: BTreeSet::new(),
        }
    }

    /// Passes a change of a connection's streams on, if it is one for all streams together.
    pub(super) fn note_streams(&mut self, connection: &mut Connection) {
        if let Some(filters) = connection.take_changed_filters() {
            self.filters.insert(connection.id(), filters);
            self.sum_up_filters();
        }
    }

    /// The connection is gone, and its streams with it.
    pub(super) fn forget_streams(&mut self, connection: u64) {
        if self.filters.remove(&connection).is_some() {
            self.sum_up_filters();
        }
    }

    fn sum_up_filters(&mut self) {
        self.filters.retain(|_, filters| !filters.is_empty());
        let wanted: BTreeSet<EventFilter> = self.filters.values().flatten().cloned().collect();
        if wanted != self.wanted_events {
            self.sender.listen(!wanted.is_empty());
            self.control.streams_changed(wanted.iter().cloned().collect());
            self.wanted_events = wanted;
        }
    }

    /// Passes on which event handlers there are.
    pub(super) fn handlers_changed(&mut self, handlers: BTreeMap<String, String>) {
        self.control.handlers_changed(handlers);
    }

    /// Asks for log lines up to the monitor that wants most and no more.
    pub(super) fn narrow_log(&mut self, most: Option<Level>) {
        let wanted = most.map_or(LevelFilter::Off, |level| level.to_level_filter());
        if wanted != self.wanted_log {
            self.wanted_log = wanted;
            self.control.want_log(wanted);
        }
    }

    /// Has a request answered, at once or later.
    pub(super) fn dispatch(&mut self, connection: &mut Connection, token: Token, request: Request) {
        counters::RPC_COMMANDS.inc();
        match request {
            Request::Now(request) => {
                connection.reply(token, &self.control.answer(request));
            }
            Request::Later(request) => {
                if let Err(busy) = self.control.begin(request, token) {
                    connection.reply(token, &RpcReply::refusal(busy));
                }
            }
            Request::Monitor(level) => {
                let most = self.wanted_log.to_level().map_or(level, |wanted| wanted.max(level));
                self.narrow_log(Some(most));
                let recent = self.control.recent_log();
                connection.start_monitor(token, level, &recent.lines, recent.next);
            }
        }
    }
}
