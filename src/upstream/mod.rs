//! The service that this proxy stands before.
//!
//! It sends requests, and says of each that failed whether the upstream can have seen it. What
//! follows from that is for others to judge.

mod answer;
mod connect;
mod endpoint;
mod error;
mod http1;
mod http2;
mod interim;
mod pool;
mod told;
mod wire;

use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{HeaderValue, Request, Response};
use hyper::body::Incoming;

pub use self::answer::AnswerBody;
use self::connect::Remote;
pub use self::endpoint::{Endpoint, EndpointError};
pub use self::error::{Lost, NotSent, SendError};
use self::http2::Sessions;
use self::interim::Listener;
use self::pool::Pool;
use self::told::Told;
use crate::message::Body;
use crate::telemetry::Metrics;
pub use crate::transport::Protocol;
use crate::transport::TlsClient;

/// The upstream, seen from one worker: a clone shares its connections.
#[derive(Clone, Debug)]
pub struct Upstream(Arc<Shared>);

/// How connections to the upstream are made and kept.
#[derive(Clone, Debug)]
pub struct UpstreamOptions {
    /// What is spoken over them.
    pub protocol: Protocol,
    /// How they are made by TLS; it is needed where the endpoint's URL says `https`.
    pub tls: Option<TlsClient>,
    /// The longest time for making a connection.
    pub connect_timeout: Duration,
    /// How long an idle connection is kept; it should be less than the upstream keeps it.
    pub idle_timeout: Duration,
    /// The most idle connections that are kept.
    pub idle_max: usize,
    /// The largest header section of an answer, in bytes.
    pub header_bytes_max: usize,
    /// The most header lines of an answer.
    pub headers_max: usize,
}

/// Which requests share connections by HTTP/2.
///
/// Whoever reads an answer slowly, or sends a body in crumbs, can make either side end the
/// connection: many small frames that nobody has read are taken for an attack. No request whose
/// answer is to be kept should be on it then.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Lane {
    /// Those that are sent whole, and whose answers are read whole, unless they turn out to be
    /// streams.
    Whole,
    /// Those that go on, or whose answers do, at the pace of whoever sends and reads them.
    Streamed,
}

#[derive(Debug)]
struct Shared {
    remote: Remote,
    /// Connections by HTTP/1.1.
    pool: Pool,
    /// Connections by HTTP/2, of each lane.
    sessions: [Sessions; Lane::COUNT],
    metrics: Arc<Metrics>,
}

impl Lane {
    const COUNT: usize = Self::Streamed as usize + 1;
}

impl Shared {
    /// The connections by HTTP/2 of a lane.
    const fn sessions(&self, lane: Lane) -> &Sessions {
        &self.sessions[lane as usize]
    }
}

impl Upstream {
    /// The upstream at an endpoint, without any connection yet.
    pub fn new(endpoint: Endpoint, options: UpstreamOptions, metrics: Arc<Metrics>) -> Self {
        let pool = Pool::new(options.idle_timeout, options.idle_max);
        let remote = Remote { endpoint, options, told: Told::default() };
        Self(Arc::new(Shared { remote, pool, sessions: Default::default(), metrics }))
    }

    /// What a request that names no host is for.
    pub fn authority(&self) -> &HeaderValue {
        self.0.remote.endpoint.authority()
    }

    /// Its host or the path of its socket, and its port if it has one.
    pub fn place(&self) -> (String, Option<u16>) {
        self.0.remote.endpoint.host_and_port()
    }

    /// What is spoken with it.
    pub fn protocol(&self) -> Protocol {
        self.0.remote.options.protocol
    }

    /// Sends a request in origin form with a `Host` field, over a connection that was used before
    /// or a new one.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future closes the connection, or resets the stream where others share the
    /// connection; the upstream may have seen the request.
    pub async fn send(
        &self,
        request: Request<Body>,
        lane: Lane,
    ) -> Result<Response<AnswerBody>, SendError> {
        let started = Instant::now();
        let answer = match self.0.remote.options.protocol {
            Protocol::Http1 => http1::send(&self.0, request).await,
            Protocol::Http2 => http2::send(&self.0, request, lane).await,
        };
        self.0.metrics.upstream_durations.observe(started.elapsed());
        answer
    }

    /// Sends a request by HTTP/1.1 over a connection of its own, which the answer may upgrade.
    ///
    /// # Cancel safety
    ///
    /// As of [`Upstream::send`].
    pub async fn send_alone(
        &self,
        mut request: Request<Body>,
    ) -> Result<Response<Incoming>, SendError> {
        Listener::move_to_http1(&mut request);
        http1::send_alone(&self.0.remote, request).await
    }

    /// Closes connections that have been idle for too long, as long as the upstream is used.
    pub async fn maintain(self) {
        let shared = Arc::downgrade(&self.0);
        drop(self);
        let mut interval = tokio::time::interval(Duration::from_secs(1));
        loop {
            interval.tick().await;
            let Some(shared) = shared.upgrade() else { return };
            shared.pool.close_idle();
            for sessions in &shared.sessions {
                sessions.close_idle(shared.remote.options.idle_timeout);
            }
        }
    }
}
