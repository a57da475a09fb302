//! What the threads are made of: each actor put together from what all of them share and what is its own.

use crate::agent::channels::{Channels, ToEvents, ToGossip, ToProbe, ToSync};
use crate::agent::clock::Clock;
use crate::agent::control::AgentControl;
use crate::agent::events::{self, EventActor};
use crate::agent::handlers::{self, HandlerSender, HandlerSettings, HandlersHandle};
use crate::agent::mailbox::Parked;
use crate::agent::metrics::ProcessFacts;
use crate::agent::net::backlog::Backlog;
use crate::agent::net::bind::Endpoints;
use crate::agent::net::datagrams::DatagramSender;
use crate::agent::net::gossip::{Depths, GossipActor};
use crate::agent::net::mdns::{self, MdnsError, MdnsSettings};
use crate::agent::net::probe::ProbeActor;
use crate::agent::net::refusals;
use crate::agent::net::stream::StreamOptions;
use crate::agent::net::sync::{SyncActor, SyncParts};
use crate::agent::rpc::RpcSender;
use crate::agent::snapshot::SnapshotSender;
use crate::agent::stats::StatsFacts;
use crate::agent::table::SharedTable;
use crate::agent::thread::Thread;
use crate::config::{AgentConfig, EventScript, KeySource};

use crate::channel::{Receiver, Sender};
use crate::messaging::Gossip;
use crate::messaging::queries::QueryLimits;
use crate::model::Moment;
use crate::node::Conversation;
use crate::node::conversation::ConversationSettings;
use crate::node::heartbeat::Heartbeat;
use crate::node::snapshot::Clocks;
use crate::telemetry::{LoggerHandle, counters};
use crate::wire::envelope::Envelope;
use crate::wire::{Dialect, Shared};
use fastrand::Rng;
use mio::Poll;
use mio::net::{TcpListener, UdpSocket};
use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

/// What all threads share, or have a copy of.
pub(crate) struct Parts<'a> {
    /// The settings.
    pub(crate) config: &'a AgentConfig,
    /// The table.
    pub(crate) table: SharedTable,
    /// To the threads.
    pub(crate) channels: Channels,
    /// Where datagrams go out.
    pub(crate) sender: DatagramSender,
    /// What packets must come in; it holds the keyring.
    pub(crate) envelope: Envelope,
    /// Depths of queues and Lamport times, for statistics.
    pub(crate) depths: Arc<Depths>,
    /// Time.
    pub(crate) clock: Clock,
}

impl Parts<'_> {
    /// The one dialect that is read, if it is only one.
    fn only(&self) -> Option<Dialect> {
        self.config.native_only.then_some(Dialect::Native)
    }

    /// The agent's side of the control protocol.
    pub(crate) fn control(&self, rpc: RpcSender, logger: &LoggerHandle) -> AgentControl {
        let facts = StatsFacts {
            depths: Arc::clone(&self.depths),
            handlers: handlers_shown(self.config),
            encrypted: self.config.keys != KeySource::None,
            process: ProcessFacts::default(),
        };
        let (table, channels) = (self.table.clone(), self.channels.clone());
        AgentControl::new(table, channels, rpc, logger.clone(), facts, self.clock)
    }

    /// Starts `serf-handlers`.
    pub(crate) fn start_handlers(&self) -> io::Result<HandlersHandle> {
        let AgentConfig { event_handlers, handler_timeout, .. } = self.config;
        let settings = HandlerSettings { scripts: event_handlers.clone(), timeout: *handler_timeout };
        let table = self.table.clone();
        let self_member = Box::new(move || table.read().members.my_row().member());
        let events = self.channels.events.clone();
        let answer = Box::new(move |query, answer| {
            if events.send(ToEvents::Handled { query, answer }).is_err() {
                counters::NEWS_DROPPED.inc();
            }
        });
        handlers::spawn(settings, self_member, answer, self.clock)
    }

    /// Starts `serf-events`, which delivers to these.
    pub(crate) fn start_events(
        &self,
        messages: Parked<ToEvents>,
        handlers: HandlerSender,
        rpc: RpcSender,
        snapshot: Option<SnapshotSender>,
        resumed: Clocks,
        rng: Rng,
    ) -> io::Result<Thread> {
        let config = self.config;
        let settings = ConversationSettings {
            user_event_size_limit: config.user_event_size_limit,
            query_limits: QueryLimits {
                query: config.query_size_limit,
                response: config.query_response_size_limit,
            },
            resolve_names: !config.disable_name_resolution,
            keyring: self.envelope.keyring.clone(),
            resumed,
            ceilings: self.table.read().members.config().ceilings,
        };
        let mut conversation = Conversation::new(settings, self.clock.now());
        conversation.set_handlers(events::filters(&config.event_handlers));
        let actor = EventActor {
            conversation,
            table: self.table.clone(),
            messages,
            channels: self.channels.clone(),
            sender: self.sender.clone(),
            handlers,
            rpc,
            snapshot,
            depths: Arc::clone(&self.depths),
            clock: self.clock,
            look_again: Moment::NEVER,
            rng,
        };
        let mailbox = self.channels.events.clone();
        Thread::spawn(move || actor, move || mailbox.wake())
    }

    /// Starts `serf-gossip`.
    pub(crate) fn start_gossip(
        &self,
        messages: Parked<ToGossip>,
        piggyback: Sender<Vec<Shared>>,
        rng: Rng,
    ) -> io::Result<Thread> {
        let actor = GossipActor {
            gossip: Gossip::default(),
            table: self.table.clone(),
            sender: self.sender.clone(),
            messages,
            piggyback,
            channels: self.channels.clone(),
            depths: Arc::clone(&self.depths),
            clock: self.clock,
            rng,
        };
        let mailbox = self.channels.gossip.clone();
        Thread::spawn(move || actor, move || mailbox.wake())
    }

    /// Starts `serf-sync`, whose `poll` has the listener and the waker.
    pub(crate) fn start_sync(
        &self,
        poll: Poll,
        listener: TcpListener,
        messages: Receiver<ToSync>,
        rng: Rng,
    ) -> io::Result<Thread> {
        let (envelope, only, compress) = (self.envelope.clone(), self.only(), self.config.enable_compression);
        let actor = SyncActor::new(SyncParts {
            poll,
            listener,
            table: self.table.clone(),
            messages,
            channels: self.channels.clone(),
            sender: self.sender.clone(),
            options: StreamOptions { envelope, only, compress },
            clock: self.clock,
            rng,
        });
        let mailbox = self.channels.sync.clone();
        Thread::spawn(move || actor, move || mailbox.wake())
    }

    /// Starts `serf-probe`, whose `poll` has the socket and the waker.
    pub(crate) fn start_probe(
        &self,
        poll: Poll,
        socket: Arc<UdpSocket>,
        heartbeat: Heartbeat,
        messages: Receiver<ToProbe>,
        piggyback: Receiver<Vec<Shared>>,
        rng: Rng,
    ) -> io::Result<Thread> {
        let actor = ProbeActor {
            poll,
            socket,
            sender: self.sender.clone(),
            envelope: self.envelope.clone(),
            only: self.only(),
            table: self.table.clone(),
            heartbeat,
            depths: Arc::clone(&self.depths),
            messages,
            piggyback,
            channels: self.channels.clone(),
            clock: self.clock,
            rng,
            complaints: refusals::complaints(),
            backlog: Backlog::default(),
        };
        let mailbox = self.channels.probe.clone();
        Thread::spawn(move || actor, move || mailbox.wake())
    }

    /// Starts `serf-mdns`, if others are to be discovered.
    pub(crate) fn start_mdns(&self, endpoints: &Endpoints) -> Result<Option<Thread>, MdnsError> {
        let config = self.config;
        let Some(cluster) = config.discover.clone() else { return Ok(None) };
        let interface = config.mdns.interface.clone().or_else(|| config.interface.clone());
        if let Some(interface) = &interface {
            log::info!(target: "agent", "Starting mDNS listener on interface {interface}");
        }
        let settings = MdnsSettings {
            cluster,
            node: config.node_name.to_string(),
            addr: endpoints.advertise,
            interface,
            protocols: config.mdns.clone(),
            replay: config.replay_on_join,
        };
        mdns::start(settings, self.table.clone(), self.channels.clone(), self.clock).map(Some)
    }
}

/// The configured handlers as `info` shows them.
pub(crate) fn handlers_shown(config: &AgentConfig) -> BTreeMap<String, String> {
    let keys = |h: &EventScript| h.filter_keys().map(|key| (key, h.script.to_string())).collect::<Vec<_>>();
    config.event_handlers.iter().flat_map(keys).collect()
}
