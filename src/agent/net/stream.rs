//! One TCP stream of `serf-sync`: a non-blocking connection that carries one message out, one in,
//! or both, before its deadline. Knows nothing of membership.

use super::buffer::Buffer;
use crate::membership::Target;
use crate::model::Moment;
use crate::node::exchanges::StreamFailure;
use crate::telemetry::{counters, metrics};
use crate::wire::compression;
use crate::wire::envelope::{Envelope, Side};
use crate::wire::stream::{self, StreamMessage};
use crate::wire::{Dialect, WireError};
use mio::net::TcpStream;
use std::fmt;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::time::Duration;

/// How many bytes one call of `read` may bring.
const CHUNK: usize = 16 * 1024;
/// The most bytes that one exchange may bring.
const MOST_RECEIVED: usize = 64 << 20;
/// How long an exchange may take in all, besides the time for its first message. What it has brought by then is kept.
const LONGEST: Duration = Duration::from_secs(120);

/// Why a stream ended without doing its work.
#[derive(Debug)]
pub(crate) enum StreamError {
    /// The kernel says so.
    Io(io::Error),
    /// The other side sent something that is no message.
    Wire(WireError),
    /// The other side closed before it had sent a whole message.
    Closed,
    /// The deadline passed.
    Timeout,
    /// Too many streams of this process are under way.
    Busy,
    /// All streams together held more than they may, and this one the most for the longest.
    Budget,
    /// It was not read, and others wait for room.
    Unread,
    /// The other side was idle, and there are too many streams.
    Idle,
}

impl fmt::Display for StreamError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StreamError::Io(e) => match e.kind() {
                io::ErrorKind::ConnectionRefused => write!(f, "connection refused"),
                io::ErrorKind::ConnectionReset => write!(f, "connection reset by peer"),
                _ => write!(f, "{e}{}", super::datagrams::hint(e)),
            },
            StreamError::Wire(e) => write!(f, "{e}{}", super::refusals::hint(e)),
            StreamError::Closed => write!(f, "closed by the other side before a message was complete"),
            StreamError::Timeout => write!(f, "timed out"),
            StreamError::Busy => write!(f, "too many exchanges at once"),
            StreamError::Budget => write!(f, "too much is being received and sent at once"),
            StreamError::Idle => write!(f, "it was idle, and others wait"),
            StreamError::Unread => write!(f, "it does not read, and others wait"),
        }
    }
}

impl std::error::Error for StreamError {}

impl From<&StreamError> for StreamFailure {
    fn from(why: &StreamError) -> StreamFailure {
        match why {
            StreamError::Wire(_) => StreamFailure::Unreadable(why.to_string()),
            StreamError::Closed => StreamFailure::Closed(why.to_string()),
            StreamError::Io(e) if e.kind() == io::ErrorKind::ConnectionRefused => {
                StreamFailure::NothingListens(why.to_string())
            }
            StreamError::Io(_)
            | StreamError::Timeout
            | StreamError::Busy
            | StreamError::Budget
            | StreamError::Unread
            | StreamError::Idle => StreamFailure::Broken(why.to_string()),
        }
    }
}

/// What is around the messages of a stream, and how they are written.
#[derive(Clone, Debug)]
pub(crate) struct StreamOptions {
    /// Label and encryption.
    pub(crate) envelope: Envelope,
    /// The one dialect that is read and spoken, if it is only one.
    pub(crate) only: Option<Dialect>,
    /// Whether what is said in HashiCorp's dialect is compressed.
    pub(crate) compress: bool,
}

/// A connection and what is under way on it.
#[derive(Debug)]
pub(crate) struct Stream {
    socket: TcpStream,
    options: StreamOptions,
    reader: stream::StreamReader,
    /// The dialect that is spoken; in answering, that of what was read.
    dialect: Option<Dialect>,
    /// The side that opened it decides what comes first.
    reads_from: Side,
    /// The address of the other side.
    pub(crate) peer: SocketAddr,
    /// When it is given up.
    pub(crate) deadline: Moment,
    /// When it is given up although messages come and go.
    end: Moment,
    connected: bool,
    outbox: Vec<u8>,
    sent: usize,
    /// When it last sent something, or began to.
    sent_at: Moment,
    inbox: Buffer,
    /// When the last whole message came, or when it began.
    message_at: Moment,
    /// When the message that is being received began.
    received_from: Moment,
    received: usize,
}

impl Stream {
    /// A connection that was accepted.
    pub(crate) fn accepted(
        socket: TcpStream,
        peer: SocketAddr,
        (now, deadline): (Moment, Moment),
        options: StreamOptions,
    ) -> Self {
        Stream {
            socket,
            reader: stream::StreamReader::new(options.only),
            dialect: options.only,
            options,
            reads_from: Side::Opener,
            peer,
            deadline,
            end: deadline + LONGEST,
            connected: true,
            outbox: Vec::new(),
            sent: 0,
            sent_at: now,
            inbox: Buffer::default(),
            message_at: now,
            received_from: now,
            received: 0,
        }
    }

    /// Begins to connect, to send `message`.
    pub(crate) fn connect(
        to: Target,
        (now, deadline): (Moment, Moment),
        options: StreamOptions,
        message: StreamMessage,
    ) -> io::Result<Self> {
        let frame = encode(to.dialect, options.compress, &message);
        // It may be large, and so may its bytes.
        drop(message);
        let outbox = options.envelope.wrap_request(frame).map_err(io::Error::other)?;
        let socket = TcpStream::connect(to.addr)?;
        let stream = Stream::accepted(socket, to.addr, (now, deadline), options);
        Ok(Stream { connected: false, reads_from: Side::Answerer, outbox, ..stream })
    }

    /// The socket, to be registered with a poll.
    pub(crate) fn socket(&mut self) -> &mut TcpStream {
        &mut self.socket
    }

    /// Queues the answer to the side that opened the stream; [`Stream::drive`] sends it.
    pub(crate) fn queue(&mut self, message: StreamMessage, now: Moment) -> io::Result<()> {
        let frame = self.encode(&message);
        // It may be large, and so may its bytes.
        drop(message);
        let bytes = self.options.envelope.wrap_answer(frame).map_err(io::Error::other)?;
        if self.is_sent() {
            (self.outbox, self.sent, self.sent_at) = (bytes, 0, now);
        } else {
            self.outbox.extend(bytes);
        }
        Ok(())
    }

    /// Sends the side that opened the stream the reason why it is refused, as far as that goes at once.
    pub(crate) fn refuse(&mut self, why: &WireError, now: Moment) {
        // Also what is not spoken otherwise: it is to be understood.
        self.dialect = self.reader.dialect().or(self.dialect);
        let reason = self.encode(&StreamMessage::Error(why.to_string()));
        if let Ok(bytes) = self.options.envelope.wrap_refusal(reason, why) {
            self.outbox.extend(bytes);
            // One that does not listen learns nothing.
            let _ = self.flush(now);
        }
    }

    /// Gives it until then for the next message, but never longer in all than [`LONGEST`].
    pub(crate) fn extend(&mut self, deadline: Moment) {
        self.deadline = self.deadline.max(deadline).min(self.end);
    }

    /// Whether everything that was queued has been sent.
    pub(crate) fn is_flushed(&self) -> bool {
        self.connected && self.is_sent()
    }

    fn is_sent(&self) -> bool {
        self.sent == self.outbox.len()
    }

    /// Since when the other side has taken nothing, and said nothing whole: bytes that drip do not count.
    pub(crate) fn idle_since(&self) -> Moment {
        self.message_at.max(self.sent_at)
    }

    /// Whether anything has been received.
    pub(crate) fn has_spoken(&self) -> bool {
        self.received > 0
    }

    /// How much memory received bytes take that wait for the rest of their message, and since when.
    pub(crate) fn unread(&self) -> (usize, Moment) {
        (self.inbox.held(), self.received_from)
    }

    /// How much memory those take that the other side has not taken, and since when it has taken none.
    pub(crate) fn unsent(&self) -> (usize, Moment) {
        (self.outbox.capacity(), self.sent_at)
    }

    /// Sends and receives what is possible now. Answers with the message once it is complete.
    pub(crate) fn drive(&mut self, now: Moment) -> Result<Option<StreamMessage>, StreamError> {
        if !self.connected {
            if let Some(e) = self.socket.take_error().map_err(StreamError::Io)? {
                return Err(StreamError::Io(e));
            }
            match self.socket.peer_addr() {
                Ok(_) => self.connected = true,
                Err(e) if e.kind() == io::ErrorKind::NotConnected => return Ok(None),
                Err(e) => return Err(StreamError::Io(e)),
            }
        }
        self.flush(now).map_err(StreamError::Io)?;
        self.receive(now)
    }

    /// Sends at once what goes out first, if the connection is there already, as on the same host: the other side need
    /// not wait until this process has its turn again. What is wrong shows when it is driven.
    pub(crate) fn begin(&mut self, now: Moment) {
        if self.socket.peer_addr().is_ok() {
            self.connected = true;
            let _ = self.flush(now);
        }
    }

    fn flush(&mut self, now: Moment) -> io::Result<()> {
        while let Some(rest) = self.outbox.get(self.sent..).filter(|rest| !rest.is_empty()) {
            match self.socket.write(rest) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(n) => {
                    counters::STREAM_BYTES_SENT.add(n);
                    self.sent += n;
                    self.sent_at = now;
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        // What has been sent is of no use any more.
        (self.outbox, self.sent) = (Vec::new(), 0);
        Ok(())
    }

    fn receive(&mut self, now: Moment) -> Result<Option<StreamMessage>, StreamError> {
        let mut chunk = [0; CHUNK];
        loop {
            match self.socket.read(&mut chunk) {
                Ok(0) => return Err(StreamError::Closed),
                Ok(n) => {
                    self.received += n;
                    if self.received > MOST_RECEIVED {
                        return Err(StreamError::Budget);
                    }
                    if self.inbox.len() == 0 {
                        self.received_from = now;
                    }
                    self.inbox.extend(chunk.get(..n).unwrap_or_default()).map_err(StreamError::Io)?;
                    let buffered = self.inbox.len();
                    if let Some(message) = self.read().map_err(StreamError::Wire)? {
                        if let StreamMessage::PushPull(_) = message {
                            metrics::REMOTE_STATE_BYTES.record_size(buffered);
                        }
                        self.inbox = Buffer::default();
                        self.message_at = now;
                        // The label comes once.
                        self.reads_from = Side::Answerer;
                        return Ok(Some(message));
                    }
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(StreamError::Io(e)),
            }
        }
    }

    fn read(&mut self) -> Result<Option<StreamMessage>, WireError> {
        let read = self.options.envelope.read_stream(self.reads_from, &mut self.reader, self.inbox.bytes());
        // A stranger whose tongue did not show is addressed in the one that everyone reads.
        self.dialect = self.dialect.or(self.reader.dialect());
        read
    }

    fn encode(&self, message: &StreamMessage) -> Vec<u8> {
        let dialect = self.dialect.unwrap_or_else(|| Dialect::for_receiver(None));
        encode(dialect, self.options.compress, message)
    }

    /// Sends only; for a stream whose message has been received.
    pub(crate) fn finish(&mut self, now: Moment) -> Result<(), StreamError> {
        self.flush(now).map_err(StreamError::Io)
    }

    /// Shows the other side that nothing more comes.
    pub(crate) fn shut(&mut self) {
        // It may be gone already; either way the stream is over.
        let _ = self.socket.shutdown(Shutdown::Both);
    }
}

fn encode(dialect: Dialect, compress: bool, message: &StreamMessage) -> Vec<u8> {
    let frame = stream::encode(dialect, message);
    if let StreamMessage::PushPull(_) = message {
        metrics::LOCAL_STATE_BYTES.set(frame.len());
    }
    match dialect {
        Dialect::Native => {
            counters::STREAMS_SENT_NATIVE.inc();
            frame
        }
        Dialect::Hashicorp => {
            counters::STREAMS_SENT_HASHICORP.inc();
            if compress { compression::pack(frame) } else { frame }
        }
    }
}
