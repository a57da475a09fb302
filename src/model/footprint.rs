//! How much memory something takes, for everything that is held on behalf of others: it is bounded in bytes, and
//! a tiny message takes many times the bytes in which it came.

use super::event::{Event, MemberEvent, QueryEvent, UserEvent};
use super::member::Member;
use super::name::NodeName;
use super::text::Text;

/// What the allocator takes besides the bytes that it is asked for, about.
pub const ALLOCATION: usize = 24;

/// Something whose memory is counted.
pub trait Footprint {
    /// How many bytes of memory it takes, about: itself, and what belongs to it alone.
    fn footprint(&self) -> usize;
}

impl Footprint for Text {
    fn footprint(&self) -> usize {
        size_of::<Text>() + ALLOCATION + self.len()
    }
}

impl Footprint for NodeName {
    fn footprint(&self) -> usize {
        // It has a count of its owners.
        2 * size_of::<NodeName>() + ALLOCATION + self.as_bytes().len()
    }
}

impl Footprint for Member {
    /// As if nobody else had its name and its tags, which mostly belong to the table.
    fn footprint(&self) -> usize {
        size_of::<Member>() + 2 * ALLOCATION + self.name.as_bytes().len() + self.meta.as_bytes().len()
    }
}

impl Footprint for MemberEvent {
    fn footprint(&self) -> usize {
        size_of::<MemberEvent>() - size_of::<Member>() + self.member.footprint()
    }
}

impl Footprint for UserEvent {
    fn footprint(&self) -> usize {
        size_of::<UserEvent>() + 2 * ALLOCATION + self.name.len() + self.payload.len()
    }
}

impl Footprint for QueryEvent {
    fn footprint(&self) -> usize {
        size_of::<QueryEvent>() + 2 * ALLOCATION + self.name.len() + self.payload.len()
    }
}

impl Footprint for Event {
    fn footprint(&self) -> usize {
        size_of::<Event>()
            + ALLOCATION
            + match self {
                Event::Members(events) => events.members.iter().map(Member::footprint).sum(),
                Event::User(event) => event.footprint(),
                Event::Query(query) => query.footprint(),
            }
    }
}
