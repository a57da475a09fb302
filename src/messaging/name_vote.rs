//! The vote on a name that two agents claim: which of them has it, the others decide.
//!
//! Another process claims this agent's name. The agent waits until a former run of its own, which
//! others may still take for alive, has been found to be dead; then it asks a few others which process has the
//! name (`_serf_conflict`, as Serf does). An answer with this agent's address is a vote for it, one
//! with another address is a vote against it. An answer that the name is unknown, or that its holder
//! has failed or left, decides nothing. Without a majority of what counts the agent has lost its
//! name and ends; of two with equal votes, the one at the lower address stays.
//!
//! Serf asks everyone, and any member can answer in the names of all. Here each of those that are asked gets a query
//! of its own, sent to it alone: its number, which nobody else knows, shows whose answer comes. Only members that have
//! answered a probe are asked, those first that have been there longest, and of one host only one.
//!
//! Where nobody answers, nobody ends. One vote at a time; claims that are heard meanwhile wait for
//! the next.

use super::internal::CONFLICT;
use super::query_params::QueryParams;
use crate::membership::{Members, Row};
use crate::model::{Moment, NodeName, QueryKey, Status};
use crate::wire::payload::read_conflict_response;
use fastrand::Rng;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::SocketAddr;

/// The vote of one agent.
#[derive(Debug)]
pub struct NameVote {
    enabled: bool,
    stage: VoteStage,
}

#[derive(Debug)]
enum VoteStage {
    /// Nobody else claims the name.
    Quiet,
    /// The vote begins at this time.
    Waits { at: Moment, rival: SocketAddr },
    /// Answers are being collected, of these members.
    Asks { asked: BTreeMap<QueryKey, NodeName>, rival: SocketAddr, tally: VoteTally },
}

/// What the others said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VoteTally {
    /// How many named each address. At most one for each member that answered.
    votes: BTreeMap<SocketAddr, u32>,
    /// How many answers decide nothing.
    undecided: u32,
}

/// The vote is lost: the agent has to give up its name, and with it itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NameLost {
    /// The name.
    pub name: NodeName,
    /// Where this agent is.
    pub ours: SocketAddr,
    /// Where the one is that keeps the name.
    pub theirs: SocketAddr,
    /// How many answers named this agent.
    pub matching: u32,
    /// How many named anyone.
    pub responses: u32,
}

impl fmt::Display for NameLost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let NameLost { name, ours, theirs, matching, responses } = self;
        write!(
            f,
            "Name conflict for '{name}': this agent at {ours} is in the minority [{matching} / {responses}] \
             against the one at {theirs} and quits. Names must be unique: start it under another name"
        )
    }
}

impl VoteTally {
    /// Counts an answer.
    fn count(&mut self, payload: &[u8], from: &NodeName) {
        match read_conflict_response(payload) {
            Ok(Some(holder)) if !matches!(holder.status, Some(Status::Failed | Status::Left)) => {
                *self.votes.entry(holder.addr).or_default() += 1;
            }
            Ok(_) => self.undecided += 1,
            Err(why) => {
                log::error!(target: "serf", "Failed to decode a conflict query response of {from}: {why}");
            }
        }
    }

    /// How many are for `ours`, and how many there are.
    fn sum(&self, ours: SocketAddr) -> (u32, u32) {
        (self.votes.get(&ours).copied().unwrap_or(0), self.votes.values().sum())
    }

    /// Whether `ours` keeps the name.
    fn is_won(&self, ours: SocketAddr) -> bool {
        let (matching, responses) = self.sum(ours);
        let lowest = self.votes.keys().next() == Some(&ours);
        // Serf's majority is responses / 2 + 1; a tie would end both, and the name with them.
        responses == 0 || matching > responses / 2 || (matching * 2 == responses && lowest)
    }
}

impl NameVote {
    /// No conflict yet. Unless `enabled`, a conflict is only logged.
    pub fn new(enabled: bool) -> Self {
        NameVote { enabled, stage: VoteStage::Quiet }
    }

    /// Someone else claims this agent's name.
    pub fn claimed(&mut self, rival: SocketAddr, members: &Members, now: Moment) {
        let wait = members.conflict_grace_period();
        let (name, ours) = (members.me(), members.my_row().addr);
        let what_follows = match (self.enabled, &self.stage) {
            (false, _) => "Resolution enabled: false; both stay".to_string(),
            (true, VoteStage::Quiet) => {
                self.stage = VoteStage::Waits { at: now + wait, rival };
                format!("Resolution enabled: true; a vote begins in {:.0} s", wait.as_secs_f64())
            }
            (true, _) => "Resolution enabled: true; a vote is on its way".to_string(),
        };
        log::error!(
            target: "serf",
            "Node name conflicts with another node: '{name}' is claimed by this agent at {ours} and by \
             another at {rival}. Names must be unique! ({what_follows})"
        );
    }

    /// When [`NameVote::tick`] has something to do.
    pub fn next_deadline(&self) -> Moment {
        match self.stage {
            VoteStage::Waits { at, .. } => at,
            _ => Moment::NEVER,
        }
    }

    /// Which members to ask now, and what, if it is time. The caller then reports how that went:
    /// [`NameVote::asked`].
    pub fn tick(
        &mut self,
        members: &Members,
        now: Moment,
        rng: &mut Rng,
    ) -> Option<(Vec<NodeName>, QueryParams)> {
        let VoteStage::Waits { at, .. } = self.stage else { return None };
        if at > now {
            return None;
        }
        if !members.keeps_name() {
            self.stage = VoteStage::Quiet;
            return None;
        }
        let payload = members.me().as_bytes().to_vec();
        Some((voters(members, rng), QueryParams { name: CONFLICT.into(), payload, ..QueryParams::default() }))
    }

    /// These queries are on their way, each to a member. If there are none, the next claim that is heard makes for
    /// another try.
    pub fn asked(&mut self, asked: BTreeMap<QueryKey, NodeName>, members: &Members) {
        let VoteStage::Waits { rival, .. } = self.stage else { return };
        self.stage = if asked.is_empty() {
            say_undecided(members, rival);
            VoteStage::Quiet
        } else {
            VoteStage::Asks { asked, rival, tally: VoteTally::default() }
        };
    }

    /// A member answered. Only the one that was asked so has a say, while it is present.
    pub fn answered(&mut self, key: QueryKey, from: &NodeName, payload: &[u8], members: &Members) {
        if let VoteStage::Asks { asked, tally, .. } = &mut self.stage
            && asked.get(&key) == Some(from)
            && members.row(from).is_some_and(Row::is_present)
        {
            tally.count(payload, from);
        }
    }

    /// The query `over` is over. If it was the last, returns how the vote was lost, if it was.
    pub fn decide(&mut self, over: QueryKey, members: &Members) -> Option<NameLost> {
        let VoteStage::Asks { asked, .. } = &mut self.stage else { return None };
        if asked.remove(&over).is_none() || !asked.is_empty() {
            return None;
        }
        let VoteStage::Asks { rival, tally, .. } = std::mem::replace(&mut self.stage, VoteStage::Quiet)
        else {
            return None;
        };
        let (name, ours) = (members.me(), members.my_row().addr);
        let (matching, responses) = tally.sum(ours);
        if responses == 0 {
            say_undecided(members, rival);
        } else if tally.is_won(ours) {
            log::info!(
                target: "serf",
                "majority in name conflict resolution [{matching} / {responses}]: '{name}' stays with this \
                 agent at {ours}"
            );
        } else if members.keeps_name() {
            // The one whom most others named, which need not be the one that was heard of first.
            let others = tally.votes.iter().filter(|(addr, _)| **addr != ours);
            let theirs = others.max_by_key(|(_, votes)| **votes).map_or(rival, |(addr, _)| *addr);
            return Some(NameLost { name: name.clone(), ours, theirs, matching, responses });
        }
        None
    }
}

fn say_undecided(members: &Members, rival: SocketAddr) {
    let (name, ours) = (members.me(), members.my_row().addr);
    log::warn!(
        target: "serf",
        "The vote on the name '{name}' decided nothing: nobody names a living holder, this agent at \
         {ours} stays; another at {rival} may be using it as well"
    );
}

/// The most members that are asked.
pub const MAX_VOTERS: usize = 16;
/// Among how many they are chosen.
const CANDIDATES: usize = 256;

/// The members that are asked: those that have answered a probe, the longest known first, and at most one of each
/// host; where that leaves hardly any, others of the same hosts as well.
fn voters(members: &Members, rng: &mut Rng) -> Vec<NodeName> {
    let is_proven = |row: &Row| row.is_present() && (row.probes.udp_ok > 0 || row.probes.tcp_ok > 0);
    let mut candidates = members.random_rows(CANDIDATES, rng, is_proven);
    candidates.sort_by_key(|row| row.since);
    let mut hosts = BTreeSet::new();
    let (first, others): (Vec<&Row>, Vec<&Row>) =
        candidates.into_iter().partition(|row| hosts.insert(row.addr.ip()));
    let wanted = if first.len() < 3 { 3 } else { first.len() };
    first.into_iter().chain(others).take(wanted.min(MAX_VOTERS)).map(|row| row.name.clone()).collect()
}

#[cfg(test)]
mod tests;
