//! The few bytes of the control protocol that a rude client needs.

use serde::Serialize;

/// One request of the control protocol.
pub(crate) fn rpc_request(sequence: u64, command: &str, body: Option<RpcBody>) -> Vec<u8> {
    let header = RpcHeader { command: command.to_string(), seq: sequence };
    let mut bytes = rmp_serde::to_vec_named(&header).expect("a header can be encoded");
    if let Some(body) = body {
        bytes.extend(rmp_serde::to_vec_named(&body).expect("a body can be encoded"));
    }
    bytes
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct RpcHeader {
    command: String,
    seq: u64,
}

/// The bodies that the tests send.
#[derive(Serialize)]
#[serde(untagged)]
pub(crate) enum RpcBody {
    Handshake {
        #[serde(rename = "Version")]
        version: i32,
    },
    Monitor {
        #[serde(rename = "LogLevel")]
        log_level: String,
    },
    Stream {
        #[serde(rename = "Type")]
        kind: String,
    },
    /// Of a query as well.
    #[serde(rename_all = "PascalCase")]
    Event { name: String, payload: Option<Vec<u8>> },
    Respond {
        #[serde(rename = "ID")]
        id: u64,
        #[serde(rename = "Payload")]
        payload: Option<Vec<u8>>,
    },
}
