//! Looking up the addresses of a join, or of a seed. The system's resolver blocks, so it gets a thread,
//! `serf-resolve`, for as long as it takes.

use crate::agent::channels::{JoinRequest, ToSync};
use crate::agent::mailbox::Mailbox;
use crate::agent::thread;
use crate::model::{HostPort, canonical_ip};
use crate::node::exchanges::JoinError;
use std::net::{SocketAddr, ToSocketAddrs};
use std::time::Duration;

/// The addresses, if all of them are literal and need no lookup.
pub(crate) fn literals(addrs: &[String], default_port: u16) -> Option<Vec<SocketAddr>> {
    addrs.iter().map(|text| HostPort::of_member(text, default_port).ok()?.literal()).collect()
}

/// Looks the addresses up and sends them to `serf-sync`. A host name stands for all its addresses.
pub(crate) fn look_up(request: JoinRequest, default_port: u16, sync: Mailbox<ToSync>) {
    // The request comes back inside the message, or is dropped with the agent that stops.
    start(move || {
        let (mut found, mut errors) = (Vec::new(), Vec::new());
        for text in &request.addrs {
            match resolve(text, default_port) {
                Ok(addrs) => found.extend(addrs),
                Err(why) => errors.push(format!("Failed to resolve {text}: {why}")),
            }
        }
        found.dedup();
        if let Err(ToSync::Resolved(request, ..)) = sync.send(ToSync::Resolved(request, found, errors)) {
            request.answer(Err(JoinError::TooMany));
        }
    });
}

/// Looks one seed up and sends where it leads to `serf-sync`; nowhere if that cannot be found out.
pub(crate) fn look_up_seed(seed: String, default_port: u16, sync: Mailbox<ToSync>) {
    /// That thread empties its channel all the time; longer than this, and it has stopped.
    const PATIENCE: Duration = Duration::from_secs(10);
    start(move || {
        let addrs = resolve(&seed, default_port).unwrap_or_else(|why| {
            log::debug!(target: "serf", "cannot look up {seed}: {why}");
            Vec::new()
        });
        sync.send_within(ToSync::SeedFound(seed, addrs), PATIENCE);
    });
}

/// Looks something up beside the other threads.
fn start(look_up: impl FnOnce() + Send + 'static) {
    if let Err(e) = thread::start("serf-resolve", look_up) {
        log::error!(target: "agent", "cannot start a thread to look up addresses: {e}");
    }
}

fn resolve(text: &str, default_port: u16) -> Result<Vec<SocketAddr>, String> {
    let host = HostPort::of_member(text, default_port).map_err(|e| e.to_string())?;
    let addrs = (host.host.as_str(), host.port).to_socket_addrs().map_err(|e| e.to_string())?;
    Ok(addrs.map(|a| SocketAddr::new(canonical_ip(a.ip()), a.port())).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literal_addresses_need_no_lookup() {
        let all = |texts: &[&str]| {
            let texts: Vec<String> = texts.iter().map(|s| s.to_string()).collect();
            literals(&texts, 7946).map(|a| a.iter().map(ToString::to_string).collect::<Vec<_>>())
        };
        let expected = ["10.0.0.1:7946", "[::1]:80", "10.0.0.2:1"].map(String::from).to_vec();
        assert_eq!(all(&["10.0.0.1", "[::1]:80", "web-1/10.0.0.2:1"]), Some(expected));
        assert_eq!(all(&["10.0.0.1", "localhost"]), None);
    }

    #[test]
    fn names_are_looked_up_and_errors_named() {
        assert!(resolve("localhost:5", 1).unwrap().iter().all(|a| a.port() == 5));
        assert!(resolve("no such host.invalid", 1).is_err());
    }
}
