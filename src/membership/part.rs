//! Ending without leaving: this member is to come back, but perhaps as an agent of another kind.
//!
//! A host can be handed from one kind of agent to the other in a moment, before anyone has missed
//! the old one. A member that still took the new one for one of ours would say things to it that
//! it cannot read, and HashiCorp's agents log each of them as an error. So the last thing that an
//! agent says, by an ordinary alive message, is that from now on it is to be addressed in the
//! dialect that everyone reads. If its successor is one of ours, it soon says otherwise.

use super::effects::{Effects, Transmit};
use super::table::{Members, Presence};
use crate::model::{Incarnation, Moment, Versions};
use crate::wire::message::Message;
use fastrand::Rng;

/// How many members are informed directly. They pass it on to the others at once.
const MAX_RECEIVERS: usize = 32;

impl Members {
    /// This process ends without leaving.
    pub fn part(&mut self, now: Moment, rng: &mut Rng, fx: &mut Effects) {
        if self.presence() != Presence::Here || self.config().native_only {
            return;
        }
        let me = self.my_row().name.clone();
        self.change(&me, now, |row| row.versions = Versions::ANY_SUCCESSOR);
        self.restate(Incarnation::default(), now, fx);
        let last = Message::from(self.my_row().alive_message());
        let receivers =
            self.random_rows(MAX_RECEIVERS, rng, |row| row.is_present() && row.versions.speaks_native());
        fx.transmits.extend(receivers.into_iter().map(|row| Transmit {
            to: row.target(),
            messages: vec![last.clone()],
            probe: None,
            piggybacks: false,
        }));
    }
}
