//! Messages and their bytes: what agents say to each other, and how it is written down.
//! No sockets here; bytes go in and typed messages come out, or an error that says what was
//! wrong.
//!
//! * [`message`]: every message once, typed.
//! * `native`: our own dialect; `hashicorp`: that of HashiCorp's agents. Which of them is spoken
//!   is chosen for one receiver at a time, never globally; see [`Dialect`].
//! * `bounded`: how much memory a message may take; `footprint`: how much it does.
//! * `codec`: from one to the other; [`Shared`] is encoded once for many receivers.
//! * [`compression`]: what HashiCorp's agents compress.
//! * [`datagram`]: several messages in one UDP datagram, with a checksum and a size budget.
//! * [`stream`]: messages over TCP; [`difference`]: those by which two members find out what their tables differ in.
//! * [`coordinate`]: what acks carry besides.
//! * [`envelope`]: what goes around either, the cluster's [`label`] and encryption; [`seal`] is
//!   the encryption, [`keyring`] its keys.
//! * [`base64_text`]: keys as people write them.
//! * [`payload`]: what internal queries carry, the same in every dialect.
//!
//! Every byte that comes in is hostile until decoded: lengths are bounded before anything is
//! allocated, nesting is refused, nothing is indexed unchecked, nothing panics.

pub mod base64_text;
mod bounded;
mod codec;
pub mod compression;
pub mod coordinate;
pub mod datagram;
mod dialect;
pub mod difference;
pub mod envelope;
mod error;
mod footprint;
mod hashicorp;
pub mod keyring;
pub mod label;
pub mod message;
pub(crate) mod msgpack;
mod native;
pub mod payload;
pub mod seal;
mod shared;
pub mod stream;
mod stream_message;

pub use bounded::{MAX_EVENT_BYTES, MAX_ROW_BYTES};
pub use codec::{Portion, decode, encode, read_datagram, read_portion, serf_size};
pub use dialect::Dialect;
pub use error::WireError;
pub use shared::Shared;
pub use stream_message::MAX_INFLATED;
