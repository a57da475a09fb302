//! What control connections can ask of the agent: the agent's side of the control protocol.

use super::channels::{Channels, JoinRequest, JoinResult, ToEvents, ToMain, ToProbe, ToSync};
use super::clock::Clock;
use super::rpc::{Busy, Control, RecentLog, RpcMessage, RpcSender};
use super::stats::StatsFacts;
use super::table::SharedTable;
use crate::membership::Effects;
use crate::messaging::filter::EventFilter;
use crate::messaging::keys::{KeyCommand, KeyStep};
use crate::model::{Member, NodeName, Text, Token};
use crate::rpc::record::*;
use crate::rpc::{KeyedAnswer, LaterRequest, ListBudget, MemberList, NowRequest, RpcReply};
use crate::telemetry::{LoggerHandle, SubscriberId};
use log::LevelFilter;
use std::collections::BTreeMap;
use std::sync::Arc;

/// How many members are copied out of the table at once.
const LIST_SLICE: usize = 4096;

/// Answers requests from the table, or hands them to the thread that can.
pub(super) struct AgentControl {
    table: SharedTable,
    channels: Channels,
    rpc: RpcSender,
    logger: LoggerHandle,
    log_subscription: Option<SubscriberId>,
    facts: StatsFacts,
    clock: Clock,
    lists: ListBudget,
}

impl AgentControl {
    /// Puts the parts together.
    pub(super) fn new(
        table: SharedTable,
        channels: Channels,
        rpc: RpcSender,
        logger: LoggerHandle,
        facts: StatsFacts,
        clock: Clock,
    ) -> Self {
        AgentControl {
            table,
            channels,
            rpc,
            logger,
            log_subscription: None,
            facts,
            clock,
            lists: ListBudget::default(),
        }
    }

    /// A list of the members that are wanted. The table is locked for a slice of it at a time, and not while
    /// it is decided what is wanted; only that is kept.
    fn list(&self, wanted: impl Fn(&Member) -> bool) -> RpcReply {
        let mut list: Vec<Member> = Vec::new();
        let mut after: Option<NodeName> = None;
        loop {
            let slice = self.table.read().members.members_after(after.as_ref(), LIST_SLICE);
            let is_last = slice.len() < LIST_SLICE;
            after = slice.last().map(|member| member.name.clone());
            list.extend(slice.into_iter().filter(|member| wanted(member)));
            if is_last {
                return RpcReply::listing(MemberList::new(list, &self.lists));
            }
        }
    }

    fn force_leave(&self, node: &Text, prune: bool) {
        log::info!(target: "agent", "Force leaving node: {node}");
        // What can be no name is that of no member, and nothing is to be done, as for any unknown one.
        let Ok(node) = NodeName::new(node) else { return };
        let mut fx = Effects::default();
        let out = {
            let mut table = self.table.write();
            table.members.force_leave(&node, prune, self.clock.now(), &mut fx);
            table.post(fx, None)
        };
        self.channels.wake(&out, self.clock.now());
        // A full channel wakes that thread as well.
        let _ = self.channels.probe.send(ToProbe::TableChanged);
    }

    fn join(&self, addrs: &[Text], replay: bool, token: Token) -> Result<(), Busy> {
        // An address that is not UTF-8 names nothing, and fails as what it looks like.
        let addrs: Vec<String> = addrs.iter().map(Text::to_string).collect();
        log::info!(target: "agent", "joining: {addrs:?}");
        let rpc = self.rpc.clone();
        let reply = Box::new(move |result: JoinResult| {
            let joined = |count| JoinResponse { num: i32::try_from(count).unwrap_or(i32::MAX) };
            rpc.reply(token, RpcReply::to::<JoinCall>(result.map(joined).map_err(|why| why.as_list())));
        });
        if addrs.is_empty() {
            reply(Ok(0));
            return Ok(());
        }
        let request = JoinRequest::new(addrs, replay, reply);
        if let Err(ToSync::Join(request)) = self.channels.sync.send(ToSync::Join(request)) {
            request.withdraw();
            return Err(Busy::Joins);
        }
        Ok(())
    }

    fn change_key(&self, step: KeyStep, key: String, token: Token) -> Result<(), Busy> {
        self.to_events(ToEvents::AskKeys { command: KeyCommand::Change(step, key.into()), token })
    }

    fn to_events(&self, message: ToEvents) -> Result<(), Busy> {
        self.channels.events.send(message).map_err(|_| Busy::Overloaded)
    }
}

impl Control for AgentControl {
    fn answer(&mut self, request: NowRequest) -> RpcReply {
        match request {
            NowRequest::Members(MembersCall) => self.list(|_| true),
            NowRequest::MembersFiltered(filter) => self.list(|member| filter.matches(member)),
            NowRequest::Stats(StatsCall) => {
                let stats = self.facts.stats(&self.table.read().members, self.clock.now());
                RpcReply::with::<StatsCall>(&stats)
            }
            NowRequest::GetCoordinate(call) => {
                let coordinate = self.table.read().members.coordinate(&call.node).copied();
                RpcReply::with::<CoordinateCall>(&coordinate.as_ref().into())
            }
            NowRequest::ForceLeave(call) => {
                self.force_leave(&call.node, call.prune);
                RpcReply::with::<ForceLeaveCall>(&())
            }
        }
    }

    fn begin(&mut self, request: LaterRequest, token: Token) -> Result<(), Busy> {
        match request {
            LaterRequest::Join(call) => self.join(&call.existing, call.replay, token),
            LaterRequest::Leave(LeaveCall) => {
                self.channels.main.send(ToMain::Leave(token)).map_err(|_| Busy::Leave)
            }
            LaterRequest::Tags(TagsCall { tags: set, delete_tags: delete }) => {
                let message = ToMain::Tags { set, delete, token };
                self.channels.main.send(message).map_err(|_| Busy::Overloaded)
            }
            LaterRequest::Event(EventCall { name, payload, coalesce }) => {
                log::debug!(
                    target: "agent",
                    "Requesting user event send: {name}. Coalesced: {coalesce}. Payload: {} bytes", payload.len()
                );
                self.to_events(ToEvents::Fire { name, payload, coalesce, token })
            }
            LaterRequest::Query(params) => {
                log::debug!(
                    target: "agent",
                    "Requesting query send: {}. Payload: {} bytes", params.name, params.payload.len()
                );
                self.to_events(ToEvents::Ask { params: Box::new(params), token })
            }
            LaterRequest::Respond(KeyedAnswer { query, payload }) => {
                self.to_events(ToEvents::Respond { query, payload, token })
            }
            LaterRequest::InstallKey(call) => self.change_key(KeyStep::Install, call.key, token),
            LaterRequest::UseKey(call) => self.change_key(KeyStep::Use, call.key, token),
            LaterRequest::RemoveKey(call) => self.change_key(KeyStep::Remove, call.key, token),
            LaterRequest::ListKeys(ListKeysCall) => {
                self.to_events(ToEvents::AskKeys { command: KeyCommand::List, token })
            }
        }
    }

    fn streams_changed(&mut self, filters: Vec<EventFilter>) {
        if self.to_events(ToEvents::Streams(filters)).is_err() {
            log::debug!(target: "agent", "serf-events did not hear of changed streams");
        }
    }

    fn handlers_changed(&mut self, handlers: BTreeMap<String, String>) {
        self.facts.handlers = handlers;
    }

    fn want_log(&mut self, up_to: LevelFilter) {
        if let Some(id) = self.log_subscription.take() {
            self.logger.unsubscribe(id);
        }
        if up_to == LevelFilter::Off {
            return;
        }
        let rpc = self.rpc.clone();
        let subscription = self.logger.subscribe(up_to, move |line| {
            // What finds no room is counted.
            let _ = rpc.send(RpcMessage::Log(Arc::clone(line)));
        });
        self.log_subscription = Some(subscription.id);
    }

    fn recent_log(&self) -> RecentLog {
        let lines = self.logger.recent();
        let next = lines.last().map_or(0, |line| line.number + 1);
        RecentLog { lines, next }
    }
}
