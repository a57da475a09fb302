//! Leaving gracefully: say so, wait until it is known, go, linger.
//!
//! The main thread drives this; the rules do the work. Steps have deadlines, because a cluster
//! that cannot be told must not keep the process from ending.

use super::channels::Corridors;
use super::clock::Clock;
use super::table::SharedTable;
use crate::membership::{Effects, Members};
use crate::messaging::Ticket;
use crate::model::Moment;
use std::time::Duration;

/// How long the process stays after it has left, so that the news spreads and others do not find
/// it failed before they hear it (Serf's `LeavePropagateDelay`).
const LINGER: Duration = Duration::from_secs(1);

const INTENT: Ticket = 1;
const DEPARTURE: Ticket = 2;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// The intent is being told.
    Saying,
    /// The departure is being told.
    Going,
    /// It has been told.
    Lingering,
}

/// A leave under way.
#[derive(Debug)]
pub struct Leave {
    step: Step,
    deadline: Moment,
    broadcast_timeout: Duration,
}

impl Leave {
    /// Begins to leave.
    pub fn begin(
        broadcast_timeout: Duration,
        table: &SharedTable,
        corridors: &Corridors,
        clock: &Clock,
    ) -> Leave {
        log::info!(target: "agent", "requesting graceful leave from Serf");
        let now = clock.now();
        let mut leave = Leave { step: Step::Saying, deadline: now + broadcast_timeout, broadcast_timeout };
        let company = tell(table, corridors, INTENT, |members, fx| members.begin_leave(now, fx));
        if !company {
            leave.deadline = now;
        }
        leave
    }

    /// When [`Leave::advance`] has something to do.
    pub fn deadline(&self) -> Moment {
        self.deadline
    }

    /// Takes note that a broadcast has been said often enough.
    pub fn said(&mut self, ticket: Ticket, clock: &Clock) {
        let current = match self.step {
            Step::Saying => INTENT,
            Step::Going => DEPARTURE,
            Step::Lingering => return,
        };
        if ticket == current {
            self.deadline = clock.now();
        }
    }

    /// Goes on to the next step if it is time. Says whether the leave is complete.
    pub fn advance(&mut self, table: &SharedTable, corridors: &Corridors, clock: &Clock) -> bool {
        let now = clock.now();
        if now < self.deadline {
            return false;
        }
        match self.step {
            Step::Saying => {
                self.step = Step::Going;
                self.deadline = now + self.broadcast_timeout;
                let company = tell(table, corridors, DEPARTURE, |members, fx| members.finish_leave(now, fx));
                // Alone there is nobody to wait for.
                !company
            }
            Step::Going => {
                self.step = Step::Lingering;
                self.deadline = now + LINGER;
                false
            }
            Step::Lingering => true,
        }
    }
}

/// Changes the table and spreads the news under a ticket. Says whether anyone is there to hear.
fn tell(
    table: &SharedTable,
    corridors: &Corridors,
    ticket: Ticket,
    rule: impl FnOnce(&mut Members, &mut Effects),
) -> bool {
    let mut fx = Effects::default();
    let (out, company) = {
        let mut table = table.write();
        let company = table.members.has_company();
        rule(&mut table.members, &mut fx);
        (table.post(fx, Some(ticket)), company)
    };
    corridors.ring(out.gossip, out.events);
    company
}
