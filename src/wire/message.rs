//! Every message, typed once. They mean what memberlist's and Serf's messages of the same
//! name mean, field for field; how they are written is the dialects' business.
//!
//! What travels in a datagram is a [`Message`], of one of three kinds by the rules that deal with
//! it. Rules take the kind that is theirs, so that the compiler names every place where a new
//! message has to be thought of.

use crate::model::{Incarnation, LamportTime, NodeName, QueryKey, Text, UserEvent, Versions};
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;

/// The sender, and where answers reach it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    /// Name of the sender.
    pub node: NodeName,
    /// Its gossip address.
    pub addr: SocketAddr,
}

impl Source {
    /// Stands for the name of a source that the message left out, as old agents do. No member is
    /// found by it.
    pub fn nameless() -> NodeName {
        NodeName::new("?").unwrap_or_else(|_| unreachable!("it is not empty"))
    }
}

/// "Are you there?"
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ping {
    /// Repeated in the [`Ack`].
    pub seq_no: u32,
    /// The member that is meant; any other stays silent, lest a new agent at an old address answers
    /// for the one before it.
    pub node: NodeName,
    /// The member that asks.
    pub source: Source,
}

/// "Ask that member for me whether it is there."
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IndirectPing {
    /// Repeated in the [`Ack`] or [`Nack`].
    pub seq_no: u32,
    /// Where that member is.
    pub target: SocketAddr,
    /// Its name.
    pub node: NodeName,
    /// Whether to answer with a [`Nack`] when the member did not (Lifeguard §IV-A).
    pub nack: bool,
    /// The member that asks.
    pub source: Source,
}

/// "Yes, I am." Or: "yes, it is."
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ack {
    /// That of the [`Ping`] or [`IndirectPing`].
    pub seq_no: u32,
    /// A fingerprint of the sender's view of which members are alive, so that two members whose views
    /// differ for long notice it. Between our own agents only.
    pub digest: Option<u64>,
    /// What the sender adds: its network coordinate.
    #[serde(with = "serde_bytes")]
    pub payload: Vec<u8>,
}

/// "I asked, and it did not answer; but I am there."
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Nack {
    /// That of the [`IndirectPing`].
    pub seq_no: u32,
}

/// "Try to connect to that member for me: is it refused?" Answered by an [`Ack`] if that member is there,
/// by [`Refused`] if its host says that nothing listens, else not at all. Between our own agents only.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Knock {
    /// Repeated in the answer. Random, and another for each member that is asked, so that an answer counts
    /// for the one that was asked.
    pub seq_no: u32,
    /// Where that member is.
    pub target: SocketAddr,
    /// Its name.
    pub node: NodeName,
    /// The member that asks.
    pub source: Source,
}

/// "I tried, and its host refuses the connection." Between our own agents only.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// That of the [`Knock`].
    pub seq_no: u32,
}

/// "I think it has failed."
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Suspect {
    /// The incarnation that is suspected; a later one is not.
    pub incarnation: Incarnation,
    /// The member that is suspected.
    pub node: NodeName,
    /// The member that suspects it.
    pub from: NodeName,
}

/// "I am here, and this is what I am." Only ever originates from the member itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alive {
    /// Which restatement this is.
    pub incarnation: Incarnation,
    /// The member that is alive.
    pub node: NodeName,
    /// Where.
    pub addr: SocketAddr,
    /// Its encoded tags.
    #[serde(with = "serde_bytes")]
    pub meta: Vec<u8>,
    /// What it speaks.
    pub versions: Versions,
}

/// "It has failed", or, said by a member of itself, "I leave".
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dead {
    /// The incarnation that is dead.
    pub incarnation: Incarnation,
    /// The member that is dead.
    pub node: NodeName,
    /// The member that says so.
    pub from: NodeName,
}

/// "This member means to be here." Orders itself against [`LeaveIntent`] by Lamport time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JoinIntent {
    /// When it was said.
    pub ltime: LamportTime,
    /// The member that joins.
    pub node: NodeName,
}

/// "This member means to leave", or is made to (`force-leave`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaveIntent {
    /// When it was said.
    pub ltime: LamportTime,
    /// The member that leaves.
    pub node: NodeName,
    /// Whether to forget it at once.
    pub prune: bool,
}

/// Whom a query is for; all filters of a query must pass.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum QueryFilter {
    /// These members.
    Nodes(Vec<NodeName>),
    /// Members whose tag matches an anchored expression.
    Tag {
        /// The tag's key.
        tag: Text,
        /// The expression.
        expression: Text,
    },
}

/// What is asked of the cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Query {
    /// When it was asked.
    pub ltime: LamportTime,
    /// A random number; with the time it names the query.
    pub id: u32,
    /// The member that asks, and where answers go.
    pub source: Source,
    /// Whom it is for.
    pub filters: Vec<QueryFilter>,
    /// Whether every member that is asked confirms that it arrived.
    pub ack: bool,
    /// Whether it must not be passed on.
    pub no_broadcast: bool,
    /// Through how many other members each answer is sent as well.
    pub relay_factor: u8,
    /// How long answers are collected, in milliseconds.
    pub timeout_ms: u64,
    /// What it is called.
    pub name: Text,
    /// What it carries.
    #[serde(with = "serde_bytes")]
    pub payload: Vec<u8>,
}

impl Query {
    /// What it is known by.
    pub fn key(&self) -> QueryKey {
        QueryKey { ltime: self.ltime, id: self.id }
    }
}

/// What a [`QueryResponse`] says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Answer {
    /// The query has arrived; an answer may follow.
    Ack,
    /// The query has arrived, and no answer will follow. Between our own agents only.
    AckOnly,
    /// No answer will follow after all. Between our own agents only.
    Nothing,
    /// The answer.
    Payload,
}

/// An answer to a [`Query`], to the one that asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueryResponse {
    /// That of the query.
    pub ltime: LamportTime,
    /// That of the query.
    pub id: u32,
    /// The member that answers.
    pub from: NodeName,
    /// What it says.
    pub answer: Answer,
    /// The answer itself.
    #[serde(with = "serde_bytes")]
    pub payload: Vec<u8>,
}

/// "Pass this answer on", against loss between the two.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Relay {
    /// To whom.
    pub to: Source,
    /// What.
    pub response: QueryResponse,
}

/// Names a piece of news: a hash of its bytes in the native dialect.
pub type NewsId = u64;

/// "The news in this datagram is for you, and for every member between you and `end`."
///
/// The part of the ring begins at the receiver, so that a forged one cannot be wider at its start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Forward {
    /// Which ring.
    pub ring: u8,
    /// The position on it that is not reached any more.
    pub end: u64,
}

/// "I have this news."
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Have {
    /// Which.
    pub ids: Vec<NewsId>,
    /// Whether the receiver is to say which of it it has. It has the rest as well then, if it is in the
    /// same datagram.
    pub answer: bool,
}

/// "Send me this news."
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Want {
    /// Which.
    pub ids: Vec<NewsId>,
}

/// "Which news do you have?" Answered by a [`Have`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ask {
    /// How much of it is to be named at most.
    pub most: u32,
}

/// What one kind of news comes to in a range of Lamport times.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewsDigest {
    /// The first time of the range.
    pub from: LamportTime,
    /// The last one.
    pub to: LamportTime,
    /// The ids of the news of these times, combined by exclusive or.
    pub ids: NewsId,
}

/// What the sender has heard lately, so that a member that lacks something notices it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Digests {
    /// User events; none if there were none.
    pub events: Option<NewsDigest>,
    /// Queries.
    pub queries: Option<NewsDigest>,
}

/// Anything that travels in a datagram.
///
/// To add a gossip message: its fields and its name in one of the three kinds here, a row in the
/// table of `wire/native.rs`, how HashiCorp's agents write it in `wire/hashicorp/`, and what is
/// done about it: for a probe or membership message in `membership/receive.rs`, for one of Serf's
/// in `node/conversation`, where it also needs a place in `messaging/queue.rs`. The compiler
/// names them all. Strategies that make one of each for the tests are in `wire/native.rs`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// A probe or what comes of it.
    Probe(ProbeMessage),
    /// Which members are here.
    Membership(MembershipMessage),
    /// What is said in the cluster.
    Serf(SerfMessage),
    /// How news travels.
    Wave(WaveMessage),
}

/// Declares one kind of message: an enum of its payloads, each of which turns into it and into a
/// [`Message`].
macro_rules! kind_of_message {
    ($(#[$about:meta])* $kind:ident, $variant:ident: $($payload:ident)*) => {
        $(#[$about])*
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub enum $kind {
            $(#[doc = concat!("See [`", stringify!($payload), "`].")] $payload($payload),)*
        }

        impl From<$kind> for Message {
            fn from(message: $kind) -> Message {
                Message::$variant(message)
            }
        }

        $(impl From<$payload> for $kind {
            fn from(payload: $payload) -> $kind {
                $kind::$payload(payload)
            }
        }

        impl From<$payload> for Message {
            fn from(payload: $payload) -> Message {
                Message::$variant($kind::$payload(payload))
            }
        })*
    };
}

kind_of_message! {
    /// A probe or what comes of it: for the prober.
    ProbeMessage, Probe: Ping IndirectPing Ack Nack Knock Refused
}

kind_of_message! {
    /// Which members are here: for the membership table.
    MembershipMessage, Membership: Alive Suspect Dead JoinIntent LeaveIntent
}

kind_of_message! {
    /// What is said in the cluster: for the rules of events and queries.
    SerfMessage, Serf: UserEvent Query QueryResponse Relay
}

kind_of_message! {
    /// How news travels among members that take part in waves: for the rules of waves.
    WaveMessage, Wave: Forward Have Want Ask Digests
}

impl Message {
    /// Whether it is news: something that everyone is to hear.
    pub fn is_news(&self) -> bool {
        match self {
            Message::Membership(_) | Message::Serf(SerfMessage::UserEvent(_)) => true,
            Message::Serf(SerfMessage::Query(query)) => !query.no_broadcast,
            Message::Serf(SerfMessage::QueryResponse(_) | SerfMessage::Relay(_))
            | Message::Probe(_)
            | Message::Wave(_) => false,
        }
    }

    /// Whether Serf, and not memberlist, takes it in HashiCorp's agents: intents, events, queries
    /// and their answers.
    pub fn is_serf_message(&self) -> bool {
        match self {
            Message::Probe(_) | Message::Wave(_) => false,
            Message::Membership(message) => message.is_intent(),
            Message::Serf(_) => true,
        }
    }
}

impl MembershipMessage {
    /// Whether it says what a member means to do, rather than how it is.
    pub fn is_intent(&self) -> bool {
        use MembershipMessage::*;
        match self {
            Alive(_) | Suspect(_) | Dead(_) => false,
            JoinIntent(_) | LeaveIntent(_) => true,
        }
    }

    /// The member it is about.
    pub fn subject(&self) -> &NodeName {
        use MembershipMessage::*;
        match self {
            Alive(m) => &m.node,
            Suspect(m) => &m.node,
            Dead(m) => &m.node,
            JoinIntent(m) => &m.node,
            LeaveIntent(m) => &m.node,
        }
    }
}

/// The state of a member as one member sends it to another in a [`PushPull`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum PeerState {
    /// Answers.
    Alive,
    /// Is suspected.
    Suspect,
    /// Has failed.
    Dead,
    /// Has left.
    Left,
}

/// One row of a [`PushPull`]: all that is known of one member.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerRow {
    /// The name of the member.
    pub node: NodeName,
    /// Where.
    pub addr: SocketAddr,
    /// Its encoded tags.
    #[serde(with = "serde_bytes")]
    pub meta: Vec<u8>,
    /// Its last known incarnation.
    pub incarnation: Incarnation,
    /// How it is.
    pub state: PeerState,
    /// Whether it has announced that it leaves.
    pub leaving: bool,
    /// Lamport time of the last join or leave intent about it.
    pub status_ltime: LamportTime,
    /// What it speaks.
    pub versions: Versions,
}

impl PeerRow {
    /// What it says of the member, as the member says it.
    pub fn alive_message(&self) -> Alive {
        Alive {
            incarnation: self.incarnation,
            node: self.node.clone(),
            addr: self.addr,
            meta: self.meta.clone(),
            versions: self.versions,
        }
    }
}

/// What is known of the last intent about a member of whom nothing else is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerIntent {
    /// The name of the member.
    pub node: NodeName,
    /// Lamport time of the intent.
    pub ltime: LamportTime,
    /// Whether it has left.
    pub left: bool,
}

/// A full exchange of what two members know, over TCP, in both directions.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PushPull {
    /// Whether this is a join rather than the periodic exchange.
    pub join: bool,
    /// The sender's Lamport time of intents.
    pub ltime: LamportTime,
    /// Everyone the sender knows, itself included.
    #[serde(deserialize_with = "super::bounded::rows")]
    pub rows: Vec<PeerRow>,
    /// Intents about members of whom there is no row: HashiCorp's agents forget where the dead
    /// were before they forget that they died. Not in the native dialect.
    #[serde(skip)]
    pub intents: Vec<PeerIntent>,
    /// What the sender remembers of events and queries.
    pub serf: SerfState,
    /// Entries that were left out when this was read, for each of them makes no sense by itself. Not in
    /// the native dialect.
    #[serde(skip)]
    pub left_out: LeftOut,
}

/// Entries of a message that make no sense. They must not keep the others from being heard.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LeftOut {
    /// How many.
    pub count: usize,
    /// What is wrong with the first.
    pub first: String,
}

/// What a member remembers of events and queries, for a [`PushPull`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SerfState {
    /// The sender's Lamport time of user events.
    pub event_ltime: LamportTime,
    /// The sender's Lamport time of queries.
    pub query_ltime: LamportTime,
    /// Recent user events, by Lamport time.
    #[serde(deserialize_with = "super::bounded::events")]
    pub events: Vec<UserEvent>,
}

impl SerfState {
    /// The same in pieces of up to `most` events, in the order of Lamport times whatever order the sender chose. At least
    /// one, for its clocks.
    pub fn pieces(self, most: usize) -> impl Iterator<Item = SerfState> {
        let SerfState { event_ltime, query_ltime, mut events } = self;
        events.sort_by_key(|event| event.ltime);
        let pieces = events.len().div_ceil(most.max(1)).max(1);
        let mut events = events.into_iter();
        (0..pieces).map(move |_| SerfState {
            event_ltime,
            query_ltime,
            events: events.by_ref().take(most.max(1)).collect(),
        })
    }
}
