//! The start: opens what the agent needs of the system, builds the rules, opens the channels, and starts
//! the threads, those that receive before those that send.
//!
//! On an error what runs already ends again, the last thread first.

use super::inbox::Inbox;
use super::keys::Keys;
use super::limits;
use super::parts::Parts;
use super::running::{Running, Threads};
use super::start_error::StartError;
use super::terminal::{banner, say};
use crate::agent::channels::{self, Wakers};
use crate::agent::clock::Clock;
use crate::agent::metrics;
use crate::agent::net::bind::{self, BindError, Endpoints};
use crate::agent::net::datagrams::DatagramSender;
use crate::agent::net::host::Host;
use crate::agent::net::mdns;
use crate::agent::net::probe;
use crate::agent::net::sockets;
use crate::agent::net::sync;
use crate::agent::rpc::{RpcServer, RpcSettings};
use crate::agent::snapshot::{Snapshot, SnapshotHandle};
use crate::agent::table::SharedTable;
use crate::config::AgentConfig;
use crate::membership::{Config, Effects, Members, Origin, SelfDescription};
use crate::model::{Ceilings, LamportTime, Moment, Tags};
use crate::node::Rejoin;
use crate::node::heartbeat::Heartbeat;
use crate::node::table::{Fetch, Outgoing};
use crate::telemetry::LoggerHandle;
use crate::wire::envelope::Envelope;
use fastrand::Rng;
use mio::net::{TcpListener, UdpSocket};
use mio::{Interest, Poll, Waker};
use std::io;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

/// Starts everything, as a member with these tags.
pub(crate) fn start(config: &AgentConfig, tags: Tags, logger: &LoggerHandle) -> Result<Running, StartError> {
    let clock = Clock::start();
    let network = Network::open(config, logger)?;
    let mut rng = Rng::with_seed(entropy().map_err(StartError::system("read random data"))?);
    let (polls, wakers, inbox) = Polls::open(network.tcp, network.udp)?;
    log::info!(target: "agent", "Serf agent starting");
    report(&network.endpoints);
    limits::warnings().iter().for_each(|warning| log::warn!(target: "agent", "{warning}"));

    let open = |path| Snapshot::open(path, config.rejoin_after_leave, &config.node_name.to_lossy());
    let snapshot = config.snapshot_path.as_deref().map(open).transpose();
    let snapshot = snapshot.map_err(StartError::Snapshot)?.flatten();
    let resumed = snapshot.as_ref().map(Snapshot::clocks).unwrap_or_default();
    let previous = snapshot.as_ref().map(Snapshot::previous).unwrap_or_default();
    let me = SelfDescription { name: config.node_name.clone(), addr: network.endpoints.advertise, tags };
    let rules = rules(config, &network.envelope);
    let (table, heartbeat) = membership(rules.clone(), me, resumed.member, clock.now(), &mut rng)?;

    let (channels, ends) = channels::open(wakers);
    let udp = Arc::new(polls.udp);
    let sender = DatagramSender::new(Arc::clone(&udp), rules, network.envelope.clone(), clock);
    let depths = Arc::default();
    let parts = Parts { config, table, channels, sender, envelope: network.envelope, depths, clock };

    let auth_key = config.rpc_auth.clone().unwrap_or_default();
    let server = RpcServer::bind(RpcSettings { listen: config.rpc_addr.clone(), auth_key })
        .map_err(StartError::Rpc)?;
    say(logger, "Starting Serf agent RPC...");

    // From here on in the order that `Threads` gives reasons for.
    let started = StartError::system("start a thread");
    let metrics = metrics::spawn(config, parts.table.clone(), clock).map_err(StartError::Metrics)?;
    let control = parts.control(server.sender(), logger);
    let rpc = server.spawn(Box::new(control), clock).map_err(StartError::Rpc)?;
    let handlers = parts.start_handlers().map_err(StartError::system("start the event handlers"))?;
    let snapshot = snapshot.map(|snapshot| snapshot.spawn(parts.table.clone(), clock)).transpose();
    let snapshot = snapshot.map_err(StartError::system("start the snapshot's thread"))?;
    let to_snapshot = snapshot.as_ref().map(SnapshotHandle::sender);
    let events = parts
        .start_events(ends.events, handlers.sender(), rpc.sender(), to_snapshot, resumed, rng.fork())
        .map_err(&started)?;
    let gossip = parts.start_gossip(ends.gossip, ends.piggyback_in, rng.fork()).map_err(&started)?;
    let sync = parts.start_sync(polls.sync, polls.tcp, ends.sync, rng.fork()).map_err(&started)?;
    let probe = parts
        .start_probe(polls.probe, udp, heartbeat, ends.probe, ends.piggyback_out, rng.fork())
        .map_err(&started)?;
    // What the rules have said about this member when they were built.
    parts
        .channels
        .wake(&Outgoing { gossip: true, events: Fetch::Now, ..Outgoing::default() }, parts.clock.now());
    let seeds = config.start_join.iter().chain(&config.retry_join).cloned().collect();
    parts.channels.keep_seeds(seeds, Origin::Configured);
    let mdns = parts.start_mdns(&network.endpoints).map_err(StartError::Mdns)?;
    let threads = Threads { metrics, rpc, handlers, snapshot, events, gossip, sync, probe, mdns };

    let Parts { table, channels, sender, .. } = parts;
    let me = (&config.node_name, table.read().members.my_row().addr);
    let rejoin = Rejoin::begin(previous, me, &mut rng);
    if let Some(rejoin) = &rejoin {
        channels.rejoin(rejoin);
    }
    say(logger, "Serf agent running!");
    banner(config, &network.endpoints, logger);
    let (keys, messages) = (network.keys, ends.main);
    Ok(Running { table, channels, keys, clock, inbox, messages, rejoin, sender, rng, threads })
}

/// What the agent has of the network.
struct Network {
    endpoints: Endpoints,
    tcp: TcpListener,
    udp: UdpSocket,
    keys: Option<Keys>,
    envelope: Envelope,
}

impl Network {
    /// Loads the keys, decides on addresses and opens the gossip sockets.
    fn open(config: &AgentConfig, logger: &LoggerHandle) -> Result<Network, StartError> {
        let host = Host::look().map_err(|why| StartError::Bind(BindError::List(why)))?;
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
        let (tcp, udp) = sockets::open(&mut endpoints).map_err(StartError::Socket)?;
        Ok(Network { endpoints, tcp, udp, keys, envelope })
    }
}

/// Where the threads wait that have gossip sockets.
struct Polls {
    probe: Poll,
    udp: UdpSocket,
    sync: Poll,
    tcp: TcpListener,
}

impl Polls {
    /// Opens all polls, with their sockets and wakers, and takes over the signals.
    fn open(mut tcp: TcpListener, mut udp: UdpSocket) -> Result<(Polls, Wakers, Inbox), StartError> {
        let poll = || Poll::new().map_err(StartError::system("create a poll"));
        let waker = |poll: &Poll, token| {
            Waker::new(poll.registry(), token).map_err(StartError::system("create a waker"))
        };
        let (probe, sync) = (poll()?, poll()?);
        let (inbox, main) = Inbox::open().map_err(StartError::system("register signals"))?;
        let wakers = Wakers { probe: waker(&probe, probe::WAKER)?, sync: waker(&sync, sync::WAKER)?, main };
        let register = |result: io::Result<()>| result.map_err(StartError::system("poll the sockets"));
        register(probe.registry().register(&mut udp, probe::SOCKET, Interest::READABLE))?;
        register(sync.registry().register(&mut tcp, sync::LISTENER, Interest::READABLE))?;
        Ok((Polls { probe, udp, sync, tcp }, wakers, inbox))
    }
}

/// Logs how the addresses were chosen.
fn report(endpoints: &Endpoints) {
    if let Some(note) = &endpoints.note {
        log::info!(target: "agent", "{note}");
    }
    if let Some(warning) = &endpoints.warning {
        log::warn!(target: "agent", "{warning}");
    }
}

/// The configuration of the rules.
fn rules(config: &AgentConfig, envelope: &Envelope) -> Config {
    let defaults = Config::for_profile(config.profile);
    Config {
        crash_patience: config.crash_patience,
        reconnect_interval: config.reconnect_interval,
        reconnect_timeout: config.reconnect_timeout,
        tombstone_timeout: config.tombstone_timeout,
        validate_names: config.validate_node_names,
        coordinates: !config.disable_coordinates,
        compression: config.enable_compression,
        native_only: config.native_only,
        ceilings: Ceilings::new(unix_time()),
        // What rules pack gets an envelope when it is sent.
        datagram_budget: defaults.datagram_budget - envelope.datagram_overhead(),
        ..defaults
    }
}

/// A table with this member alone, and what probes the others.
fn membership(
    rules: Config,
    me: SelfDescription,
    resumed: LamportTime,
    now: Moment,
    rng: &mut Rng,
) -> Result<(SharedTable, Heartbeat), StartError> {
    let mut fx = Effects::default();
    let mut members = Members::new(rules, me, now, &mut fx).map_err(StartError::Tags)?;
    members.resume(resumed, now);
    let heartbeat = Heartbeat::new(&members, now, rng);
    let table = SharedTable::new(members);
    table.write().post(fx, None);
    Ok((table, heartbeat))
}

/// What the wall clock says, in seconds; nothing if it stands before 1970.
fn unix_time() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs())
}

fn entropy() -> io::Result<u64> {
    getrandom::u64().map_err(io::Error::other)
}
