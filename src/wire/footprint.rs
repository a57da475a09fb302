//! How much memory messages take once they are decoded.

use super::message::*;
use super::shared::Shared;
use crate::model::{ALLOCATION, Footprint, UserEvent};

impl Footprint for PeerRow {
    fn footprint(&self) -> usize {
        size_of::<PeerRow>() + self.node.footprint() + ALLOCATION + self.meta.len()
    }
}

impl Footprint for SerfState {
    fn footprint(&self) -> usize {
        size_of::<SerfState>() + self.events.iter().map(Footprint::footprint).sum::<usize>()
    }
}

impl Footprint for QueryFilter {
    fn footprint(&self) -> usize {
        size_of::<QueryFilter>()
            + match self {
                QueryFilter::Nodes(nodes) => nodes.iter().map(Footprint::footprint).sum(),
                QueryFilter::Tag { tag, expression } => tag.footprint() + expression.footprint(),
            }
    }
}

impl Footprint for QueryResponse {
    fn footprint(&self) -> usize {
        size_of::<QueryResponse>() + self.from.footprint() + ALLOCATION + self.payload.len()
    }
}

impl Footprint for SerfMessage {
    fn footprint(&self) -> usize {
        size_of::<SerfMessage>()
            + match self {
                SerfMessage::UserEvent(event) => event.footprint() - size_of::<UserEvent>(),
                SerfMessage::Query(query) => {
                    let filters: usize = query.filters.iter().map(Footprint::footprint).sum();
                    query.source.node.footprint() + filters + query.name.footprint() + query.payload.len()
                }
                SerfMessage::QueryResponse(response) => response.footprint() - size_of::<QueryResponse>(),
                SerfMessage::Relay(relay) => {
                    relay.to.node.footprint() + relay.response.footprint() - size_of::<QueryResponse>()
                }
            }
    }
}

impl Footprint for Message {
    fn footprint(&self) -> usize {
        size_of::<Message>()
            + match self {
                Message::Serf(message) => message.footprint() - size_of::<SerfMessage>(),
                Message::Membership(MembershipMessage::Alive(alive)) => {
                    alive.node.footprint() + ALLOCATION + alive.meta.len()
                }
                // Names that mostly belong to the table.
                Message::Membership(message) => message.subject().footprint(),
                // These are not kept.
                Message::Probe(_) | Message::Wave(_) => 0,
            }
    }
}

impl Footprint for Shared {
    /// With its bytes in one dialect; few clusters need both.
    fn footprint(&self) -> usize {
        /// Where the bytes are, and how many share it.
        const PLACES: usize = 64;
        let message = self.message().footprint();
        2 * message - size_of::<Message>() + PLACES + 2 * ALLOCATION
    }
}
