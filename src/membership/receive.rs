//! Which message is dealt with by which rule, and in which order.

use super::effects::Effects;
use super::probe::{ProbeOutcome, Prober};
use super::table::Members;
use crate::model::Moment;
use crate::wire::message::{MembershipMessage, Message, ProbeMessage, SerfMessage};
use fastrand::Rng;
use std::net::SocketAddr;

/// What comes of a batch of messages, and what it holds that is not about members.
#[derive(Debug, Default, PartialEq)]
pub struct Received {
    /// How probes went that were answered directly.
    pub outcomes: Vec<ProbeOutcome>,
    /// User events, queries and answers, in the order in which they came.
    pub serf: Vec<SerfMessage>,
}

/// Applies a batch of messages that were received together, each with the address it came from,
/// in the order that keeps members from being failed by news that the same batch corrects: alive
/// before suspect before dead.
pub fn receive(
    mut batch: Vec<(SocketAddr, Message)>,
    members: &mut Members,
    prober: &mut Prober,
    now: Moment,
    rng: &mut Rng,
    fx: &mut Effects,
) -> Received {
    batch.sort_by_key(|(_, message)| order(message));
    let mut received = Received::default();
    for (from, message) in batch {
        match message {
            Message::Probe(m) => {
                if let Some(outcome) = probe(m, from, members, prober, now, rng, fx) {
                    members.locate(&outcome, rng);
                    received.outcomes.push(outcome);
                }
            }
            Message::Membership(m) => membership(m, members, now, fx),
            Message::Serf(m) => received.serf.push(m),
            // What is said of news has been dealt with by the rules of waves.
            Message::Wave(_) => {}
        }
    }
    received
}

/// Lower comes first; what is equal stays in the order in which it came.
fn order(message: &Message) -> u8 {
    use MembershipMessage::*;
    match message {
        Message::Probe(_) => 0,
        Message::Membership(Alive(_)) => 1,
        Message::Membership(JoinIntent(_) | LeaveIntent(_)) => 2,
        Message::Membership(Suspect(_)) => 3,
        Message::Membership(Dead(_)) => 4,
        Message::Serf(_) | Message::Wave(_) => 5,
    }
}

fn probe(
    message: ProbeMessage,
    from: SocketAddr,
    members: &mut Members,
    prober: &mut Prober,
    now: Moment,
    rng: &mut Rng,
    fx: &mut Effects,
) -> Option<ProbeOutcome> {
    match message {
        ProbeMessage::Ping(m) => prober.ping(&m, from, members, fx),
        ProbeMessage::IndirectPing(m) => prober.indirect_ping(&m, members, now, rng, fx),
        ProbeMessage::Ack(m) => return prober.ack(m, from, members, now, fx),
        ProbeMessage::Nack(m) => prober.nack(&m, from),
        ProbeMessage::Knock(m) => prober.knock(&m, members, now, rng, fx),
        ProbeMessage::Refused(m) => prober.refused(&m),
    }
    None
}

fn membership(message: MembershipMessage, members: &mut Members, now: Moment, fx: &mut Effects) {
    match message {
        MembershipMessage::Alive(m) => members.alive(&m, now, fx),
        MembershipMessage::Suspect(m) => members.suspect(&m, now, fx),
        MembershipMessage::Dead(m) => members.dead(&m, now, fx),
        MembershipMessage::JoinIntent(m) => members.join_intent(&m, now, fx),
        MembershipMessage::LeaveIntent(m) => members.leave_intent(&m, now, fx),
    }
}
