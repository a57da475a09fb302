//! A blocking client of the control protocol, for the control commands and for tests.
//!
//! One request at a time; records of streams that arrive while a reply is waited for are kept for
//! [`Client::next_record`]. It speaks to our agents and to HashiCorp's.

mod error;
mod socket;
mod streamed;

pub use error::ClientError;
pub use streamed::{Answer, Answers, Record};

use super::Command;
use super::frame::FrameScanner;
use super::record::*;
use serde::Serialize;
use serde::de::DeserializeOwned;
use socket::{Socket, dial, is_timeout};
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::time::Duration;

/// For connecting, for each write, and for replies that the agent gives at once.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);
/// For replies that wait for others: joins of addresses that do not answer, leaving, keys.
pub const SLOW_REPLY_TIMEOUT: Duration = Duration::from_secs(300);
/// The largest value from an agent, in bytes. Beyond it the agent is not to be trusted.
pub const MAX_VALUE: usize = 64 * 1024 * 1024;
/// Records kept while a reply is waited for; beyond, the oldest is dropped.
pub const MAX_KEPT_RECORDS: usize = 4096;

const CHUNK: usize = 16 * 1024;

/// Whom to connect to.
#[derive(Clone, Debug)]
pub struct ClientConfig {
    /// `host:port` or `unix:/path`.
    pub addr: String,
    /// `rpc_auth`; empty to send none.
    pub auth_key: String,
    /// See [`DEFAULT_TIMEOUT`].
    pub timeout: Duration,
}

impl ClientConfig {
    /// No key, the default timeout.
    pub fn new(addr: impl Into<String>) -> ClientConfig {
        ClientConfig { addr: addr.into(), auth_key: String::new(), timeout: DEFAULT_TIMEOUT }
    }
}

/// What the records of a request are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Stream,
    Monitor,
    Query,
    /// Thrown away.
    Stopped,
}

/// A record as it came, with the header's error.
type Arrived = (u64, Result<Record, String>);

/// A connection to an agent.
#[derive(Debug)]
pub struct Client {
    socket: Socket,
    timeout: Duration,
    input: Vec<u8>,
    scanner: FrameScanner,
    seq: u64,
    /// Every stream that there was, for as long as the client lives: they are few.
    streams: BTreeMap<u64, Kind>,
    /// The `Seq` of a record whose body has not arrived, and the header's error.
    half: Option<(u64, Kind, String)>,
    arrived: VecDeque<Arrived>,
    dropped: u64,
}

impl Client {
    /// Connects to the first address that answers, shakes hands and authenticates.
    pub fn connect(config: &ClientConfig) -> Result<Client, ClientError> {
        let socket = dial(&config.addr, config.timeout)?;
        socket.set_write_timeout(Some(config.timeout)).map_err(ClientError::Io)?;
        let mut client = Client {
            socket,
            timeout: config.timeout,
            input: Vec::new(),
            scanner: FrameScanner::default(),
            seq: 0,
            streams: BTreeMap::new(),
            half: None,
            arrived: VecDeque::new(),
            dropped: 0,
        };
        client.order(Command::Handshake, &HandshakeRequest { version: VERSION })?;
        if !config.auth_key.is_empty() {
            client.order(Command::Auth, &AuthRequest { auth_key: config.auth_key.clone() })?;
        }
        Ok(client)
    }

    /// Every member.
    pub fn members(&mut self) -> Result<Vec<MemberRecord>, ClientError> {
        let reply: MembersResponse = self.call(Command::Members, None::<&()>)?;
        Ok(reply.members)
    }

    /// The members that pass every expression of the filter.
    pub fn members_filtered(
        &mut self,
        filter: &MembersFilteredRequest,
    ) -> Result<Vec<MemberRecord>, ClientError> {
        let reply: MembersResponse = self.call(Command::MembersFiltered, Some(filter))?;
        Ok(reply.members)
    }

    /// Joins by the addresses; answers how many of them were joined.
    pub fn join(&mut self, addrs: &[String], replay: bool) -> Result<usize, ClientError> {
        let request = JoinRequest { existing: addrs.to_vec(), replay };
        let reply: JoinResponse = self.call(Command::Join, Some(&request))?;
        Ok(usize::try_from(reply.num).unwrap_or(0))
    }

    /// Makes the agent leave and shut down.
    pub fn leave(&mut self) -> Result<(), ClientError> {
        let seq = self.send(Command::Leave, None::<&()>)?;
        self.expect_done(Command::Leave, seq)
    }

    /// Makes a failed member left; `prune` forgets it at once.
    pub fn force_leave(&mut self, node: &str, prune: bool) -> Result<(), ClientError> {
        self.order(Command::ForceLeave, &ForceLeaveRequest { node: node.into(), prune })
    }

    /// Facts and counters, in groups.
    pub fn stats(&mut self) -> Result<Stats, ClientError> {
        self.call(Command::Stats, None::<&()>)
    }

    /// Subscribes to events; answers the number of the stream.
    pub fn stream(&mut self, filter: &str) -> Result<u64, ClientError> {
        self.subscribe(Command::Stream, Kind::Stream, &StreamRequest { kind: filter.into() })
    }

    /// Subscribes to log lines from `level` (`debug`, `info`, …) on; answers the stream's number.
    pub fn monitor(&mut self, level: &str) -> Result<u64, ClientError> {
        self.subscribe(Command::Monitor, Kind::Monitor, &MonitorRequest { log_level: level.into() })
    }

    /// Asks a query; its acknowledgements and responses are records, [`Answer::Done`] the last of
    /// them. Answers the number of their stream. [`Client::ask`] is simpler where nothing else is
    /// waited for.
    pub fn query(&mut self, query: &QueryRequest) -> Result<u64, ClientError> {
        self.subscribe(Command::Query, Kind::Query, query)
    }

    /// Ends a stream or monitor.
    pub fn stop(&mut self, stream: u64) -> Result<(), ClientError> {
        self.order(Command::Stop, &StopRequest { stop: stream })?;
        // HashiCorp's agent may still have a record on its way behind the reply.
        self.forget(stream);
        Ok(())
    }

    /// Sends a user event.
    pub fn event(&mut self, name: &str, payload: &[u8], coalesce: bool) -> Result<(), ClientError> {
        let request = EventRequest { coalesce, name: name.into(), payload: payload.to_vec() };
        self.order(Command::Event, &request)
    }

    /// Answers the query with the `ID` of its record.
    pub fn respond(&mut self, id: u64, payload: &[u8]) -> Result<(), ClientError> {
        self.order(Command::Respond, &RespondRequest { id, payload: payload.to_vec() })
    }

    /// Sets and removes tags of the agent.
    pub fn tags(&mut self, set: BTreeMap<String, String>, delete: Vec<String>) -> Result<(), ClientError> {
        self.order(Command::Tags, &TagsRequest { delete_tags: delete, tags: set })
    }

    /// Installs a key on every member. After a failure of some, their messages are in
    /// [`Client::key_reply`]'s answer.
    pub fn install_key(&mut self, key: &str) -> Result<KeyResponse, ClientError> {
        self.key(Command::InstallKey, key)
    }

    /// Makes an installed key the primary one.
    pub fn use_key(&mut self, key: &str) -> Result<KeyResponse, ClientError> {
        self.key(Command::UseKey, key)
    }

    /// Removes a key from every member.
    pub fn remove_key(&mut self, key: &str) -> Result<KeyResponse, ClientError> {
        self.key(Command::RemoveKey, key)
    }

    /// Lists the keys of every member.
    pub fn list_keys(&mut self) -> Result<KeyResponse, ClientError> {
        self.call(Command::ListKeys, None::<&()>)
    }

    /// Any of the four key commands (`key` is ignored by `list-keys`): the reply, and the error
    /// text if some members failed. Commands show both.
    pub fn key_reply(&mut self, command: Command, key: &str) -> Result<(KeyResponse, String), ClientError> {
        let request = KeyRequest { key: key.into() };
        let seq = self.send(command, command.has_request_body().then_some(&request))?;
        self.expect_reply(command, seq)
    }

    /// The coordinate of a member, if the agent knows it.
    pub fn coordinate(&mut self, node: &str) -> Result<Option<CoordinateRecord>, ClientError> {
        let request = CoordinateRequest { node: node.into() };
        let reply: CoordinateResponse = self.call(Command::GetCoordinate, Some(&request))?;
        Ok(reply.ok.then_some(reply.coord))
    }

    /// The next record of any stream with the stream's number; `None` when the agent has closed
    /// the connection. Waits `timeout` at most, or for ever.
    pub fn next_record(&mut self, timeout: Option<Duration>) -> Result<Option<(u64, Record)>, ClientError> {
        loop {
            if let Some((seq, record)) = self.arrived.pop_front() {
                return record.map(|record| Some((seq, record))).map_err(ClientError::StreamEnded);
            }
            if !self.read_on(timeout)? {
                return Ok(None);
            }
        }
    }

    /// As [`Client::next_record`], of one stream alone; records of the others are kept.
    pub fn next_record_of(
        &mut self,
        stream: u64,
        timeout: Option<Duration>,
    ) -> Result<Option<Record>, ClientError> {
        loop {
            let at = self.arrived.iter().position(|(seq, _)| *seq == stream);
            if let Some((_, record)) = at.and_then(|at| self.arrived.remove(at)) {
                return record.map(Some).map_err(ClientError::StreamEnded);
            }
            if !self.read_on(timeout)? {
                return Ok(None);
            }
        }
    }

    /// Reads a record, or a reply that nobody waits for any more. Returns whether the connection
    /// is still open.
    fn read_on(&mut self, timeout: Option<Duration>) -> Result<bool, ClientError> {
        match self.next_header_or_record(timeout) {
            Ok(_) => Ok(true),
            Err(ClientError::Closed) => Ok(false),
            Err(e) => Err(e),
        }
    }

    /// What has come of a stream or is still to come is of no use any more.
    fn forget(&mut self, stream: u64) {
        self.arrived.retain(|(seq, _)| *seq != stream);
        if let Some(kind) = self.streams.get_mut(&stream) {
            *kind = Kind::Stopped;
        }
    }

    /// Every record until the agent closes the connection or something fails.
    pub fn records(&mut self) -> impl Iterator<Item = Result<(u64, Record), ClientError>> + '_ {
        let mut ended = false;
        std::iter::from_fn(move || {
            if ended {
                return None;
            }
            let next = self.next_record(None).transpose();
            ended = !matches!(next, Some(Ok(_)));
            next
        })
    }

    /// Records that were dropped because a reply was waited for too long.
    pub fn dropped_records(&self) -> u64 {
        self.dropped
    }

    /// A command whose reply is a body. Further commands need no more than this line.
    pub fn call<Q: Serialize, A: DeserializeOwned>(
        &mut self,
        command: Command,
        request: Option<&Q>,
    ) -> Result<A, ClientError> {
        let seq = self.send(command, request)?;
        match self.expect_reply(command, seq)? {
            (reply, error) if error.is_empty() => Ok(reply),
            (_, error) => Err(ClientError::Server(error)),
        }
    }

    /// A command whose reply is a header alone.
    pub fn order<Q: Serialize>(&mut self, command: Command, request: &Q) -> Result<(), ClientError> {
        let seq = self.send(command, Some(request))?;
        self.expect_done(command, seq)
    }

    fn key(&mut self, command: Command, key: &str) -> Result<KeyResponse, ClientError> {
        self.call(command, Some(&KeyRequest { key: key.into() }))
    }

    fn subscribe<Q: Serialize>(
        &mut self,
        command: Command,
        kind: Kind,
        request: &Q,
    ) -> Result<u64, ClientError> {
        let seq = self.send(command, Some(request))?;
        self.expect_done(command, seq)?;
        self.streams.insert(seq, kind);
        Ok(seq)
    }

    fn send<Q: Serialize>(&mut self, command: Command, request: Option<&Q>) -> Result<u64, ClientError> {
        self.seq += 1;
        let mut bytes = encode(&RequestHeader { command: command.as_str().into(), seq: self.seq });
        if let Some(request) = request {
            encode_into(&mut bytes, request);
        }
        match self.socket.write_all(&bytes) {
            Ok(()) => Ok(self.seq),
            Err(e) if is_timeout(&e) => Err(ClientError::TimedOut(self.timeout)),
            // An agent that refuses us writes why and closes; its words are better than ours.
            Err(e) => match self.next_header_or_record(Some(self.timeout)) {
                Ok(Some(header)) if !header.error.is_empty() => Err(ClientError::Server(header.error)),
                _ => Err(ClientError::Io(e)),
            },
        }
    }

    fn reply_timeout(&self, command: Command) -> Duration {
        match command {
            Command::Join
            | Command::Leave
            | Command::ForceLeave
            | Command::InstallKey
            | Command::UseKey
            | Command::RemoveKey
            | Command::ListKeys => SLOW_REPLY_TIMEOUT.max(self.timeout),
            _ => self.timeout,
        }
    }

    /// The header of the reply to `seq`.
    fn expect_header(&mut self, command: Command, seq: u64) -> Result<ResponseHeader, ClientError> {
        let timeout = Some(self.reply_timeout(command));
        loop {
            match self.next_header_or_record(timeout)? {
                Some(header) if header.seq == seq => return Ok(header),
                // Not about any request: the agent refuses the connection as such.
                Some(header) if header.seq == 0 && !header.error.is_empty() => {
                    return Err(ClientError::Server(header.error));
                }
                _ => {}
            }
        }
    }

    fn expect_done(&mut self, command: Command, seq: u64) -> Result<(), ClientError> {
        let header = self.expect_header(command, seq)?;
        if header.error.is_empty() { Ok(()) } else { Err(ClientError::Server(header.error)) }
    }

    fn expect_reply<A: DeserializeOwned>(
        &mut self,
        command: Command,
        seq: u64,
    ) -> Result<(A, String), ClientError> {
        let header = self.expect_header(command, seq)?;
        // These come without the body that the command's other errors have.
        let bare = ["Authentication required", "Handshake required", "Unsupported command"];
        if bare.contains(&header.error.as_str()) {
            return Err(ClientError::Server(header.error));
        }
        let value = match self.value(Some(self.timeout)) {
            Err(ClientError::Closed) if !header.error.is_empty() => {
                return Err(ClientError::Server(header.error));
            }
            other => other?,
        };
        Ok((read(command, &value)?, header.error))
    }

    /// Reads on: a header that begins no record is returned, a record is kept.
    fn next_header_or_record(
        &mut self,
        timeout: Option<Duration>,
    ) -> Result<Option<ResponseHeader>, ClientError> {
        if self.half.is_none() {
            let value = self.value(timeout)?;
            let header: ResponseHeader = decode(&value).map_err(ClientError::Header)?;
            match self.streams.get(&header.seq) {
                None => return Ok(Some(header)),
                Some(kind) => self.half = Some((header.seq, *kind, header.error)),
            }
        }
        let value = self.value(timeout)?;
        if let Some((seq, kind, error)) = self.half.take() {
            let record = match kind {
                Kind::Stopped => return Ok(None),
                _ if !error.is_empty() => Err(error),
                _ => Ok(streamed::record(kind, &value)?),
            };
            if kind == Kind::Query && matches!(record, Ok(Record::Answer(Answer::Done)) | Err(_)) {
                // The last one. A client that asks all day would remember all its queries.
                self.streams.remove(&seq);
            }
            if self.arrived.len() >= MAX_KEPT_RECORDS {
                self.arrived.pop_front();
                self.dropped += 1;
            }
            self.arrived.push_back((seq, record));
        }
        Ok(None)
    }

    /// The bytes of the next value.
    fn value(&mut self, timeout: Option<Duration>) -> Result<Vec<u8>, ClientError> {
        // A timeout of zero means "none" to the system.
        let timeout = timeout.map(|t| t.max(Duration::from_millis(1)));
        self.socket.set_read_timeout(timeout).map_err(ClientError::Io)?;
        loop {
            if let Some(len) = self.scanner.scan(&self.input, MAX_VALUE).map_err(ClientError::Frame)? {
                return Ok(self.input.drain(..len).collect());
            }
            let mut chunk = [0; CHUNK];
            match self.socket.read(&mut chunk) {
                Ok(0) => return Err(ClientError::Closed),
                Ok(len) => self.input.extend_from_slice(chunk.get(..len).unwrap_or_default()),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) if is_timeout(&e) => return Err(ClientError::TimedOut(timeout.unwrap_or_default())),
                Err(e) if e.kind() == io::ErrorKind::ConnectionReset => return Err(ClientError::Closed),
                Err(e) => return Err(ClientError::Io(e)),
            }
        }
    }
}

fn read<T: DeserializeOwned>(command: Command, value: &[u8]) -> Result<T, ClientError> {
    decode(value).map_err(|error| ClientError::Reply { command, error })
}
