//! What a client has to do in time, and what happens to it otherwise.

use super::limits::*;
use super::state::{Connection, Phase};
use crate::model::Moment;

impl Connection {
    /// When [`Connection::expire`] is to be called at the latest.
    pub(crate) fn deadline(&self) -> Moment {
        match self.phase {
            Phase::Draining(until) | Phase::Lingering(until) => until,
            Phase::Closed => Moment::NEVER,
            Phase::Open => [
                self.handshake_deadline(),
                self.request_deadline(),
                self.stall_deadline(),
                self.query_deadline(),
            ]
            .into_iter()
            .flatten()
            .min()
            .unwrap_or(Moment::NEVER),
        }
    }

    /// Delivers the end of queries that is due, and closes the connection if one of its deadlines
    /// has passed.
    pub fn expire(&mut self, now: Moment) {
        self.end_queries(now);
        let passed = |deadline: Option<Moment>| deadline.is_some_and(|d| d <= now);
        match self.phase {
            Phase::Open if passed(self.handshake_deadline()) && self.refusal.is_some() => {
                self.refuse_service(0, now);
            }
            Phase::Open if passed(self.handshake_deadline()) => {
                let missing = if self.handshaken { "authentication" } else { "handshake" };
                let seconds = HANDSHAKE_TIMEOUT.as_secs();
                self.fail_at_input(&format!("No {missing} within {seconds} seconds"), now);
            }
            Phase::Open if passed(self.request_deadline()) => {
                let seconds = REQUEST_TIMEOUT.as_secs();
                self.fail_at_input(&format!("Request was not complete within {seconds} seconds"), now);
            }
            Phase::Open if passed(self.stall_deadline()) => {
                self.complaint = Some("client does not read its replies".into());
                self.phase = Phase::Closed;
            }
            Phase::Draining(until) | Phase::Lingering(until) if until <= now => self.phase = Phase::Closed,
            Phase::Open | Phase::Draining(_) | Phase::Lingering(_) | Phase::Closed => {}
        }
    }

    fn handshake_deadline(&self) -> Option<Moment> {
        let limit = if self.refusal.is_some() { REFUSAL_TIMEOUT } else { HANDSHAKE_TIMEOUT };
        (!self.handshaken || !self.authenticated).then(|| self.opened + limit)
    }

    fn request_deadline(&self) -> Option<Moment> {
        self.partial_since.map(|since| since + REQUEST_TIMEOUT)
    }

    fn stall_deadline(&self) -> Option<Moment> {
        // A client that leaves a stream unread loses the stream and no more, unless it has ended
        // the conversation on its side.
        let heavy = self.output.is_listing() || self.output.backlog() > 2 * MAX_STREAM_BACKLOG;
        let heavy = heavy || self.peer_closed;
        let limit = if self.output.is_listing() { LIST_STALL_TIMEOUT } else { STALL_TIMEOUT };
        self.stalled_since.filter(|_| heavy).map(|since| since + limit)
    }
}
