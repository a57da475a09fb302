//! Start and stop: opens the sockets, lays out the corridors, starts the threads in an order in
//! which nobody misses anyone, and ends them in the opposite one.

use super::backlog;
use super::bind::{self, Endpoints};
use super::channels::{self, Corridors, ToEvents, ToGossip, ToMain, ToProbe, ToSync, Wakers};
use super::clock::Clock;
use super::control::AgentControl;
use super::datagrams::DatagramSender;
use super::events::{EventActor, EventParts};
use super::gossip::{Depths, GossipActor};
use super::handlers::{self, HandlerSettings, HandlersHandle};
use super::keys::{Keys, KeysError};
use super::mdns::{self, MdnsError, MdnsHandle, MdnsSettings};
use super::metrics::{self, MetricsHandle};
use super::probe::{self, ProbeActor};
use super::refusals;
use super::rejoin::Rejoin;
use super::rpc::{RpcError, RpcHandle, RpcServer, RpcSettings};
use super::signals::Signals;
use super::snapshot::{Snapshot, SnapshotError, SnapshotHandle};
use super::stream::Manner;
use super::sync::{self, SyncActor, SyncParts};
use super::table::SharedTable;
use super::{say, say_indented};
use crate::config::{AgentConfig, EventScript, KeySource};
use crate::membership::{Config, Effects, Members, Origin, Prober, SelfDescription};
use crate::messaging::Gossip;
use crate::messaging::queries::QueryLimits;
use crate::model::{Tags, TagsError};
use crate::telemetry::{LoggerHandle, counters};
use crate::wire::Dialect;
use crate::wire::envelope::Envelope;
use crossbeam_channel::Receiver;
use fastrand::Rng;
use mio::net::{TcpListener, UdpSocket};
use mio::{Events, Interest, Poll, Token, Waker};
use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// Token of the main thread's waker; its signals' tokens follow.
const MAIN_WAKER: usize = 0;

/// Why the agent did not start.
#[derive(Debug)]
pub enum StartError {
    /// No address to bind or advertise was found.
    Bind(bind::BindError),
    /// A gossip socket cannot be bound.
    Socket {
        /// UDP or TCP.
        what: &'static str,
        /// The address that was tried.
        addr: SocketAddr,
        /// What the kernel says.
        why: io::Error,
    },
    /// The snapshot cannot be used.
    Snapshot(SnapshotError),
    /// The RPC listener cannot be started.
    Rpc(RpcError),
    /// Metrics cannot be served.
    Metrics(io::Error),
    /// The tags do not fit.
    Tags(TagsError),
    /// The keyring cannot be loaded.
    Keys(KeysError),
    /// Discovery cannot be started.
    Mdns(MdnsError),
    /// The system refuses something every process needs.
    System(&'static str, io::Error),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StartError::Bind(e) => write!(f, "{e}"),
            StartError::Socket { what, addr, why } => {
                write!(f, "Failed to start {what} listener on {addr}: {}", plain(why))
            }
            StartError::Snapshot(e) => write!(f, "{e}"),
            StartError::Rpc(e) => write!(f, "Error starting RPC listener: {e}"),
            StartError::Metrics(e) => write!(f, "Failed to start the metrics: {e}"),
            StartError::Tags(e) => write!(f, "{e}"),
            StartError::Keys(e) => write!(f, "{e}"),
            StartError::Mdns(e) => write!(f, "{e}"),
            StartError::System(what, why) => write!(f, "Failed to {what}: {why}"),
        }
    }
}

impl std::error::Error for StartError {}

/// The two errors that people run into, in words; any other as the system puts it.
fn plain(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => "the address is in use already (is another agent running?)".into(),
        io::ErrorKind::AddrNotAvailable => "this host has no such address".into(),
        _ => error.to_string(),
    }
}

/// A running agent, seen from the main thread.
pub struct Running {
    /// The table.
    pub table: SharedTable,
    /// To the threads.
    pub corridors: Corridors,
    /// To `serf-rpc`.
    pub rpc: RpcHandle,
    /// Where the last datagrams go out.
    sender: DatagramSender,
    /// The main thread's own random source.
    rng: Rng,
    /// The keys, which the main thread alone changes; none without encryption.
    pub keys: Option<Keys>,
    /// Time.
    pub clock: Clock,
    /// Signals.
    pub signals: Signals,
    /// What the threads say to the main thread.
    pub messages: Receiver<ToMain>,
    /// Where the main thread waits.
    pub poll: Poll,
    /// What its poll brings.
    pub poll_events: Events,
    /// The attempt to rejoin members of the snapshot, while it lasts.
    pub rejoin: Option<Rejoin>,
    /// To `serf-snapshot`, if a snapshot is kept.
    pub snapshot: Option<SnapshotHandle>,
    threads: Vec<JoinHandle<()>>,
    /// The event handlers.
    pub handlers: HandlersHandle,
    mdns: Option<MdnsHandle>,
    metrics: Option<MetricsHandle>,
}

/// Starts everything, as a member with these tags. On an error nothing keeps running.
pub fn start(config: &AgentConfig, tags: Tags, logger: &LoggerHandle) -> Result<Running, StartError> {
    let system = |what| move |why| StartError::System(what, why);
    let clock = Clock::start();
    let host = bind::Host::look().map_err(StartError::Bind)?;
    mdns::check(config.discover.as_deref(), config.mdns.interface.as_ref(), &host.interfaces)
        .map_err(StartError::Mdns)?;
    let keys = Keys::load(&config.keys).map_err(StartError::Keys)?;
    let envelope = Envelope {
        label: config.label.clone(),
        keyring: keys.as_ref().map(|keys| keys.ring().clone()),
        verify_incoming: config.encrypt_verify_incoming,
        verify_outgoing: config.encrypt_verify_outgoing,
    };
    let mut endpoints = bind::decide(&host, config.bind, config.interface.as_deref(), config.advertise)
        .map_err(StartError::Bind)?;
    if let Some(line) = &endpoints.announce {
        say(logger, line);
    }
    let (tcp, udp) = open_sockets(&mut endpoints)?;
    let mut rng = Rng::with_seed(entropy().map_err(system("read random data"))?);

    let poll = Poll::new().map_err(system("create a poll"))?;
    let probe_poll = Poll::new().map_err(system("create a poll"))?;
    let sync_poll = Poll::new().map_err(system("create a poll"))?;
    let waker = |poll: &Poll, token| Waker::new(poll.registry(), token).map_err(system("create a waker"));
    let wakers = Wakers {
        probe: waker(&probe_poll, probe::WAKER)?,
        sync: waker(&sync_poll, sync::WAKER)?,
        main: waker(&poll, Token(MAIN_WAKER))?,
    };
    let signals = Signals::register(poll.registry(), MAIN_WAKER + 1).map_err(system("register signals"))?;
    let (mut tcp, mut udp) = (tcp, udp);
    probe_poll
        .registry()
        .register(&mut udp, probe::SOCKET, Interest::READABLE)
        .and_then(|()| sync_poll.registry().register(&mut tcp, sync::LISTENER, Interest::READABLE))
        .map_err(system("poll the sockets"))?;

    log::info!(target: "agent", "Serf agent starting");
    if let Some(note) = &endpoints.note {
        log::info!(target: "agent", "{note}");
    }
    if let Some(warning) = &endpoints.warning {
        log::warn!(target: "agent", "{warning}");
    }
    let snapshot =
        config.snapshot_path.as_deref().map(|path| Snapshot::open(path, config.rejoin_after_leave));
    let snapshot = snapshot.transpose().map_err(StartError::Snapshot)?;
    let resumed = snapshot.as_ref().map(Snapshot::clocks).unwrap_or_default();
    let previous = snapshot.as_ref().map(Snapshot::previous).unwrap_or_default();
    let mut fx = Effects::default();
    let me = SelfDescription { name: config.node_name.clone(), addr: endpoints.advertise, tags };
    let defaults = Config::for_profile(config.profile);
    let rules = Config {
        reconnect_interval: config.reconnect_interval,
        reconnect_timeout: config.reconnect_timeout,
        tombstone_timeout: config.tombstone_timeout,
        validate_names: config.validate_node_names,
        coordinates: !config.disable_coordinates,
        compression: config.enable_compression,
        native_only: config.native_only,
        // What rules pack gets an envelope when it is sent.
        datagram_budget: defaults.datagram_budget - envelope.datagram_overhead(),
        ..defaults
    };
    let now = clock.now();
    let mut members = Members::new(rules, me, now, &mut fx).map_err(StartError::Tags)?;
    members.resume(resumed.member);
    let prober = Prober::new(&members, now, &mut rng);
    let rules = members.config().clone();
    let table = SharedTable::new(members);
    table.write().post(fx, None);
    let (corridors, ends) = channels::open(wakers);

    let depths = Arc::new(Depths::default());
    let auth_key = config.rpc_auth.clone().unwrap_or_default();
    let server = RpcServer::bind(RpcSettings { listen: config.rpc_addr.clone(), auth_key })
        .map_err(StartError::Rpc)?;
    let to_rpc = server.sender();
    let control = AgentControl::new(
        table.clone(),
        corridors.clone(),
        server.sender(),
        logger.clone(),
        Arc::clone(&depths),
        handlers_shown(config),
        clock,
    )
    .encrypted(config.keys != KeySource::None);
    say(logger, "Starting Serf agent RPC...");

    let only = config.native_only.then_some(Dialect::Native);
    let udp = Arc::new(udp);
    let sender = DatagramSender::new(Arc::clone(&udp), rules, envelope.clone(), clock);
    let probe = ProbeActor {
        poll: probe_poll,
        socket: udp,
        sender: sender.clone(),
        envelope: envelope.clone(),
        only,
        table: table.clone(),
        prober,
        messages: ends.probe,
        riders: ends.riders_out,
        corridors: corridors.clone(),
        clock,
        rng: rng.fork(),
        complaints: refusals::complaints(),
    };
    let (events_sender, events_depths) = (sender.clone(), Arc::clone(&depths));
    let (sync_sender, last_sender) = (sender.clone(), sender.clone());
    let gossip = GossipActor {
        gossip: Gossip::default(),
        table: table.clone(),
        sender,
        messages: ends.gossip,
        riders: ends.riders_in,
        corridors: corridors.clone(),
        depths,
        clock,
        rng: rng.fork(),
    };
    let sync = SyncActor::new(SyncParts {
        poll: sync_poll,
        listener: tcp,
        table: table.clone(),
        messages: ends.sync,
        corridors: corridors.clone(),
        sender: sync_sender,
        manner: Manner { envelope, only, compress: config.enable_compression },
        clock,
        rng: rng.fork(),
    });
    let snapshot = snapshot.map(|snapshot| snapshot.spawn(table.clone(), clock));
    let snapshot = snapshot.transpose().map_err(system("start the snapshot's thread"))?;
    let metrics = metrics::spawn(config, table.clone(), clock).map_err(StartError::Metrics)?;
    let handlers =
        start_handlers(config, &table, &corridors, clock).map_err(system("start the event handlers"))?;
    let events = EventActor::new(EventParts {
        table: table.clone(),
        messages: ends.events,
        corridors: corridors.clone(),
        sender: events_sender,
        handlers: handlers.sender(),
        scripts: config.event_handlers.clone(),
        user_event_size_limit: config.user_event_size_limit,
        query_limits: QueryLimits {
            query: config.query_size_limit,
            response: config.query_response_size_limit,
        },
        resolve_names: !config.disable_name_resolution,
        keyring: keys.as_ref().map(|keys| keys.ring().clone()),
        rpc: to_rpc,
        snapshot: snapshot.as_ref().map(SnapshotHandle::sender),
        resumed,
        depths: events_depths,
        clock,
        rng: rng.fork(),
    });
    let threads = [
        spawn("serf-events", move || events.run()),
        spawn("serf-gossip", move || gossip.run()),
        spawn("serf-sync", move || sync.run()),
        spawn("serf-probe", move || probe.run()),
    ];
    let threads = threads.into_iter().collect::<io::Result<_>>().map_err(system("start a thread"))?;
    corridors.ring(true, true);
    let seeds = config.start_join.iter().chain(&config.retry_join).cloned().collect();
    corridors.keep_seeds(seeds, Origin::Configured);
    let mdns = start_mdns(config, &endpoints, &table, &corridors, clock).map_err(StartError::Mdns)?;
    // Last, so that whoever reaches the control port finds a running agent.
    let rpc = server.spawn(Box::new(control), clock).map_err(StartError::Rpc)?;

    let me = table.read().members.my_row().target();
    let rejoin = Rejoin::begin(previous, (&config.node_name, me.addr), &corridors, &mut rng);

    say(logger, "Serf agent running!");
    banner(config, &endpoints, logger);
    Ok(Running {
        table,
        corridors,
        rpc,
        sender: last_sender,
        rng,
        keys,
        clock,
        signals,
        messages: ends.main,
        poll,
        poll_events: Events::with_capacity(8),
        rejoin,
        snapshot,
        threads,
        handlers,
        mdns,
        metrics,
    })
}

/// The configured handlers as `info` shows them.
pub(super) fn handlers_shown(config: &AgentConfig) -> BTreeMap<String, String> {
    let keys = |h: &EventScript| h.filter_keys().map(|key| (key, h.script.clone())).collect::<Vec<_>>();
    config.event_handlers.iter().flat_map(keys).collect()
}

fn start_handlers(
    config: &AgentConfig,
    table: &SharedTable,
    corridors: &Corridors,
    clock: Clock,
) -> io::Result<HandlersHandle> {
    let settings =
        HandlerSettings { scripts: config.event_handlers.clone(), timeout: config.handler_timeout };
    let table = table.clone();
    let self_member = Box::new(move || table.read().members.my_row().member());
    let events = corridors.events.clone();
    let answer = Box::new(move |query, answer| {
        if events.try_send(ToEvents::Handled { query, answer }).is_err() {
            counters::NEWS_DROPPED.inc();
        }
    });
    handlers::spawn(settings, self_member, answer, clock)
}

fn start_mdns(
    config: &AgentConfig,
    endpoints: &Endpoints,
    table: &SharedTable,
    corridors: &Corridors,
    clock: Clock,
) -> Result<Option<MdnsHandle>, MdnsError> {
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
    mdns::start(settings, table.clone(), corridors.clone(), clock).map(Some)
}

fn banner(config: &AgentConfig, endpoints: &Endpoints, logger: &LoggerHandle) {
    let line = |text: &str| say_indented(logger, text);
    line(&format!("                  Node name: '{}'", config.node_name));
    line(&format!("                  Bind addr: '{}'", endpoints.bind));
    if config.advertise.is_some() {
        line(&format!("             Advertise addr: '{}'", endpoints.advertise));
    }
    line(&format!("                   RPC addr: '{}'", config.rpc_addr));
    line(&format!("                  Encrypted: {}", config.keys != KeySource::None));
    line(&format!("                   Snapshot: {}", config.snapshot_path.is_some()));
    line(&format!("                    Profile: {}", config.profile.as_str()));
    line(&format!("Message Compression Enabled: {}", config.enable_compression));
    if let Some(cluster) = &config.discover {
        line(&format!("               mDNS cluster: {cluster}"));
    }
}

/// Opens both gossip sockets on one port. With port 0 the kernel chooses for TCP, and UDP follows.
fn open_sockets(endpoints: &mut Endpoints) -> Result<(TcpListener, UdpSocket), StartError> {
    let addr = endpoints.bind;
    let tcp = TcpListener::bind(addr).map_err(|why| StartError::Socket { what: "TCP", addr, why })?;
    backlog::widen(&tcp);
    let addr = tcp.local_addr().unwrap_or(addr);
    endpoints.bind = addr;
    if endpoints.advertise.port() == 0 {
        endpoints.advertise.set_port(addr.port());
    }
    let udp = UdpSocket::bind(addr).map_err(|why| StartError::Socket { what: "UDP", addr, why })?;
    Ok((tcp, udp))
}

fn entropy() -> io::Result<u64> {
    getrandom::u64().map_err(io::Error::other)
}

/// Starts a thread that `ps -T` shows under this name.
pub(super) fn spawn(name: &str, f: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
    thread::Builder::new().name(name.to_string()).spawn(f)
}

impl Running {
    /// Changes this member's tags and tells the cluster.
    pub fn set_tags(&self, tags: Tags) -> Result<(), TagsError> {
        let mut fx = Effects::default();
        let out = {
            let mut table = self.table.write();
            table.members.set_tags(tags, self.clock.now(), &mut fx)?;
            table.post(fx, None)
        };
        self.corridors.ring(out.gossip, out.events);
        Ok(())
    }

    /// Says that this process ends without leaving. It is said before anything else ends, so that
    /// it is known everywhere when a successor starts.
    pub fn part(&mut self) {
        let mut fx = Effects::default();
        let out = {
            let mut table = self.table.write();
            table.members.part(self.clock.now(), &mut self.rng, &mut fx);
            table.post(fx, None)
        };
        for transmit in &out.transmits {
            // Who does not hear it takes what comes next for one of ours, until it says otherwise.
            let _ = self.sender.transmit(transmit, &[]);
        }
        self.corridors.ring(out.gossip, out.events);
    }

    /// Ends the threads, the nosiest first: control connections get what is due to them, then
    /// gossip ends, then events are told to the last, then scripts are ended.
    pub fn stop(self) {
        const PATIENCE: Duration = Duration::from_secs(1);
        log::info!(target: "agent", "requesting serf shutdown");
        // First: nobody is to find this agent any more, nor is it to join anybody.
        if let Some(mdns) = self.mdns {
            mdns.stop();
        }
        self.corridors.probe.insist(ToProbe::Stop, PATIENCE);
        self.corridors.sync.insist(ToSync::Stop, PATIENCE);
        // A closed corridor means that the thread has ended already.
        let _ = self.corridors.gossip.send_timeout(ToGossip::Stop, PATIENCE);
        let _ = self.corridors.events.send_timeout(ToEvents::Stop, PATIENCE);
        for thread in self.threads {
            // A panic has aborted the process before it gets here.
            let _ = thread.join();
        }
        // Everything has been told; what is worth keeping is kept.
        if let Some(snapshot) = self.snapshot {
            snapshot.stop();
        }
        // Scripts that run are ended.
        self.handlers.stop();
        self.rpc.stop();
        if let Some(metrics) = self.metrics {
            metrics.stop(PATIENCE);
        }
        log::info!(target: "agent", "shutdown complete");
    }
}
