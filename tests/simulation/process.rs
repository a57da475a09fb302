//! One process: an agent at an address, with what the kernel, the disk, its handlers and its control
//! connections keep for it.

use crate::delivery_laws::Listener;
use crate::membership_laws::Observer;
use crate::streams::StreamEvent;
use crate::wave_laws::Forwards;
use serf::model::{Moment, NodeName, QueryKey, Token};
use serf::node::Node;
use serf::node::exchanges::JoinId;
use serf::node::snapshot::{Known, Reading};
use serf::wire::keyring::SharedKeyring;
use std::net::SocketAddr;
use std::time::Duration;

/// What a paused process's socket holds before the kernel drops more (Linux's default
/// `rmem_default`; the kernel counts some overhead for each datagram).
const SOCKET_BUFFER: usize = 212_992;
const DATAGRAM_OVERHEAD: usize = 512;

/// An index into the world's processes; a restarted process is another one.
pub(crate) type Pid = usize;

/// What a process's handlers make of queries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Habit {
    /// There are no handlers.
    #[default]
    Silent,
    /// They answer after a while.
    Answers(Duration),
    /// They look at it for a while and say nothing.
    Declines(Duration),
}

/// One process, from its start to its end.
#[derive(Debug)]
pub(crate) struct Process {
    /// Its name.
    pub name: NodeName,
    /// Its address.
    pub addr: SocketAddr,
    /// The agent in it, while it exists.
    pub node: Option<Node>,
    /// Whether it does not run for a while.
    pub paused: bool,
    /// Whether it is part of the cluster.
    pub joined: bool,
    /// Whether it comes back by itself after it has left.
    pub returns: bool,
    /// How it saw the others.
    pub observer: Observer,
    /// What it was told of events and queries.
    pub listener: Listener,
    /// Where it has passed news on.
    pub forwards: Forwards,
    /// Whether its joins want the events of the past.
    pub replay: bool,
    /// What its handlers make of queries.
    pub habit: Habit,
    /// Queries that its handlers are still looking at.
    pub looking: Vec<(Moment, QueryKey)>,
    /// Its snapshot file.
    pub snapshot: Vec<u8>,
    /// Its keys.
    pub keyring: Option<SharedKeyring>,
    /// How many seeds it has looked up.
    pub lookups: u32,
    /// The join that it waits for.
    pub(crate) joining: Option<JoinId>,
    requests: u64,
    inbox: Vec<(SocketAddr, Vec<u8>)>,
    inbox_bytes: usize,
    pub(crate) stalled: Vec<StreamEvent>,
    pub(crate) wakes_at: Moment,
    pub(crate) spins: u32,
    pub(crate) steps: usize,
    pub(crate) inspections: usize,
}

impl Process {
    /// A process that has just started.
    pub(crate) fn new(name: NodeName, addr: SocketAddr) -> Process {
        Process {
            name,
            addr,
            node: None,
            paused: false,
            joined: false,
            returns: false,
            observer: Observer::default(),
            listener: Listener::default(),
            forwards: Forwards::default(),
            replay: false,
            habit: Habit::default(),
            looking: Vec::new(),
            snapshot: Vec::new(),
            keyring: None,
            lookups: 0,
            joining: None,
            requests: 0,
            inbox: Vec::new(),
            inbox_bytes: 0,
            stalled: Vec::new(),
            wakes_at: Moment::NEVER,
            spins: 0,
            steps: 0,
            inspections: 0,
        }
    }

    /// Whether it exists and is not on its way out.
    pub(crate) fn stays(&self) -> bool {
        self.node.as_ref().is_some_and(|n| !n.is_leaving())
    }

    /// The name of the next request of a control connection.
    pub(crate) fn next_token(&mut self) -> Token {
        self.requests += 1;
        Token { connection: 1, seq: self.requests }
    }

    /// When its handlers are through with a query.
    pub(crate) fn handlers_deadline(&self) -> Moment {
        self.looking.iter().map(|(at, _)| *at).min().unwrap_or(Moment::NEVER)
    }

    /// What its snapshot file says.
    pub(crate) fn recalled(&self) -> Known {
        let mut reading = Reading::new(false);
        reading.push(&self.snapshot);
        let recalled = reading.finish();
        assert_eq!(recalled.skipped, 0, "a line of one's own was not understood");
        recalled.known
    }

    /// Puts a datagram into the socket of a process that does not run. Says whether it fits.
    pub(crate) fn keep(&mut self, from: SocketAddr, bytes: Vec<u8>) -> bool {
        let cost = bytes.len() + DATAGRAM_OVERHEAD;
        let fits = self.inbox_bytes + cost <= SOCKET_BUFFER;
        if fits {
            self.inbox_bytes += cost;
            self.inbox.push((from, bytes));
        }
        fits
    }

    /// Takes out what has waited for the process to run again.
    pub(crate) fn take_stalled(&mut self) -> (Vec<(SocketAddr, Vec<u8>)>, Vec<StreamEvent>) {
        self.inbox_bytes = 0;
        (std::mem::take(&mut self.inbox), std::mem::take(&mut self.stalled))
    }
}
