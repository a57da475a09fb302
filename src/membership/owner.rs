//! Asking a member itself: what is claimed of it may be a lie of anybody that can put a message in.
//!
//! Its answer counts because it comes from the address that the row has, over a stream that this process opened. It
//! counts up and down: whatever incarnation others have brought a row to, the member's own is the truth.

use super::effects::{Effects, Spread, StreamRequest};
use super::table::Members;
use crate::model::{Moment, NodeName, canonical_ip};
use crate::telemetry::counters;
use crate::wire::message::{PeerRow, PeerState};
use std::net::SocketAddr;

impl Members {
    /// Asks a member how it is, if its incarnation is one to which it has hardly come by itself, or to
    /// which nobody can.
    pub(super) fn ask_owner(&mut self, node: &NodeName, now: Moment, fx: &mut Effects) {
        let Some(row) = self.rows.get(node) else { return };
        let is_odd = row.incarnation > self.config.ceilings.accusation(now);
        self.ask_if(node, is_odd, now, fx);
    }

    /// Asks a member about which something was claimed that cannot be.
    pub(super) fn ask_about_claim(&mut self, node: &NodeName, now: Moment, fx: &mut Effects) {
        self.ask_if(node, true, now, fx);
    }

    fn ask_if(&mut self, node: &NodeName, is_odd: bool, now: Moment, fx: &mut Effects) {
        if is_odd
            && *node != self.me
            && let Some(row) = self.rows.get(node)
            && self.asked.pass(node, now)
        {
            fx.streams.push(StreamRequest::Ask { node: node.clone(), to: row.target() });
        }
    }

    /// A member that was asked itself has answered with these rows, from the address of its row.
    pub(crate) fn owner_answered(
        &mut self,
        node: &NodeName,
        from: SocketAddr,
        rows: &[PeerRow],
        now: Moment,
        fx: &mut Effects,
    ) {
        let from = SocketAddr::new(canonical_ip(from.ip()), from.port());
        let is_it = |row: &&PeerRow| row.node == *node && row.state == PeerState::Alive;
        let Some(truth) = rows.iter().find(is_it).map(PeerRow::alive_message) else { return };
        let addr = SocketAddr::new(canonical_ip(truth.addr.ip()), truth.addr.port());
        let Some(row) = self.rows.get(node).filter(|row| row.addr == from && addr == from) else { return };
        let is_known = row.is_present() && row.incarnation == truth.incarnation;
        let (claimed, said) = (row.incarnation, truth.incarnation);
        if is_known || said > self.config.ceilings.incarnation(now) || !self.is_sound(&truth, addr, now) {
            return;
        }
        log::info!(
            target: "memberlist", "{node} says itself that its incarnation is {said}, not {claimed}"
        );
        counters::OWNERS_BELIEVED.inc();
        self.admit_known(&truth, addr, Spread::Yes, now, fx);
    }
}
