//! Notifying systemd how far the agent is (`Type=notify`, sd_notify). Where nobody asks for it, by
//! setting `NOTIFY_SOCKET`, nothing happens.

use rustix::time::{ClockId, clock_gettime};
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// Where the service manager listens, if there is one.
#[derive(Debug, Default)]
pub(crate) struct Notifier {
    socket: Option<(UnixDatagram, SocketAddr)>,
}

impl Notifier {
    /// The socket that `NOTIFY_SOCKET` names: a path, or after `@` an abstract name.
    pub(crate) fn from_environment() -> Notifier {
        let Some(name) = std::env::var_os("NOTIFY_SOCKET") else { return Notifier::default() };
        Notifier::new(&name).unwrap_or_else(|e| {
            log::warn!(target: "agent", "Cannot notify the service manager at {name:?}: {e}");
            Notifier::default()
        })
    }

    fn new(name: &OsStr) -> io::Result<Notifier> {
        let addr = match name.as_bytes().split_first() {
            Some((b'@', name)) => abstract_name(name)?,
            Some((b'/', _)) => SocketAddr::from_pathname(name)?,
            _ => return Err(io::Error::other("neither a path nor an abstract name")),
        };
        let socket = UnixDatagram::unbound()?;
        socket.set_nonblocking(true)?;
        Ok(Notifier { socket: Some((socket, addr)) })
    }

    /// What the agent is doing, for people.
    pub(crate) fn status(&self, status: &str) {
        self.send(&format!("STATUS={status}"));
    }

    /// The agent serves; also ends a reload.
    pub(crate) fn ready(&self, status: &str) {
        self.send(&format!("READY=1\nSTATUS={status}"));
    }

    /// The agent reads its configuration again; [`Notifier::ready`] follows.
    pub(crate) fn reloading(&self) {
        // systemd sees by the time which of its requests this answers.
        let now = clock_gettime(ClockId::Monotonic);
        let micros = now.tv_sec.saturating_mul(1_000_000).saturating_add(now.tv_nsec / 1000);
        self.send(&format!("RELOADING=1\nMONOTONIC_USEC={micros}\nSTATUS=Reloading the configuration"));
    }

    /// The agent is about to end.
    pub(crate) fn stopping(&self, status: &str) {
        self.send(&format!("STOPPING=1\nSTATUS={status}"));
    }

    fn send(&self, state: &str) {
        if let Some((socket, addr)) = &self.socket
            && let Err(e) = socket.send_to_addr(state.as_bytes(), addr)
        {
            log::warn!(target: "agent", "Failed to notify the service manager: {e}");
        }
    }
}

#[cfg(target_os = "linux")]
fn abstract_name(name: &[u8]) -> io::Result<SocketAddr> {
    use std::os::linux::net::SocketAddrExt;
    SocketAddr::from_abstract_name(name)
}

#[cfg(not(target_os = "linux"))]
fn abstract_name(_: &[u8]) -> io::Result<SocketAddr> {
    Err(io::Error::other("only Linux has abstract names"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn heard(listener: &UnixDatagram) -> String {
        let mut buffer = [0; 1024];
        let n = listener.recv(&mut buffer).unwrap();
        String::from_utf8(buffer[..n].to_vec()).unwrap()
    }

    #[test]
    fn notifies_an_abstract_socket() {
        let name = format!("serf-notify-{}", std::process::id());
        let listener = UnixDatagram::bind_addr(&abstract_name(name.as_bytes()).unwrap()).unwrap();
        listener.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let notifier = Notifier::new(format!("@{name}").as_ref()).unwrap();
        notifier.status("Joining");
        notifier.ready("Serving");
        notifier.reloading();
        notifier.stopping("Leaving");
        assert_eq!(heard(&listener), "STATUS=Joining");
        assert_eq!(heard(&listener), "READY=1\nSTATUS=Serving");
        let reloading = heard(&listener);
        let micros = reloading.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").unwrap();
        assert!(micros.split('\n').next().unwrap().parse::<u64>().unwrap() > 0, "{reloading}");
        assert_eq!(heard(&listener), "STOPPING=1\nSTATUS=Leaving");
    }

    #[test]
    fn nobody_to_notify_is_no_error() {
        Notifier::default().ready("Serving");
        assert!(Notifier::new("vsock:2:1".as_ref()).is_err());
        assert!(Notifier::new("".as_ref()).is_err());
        Notifier::new("/nonexistent/notify".as_ref()).unwrap().ready("Serving");
    }
}
