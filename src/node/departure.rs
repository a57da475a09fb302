//! Leaving gracefully: announce it, wait until that is known, go, linger.
//!
//! Steps have deadlines, because a cluster that cannot be reached must not keep the process from
//! ending.

use super::table::{Outgoing, Table};
use crate::membership::{Effects, Members};
use crate::messaging::Ticket;
use crate::model::Moment;
use std::time::Duration;

/// How long the process stays after it has left, so that the news spreads and others do not find
/// it failed before they hear it (Serf's `LeavePropagateDelay`).
const LINGER: Duration = Duration::from_secs(1);
/// The same if neighbours have confirmed that they know, and everyone takes part in waves: they see to it
/// that everyone knows within a moment.
const SHORT_LINGER: Duration = Duration::from_millis(150);

const INTENT: Ticket = 1;
const GOING: Ticket = 2;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// The intent is being spread.
    Announces,
    /// The departure itself is being spread.
    Goes,
    /// Both have been.
    Lingers,
    /// It is complete.
    Gone,
}

/// A leave under way.
#[derive(Debug)]
pub struct Departure {
    step: Step,
    deadline: Moment,
    broadcast_timeout: Duration,
    /// Whether it is known that the departure has spread.
    confirmed: bool,
}

impl Departure {
    /// Begins to leave. Each announcement is waited for `broadcast_timeout` at most.
    pub fn begin(broadcast_timeout: Duration, table: &mut Table, now: Moment) -> (Departure, Outgoing) {
        let (out, company) = announce(table, INTENT, |members, fx| members.begin_leave(now, fx));
        // Alone there is nobody to wait for.
        let deadline = if company { now + broadcast_timeout } else { now };
        (Departure { step: Step::Announces, deadline, broadcast_timeout, confirmed: false }, out)
    }

    /// When [`Departure::advance`] has something to do.
    pub fn deadline(&self) -> Moment {
        self.deadline
    }

    /// Whether the leave is complete.
    pub fn is_complete(&self) -> bool {
        self.step == Step::Gone
    }

    /// Takes note that a broadcast has been sent often enough.
    pub fn spread(&mut self, ticket: Ticket, now: Moment) {
        let current = match self.step {
            Step::Announces => INTENT,
            Step::Goes => GOING,
            Step::Lingers | Step::Gone => return,
        };
        if ticket == current {
            self.confirmed = self.step == Step::Goes;
            self.deadline = now;
        }
    }

    /// Goes on to the next step if it is time.
    pub fn advance(&mut self, table: &mut Table, now: Moment) -> Outgoing {
        if now < self.deadline {
            return Outgoing::default();
        }
        match self.step {
            Step::Announces => {
                let (out, company) = announce(table, GOING, |members, fx| members.finish_leave(now, fx));
                (self.step, self.deadline) = match company {
                    true => (Step::Goes, now + self.broadcast_timeout),
                    false => (Step::Gone, Moment::NEVER),
                };
                return out;
            }
            Step::Goes => {
                let is_known = self.confirmed && table.members.rings().beside() == 0;
                let linger = if is_known { SHORT_LINGER } else { LINGER };
                (self.step, self.deadline) = (Step::Lingers, now + linger);
            }
            Step::Lingers => (self.step, self.deadline) = (Step::Gone, Moment::NEVER),
            Step::Gone => {}
        }
        Outgoing::default()
    }
}

/// Changes the table and spreads the news under a ticket. Says whether anyone is there to hear.
fn announce(
    table: &mut Table,
    ticket: Ticket,
    rule: impl FnOnce(&mut Members, &mut Effects),
) -> (Outgoing, bool) {
    let mut fx = Effects::default();
    let company = table.members.has_company();
    rule(&mut table.members, &mut fx);
    (table.post(fx, Some(ticket)), company)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::membership::Presence;
    use crate::membership::tests::Bench;

    const S: fn(u64) -> Duration = Duration::from_secs;

    #[test]
    fn alone_it_is_complete_at_once() {
        let mut table = Table::new(Bench::alone().members);
        let (mut leave, _) = Departure::begin(S(5), &mut table, Moment::ZERO);
        assert_eq!(leave.deadline(), Moment::ZERO);
        let _ = leave.advance(&mut table, Moment::ZERO);
        assert!(leave.is_complete() && table.members.presence() == Presence::Gone);
    }

    #[test]
    fn each_step_waits_for_its_announcement_or_its_deadline() {
        let start = Moment::ZERO + S(10);
        for heard in [true, false] {
            let mut table = Table::new(Bench::with(&["a", "b"]).members);
            let (mut leave, out) = Departure::begin(S(5), &mut table, start);
            assert!(out.gossip && table.members.presence() == Presence::Leaving);
            let intent = table.broadcasts.last_ticket().and_then(|ticket| *ticket);
            let mut now = start;
            if heard {
                leave.spread(intent.unwrap(), now);
            } else {
                assert_eq!(leave.deadline(), start + S(5));
                now += S(5);
            }
            assert!(leave.advance(&mut table, now).gossip, "the departure is announced");
            assert_eq!(table.members.presence(), Presence::Gone);
            // The ticket of the step that is over moves nothing.
            leave.spread(intent.unwrap(), now);
            assert_eq!(leave.deadline(), now + S(5));
            let _ = leave.advance(&mut table, now + S(5));
            assert!(!leave.is_complete() && leave.deadline() == now + S(6));
            let _ = leave.advance(&mut table, now + S(6));
            assert!(leave.is_complete() && leave.deadline() == Moment::NEVER);
        }
    }
}
