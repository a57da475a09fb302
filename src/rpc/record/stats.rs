//! Facts and counters of an agent.

use crate::model::Text;
use crate::rpc::codec::{Body, RecordError, decode, encode_into, record};
use std::collections::BTreeMap;

record! {
    /// `stats`.
    pub StatsCall;
}

/// Groups of counters and facts, as `stats` answers them.
pub type Stats = BTreeMap<String, BTreeMap<Text, Text>>;

impl Body for Stats {
    fn write(&self, out: &mut Vec<u8>) {
        encode_into(out, self);
    }

    fn read(bytes: &[u8]) -> Result<Stats, RecordError> {
        decode(bytes)
    }
}
