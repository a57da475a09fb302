//! A blocking client of the control protocol, for the control commands and for tests.
//!
//! One request at a time; records of streams that arrive while a reply is waited for are kept for
//! [`Client::next_record`]. It speaks to our agents and to HashiCorp's.
//!
//! Every command is a call: [`Client::call`] takes the record of a command and answers with what
//! its row in `commands.rs` says. `shorthands` has a name for those that are made in several places, or
//! are more than a call.

mod answers;
mod calls;
mod error;
mod shorthands;
mod socket;
mod streamed;

pub use answers::Answers;
pub use calls::{Client, ClientConfig};
pub use error::ClientError;
pub use streamed::{QueryAnswer, Record};
