//! The connection itself: its opening, and what it streams.

use crate::model::Text;
use crate::rpc::codec::record;

/// The only version of the protocol that exists.
pub const VERSION: i32 = 1;

record! {
    /// `handshake`.
    pub HandshakeCall {
        /// Must be [`VERSION`].
        "Version" version: i32,
    }
    listed "Version"
}

record! {
    /// `auth`.
    pub AuthCall {
        /// The value of `rpc_auth`.
        "AuthKey" auth_key: Text,
    }
    listed "AuthKey"
}

record! {
    /// `stream`.
    pub StreamCall {
        /// A filter such as `*` or `member-join,user:deploy`; empty means `*`.
        "Type" kind: Text,
    }
    listed "Type"
}

record! {
    /// `monitor`.
    pub MonitorCall {
        /// `trace`, `debug`, `info`, `warn` or `err`, in any case.
        "LogLevel" log_level: String,
    }
    listed "LogLevel"
}

record! {
    /// Streamed to monitors.
    pub(crate) LogRecord {
        /// One line without its newline.
        "Log" log: Text,
    }
}

record! {
    /// `stop`.
    pub StopCall {
        /// The `Seq` of the `stream` or `monitor` request that is to end.
        "Stop" stop: u64,
    }
    listed "Stop"
}
