//! Rotating keys across the cluster: what a member is asked to do with its keyring, and what
//! becomes of the answers of all.
//!
//! Each step is an internal query to everyone: install a new key, use it, remove the old one. All
//! of them may be repeated. A step has worked when all that were there have said so; until then the
//! next one would cut off those that have not.

use super::query_params::QueryParams;
use crate::model::{NodeName, Text};
use crate::wire::base64_text::{NotBase64, decode};
use crate::wire::keyring::{Keyring, KeyringError};
use crate::wire::payload::PayloadError;
use crate::wire::payload::keys::{
    KeyAnswer, read_key_answer, read_key_request, write_key_answer, write_key_request,
};
use crate::wire::seal::Key;
use std::collections::BTreeMap;
use std::fmt;
use zeroize::Zeroizing;

/// What agents without encryption say to a change.
pub const NOTHING_TO_MODIFY: &str = "No keyring to modify (encryption not enabled)";
/// What agents without encryption say to `list-keys`.
pub const NOTHING_TO_LIST: &str = "Keyring is empty (encryption not enabled)";

/// What is done with a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyStep {
    /// It may open packets from now on.
    Install,
    /// It seals packets from now on.
    Use,
    /// It is forgotten.
    Remove,
}

impl KeyStep {
    const ALL: [KeyStep; 3] = [KeyStep::Install, KeyStep::Use, KeyStep::Remove];

    /// The name of the internal query.
    pub fn query(self) -> &'static str {
        match self {
            KeyStep::Install => "_serf_install-key",
            KeyStep::Use => "_serf_use-key",
            KeyStep::Remove => "_serf_remove-key",
        }
    }

    /// For the log, after "Failed to".
    pub fn deed(self) -> &'static str {
        match self {
            KeyStep::Install => "install key",
            KeyStep::Use => "change primary key",
            KeyStep::Remove => "remove key",
        }
    }
}

/// The name of the internal query that lists keys.
pub const LIST_KEYS: &str = "_serf_list-keys";

/// A query about keys, as an operator asks it of the whole cluster.
#[derive(Clone, PartialEq, Eq)]
pub enum KeyCommand {
    /// Do this with this key, in base64.
    Change(KeyStep, Zeroizing<String>),
    /// Which keys are there.
    List,
}

impl fmt::Debug for KeyCommand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            KeyCommand::Change(step, _) => write!(f, "{step:?}"),
            KeyCommand::List => f.write_str("List"),
        }
    }
}

impl KeyCommand {
    /// The query to ask. The key may have a size that members refuse; that they say themselves.
    pub fn params(&self) -> Result<QueryParams, NotBase64> {
        let (name, key) = match self {
            KeyCommand::Change(step, text) => (step.query(), decode(text)?),
            KeyCommand::List => (LIST_KEYS, Zeroizing::default()),
        };
        Ok(QueryParams { name: name.into(), payload: write_key_request(&key), ..QueryParams::default() })
    }
}

/// A change that one member is to make.
#[derive(Clone, PartialEq, Eq)]
pub struct KeyChange {
    /// What to do.
    pub step: KeyStep,
    key: Zeroizing<Vec<u8>>,
}

impl fmt::Debug for KeyChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyChange({:?})", self.step)
    }
}

impl KeyChange {
    /// Reads a query that asks for one; none if its name is another.
    pub fn read(name: &str, payload: &[u8]) -> Option<Result<KeyChange, PayloadError>> {
        let step = KeyStep::ALL.into_iter().find(|step| step.query() == name)?;
        Some(read_key_request(payload).map(|key| KeyChange { step, key }))
    }

    /// Makes the change.
    pub fn apply(&self, ring: &mut Keyring) -> Result<(), KeyringError> {
        let key = Key::new(&self.key);
        match (self.step, key) {
            (KeyStep::Install, key) => ring.add(key.map_err(KeyringError::Key)?),
            (KeyStep::Use, Ok(key)) => ring.make_primary(&key),
            (KeyStep::Remove, Ok(key)) => ring.remove(&key),
            // What is no key is on no ring.
            (KeyStep::Use, Err(_)) => Err(KeyringError::Unknown),
            (KeyStep::Remove, Err(_)) => Ok(()),
        }
    }
}

/// Answers `list-keys` with the first `count` keys at most, and says so if there are more.
pub fn list(ring: Option<&Keyring>, count: usize) -> KeyAnswer {
    let Some(ring) = ring else { return KeyAnswer::failed(NOTHING_TO_LIST) };
    let total = ring.len();
    let message = match count {
        count if count < total => {
            format!("truncated key list response, showing first {count} of {total} keys")
        }
        _ => String::new(),
    };
    KeyAnswer {
        done: true,
        message,
        keys: ring.keys().take(count).map(|key| key.to_base64().to_string()).collect(),
        primary: ring.primary().to_base64().to_string(),
    }
}

/// The bytes of an answer.
pub fn encode(answer: &KeyAnswer) -> Vec<u8> {
    write_key_answer(answer)
}

/// What all members together said: Serf's `KeyResponse`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyReport {
    /// Whether it was asked which keys there are, and not for a change.
    pub listing: bool,
    /// What members had to say, by name.
    pub messages: BTreeMap<Text, Text>,
    /// How many members there were when it was asked.
    pub nodes: usize,
    /// How many answered.
    pub responses: usize,
    /// How many of those could not do it.
    pub errors: usize,
    /// How many have each key, which is in base64.
    pub keys: BTreeMap<String, usize>,
    /// How many seal with it.
    pub primary_keys: BTreeMap<String, usize>,
}

/// The most keys that are distinguished: every member of a cluster could claim others.
const MAX_LISTED: usize = 1024;

impl KeyReport {
    /// Nobody of these many members has answered yet.
    pub fn new(nodes: usize) -> KeyReport {
        KeyReport { nodes, ..KeyReport::default() }
    }

    /// A member answered.
    pub fn hear(&mut self, from: &NodeName, payload: &[u8]) {
        self.responses += 1;
        let answer = match read_key_answer(payload) {
            Ok(answer) => answer,
            Err(why) => {
                self.errors += 1;
                let what = match why {
                    PayloadError::Type(_) => "Invalid key query response type",
                    PayloadError::Malformed(_) => "Failed to decode key query response",
                };
                self.messages.insert(from.into(), format!("{what}: {why}").into());
                return;
            }
        };
        if !answer.done {
            self.errors += 1;
        }
        if !answer.done || !answer.message.is_empty() {
            self.messages.insert(from.into(), answer.message.into());
        }
        answer.keys.into_iter().for_each(|key| count(&mut self.keys, key));
        if !answer.primary.is_empty() {
            count(&mut self.primary_keys, answer.primary);
        }
    }

    /// Why it has not worked everywhere, in Serf's words.
    pub fn error(&self) -> Option<String> {
        let KeyReport { nodes, responses, errors, .. } = self;
        match errors {
            0 if responses >= nodes => None,
            0 => Some(format!("{responses}/{nodes} nodes reported success")),
            _ => Some(format!("{errors}/{nodes} nodes reported failure")),
        }
    }
}

fn count(counts: &mut BTreeMap<String, usize>, key: String) {
    if counts.len() < MAX_LISTED || counts.contains_key(&key) {
        *counts.entry(key).or_default() += 1;
    }
}

#[cfg(test)]
mod tests;
