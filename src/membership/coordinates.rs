//! Where members are on the network. Each sends its coordinate in its acks; what an ack says and
//! how long it took moves this process's own (`vivaldi`). A member's coordinate is a part of its
//! row, so it is forgotten with it.

use super::probe::ProbeOutcome;
use super::row::Located;
use super::table::Members;
use crate::model::Coordinate;
use crate::telemetry::counters;
use crate::wire::coordinate;
use fastrand::Rng;

impl Members {
    /// Where a member is, this process included; `None` while that is not known, and always if
    /// this process takes no part in coordinates.
    pub fn coordinate(&self, name: impl AsRef<[u8]>) -> Option<&Coordinate> {
        let vivaldi = self.vivaldi.as_deref()?;
        if name.as_ref() == self.me.as_bytes() {
            return Some(vivaldi.coordinate());
        }
        self.row(name)?.located.as_deref().map(|located| &located.coordinate)
    }

    /// How often this process had to begin its coordinate anew; `None` if it takes no part.
    pub fn coordinate_resets(&self) -> Option<u64> {
        self.vivaldi.as_ref().map(|vivaldi| vivaldi.resets())
    }

    /// What this process adds to its acks; empty if it takes no part.
    pub(super) fn ack_payload(&self) -> Vec<u8> {
        self.vivaldi.as_ref().map(|vivaldi| coordinate::encode(vivaldi.coordinate())).unwrap_or_default()
    }

    /// Learns from a member's answer to a direct ping. What is malformed, out of range or took
    /// absurdly long changes nothing but a counter.
    pub(super) fn locate(&mut self, outcome: &ProbeOutcome, rng: &mut Rng) {
        let Some(vivaldi) = &mut self.vivaldi else { return };
        let refuse = |why: &dyn std::fmt::Display| {
            counters::REFUSED_COORDINATE.inc();
            log::debug!(target: "serf", "Rejected coordinate from {}: {why}", outcome.node);
        };
        let theirs = match coordinate::decode(&outcome.payload) {
            Ok(Some(theirs)) => theirs,
            Ok(None) => return,
            Err(e) => return refuse(&e),
        };
        let Some(row) = self.rows.get_mut(&outcome.node) else { return };
        let mut round_trips = row.located.as_ref().map(|l| l.round_trips).unwrap_or_default();
        if let Err(e) = vivaldi.observe(&theirs, outcome.round_trip, &mut round_trips, rng) {
            return refuse(&e);
        }
        let located = Located { coordinate: theirs, round_trips };
        match &mut row.located {
            Some(known) => **known = located,
            None => row.located = Some(Box::new(located)),
        }
    }
}
