//! Where clients come from: a TCP port or a Unix socket. Nothing here knows the protocol.

use crate::config::RpcAddress;
use crate::model::canonical_ip;
use mio::event::Source;
use mio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use mio::{Interest, Registry, Token};
use std::fs::{self, DirBuilder, Permissions};
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr};
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// A listener. A Unix socket's file goes with it.
#[derive(Debug)]
pub(super) enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener, PathBuf),
}

impl Listener {
    pub(super) fn bind(address: &RpcAddress) -> io::Result<Listener> {
        match address {
            RpcAddress::Tcp(addr) => {
                bind_tcp(*addr).inspect(crate::agent::net::sockets::widen_backlog).map(Listener::Tcp)
            }
            RpcAddress::Unix { path, mode } => {
                clear_stale(path)?;
                bind_private(path, *mode).map(|listener| Listener::Unix(listener, path.clone()))
            }
        }
    }

    /// Where clients can connect, with the port that the system chose.
    pub(super) fn address(&self, asked: &RpcAddress) -> io::Result<RpcAddress> {
        match self {
            Listener::Tcp(listener) => listener.local_addr().map(RpcAddress::Tcp),
            Listener::Unix(..) => Ok(asked.clone()),
        }
    }

    /// The next client and what to call it in the log.
    pub(super) fn accept(&self) -> io::Result<(SessionSocket, String)> {
        match self {
            Listener::Tcp(listener) => {
                let (socket, peer) = listener.accept()?;
                // Replies are small and waited for; a failure costs latency alone.
                let _ = socket.set_nodelay(true);
                let peer = SocketAddr::new(canonical_ip(peer.ip()), peer.port());
                Ok((SessionSocket::Tcp(socket), peer.to_string()))
            }
            Listener::Unix(listener, path) => {
                let (socket, _) = listener.accept()?;
                Ok((SessionSocket::Unix(socket), format!("unix:{}", path.display())))
            }
        }
    }

    pub(super) fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        self.source().register(registry, token, Interest::READABLE)
    }

    pub(super) fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        self.source().deregister(registry)
    }

    fn source(&mut self) -> &mut dyn Source {
        match self {
            Listener::Tcp(listener) => listener,
            Listener::Unix(listener, _) => listener,
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Listener::Unix(_, path) = self {
            // If it is gone already, so much the better.
            let _ = fs::remove_file(path);
        }
    }
}

/// Every address of both families is every address of one where the host has no other.
fn bind_tcp(addr: SocketAddr) -> io::Result<TcpListener> {
    const NO_SUCH_FAMILY: i32 = rustix::io::Errno::AFNOSUPPORT.raw_os_error();
    match TcpListener::bind(addr) {
        Err(e)
            if addr.ip() == IpAddr::V6(Ipv6Addr::UNSPECIFIED)
                && (e.raw_os_error() == Some(NO_SUCH_FAMILY)
                    || e.kind() == io::ErrorKind::AddrNotAvailable) =>
        {
            TcpListener::bind(SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), addr.port()))
        }
        bound => bound,
    }
}

/// Removes the socket that a killed agent left behind, and nothing else.
fn clear_stale(path: &Path) -> io::Result<()> {
    let Ok(metadata) = fs::symlink_metadata(path) else { return Ok(()) };
    if !metadata.file_type().is_socket() {
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, "the file exists and is no socket"));
    }
    match std::os::unix::net::UnixStream::connect(path) {
        Err(e) if e.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path),
        Err(e) => Err(e),
        Ok(_) => Err(io::ErrorKind::AddrInUse.into()),
    }
}

/// Binds where nobody else can reach it, sets the mode and moves the socket into place: at no
/// moment can anyone connect whom the mode does not admit, whatever the umask.
fn bind_private(path: &Path, mode: u32) -> io::Result<UnixListener> {
    let mut directory = path.as_os_str().to_owned();
    directory.push(format!(".{}", std::process::id()));
    let directory = PathBuf::from(directory);
    DirBuilder::new().mode(0o700).create(&directory)?;
    let inside = directory.join("s");
    let listener = UnixListener::bind(&inside).and_then(|listener| {
        fs::set_permissions(&inside, Permissions::from_mode(mode))?;
        fs::rename(&inside, path)?;
        Ok(listener)
    });
    if listener.is_err() {
        let _ = fs::remove_file(&inside);
    }
    let _ = fs::remove_dir(&directory);
    listener
}

/// One client's socket.
#[derive(Debug)]
pub(super) enum SessionSocket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl SessionSocket {
    pub(super) fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        let interest = Interest::READABLE | Interest::WRITABLE;
        match self {
            SessionSocket::Tcp(socket) => socket.register(registry, token, interest),
            SessionSocket::Unix(socket) => socket.register(registry, token, interest),
        }
    }

    /// Lets the client see that nothing more will come.
    pub(super) fn shut_down_writing(&self) -> io::Result<()> {
        match self {
            SessionSocket::Tcp(socket) => socket.shutdown(Shutdown::Write),
            SessionSocket::Unix(socket) => socket.shutdown(Shutdown::Write),
        }
    }

    pub(super) fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            SessionSocket::Tcp(socket) => socket.read(buffer),
            SessionSocket::Unix(socket) => socket.read(buffer),
        }
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            SessionSocket::Tcp(socket) => socket.write(bytes),
            SessionSocket::Unix(socket) => socket.write(bytes),
        }
    }
}
