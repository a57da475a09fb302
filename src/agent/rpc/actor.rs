//! The thread, seen from inside: one loop that waits, takes messages, accepts and serves.

use super::control::{Control, RpcMessage};
use super::dispatch::Dispatcher;
use super::lanes::{RpcReceiver, RpcSender};
use super::session::Session;
use super::socket::{Listener, SessionSocket};
use crate::agent::clock::Clock;
use crate::agent::thread::{Actor, Stop, wait};
use crate::model::Moment;
use crate::rpc::{Connection, Phase, StreamedEvent};
use crate::telemetry::{RateLimit, counters};
use mio::{Events, Poll};
use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

/// The mio token of the listener.
pub(super) const LISTENER: mio::Token = mio::Token(0);
/// The mio token of the waker.
pub(super) const WAKER: mio::Token = mio::Token(1);
/// Clients that are served at a time.
pub(super) const MAX_CLIENTS: usize = 128;
/// Clients beyond those that have not authenticated yet, where a token is asked for. For the next one another makes room,
/// so that those that never do keep out no client that has the token.
const MAX_UNPROVEN_CLIENTS: usize = 32;
/// The most memory that is taken for all clients together, for requests that are not complete and for what they
/// have not read, in bytes. Beyond it, the one for which most is taken is closed.
pub(crate) const MAX_HELD: usize = 3584 * 1024;
/// Clients beyond [`MAX_CLIENTS`] that are heard for long enough to learn why they are not served;
/// further ones are dropped silently.
const MAX_REFUSED_CLIENTS: usize = 16;
/// For the last replies to be written when the thread is stopped.
const STOP_TIMEOUT: Duration = Duration::from_secs(1);
/// Wait after accepting failed, mostly for want of file descriptors.
const ACCEPT_RETRY: Duration = Duration::from_secs(1);
/// Accepted in a row before clients are served.
const ACCEPT_BATCH: usize = 32;
/// Messages of the agent taken in a row before clients are served.
const MESSAGE_BATCH: usize = 256;
/// Bytes read from a socket at once.
const CHUNK: usize = 16 * 1024;

/// Connections are numbered from here; their number is also their mio token.
const FIRST_CLIENT: u64 = 2;
/// Between two lines about messages that found no room.
const COMPLAINT_INTERVAL: Duration = Duration::from_secs(1);

/// What the thread is made of.
pub(super) struct RpcParts {
    pub(super) poll: Poll,
    pub(super) listener: Listener,
    pub(super) sender: RpcSender,
    pub(super) receiver: RpcReceiver,
    pub(super) auth_key: String,
    pub(super) control: Box<dyn Control>,
    pub(super) clock: Clock,
}

/// The thread, seen from inside.
pub(super) struct RpcActor {
    poll: Poll,
    listener: Listener,
    sender: RpcSender,
    receiver: RpcReceiver,
    auth_key: Arc<str>,
    clients: BTreeMap<u64, Session>,
    next_client: u64,
    /// When to accept; `NEVER` while the listener has nothing.
    accept_from: Moment,
    dispatcher: Dispatcher,
    /// Streams that ended because their clients did not read, in total.
    ended_streams: u64,
    /// Messages that found no room and that no line of the log has reported yet.
    refused: u64,
    complained: Option<Moment>,
    /// About clients that are closed so that others have room.
    complaints: RateLimit<()>,
    clock: Clock,
}

impl Actor for RpcActor {
    const NAME: &'static str = "serf-rpc";
    /// A little more than clients have to read their last replies.
    const PATIENCE: Duration = STOP_TIMEOUT.saturating_mul(2);

    /// Runs, delivers what is queued, and closes everything.
    fn run(mut self, stop: &Stop) {
        let mut events = Events::with_capacity(MAX_CLIENTS + MAX_UNPROVEN_CLIENTS + MAX_REFUSED_CLIENTS);
        let mut chunk = vec![0; CHUNK];
        let mut busy = false;
        loop {
            let timeout = if busy { Some(Duration::ZERO) } else { self.until_deadline() };
            if !self.wait(&mut events, timeout) {
                return;
            }
            if stop.is_raised() {
                self.take_messages(self.receiver.waiting());
                return self.drain(&mut events, &mut chunk);
            }
            let more = self.take_messages(MESSAGE_BATCH);
            let accepting = self.accept();
            let serving = self.serve(&mut chunk);
            self.dispatcher.narrow_log(self.clients.values().filter_map(Session::monitor_level).max());
            busy = accepting || serving || more;
        }
    }
}

impl RpcActor {
    pub(super) fn new(parts: RpcParts) -> RpcActor {
        RpcActor {
            poll: parts.poll,
            listener: parts.listener,
            dispatcher: Dispatcher::new(parts.control, parts.sender.clone()),
            sender: parts.sender,
            receiver: parts.receiver,
            auth_key: parts.auth_key.into(),
            clients: BTreeMap::new(),
            next_client: FIRST_CLIENT,
            accept_from: Moment::NEVER,
            ended_streams: 0,
            refused: 0,
            complained: None,
            complaints: RateLimit::new(3, Duration::from_secs(60)),
            clock: parts.clock,
        }
    }

    fn now(&self) -> Moment {
        self.clock.now()
    }

    /// Waits for sockets, the waker or the timeout, and notes which sockets are ready.
    fn wait(&mut self, events: &mut Events, timeout: Option<Duration>) -> bool {
        if !wait(Self::NAME, &mut self.poll, events, timeout) {
            return false;
        }
        for event in events.iter() {
            match event.token() {
                LISTENER => self.accept_from = Moment::ZERO,
                WAKER => {}
                mio::Token(id) => {
                    if let Some(client) = self.clients.get_mut(&(id as u64)) {
                        client.note(event);
                    }
                }
            }
        }
        true
    }

    fn until_deadline(&self) -> Option<Duration> {
        let deadline = self.clients.values().map(Session::deadline).fold(self.accept_from, Moment::min);
        self.clock.until(deadline)
    }

    /// Takes up to `limit` messages. Returns whether there may be more.
    fn take_messages(&mut self, limit: usize) -> bool {
        let now = self.now();
        self.receiver.begin();
        self.complain_of_refused(now);
        for _ in 0..limit {
            let Some(message) = self.receiver.next() else { return false };
            self.take(message, now);
        }
        true
    }

    fn take(&mut self, message: RpcMessage, now: Moment) {
        match message {
            RpcMessage::Reply { token, reply } => {
                // A client that has gone needs no reply.
                if let Some(client) = self.clients.get_mut(&token.connection) {
                    client.connection.reply(token, &reply);
                }
            }
            RpcMessage::Event(event) => {
                let mut event = StreamedEvent::new(&event);
                for client in self.clients.values_mut() {
                    client.flush(now);
                    client.connection.deliver(&mut event, now);
                    self.sender.count_dropped(client.connection.take_dropped_records());
                }
                self.bound_held(now);
            }
            RpcMessage::QueryProgress { token, progress } => match self.clients.get_mut(&token.connection) {
                Some(client) => {
                    client.flush(now);
                    client.connection.query_progress(token.seq, &progress, now);
                    // Before the client can read what comes next, so that no loss shows late.
                    self.sender.count_dropped(client.connection.take_dropped_records());
                }
                None => self.sender.count_dropped(1),
            },
            RpcMessage::Log(line) => {
                for client in self.clients.values_mut() {
                    client.flush(now);
                    client.connection.log_line(line.number, &line);
                    self.sender.count_dropped(client.connection.take_dropped_records());
                }
                self.bound_held(now);
            }
            RpcMessage::AuthKey(key) => self.auth_key = key.into(),
            RpcMessage::Handlers(handlers) => self.dispatcher.handlers_changed(handlers),
        }
    }

    /// Says how many messages found no room, but not for each of a flood.
    fn complain_of_refused(&mut self, now: Moment) {
        self.refused += self.receiver.take_refused();
        if self.refused > 0 && self.complained.is_none_or(|at| now.since(at) >= COMPLAINT_INTERVAL) {
            log::warn!(
                target: "agent.ipc", "Dropped {} events and log lines: too many at once", self.refused
            );
            self.refused = 0;
            self.complained = Some(now);
        }
    }

    /// Accepts the clients that wait. Returns whether more may be waiting.
    fn accept(&mut self) -> bool {
        let now = self.now();
        if now < self.accept_from {
            return false;
        }
        for _ in 0..ACCEPT_BATCH {
            match self.listener.accept() {
                Ok((socket, peer)) => self.admit(socket, peer, now),
                Err(e) => match e.kind() {
                    io::ErrorKind::WouldBlock => {
                        self.accept_from = Moment::NEVER;
                        return false;
                    }
                    io::ErrorKind::Interrupted | io::ErrorKind::ConnectionAborted => {}
                    _ => {
                        log::error!(target: "agent.ipc", "Failed to accept client: {e}");
                        self.accept_from = now + ACCEPT_RETRY;
                        return false;
                    }
                },
            }
        }
        true
    }

    fn admit(&mut self, mut socket: SessionSocket, peer: String, now: Moment) {
        self.make_room_for_unproven();
        if self.clients.len() >= MAX_CLIENTS + MAX_UNPROVEN_CLIENTS + MAX_REFUSED_CLIENTS {
            return;
        }
        let is_served = |c: &&Session| c.connection.is_served() && c.connection.is_authenticated();
        let served = self.clients.values().filter(is_served).count();
        let id = self.next_client;
        let Ok(token) = usize::try_from(id) else { return };
        self.next_client += 1;
        if let Err(e) = socket.register(self.poll.registry(), mio::Token(token)) {
            log::error!(target: "agent.ipc", "Failed to accept client: {peer}: {e}");
            return;
        }
        let mut connection = Connection::new(id, Arc::clone(&self.auth_key), now);
        if served >= MAX_CLIENTS {
            counters::RPC_REFUSED.inc();
            log::warn!(target: "agent.ipc", "Refused client: {peer}: {MAX_CLIENTS} are connected");
            connection.turn_away(format!("Too many clients (limit is {MAX_CLIENTS})"));
        } else {
            counters::RPC_ACCEPTED.inc();
            log::info!(target: "agent.ipc", "Accepted client: {peer}");
        }
        self.clients.insert(id, Session::new(socket, peer, connection));
    }

    /// Of too many that have not authenticated, one is dropped: the first that has said nothing, else the oldest.
    fn make_room_for_unproven(&mut self) {
        let unproven = || {
            let clients = self.clients.iter();
            clients.filter(|(_, c)| c.connection.is_served() && !c.connection.is_authenticated())
        };
        if unproven().count() < MAX_UNPROVEN_CLIENTS {
            return;
        }
        let silent = unproven().find(|(_, c)| !c.connection.is_handshaken());
        let Some(id) = silent.or_else(|| unproven().next()).map(|(id, _)| *id) else { return };
        if let Some(client) = self.clients.remove(&id) {
            counters::RPC_REFUSED.inc();
            log::debug!(target: "agent.ipc", "Dropped client: {}: it has not authenticated", client.peer());
        }
    }

    /// Closes clients until what is held for all of them is within bounds.
    fn bound_held(&mut self, now: Moment) {
        let held = |client: &Session| client.connection.held();
        while self.clients.values().map(held).sum::<usize>() > MAX_HELD
            && let Some(largest) = self.clients.values_mut().max_by_key(|client| held(client))
        {
            counters::RPC_EVICTED.inc();
            if let Some(passed) = self.complaints.pass((), "memory", now) {
                log::warn!(
                    target: "agent.ipc",
                    "Closing client {}: too much is held for all clients, and {} bytes of it for this one{passed}",
                    largest.peer(), held(largest)
                );
            }
            largest.connection.abandon();
            self.sender.count_dropped(largest.connection.take_dropped_records());
        }
    }

    /// Gives every client its turn. Returns whether one has more to do at once.
    fn serve(&mut self, chunk: &mut [u8]) -> bool {
        let now = self.now();
        let mut busy = false;
        for client in self.clients.values_mut() {
            busy |= client.serve(&mut self.dispatcher, now, chunk);
            let ended = client.connection.take_ended_streams();
            if ended > 0 {
                self.ended_streams += u64::from(ended);
                log::warn!(
                    target: "agent.ipc",
                    "Dropping records to {}: it does not read; ended {ended} of its streams ({} in total)",
                    client.peer(), self.ended_streams
                );
            }
            if let Some(complaint) = client.connection.take_complaint() {
                log::error!(
                    target: "agent.ipc", "Failed to evaluate request of {}: {complaint}", client.peer()
                );
            }
        }
        self.bound_held(now);
        self.clients.retain(|id, client| {
            self.sender.count_dropped(client.connection.take_dropped_records());
            let stays = client.connection.phase() != Phase::Closed;
            if !stays {
                self.dispatcher.forget_streams(*id);
            }
            stays
        });
        busy
    }

    /// Writes what is queued, then lets the sockets go.
    fn drain(mut self, events: &mut Events, chunk: &mut [u8]) {
        let end = self.now() + STOP_TIMEOUT;
        // No new clients. If this fails, the thread is only woken once in vain.
        let _ = self.listener.deregister(self.poll.registry());
        for client in self.clients.values_mut() {
            client.connection.close(end);
        }
        loop {
            let now = self.now();
            self.clients.retain(|_, client| {
                client.write(now);
                let done = client.connection.output().is_empty() || client.has_failed();
                if done {
                    // Closing with unread input would reset the connection and could cost the
                    // client its last reply.
                    client.discard_input(chunk);
                    client.connection.abandon();
                    self.sender.count_dropped(client.connection.take_dropped_records());
                }
                !done
            });
            if self.clients.is_empty() || now >= end || !self.wait(events, Some(end.until(now))) {
                break;
            }
        }
        for mut client in self.clients.into_values() {
            client.connection.abandon();
            self.sender.count_dropped(client.connection.take_dropped_records());
        }
    }
}
