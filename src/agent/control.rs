//! What control connections can ask of the agent: the agent's side of the control protocol.

use super::channels::{Channels, JoinRequest, JoinResult, ToEvents, ToMain, ToProbe, ToSync};
use super::clock::Clock;
use super::metrics::process_levels;
use super::rpc::{Busy, Control, RecentLog, RpcMessage, RpcSender};
use super::table::SharedTable;
use crate::agent::net::gossip::Depths;
use crate::membership::{Effects, Row};
use crate::messaging::filter::EventFilter;
use crate::messaging::keys::{KeyCommand, KeyStep};
use crate::model::{Member, NodeName, Text, Token};
use crate::rpc::record::*;
use crate::rpc::{KeyedAnswer, LaterRequest, NowRequest, RpcReply};
use crate::telemetry::{LoggerHandle, SubscriberId, counters};
use log::LevelFilter;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Answers requests from the table, or hands them to the thread that can.
pub(super) struct AgentControl {
    table: SharedTable,
    channels: Channels,
    rpc: RpcSender,
    logger: LoggerHandle,
    log_subscription: Option<SubscriberId>,
    depths: Arc<Depths>,
    /// Handlers as `stats` shows them: filter to script.
    handlers: BTreeMap<String, String>,
    encrypted: bool,
    clock: Clock,
}

impl AgentControl {
    /// Puts the parts together.
    pub(super) fn new(
        table: SharedTable,
        channels: Channels,
        rpc: RpcSender,
        logger: LoggerHandle,
        depths: Arc<Depths>,
        handlers: BTreeMap<String, String>,
        clock: Clock,
    ) -> Self {
        let (log_subscription, encrypted) = (None, false);
        AgentControl { table, channels, rpc, logger, log_subscription, depths, handlers, encrypted, clock }
    }

    /// Whether gossip is encrypted, for `stats`.
    pub(super) fn encrypted(mut self, encrypted: bool) -> Self {
        self.encrypted = encrypted;
        self
    }

    fn serf_stats(&self) -> BTreeMap<Text, Text> {
        let table = self.table.read();
        let members = &table.members;
        let depth = |n: &std::sync::atomic::AtomicUsize| n.load(Ordering::Relaxed).to_string();
        let mut stats = texts([
            ("members", members.len().to_string()),
            ("failed", members.failed().to_string()),
            ("left", members.left().to_string()),
            ("health_score", members.awareness().score().to_string()),
            ("member_time", members.time().to_string()),
            ("event_time", depth(&self.depths.event_time)),
            ("query_time", depth(&self.depths.query_time)),
            ("intent_queue", depth(&self.depths.intents)),
            ("event_queue", depth(&self.depths.events)),
            ("query_queue", depth(&self.depths.queries)),
            ("encrypted", self.encrypted.to_string()),
        ]);
        if let Some(resets) = members.coordinate_resets() {
            stats.insert("coordinate_resets".into(), resets.to_string().into());
        }
        stats
    }

    /// What Serf does not have. No key ends in one of Serf's, so that `grep 'members = '` finds one line.
    fn native_stats(&self) -> BTreeMap<Text, Text> {
        let table = self.table.read();
        let members = &table.members;
        let speaking = |native| {
            let speaks = |row: &&Row| row.is_present() && row.versions.speaks_native() == native;
            members.rows().filter(speaks).count().to_string()
        };
        let (threads, resident) = process_levels();
        texts([
            ("incarnation", members.my_row().incarnation.to_string()),
            ("membership_queue", self.depths.membership.load(Ordering::Relaxed).to_string()),
            ("resident_bytes", resident.to_string()),
            ("speaking_hashicorp", speaking(false)),
            ("speaking_native", speaking(true)),
            ("threads", threads.to_string()),
        ])
    }

    fn stats(&self) -> Stats {
        let me = self.table.read().members.my_row().member();
        let counted = counters::ALL.iter().filter(|c| c.value() > 0);
        let groups = [
            ("agent", [("name".into(), (&me.name).into())].into()),
            ("runtime", runtime_stats()),
            ("serf", self.serf_stats()),
            ("tags", me.tags.0),
            (
                "event_handlers",
                self.handlers.iter().map(|(k, v)| (k.as_str().into(), v.as_str().into())).collect(),
            ),
            ("native", self.native_stats()),
            (
                "counters",
                counted
                    .map(|c| (format!("{}_total", c.name()).into(), c.value().to_string().into()))
                    .collect(),
            ),
            ("probe_trouble", self.reachability()),
        ];
        groups.into_iter().map(|(name, group)| (name.to_string(), group)).collect()
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
        self.channels.wake(out.gossip, out.events);
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

    /// Members whose datagrams or streams do not come through as they should, with the counts.
    fn reachability(&self) -> BTreeMap<Text, Text> {
        let table = self.table.read();
        let troubled = |row: &&Row| row.probes.udp_failed > 0 || row.probes.tcp_failed > 0;
        let show = |row: &Row| {
            let p = row.probes;
            let text = format!(
                "udp {} ok, {} failed; tcp {} ok, {} failed",
                p.udp_ok, p.udp_failed, p.tcp_ok, p.tcp_failed
            );
            (Text::from(&row.name), text.into())
        };
        table.members.rows().filter(troubled).map(show).collect()
    }
}

fn listed(members: &[Member]) -> MembersResponse {
    MembersResponse { members: members.iter().map(MemberInfo::from).collect() }
}

fn texts<const N: usize>(pairs: [(&str, String); N]) -> BTreeMap<Text, Text> {
    pairs.into_iter().map(|(key, value)| (key.into(), value.into())).collect()
}

fn runtime_stats() -> BTreeMap<Text, Text> {
    let cpus = std::thread::available_parallelism().map_or(1, usize::from);
    let (threads, _) = process_levels();
    texts([
        ("arch", go_arch(std::env::consts::ARCH).to_string()),
        ("os", std::env::consts::OS.to_string()),
        ("cpu_count", cpus.to_string()),
        // Serf runs on Go; what comes closest to its goroutines and processors are our threads.
        ("goroutines", threads.to_string()),
        ("max_procs", cpus.to_string()),
        ("version", env!("CARGO_PKG_VERSION").to_string()),
    ])
}

/// The name that Serf, built with Go, has for a processor.
fn go_arch(arch: &'static str) -> &'static str {
    match arch {
        "x86_64" => "amd64",
        "x86" => "386",
        "aarch64" => "arm64",
        "powerpc64" => "ppc64",
        "loongarch64" => "loong64",
        other => other,
    }
}

impl Control for AgentControl {
    fn answer(&mut self, request: NowRequest) -> RpcReply {
        match request {
            NowRequest::Members(MembersCall) => {
                RpcReply::with::<MembersCall>(&listed(&self.table.read().members.members()))
            }
            NowRequest::MembersFiltered(filter) => {
                let mut members = self.table.read().members.members();
                members.retain(|member| filter.matches(member));
                RpcReply::with::<MembersFilteredCall>(&listed(&members))
            }
            NowRequest::Stats(StatsCall) => RpcReply::with::<StatsCall>(&self.stats()),
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
        self.handlers = handlers;
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
