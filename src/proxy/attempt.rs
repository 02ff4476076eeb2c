//! One exchange with the upstream, as the work of an operation: here HTTP and idempotency meet.

use std::time::Duration;

use bytes::Bytes;
use http::response::Parts;
use http::{HeaderValue, Request, Response, Version, header};
use http_body::Body as _;
use tokio::sync::oneshot;

use super::ReplyBody;
use super::body::Streamed;
use super::capture::{Captured, capture};
use super::framing::Framing;
use crate::clock::Clock;
use crate::idempotency::{Attempt, Broken, Failure, Unreachable};
use crate::message::{Body, Field, Reservation, clean, scan};
use crate::policy::{Class, classify};
use crate::upstream::{AnswerBody, NotSent, SendError, Upstream};

/// What an exchange needs.
pub(super) struct Exchange {
    pub(super) upstream: Upstream,
    pub(super) request: Request<Body>,
    pub(super) response_bytes_max: usize,
    /// The memory that the request takes, and that its answer may take.
    pub(super) reservation: Reservation,
    /// Where an answer goes that is not kept.
    pub(super) stream: oneshot::Sender<Response<ReplyBody>>,
    /// How long such an answer is read on when its caller has left.
    pub(super) linger: Duration,
    pub(super) clock: Clock,
}

impl Exchange {
    /// Sends the request, and reads the answer whole.
    pub(super) async fn attempt(mut self) -> Attempt {
        let response = match self.upstream.send(self.request).await {
            Ok(response) => response,
            Err(error) => return without_answer(&error),
        };
        let (mut parts, body) = response.into_parts();
        let Ok(framing) = Framing::of(&parts, &body) else {
            return Attempt::Unknown(Broken::Malformed);
        };
        let streams = framing == Framing::Close
            || is_stream(&parts)
            || body.size_hint().lower() > self.response_bytes_max as u64;
        clean_answer(&mut parts, &self.clock);
        if streams {
            return stream(self.stream, self.linger, parts, Bytes::new(), body);
        }
        match capture(parts, body, self.response_bytes_max, &mut self.reservation).await {
            Ok(Captured::Whole(answer)) => match classify(answer.status()) {
                Class::Keep => Attempt::Keep(answer),
                Class::Release => Attempt::Discard(answer),
                Class::Hold => Attempt::Hold(answer),
            },
            Ok(Captured::TooLarge(parts, first, rest)) => {
                stream(self.stream, self.linger, parts, first, rest)
            }
            Err(_) => Attempt::Unknown(Broken::Incomplete),
        }
    }
}

/// Hands an answer to the first caller as it comes.
fn stream(
    to: oneshot::Sender<Response<ReplyBody>>,
    linger: Duration,
    parts: Parts,
    first: Bytes,
    rest: AnswerBody,
) -> Attempt {
    let body = ReplyBody::Streamed(Box::new(Streamed::new(first, rest, linger)));
    // A caller who has left drops it.
    let _ = to.send(Response::from_parts(parts, body));
    Attempt::Streaming
}

/// Whether an answer has no end that could be waited for.
fn is_stream(parts: &Parts) -> bool {
    let media_type =
        parts.headers.get(header::CONTENT_TYPE).map_or(&b""[..], HeaderValue::as_bytes);
    let is = |name: &[u8]| {
        media_type.get(..name.len()).is_some_and(|found| found.eq_ignore_ascii_case(name))
    };
    is(b"text/event-stream") || is(b"multipart/x-mixed-replace")
}

/// Removes what belonged to the upstream's connection, and dates the answer.
fn clean_answer(parts: &mut Parts, clock: &Clock) {
    let fields = scan(&parts.headers);
    clean(&mut parts.headers, fields);
    if fields.has(Field::Age) {
        parts.headers.remove(header::AGE);
    }
    if fields.has(Field::ContentLength) && fields.has(Field::TransferEncoding) {
        // It says nothing (RFC 9112, section 6.3), and would be believed.
        parts.headers.remove(header::CONTENT_LENGTH);
    }
    parts.version = Version::HTTP_11;
    if !fields.has(Field::Date) {
        // A repeat must not be dated otherwise than the first answer.
        let date = httpdate::fmt_http_date(clock.now().as_system_time());
        if let Ok(date) = HeaderValue::try_from(date) {
            parts.headers.insert(header::DATE, date);
        }
    }
}

/// What it means that there is no answer.
pub(super) fn failure(error: &SendError) -> Failure {
    match error {
        SendError::NotSent(reason) => Failure::Unreachable(unreachable(*reason)),
        SendError::Unknown(error) => Failure::Broken(broken(error)),
    }
}

fn without_answer(error: &SendError) -> Attempt {
    match error {
        SendError::NotSent(reason) => Attempt::NotSent(unreachable(*reason)),
        SendError::Unknown(error) => Attempt::Unknown(broken(error)),
    }
}

const fn unreachable(reason: NotSent) -> Unreachable {
    match reason {
        NotSent::Refused => Unreachable::Refused,
        NotSent::TimedOut => Unreachable::ConnectTimeout,
        NotSent::NoAddress => Unreachable::NoAddress,
        NotSent::Closed => Unreachable::Unsent,
    }
}

fn broken(error: &hyper::Error) -> Broken {
    if error.is_parse() { Broken::Malformed } else { Broken::Incomplete }
}
