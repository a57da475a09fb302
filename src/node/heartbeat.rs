//! The heartbeat: probing, and the order in which what has arrived is taken in.

use super::table::{Outgoing, Table};
use crate::membership::{Effects, Prober, StreamPing, receive};
use crate::model::Moment;
use crate::wire::message::{Message, SerfMessage};
use fastrand::Rng;
use std::net::SocketAddr;

/// What has come in since the last turn.
#[derive(Debug, Default)]
pub struct Batch {
    /// Messages, each with the address it came from.
    pub messages: Vec<(SocketAddr, Message)>,
    /// How pings over TCP went, each with its sequence number.
    pub stream_pings: Vec<(u32, StreamPing)>,
}

impl Batch {
    /// The messages of a batch in which there is nothing else than Serf's: they concern neither the
    /// table nor the prober. Any other batch comes back.
    pub fn into_serf(self) -> Result<Vec<SerfMessage>, Batch> {
        let is_serf = |(_, message): &(SocketAddr, Message)| match message {
            Message::Serf(_) => true,
            Message::Probe(_) | Message::Membership(_) => false,
        };
        if !self.stream_pings.is_empty() || !self.messages.iter().all(is_serf) {
            return Err(self);
        }
        let serf = |(_, message)| match message {
            Message::Serf(message) => Some(message),
            Message::Probe(_) | Message::Membership(_) => None,
        };
        Ok(self.messages.into_iter().filter_map(serf).collect())
    }
}

/// What comes of a turn.
#[derive(Debug, Default)]
pub struct HeartbeatTurn {
    /// To be carried out after the table has been released.
    pub out: Outgoing,
    /// For the conversation, in the order in which it came.
    pub serf: Vec<SerfMessage>,
}

/// Takes in a batch, then does what has come due. If nothing is due, a batch of Serf's messages alone
/// needs no turn: [`Batch::into_serf`].
///
/// Results of pings first: an answer that is there counts although its deadline is, too.
pub fn turn(
    prober: &mut Prober,
    batch: Batch,
    table: &mut Table,
    now: Moment,
    rng: &mut Rng,
) -> HeartbeatTurn {
    let mut fx = Effects::default();
    let members = &mut table.members;
    for (seq_no, outcome) in batch.stream_pings {
        prober.stream_ping_done(seq_no, outcome, members, now, rng, &mut fx);
    }
    let serf = receive(batch.messages, members, prober, now, rng, &mut fx).serf;
    prober.tick(members, now, rng, &mut fx);
    HeartbeatTurn { out: table.post(fx, None), serf }
}
