//! The headers of the control protocol.

use crate::rpc::codec::record;

record! {
    /// Before every request.
    pub(crate) RequestHeader {
        /// The word of a command.
        "Command" command: String,
        /// Chosen by the client; echoed in every reply and record that belongs to the request.
        "Seq" seq: u64,
    }
    listed "Command" "Seq"
}

record! {
    /// Before every reply and every streamed record.
    pub(crate) ResponseHeader {
        /// Empty when all went well.
        "Error" error: String,
        /// Of the request that this belongs to.
        "Seq" seq: u64,
    }
}
