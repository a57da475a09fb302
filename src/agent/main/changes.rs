//! What the main thread changes because someone in the cluster or on a control connection asks for it: this
//! member's tags and the keyring. Both write a file first, which may take as long as the disk takes.

use super::keys::KeysError;
use super::main_loop::Agent;
use super::tags::TagsChangeError;
use crate::agent::channels::ToEvents;
use crate::messaging::keys::KeyChange;
use crate::model::{QueryKey, Text, Token};
use crate::rpc::RpcReply;
use crate::rpc::record::TagsCall;
use std::collections::BTreeMap;

impl Agent {
    /// Changes tags for a control connection.
    pub(super) fn change_tags(&mut self, set: BTreeMap<Text, Text>, delete: Vec<Text>, token: Token) {
        let changed = self.tags.change(set, delete);
        let result = changed.and_then(|tags| self.running.set_tags(tags).map_err(TagsChangeError::Tags));
        if let Err(why) = &result {
            log::error!(target: "agent", "{why}");
        }
        self.running.threads.rpc.sender().reply(token, RpcReply::to::<TagsCall>(result));
    }

    /// Changes the keyring, its file first, for a member that asked everyone to do so.
    pub(super) fn change_key(&self, change: &KeyChange, query: QueryKey) {
        let result = match &self.running.keys {
            Some(keys) => keys.change(|ring| change.apply(ring)),
            None => Err(KeysError::NoKeyring),
        };
        let answer = ToEvents::KeyChanged { query, step: change.step, result };
        if self.running.channels.events.send(answer).is_err() {
            // The one that asked sees that an answer is missing, and may ask again.
            log::warn!(target: "agent", "serf-events is too busy to answer about a key");
        }
    }
}
