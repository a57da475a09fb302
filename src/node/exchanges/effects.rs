//! What exchanges ask to be done, and what they are given for one turn.

use super::join::{JoinError, JoinId};
use crate::membership::{StreamPing, Target};
use crate::model::{Moment, NodeName};
use crate::node::table::{Outgoing, Table};
use crate::wire::difference::{DifferenceMessage, Hello};
use crate::wire::message::{SerfMessage, SerfState};
use crate::wire::stream::StreamMessage;
use fastrand::Rng;
use std::fmt;
use std::net::SocketAddr;

/// The most memory that all dialogues take together that others have begun, in bytes. Beyond it the one that takes
/// most is ended.
pub const MAX_HELD: usize = 3 << 20;

/// Everything that exchanges need from outside for a turn that may change the table.
#[derive(Debug)]
pub struct ExchangeTurn<'a> {
    /// The table.
    pub table: &'a mut Table,
    /// The moment.
    pub now: Moment,
    /// A random source.
    pub rng: &'a mut Rng,
    /// What is to be done, in order.
    pub fx: &'a mut Vec<ExchangeEffect>,
}

/// Names a stream that another member has opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct StreamId(pub usize);

/// Names a dialogue that this process has opened; never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DialogueId(pub u64);

/// The stream of a dialogue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum DialogueLine {
    /// Another member has opened it.
    Theirs(StreamId),
    /// This process has.
    Ours(DialogueId),
}

/// Why a stream is opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// One address of a join.
    Join(JoinId),
    /// The periodic exchange, or one that rules asked for.
    Exchange(NodeName),
    /// Whether a failed member is at its address; if so, an exchange with it follows.
    Reconnect {
        /// Its name.
        node: NodeName,
        /// That of the ping.
        seq_no: u32,
        /// Where it was.
        to: Target,
    },
    /// An exchange with a failed member or a seed, which may well not answer.
    Reach(String),
    /// To hear from a member itself how it is.
    Ask(NodeName),
    /// An exchange of what differs.
    Dialogue(DialogueId),
    /// A TCP ping for the prober.
    Ping(u32),
}

/// What is to be done once the conversation has added its part of a push/pull.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Plan {
    /// Answer on a stream that another member opened.
    Answer {
        /// The stream.
        stream: StreamId,
        /// Whether the other joins.
        join: bool,
        /// Whether the other goes on with an exchange of what differs if there is more to know.
        goes_on: bool,
    },
    /// Answer a member that begins an exchange of what differs.
    AnswerHello {
        /// The stream.
        stream: StreamId,
        /// What it says.
        hello: Box<Hello>,
    },
    /// Exchange what differs with a member.
    Differ {
        /// Its name.
        node: NodeName,
        /// Where it is.
        to: Target,
        /// Whether what this process is about to hear is news to nobody else.
        is_newcomer: bool,
    },
    /// Open a stream to exchange with a member.
    Exchange {
        /// Its name.
        node: NodeName,
        /// Where it is, and what it speaks.
        to: Target,
    },
    /// Open a stream to a member to hear from itself how it is.
    Ask {
        /// Its name.
        node: NodeName,
        /// Where it is, and what it speaks.
        to: Target,
    },
    /// Open a stream to a failed member or a seed.
    Reach {
        /// Which; for the log.
        whom: String,
        /// Where, and in which dialect.
        to: Target,
    },
    /// Open a stream to join through an address.
    Join {
        /// Which join.
        id: JoinId,
        /// The address.
        addr: SocketAddr,
    },
}

impl Plan {
    /// The stream that another member opened, if it is an answer to one.
    pub fn answers(&self) -> Option<StreamId> {
        match self {
            Plan::Answer { stream, .. } | Plan::AnswerHello { stream, .. } => Some(*stream),
            Plan::Differ { .. }
            | Plan::Exchange { .. }
            | Plan::Ask { .. }
            | Plan::Reach { .. }
            | Plan::Join { .. } => None,
        }
    }

    /// Whether it takes a whole state, where that is large.
    pub fn says_everything(&self) -> bool {
        match self {
            Plan::Answer { goes_on, .. } => !goes_on,
            Plan::Exchange { .. } => true,
            Plan::AnswerHello { .. }
            | Plan::Differ { .. }
            | Plan::Ask { .. }
            | Plan::Reach { .. }
            | Plan::Join { .. } => false,
        }
    }
}

/// Something that exchanges want done. All effects of a turn are carried out in order.
#[derive(Debug)]
pub enum ExchangeEffect {
    /// Ask the conversation what it remembers; [`super::Exchanges::proceed`] goes on with it.
    Recall(Plan),
    /// Open a stream, and send this.
    Connect {
        /// Where to.
        to: Target,
        /// The request.
        message: StreamMessage,
        /// What for.
        purpose: Purpose,
    },
    /// Go on with an exchange of what differs.
    Say {
        /// On which stream.
        line: DialogueLine,
        /// What.
        message: DifferenceMessage,
        /// Whether the stream ends with it; else an answer is awaited.
        last: bool,
    },
    /// End the stream of such an exchange.
    End(DialogueLine),
    /// Answer on a stream that another member opened; it ends with that.
    Reply(StreamId, StreamMessage),
    /// End a stream that another member opened.
    Close(StreamId),
    /// For the conversation: another member's memory of events and queries.
    MergeSerf {
        /// What it remembers.
        theirs: SerfState,
        /// Whether its events are history, not news: a join without replay.
        ignore_past: bool,
    },
    /// For the conversation: a message that came by a stream.
    Hear(SocketAddr, SerfMessage),
    /// What a change of the table asks for.
    Table(Outgoing),
    /// For the prober: how a TCP ping went.
    PingDone {
        /// That of the ping.
        seq_no: u32,
        /// How.
        outcome: StreamPing,
    },
    /// A join is over: through how many addresses, or why through none.
    Joined(JoinId, Result<usize, JoinError>),
    /// Find out where this seed leads; [`super::Exchanges::seed_found`] goes on with it.
    LookUp(String),
}

/// Why a stream has not done its work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StreamFailure {
    /// Nothing listens at the address: its host refused the connection.
    NothingListens(String),
    /// It could not be opened for another reason, broke, or took too long.
    Broken(String),
    /// The other side closed it without an answer.
    Closed(String),
    /// The other side sent something that is no message of ours.
    Unreadable(String),
    /// The other side says why it refuses.
    Refused(String),
    /// This side refuses what the other has sent.
    Unfit(String),
    /// The other side answered with something else than was asked for.
    Unexpected,
}

impl StreamFailure {
    /// Whether an agent is there that will have nothing to do with this one.
    pub(super) fn is_refusal(&self) -> bool {
        match self {
            StreamFailure::Unreadable(_) | StreamFailure::Refused(_) | StreamFailure::Unfit(_) => true,
            StreamFailure::NothingListens(_)
            | StreamFailure::Broken(_)
            | StreamFailure::Closed(_)
            | StreamFailure::Unexpected => false,
        }
    }
}

impl fmt::Display for StreamFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StreamFailure::NothingListens(why)
            | StreamFailure::Broken(why)
            | StreamFailure::Closed(why)
            | StreamFailure::Unreadable(why)
            | StreamFailure::Unfit(why) => f.write_str(why),
            StreamFailure::Refused(why) => write!(f, "refused by the other side: {why}"),
            StreamFailure::Unexpected => f.write_str("the other side answered something unexpected"),
        }
    }
}

impl std::error::Error for StreamFailure {}
