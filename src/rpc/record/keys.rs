//! The keys of the cluster.

use crate::messaging::keys::KeyReport;
use crate::model::Text;
use crate::rpc::codec::record;
use std::collections::BTreeMap;

record! {
    /// `install-key`.
    pub InstallKeyCall {
        /// The key in base64.
        "Key" key: String,
    }
    listed "Key"
}

record! {
    /// `use-key`.
    pub UseKeyCall {
        /// The key in base64.
        "Key" key: String,
    }
    listed "Key"
}

record! {
    /// `remove-key`.
    pub RemoveKeyCall {
        /// The key in base64.
        "Key" key: String,
    }
    listed "Key"
}

record! {
    /// `list-keys`.
    pub ListKeysCall;
}

record! {
    /// Reply to the four key commands.
    pub(crate) KeyResponse {
        /// On how many members each key is installed (`list-keys` alone).
        "Keys" keys: Option<BTreeMap<String, i64>>,
        /// What members had to say, by name.
        "Messages" messages: BTreeMap<Text, Text>,
        /// How many members reported a failure.
        "NumErr" num_err: i64,
        /// How many members there are.
        "NumNodes" num_nodes: i64,
        /// How many members answered.
        "NumResp" num_resp: i64,
        /// How many members seal with each key (`list-keys` alone). HashiCorp's agents do not say
        /// so, and their clients do not mind.
        "PrimaryKeys" primary_keys: Option<BTreeMap<String, i64>>,
    }
}

impl From<KeyReport> for KeyResponse {
    fn from(report: KeyReport) -> KeyResponse {
        let number = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        let counts = |keys: BTreeMap<String, usize>| {
            report.listing.then(|| keys.into_iter().map(|(key, count)| (key, number(count))).collect())
        };
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
