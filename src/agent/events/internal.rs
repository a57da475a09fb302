//! Internal queries: what this agent answers to those of others, and what it makes of the answers
//! to its own.
//!
//! A new one takes a kind in [`InternalQuery`], an arm in [`EventActor::hear_internal`], and, if
//! this agent asks it as well, an [`Asker`] with an arm in [`EventActor::report`].

use super::super::channels::ToMain;
use super::{Asker, EventActor};
use crate::messaging::QueryProgress;
use crate::messaging::internal::{InternalQuery, Reply, who_has};
use crate::model::QueryKey;
use crate::wire::message::Answer;

impl EventActor {
    /// Answers an internal query.
    pub(super) fn hear_internal(&mut self, asked: InternalQuery, key: QueryKey, wants_ack: bool) {
        let reply = match asked {
            InternalQuery::Ping => Reply::Nothing,
            InternalQuery::Conflict(name) => {
                let now = self.now();
                if let Some(passed) = self.complaints.pass((), "conflict query", now) {
                    log::debug!(target: "serf", "Got conflict resolution query for '{name}'{passed}");
                }
                who_has(&name, &self.parts.table.read().members)
            }
            InternalQuery::ChangeKey(change) => return self.hear_key_change(change, key, wants_ack),
            InternalQuery::ListKeys => return self.tell_keys(key, wants_ack),
            InternalQuery::Unknown => {
                let now = self.now();
                if let Some(passed) = self.complaints.pass((), "internal query", now) {
                    log::debug!(target: "serf", "Unhandled internal query{passed}");
                }
                Reply::Nothing
            }
        };
        let payload = match reply {
            Reply::Nothing => return self.acknowledge(key, wants_ack, false),
            Reply::Payload(payload) => payload,
        };
        self.acknowledge(key, wants_ack, true);
        if let Err(why) = self.answer(key, Answer::Payload, payload) {
            log::debug!(target: "serf", "Failed to answer an internal query: {why}");
        }
    }

    /// Asks who has this agent's name, if it is time.
    pub(super) fn vote_on_name(&mut self) {
        let now = self.now();
        let due = self.name_vote.tick(&self.parts.table.read().members, now);
        let Some(params) = due else { return };
        match self.prepare(params) {
            Ok(query) => {
                self.name_vote.asked(QueryKey { ltime: query.ltime, id: query.id });
                self.ask(query, Asker::NameVote);
            }
            Err(why) => {
                log::error!(target: "serf", "Failed to start name resolution query: {why}");
                self.name_vote.not_asked();
            }
        }
    }

    /// Something has come of the vote on this agent's name.
    pub(super) fn hear_vote(&mut self, key: QueryKey, progress: QueryProgress) {
        let lost = {
            let table = self.parts.table.read();
            match progress {
                QueryProgress::Ack { .. } => None,
                QueryProgress::Response { from, payload } => {
                    self.name_vote.answered(&from, &payload, &table.members);
                    None
                }
                QueryProgress::Done => self.name_vote.decide(key, &table.members),
            }
        };
        if let Some(how) = lost
            && self.parts.corridors.main.send(ToMain::NameLost(how)).is_err()
        {
            // The next claim that is heard makes for another vote.
            log::warn!(target: "agent", "The main thread is too busy to hear of a lost name");
        }
    }
}
