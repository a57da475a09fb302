//! Things that happen and that handlers, streams and logs are told of.

use super::Member;
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
