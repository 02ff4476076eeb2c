//! Sockets that connections come in at: one for each worker where the platform can share a port.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpStream};

use crate::telemetry::Metrics;

/// The most connections that wait to be accepted.
const BACKLOG: i32 = 1024;

/// The first pause after accepting has failed; each further one is twice as long.
const PAUSE_MIN: Duration = Duration::from_millis(10);

/// The longest pause.
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// Listening sockets for all workers, at one address.
#[derive(Debug)]
pub struct Listeners {
    address: SocketAddr,
    sockets: Vec<std::net::TcpListener>,
}

/// Why an address can't be listened at.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen at {address}")]
pub struct BindError {
    /// The address.
    pub address: SocketAddr,
    /// What the operating system said.
    pub source: io::Error,
}

impl Listeners {
    /// Listens at an address with one socket for each worker.
    ///
    /// Where the platform can't share a port among sockets, all workers share one.
    pub fn bind(address: SocketAddr, workers: usize) -> Result<Self, BindError> {
        Self::try_bind(address, workers).map_err(|source| BindError { address, source })
    }

    fn try_bind(address: SocketAddr, workers: usize) -> io::Result<Self> {
        if address.port() != 0 {
            // Sharing a port would let a second instance listen beside the first without a word,
            // and each would execute what the other has executed. An exclusive bind fails then.
            drop(open(address, Port::Exclusive)?);
        }
        let Ok(first) = open(address, Port::Shared).and_then(listen) else {
            let only = open(address, Port::Exclusive).and_then(listen)?;
            let address = only.local_addr()?;
            let clones = (1..workers).map(|_| only.try_clone());
            let mut sockets = clones.collect::<io::Result<Vec<_>>>()?;
            sockets.push(only);
            return Ok(Self { address, sockets });
        };
        let address = first.local_addr()?;
        let others = (1..workers).map(|_| open(address, Port::Shared).and_then(listen));
        let mut sockets = others.collect::<io::Result<Vec<_>>>()?;
        sockets.push(first);
        Ok(Self { address, sockets })
    }

    /// The address that is listened at; its port is never 0.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// The sockets, one for each worker.
    pub(super) fn into_sockets(self) -> Vec<std::net::TcpListener> {
        self.sockets
    }
}

/// Whether other sockets may listen at the same port.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Port {
    Exclusive,
    Shared,
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

/// Accepts the next connection.
///
/// Accepting fails when the process has no file descriptor left, say: it is tried again after a
/// pause, for as long as it takes.
///
/// # Cancel safety
///
/// No connection is lost.
pub(super) async fn accept(listener: &TcpListener, metrics: &Metrics) -> (TcpStream, SocketAddr) {
    let mut pause = PAUSE_MIN;
    loop {
        match listener.accept().await {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_workers_listen_at_one_port() {
        let listeners = Listeners::bind(([127, 0, 0, 1], 0).into(), 3).unwrap();
        assert_ne!(listeners.address().port(), 0);
        let address = listeners.address();
        let sockets = listeners.into_sockets();
        assert_eq!(sockets.len(), 3);
        assert!(sockets.iter().all(|socket| socket.local_addr().unwrap() == address));
    }

    #[test]
    fn a_second_instance_cannot_listen_beside_the_first() {
        let first = Listeners::bind(([127, 0, 0, 1], 0).into(), 2).unwrap();
        let error = Listeners::bind(first.address(), 2).unwrap_err();
        assert_eq!(error.source.kind(), io::ErrorKind::AddrInUse);
    }
}
