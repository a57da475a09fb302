//! Internal queries about keys: what this agent answers to those of others, and what comes of its
//! own.
//!
//! The keyring changes on the main thread, because its file does so first; the query is answered
//! when that has been done.

use super::super::channels::ToMain;
use super::{Asker, EventActor};
use crate::messaging::QueryProgress;
use crate::messaging::keys::{self, KeyChange, KeyCommand, KeyReport, KeyStep, NOTHING_TO_MODIFY, NotBase64};
use crate::messaging::queries::QueryError;
use crate::model::QueryKey;
use crate::rpc::record::ListKeysCall;
use crate::rpc::{RpcReply, Token};
use crate::wire::message::Answer;
use crate::wire::payload::PayloadError;
use crate::wire::payload::keys::KeyAnswer;
use std::fmt;

/// Why nobody is asked about keys.
enum NotAsked {
    Key(NotBase64),
    Query(QueryError),
}

impl fmt::Display for NotAsked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NotAsked::Key(why) => why.fmt(f),
            NotAsked::Query(why) => why.fmt(f),
        }
    }
}

impl EventActor {
    /// Asks everyone, for a control connection.
    pub(super) fn ask_about_keys(&mut self, command: &KeyCommand, token: Token) {
        let params = command.params().map_err(NotAsked::Key);
        let nodes = self.parts.table.read().members.present();
        match params.and_then(|params| self.prepare(params).map_err(NotAsked::Query)) {
            Ok(query) => {
                let key = QueryKey { ltime: query.ltime, id: query.id };
                self.key_reports.insert(key, KeyReport::new(nodes));
                self.ask(query, Asker::Keys(token));
            }
            Err(why) => self.parts.rpc.reply(token, RpcReply::refusal(why)),
        }
    }

    /// Someone has answered, or nobody will any more.
    pub(super) fn hear_about_keys(&mut self, key: QueryKey, progress: QueryProgress, token: Token) {
        match progress {
            QueryProgress::Ack { .. } => {}
            QueryProgress::Response { from, payload } => {
                if let Some(report) = self.key_reports.get_mut(&key) {
                    report.hear(from.as_str(), &payload);
                }
            }
            QueryProgress::Done => {
                let report = self.key_reports.remove(&key).unwrap_or_default();
                let error = report.error();
                // All four commands about keys are answered so.
                let reply = RpcReply::with::<ListKeysCall>(&report.into()).but(error);
                self.parts.rpc.reply(token, reply);
            }
        }
    }

    /// Hands a change to the thread that may wait for the disk.
    pub(super) fn hear_key_change(
        &mut self,
        change: Result<KeyChange, PayloadError>,
        key: QueryKey,
        wants_ack: bool,
    ) {
        self.acknowledge(key, wants_ack, true);
        let refused = match (change, &self.parts.keyring) {
            (Err(why), _) => format!("Failed to decode key request: {why}"),
            (Ok(_), None) => NOTHING_TO_MODIFY.to_string(),
            (Ok(change), Some(_)) => {
                if let Some(passed) = self.complaints.pass((), change.step.query(), self.parts.clock.now()) {
                    let name = change.step.query().trim_start_matches("_serf_");
                    log::info!(target: "serf", "Received {name} query{passed}");
                }
                match self.parts.corridors.main.send(ToMain::ChangeKey { change, query: key }) {
                    Ok(()) => return,
                    Err(_) => "the agent has too much to do; try again".to_string(),
                }
            }
        };
        self.complain_of_keys(&refused);
        self.answer_about_keys(key, &KeyAnswer::failed(refused));
    }

    /// The main thread has done what it was asked.
    pub(super) fn key_changed(&mut self, key: QueryKey, step: KeyStep, result: Result<(), String>) {
        let answer = match result {
            Ok(()) => KeyAnswer { done: true, ..KeyAnswer::default() },
            Err(why) => {
                self.complain_of_keys(&format!("Failed to {}: {why}", step.deed()));
                KeyAnswer::failed(why)
            }
        };
        self.answer_about_keys(key, &answer);
    }

    fn complain_of_keys(&mut self, why: &str) {
        if let Some(passed) = self.complaints.pass((), "keys", self.parts.clock.now()) {
            log::error!(target: "serf", "{why}{passed}");
        }
    }

    fn answer_about_keys(&mut self, key: QueryKey, answer: &KeyAnswer) {
        if let Err(why) = self.answer(key, Answer::Payload, keys::encode(answer)) {
            log::error!(target: "serf", "Failed to respond to key query: {why}");
        }
    }

    /// Lists the keys, as many as fit an answer.
    pub(super) fn tell_keys(&mut self, key: QueryKey, wants_ack: bool) {
        self.acknowledge(key, wants_ack, true);
        let ring = self.parts.keyring.as_ref().map(|keyring| keyring.now());
        if let Some(passed) = self.complaints.pass((), keys::LIST_KEYS, self.parts.clock.now()) {
            log::info!(target: "serf", "Received list-keys query{passed}");
        }
        let Some(ring) = ring else {
            let answer = keys::list(None, 0);
            self.complain_of_keys(&answer.message);
            return self.answer_about_keys(key, &answer);
        };
        for count in (0..=ring.len()).rev() {
            let answer = keys::list(Some(&ring), count);
            match self.answer(key, Answer::Payload, keys::encode(&answer)) {
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
