//! Which members understand each other, by their version vectors.

use super::table::Members;
use crate::model::{Moment, NodeName, Versions};
use crate::telemetry::counters;
use crate::wire::message::{PeerRow, PeerState, PushPull};
use std::fmt;
use std::net::SocketAddr;

/// Why a member is not admitted. Each says what of its vector is to blame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unfit {
    /// The vector contradicts itself, or says nothing.
    Nonsense(Versions),
    /// One of the two does not understand what the other speaks of memberlist's protocol.
    Protocol(Versions),
    /// The same for Serf's.
    Delegate(Versions),
    /// It does not speak the native dialect, and no other is allowed.
    OtherDialect,
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ours = Versions::OURS;
        match self {
            Unfit::Nonsense(v) => write!(
                f,
                "its protocol versions make no sense (memberlist {} of {} to {}, Serf {} of {} to {})",
                v.protocol_cur,
                v.protocol_min,
                v.protocol_max,
                v.delegate_cur,
                v.delegate_min,
                v.delegate_max
            ),
            Unfit::Protocol(v) => write!(
                f,
                "it speaks memberlist protocol {} (of {} to {}), this agent speaks {} (of {} to {})",
                v.protocol_cur,
                v.protocol_min,
                v.protocol_max,
                ours.protocol_cur,
                ours.protocol_min,
                Versions::MEMBERLIST_MAX
            ),
            Unfit::Delegate(v) => write!(
                f,
                "it speaks Serf protocol {} (of {} to {}), this agent speaks {} (of {} to {})",
                v.delegate_cur,
                v.delegate_min,
                v.delegate_max,
                ours.delegate_cur,
                ours.delegate_min,
                ours.delegate_max
            ),
            Unfit::OtherDialect => write!(f, "it does not speak the native dialect and native_only is set"),
        }
    }
}

impl Members {
    /// Whether a member that announces these versions can be one of this cluster; if not, that is
    /// counted and said in the log.
    ///
    /// memberlist compares all vectors of a cluster at each push/pull, so that a single bad one
    /// ends every join and every exchange. Here each member is judged by itself.
    pub(super) fn admits_versions(
        &mut self,
        node: &NodeName,
        addr: SocketAddr,
        theirs: &Versions,
        now: Moment,
    ) -> bool {
        let Err(why) = judge(theirs, self.config.native_only) else { return true };
        match why {
            Unfit::OtherDialect => counters::REFUSED_DIALECT.inc(),
            _ => counters::REFUSED_MALFORMED.inc(),
        }
        self.complain(node, "versions", now, |_| {
            format!("Ignoring what is said of '{node}' ({addr}): {why}")
        });
        false
    }

    /// Why an exchange with this sender is refused as a whole: it knows others that are present, and
    /// not one of them could be a member here. It has no cluster to join, or to be joined, and its
    /// operator should hear of that. One that can be admitted is enough to go on.
    pub fn refuses(&self, theirs: &PushPull) -> Option<String> {
        let present = |row: &&PeerRow| matches!(row.state, PeerState::Alive | PeerState::Suspect);
        let others = theirs.rows.iter().filter(present).filter(|row| row.node != self.me);
        let mut first = None;
        for row in others {
            let why = judge(&row.versions, self.config.native_only).err()?;
            first =
                first.or_else(|| Some(format!("'{}' ({}) cannot be a member: {why}", row.node, row.addr)));
        }
        first
    }
}

/// Whether a member that announces `theirs` and this process understand each other.
///
/// A member that is admitted is passed on to all others. A vector of which memberlist's
/// `verifyProtocol` says, in a cluster of HashiCorp's agents and ours, that it is incompatible must
/// therefore be refused: passed on, it would end their exchanges.
pub(super) fn judge(theirs: &Versions, native_only: bool) -> Result<(), Unfit> {
    let (ours, v) = (Versions::OURS, theirs);
    let sound = v.protocol_min > 0
        && (v.protocol_min..=v.protocol_max).contains(&v.protocol_cur)
        && (v.delegate_min..=v.delegate_max).contains(&v.delegate_cur);
    if !sound {
        return Err(Unfit::Nonsense(*v));
    }
    if !(ours.protocol_min..=Versions::MEMBERLIST_MAX).contains(&v.protocol_cur)
        || !(v.protocol_min..=v.protocol_max).contains(&ours.protocol_cur)
    {
        return Err(Unfit::Protocol(*v));
    }
    if !(ours.delegate_min..=ours.delegate_max).contains(&v.delegate_cur)
        || !(v.delegate_min..=v.delegate_max).contains(&ours.delegate_cur)
    {
        return Err(Unfit::Delegate(*v));
    }
    if native_only && !v.speaks_native() {
        return Err(Unfit::OtherDialect);
    }
    Ok(())
}
