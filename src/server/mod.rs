//! Connections in: listening, accepting, serving, and ending in good order.

mod activity;
mod answering;
mod connection;
mod entrance;
mod interim;
mod listener;
mod load;
mod places;
mod proxy_protocol;
mod shutdown;
mod socket;
mod streams;
mod wire;
mod worker;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Request, Response};
use hyper::body::Incoming;

pub use self::entrance::Entrance;
pub use self::interim::Interim;
pub use self::listener::{BindError, Listeners};
pub use self::load::{Load, Running};
pub use self::shutdown::{Shutdown, ShutdownHandle, Stage};
pub use self::worker::{Server, ServerError, ServerOptions};
use crate::message::BodyError;
use crate::transport::Shown;

/// What serves requests: an asynchronous function from a request to an answer.
pub trait Service: Send + Sync + 'static {
    /// The body of its answers.
    type Body: http_body::Body<Data = Bytes, Error = BodyError> + Send + Unpin + 'static;

    /// Answers a request.
    fn call(
        &self,
        request: Request<Incoming>,
        caller: &Caller,
    ) -> impl Future<Output = Response<Self::Body>> + Send;
}

/// Who has sent a request.
#[derive(Clone, Debug)]
pub struct Caller {
    /// Who is at the other end of the connection.
    pub peer: Arc<Peer>,
    /// How interim answers reach it.
    pub interim: Interim,
    /// What the connection's requests have begun.
    pub load: Load,
}

/// Who is at the other end of a connection.
#[derive(Clone, Debug)]
pub struct Peer {
    /// Its address, or that which a load balancer says; none over a Unix socket.
    pub address: Option<SocketAddr>,
    /// Its address as the `X-Forwarded-For` field has it.
    pub forwarded_for: HeaderValue,
    /// Whether the connection is by TLS.
    pub is_secure: bool,
    /// Whose certificate it has shown, if it has.
    pub certificate: Option<Shown>,
}

/// What a listener's connections may take.
#[derive(Clone, Copy, Debug)]
pub struct ServerLimits {
    /// The most connections at a time.
    pub connections_max: usize,
    /// The largest header section, in bytes, request line included.
    pub header_bytes_max: usize,
    /// The most header lines.
    pub headers_max: usize,
    /// The longest time from the first byte of a header section to its last, and from a new
    /// connection to its first request.
    pub header_timeout: Duration,
    /// The longest time between requests.
    pub idle_timeout: Duration,
    /// The longest time in which a peer takes nothing of what is written to it.
    pub write_timeout: Duration,
    /// The most streams of an HTTP/2 connection, and the most operations that the requests of
    /// one connection of any version may have running.
    pub streams_max: usize,
    /// How many bytes of a body a peer may send on a stream before they are read.
    pub stream_window: u32,
    /// How many on all streams of a connection together.
    pub connection_window: u32,
    /// The most streams that a peer may have reset before they were looked at.
    pub pending_resets_max: usize,
    /// How often a peer is asked whether it is there.
    pub ping_interval: Duration,
    /// The longest time in which it answers that.
    pub ping_timeout: Duration,
    /// The longest time that a handshake takes.
    pub handshake_timeout: Duration,
    /// The most handshakes that run at a time.
    pub handshakes_max: usize,
}

impl Peer {
    /// The peer at an address, over a connection of plain text.
    pub fn new(address: Option<SocketAddr>) -> Self {
        let ip = address.map(|address| address.ip().to_canonical().to_string());
        // An address has only visible ASCII characters.
        let forwarded_for = ip.and_then(|ip| ip.parse().ok());
        let forwarded_for = forwarded_for.unwrap_or_else(|| HeaderValue::from_static("unknown"));
        Self { address, forwarded_for, is_secure: false, certificate: None }
    }
}
