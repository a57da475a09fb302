//! One client's socket, and how its requests reach [`Control`].

use super::socket::Socket;
use super::{Control, RpcSender};
use crate::messaging::filter::EventFilter;
use crate::messaging::keys::{KeyCommand, KeyStep};
use crate::model::Moment;
use crate::rpc::record::{
    CoordinateRequest, CoordinateResponse, JoinRequest, KeyRequest, MemberRecord, MembersResponse,
};
use crate::rpc::{Connection, Phase, Request, Token};
use crate::telemetry::counters;
use log::{Level, LevelFilter};
use mio::event::Event;
use std::collections::{BTreeMap, BTreeSet};
use std::io;

/// Turns of reading, answering and writing that a client gets before the next one's turn.
const TURNS: usize = 8;
/// Reads of input that is thrown away before a socket is closed.
const DISCARDED_READS: usize = 64;

/// With this many bytes unwritten, the socket is tried before more records are queued.
const FLUSH_FROM: usize = 16 * 1024;

/// The agent behind the requests, and what the clients together have asked it to tell.
pub(super) struct Answers {
    control: Box<dyn Control>,
    sender: RpcSender,
    wanted_log: LevelFilter,
    /// The filters of all streams of each connection that has any.
    filters: BTreeMap<u64, Vec<EventFilter>>,
    /// The filters that the agent knows of.
    wanted_events: BTreeSet<EventFilter>,
}

impl Answers {
    pub(super) fn new(control: Box<dyn Control>, sender: RpcSender) -> Answers {
        Answers {
            control,
            sender,
            wanted_log: LevelFilter::Off,
            filters: BTreeMap::new(),
            wanted_events: BTreeSet::new(),
        }
    }

    /// Passes a change of a connection's streams on, if it is one for all streams together.
    fn note_streams(&mut self, connection: &mut Connection) {
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

    /// Asks for log lines up to the most talkative monitor and no more.
    pub(super) fn narrow_log(&mut self, most: Option<Level>) {
        let wanted = most.map_or(LevelFilter::Off, |level| level.to_level_filter());
        if wanted != self.wanted_log {
            self.wanted_log = wanted;
            self.control.want_log(wanted);
        }
    }

    fn answer(&mut self, connection: &mut Connection, token: Token, request: Request) {
        counters::RPC_COMMANDS.inc();
        match request {
            Request::Members => reply_members(connection, token, self.control.members().iter()),
            Request::MembersFiltered(filter) => {
                let members = self.control.members();
                reply_members(connection, token, members.iter().filter(|m| filter.matches(m)));
            }
            Request::Stats => {
                connection.reply(token, "", Some(&self.control.stats()));
            }
            Request::GetCoordinate(CoordinateRequest { node }) => {
                let coordinate = self.control.coordinate(&node);
                connection.reply(token, "", Some(&CoordinateResponse::from(coordinate.as_ref())));
            }
            Request::Join(JoinRequest { existing, replay }) => self.control.join(existing, replay, token),
            Request::Leave => {
                log::info!(target: "agent.ipc", "Graceful leave triggered");
                self.control.leave(token);
            }
            Request::ForceLeave(request) => self.control.force_leave(request.node, request.prune, token),
            Request::Monitor(level) => {
                let most = self.wanted_log.to_level().map_or(level, |wanted| wanted.max(level));
                self.narrow_log(Some(most));
                let recent = self.control.recent_log();
                connection.start_monitor(token, level, &recent.lines, recent.next);
            }
            Request::Event(event) => {
                self.control.user_event(event.name, event.payload, event.coalesce, token);
            }
            Request::Query(params) => self.control.query(params, token),
            Request::Respond { query, payload } => self.control.respond(query, payload, token),
            Request::Tags(request) => self.control.tags(request.tags, request.delete_tags, token),
            Request::InstallKey(request) => self.change_key(KeyStep::Install, request, token),
            Request::UseKey(request) => self.change_key(KeyStep::Use, request, token),
            Request::RemoveKey(request) => self.change_key(KeyStep::Remove, request, token),
            Request::ListKeys => self.control.keys(KeyCommand::List, token),
        }
    }

    fn change_key(&mut self, step: KeyStep, request: KeyRequest, token: Token) {
        self.control.keys(KeyCommand::Change(step, request.key.into()), token);
    }
}

fn reply_members<'a>(
    connection: &mut Connection,
    token: Token,
    members: impl Iterator<Item = &'a crate::model::Member>,
) {
    let body = MembersResponse { members: members.map(MemberRecord::from).collect() };
    connection.reply(token, "", Some(&body));
}

/// One client.
pub(super) struct Client {
    socket: Socket,
    peer: String,
    pub(super) connection: Connection,
    /// Whether the socket may have input; known to be false after `WouldBlock`.
    readable: bool,
    /// Whether the socket may take output.
    writable: bool,
    /// Whether a socket call failed; nothing can be delivered any more.
    failed: bool,
    shut_down: bool,
}

impl Client {
    pub(super) fn new(socket: Socket, peer: String, connection: Connection) -> Client {
        Client { socket, peer, connection, readable: true, writable: true, failed: false, shut_down: false }
    }

    pub(super) fn peer(&self) -> &str {
        &self.peer
    }

    pub(super) fn has_failed(&self) -> bool {
        self.failed
    }

    pub(super) fn deadline(&self) -> Moment {
        self.connection.deadline()
    }

    pub(super) fn monitor_level(&self) -> Option<Level> {
        self.connection.monitor_level()
    }

    /// Notes what the poll said about the socket.
    pub(super) fn note(&mut self, event: &Event) {
        self.readable |= event.is_readable() || event.is_read_closed() || event.is_error();
        self.writable |= event.is_writable() || event.is_write_closed() || event.is_error();
    }

    /// Reads, answers and writes until nothing moves or the client had its turns. Returns
    /// whether it could go on at once.
    pub(super) fn serve(&mut self, answers: &mut Answers, now: Moment, chunk: &mut [u8]) -> bool {
        let mut busy = true;
        for _ in 0..TURNS {
            busy = self.read(chunk);
            while let Some((token, request)) = self.connection.next_request(now) {
                answers.answer(&mut self.connection, token, request);
                busy = true;
            }
            self.connection.expire(now);
            // Before a client can read that its stream is there, or gone.
            answers.note_streams(&mut self.connection);
            busy |= self.write(now);
            if !busy {
                break;
            }
        }
        if self.failed {
            self.connection.abandon();
        }
        busy && self.connection.phase() != Phase::Closed
    }

    /// Returns whether anything came.
    fn read(&mut self, chunk: &mut [u8]) -> bool {
        if !self.readable || self.failed || !self.connection.wants_input() {
            return false;
        }
        match self.socket.read(chunk) {
            Ok(0) => {
                self.readable = false;
                self.connection.peer_closed();
                true
            }
            Ok(len) => {
                self.connection.receive(chunk.get(..len).unwrap_or_default());
                true
            }
            Err(e) => {
                self.readable = self.note_error(&e);
                self.readable
            }
        }
    }

    /// Writes what has piled up, so that a burst does not fill the connection's own room while the
    /// socket has some.
    pub(super) fn flush(&mut self, now: Moment) {
        if self.connection.output().len() >= FLUSH_FROM {
            self.write(now);
        }
    }

    /// Writes what the socket takes. Returns whether it took anything.
    pub(super) fn write(&mut self, now: Moment) -> bool {
        let mut progress = false;
        loop {
            let output = self.connection.output();
            if output.is_empty() || !self.writable || self.failed {
                break;
            }
            match self.socket.write(output) {
                Ok(len) => {
                    self.connection.sent(len, now);
                    progress |= len > 0;
                    self.writable = len > 0;
                }
                Err(e) => self.writable = self.note_error(&e),
            }
        }
        // Also tells the connection that everything is written, or that it does not move.
        self.connection.sent(0, now);
        if matches!(self.connection.phase(), Phase::Lingering(_)) && !self.shut_down {
            self.shut_down = true;
            if self.socket.shut_down_writing().is_err() {
                self.failed = true;
            }
        }
        progress
    }

    /// Takes what the client has sent out of the kernel, within reason.
    pub(super) fn discard_input(&mut self, chunk: &mut [u8]) {
        for _ in 0..DISCARDED_READS {
            if !matches!(self.socket.read(chunk), Ok(len) if len > 0) {
                break;
            }
        }
    }

    /// Returns whether the call is to be repeated.
    fn note_error(&mut self, e: &io::Error) -> bool {
        match e.kind() {
            io::ErrorKind::Interrupted => true,
            io::ErrorKind::WouldBlock => false,
            _ => {
                self.failed = true;
                false
            }
        }
    }
}
