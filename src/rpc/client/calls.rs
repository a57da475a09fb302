//! A connection to an agent, seen from the side that asks: one call at a time, and the records of
//! streams that arrive meanwhile.

use super::error::ClientError;
use super::socket::{ClientSocket, dial, is_timeout};
use super::streamed::{QueryAnswer, Record, Streamed};
use crate::model::Text;
use crate::rpc::codec::{Body, decode, encode};
use crate::rpc::commands::{Call, Patience, RpcCommand};
use crate::rpc::frame::FrameScanner;
use crate::rpc::record::{AuthCall, HandshakeCall, RequestHeader, ResponseHeader, VERSION};
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::time::Duration;

/// For connecting, for each write, and for replies that the agent gives by itself.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);
/// For replies that wait for others: joins of addresses that do not answer, leaving, keys.
const LONG_TIMEOUT: Duration = Duration::from_secs(300);
/// The largest value from an agent, in bytes: a list of as many members as there can be, with as much text as their
/// tables hold, takes 90 MB. Beyond it the agent is not to be trusted.
const MAX_VALUE: usize = 128 * 1024 * 1024;
/// Records kept while a reply is waited for; beyond, the oldest is dropped.
const MAX_KEPT_RECORDS: usize = 4096;

const CHUNK: usize = 16 * 1024;

/// The agent to connect to.
#[derive(Clone, Debug)]
pub struct ClientConfig {
    /// `host:port` or `unix:/path`.
    pub addr: String,
    /// `rpc_auth`; empty to send none.
    pub auth_key: Text,
    /// For connecting, for each write, and for replies that the agent gives by itself.
    pub timeout: Duration,
}

impl ClientConfig {
    /// No key, the default timeout.
    pub fn new(addr: impl Into<String>) -> ClientConfig {
        ClientConfig { addr: addr.into(), auth_key: Text::default(), timeout: DEFAULT_TIMEOUT }
    }
}

/// A record as it came, with the header's error.
type ArrivedRecord = (u64, Result<Record, String>);

/// A connection to an agent.
#[derive(Debug)]
pub struct Client {
    socket: ClientSocket,
    timeout: Duration,
    input: Vec<u8>,
    scanner: FrameScanner,
    seq: u64,
    /// What comes on each stream that there was, for as long as the client lives: they are few.
    streams: BTreeMap<u64, Streamed>,
    /// The `Seq` of a record whose body has not arrived, and the header's error.
    half: Option<(u64, Streamed, String)>,
    arrived: VecDeque<ArrivedRecord>,
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
        };
        client.call(&HandshakeCall { version: VERSION })?;
        if !config.auth_key.is_empty() {
            client.call(&AuthCall { auth_key: config.auth_key.clone() })?;
        }
        Ok(client)
    }

    /// Asks something and waits for the answer.
    pub(crate) fn call<C: Call>(&mut self, call: &C) -> Result<C::Response, ClientError> {
        match self.call_partly(call)? {
            (reply, error) if error.is_empty() => Ok(reply),
            (_, error) => Err(ClientError::Server(error)),
        }
    }

    /// As [`Client::call`], where the answer is of use beside an error too: what the agent says
    /// went wrong is empty when nothing did.
    pub(crate) fn call_partly<C: Call>(&mut self, call: &C) -> Result<(C::Response, String), ClientError> {
        let mut body = Vec::new();
        call.write(&mut body);
        let (value, error) = self.exchange(C::COMMAND, &body)?;
        let reply = match value {
            None => C::Response::default(),
            Some(value) => C::Response::read(&value)
                .map_err(|error| ClientError::Reply { command: C::COMMAND, error })?,
        };
        Ok((reply, error))
    }

    /// Sends a request and waits for its reply: the bytes of the reply's body, if there is one, and
    /// the header's error. One function for all commands, so that the program holds it once.
    fn exchange(
        &mut self,
        command: RpcCommand,
        body: &[u8],
    ) -> Result<(Option<Vec<u8>>, String), ClientError> {
        let seq = self.send(command, body)?;
        let error = self.expect_header(command.patience(), seq)?;
        // These come without the body that the command's other errors have.
        let bare = ["Authentication required", "Handshake required", "Unsupported command"];
        if bare.contains(&error.as_str()) {
            return Err(ClientError::Server(error));
        }
        if !command.has_reply_body() {
            return Ok((None, error));
        }
        match self.value(Some(self.timeout)) {
            Err(ClientError::Closed) if !error.is_empty() => Err(ClientError::Server(error)),
            value => Ok((Some(value?), error)),
        }
    }

    /// Asks for records, which are then kept for [`Client::next_record`]; answers the number of their
    /// stream.
    pub(super) fn subscribe<C: Call>(&mut self, call: &C, streamed: Streamed) -> Result<u64, ClientError> {
        self.call(call)?;
        self.streams.insert(self.seq, streamed);
        Ok(self.seq)
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

    /// Reads a record, or a reply that is not waited for any more. Returns whether the connection
    /// is still open.
    fn read_on(&mut self, timeout: Option<Duration>) -> Result<bool, ClientError> {
        match self.next_header_or_record(timeout) {
            Ok(_) => Ok(true),
            Err(ClientError::Closed) => Ok(false),
            Err(e) => Err(e),
        }
    }

    /// What has come of a stream or is still to come is of no use any more.
    pub(super) fn forget(&mut self, stream: u64) {
        self.arrived.retain(|(seq, _)| *seq != stream);
        if let Some(streamed) = self.streams.get_mut(&stream) {
            *streamed = Streamed::Nothing;
        }
    }

    /// Writes a request; answers its number.
    fn send(&mut self, command: RpcCommand, body: &[u8]) -> Result<u64, ClientError> {
        self.seq += 1;
        let mut bytes = encode(&RequestHeader { command: command.word().into(), seq: self.seq });
        bytes.extend_from_slice(body);
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

    /// The error in the header of the reply to `seq`; empty for none.
    fn expect_header(&mut self, patience: Patience, seq: u64) -> Result<String, ClientError> {
        let timeout = Some(match patience {
            Patience::Usual => self.timeout,
            Patience::Long => LONG_TIMEOUT.max(self.timeout),
        });
        loop {
            match self.next_header_or_record(timeout)? {
                Some(header) if header.seq == seq => return Ok(header.error),
                // Not about any request: the agent refuses the connection as such.
                Some(header) if header.seq == 0 && !header.error.is_empty() => {
                    return Err(ClientError::Server(header.error));
                }
                // A reply that is not waited for any more, or a record, which is kept.
                Some(_) | None => {}
            }
        }
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
                Some(streamed) => self.half = Some((header.seq, *streamed, header.error)),
            }
        }
        let value = self.value(timeout)?;
        if let Some((seq, streamed, error)) = self.half.take() {
            let record = match streamed {
                Streamed::Nothing => return Ok(None),
                _ if !error.is_empty() => Err(error),
                Streamed::Events | Streamed::Log | Streamed::Answers => Ok(streamed.read(&value)?),
            };
            let is_last = matches!(record, Ok(Record::Answer(QueryAnswer::Done)) | Err(_));
            if streamed == Streamed::Answers && is_last {
                // A client that asks all day would remember all its queries.
                self.streams.remove(&seq);
            }
            if self.arrived.len() >= MAX_KEPT_RECORDS {
                self.arrived.pop_front();
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
