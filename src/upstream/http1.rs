//! HTTP/1.1 to the upstream: one exchange at a time on each connection.

use std::sync::Arc;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::http1::{Builder, Connection, SendRequest};
use hyper_util::rt::TokioIo;

use super::connect::Remote;
use super::wire::{Wire, refusal};
use super::{AnswerBody, Lost, NotSent, Protocol, SendError, Shared};
use crate::message::Body;
use crate::transport::{Refusal, TlsFault};

/// A new connection, and what drives it.
struct Fresh {
    sender: SendRequest<Body>,
    driver: Connection<TokioIo<Wire>, Body>,
    refusal: Option<Refusal>,
}

/// Sends a request, over a connection that was used before or a new one.
///
/// A request that a used connection hands back is sent again over another: the upstream has not
/// seen it.
pub(super) async fn send(
    shared: &Arc<Shared>,
    mut request: Request<Body>,
) -> Result<Response<AnswerBody>, SendError> {
    while let Some(mut connection) = shared.pool.take() {
        match connection.try_send_request(request).await {
            Ok(response) => return Ok(answer(response, connection, shared)),
            Err(mut error) => match error.take_message() {
                Some(unsent) => request = unsent,
                None => return Err(SendError::Unknown(lost(&error.into_error()))),
            },
        }
        shared.metrics.resent_unsent.increment();
    }
    let Fresh { mut sender, driver, refusal } =
        connect(&shared.remote).await.map_err(SendError::NotSent)?;
    tokio::spawn(async move {
        // What breaks a connection is reported to whoever uses it.
        let _ = driver.await;
    });
    let response = send_first(&shared.remote, &mut sender, refusal, request).await?;
    Ok(answer(response, sender, shared))
}

/// Sends a request over a connection of its own, which the answer may upgrade.
pub(super) async fn send_alone(
    remote: &Remote,
    request: Request<Body>,
) -> Result<Response<Incoming>, SendError> {
    let Fresh { mut sender, driver, refusal } =
        connect(remote).await.map_err(SendError::NotSent)?;
    tokio::spawn(async move {
        let _ = driver.with_upgrades().await;
    });
    send_first(remote, &mut sender, refusal, request).await
}

async fn connect(remote: &Remote) -> Result<Fresh, NotSent> {
    let wire = remote.in_time(remote.open(Protocol::Http1)).await?;
    let refusal = refusal(&wire);
    let (sender, driver) = Builder::new()
        .max_headers(remote.options.headers_max)
        .max_header_size(remote.options.header_bytes_max)
        .handshake(TokioIo::new(wire))
        .await
        .map_err(|_| NotSent::Closed)?;
    Ok(Fresh { sender, driver, refusal })
}

/// Sends the first request of a connection.
async fn send_first(
    remote: &Remote,
    connection: &mut SendRequest<Body>,
    refusal: Option<Refusal>,
    request: Request<Body>,
) -> Result<Response<Incoming>, SendError> {
    connection.try_send_request(request).await.map_err(|mut error| {
        if refusal.is_some_and(|refusal| refusal.has_come()) {
            let fault = remote.failed(TlsFault::ClientRefused, error.error());
            return SendError::NotSent(fault);
        }
        match error.take_message() {
            Some(_) => SendError::NotSent(NotSent::Closed),
            None => SendError::Unknown(lost(&error.into_error())),
        }
    })
}

fn answer(
    response: Response<Incoming>,
    connection: SendRequest<Body>,
    shared: &Arc<Shared>,
) -> Response<AnswerBody> {
    response.map(|body| AnswerBody::http1(body, connection, Arc::clone(shared)))
}

fn lost(error: &hyper::Error) -> Lost {
    if error.is_parse() { Lost::Malformed } else { Lost::BrokenOff }
}
