//! What the conversation asks to be done, and what it is given for one turn.

use crate::membership::{Members, Transmit};
use crate::messaging::QueryProgress;
use crate::messaging::keys::{KeyChange, KeyReport};
use crate::messaging::name_vote::NameLost;
use crate::messaging::queries::QueryError;
use crate::messaging::user_events::EventTooLarge;
use crate::model::{Event, Moment, QueryKey, Token};
use crate::node::snapshot::line::Line;
use crate::wire::base64_text::NotBase64;
use crate::wire::message::Message;
use fastrand::Rng;
use std::fmt;

/// Everything that the conversation needs from outside for one turn.
#[derive(Debug)]
pub struct ConversationTurn<'a> {
    /// The members.
    pub members: &'a Members,
    /// The moment.
    pub now: Moment,
    /// A random source.
    pub rng: &'a mut Rng,
    /// What is to be done, in order.
    pub fx: &'a mut Vec<ConversationEffect>,
}

/// Something that the conversation wants done. All effects of a turn are carried out in order.
#[derive(Debug)]
pub enum ConversationEffect {
    /// Spread this by gossip.
    Broadcast(Message),
    /// Another member's memory has been taken in. These were new here: neighbours may lack them as well.
    Merged(Vec<Message>),
    /// Send this now.
    Send(Transmit),
    /// Keep this in the snapshot. It comes before the delivery that it belongs to, so that nothing
    /// is delivered again after a crash.
    Keep(Line),
    /// Deliver this to handlers and streams.
    Deliver(Event),
    /// Answer a control connection.
    Reply(Token, ConversationReply),
    /// Change the keyring, its file first; [`super::Conversation::key_changed`] goes on with it.
    ChangeKey {
        /// How.
        change: KeyChange,
        /// The query that asks for it.
        query: QueryKey,
    },
    /// One of HashiCorp's agents has come: exchanges among them have to be made up for.
    HashicorpMemberCame,
    /// The others have decided that another agent keeps this one's name.
    NameLost(NameLost),
}

/// A query of this process that has begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StartedQuery {
    /// Its name in the cluster.
    pub key: QueryKey,
    /// When it ends at the latest.
    pub deadline: Moment,
}

/// What a control connection gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConversationReply {
    /// An event was sent, or was not.
    Fired(Result<(), EventTooLarge>),
    /// A query was asked, or was not. Comes before its progress.
    QueryStarted(Result<StartedQuery, QueryError>),
    /// What has come of a query.
    Progress(QueryProgress),
    /// A query was answered, or was not.
    Responded(Result<(), QueryError>),
    /// What everyone said about keys, or why nobody was asked.
    Keys(Result<Box<KeyReport>, KeysNotAsked>),
}

/// Why nobody was asked about keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeysNotAsked {
    /// The key is not base64.
    Key(NotBase64),
    /// The query could not be asked.
    Query(QueryError),
}

impl fmt::Display for KeysNotAsked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            KeysNotAsked::Key(why) => why.fmt(f),
            KeysNotAsked::Query(why) => why.fmt(f),
        }
    }
}

impl std::error::Error for KeysNotAsked {}
