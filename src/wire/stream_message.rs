//! What is said over TCP, in either dialect, and how long it may be.

use super::message::{Ack, Message, Ping, PushPull};

/// The largest body of a frame: a push/pull of some fifty thousand members.
pub const MAX_FRAME: usize = 8 << 20;
/// The largest body of a frame that is no push/pull.
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
    /// Something that is otherwise said in datagrams. Read, and never written by our agents.
    User(Message),
}
