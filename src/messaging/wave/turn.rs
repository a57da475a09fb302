//! What a turn of the rules needs and fills, and how news is put into datagrams.

use crate::membership::{Members, Row, Target};
use crate::messaging::gossip::Datagram;
use crate::model::{LamportTime, Moment};
use crate::wire::datagram::Packer;
use crate::wire::message::Message;
use crate::wire::{Dialect, Shared, encode};
use fastrand::Rng;

/// The rings on which waves travel.
pub(super) const WAVES: usize = 2;

/// How a member came to know something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum How {
    /// It comes from here.
    Local,
    /// By a wave.
    Wave,
    /// From a member that takes part in waves, otherwise.
    Check,
    /// From one that takes no part: others that do may not have it yet.
    Gossip,
}

/// What the rules of waves need from outside for one turn.
#[derive(Debug)]
pub struct WaveTurn<'a> {
    /// The members.
    pub members: &'a Members,
    /// The Lamport times of events and of queries.
    pub clocks: [LamportTime; 2],
    /// The moment.
    pub now: Moment,
    /// A random source.
    pub rng: &'a mut Rng,
    /// What is to be sent.
    pub out: &'a mut Vec<Datagram>,
}

/// Sends a member news, in as many datagrams as it takes, each with the same head.
pub(super) fn send(row: &Row, head: Option<&Message>, news: &[Shared], turn: &mut WaveTurn) {
    let (to, config) = (row.target(), turn.members.config());
    let head = head.map(|head| encode(Dialect::Native, head));
    let begin = || {
        let mut packer = Packer::new(config.datagram_budget);
        let fits = head.as_ref().is_none_or(|head| packer.push(head));
        debug_assert!(fits, "a head is small");
        packer
    };
    let mut packer = begin();
    let mut any = news.is_empty();
    for news in news {
        if !packer.push(news.bytes(to.dialect)) {
            finish(std::mem::replace(&mut packer, begin()), to, turn);
            // One that does not fit even alone was refused when it was queued.
            any = packer.push(news.bytes(to.dialect));
        } else {
            any = true;
        }
    }
    if any {
        finish(packer, to, turn);
    }
}

pub(super) fn finish(packer: Packer, to: Target, turn: &mut WaveTurn) {
    if !packer.is_empty() {
        let bytes = packer.finish_in(to.wrapping(turn.members.config()));
        turn.out.push(Datagram { to, bytes });
    }
}
