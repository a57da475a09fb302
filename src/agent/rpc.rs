//! The `serf-rpc` thread: sockets and deadlines of the control protocol.
//!
//! It waits on mio, serves every client from one loop and never blocks on one. What the bytes mean
//! is `rpc/connection.rs`; what requests do is behind [`Control`]. A client that does not read
//! loses its streams, never the time of others.
//!
//! Architecture invariant: the thread holds no lock across a socket call and waits for nothing but
//! its poll.

mod client;
mod control;
mod socket;

pub use control::{Control, RecentLog, RpcMessage, RpcSender};
pub use socket::RpcAddress;

use crate::messaging::coalesce::MemberEvents;
use crate::model::Moment;
use crate::rpc::connection::Connection;
use crate::rpc::record::{JoinResponse, MemberEventRecord, encode};
use crate::rpc::{Phase, Token};
use client::{Answers, Client};
use control::RpcReceiver;
use log::LevelFilter;
use mio::{Events, Poll, Waker};
use socket::{Listener, Socket};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use std::{fmt, io, thread};

/// Clients that are served at a time.
pub const MAX_CLIENTS: usize = 128;
/// Clients beyond [`MAX_CLIENTS`] that are being told so; further ones are dropped silently.
pub const MAX_REFUSED_CLIENTS: usize = 16;
/// For the last replies to be written when the thread is told to stop.
pub const STOP_TIMEOUT: Duration = Duration::from_secs(1);
/// Wait after accepting failed, mostly for want of file descriptors.
const ACCEPT_RETRY: Duration = Duration::from_secs(1);
/// Accepted in a row before clients are served.
const ACCEPT_BATCH: usize = 32;
/// Messages of the agent taken in a row before clients are served.
const MESSAGE_BATCH: usize = 256;
/// Bytes read from a socket at once.
const CHUNK: usize = 16 * 1024;

const LISTENER: mio::Token = mio::Token(0);
const WAKER: mio::Token = mio::Token(1);
/// Connections are numbered from here; their number is also their mio token.
const FIRST_CLIENT: u64 = 2;

/// Where to listen and whom to serve.
#[derive(Clone, Debug)]
pub struct RpcSettings {
    /// The port or the Unix socket.
    pub listen: RpcAddress,
    /// `rpc_auth`; empty when clients need no key.
    pub auth_key: String,
}

/// Why the thread did not start.
#[derive(Debug)]
pub enum RpcError {
    /// The address cannot be listened on.
    Listen {
        /// The address.
        addr: RpcAddress,
        /// The system's reason.
        error: io::Error,
    },
    /// The system gave no poll, waker or thread.
    Start(io::Error),
}

impl fmt::Display for RpcError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RpcError::Listen { addr, error } => write!(f, "cannot listen for RPC on {addr}: {error}"),
            RpcError::Start(error) => write!(f, "cannot start the RPC thread: {error}"),
        }
    }
}

impl std::error::Error for RpcError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            RpcError::Listen { error, .. } | RpcError::Start(error) => Some(error),
        }
    }
}

/// A bound listener whose thread has not started: its sender can be given to whatever will
/// answer requests.
#[derive(Debug)]
pub struct RpcServer {
    poll: Poll,
    listener: Listener,
    addr: RpcAddress,
    auth_key: String,
    sender: RpcSender,
    receiver: RpcReceiver,
}

impl RpcServer {
    /// Listens. Clients queue in the kernel until [`RpcServer::spawn`].
    pub fn bind(settings: RpcSettings) -> Result<RpcServer, RpcError> {
        let listen = |error| RpcError::Listen { addr: settings.listen.clone(), error };
        let mut listener = Listener::bind(&settings.listen).map_err(listen)?;
        let addr = listener.address(&settings.listen).map_err(listen)?;
        let poll = Poll::new().map_err(RpcError::Start)?;
        listener.register(poll.registry(), LISTENER).map_err(RpcError::Start)?;
        let waker = Waker::new(poll.registry(), WAKER).map_err(RpcError::Start)?;
        let (sender, receiver) = control::channel(Arc::new(waker));
        if let RpcAddress::Tcp(ip) = &addr
            && settings.auth_key.is_empty()
            && !ip.ip().to_canonical().is_loopback()
        {
            log::warn!(
                target: "agent.ipc",
                "RPC listens on {addr}, beyond loopback, without rpc_auth: whoever reaches it controls this agent"
            );
        }
        Ok(RpcServer { poll, listener, addr, auth_key: settings.auth_key, sender, receiver })
    }

    /// Where clients can connect.
    pub fn local_addr(&self) -> &RpcAddress {
        &self.addr
    }

    /// For answers, events and log lines.
    pub fn sender(&self) -> RpcSender {
        self.sender.clone()
    }

    /// Starts the thread.
    pub fn spawn(self, control: Box<dyn Control>) -> Result<RpcHandle, RpcError> {
        let (addr, sender) = (self.addr.clone(), self.sender.clone());
        let actor = RpcActor {
            poll: self.poll,
            listener: self.listener,
            receiver: self.receiver,
            auth_key: self.auth_key.into(),
            clients: BTreeMap::new(),
            next_client: FIRST_CLIENT,
            accept_from: Moment::NEVER,
            answers: Answers { control, wanted_log: LevelFilter::Off },
            ended_streams: 0,
            clock: clock(),
        };
        let thread = thread::Builder::new()
            .name("serf-rpc".into())
            .spawn(move || actor.run())
            .map_err(RpcError::Start)?;
        Ok(RpcHandle { addr, sender, thread: Some(thread) })
    }
}

#[allow(clippy::disallowed_methods, reason = "this thread drives `rpc::Connection` by the real clock")]
fn clock() -> Instant {
    Instant::now()
}

/// The running thread, seen from outside. Dropping it stops the thread and waits for its end,
/// [`STOP_TIMEOUT`] at most.
#[derive(Debug)]
pub struct RpcHandle {
    addr: RpcAddress,
    sender: RpcSender,
    thread: Option<thread::JoinHandle<()>>,
}

impl RpcHandle {
    /// Where clients can connect.
    pub fn local_addr(&self) -> &RpcAddress {
        &self.addr
    }

    /// For answers, events and log lines.
    pub fn sender(&self) -> RpcSender {
        self.sender.clone()
    }

    /// Delivers what was answered, closes everything and waits for the thread's end.
    pub fn stop(self) {
        drop(self);
    }
}

impl Drop for RpcHandle {
    fn drop(&mut self) {
        self.sender.send(RpcMessage::Stop);
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            log::error!(target: "agent.ipc", "The RPC thread has panicked");
        }
    }
}

/// The thread, seen from inside.
struct RpcActor {
    poll: Poll,
    listener: Listener,
    receiver: RpcReceiver,
    auth_key: Arc<str>,
    clients: BTreeMap<u64, Client>,
    next_client: u64,
    /// When to accept; `NEVER` while the listener has nothing.
    accept_from: Moment,
    answers: Answers,
    /// Streams that ended because their clients did not read, in total.
    ended_streams: u64,
    clock: Instant,
}

/// What taking messages came to.
enum Taken {
    All,
    Some,
    Stop,
}

impl RpcActor {
    fn run(mut self) {
        let mut events = Events::with_capacity(MAX_CLIENTS + MAX_REFUSED_CLIENTS);
        let mut chunk = vec![0; CHUNK];
        let mut busy = false;
        loop {
            let timeout = if busy { Some(Duration::ZERO) } else { self.until_deadline() };
            if !self.wait(&mut events, timeout) {
                return;
            }
            let taken = self.take_messages();
            if matches!(taken, Taken::Stop) {
                break;
            }
            let accepting = self.accept();
            let serving = self.serve(&mut chunk);
            self.answers.narrow_log(self.clients.values().filter_map(Client::monitor_level).max());
            busy = accepting || serving || matches!(taken, Taken::Some);
        }
        self.drain(&mut events, &mut chunk);
    }

    fn now(&self) -> Moment {
        Moment::from_start(self.clock.elapsed())
    }

    /// Waits for sockets, the waker or the timeout, and notes which sockets are ready.
    fn wait(&mut self, events: &mut Events, timeout: Option<Duration>) -> bool {
        match self.poll.poll(events, timeout) {
            Ok(()) => {}
            Err(e) if e.kind() == io::ErrorKind::Interrupted => events.clear(),
            Err(e) => {
                log::error!(target: "agent.ipc", "Waiting for RPC clients failed: {e}");
                return false;
            }
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
        let deadline = self.clients.values().map(Client::deadline).fold(self.accept_from, Moment::min);
        (deadline != Moment::NEVER).then(|| {
            // Polls are rounded down to milliseconds; one more avoids waking just too early.
            deadline.until(self.now()) + Duration::from_millis(1)
        })
    }

    fn take_messages(&mut self) -> Taken {
        let now = self.now();
        self.receiver.begin();
        let dropped = self.receiver.take_dropped();
        if dropped > 0 {
            log::warn!(target: "agent.ipc", "Dropped {dropped} events and log lines: too many at once");
        }
        for _ in 0..MESSAGE_BATCH {
            let Some(message) = self.receiver.next() else { return Taken::All };
            match message {
                RpcMessage::Joined { token, joined, error } => {
                    let body = JoinResponse { num: i32::try_from(joined).unwrap_or(i32::MAX) };
                    self.reply(token, error, Some(&body));
                }
                RpcMessage::Left { token, result } | RpcMessage::ForceLeft { token, result } => {
                    self.reply(token, result.err(), None);
                }
                RpcMessage::MemberEvent(event) => self.stream(&event, now),
                RpcMessage::Log(line) => {
                    for client in self.clients.values_mut() {
                        client.connection.log_line(line.number, &line);
                    }
                }
                RpcMessage::AuthKey(key) => self.auth_key = key.into(),
                RpcMessage::Stop => return Taken::Stop,
            }
        }
        Taken::Some
    }

    /// Passes an answer on, unless the client has gone.
    fn reply(&mut self, token: Token, error: Option<String>, body: Option<&JoinResponse>) {
        if let Some(client) = self.clients.get_mut(&token.connection) {
            client.connection.reply(token, error.as_deref().unwrap_or(""), body);
        }
    }

    fn stream(&mut self, event: &MemberEvents, now: Moment) {
        if !self.clients.values().any(|c| c.connection.has_streams()) {
            return;
        }
        // Encoded once, however many clients want it.
        let body = encode(&MemberEventRecord::new(event.kind, &event.members));
        for client in self.clients.values_mut() {
            // Between the events of a burst the socket is given a chance to take them.
            client.write(now);
            client.connection.member_event(event.kind, &body);
        }
    }

    /// Accepts who waits. Returns whether more may be waiting.
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

    fn admit(&mut self, mut socket: Socket, peer: String, now: Moment) {
        if self.clients.len() >= MAX_CLIENTS + MAX_REFUSED_CLIENTS {
            return;
        }
        let served = self.clients.values().filter(|c| c.connection.phase() == Phase::Open).count();
        let id = self.next_client;
        let Ok(token) = usize::try_from(id) else { return };
        self.next_client += 1;
        if let Err(e) = socket.register(self.poll.registry(), mio::Token(token)) {
            log::error!(target: "agent.ipc", "Failed to accept client: {peer}: {e}");
            return;
        }
        let mut connection = Connection::new(id, Arc::clone(&self.auth_key), now);
        if served >= MAX_CLIENTS {
            log::warn!(target: "agent.ipc", "Refused client: {peer}: {MAX_CLIENTS} are connected");
            connection.reject(&format!("Too many clients (limit is {MAX_CLIENTS})"), now);
        } else {
            log::info!(target: "agent.ipc", "Accepted client: {peer}");
        }
        self.clients.insert(id, Client::new(socket, peer, connection));
    }

    /// Gives every client its turn. Returns whether one has more to do at once.
    fn serve(&mut self, chunk: &mut [u8]) -> bool {
        let now = self.now();
        let mut busy = false;
        for client in self.clients.values_mut() {
            busy |= client.serve(&mut self.answers, now, chunk);
            let ended = client.connection.take_ended_streams();
            if ended > 0 {
                self.ended_streams += u64::from(ended);
                log::warn!(
                    target: "agent.ipc",
                    "Dropping events to {}: it does not read; ended {ended} of its streams ({} in total)",
                    client.peer(), self.ended_streams
                );
            }
            if let Some(complaint) = client.connection.take_complaint() {
                log::error!(
                    target: "agent.ipc", "Failed to evaluate request of {}: {complaint}", client.peer()
                );
            }
        }
        self.clients.retain(|_, client| client.connection.phase() != Phase::Closed);
        busy
    }

    /// Writes what is queued, then lets the sockets go.
    fn drain(mut self, events: &mut Events, chunk: &mut [u8]) {
        let end = self.now() + STOP_TIMEOUT;
        // Nobody new. A failure to say so would only wake us once in vain.
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
                }
                !done
            });
            if self.clients.is_empty() || now >= end || !self.wait(events, Some(end.until(now))) {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests;
