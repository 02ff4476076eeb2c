//! HTTP/2 to the upstream: many exchanges at a time on each connection.
//!
//! It is spoken by way of the `h2` crate itself. hyper's client takes an answer that the other
//! side has cut by a reset with `NO_ERROR` or `CANCEL` for one that has ended, drops interim
//! answers, and does not say when the other side's settings have come.

mod arriving;
mod exchange;
mod head;
mod pieces;
mod session;
mod sessions;
mod upload;
mod watched;

use std::sync::Arc;

use http::{Request, Response};

pub(super) use self::arriving::Arriving;
use self::exchange::{Sent, exchange};
pub(super) use self::sessions::Sessions;
use super::{AnswerBody, Lane, NotSent, SendError, Shared};
use crate::message::Body;

/// Sends a request, over a connection that others share or a new one.
///
/// A request that a connection hands back is sent again over another. So is, once, one that was
/// never written to a connection, or that the other side has turned away unseen, if its body is
/// all in memory.
pub(super) async fn send(
    shared: &Arc<Shared>,
    mut request: Request<Body>,
    lane: Lane,
) -> Result<Response<AnswerBody>, SendError> {
    loop {
        let ticket = Sessions::ticket(shared, lane).await.map_err(SendError::NotSent)?;
        let is_first = ticket.is_first();
        // The first request of a connection would fare no better over another.
        let copy = if is_first { None } else { copy(&request) };
        match exchange(ticket, request, &shared.remote).await {
            Sent::Answered(answer) => return Ok(answer),
            Sent::Back(_) if is_first => return Err(SendError::NotSent(NotSent::Closed)),
            // The connection is not used again, so that this comes to an end.
            Sent::Back(unsent) => request = unsent,
            Sent::Failed(SendError::NotSent(NotSent::TurnedAway | NotSent::Closed))
                if let Some(copy) = copy =>
            {
                shared.metrics.resent_unsent.increment();
                return Box::pin(send_fresh(shared, copy, lane)).await;
            }
            Sent::Failed(error) => return Err(error),
        }
        shared.metrics.resent_unsent.increment();
    }
}

/// Sends a request over a connection that is newer than the request.
async fn send_fresh(
    shared: &Arc<Shared>,
    request: Request<Body>,
    lane: Lane,
) -> Result<Response<AnswerBody>, SendError> {
    let ticket = Sessions::fresh_ticket(shared, lane).await.map_err(SendError::NotSent)?;
    match exchange(ticket, request, &shared.remote).await {
        Sent::Answered(answer) => Ok(answer),
        Sent::Back(_) => Err(SendError::NotSent(NotSent::Closed)),
        Sent::Failed(error) => Err(error),
    }
}

/// The same request once more, if all of it is in memory.
fn copy(request: &Request<Body>) -> Option<Request<Body>> {
    let body = match request.body() {
        Body::Empty => Body::Empty,
        Body::Full(bytes) => Body::Full(bytes.clone()),
        Body::Arriving(_) => return None,
    };
    let mut copy = Request::new(body);
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    *copy.headers_mut() = request.headers().clone();
    *copy.extensions_mut() = request.extensions().clone();
    Some(copy)
}
