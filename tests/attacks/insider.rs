//! The tool kit of an insider: valid messages, from an address of its own, in either dialect.
//!
//! An [`Insider`] is a stranger to the cluster. One that is a member, and answers pings, is a
//! [`StandIn`](crate::harness::stand_in::StandIn).

use crate::harness::stand_in::{self, read_message};
use rustix::net::sockopt::set_socket_recv_buffer_size;
use rustix::net::{AddressFamily, SocketType, bind, connect, socket};
use serf::model::{Incarnation, LamportTime, NodeName, Tags, Versions};
use serf::wire::datagram::Packer;
use serf::wire::message::{Alive, Message, PeerRow, PushPull};
use serf::wire::stream::{self, MAX_FRAME, StreamMessage};
use serf::wire::{Dialect, encode};
use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::thread;
use std::time::{Duration, Instant};

/// Both ways to say the same.
pub(super) const DIALECTS: [Dialect; 2] = [Dialect::Native, Dialect::Hashicorp];

/// What agents put into one datagram.
const BUDGET: usize = 1400;

/// How long it waits for an answer on a stream: a table of many members takes its time.
const PATIENCE: Duration = Duration::from_secs(60);

/// Somebody that knows the protocol and has an address.
pub(super) struct Insider {
    ip: Ipv4Addr,
    socket: UdpSocket,
}

impl Insider {
    pub(super) fn at(ip: Ipv4Addr) -> Insider {
        let socket = UdpSocket::bind((ip, 0)).expect("there are free ports");
        Insider { ip, socket }
    }

    /// Sends a datagram. The kernel may refuse one, as it may lose one.
    pub(super) fn send(&self, to: SocketAddr, datagram: &[u8]) {
        let _ = self.socket.send_to(datagram, to);
    }

    /// Sends one message.
    pub(super) fn say(&self, to: SocketAddr, dialect: Dialect, message: impl Into<Message>) {
        self.send(to, &encode(dialect, &message.into()));
    }

    /// Sends datagrams in turn to all of these, so many a second, for this time. How many.
    pub(super) fn say_at_rate(
        &self,
        to: &[SocketAddr],
        rate: u32,
        time: Duration,
        mut next: impl FnMut(u32) -> Vec<u8>,
    ) -> u32 {
        let start = Instant::now();
        let mut sent = 0;
        while start.elapsed() < time {
            let due = (start.elapsed().as_secs_f64() * f64::from(rate)) as u32;
            // Late by more than a tenth of a second it does not catch up: that would be a flood.
            sent = sent.max(due.saturating_sub(rate / 10));
            while sent < due {
                let datagram = next(sent);
                to.iter().for_each(|to| self.send(*to, &datagram));
                sent += 1;
            }
            thread::sleep(Duration::from_millis(1));
        }
        sent
    }

    /// A connection from its own address.
    pub(super) fn connect(&self, to: SocketAddr) -> io::Result<TcpStream> {
        self.connect_with(to, None)
    }

    /// The same with a buffer of a few kilobytes, for one that will not read.
    pub(super) fn connect_deaf(&self, to: SocketAddr) -> io::Result<TcpStream> {
        self.connect_with(to, Some(4096))
    }

    fn connect_with(&self, to: SocketAddr, buffer: Option<usize>) -> io::Result<TcpStream> {
        loop {
            match self.try_to_connect(to, buffer) {
                // A child of another test has ended.
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                result => return result,
            }
        }
    }

    fn try_to_connect(&self, to: SocketAddr, buffer: Option<usize>) -> io::Result<TcpStream> {
        let socket = socket(AddressFamily::INET, SocketType::STREAM, None)?;
        if let Some(bytes) = buffer {
            set_socket_recv_buffer_size(&socket, bytes)?;
        }
        bind(&socket, &SocketAddr::from((self.ip, 0)))?;
        connect(&socket, &to)?;
        let stream = TcpStream::from(socket);
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(stream)
    }

    /// Exchanges a state with an agent: what that answers.
    pub(super) fn exchange(
        &self,
        to: SocketAddr,
        dialect: Dialect,
        state: PushPull,
    ) -> io::Result<StreamMessage> {
        self.ask(to, &stream::encode(dialect, &StreamMessage::PushPull(state)))
    }

    /// Sends the bytes of a message on a stream: what the agent answers.
    pub(super) fn ask(&self, to: SocketAddr, frame: &[u8]) -> io::Result<StreamMessage> {
        let mut stream = self.connect(to)?;
        stream.write_all(frame)?;
        read_message(&mut stream).map(|(_, message)| message)
    }

    /// What an agent says of a member.
    pub(super) fn row_of(&self, member: &str, agent: SocketAddr) -> PeerRow {
        let answer = self.exchange(agent, Dialect::Native, PushPull::default());
        let Ok(StreamMessage::PushPull(state)) = answer else { panic!("no state but {answer:?}") };
        let mut rows = state.rows.into_iter();
        rows.find(|row| row.node == name(member)).unwrap_or_else(|| panic!("no row of {member}"))
    }

    /// Brings an agent members that do not exist, in as many exchanges as that takes.
    pub(super) fn invent(&self, agent: SocketAddr, rows: &[PeerRow]) {
        for rows in rows.chunks(10_000) {
            let state = PushPull { ltime: LamportTime(1), rows: rows.to_vec(), ..PushPull::default() };
            let answer = self.exchange(agent, Dialect::Native, state);
            assert!(matches!(answer, Ok(StreamMessage::PushPull(_))), "{answer:?}");
        }
    }
}

pub(super) fn name(text: &str) -> NodeName {
    NodeName::new(text).expect("a name")
}

/// A member as it is said to be in an exchange.
pub(super) fn row(node: &str, addr: SocketAddr) -> PeerRow {
    stand_in::row(node, addr, Versions::OURS)
}

/// The claim of a name.
pub(super) fn claim(node: &str, addr: SocketAddr, incarnation: Incarnation) -> Alive {
    let PeerRow { node, meta, versions, .. } = row(node, addr);
    Alive { incarnation, node, addr, meta, versions }
}

/// The name of an invented member.
pub(super) fn invented_name(number: u32) -> String {
    format!("invented-{number}")
}

/// Members of which there is nothing, with so many bytes of tags: at addresses where nothing listens,
/// outside all networks of tests.
pub(super) fn invented(count: u32, tag_bytes: usize) -> Vec<PeerRow> {
    // Of no pattern, so that nothing is gained by compressing them.
    let mut rng = fastrand::Rng::with_seed(1);
    let one = |number: u32| {
        let [_, a, b, c] = number.to_be_bytes();
        let value: String = (0..tag_bytes).map(|_| rng.alphanumeric()).collect();
        let tags = Tags::from_pairs([format!("n={value}")]).expect("a pair");
        let addr = SocketAddr::from((Ipv4Addr::new(127, 224 + a, b, c), 7946));
        let meta = tags.encode().expect("as much as fits");
        PeerRow { meta, ..row(&invented_name(number), addr) }
    };
    (0..count).map(one).collect()
}

/// Datagrams that hold these messages, as large as those of agents.
pub(super) fn packed(dialect: Dialect, messages: impl IntoIterator<Item = Message>) -> Vec<Vec<u8>> {
    let (mut datagrams, mut packer) = (Vec::new(), Packer::new(BUDGET));
    for message in messages {
        let bytes = encode(dialect, &message);
        if !packer.push(&bytes) {
            datagrams.push(std::mem::replace(&mut packer, Packer::new(BUDGET)).finish());
            assert!(packer.push(&bytes), "a message fits a datagram");
        }
    }
    if !packer.is_empty() {
        datagrams.push(packer.finish());
    }
    datagrams
}

/// How many things of a size fit one exchange.
pub(super) fn fit_an_exchange(bytes_each: usize) -> usize {
    (MAX_FRAME - 1024) / bytes_each
}
