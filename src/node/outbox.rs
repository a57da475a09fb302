//! What leaves a member that has no threads.

use super::conversation::ConversationReply;
use super::exchanges::{DialogueLine, JoinError, JoinId, Purpose, StreamId};
use crate::membership::Target;
use crate::messaging::keys::KeyChange;
use crate::messaging::name_vote::NameLost;
use crate::model::{Event, MemberEvent, QueryKey, Token};
use crate::wire::difference::DifferenceMessage;
use crate::wire::stream::StreamMessage;
use std::net::SocketAddr;

/// A datagram to send.
#[derive(Debug)]
pub struct OutgoingDatagram {
    /// Where to.
    pub to: SocketAddr,
    /// Its content.
    pub bytes: Vec<u8>,
    /// The probe that depends on it.
    pub probe: Option<u32>,
}

/// What leaves the member in one step, in order within each kind.
#[derive(Debug, Default)]
pub struct Outbox {
    /// Datagrams.
    pub datagrams: Vec<OutgoingDatagram>,
    /// Streams to open: where to, what to send, what for.
    pub connects: Vec<(Target, StreamMessage, Purpose)>,
    /// Answers on streams that others opened; they end with that.
    pub replies: Vec<(StreamId, StreamMessage)>,
    /// What is said in exchanges of what differs, and whether the stream ends with it.
    pub said: Vec<(DialogueLine, DifferenceMessage, bool)>,
    /// Streams of such exchanges that end.
    pub ended: Vec<DialogueLine>,
    /// Streams of others that end without an answer.
    pub closes: Vec<StreamId>,
    /// What has happened to members, before it is coalesced.
    pub member_events: Vec<MemberEvent>,
    /// What is delivered to handlers and streams.
    pub delivered: Vec<Event>,
    /// What control connections get.
    pub answers: Vec<(Token, ConversationReply)>,
    /// How joins went.
    pub joins: Vec<(JoinId, Result<usize, JoinError>)>,
    /// Seeds to look up; [`Node::seed_found`](crate::node::Node::seed_found) goes on with them.
    pub lookups: Vec<String>,
    /// Changes of the keyring to make; [`Node::key_changed`](crate::node::Node::key_changed) goes on with them.
    pub key_changes: Vec<(KeyChange, QueryKey)>,
    /// Lines to append to the snapshot.
    pub snapshot: Vec<u8>,
    /// Where the datagrams that were taken in came from: an answer may go back there.
    pub answered: Vec<SocketAddr>,
    /// Datagrams that could not be read.
    pub refused: u64,
    /// How many broadcasts were queued.
    pub queued: u64,
    /// This member has to give up its name.
    pub name_lost: Option<NameLost>,
}
