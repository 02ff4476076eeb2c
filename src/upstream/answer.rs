//! The body of an answer, which gives its connection back when it has come whole.

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::client::conn::http1::SendRequest;

use super::Shared;
use super::http2::Arriving;
use crate::message::{Body, BodyError};

/// The body of an answer of the upstream's.
///
/// Dropped before its end, it closes its connection, or resets its stream where others share the
/// connection: what is left of the answer must never be taken for another.
#[derive(Debug)]
pub struct AnswerBody(Kind);

#[derive(Debug)]
enum Kind {
    Http1(Exclusive),
    Http2(Arriving),
}

/// The body of an answer that has its connection for itself.
#[derive(Debug)]
struct Exclusive {
    body: Incoming,
    connection: Option<(SendRequest<Body>, Arc<Shared>)>,
}

impl AnswerBody {
    pub(super) fn http1(
        body: Incoming,
        connection: SendRequest<Body>,
        shared: Arc<Shared>,
    ) -> Self {
        let mut answer = Exclusive { body, connection: Some((connection, shared)) };
        if answer.body.is_end_stream() {
            answer.give_back();
        }
        Self(Kind::Http1(answer))
    }

    pub(super) const fn http2(body: Arriving) -> Self {
        Self(Kind::Http2(body))
    }
}

impl Exclusive {
    fn give_back(&mut self) {
        if let Some((connection, shared)) = self.connection.take() {
            shared.pool.put(connection);
        }
    }

    fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let next = ready!(pin!(&mut self.body).poll_frame(cx));
        match &next {
            Some(Ok(_)) if !self.body.is_end_stream() => {}
            Some(Ok(_)) | None => self.give_back(),
            // The connection goes with what broke it.
            Some(Err(_)) => self.connection = None,
        }
        Poll::Ready(next.map(|frame| frame.map_err(BodyError::from)))
    }
}

impl http_body::Body for AnswerBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match &mut self.0 {
            Kind::Http1(answer) => answer.poll_frame(cx),
            Kind::Http2(answer) => answer.poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Kind::Http1(answer) => answer.body.is_end_stream(),
            Kind::Http2(answer) => answer.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Kind::Http1(answer) => answer.body.size_hint(),
            Kind::Http2(answer) => answer.size_hint(),
        }
    }
}
