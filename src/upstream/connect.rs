//! Making connections to the upstream.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use tokio::net::{TcpStream, ToSocketAddrs, UnixStream};

use super::endpoint::Place;
use super::told::Told;
use super::wire::Wire;
use super::{Endpoint, NotSent, UpstreamOptions};
use crate::transport::{Protocol, Stream, TlsFault};

/// How long to wait until a Unix socket is tried again that has no room for another connection.
const UNIX_PAUSE: Duration = Duration::from_millis(5);

/// The other side, and how connections to it are made.
#[derive(Debug)]
pub(super) struct Remote {
    pub(super) endpoint: Endpoint,
    pub(super) options: UpstreamOptions,
    pub(super) told: Told,
}

impl Remote {
    /// What makes a connection, or fails when it takes longer than it may.
    pub(super) async fn in_time<T>(
        &self,
        connecting: impl Future<Output = Result<T, NotSent>>,
    ) -> Result<T, NotSent> {
        match tokio::time::timeout(self.options.connect_timeout, connecting).await {
            Ok(connected) => connected,
            Err(_) => Err(NotSent::TimedOut),
        }
    }

    /// A new stream, over which this protocol is to be spoken.
    pub(super) async fn open(&self, protocol: Protocol) -> Result<Wire, NotSent> {
        let stream = self.endpoint.place.open().await?;
        if !self.endpoint.is_https() {
            return Ok(Wire::Left(stream));
        }
        let Some(tls) = &self.options.tls else {
            return Err(self.failed(TlsFault::Failed, &"there is nothing that tells whom to trust"));
        };
        match tls.connect(stream, &self.endpoint.host(), protocol).await {
            Ok(stream) => Ok(Wire::Right(Box::new(stream))),
            Err(error) => Err(self.failed(error.fault, &error)),
        }
    }

    /// A handshake that has failed: those who run the proxy are told more of it than callers.
    pub(super) fn failed(&self, fault: TlsFault, error: &dyn std::fmt::Display) -> NotSent {
        let fault = NotSent::Tls(fault);
        self.told.warn(&self.endpoint, fault, error);
        fault
    }
}

impl Place {
    async fn open(&self) -> Result<Stream, NotSent> {
        match self {
            Self::Address(address) => open_tcp(address).await,
            Self::Name(name, port) => {
                let found = tokio::net::lookup_host((name.as_str(), *port)).await;
                let addresses: Vec<SocketAddr> = found.map_err(|_| NotSent::NoAddress)?.collect();
                open_tcp(addresses.as_slice()).await
            }
            Self::Unix(path) => open_unix(path).await,
        }
    }
}

async fn open_tcp(addresses: impl ToSocketAddrs) -> Result<Stream, NotSent> {
    let stream = TcpStream::connect(addresses).await.map_err(|error| {
        let timed_out = error.kind() == io::ErrorKind::TimedOut;
        if timed_out { NotSent::TimedOut } else { NotSent::Refused }
    })?;
    // Without it, small requests would wait for the acknowledgement of earlier ones.
    let _ = stream.set_nodelay(true);
    Ok(Stream::Tcp(stream))
}

async fn open_unix(path: &Path) -> Result<Stream, NotSent> {
    loop {
        match UnixStream::connect(path).await {
            Ok(stream) => return Ok(Stream::Unix(stream)),
            // As many connections wait there as may: unlike those over TCP, others are not kept.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                tokio::time::sleep(UNIX_PAUSE).await;
            }
            Err(_) => return Err(NotSent::Refused),
        }
    }
}
