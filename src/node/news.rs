//! Which queued news is piggybacked.

use crate::membership::Members;
use crate::messaging::Gossip;
use crate::wire::Shared;

/// How many bytes of news are piggybacked on a datagram that is sent anyway.
const PIGGYBACK_ROOM: usize = 1000;

/// News for the next datagram that is sent anyway, with a probe or an ack. None if nothing is queued.
pub fn piggyback(gossip: &mut Gossip, members: &Members) -> Option<Vec<Shared>> {
    (!gossip.queue.is_empty()).then(|| gossip.piggyback(PIGGYBACK_ROOM, members))
}
