//! The headers of the control protocol.

use crate::rpc::codec::{or_nil, record};

record! {
    /// Before every request.
    pub(crate) RequestHeader {
        /// The word of a command.
        #[serde(deserialize_with = "or_nil")]
        command: String,
        /// Chosen by the client; echoed in every reply and record that belongs to the request.
        #[serde(deserialize_with = "or_nil")]
        seq: u64,
    }
}

record! {
    /// Before every reply and every streamed record.
    pub(crate) ResponseHeader {
        /// Empty when all went well.
        #[serde(deserialize_with = "or_nil")]
        error: String,
        /// Of the request that this belongs to.
        #[serde(deserialize_with = "or_nil")]
        seq: u64,
    }
}
