//! A stand-in: a member played by the test, for agents that do not exist yet, or should not. It
//! answers pings and push/pulls in the dialect in which it is asked, and refutes suspicions, which a
//! busy machine may cause; anything else it sends only when the test says so.

use serf::model::{Incarnation, LamportTime, NodeName, Tags, Versions};
use serf::wire::message::{
    Ack, Alive, Dead, MembershipMessage, Message, PeerRow, PeerState, ProbeMessage, PushPull, Suspect,
};
use serf::wire::stream::{self, StreamMessage};
use serf::wire::{Dialect, encode, read_datagram};
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// How often its threads look whether they are to stop.
const TICK: Duration = Duration::from_millis(50);

/// How long it waits for an agent's answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// A datagram or a stream that it was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Heard {
    pub(crate) from: SocketAddr,
    pub(crate) dialect: Dialect,
}

/// What it does about a message besides: what it sends to which address, each in the native dialect.
pub(crate) type Reaction = Box<dyn FnMut(SocketAddr, &Message) -> Vec<(SocketAddr, Message)> + Send>;

struct State {
    heard: Vec<Heard>,
    reaction: Option<Reaction>,
    /// What it says of itself.
    row: PeerRow,
}

/// Runs until it is dropped.
pub(crate) struct StandIn {
    /// Where its news comes from: news about a member mostly comes from others.
    hearsay: UdpSocket,
    state: Arc<Mutex<State>>,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl StandIn {
    /// Takes an address and a name. The version vector is that of its first incarnation.
    pub(crate) fn start(name: &str, addr: SocketAddr, versions: [u8; 6]) -> StandIn {
        let row = row(name, addr, Versions::from_bytes(versions));
        let state = Arc::new(Mutex::new(State { heard: Vec::new(), reaction: None, row }));
        let stop = Arc::<AtomicBool>::default();
        let udp = UdpSocket::bind(addr).unwrap_or_else(|e| panic!("stand-in: cannot bind {addr}: {e}"));
        udp.set_read_timeout(Some(TICK)).expect("a timeout can be set");
        let tcp = TcpListener::bind(addr).unwrap_or_else(|e| panic!("stand-in: cannot bind {addr}: {e}"));
        tcp.set_nonblocking(true).expect("a listener can be non-blocking");
        let hearsay = UdpSocket::bind((addr.ip(), 0)).expect("there are free ports");
        let threads = vec![
            thread::spawn({
                let (state, stop) = (state.clone(), stop.clone());
                move || answer_datagrams(&udp, &state, &stop)
            }),
            thread::spawn({
                let (state, stop) = (state.clone(), stop.clone());
                move || answer_streams(&tcp, &state, &stop)
            }),
        ];
        StandIn { hearsay, state, stop, threads }
    }

    /// What it would say of itself in another incarnation with another version vector. It is still
    /// what it was.
    pub(crate) fn alive(&self, incarnation: u32, versions: [u8; 6]) -> Alive {
        let (incarnation, versions) = (Incarnation(incarnation), Versions::from_bytes(versions));
        Alive { incarnation, versions, ..alive(&self.row()) }
    }

    /// Becomes something else, and has an agent hear of that.
    pub(crate) fn become_another(&self, versions: [u8; 6], to: SocketAddr, dialect: Dialect) {
        let mut state = lock(&self.state);
        state.row.incarnation = state.row.incarnation.next();
        state.row.versions = Versions::from_bytes(versions);
        self.send(to, &encode(dialect, &Message::from(alive(&state.row))));
    }

    /// From now on it does this about each message that comes in a datagram.
    pub(crate) fn react(&self, reaction: Reaction) {
        lock(&self.state).reaction = Some(reaction);
    }

    /// Has an agent be sent these bytes.
    pub(crate) fn send(&self, to: SocketAddr, datagram: &[u8]) {
        self.hearsay.send_to(datagram, to).expect("loopback takes datagrams");
    }

    /// Joins through an agent: exchanges itself and `others` with it. What it answered.
    pub(crate) fn join(&self, through: SocketAddr, dialect: Dialect, others: Vec<PeerRow>) -> StreamMessage {
        let mut rows = vec![self.row()];
        rows.extend(others);
        let mut stream = TcpStream::connect_timeout(&through, PATIENCE).expect("the agent listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout can be set");
        let request = StreamMessage::PushPull(push_pull(true, rows));
        stream.write_all(&stream::encode(dialect, &request)).expect("the agent reads");
        read_message(&mut stream).expect("the agent answers").1
    }

    /// What it says of itself in a push/pull.
    pub(crate) fn row(&self) -> PeerRow {
        lock(&self.state).row.clone()
    }

    /// All that it was sent so far, in order.
    pub(crate) fn heard(&self) -> Vec<Heard> {
        lock(&self.state).heard.clone()
    }
}

impl Drop for StandIn {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let ended = thread.join();
            assert!(ended.is_ok() || thread::panicking(), "a stand-in was sent what it cannot take");
        }
    }
}

fn lock(state: &Mutex<State>) -> std::sync::MutexGuard<'_, State> {
    state.lock().expect("nobody panics with it")
}

/// What a row says.
fn alive(row: &PeerRow) -> Alive {
    let PeerRow { node, addr, meta, incarnation, versions, .. } = row.clone();
    Alive { incarnation, node, addr, meta, versions }
}

fn push_pull(join: bool, rows: Vec<PeerRow>) -> PushPull {
    PushPull { join, ltime: LamportTime(1), rows, ..PushPull::default() }
}

fn answer_datagrams(udp: &UdpSocket, state: &Mutex<State>, stop: &AtomicBool) {
    let mut buffer = vec![0; 65_536];
    while !stop.load(Ordering::Relaxed) {
        // A timeout, or the port that a datagram went to is closed.
        let Ok((length, from)) = udp.recv_from(&mut buffer) else { continue };
        let mut messages = Vec::new();
        let read = read_datagram(&buffer[..length], None, |message, _| messages.push(message));
        read.expect("agents send what can be read");
        let dialect = dialect_of(&buffer[..length]);
        let mut state = lock(state);
        state.heard.push(Heard { from, dialect });
        for message in messages {
            for (to, answer) in state.reaction.as_mut().map(|react| react(from, &message)).unwrap_or_default()
            {
                let _ = udp.send_to(&encode(Dialect::Native, &answer), to);
            }
            if let Some(answer) = answer(&mut state.row, message) {
                // The agent that asked may be gone.
                let _ = udp.send_to(&encode(dialect, &answer), from);
            }
        }
    }
}

fn answer(row: &mut PeerRow, message: Message) -> Option<Message> {
    match message {
        Message::Probe(ProbeMessage::Ping(ping)) if ping.node == row.node => {
            Some(Message::from(Ack { seq_no: ping.seq_no, digest: None, payload: Vec::new() }))
        }
        Message::Membership(MembershipMessage::Suspect(Suspect { node, incarnation, .. }))
        | Message::Membership(MembershipMessage::Dead(Dead { node, incarnation, .. }))
            if node == row.node && incarnation >= row.incarnation =>
        {
            row.incarnation = incarnation.next();
            Some(Message::from(alive(row)))
        }
        _ => None,
    }
}

/// The dialect of a datagram: that of its first message, behind checksum and compound.
fn dialect_of(datagram: &[u8]) -> Dialect {
    let parts = serf::wire::datagram::open(datagram).expect("agents send what can be read");
    Dialect::of(parts[0][0])
}

fn answer_streams(tcp: &TcpListener, state: &Mutex<State>, stop: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) {
        let Ok((mut stream, from)) = tcp.accept() else {
            thread::sleep(TICK);
            continue;
        };
        stream.set_nonblocking(false).expect("a stream can block");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout can be set");
        // A caller that hangs up early gets no answer.
        let Ok((dialect, message)) = read_message(&mut stream) else { continue };
        lock(state).heard.push(Heard { from, dialect });
        let row = lock(state).row.clone();
        let answer = match message {
            StreamMessage::PushPull(theirs) => StreamMessage::PushPull(push_pull(theirs.join, vec![row])),
            StreamMessage::Ping(ping) => {
                StreamMessage::Ack(Ack { seq_no: ping.seq_no, digest: None, payload: Vec::new() })
            }
            _ => continue,
        };
        let _ = stream.write_all(&stream::encode(dialect, &answer));
    }
}

/// A member without tags as it is said to be in an exchange, in its first incarnation.
pub(crate) fn row(name: &str, addr: SocketAddr, versions: Versions) -> PeerRow {
    PeerRow {
        node: NodeName::new(name).expect("a name"),
        addr,
        meta: Tags::default().encode().expect("no tags are not too many"),
        incarnation: Incarnation(1),
        state: PeerState::Alive,
        leaving: false,
        status_ltime: LamportTime(1),
        versions,
    }
}

/// Reads the one message that comes on a stream, and its dialect.
pub(crate) fn read_message(stream: &mut TcpStream) -> std::io::Result<(Dialect, StreamMessage)> {
    let (mut buffer, mut chunk) = (Vec::new(), [0; 4096]);
    let mut reader = stream::StreamReader::new(None);
    loop {
        let length = match stream.read(&mut chunk) {
            // A child of another test has ended.
            Err(e) if e.kind() == ErrorKind::Interrupted => continue,
            result => result?,
        };
        if length == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        buffer.extend_from_slice(&chunk[..length]);
        let invalid = |e| std::io::Error::new(ErrorKind::InvalidData, format!("{e}"));
        if let Some(message) = reader.read(&buffer).map_err(invalid)? {
            return Ok((reader.dialect().expect("it has read a message"), message));
        }
    }
}
