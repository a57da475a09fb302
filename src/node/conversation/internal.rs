//! Internal queries: what this agent answers to those of others, and what it makes of the answers
//! to its own.
//!
//! A new one takes a kind in [`InternalQuery`], an arm in [`Conversation::hear_internal`], and, if
//! this agent asks it as well, an [`Asker`] with an arm in `report`.

use super::effects::{ConversationEffect, ConversationTurn};
use super::{Asker, Conversation};
use crate::membership::{Row, Transmit};
use crate::messaging::QueryProgress;
use crate::messaging::internal::{InternalQuery, Reply, who_has};
use crate::model::QueryKey;
use crate::wire::message::{Answer, Message};
use std::collections::BTreeMap;

impl Conversation {
    /// Answers an internal query.
    pub(super) fn hear_internal(
        &mut self,
        asked: InternalQuery,
        key: QueryKey,
        wants_ack: bool,
        turn: &mut ConversationTurn,
    ) {
        let reply = match asked {
            InternalQuery::Ping => Reply::Nothing,
            InternalQuery::Conflict(name) => {
                if let Some(passed) = self.complaints.pass((), "conflict query", turn.now) {
                    log::debug!(target: "serf", "Got conflict resolution query for '{name}'{passed}");
                }
                who_has(&name, turn.members)
            }
            InternalQuery::ChangeKey(change) => return self.hear_key_change(change, key, wants_ack, turn),
            InternalQuery::ListKeys => return self.list_keys(key, wants_ack, turn),
            InternalQuery::Unknown => {
                if let Some(passed) = self.complaints.pass((), "internal query", turn.now) {
                    log::debug!(target: "serf", "Unhandled internal query{passed}");
                }
                Reply::Nothing
            }
        };
        let payload = match reply {
            Reply::Nothing => return self.acknowledge(key, wants_ack, false, turn),
            Reply::Payload(payload) => payload,
        };
        self.acknowledge(key, wants_ack, true, turn);
        if let Err(why) = self.answer(key, Answer::Payload, payload, turn) {
            log::debug!(target: "serf", "Failed to answer an internal query: {why}");
        }
    }

    /// Asks which agent has this one's name, if it is time.
    pub(super) fn vote_on_name(&mut self, turn: &mut ConversationTurn) {
        let Some((voters, params)) = self.name_vote.tick(turn.members, turn.now, turn.rng) else { return };
        let mut asked = BTreeMap::new();
        for voter in voters {
            let Some(to) = turn.members.row(&voter).map(Row::target) else { continue };
            match self.queries.ask_one(&voter, params.clone(), turn.members, turn.now, turn.rng) {
                Ok(query) => {
                    self.askers.insert(query.key(), Asker::NameVote);
                    asked.insert(query.key(), voter);
                    let messages = vec![Message::from(query)];
                    let query = Transmit { to, messages, probe: None, piggybacks: false };
                    turn.fx.push(ConversationEffect::Send(query));
                }
                Err(why) => {
                    log::error!(target: "serf", "Failed to start name resolution query: {why}");
                }
            }
        }
        self.name_vote.asked(asked, turn.members);
    }

    /// Something has come of the vote on this agent's name.
    pub(super) fn hear_vote(&mut self, key: QueryKey, progress: QueryProgress, turn: &mut ConversationTurn) {
        let lost = match progress {
            QueryProgress::Ack { .. } => None,
            QueryProgress::Response { from, payload } => {
                self.name_vote.answered(key, &from, &payload, turn.members);
                None
            }
            QueryProgress::Done => self.name_vote.decide(key, turn.members),
        };
        turn.fx.extend(lost.map(ConversationEffect::NameLost));
    }
}
