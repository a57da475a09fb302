//! Direct messages into one datagram, within its budget.

use crate::membership::{Config, Transmit};
use crate::wire::datagram::Packer;
use crate::wire::{self, Shared};
use std::fmt;
use std::net::SocketAddr;

/// Direct messages that do not fit one datagram. Nothing of them was packed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TooLarge {
    /// Where they were to go.
    pub to: SocketAddr,
    /// What a datagram holds, in bytes.
    pub budget: usize,
    /// The first message that did not fit.
    pub message: String,
}

impl fmt::Display for TooLarge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let TooLarge { to, budget, message } = self;
        write!(f, "A message to {to} does not fit {budget} bytes: {message}")
    }
}

impl std::error::Error for TooLarge {}

/// The content of a datagram: all of the messages, and as much of the news as still fits.
pub fn pack(transmit: &Transmit, news: &[Shared], config: &Config) -> Result<Vec<u8>, TooLarge> {
    let (to, budget) = (transmit.to, config.datagram_budget);
    let mut packer = Packer::new(budget);
    for message in &transmit.messages {
        if !packer.push(&wire::encode(to.dialect, message)) {
            return Err(TooLarge { to: to.addr, budget, message: format!("{message:?}") });
        }
    }
    for news in news {
        // What does not fit has other chances.
        let _ = packer.push(news.bytes(to.dialect));
    }
    Ok(packer.finish_in(to.wrapping(config)))
}
