//! What the sockets of the thread are called in its poll.

use mio::Token;

/// The waker.
pub(super) const WAKER: Token = Token(0);
/// Where Prometheus connects.
pub(super) const LISTENER: Token = Token(1);
/// The stream to statsite.
pub(super) const STATSITE: Token = Token(2);
/// The first of Prometheus' connections; the others follow.
pub(super) const FIRST_CLIENT: usize = 3;
