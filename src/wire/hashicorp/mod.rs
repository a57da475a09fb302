//! HashiCorp's dialect: memberlist's messages and, inside its user messages, Serf's. Field for
//! field what HashiCorp's agents write, so that ours live among them.
//!
//! One type byte, then a record in MessagePack. What only our own agents understand (the digest
//! in an ack, answers that say that none will follow) has no place in it and is left out.
//!
//! | file | what is in it |
//! | --- | --- |
//! | `memberlist`, `serf` | their messages, with the tables of types |
//! | `push_pull` | the message of streams that has parts of both |
//! | `stream` | messages over TCP |
//! | `parts` | what records are made of |

mod memberlist;
mod parts;
mod push_pull;
mod serf;
pub(super) mod stream;

use super::error::WireError;
use super::message::{MembershipMessage, Message, SerfMessage};

/// Writes one message.
pub(crate) fn encode(message: &Message) -> Vec<u8> {
    match message {
        Message::Probe(m) => memberlist::encode(m),
        Message::Membership(m) => match m {
            MembershipMessage::Alive(m) => memberlist::write_alive(m),
            MembershipMessage::Suspect(m) => memberlist::write_suspect(m),
            MembershipMessage::Dead(m) => memberlist::write_dead(m),
            MembershipMessage::JoinIntent(m) => serf::write_join(m),
            MembershipMessage::LeaveIntent(m) => serf::write_leave(m),
        },
        Message::Serf(m) => serf::encode(m),
        // Nobody who speaks this dialect takes part in waves: see `Members::rings`.
        Message::Wave(_) => Vec::new(),
    }
}

/// How long Serf's part of a message is, in bytes.
pub(crate) fn serf_size(message: &SerfMessage) -> usize {
    serf::encode(message).len().saturating_sub(size_of_val(&serf::USER))
}

/// Whether a message is a ping or an answer to one, by its first byte.
pub(crate) fn is_probe(tag: u8) -> bool {
    matches!(tag, memberlist::PING | memberlist::INDIRECT_PING | memberlist::ACK | memberlist::NACK)
}

/// Reads one message.
pub(crate) fn decode(bytes: &[u8]) -> Result<Message, WireError> {
    let (&tag, body) = bytes.split_first().ok_or(WireError::Empty)?;
    if tag == serf::USER { serf::decode(body) } else { memberlist::decode(tag, body) }
}

#[cfg(test)]
mod tests;
