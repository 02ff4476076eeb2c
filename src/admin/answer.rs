//! Answers to operators.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Response, StatusCode, header};
use http_body::{Body, Frame, SizeHint};
use serde_json::Value;
use tokio::sync::mpsc;

use crate::message::BodyError;

/// What every answer says of itself: it is for nobody's cache, is what it says it is, and stands in
/// nobody's frame.
const FIELDS: [(HeaderName, &str); 4] = [
    (header::CACHE_CONTROL, "no-store"),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::X_FRAME_OPTIONS, "DENY"),
];

/// The policy of answers that are no page: nothing may come of them.
const NOTHING: &str = "default-src 'none'; frame-ancestors 'none'";

/// An answer to an operator.
#[derive(Debug)]
pub(super) struct Answer(Response<AdminBody>);

/// The body of an answer to an operator.
#[derive(Debug)]
pub enum AdminBody {
    /// One that is known whole.
    Whole(Bytes),
    /// One that comes piece by piece, until its sender is gone.
    Pieces(mpsc::Receiver<Bytes>),
}

impl Answer {
    /// A text of some type.
    pub(super) fn text(media_type: &'static str, text: impl Into<Bytes>) -> Self {
        let mut answer = Self(Response::new(AdminBody::Whole(text.into())));
        answer.insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
        answer
    }

    /// A JSON text.
    pub(super) fn json(value: &Value) -> Self {
        Self::text("application/json", format!("{value}\n"))
    }

    /// A text of some type that comes piece by piece.
    pub(super) fn pieces(media_type: &'static str, pieces: mpsc::Receiver<Bytes>) -> Self {
        let mut answer = Self(Response::new(AdminBody::Pieces(pieces)));
        answer.insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
        answer
    }

    /// The same with another status.
    pub(super) fn with_status(mut self, status: StatusCode) -> Self {
        *self.0.status_mut() = status;
        self
    }

    /// Gives the answer a header field.
    pub(super) fn insert(&mut self, name: HeaderName, value: HeaderValue) {
        self.0.headers_mut().insert(name, value);
    }

    /// The answer as it is sent.
    pub(super) fn into_response(self) -> Response<AdminBody> {
        let mut response = self.0;
        let headers = response.headers_mut();
        for (name, value) in FIELDS {
            headers.insert(name, HeaderValue::from_static(value));
        }
        let policy = headers.entry(header::CONTENT_SECURITY_POLICY);
        policy.or_insert(HeaderValue::from_static(NOTHING));
        response
    }
}

impl Body for AdminBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let piece = match self.get_mut() {
            Self::Whole(bytes) if bytes.is_empty() => None,
            Self::Whole(bytes) => Some(std::mem::take(bytes)),
            Self::Pieces(pieces) => std::task::ready!(pieces.poll_recv(cx)),
        };
        Poll::Ready(piece.map(|piece| Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Whole(bytes) if bytes.is_empty())
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Self::Pieces(_) => SizeHint::default(),
        }
    }
}
