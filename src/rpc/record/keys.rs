//! The keys of the cluster.

use crate::messaging::keys::KeyReport;
use crate::rpc::codec::{or_nil, record};
use std::collections::BTreeMap;

record! {
    /// `install-key`.
    pub InstallKeyCall {
        /// The key in base64.
        #[serde(deserialize_with = "or_nil")]
        key: String,
    }
}

record! {
    /// `use-key`.
    pub UseKeyCall {
        /// The key in base64.
        #[serde(deserialize_with = "or_nil")]
        key: String,
    }
}

record! {
    /// `remove-key`.
    pub RemoveKeyCall {
        /// The key in base64.
        #[serde(deserialize_with = "or_nil")]
        key: String,
    }
}

record! {
    /// `list-keys`.
    pub ListKeysCall;
}

record! {
    /// Reply to the four key commands.
    pub(crate) KeyResponse {
        /// On how many members each key is installed (`list-keys` alone).
        #[serde(deserialize_with = "or_nil")]
        keys: BTreeMap<String, i64>,
        /// What members had to say, by name.
        #[serde(deserialize_with = "or_nil")]
        messages: BTreeMap<String, String>,
        /// How many members reported a failure.
        #[serde(deserialize_with = "or_nil")]
        num_err: i64,
        /// How many members there are.
        #[serde(deserialize_with = "or_nil")]
        num_nodes: i64,
        /// How many members answered.
        #[serde(deserialize_with = "or_nil")]
        num_resp: i64,
        /// How many members seal with each key (`list-keys` alone). HashiCorp's agents do not say
        /// so, and their clients do not mind.
        #[serde(deserialize_with = "or_nil", skip_serializing_if = "BTreeMap::is_empty")]
        primary_keys: BTreeMap<String, i64>,
    }
}

impl From<KeyReport> for KeyResponse {
    fn from(report: KeyReport) -> KeyResponse {
        let number = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        let counts = |keys: BTreeMap<String, usize>| keys.into_iter().map(|(k, n)| (k, number(n))).collect();
        KeyResponse {
            keys: counts(report.keys),
            messages: report.messages,
            num_err: number(report.errors),
            num_nodes: number(report.nodes),
            num_resp: number(report.responses),
            primary_keys: counts(report.primary_keys),
        }
    }
}
