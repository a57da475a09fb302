//! Things that happen and that are delivered to handlers, streams and logs.

use super::lamport::LamportTime;
use super::member::Member;
use super::moment::Moment;
use super::text::Text;
use serde::{Deserialize, Serialize};
use std::fmt;

/// What an event says of whether its member is here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It was not, and is now.
    Came,
    /// It was, and still is.
    Stays,
    /// It is not any more.
    Went,
    /// It is not, and is no longer known either.
    Forgotten,
}

/// Declares the kinds, their names and what they mean, so that each is one row.
macro_rules! member_event_kinds {
    ($($(#[$about:meta])* $kind:ident = $name:literal, $standing:ident;)*) => {
        /// What happened to a member.
        ///
        /// To add a kind: a row of this table, the rule in `membership/` that finds it, and its
        /// counter (`telemetry/counters.rs`, and `Members::report`, which counts it). Filters,
        /// handlers, streams, coalescing and the snapshot go by the row; the simulator's observer
        /// holds when it may happen.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum MemberEventKind {
            $($(#[$about])* $kind,)*
        }

        impl MemberEventKind {
            /// Every kind there is.
            pub const ALL: &[MemberEventKind] = &[$(MemberEventKind::$kind),*];

            /// The event name that handlers and RPC streams see.
            pub fn as_str(self) -> &'static str {
                match self { $(MemberEventKind::$kind => $name,)* }
            }

            /// What it says of whether its member is here.
            pub fn standing(self) -> Standing {
                match self { $(MemberEventKind::$kind => Standing::$standing,)* }
            }
        }
    };
}

member_event_kinds! {
    /// It became alive: new, or back from left or failed.
    Join = "member-join", Came;
    /// It left, or was made to leave after it failed.
    Leave = "member-leave", Went;
    /// It was given up by the failure detector.
    Failed = "member-failed", Went;
    /// Its tags, address or versions changed.
    Update = "member-update", Stays;
    /// It was forgotten: failed or left for too long, or pruned.
    Reap = "member-reap", Forgotten;
}

impl MemberEventKind {
    /// The kind of this name.
    pub fn named(name: &[u8]) -> Option<MemberEventKind> {
        Self::ALL.iter().copied().find(|kind| kind.as_str().as_bytes() == name)
    }

    /// Whether the member is not here any more.
    pub fn is_gone(self) -> bool {
        match self.standing() {
            Standing::Came | Standing::Stays => false,
            Standing::Went | Standing::Forgotten => true,
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

/// Several members to whom the same happened: what a handler or stream gets at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberEvents {
    /// What happened.
    pub kind: MemberEventKind,
    /// To whom.
    pub members: Vec<Member>,
}

/// Something that someone makes known to the whole cluster. It travels as it is, in gossip and in
/// push/pull.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserEvent {
    /// When it was sent.
    pub ltime: LamportTime,
    /// What it is called.
    pub name: Text,
    /// What it carries.
    #[serde(with = "serde_bytes")]
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

/// A query that handlers and streams may answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueryEvent {
    /// Which query.
    pub key: QueryKey,
    /// What it is called.
    pub name: Text,
    /// What it carries.
    pub payload: Vec<u8>,
    /// When an answer is of no use any more.
    pub deadline: Moment,
}

/// Anything that is delivered to handlers and streams.
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
