//! Asking a member itself: what is claimed of it may be a lie of anybody that can put a message in.
//!
//! Its answer counts because it comes from the address that the row has, over a stream that this process opened. It
//! counts up and down: whatever incarnation others have brought a row to, the member's own is the truth.

use super::effects::{Effects, StreamRequest};
use super::row::State;
use super::table::Members;
use crate::model::{MemberEvent, MemberEventKind, Moment, NodeName, canonical_ip};
use crate::telemetry::counters;
use crate::wire::message::{Message, PeerRow, PeerState};
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
        let at = |addr: SocketAddr| SocketAddr::new(canonical_ip(addr.ip()), addr.port());
        let says =
            |row: &&PeerRow| row.node == *node && row.state == PeerState::Alive && at(row.addr) == at(from);
        let Some(truth) = rows.iter().find(says) else { return };
        if truth.incarnation > self.config.ceilings.incarnation(now) {
            return;
        }
        let event = self.change(node, now, |row| {
            if row.addr != at(from) || row.incarnation == truth.incarnation && row.is_present() {
                return None;
            }
            log::info!(
                target: "memberlist",
                "{node} says itself that its incarnation is {}, not {}", truth.incarnation, row.incarnation
            );
            counters::OWNERS_BELIEVED.inc();
            let (returns, differs) = (!row.is_present(), row.meta.as_bytes() != truth.meta);
            row.incarnation = truth.incarnation;
            row.versions = truth.versions;
            row.meta = truth.meta.as_slice().into();
            row.state = State::Alive;
            row.since = now;
            if returns {
                row.leaving = false;
                row.probes = Default::default();
            }
            let kind = if returns { Some(MemberEventKind::Join) } else { None };
            let kind = kind.or(differs.then_some(MemberEventKind::Update));
            let event = kind.map(|kind| MemberEvent { kind, member: row.member() });
            Some((row.alive_message(), event))
        });
        if let Some(Some((alive, event))) = event {
            fx.broadcasts.push(Message::from(alive));
            if let Some(event) = event {
                self.report(event, fx);
            }
        }
    }
}
