//! The few bytes of the control protocol that a rude client needs.

use super::agent::Agent;
use serde::Serialize;
use serde_json::{Value, json};
use serf::rpc::frame::FrameScanner;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// A client that knows MessagePack and nothing of the records.
pub(crate) struct RawClient {
    socket: TcpStream,
    read: Vec<u8>,
}

impl RawClient {
    /// Connects and shakes hands.
    pub(crate) fn connect(agent: &Agent) -> RawClient {
        let socket = TcpStream::connect(agent.rpc()).expect("the agent listens");
        socket.set_read_timeout(Some(Duration::from_secs(30))).expect("a timeout can be set");
        let mut client = RawClient { socket, read: Vec::new() };
        client.ask(json!({"Command": "handshake", "Seq": 0}), &json!({"Version": 1}));
        client
    }

    /// Sends a header and a body; answers the first value that comes back.
    pub(crate) fn ask(&mut self, header: Value, body: &Value) -> Vec<u8> {
        let values = [&header, body].map(|value| rmp_serde::to_vec(value).expect("JSON can be encoded"));
        self.socket.write_all(&values.concat()).expect("the agent reads");
        self.value()
    }

    /// The next value that the agent sends.
    pub(crate) fn value(&mut self) -> Vec<u8> {
        loop {
            let end = FrameScanner::default().scan(&self.read, 1 << 20).expect("it is MessagePack");
            if let Some(end) = end {
                return self.read.drain(..end).collect();
            }
            let mut chunk = [0; 4096];
            let count = self.socket.read(&mut chunk).expect("the agent answers");
            assert!(count > 0, "the agent has closed the connection; before that: {:x?}", self.read);
            self.read.extend_from_slice(&chunk[..count]);
        }
    }
}

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
