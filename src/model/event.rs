//! Things that happen and that handlers, streams and logs are told of.

use super::lamport::LamportTime;
use super::member::Member;
use super::moment::Moment;
use std::fmt;

/// What happened to a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum MemberEventKind {
    /// It became alive: new, or back from left or failed.
    Join,
    /// It left, or was made to leave after it failed.
    Leave,
    /// It was given up by the failure detector.
    Failed,
    /// Its tags, address or versions changed.
    Update,
    /// It was forgotten: failed or left for too long, or pruned.
    Reap,
}

impl MemberEventKind {
    /// The event name that handlers and RPC streams see.
    pub fn as_str(self) -> &'static str {
        match self {
            MemberEventKind::Join => "member-join",
            MemberEventKind::Leave => "member-leave",
            MemberEventKind::Failed => "member-failed",
            MemberEventKind::Update => "member-update",
            MemberEventKind::Reap => "member-reap",
        }
    }
}

impl fmt::Display for MemberEventKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// One change of one member. The member is as it was right after the change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberEvent {
    /// What happened.
    pub kind: MemberEventKind,
    /// To whom.
    pub member: Member,
}

/// Several members to whom the same happened: what a handler or stream is told at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberEvents {
    /// What happened.
    pub kind: MemberEventKind,
    /// To whom.
    pub members: Vec<Member>,
}

/// Something that someone made known to the whole cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserEvent {
    /// When it was sent.
    pub ltime: LamportTime,
    /// What it is called.
    pub name: String,
    /// What it carries.
    pub payload: Vec<u8>,
    /// Whether it may be coalesced with others of its name.
    pub coalesce: bool,
}

/// Which query: its Lamport time and the number that its origin drew for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QueryKey {
    /// When it was asked.
    pub ltime: LamportTime,
    /// A random number.
    pub id: u32,
}

/// A question that handlers and streams may answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueryEvent {
    /// Which query.
    pub key: QueryKey,
    /// What it is called.
    pub name: String,
    /// What it carries.
    pub payload: Vec<u8>,
    /// When an answer is of no use any more.
    pub deadline: Moment,
}

/// Anything that handlers and streams are told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Something happened to members.
    Members(MemberEvents),
    /// Someone sent a user event.
    User(UserEvent),
    /// Someone asks.
    Query(QueryEvent),
}

impl Event {
    /// The event name that handlers and streams see: `member-join`, `user`, `query` and so on.
    pub fn kind(&self) -> &'static str {
        match self {
            Event::Members(events) => events.kind.as_str(),
            Event::User(_) => "user",
            Event::Query(_) => "query",
        }
    }
}
