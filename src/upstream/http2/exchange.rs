//! One exchange on a connection that others share.

use std::future::Future as _;
use std::pin::Pin;
use std::task::{Context, Poll};

use h2::client::ResponseFuture;
use h2::{Reason, RecvStream};
use http::{Request, Response, StatusCode};
use http_body::Body as _;

use super::super::connect::Remote;
use super::super::interim::Listener;
use super::super::{AnswerBody, Lost, NotSent, SendError};
use super::arriving::{Arriving, Held, Running};
use super::head::head;
use super::session::Ticket;
use super::upload::{Upload, Uploaded};
use crate::message::Body;

/// The largest body that is handed to the connection at once, whether or not there is room: most
/// go with their head. It is less than every stream has room for that is not told otherwise.
const SMALL_BYTES_MAX: usize = 32 << 10;

/// What becomes of a request.
pub(super) enum Sent {
    Answered(Response<AnswerBody>),
    /// The connection takes no more requests, and has seen nothing of this one.
    Back(Request<Body>),
    Failed(SendError),
}

/// Sends a request, and waits until its answer begins.
///
/// # Cancel safety
///
/// Dropping the future resets the stream; the other side may have seen the request.
pub(super) async fn exchange(ticket: Ticket, request: Request<Body>, remote: &Remote) -> Sent {
    let Some(mut sender) = ticket.sender() else { return Sent::Back(request) };
    let (mut parts, body) = request.into_parts();
    let listener = parts.extensions.remove::<Listener>();
    let head = match head(parts, &remote.endpoint) {
        Ok(head) => head,
        Err(error) => return Sent::Failed(SendError::NotSent(error)),
    };
    let ends = body.is_end_stream();
    let writes = ticket.writes();
    // An error says that the connection has closed in the meantime: nothing was queued.
    let Ok((response, mut stream)) = sender.send_request(head, ends) else {
        return Sent::Failed(SendError::NotSent(NotSent::Closed));
    };
    let upload = match body {
        _ if ends => None,
        Body::Empty => None,
        Body::Full(bytes) if bytes.len() <= SMALL_BYTES_MAX => {
            // An error says that the stream was reset, which the answer will say, too.
            let _ = stream.send_data(bytes, true);
            None
        }
        body @ (Body::Full(_) | Body::Arriving(_)) => Some(Box::new(Upload::new(body, stream))),
    };
    let mut waiting = Waiting { response, upload, listener, has_heard: false };
    let response = match std::future::poll_fn(|cx| waiting.poll(cx)).await {
        Ok(response) => response,
        // The connection has closed before anything of the request was on its way.
        Err(SendError::Unknown(_)) if ticket.writes() == writes => {
            return Sent::Failed(SendError::NotSent(NotSent::Closed));
        }
        Err(error) => return Sent::Failed(error),
    };
    ticket.hear();
    let rest = waiting.upload.map(|mut upload| {
        let task = tokio::spawn(async move {
            std::future::poll_fn(|cx| upload.poll(cx)).await;
        });
        Running(task.abort_handle())
    });
    match answer(response, Held { ticket, _upload: rest }, remote.options.headers_max) {
        Some(answer) => Sent::Answered(answer),
        None => Sent::Failed(SendError::Unknown(Lost::Malformed)),
    }
}

/// An answer that has begun, if it is one that can be understood.
fn answer(
    response: Response<RecvStream>,
    held: Held,
    headers_max: usize,
) -> Option<Response<AnswerBody>> {
    let (parts, body) = response.into_parts();
    if parts.headers.len() > headers_max {
        return None;
    }
    let body = Arriving::new(body, &parts.headers, held).ok()?;
    Some(Response::from_parts(parts, AnswerBody::http2(body)))
}

/// A request whose answer has not begun.
struct Waiting {
    response: ResponseFuture,
    /// The rest of the request.
    upload: Option<Box<Upload>>,
    listener: Option<Listener>,
    /// Whether there was an interim answer.
    has_heard: bool,
}

impl Waiting {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Response<RecvStream>, SendError>> {
        if let Some(upload) = &mut self.upload
            && let Poll::Ready(uploaded) = upload.poll(cx)
        {
            self.upload = None;
            if uploaded == Uploaded::BrokenOff {
                return Poll::Ready(Err(SendError::Unknown(Lost::BrokenOff)));
            }
        }
        while let Poll::Ready(Some(Ok(interim))) = self.response.poll_informational(cx) {
            self.has_heard = true;
            // HTTP/2 has no other protocol to switch to (RFC 9113, section 8.6).
            if interim.status() != StatusCode::SWITCHING_PROTOCOLS
                && let Some(listener) = &self.listener
            {
                listener.hear(interim.status(), interim.headers());
            }
        }
        let response = Pin::new(&mut self.response).poll(cx);
        response.map_err(|error| failure(&error, self.has_heard))
    }
}

/// What it means that there is no answer.
///
/// The other side has not looked at a request, and will not, if it says so itself:
///
/// - by resetting its stream with `REFUSED_STREAM` (RFC 9113, section 8.7), which is a remote
///   reset with that reason;
/// - by a GOAWAY whose last stream is before the request's (section 6.8). The `h2` crate gives a
///   remote GOAWAY as the error of exactly those streams (`recv_go_away` in its
///   `proto/streams/streams.rs` passes over all others), and as that of requests which it has not
///   begun to send. Streams up to the last one go on, and get an I/O error if the connection
///   closes before they have ended; a connection that `h2` closes by itself gives a GOAWAY that is
///   not remote. The one exception takes an other side that pushes, which it was told not to, and
///   on a stream that it has just said not to look at.
///
/// Who has sent an interim answer has looked at the request, whatever it says later.
fn failure(error: &h2::Error, has_heard: bool) -> SendError {
    let is_refused = error.is_reset() && error.reason() == Some(Reason::REFUSED_STREAM);
    if error.is_remote() && (is_refused || error.is_go_away()) && !has_heard {
        return SendError::NotSent(NotSent::TurnedAway);
    }
    SendError::Unknown(if error.is_library() { Lost::Malformed } else { Lost::BrokenOff })
}
