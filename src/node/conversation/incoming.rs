//! What other members say, as far as it can be understood without the table.

use crate::messaging::queries::Filtered;
use crate::model::UserEvent;
use crate::wire::message::{Query, QueryResponse, Relay, SerfMessage};

/// A message of another member. Made before the table is locked, as the filters of a query are compiled by it.
#[derive(Debug)]
pub enum Incoming {
    /// An event.
    UserEvent(UserEvent),
    /// A query.
    Query(Filtered<Query>),
    /// An answer to a query of this process.
    QueryResponse(QueryResponse),
    /// An answer that is to be passed on.
    Relay(Relay),
}

impl From<SerfMessage> for Incoming {
    fn from(message: SerfMessage) -> Incoming {
        match message {
            SerfMessage::UserEvent(event) => Incoming::UserEvent(event),
            SerfMessage::Query(query) => Incoming::Query(query.into()),
            SerfMessage::QueryResponse(response) => Incoming::QueryResponse(response),
            SerfMessage::Relay(relay) => Incoming::Relay(relay),
        }
    }
}
