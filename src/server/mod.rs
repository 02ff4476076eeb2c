//! Connections in: listening, accepting, serving, and ending in good order.

mod activity;
mod connection;
mod interim;
mod listener;
mod shutdown;
mod socket;
mod worker;

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Request, Response};
use hyper::body::Incoming;

pub use self::interim::Interim;
pub use self::listener::{BindError, Listeners};
pub use self::shutdown::{Shutdown, ShutdownHandle, Stage};
pub use self::worker::{Server, ServerError, ServerOptions};
use crate::message::BodyError;

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
    pub peer: Peer,
    /// How interim answers reach it.
    pub interim: Interim,
}

/// Who is at the other end of a connection.
#[derive(Clone, Debug)]
pub struct Peer {
    /// Its address.
    pub address: SocketAddr,
    /// Its address as the `X-Forwarded-For` field has it.
    pub forwarded_for: HeaderValue,
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
}

impl Peer {
    /// The peer at an address.
    pub fn new(address: SocketAddr) -> Self {
        let ip = address.ip().to_canonical().to_string();
        // An address has only visible ASCII characters.
        let forwarded_for = ip.parse().unwrap_or_else(|_| HeaderValue::from_static("unknown"));
        Self { address, forwarded_for }
    }
}
