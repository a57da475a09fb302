//! The name of a request that is answered later.

/// Names one request of one control connection, so that an answer that comes later finds its way.
/// An answer to a connection that has closed is ignored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token {
    /// Number of the connection; never used twice.
    pub connection: u64,
    /// `Seq` of the request.
    pub seq: u64,
}
