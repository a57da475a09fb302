//! The queue of connections that a listener has in the kernel.

use std::os::fd::AsFd;

/// Connections that the kernel may hold until they are accepted; it takes its own limit
/// (`net.core.somaxconn`) if that is lower.
const BACKLOG: i32 = 4096;

/// Asks for a longer queue of connections than the standard library does. When it is full the
/// kernel drops connection requests, and each costs the other side a second.
pub(super) fn widen(listener: &impl AsFd) {
    if let Err(e) = rustix::net::listen(listener, BACKLOG) {
        log::debug!(target: "agent", "keeping the short queue of connections: {e}");
    }
}
