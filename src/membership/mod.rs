//! Who is here: the membership table and the rules that change it. No I/O.
//!
//! | file | rules |
//! | --- | --- |
//! | `config` | memberlist's and Serf's numbers, by profile |
//! | `table` | the rows, their order for probing, views of them |
//! | `row` | one member: SWIM state and Serf status in one |
//! | `swim` | alive, suspect, dead; refutation |
//! | `versions` | who understands whom |
//! | `suspicion`, `awareness` | Lifeguard |
//! | `conflict` | two processes with one name |
//! | `intent` | join and leave intents, leaving, force-leave, prune |
//! | `exchange` | push/pull |
//! | `reconnect`, `seeds`, `retry_join` | reaching for those who are missing |
//! | `part` | ending without leaving |
//! | `forgotten` | what is remembered of the reaped, so that they do not haunt |
//! | `probe` | the probe state machine |
//! | `coordinates`, `vivaldi` | where members are on the network |
//! | `effects` | what rules ask to be done |
//!
//! Every rule takes a message, `now` and a random source, changes the table, and answers with
//! [`Effects`]. Nothing here opens a socket, reads a clock, sleeps, or locks anything; the same
//! code runs in the agent's threads and, in virtual time, in the simulator.

mod awareness;
mod config;
mod conflict;
mod coordinates;
mod effects;
mod exchange;
mod forgotten;
mod intent;
mod part;
mod probe;
mod reconnect;
#[cfg(test)]
mod regressions;
mod retry_join;
mod row;
mod seeds;
mod suspicion;
mod swim;
mod table;
#[cfg(test)]
pub(crate) mod tests;
mod versions;
mod vivaldi;

pub use awareness::Awareness;
pub use config::{Config, Profile, ProfileError};
pub use conflict::MAX_RIVALS;
pub use effects::{Effects, StreamRequest, Target, Transmit};
pub use exchange::ExchangeSchedule;
pub use probe::{MAX_RELAYS, ProbeOutcome, Prober};
pub use reconnect::ReconnectSchedule;
pub use retry_join::{AfterFailure, RetryJoin};
pub use row::{Located, ProbeRecord, Row, State};
pub use seeds::{MAX_SEEDS, Origin, RAREST, Seeds};
pub use table::{MAX_INTENTS, MAX_PRESENT, MAX_TOMBSTONES, Members, Presence, SelfDescription};
pub use vivaldi::{MAX_ROUND_TRIP, Vivaldi};

use crate::model::Moment;
use crate::wire::message::Message;
use fastrand::Rng;
use std::net::SocketAddr;

/// What a batch of messages holds that the membership rules do not deal with.
#[derive(Debug, Default, PartialEq)]
pub struct Received {
    /// How probes went that were answered directly.
    pub outcomes: Vec<ProbeOutcome>,
    /// User events, queries and answers, in the order in which they came.
    pub talk: Vec<Message>,
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
    batch.sort_by_key(|(_, m)| match m {
        Message::Ping(_) | Message::IndirectPing(_) | Message::Ack(_) | Message::Nack(_) => 0,
        Message::Alive(_) => 1,
        Message::JoinIntent(_) | Message::LeaveIntent(_) => 2,
        Message::Suspect(_) => 3,
        Message::Dead(_) => 4,
        Message::UserEvent(_) | Message::Query(_) | Message::QueryResponse(_) | Message::Relay(_) => 5,
    });
    let mut received = Received::default();
    for (from, message) in batch {
        match message {
            Message::Ping(m) => prober.ping(&m, from, members, fx),
            Message::IndirectPing(m) => prober.indirect_ping(&m, members, now, fx),
            Message::Ack(m) => {
                if let Some(outcome) = prober.ack(m, members, now, fx) {
                    members.locate(&outcome, rng);
                    received.outcomes.push(outcome);
                }
            }
            Message::Nack(m) => prober.nack(&m),
            Message::Alive(m) => members.alive(&m, now, rng, fx),
            Message::Suspect(m) => members.suspect(&m, now, fx),
            Message::Dead(m) => members.dead(&m, now, fx),
            Message::JoinIntent(m) => members.join_intent(&m, now, fx),
            Message::LeaveIntent(m) => members.leave_intent(&m, now, fx),
            talk @ (Message::UserEvent(_)
            | Message::Query(_)
            | Message::QueryResponse(_)
            | Message::Relay(_)) => received.talk.push(talk),
        }
    }
    received
}
