//! What travels over TCP, and how long it may be; how it is framed is in `stream` and
//! `hashicorp/stream`.

use super::difference::DifferenceMessage;
use super::message::{Ack, Message, Ping, PushPull};

/// The largest body of a frame: a push/pull of some fifty thousand members.
pub const MAX_FRAME: usize = 8 << 20;
/// How large a compressed message may become, in bytes: that of some forty thousand members.
pub const MAX_INFLATED: usize = 5888 * 1024;
/// The largest body of a frame in an exchange of what differs: what is remembered of events, and the ids of all rows.
pub const MAX_DIFFERENCE_FRAME: usize = 4 << 20;
/// The largest body of a frame that is neither.
pub const MAX_SMALL_FRAME: usize = 4096;

/// Anything that travels over TCP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StreamMessage {
    /// All that the sender knows; answered in kind.
    PushPull(PushPull),
    /// A probe of a member whose datagrams do not come through.
    Ping(Ping),
    /// Its answer.
    Ack(Ack),
    /// Why the sender refuses.
    Error(String),
    /// A part of an exchange of what differs. In the native dialect only.
    Difference(DifferenceMessage),
    /// Something that is otherwise said in datagrams. Read, and never written by our agents.
    User(Message),
}
