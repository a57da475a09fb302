//! From the table's outbox to the broadcast queue, and which queued news is piggybacked.

use super::table::Table;
use crate::membership::Members;
use crate::messaging::{Gossip, Ticket};
use crate::model::Moment;
use crate::wire::Shared;
use crate::wire::message::Message;
use std::collections::VecDeque;

/// How many bytes of news are piggybacked on a datagram that is sent anyway.
const PIGGYBACK_ROOM: usize = 1000;

/// Queues what waits in the table's outbox.
pub fn queue(gossip: &mut Gossip, table: &mut Table, now: Moment) {
    let fresh: VecDeque<(Message, Option<Ticket>)> = std::mem::take(&mut table.broadcasts);
    for (message, ticket) in fresh {
        gossip.push(Shared::new(message), ticket, &table.members, now);
    }
}

/// News for the next datagram that is sent anyway, with a probe or an ack. None if nothing is queued.
pub fn piggyback(gossip: &mut Gossip, members: &Members) -> Option<Vec<Shared>> {
    (!gossip.queue.is_empty()).then(|| gossip.piggyback(PIGGYBACK_ROOM, members))
}
