//! One row of the membership table: a member's SWIM state and its Serf status in one.

use super::effects::{StreamRequest, Target};
use super::rings::RingPlace;
use super::suspicion::Suspicion;
use super::vivaldi::RoundTrips;
use crate::model::{Coordinate, Incarnation, LamportTime, Member, Meta, Moment, NodeName, Status, Versions};
use crate::wire::Dialect;
use crate::wire::message::{Alive, PeerRow, PeerState};
use siphasher::sip::SipHasher13;
use std::hash::Hasher;
use std::net::{IpAddr, SocketAddr};
use std::ops::BitXorAssign;

/// The memberlist protocol from which on members answer pings over TCP.
const STREAM_PING_PROTOCOL: u8 = 3;

/// The place in the order of probing of a row that is not in it.
pub(super) const NOWHERE: u32 = u32::MAX;

/// SWIM's state of a member. Serf's status follows from it and from `leaving`, so that a
/// member cannot be alive and left at once.
#[derive(Clone, Debug)]
pub enum State {
    /// Answers.
    Alive,
    /// Did not answer someone; has until the suspicion's deadline to say so.
    Suspect(Box<Suspicion>),
    /// Given up.
    Dead,
    /// Went on its own wish, or by `force-leave` after it was given up.
    Left,
}

/// What is known of one member.
#[derive(Clone, Debug)]
pub struct Row {
    /// Its name.
    pub name: NodeName,
    /// Its gossip address.
    pub addr: SocketAddr,
    /// Its tags, as it said them.
    pub meta: Meta,
    /// What it speaks.
    pub versions: Versions,
    /// The highest incarnation that was ever admitted, whatever the state.
    pub incarnation: Incarnation,
    /// How it is.
    pub state: State,
    /// Since when.
    pub since: Moment,
    /// Whether it (or an operator) has announced that it leaves.
    pub leaving: bool,
    /// Lamport time of the last intent about it.
    pub status_ltime: LamportTime,
    /// How probes of it went.
    pub probes: ProbeRecord,
    /// Where it is on the network, since it first said so in an ack.
    pub located: Option<Box<Located>>,
    /// Until when it is not informed once more that it counts as dead, when it says to be alive in a run
    /// that is over.
    pub(super) challenged_until: Moment,
    /// Whether only one dialect is spoken here.
    pub(super) native_only: bool,
    /// Its place in the order of probing.
    pub(super) place_in_order: u32,
    /// Which rings it is on.
    pub(super) place: RingPlace,
}

/// How this member's probes of another, and its exchanges with it, went, by transport. That one of UDP and TCP is
/// blocked and the other open is a common fault of networks, and this is where it shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProbeRecord {
    /// Answered over UDP, directly or through others.
    pub udp_ok: u32,
    /// Not answered over UDP in time, or not even sent.
    pub udp_failed: u32,
    /// Probes that were answered over TCP after UDP had failed, and exchanges.
    pub tcp_ok: u32,
    /// Probes that were not answered over TCP either, and exchanges that failed.
    pub tcp_failed: u32,
}

/// Where a member is on the network, as it said itself, and how far that was.
#[derive(Clone, Copy, Debug)]
pub struct Located {
    /// What it said last.
    pub coordinate: Coordinate,
    /// The last round trips to it.
    pub(super) round_trips: RoundTrips,
}

impl ProbeRecord {
    /// Whether something has not come through.
    pub fn is_troubled(&self) -> bool {
        self.udp_failed > 0 || self.tcp_failed > 0
    }
}

impl Row {
    /// A member that has just been heard of for the first time, alive.
    pub(super) fn new(name: NodeName, addr: SocketAddr, meta: &[u8], versions: Versions, now: Moment) -> Row {
        Row {
            name,
            addr,
            meta: meta.into(),
            versions,
            incarnation: Incarnation::default(),
            state: State::Alive,
            since: now,
            leaving: false,
            status_ltime: LamportTime::ZERO,
            probes: ProbeRecord::default(),
            located: None,
            challenged_until: Moment::ZERO,
            native_only: false,
            place_in_order: NOWHERE,
            place: RingPlace::default(),
        }
    }

    /// Serf's view of the state.
    pub fn status(&self) -> Status {
        match (&self.state, self.leaving) {
            (State::Alive | State::Suspect(_), false) => Status::Alive,
            (State::Alive | State::Suspect(_), true) => Status::Leaving,
            (State::Dead, _) => Status::Failed,
            (State::Left, _) => Status::Left,
        }
    }

    /// Whether the member takes part: alive or suspected.
    pub fn is_present(&self) -> bool {
        matches!(self.state, State::Alive | State::Suspect(_))
    }

    /// Whether it is alive and not even suspected.
    pub fn is_alive(&self) -> bool {
        matches!(self.state, State::Alive)
    }

    /// Where to send, and in which dialect. A member that is suspected or dead may come back as
    /// another kind of agent, and is addressed in the dialect that everyone reads.
    pub fn target(&self) -> Target {
        let target = Target::member(self.addr, &self.versions);
        match self.state {
            State::Alive => target,
            _ if self.native_only => target,
            _ => Target { dialect: Dialect::for_receiver(None), ..target },
        }
    }

    /// An exchange with it.
    pub(super) fn exchange(&self) -> StreamRequest {
        let differs = self.is_alive() && self.versions.speaks_differences();
        StreamRequest::PushPull { node: self.name.clone(), to: self.target(), differs }
    }

    /// Whether it knows pings over TCP.
    pub(super) fn answers_stream_pings(&self) -> bool {
        self.versions.protocol_max >= STREAM_PING_PROTOCOL
    }

    /// A copy for everyone outside the table.
    pub fn member(&self) -> Member {
        Member {
            name: self.name.clone(),
            addr: self.addr,
            meta: self.meta.clone(),
            status: self.status(),
            versions: self.versions,
            incarnation: self.incarnation,
        }
    }

    /// What the member says of itself.
    pub fn alive_message(&self) -> Alive {
        Alive {
            incarnation: self.incarnation,
            node: self.name.clone(),
            addr: self.addr,
            meta: self.meta.as_bytes().to_vec(),
            versions: self.versions,
        }
    }

    /// How many bytes its name and its tags have.
    pub(super) fn text(&self) -> usize {
        self.name.as_bytes().len() + self.meta.as_bytes().len()
    }

    /// This row in a push/pull.
    pub fn peer_row(&self) -> PeerRow {
        PeerRow {
            node: self.name.clone(),
            addr: self.addr,
            meta: self.meta.as_bytes().to_vec(),
            incarnation: self.incarnation,
            state: match self.state {
                State::Alive => PeerState::Alive,
                State::Suspect(_) => PeerState::Suspect,
                State::Dead => PeerState::Dead,
                State::Left => PeerState::Left,
            },
            leaving: self.leaving,
            status_ltime: self.status_ltime,
            versions: self.versions,
        }
    }

    /// This row's share of the table's two digests.
    ///
    /// The first is said in acks: whether it is present, in which incarnation, with which
    /// tags and versions (two runs of a member can both have come to the same incarnation), and
    /// whether it is about to leave. Suspicions pass and tombstones expire at each member's own
    /// pace, so they do not count.
    ///
    /// The second decides whether an exchange has anything to do, and counts also the address and the
    /// time of the last intent.
    pub(super) fn fingerprint(&self) -> Fingerprint {
        if !self.is_present() {
            return Fingerprint::default();
        }
        // FNV-1a: the same on every host and in every version, unlike the standard hasher.
        let mut hash = 0xcbf2_9ce4_8422_2325_u64;
        let mut add = |bytes: &[u8]| {
            for byte in bytes {
                hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
            }
            hash
        };
        add(self.name.as_bytes());
        add(&self.incarnation.0.to_le_bytes());
        add(&[u8::from(self.leaving)]);
        add(&self.versions.to_bytes());
        let digest = add(self.meta.as_bytes());
        add(&address_bytes(self.addr));
        let total = add(&self.status_ltime.0.to_le_bytes());
        Fingerprint { digest, total }
    }

    /// A hash with a key of what [`Row::fingerprint`] covers; nobody who does not know the key can find rows
    /// whose hashes cancel out.
    pub(super) fn keyed_hash(&self, key: &[u8; 16]) -> u64 {
        let mut hasher = SipHasher13::new_with_key(key);
        for bytes in [self.name.as_bytes(), self.meta.as_bytes()] {
            // With lengths, so that no two rows run into the same bytes.
            hasher.write(&(bytes.len() as u64).to_le_bytes());
            hasher.write(bytes);
        }
        hasher.write(&self.incarnation.0.to_le_bytes());
        hasher.write(&[u8::from(self.leaving)]);
        hasher.write(&self.versions.to_bytes());
        hasher.write(&address_bytes(self.addr));
        hasher.write(&self.status_ltime.0.to_le_bytes());
        hasher.finish()
    }
}

/// A row's share of the digests of a table; zero for those that are not present.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Fingerprint {
    pub digest: u64,
    pub total: u64,
}

impl BitXorAssign for Fingerprint {
    fn bitxor_assign(&mut self, other: Self) {
        self.digest ^= other.digest;
        self.total ^= other.total;
    }
}

/// An address as an IPv6 address and a port.
fn address_bytes(addr: SocketAddr) -> [u8; 18] {
    let ip = match addr.ip() {
        IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        IpAddr::V6(ip) => ip,
    };
    let mut bytes = [0; 18];
    bytes[..16].copy_from_slice(&ip.octets());
    bytes[16..].copy_from_slice(&addr.port().to_le_bytes());
    bytes
}
