//! The nouns of the project: what a member, a tag, a moment and a Lamport time are.
//!
//! Everything above speaks in these types. Nothing here knows about bytes on a wire,
//! sockets, clocks or threads.

mod address;
mod ceilings;
mod coordinate;
mod duration;
mod event;
mod footprint;
mod incarnation;
mod lamport;
mod lamport_clock;
mod member;
mod moment;
mod name;
mod number;
mod shared_bytes;
mod tags;
mod text;
mod token;

pub use address::{AddressError, HostPort, canonical_ip};
pub use ceilings::Ceilings;
pub use coordinate::{Coordinate, CoordinateError, DIMENSIONS, MAX_ERROR, MAX_EXTENT, MIN_HEIGHT};
pub use duration::{DurationError, format_duration, parse_duration};
pub use event::{
    Event, MemberEvent, MemberEventKind, MemberEvents, QueryEvent, QueryKey, Standing, UserEvent,
};
pub use footprint::{ALLOCATION, Footprint};
pub use incarnation::Incarnation;
pub use lamport::LamportTime;
pub use lamport_clock::LamportClock;
pub use member::{Member, ParseStatusError, Status, Versions};
pub use moment::Moment;
pub use name::{MAX_NAME_LEN, MAX_PLAIN_NAME_LEN, NameError, NodeName};
pub use number::parse_number;
pub(crate) use tags::write_raw;
pub use tags::{MAX_META_LEN, Meta, Tags, TagsError};
pub use text::{Text, lossy};
pub use token::Token;
