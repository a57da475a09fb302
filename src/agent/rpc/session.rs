//! One client: its socket and its connection.

use super::dispatch::Dispatcher;
use super::socket::SessionSocket;
use crate::model::Moment;
use crate::rpc::{Connection, Phase};
use log::Level;
use mio::event::Event;
use std::io;

/// Turns of reading, answering and writing that a client gets before the next one's turn.
const TURNS: usize = 8;
/// Reads of input that is thrown away before a socket is closed.
const DISCARDED_READS: usize = 64;
/// The most bytes that a client is written before the next one's turn: a long list is encoded as it is written.
const WRITTEN_IN_A_TURN: usize = 256 * 1024;
/// With this many bytes unwritten, the socket is tried before more records are queued.
const FLUSH_FROM: usize = 16 * 1024;

/// One client.
pub(super) struct Session {
    socket: SessionSocket,
    peer: String,
    pub(super) connection: Connection,
    /// Whether the socket may have input; known to be false after a read that got less than it could take.
    readable: bool,
    /// Whether the end of the input is there or on its way, which only a further read shows.
    ending: bool,
    /// Whether the socket may take output.
    writable: bool,
    /// Whether a socket call failed; nothing can be delivered any more.
    failed: bool,
    shut_down: bool,
}

impl Session {
    pub(super) fn new(socket: SessionSocket, peer: String, connection: Connection) -> Session {
        let (readable, writable) = (true, true);
        let (ending, failed, shut_down) = (false, false, false);
        Session { socket, peer, connection, readable, ending, writable, failed, shut_down }
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
        self.ending |= event.is_read_closed() || event.is_error();
        self.readable |= event.is_readable() || self.ending;
        self.writable |= event.is_writable() || event.is_write_closed() || event.is_error();
    }

    /// Reads, answers and writes until nothing moves or the client had its turns. Returns
    /// whether it could go on at once.
    pub(super) fn serve(&mut self, dispatcher: &mut Dispatcher, now: Moment, chunk: &mut [u8]) -> bool {
        let mut busy = true;
        for _ in 0..TURNS {
            busy = self.read(chunk);
            while let Some((token, request)) = self.connection.next_request(now) {
                dispatcher.dispatch(&mut self.connection, token, request);
                busy = true;
            }
            self.connection.expire(now);
            // Before a client can read that its stream is there, or gone.
            dispatcher.note_streams(&mut self.connection);
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
                // What comes after this is reported by the poll, and a call that finds nothing saved.
                self.readable = len == chunk.len() || self.ending;
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
        let mut room = WRITTEN_IN_A_TURN;
        loop {
            let output = self.connection.output();
            if room == 0 || output.is_empty() || !self.writable || self.failed {
                break;
            }
            match self.socket.write(output) {
                Ok(len) => {
                    room = room.saturating_sub(len);
                    self.connection.sent(len, now);
                    progress |= len > 0;
                    self.writable = len > 0;
                }
                Err(e) => self.writable = self.note_error(&e),
            }
        }
        // Also lets the connection know that everything is written, or that it does not move.
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
