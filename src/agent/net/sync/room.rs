//! What all streams together may hold in memory, and who waits or goes when it is too much.

use super::{Role, SyncActor};
use crate::agent::channels::ToEvents;
use crate::agent::net::holdings::{self, Holding};
use crate::agent::net::stream::{Stream, StreamError};
use crate::model::{Footprint, Moment};
use crate::node::exchanges::Plan;
use crate::telemetry::counters;
use crate::wire::message::SerfState;
use mio::Token;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

/// The most memory that all streams together take for unfinished messages, in bytes: the largest one, and some more.
/// Beyond it, one is closed, see `holdings`.
pub(crate) const MAX_UNREAD: usize = 8704 * 1024;
/// The most memory that all streams together take for what the other sides have not taken, in bytes; likewise. A whole
/// state waits until there is room for it.
pub(crate) const MAX_UNSENT: usize = 6656 * 1024;
/// How long a stream may take nothing while others wait for room.
const STALLED: Duration = Duration::from_secs(1);

/// Which exchanges fit, and which of them come first.
struct Ranks {
    whole_fits: bool,
    dialogues_fit: bool,
    peers: BTreeMap<Token, IpAddr>,
    /// How many streams each address has here.
    of_peer: BTreeMap<IpAddr, usize>,
}

impl Ranks {
    /// What this process begins comes first, then the address that has the fewest streams here: many that ask and do
    /// not read keep no other address waiting.
    fn of(&self, plan: &Plan) -> Option<usize> {
        let fits = match plan {
            Plan::AnswerHello { .. } => self.dialogues_fit,
            plan => self.whole_fits || !plan.says_everything(),
        };
        let peer = plan.answers().and_then(|stream| self.peers.get(&Token(stream.0)));
        fits.then(|| peer.and_then(|ip| self.of_peer.get(ip)).copied().unwrap_or(0))
    }
}

impl SyncActor {
    /// When a stream ends or stalls, or another exchange has its turn.
    pub(super) fn next_room(&self) -> Moment {
        let blocked = self.recalls.are_blocked();
        let due = |(stream, _): &(Stream, Role)| match stream.unsent() {
            (1.., since) if blocked => stream.deadline.min(since + STALLED),
            _ => stream.deadline,
        };
        let streams = self.streams.values().map(due).min().unwrap_or(Moment::NEVER);
        streams.min(self.recalls.next_deadline())
    }

    /// Asks `serf-events` for its part of the exchanges that wait, if there is room for one of them.
    pub(super) fn ask_for_copy(&mut self) {
        if self.recalls.is_empty() {
            return;
        }
        let now = self.clock.now();
        let ranks = self.ranks();
        if self.recalls.asks(now, |plan| ranks.of(plan))
            && self.channels.events.send(ToEvents::Recall).is_err()
        {
            // Members matter more than events; those come with the next exchange.
            self.recalled(SerfState::default());
        }
    }

    /// Goes on with all exchanges that wait, as far as there is room.
    pub(super) fn recalled(&mut self, serf: SerfState) {
        self.remembered = serf.footprint();
        loop {
            let ranks = self.ranks();
            let Some(plan) = self.recalls.next(|plan| ranks.of(plan)) else { break };
            self.proceed(plan, serf.clone());
        }
        self.recalls.answered();
    }

    fn ranks(&self) -> Ranks {
        let held: usize = self.streams.values().map(|(stream, _)| stream.unsent().0).sum();
        let whole = self.table.read().members.whole_bytes();
        let (mut peers, mut of_peer) = (BTreeMap::new(), BTreeMap::new());
        for (token, (stream, _)) in &self.streams {
            let ip = stream.peer.ip();
            peers.insert(*token, ip);
            *of_peer.entry(ip).or_default() += 1;
        }
        Ranks {
            // Nothing that is held is in the way of a lone answer.
            whole_fits: held == 0 || whole <= MAX_UNSENT.saturating_sub(held + self.remembered),
            dialogues_fit: !self.exchanges.are_busy(),
            peers,
            of_peer,
        }
    }

    /// Keeps what all streams together hold within bounds.
    pub(super) fn bound_buffers(&mut self) {
        self.bound(MAX_UNREAD, Stream::unread);
        self.bound(MAX_UNSENT, Stream::unsent);
    }

    fn bound(&mut self, most: usize, held: impl Fn(&Stream) -> (usize, Moment)) {
        let now = self.clock.now();
        loop {
            let holdings = self.streams.iter().map(|(token, (stream, _))| {
                let (bytes, since) = held(stream);
                Holding { token: *token, peer: stream.peer.ip(), bytes, since }
            });
            let Some(token) = holdings::to_close(holdings, most, now) else { return };
            self.close_for_room(token, &StreamError::Budget);
        }
    }

    /// Ends a stream so that others have room.
    fn close_for_room(&mut self, token: Token, why: &StreamError) {
        counters::STREAMS_OVER_BUDGET.inc();
        if let Some((stream, _)) = self.streams.get(&token)
            && let peer = stream.peer
            && let Some(passed) = self.complain(peer, "budget")
        {
            log::warn!(target: "memberlist", "Closing a stream with {peer}: {why}{passed}");
        }
        self.give_up(token, why);
    }

    /// Ends one stream that does not read while others wait for room.
    pub(super) fn end_stalled(&mut self) {
        let now = self.clock.now();
        if self.recalls.are_blocked() {
            let stalls = |stream: &Stream| matches!(stream.unsent(), (1.., since) if since + STALLED <= now);
            let stalled = self.streams.iter().find(|(_, (s, _))| stalls(s)).map(|(token, _)| *token);
            if let Some(token) = stalled {
                self.close_for_room(token, &StreamError::Unread);
            }
        }
    }
}
