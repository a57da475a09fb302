//! Streams that others open: how they are accepted, and which of them goes when there are too many.
//!
//! When hundreds begin at once, those that come later wait in the kernel until earlier ones are done, which takes a
//! moment; closing one to accept another would turn away members that have just asked. Only a stream that leaves this
//! process waiting is closed, so that nobody keeps others out by doing nothing.

use super::{Role, SyncActor};
use crate::agent::net::stream::{Stream, StreamError};
use crate::model::Moment;
use crate::node::exchanges::StreamId;
use crate::telemetry::counters;
use mio::Token;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

/// The most streams that others may have open here at once (memberlist's `maxPushPullRequests`).
const MAX_INBOUND: usize = 128;
/// How many are accepted before the others have their turn.
const ACCEPTED_AT_ONCE: usize = 64;
/// How long a stream may say nothing at all while others wait. Who connects speaks first, so that what it says comes
/// right behind the connection.
const SILENCE: Duration = Duration::from_millis(50);
/// How long its first message may take then. With these a thousand connections that say nothing of use, as many as the
/// kernel lets wait, have had their turn long before another member gives up.
const FIRST_MESSAGE: Duration = Duration::from_millis(500);
/// How long it may then be idle later on: longer than a busy machine keeps a process from running.
const IDLENESS: Duration = Duration::from_secs(1);

impl SyncActor {
    /// When a stream may be closed for others that wait.
    pub(super) fn next_accept(&self) -> Moment {
        match (self.others_wait, self.longest_idle()) {
            (true, Some((at, _))) => at,
            _ => Moment::NEVER,
        }
    }

    /// Accepts streams that wait, as far as there is room.
    pub(super) fn accept(&mut self) {
        for _ in 0..ACCEPTED_AT_ONCE {
            if !self.others_wait || !self.has_room() {
                return;
            }
            match self.listener.accept() {
                Ok((socket, peer)) => {
                    counters::STREAMS_ACCEPTED.inc();
                    if let Some(passed) = self.complain(peer, "connection") {
                        log::debug!(target: "memberlist", "Stream connection from {peer}{passed}");
                    }
                    self.make_room();
                    let now = self.clock.now();
                    let times = (now, now + self.tcp_timeout());
                    let stream = Stream::accepted(socket, peer, times, self.options.clone());
                    // What it has to say is there already if it had to wait.
                    if let Some(token) = self.add(stream, Role::Listens) {
                        self.drive(token);
                    }
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => self.others_wait = false,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => {
                    // Out of descriptors, or the other side went away again. What stays in the
                    // backlog is tried with the next connection.
                    self.others_wait = false;
                    let anyone = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
                    if let Some(passed) = self.complaints.pass(anyone, "accept", self.clock.now()) {
                        log::warn!(target: "memberlist", "Failed to accept a stream: {e}{passed}");
                    }
                }
            }
        }
    }

    fn inbound(&self) -> impl Iterator<Item = (Token, &Stream, &Role)> {
        let all = self.streams.iter().map(|(token, (stream, role))| (*token, stream, role));
        all.filter(|(_, _, role)| role.is_inbound())
    }

    /// Whether there is room for one more, or one may be closed for it.
    pub(super) fn has_room(&self) -> bool {
        self.inbound().count() < MAX_INBOUND
            || self.longest_idle().is_some_and(|(at, _)| at <= self.clock.now())
    }

    /// Closes the stream that has been idle for too long, if there are too many.
    fn make_room(&mut self) {
        if self.inbound().count() >= MAX_INBOUND
            && let Some((_, token)) = self.longest_idle()
        {
            counters::STREAMS_REFUSED.inc();
            self.give_up(token, &StreamError::Idle);
        }
    }

    /// The stream for which this process has waited longest, and from when on it may be closed for others. Those that
    /// wait for this process are none of them.
    fn longest_idle(&self) -> Option<(Moment, Token)> {
        let may_go = |token: Token, stream: &Stream, role: &Role| match role {
            Role::Prepares | Role::Asks(_) => None,
            Role::Converses if self.exchanges.works_for(StreamId(token.0)) => None,
            Role::Listens if !stream.has_spoken() => Some(stream.idle_since() + SILENCE),
            Role::Listens => Some(stream.idle_since() + FIRST_MESSAGE),
            Role::Converses | Role::Answers => Some(stream.idle_since() + IDLENESS),
        };
        self.inbound().filter_map(|(token, stream, role)| Some((may_go(token, stream, role)?, token))).min()
    }
}
