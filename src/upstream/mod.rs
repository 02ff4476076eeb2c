//! The service that this proxy stands before.
//!
//! It sends requests, and says of each that failed whether the upstream can have seen it. What
//! follows from that is for others to judge.

mod answer;
mod connect;
mod pool;

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderValue, Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::http1::SendRequest;

pub use self::answer::AnswerBody;
pub use self::connect::{Endpoint, EndpointError};
use self::pool::Pool;
use crate::message::Body;
use crate::telemetry::Metrics;

/// The upstream, seen from one worker: a clone shares its connections.
#[derive(Clone, Debug)]
pub struct Upstream(Arc<Shared>);

/// How connections to the upstream are made and kept.
#[derive(Clone, Copy, Debug)]
pub struct UpstreamOptions {
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

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// The upstream cannot have seen the request.
    #[error("the request was not sent: {0}")]
    NotSent(NotSent),
    /// The upstream may have seen the request.
    #[error("the outcome of the request is unknown")]
    Unknown(#[source] hyper::Error),
}

/// Why a request was not sent.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum NotSent {
    /// The connection was refused, or could not be made for another reason.
    #[error("the connection was refused")]
    Refused,
    /// The connection was not made in time.
    #[error("the connection was not made in time")]
    TimedOut,
    /// The name has no address.
    #[error("the name has no address")]
    NoAddress,
    /// The connection closed before anything was written to it.
    #[error("the connection closed before the request was written")]
    Closed,
}

#[derive(Debug)]
struct Shared {
    endpoint: Endpoint,
    options: UpstreamOptions,
    pool: Pool,
    metrics: Arc<Metrics>,
}

impl Upstream {
    /// The upstream at an endpoint, without any connection yet.
    pub fn new(endpoint: Endpoint, options: UpstreamOptions, metrics: Arc<Metrics>) -> Self {
        let pool = Pool::new(options.idle_timeout, options.idle_max);
        Self(Arc::new(Shared { endpoint, options, pool, metrics }))
    }

    /// What a request that names no host is for.
    pub fn authority(&self) -> &HeaderValue {
        self.0.endpoint.authority()
    }

    /// Sends a request, over a connection that was used before or a new one.
    ///
    /// A request that a used connection hands back is sent again over another: the upstream has
    /// not seen it.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future closes the connection; the upstream may have seen the request.
    pub async fn send(
        &self,
        mut request: Request<Body>,
    ) -> Result<Response<AnswerBody>, SendError> {
        while let Some(mut connection) = self.0.pool.take() {
            match connection.try_send_request(request).await {
                Ok(response) => return Ok(self.answer(response, connection)),
                Err(mut error) => match error.take_message() {
                    Some(unsent) => request = unsent,
                    None => return Err(SendError::Unknown(error.into_error())),
                },
            }
            self.0.metrics.resent_unsent.increment();
        }
        let mut connection = self.connect().await?;
        let response = send_once(&mut connection, request).await?;
        Ok(self.answer(response, connection))
    }

    /// Sends a request over a connection of its own, which the answer may upgrade.
    ///
    /// # Cancel safety
    ///
    /// As of [`Upstream::send`].
    pub async fn send_alone(
        &self,
        request: Request<Body>,
    ) -> Result<Response<Incoming>, SendError> {
        let Shared { endpoint, options, .. } = &*self.0;
        let (mut connection, driver) =
            connect::connect(endpoint, options).await.map_err(SendError::NotSent)?;
        tokio::spawn(async move {
            // What breaks a connection is reported to whoever uses it.
            let _ = driver.with_upgrades().await;
        });
        send_once(&mut connection, request).await
    }

    /// Closes connections that have been idle for too long, as long as the upstream is used.
    pub async fn maintain(self) {
        let pool = Arc::downgrade(&self.0);
        drop(self);
        let mut interval = tokio::time::interval(Duration::from_secs(1));
        loop {
            interval.tick().await;
            let Some(shared) = pool.upgrade() else { return };
            shared.pool.close_idle();
        }
    }

    async fn connect(&self) -> Result<SendRequest<Body>, SendError> {
        let Shared { endpoint, options, .. } = &*self.0;
        let (connection, driver) =
            connect::connect(endpoint, options).await.map_err(SendError::NotSent)?;
        tokio::spawn(async move {
            let _ = driver.await;
        });
        Ok(connection)
    }

    fn answer(
        &self,
        response: Response<Incoming>,
        connection: SendRequest<Body>,
    ) -> Response<AnswerBody> {
        response.map(|body| AnswerBody::new(body, connection, Arc::clone(&self.0)))
    }
}

async fn send_once(
    connection: &mut SendRequest<Body>,
    request: Request<Body>,
) -> Result<Response<Incoming>, SendError> {
    connection.try_send_request(request).await.map_err(|mut error| match error.take_message() {
        Some(_) => SendError::NotSent(NotSent::Closed),
        None => SendError::Unknown(error.into_error()),
    })
}
