//! What rules ask to be done. Rules fill an [`Effects`]; their driver (a thread after it
//! has released the table, or the simulator) carries it out and clears it.

use super::config::Config;
use crate::model::{MemberEvent, NodeName, Versions};
use crate::wire::Dialect;
use crate::wire::datagram::Wrapping;
use crate::wire::message::{Message, Ping};
use std::net::SocketAddr;

/// The memberlist protocol from which on checksums are known.
const CHECKSUM_PROTOCOL: u8 = 5;

/// A receiver of bytes: where it is and which dialect it is addressed in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    /// Its gossip address.
    pub addr: SocketAddr,
    /// The dialect it understands.
    pub dialect: Dialect,
    /// Whether it knows checksums of datagrams.
    pub checksum: bool,
}

impl Target {
    /// A member whose versions are known.
    pub fn member(addr: SocketAddr, versions: &Versions) -> Self {
        let checksum = versions.protocol_max >= CHECKSUM_PROTOCOL;
        Target { addr, dialect: Dialect::for_receiver(Some(versions)), checksum }
    }

    /// How a datagram to this receiver is wrapped.
    pub fn wrapping(&self, config: &Config) -> Wrapping {
        let compress = config.compression && self.dialect == Dialect::Hashicorp;
        Wrapping { checksum: self.checksum, compress }
    }
}

/// One datagram's worth of direct messages to one receiver; queued news may be piggybacked.
#[derive(Clone, Debug, PartialEq)]
pub struct Transmit {
    /// To whom.
    pub to: Target,
    /// What, in this order.
    pub messages: Vec<Message>,
    /// The probe that depends on it, if one does: a failure to send it is a failed probe.
    pub probe: Option<u32>,
    /// Whether queued news may be piggybacked. Not to a stranger: a small forged ping must not
    /// earn a large datagram.
    pub piggybacks: bool,
}

/// An exchange over TCP that rules ask for.
#[derive(Clone, Debug, PartialEq)]
pub enum StreamRequest {
    /// Probe a member over TCP because its datagrams do not come through. The outcome is
    /// reported to the prober under the ping's sequence number.
    Ping {
        /// To whom.
        to: Target,
        /// What to send.
        ping: Ping,
    },
    /// Exchange everything with this member.
    PushPull {
        /// Its name.
        node: NodeName,
        /// To whom.
        to: Target,
        /// Whether it knows exchanges of what differs.
        differs: bool,
    },
    /// Ask a member how it is, because what is claimed of it cannot be, or hardly.
    Ask {
        /// Its name.
        node: NodeName,
        /// To whom.
        to: Target,
    },
    /// Exchange everything with a failed member, if its address still answers to its name. By now another
    /// cluster's agent may have the address, and an exchange, even one that is refused, would merge the two.
    Reconnect {
        /// To whom.
        to: Target,
        /// What to send first.
        ping: Ping,
    },
    /// Exchange everything with whatever answers at an address, if anything does: a seed, or a failed member
    /// that knows no pings over TCP.
    Reach {
        /// The seed as it is written, or the member's name. For the log.
        whom: String,
        /// To whom.
        to: Target,
    },
}

/// How a ping over TCP went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamPing {
    /// The member is there.
    Answered,
    /// Nothing listens at its address: its host says so.
    Refused,
    /// No answer came, or one that says nothing.
    Failed,
}

/// Whether what an alive message says is passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Spread {
    /// It is news to the cluster.
    Yes,
    /// Everyone but this process knows it.
    No,
}

/// Everything that a rule wants done, in order within each kind.
#[derive(Debug, Default, PartialEq)]
pub struct Effects {
    /// Datagrams to send now.
    pub transmits: Vec<Transmit>,
    /// News to spread by gossip.
    pub broadcasts: Vec<Message>,
    /// Changes to deliver to handlers, streams and the log.
    pub events: Vec<MemberEvent>,
    /// Exchanges over TCP.
    pub streams: Vec<StreamRequest>,
    /// Someone at this address claims the name of this process.
    pub rival: Option<SocketAddr>,
}

impl Effects {
    /// Whether nothing is to be done.
    pub fn is_empty(&self) -> bool {
        self.transmits.is_empty()
            && self.broadcasts.is_empty()
            && self.events.is_empty()
            && self.streams.is_empty()
            && self.rival.is_none()
    }

    /// Asks for one message to a member.
    pub fn send(&mut self, to: Target, message: Message) {
        self.transmits.push(Transmit { to, messages: vec![message], probe: None, piggybacks: true });
    }

    /// Asks for one message to an address about which nothing is known.
    pub fn send_to_stranger(&mut self, to: Target, message: Message) {
        self.transmits.push(Transmit { to, messages: vec![message], probe: None, piggybacks: false });
    }
}
