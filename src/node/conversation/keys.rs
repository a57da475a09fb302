//! Internal queries about keys: what this agent answers to those of others, and what comes of its
//! own.
//!
//! The keyring changes elsewhere, because its file does so first, which may take as long as the disk
//! takes; the query is answered when that has been done.

use super::effects::{ConversationEffect, ConversationReply, ConversationTurn, KeysNotAsked};
use super::{Asker, Conversation};
use crate::messaging::QueryProgress;
use crate::messaging::keys::{self, KeyChange, KeyCommand, KeyReport, KeyStep, NOTHING_TO_MODIFY};
use crate::messaging::queries::QueryError;
use crate::model::{QueryKey, Token};
use crate::wire::message::Answer;
use crate::wire::payload::PayloadError;
use crate::wire::payload::keys::KeyAnswer;
use std::fmt;

/// The answer to members that ask for changes faster than the disk takes them.
const BUSY: &str = "the agent has too much to do; try again";

impl Conversation {
    /// A control connection asks everyone about keys.
    pub fn ask_about_keys(&mut self, command: &KeyCommand, token: Token, turn: &mut ConversationTurn) {
        let nodes = turn.members.present();
        let asked = command.params().map_err(KeysNotAsked::Key);
        match asked.and_then(|params| self.prepare(params, turn).map_err(KeysNotAsked::Query)) {
            Ok(query) => {
                let key = query.query.key();
                let listing = *command == KeyCommand::List;
                self.key_reports.insert(key, KeyReport { listing, ..KeyReport::new(nodes) });
                self.begin(query, Asker::Keys(token), turn);
            }
            Err(why) => {
                let reply = ConversationReply::Keys(Err(why));
                turn.fx.push(ConversationEffect::Reply(token, reply));
            }
        }
    }

    /// A member has answered, or none will any more.
    pub(super) fn hear_about_keys(
        &mut self,
        key: QueryKey,
        progress: QueryProgress,
        token: Token,
        turn: &mut ConversationTurn,
    ) {
        match progress {
            QueryProgress::Ack { .. } => {}
            QueryProgress::Response { from, payload } => {
                if let Some(report) = self.key_reports.get_mut(&key) {
                    report.hear(&from, &payload);
                }
            }
            QueryProgress::Done => {
                let report = Box::new(self.key_reports.remove(&key).unwrap_or_default());
                let reply = ConversationReply::Keys(Ok(report));
                turn.fx.push(ConversationEffect::Reply(token, reply));
            }
        }
    }

    /// Hands a change to the thread that may wait for the disk.
    pub(super) fn hear_key_change(
        &mut self,
        change: Result<KeyChange, PayloadError>,
        key: QueryKey,
        wants_ack: bool,
        turn: &mut ConversationTurn,
    ) {
        self.acknowledge(key, wants_ack, true, turn);
        let refused = match (change, &self.keyring) {
            (Err(why), _) => format!("Failed to decode key request: {why}"),
            (Ok(_), None) => NOTHING_TO_MODIFY.to_string(),
            (Ok(change), Some(_)) => {
                if let Some(passed) = self.complaints.pass((), change.step.query(), turn.now) {
                    let name = change.step.query().trim_start_matches("_serf_");
                    log::info!(target: "serf", "Received {name} query{passed}");
                }
                return turn.fx.push(ConversationEffect::ChangeKey { change, query: key });
            }
        };
        self.refuse_key_change(key, refused, turn);
    }

    /// A change of the keyring finds no room on its way to the disk.
    pub fn key_change_refused(&mut self, key: QueryKey, turn: &mut ConversationTurn) {
        self.refuse_key_change(key, BUSY.to_string(), turn);
    }

    fn refuse_key_change(&mut self, key: QueryKey, why: String, turn: &mut ConversationTurn) {
        self.complain_of_keys(&why, turn);
        self.answer_about_keys(key, &KeyAnswer::failed(why), turn);
    }

    /// The keyring has been changed, or has not.
    pub fn key_changed(
        &mut self,
        key: QueryKey,
        step: KeyStep,
        result: Result<(), impl fmt::Display>,
        turn: &mut ConversationTurn,
    ) {
        let answer = match result {
            Ok(()) => KeyAnswer { done: true, ..KeyAnswer::default() },
            Err(why) => {
                self.complain_of_keys(&format!("Failed to {}: {why}", step.deed()), turn);
                KeyAnswer::failed(why.to_string())
            }
        };
        self.answer_about_keys(key, &answer, turn);
    }

    fn complain_of_keys(&mut self, why: &str, turn: &ConversationTurn) {
        if let Some(passed) = self.complaints.pass((), "keys", turn.now) {
            log::error!(target: "serf", "{why}{passed}");
        }
    }

    fn answer_about_keys(&mut self, key: QueryKey, answer: &KeyAnswer, turn: &mut ConversationTurn) {
        if let Err(why) = self.answer(key, Answer::Payload, keys::encode(answer), turn) {
            log::error!(target: "serf", "Failed to respond to key query: {why}");
        }
    }

    /// Lists the keys, as many as fit an answer.
    pub(super) fn list_keys(&mut self, key: QueryKey, wants_ack: bool, turn: &mut ConversationTurn) {
        self.acknowledge(key, wants_ack, true, turn);
        let ring = self.keyring.as_ref().map(|keyring| keyring.now());
        if let Some(passed) = self.complaints.pass((), keys::LIST_KEYS, turn.now) {
            log::info!(target: "serf", "Received list-keys query{passed}");
        }
        let Some(ring) = ring else {
            let answer = keys::list(None, 0);
            self.complain_of_keys(&answer.message, turn);
            return self.answer_about_keys(key, &answer, turn);
        };
        for count in (0..=ring.len()).rev() {
            let answer = keys::list(Some(&ring), count);
            match self.answer(key, Answer::Payload, keys::encode(&answer), turn) {
                Err(QueryError::ResponseTooLarge(_)) => {}
                Ok(()) => {
                    if !answer.message.is_empty() {
                        log::warn!(target: "serf", "{}", answer.message);
                    }
                    return;
                }
                Err(why) => return log::error!(target: "serf", "Failed to respond to key query: {why}"),
            }
        }
        log::error!(target: "serf", "Failed to truncate response so that it fits into message");
    }
}
