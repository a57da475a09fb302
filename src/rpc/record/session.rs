//! The connection itself: its opening, and what it streams.

use crate::rpc::codec::{or_nil, record};

/// The only version of the protocol that exists.
pub const VERSION: i32 = 1;

record! {
    /// `handshake`.
    pub HandshakeCall {
        /// Must be [`VERSION`].
        #[serde(deserialize_with = "or_nil")]
        version: i32,
    }
}

record! {
    /// `auth`.
    pub AuthCall {
        /// The value of `rpc_auth`.
        #[serde(deserialize_with = "or_nil")]
        auth_key: String,
    }
}

record! {
    /// `stream`.
    pub StreamCall {
        /// A filter such as `*` or `member-join,user:deploy`; empty means `*`.
        #[serde(rename = "Type", deserialize_with = "or_nil")]
        kind: String,
    }
}

record! {
    /// `monitor`.
    pub MonitorCall {
        /// `trace`, `debug`, `info`, `warn` or `err`, in any case.
        #[serde(deserialize_with = "or_nil")]
        log_level: String,
    }
}

record! {
    /// Streamed to monitors.
    pub(crate) LogRecord {
        /// One line without its newline.
        #[serde(deserialize_with = "or_nil")]
        log: String,
    }
}

record! {
    /// `stop`.
    pub StopCall {
        /// The `Seq` of the `stream` or `monitor` request that is to end.
        #[serde(deserialize_with = "or_nil")]
        stop: u64,
    }
}
