//! Reaching for failed members: perhaps one is back and does not know that it was given up.
//!
//! What is at its address now may be an agent under another name, of another cluster: addresses are given to
//! other hosts. So it is first asked whether it still answers to the name. One that came back under a new
//! name joins by itself.

use super::effects::StreamRequest;
use super::exchange::random_up_to;
use super::table::{Members, Presence};
use crate::model::Moment;
use crate::wire::message::Ping;
use fastrand::Rng;

/// When to exchange with a failed member.
#[derive(Debug)]
pub struct ReconnectSchedule {
    next: Moment,
}

impl ReconnectSchedule {
    /// Starts at a random point of the interval, so that members do not move in step.
    pub fn new(members: &Members, now: Moment, rng: &mut Rng) -> Self {
        ReconnectSchedule { next: now + random_up_to(members.config().reconnect_interval, rng) }
    }

    /// When [`ReconnectSchedule::tick`] has something to do.
    pub fn next_deadline(&self) -> Moment {
        self.next
    }

    /// Whom to reach for now, if it is time and the lot falls on this process.
    ///
    /// The chance is that of the failed to the living, so that all of the living together try
    /// each of the failed about once in an interval, however many they are (Serf's `reconnect`).
    pub fn tick(&mut self, members: &Members, now: Moment, rng: &mut Rng) -> Option<StreamRequest> {
        if now < self.next {
            return None;
        }
        self.next = now + members.config().reconnect_interval;
        let failed = members.failed();
        let chance = failed as f64 / members.present().max(1) as f64;
        if members.presence() != Presence::Here || failed == 0 || rng.f64() >= chance {
            return None;
        }
        let row = members.failed_rows().nth(rng.usize(0..failed))?;
        let (node, to) = (row.name.clone(), row.target());
        if !row.answers_stream_pings() {
            return Some(StreamRequest::Reach { whom: node.to_string(), to });
        }
        let ping = Ping { seq_no: rng.u32(..), node, source: members.own_source() };
        Some(StreamRequest::Reconnect { to, ping })
    }
}
