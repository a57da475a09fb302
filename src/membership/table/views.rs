//! What others see of the table.

use super::{Members, Presence};
use crate::membership::awareness::Awareness;
use crate::membership::config::Config;
use crate::membership::effects::Target;
use crate::membership::rings::Rings;
use crate::membership::row::Row;
use crate::model::{LamportTime, Member, Moment, NodeName, Status, Versions};
use crate::wire::Dialect;
use crate::wire::message::Source;
use std::net::SocketAddr;
use std::ops::Bound::{Excluded, Unbounded};

impl Members {
    /// This process's name.
    pub fn me(&self) -> &NodeName {
        &self.me
    }

    /// This process's row. It is never removed.
    pub fn my_row(&self) -> &Row {
        &self.rows[&self.me]
    }

    /// This process as one that asks, and where answers reach it.
    pub(in crate::membership) fn own_source(&self) -> Source {
        let me = self.my_row();
        Source { node: me.name.clone(), addr: me.addr }
    }

    /// The timings in force.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// One row, if the name is known.
    pub fn row(&self, name: impl AsRef<[u8]>) -> Option<&Row> {
        self.rows.get(name.as_ref()).map(|row| &**row)
    }

    /// All rows, by name.
    pub fn rows(&self) -> impl Iterator<Item = &Row> {
        self.rows.values().map(|row| &**row)
    }

    /// A copy of every member, by name.
    pub fn members(&self) -> Vec<Member> {
        self.rows().map(Row::member).collect()
    }

    /// A copy of up to `most` members whose names follow `after`.
    pub fn members_after(&self, after: Option<&NodeName>, most: usize) -> Vec<Member> {
        let from = after.map_or(Unbounded, Excluded);
        self.rows.range::<NodeName, _>((from, Unbounded)).take(most).map(|(_, row)| row.member()).collect()
    }

    /// How many rows there are, whatever their state.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Never: the table always holds this process.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// How many members take part, this process included: the n of every scaling rule.
    pub fn present(&self) -> usize {
        self.rows.len() - self.dead.len() - self.left.len()
    }

    /// Those that have failed, the one that did longest ago first.
    pub fn failed_rows(&self) -> impl Iterator<Item = &Row> {
        self.dead.iter().filter_map(|(_, name)| self.row(name))
    }

    /// Those that have left, the one that did longest ago first.
    pub fn left_rows(&self) -> impl Iterator<Item = &Row> {
        self.left.iter().filter_map(|(_, name)| self.row(name))
    }

    /// Members with which something has not come through.
    pub fn troubled_rows(&self) -> impl Iterator<Item = &Row> {
        self.troubled.iter().filter_map(|name| self.row(name))
    }

    /// How many have failed.
    pub fn failed(&self) -> usize {
        self.dead.len()
    }

    /// How many have left.
    pub fn left(&self) -> usize {
        self.left.len()
    }

    /// Where and how to reach an address about which nothing is known: in the dialect that everyone
    /// reads, unless only one is allowed.
    pub fn stranger(&self, addr: SocketAddr) -> Target {
        if self.config.native_only {
            Target::member(addr, &Versions::OURS)
        } else {
            Target::member(addr, &Versions::default())
        }
    }

    /// The dialect by which the size of news is judged: the longest that anyone present needs.
    pub fn widest_dialect(&self) -> Dialect {
        if self.rings.hashicorp() > 0 { Dialect::Hashicorp } else { Dialect::Native }
    }

    /// Whether anyone else is alive and staying.
    pub fn has_company(&self) -> bool {
        self.order.iter().filter_map(|name| self.row(name)).any(|row| row.status() == Status::Alive)
    }

    /// The Lamport time of intents.
    pub fn time(&self) -> LamportTime {
        self.clock.time()
    }

    /// Local health.
    pub fn awareness(&self) -> &Awareness {
        &self.awareness
    }

    /// Whether this process takes part.
    pub fn presence(&self) -> Presence {
        self.presence
    }

    /// How many intents about unknown members wait for them.
    pub fn early_intents(&self) -> usize {
        self.intents.len()
    }

    /// How many entries all containers of the table hold together, to see whether something grows
    /// for ever.
    pub fn entries(&self) -> usize {
        let rows =
            self.rows.len() + self.order.len() + self.suspects.len() + self.dead.len() + self.left.len();
        let rows = rows + self.troubled.len();
        let memories = self.forgotten.len() + self.pruned.len() + self.prunes.len() + self.intents.len();
        rows + memories + self.complaints.len()
    }

    /// How many reaped or pruned members are remembered, so that stale news does not bring them
    /// back.
    pub fn remembered(&self) -> usize {
        self.forgotten.len() + self.pruned.len()
    }

    /// A fingerprint of the present members. Two members with equal digests agree.
    pub fn digest(&self) -> u64 {
        self.digests.digest
    }

    /// The same over more of each row: two members with equal ones have nothing to exchange.
    pub fn total(&self) -> u64 {
        self.digests.total
    }

    /// Since when the digest has been what it is.
    pub fn digest_since(&self) -> Moment {
        self.digest_since
    }

    /// The row of this name, if it has this address. Nothing is sent to an address that only a
    /// message names: otherwise this process could be used to aim traffic at a third party.
    pub fn row_at(&self, name: &NodeName, addr: SocketAddr) -> Option<&Row> {
        self.row(name).filter(|row| row.addr == addr)
    }

    /// Whether a member that is present has this address.
    pub fn has_address(&self, addr: SocketAddr) -> bool {
        self.present_at(addr).is_some()
    }

    /// The member that is present at an address; one of them, should two claim it.
    pub fn present_at(&self, addr: SocketAddr) -> Option<&Row> {
        self.rows_at(addr).find(|row| row.is_present())
    }

    /// Whether what comes from an address may be an answer of this member. A host with several addresses answers from
    /// another one than it is asked at, and a relay may put this process's own there; so that only other members
    /// are kept from answering in its place.
    pub(in crate::membership) fn may_answer(&self, node: &NodeName, from: SocketAddr) -> bool {
        self.present_at(from).is_none_or(|row| row.name == *node || row.name == self.me)
    }

    /// All that is known to be or to have been at an address.
    pub fn rows_at(&self, addr: SocketAddr) -> impl Iterator<Item = &Row> {
        self.addresses.names(addr).filter_map(|name| self.row(name)).filter(move |row| row.addr == addr)
    }

    /// How news travels among the members that are present.
    pub fn rings(&self) -> &Rings {
        &self.rings
    }
}
