//! Sockets that connections come in at: for each TCP address one for each worker, where the
//! platform can share a port, and one for all of them for each Unix socket.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::os::unix::net as unix;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, UnixListener};

use crate::telemetry::Metrics;
use crate::transport::{Address, Stream};

/// The most connections that wait to be accepted.
const BACKLOG: i32 = 1024;

/// The first pause after accepting has failed; each further one is twice as long.
const PAUSE_MIN: Duration = Duration::from_millis(10);

/// The longest pause.
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// Listening sockets for all workers.
#[derive(Debug)]
pub struct Listeners {
    addresses: Vec<Address>,
    /// The sockets of each worker.
    workers: Vec<Vec<ListeningSocket>>,
    files: Vec<SocketFile>,
}

/// One listening socket.
#[derive(Debug)]
pub(super) enum ListeningSocket {
    Tcp(std::net::TcpListener),
    Unix(unix::UnixListener),
}

/// One listening socket, where it is used.
#[derive(Debug)]
pub(super) enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

/// The file of a Unix socket, which goes with whoever listens at it.
#[derive(Debug)]
pub(super) struct SocketFile {
    path: PathBuf,
    /// Which file it is: another instance may have put its own in its place.
    inode: Option<(u64, u64)>,
}

/// Why an address can't be listened at.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen at {address}")]
pub struct BindError {
    /// The address.
    pub address: Address,
    /// What the operating system said.
    pub source: io::Error,
}

impl Listeners {
    /// Listens at all addresses, for so many workers.
    ///
    /// Where the platform can't share a port among sockets, all workers share one.
    pub fn bind(addresses: &[Address], workers: usize) -> Result<Self, BindError> {
        let mut listeners = Self {
            addresses: Vec::new(),
            workers: (0..workers).map(|_| Vec::new()).collect(),
            files: Vec::new(),
        };
        for address in addresses {
            let bound = match address {
                Address::Tcp(address) => listeners.bind_tcp(*address),
                Address::Unix(path) => listeners.bind_unix(path),
            };
            bound.map_err(|source| BindError { address: address.clone(), source })?;
        }
        Ok(listeners)
    }

    fn bind_tcp(&mut self, address: SocketAddr) -> io::Result<()> {
        let sockets = bind_tcp(address, self.workers.len())?;
        if let Some(first) = sockets.first() {
            self.addresses.push(Address::Tcp(first.local_addr()?));
        }
        for (worker, socket) in self.workers.iter_mut().zip(sockets) {
            worker.push(ListeningSocket::Tcp(socket));
        }
        Ok(())
    }

    fn bind_unix(&mut self, path: &Path) -> io::Result<()> {
        let (socket, file) = bind_unix(path)?;
        self.files.push(file);
        self.addresses.push(Address::Unix(path.to_path_buf()));
        for worker in &mut self.workers {
            worker.push(ListeningSocket::Unix(socket.try_clone()?));
        }
        Ok(())
    }

    /// The addresses that are listened at; a port is never 0.
    pub fn addresses(&self) -> &[Address] {
        &self.addresses
    }

    /// The sockets of each worker, and the files that go when the last of them does not listen
    /// any more.
    pub(super) fn into_sockets(self) -> (Vec<Vec<ListeningSocket>>, Arc<[SocketFile]>) {
        (self.workers, self.files.into())
    }
}

impl SocketFile {
    fn new(path: &Path) -> Self {
        Self { path: path.to_path_buf(), inode: inode(path) }
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if self.inode.is_some() && inode(&self.path) == self.inode {
            // Whoever listens there next removes what is left.
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn inode(path: &Path) -> Option<(u64, u64)> {
    fs::symlink_metadata(path).ok().map(|file| (file.dev(), file.ino()))
}

/// Whether other sockets may listen at the same port.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Port {
    Exclusive,
    Shared,
}

fn bind_tcp(address: SocketAddr, workers: usize) -> io::Result<Vec<std::net::TcpListener>> {
    if address.port() != 0 {
        // Sharing a port would let a second instance listen beside the first without a word,
        // and each would execute what the other has executed. An exclusive bind fails then.
        drop(open(address, Port::Exclusive)?);
    }
    let Ok(first) = open(address, Port::Shared).and_then(listen) else {
        let only = open(address, Port::Exclusive).and_then(listen)?;
        let clones = (1..workers).map(|_| only.try_clone());
        let mut sockets = clones.collect::<io::Result<Vec<_>>>()?;
        sockets.push(only);
        return Ok(sockets);
    };
    let address = first.local_addr()?;
    let others = (1..workers).map(|_| open(address, Port::Shared).and_then(listen));
    let mut sockets = others.collect::<io::Result<Vec<_>>>()?;
    sockets.push(first);
    Ok(sockets)
}

/// Listens at a Unix socket, in the place of one at which nobody listens any more.
fn bind_unix(path: &Path) -> io::Result<(unix::UnixListener, SocketFile)> {
    let is_left_over = fs::symlink_metadata(path).is_ok_and(|file| file.file_type().is_socket())
        && unix::UnixStream::connect(path)
            .is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused);
    if is_left_over {
        fs::remove_file(path)?;
    }
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    socket.bind(&socket2::SockAddr::unix(path)?)?;
    let file = SocketFile::new(path);
    socket.listen(BACKLOG)?;
    Ok((socket.into(), file))
}

fn open(address: SocketAddr, port: Port) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // Lets a restarted instance listen while connections of its predecessor still linger.
    socket.set_reuse_address(true)?;
    match port {
        Port::Exclusive => {}
        Port::Shared => share(&socket)?,
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

#[cfg(unix)]
fn share(socket: &Socket) -> io::Result<()> {
    socket.set_reuse_port(true)
}

#[cfg(not(unix))]
fn share(_: &Socket) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

fn listen(socket: Socket) -> io::Result<std::net::TcpListener> {
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

impl Listener {
    /// Listens on the runtime that it is called on.
    pub(super) fn new(socket: ListeningSocket) -> io::Result<Self> {
        match socket {
            ListeningSocket::Tcp(socket) => TcpListener::from_std(socket).map(Self::Tcp),
            ListeningSocket::Unix(socket) => UnixListener::from_std(socket).map(Self::Unix),
        }
    }

    /// Accepts the next connection.
    ///
    /// Accepting fails when the process has no file descriptor left, say: it is tried again after
    /// a pause, for as long as it takes.
    ///
    /// # Cancel safety
    ///
    /// No connection is lost.
    pub(super) async fn accept(&self, metrics: &Metrics) -> (Stream, Option<SocketAddr>) {
        let mut pause = PAUSE_MIN;
        loop {
            match self.try_accept().await {
                Ok(accepted) => return accepted,
                // The peer was faster to leave.
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(error) => {
                    metrics.accept_errors.increment();
                    if pause == PAUSE_MIN {
                        tracing::warn!(%error, "a connection cannot be accepted");
                    }
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(PAUSE_MAX);
                }
            }
        }
    }

    async fn try_accept(&self) -> io::Result<(Stream, Option<SocketAddr>)> {
        match self {
            Self::Tcp(listener) => {
                let (stream, address) = listener.accept().await?;
                Ok((Stream::Tcp(stream), Some(address)))
            }
            Self::Unix(listener) => Ok((Stream::Unix(listener.accept().await?.0), None)),
        }
    }

    /// Listens no more.
    ///
    /// The files go before the sockets close, since another instance may put its own in their
    /// place from then on. As long as a socket is open, no other file can be taken for its own.
    pub(super) fn close_all(
        listeners: Vec<Self>,
        files: Arc<[SocketFile]>,
        mut serve: impl FnMut(Stream, Option<SocketAddr>),
    ) {
        drop(files);
        for listener in listeners {
            // Whoever is connected by now is answered, too: closing the socket would reset it.
            listener.accept_rest(&mut serve);
        }
    }

    /// Accepts those that are connected by now, and listens no more.
    fn accept_rest(self, mut serve: impl FnMut(Stream, Option<SocketAddr>)) {
        match self {
            Self::Tcp(listener) => {
                let Ok(listener) = listener.into_std() else { return };
                while let Ok((stream, address)) = listener.accept() {
                    if stream.set_nonblocking(true).is_ok()
                        && let Ok(stream) = tokio::net::TcpStream::from_std(stream)
                    {
                        serve(Stream::Tcp(stream), Some(address));
                    }
                }
            }
            Self::Unix(listener) => {
                let Ok(listener) = listener.into_std() else { return };
                while let Ok((stream, _)) = listener.accept() {
                    if stream.set_nonblocking(true).is_ok()
                        && let Ok(stream) = tokio::net::UnixStream::from_std(stream)
                    {
                        serve(Stream::Unix(stream), None);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn any() -> Address {
        Address::Tcp(([127, 0, 0, 1], 0).into())
    }

    #[test]
    fn all_workers_listen_at_one_port() {
        let listeners = Listeners::bind(&[any()], 3).unwrap();
        let [Address::Tcp(address)] = *listeners.addresses() else { panic!("one port") };
        assert_ne!(address.port(), 0);
        let (workers, _) = listeners.into_sockets();
        assert_eq!(workers.len(), 3);
        for sockets in workers {
            let [ListeningSocket::Tcp(socket)] = &sockets[..] else { panic!("one socket each") };
            assert_eq!(socket.local_addr().unwrap(), address);
        }
    }

    #[test]
    fn a_second_instance_cannot_listen_beside_the_first() {
        let folder = std::env::temp_dir().join(format!("oncegate-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let path = folder.join("listener.sock");
        for address in [any(), Address::Unix(path.clone())] {
            let first = Listeners::bind(&[address], 2).unwrap();
            let error = Listeners::bind(first.addresses(), 2).unwrap_err();
            assert_eq!(error.source.kind(), io::ErrorKind::AddrInUse, "{}", error.address);
        }
        assert!(!path.exists(), "it goes with whoever listens at it");
        fs::remove_dir(folder).unwrap();
    }

    /// Listens at this path, in one worker.
    fn listen_at(path: &Path) -> (Vec<Listener>, Arc<[SocketFile]>) {
        let listeners = Listeners::bind(&[Address::Unix(path.to_path_buf())], 1).unwrap();
        let (workers, files) = listeners.into_sockets();
        let sockets = workers.into_iter().flatten();
        (sockets.map(|socket| Listener::new(socket).unwrap()).collect(), files)
    }

    #[tokio::test]
    async fn the_file_of_a_socket_goes_before_the_socket_and_no_other_goes_with_it() {
        let folder = std::env::temp_dir().join(format!("oncegate-order-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let path = folder.join("listener.sock");
        let (listeners, files) = listen_at(&path);
        let _caller = unix::UnixStream::connect(&path).unwrap();
        let mut accepted = 0;
        Listener::close_all(listeners, files, |_, _| {
            assert!(!path.exists(), "the socket is still open");
            accepted += 1;
        });
        assert_eq!(accepted, 1);
        let (listeners, files) = listen_at(&path);
        fs::remove_file(&path).unwrap();
        let successor = listen_at(&path);
        Listener::close_all(listeners, files, |_, _| panic!("nobody is connected"));
        assert!(path.exists(), "that of the next instance stays");
        drop(successor);
        assert!(!path.exists());
        fs::remove_dir(folder).unwrap();
    }

    #[test]
    fn a_socket_that_is_left_over_is_replaced_and_another_file_is_not() {
        let folder = std::env::temp_dir().join(format!("oncegate-left-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let path = folder.join("listener.sock");
        drop(unix::UnixListener::bind(&path).unwrap());
        assert!(path.exists());
        drop(Listeners::bind(&[Address::Unix(path.clone())], 1).unwrap());
        fs::write(&path, "a file").unwrap();
        let error = Listeners::bind(&[Address::Unix(path.clone())], 1).unwrap_err();
        assert_eq!(error.source.kind(), io::ErrorKind::AddrInUse);
        assert_eq!(fs::read(&path).unwrap(), b"a file");
        fs::remove_dir_all(folder).unwrap();
    }
}
