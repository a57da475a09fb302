//! Internal queries, whose names begin with [`INTERNAL_PREFIX`]: those that agents ask
//! each other. Handlers and streams never see them, and clients cannot ask them (`_serf_ping`,
//! which `reachability` sends, aside).
//!
//! An answer that follows from the membership table alone is given here. What needs more, as keys
//! do, is a kind of its own in [`InternalQuery`] and is answered by the thread that has it.

use super::keys::{KeyChange, LIST_KEYS};
use crate::membership::Members;
use crate::model::{QueryEvent, Text};
use crate::wire::payload::{PayloadError, write_conflict_response};

/// Names that begin so belong to agents themselves.
pub const INTERNAL_PREFIX: &str = "_serf_";
/// The name of the query that asks which member has a name.
pub const CONFLICT: &str = "_serf_conflict";
/// The name of the query that asks which members are there.
pub const PING: &str = "_serf_ping";

/// What an internal query asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InternalQuery {
    /// Whether it arrives; the ack says so.
    Ping,
    /// Which member has this name.
    Conflict(Text),
    /// To change the keyring, or why the payload does not say how.
    ChangeKey(Result<KeyChange, PayloadError>),
    /// Which keys are on the keyring.
    ListKeys,
    /// Nothing that this agent knows of.
    Unknown,
}

/// What there is to say to an internal query, besides that it has arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// Nothing.
    Nothing,
    /// This.
    Payload(Vec<u8>),
}

impl InternalQuery {
    /// What a query asks; none if it is not internal.
    pub fn of(query: &QueryEvent) -> Option<InternalQuery> {
        if !query.name.starts_with(INTERNAL_PREFIX) {
            return None;
        }
        Some(match &*query.name.to_lossy() {
            PING => InternalQuery::Ping,
            CONFLICT => InternalQuery::Conflict(query.payload.as_slice().into()),
            LIST_KEYS => InternalQuery::ListKeys,
            name => match KeyChange::read(name, &query.payload) {
                Some(change) => InternalQuery::ChangeKey(change),
                None => InternalQuery::Unknown,
            },
        })
    }
}

/// Answers `_serf_conflict`. Nobody is a judge in its own cause: asked for its own name, a member
/// says nothing.
pub fn who_has(name: &Text, members: &Members) -> Reply {
    if name.as_bytes() == members.me().as_bytes() {
        return Reply::Nothing;
    }
    let member = members.row(name).map(|row| row.member());
    Reply::Payload(write_conflict_response(member.as_ref()))
}
