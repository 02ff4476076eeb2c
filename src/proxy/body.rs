//! The bodies of answers.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};
use hyper::body::Incoming;

use crate::message::{BodyError, after};
use crate::upstream::AnswerBody;

/// The body of an answer.
#[derive(Debug)]
pub enum ReplyBody {
    /// Bytes that are all there.
    Full(Bytes),
    /// What the upstream sends to a request that was passed on.
    Passed(AnswerBody),
    /// What the upstream sends over a connection of the request's own.
    Alone(Incoming),
    /// What the upstream sends to a guarded request, and is not kept.
    Streamed(Box<Streamed>),
}

/// An answer of which a beginning was read before it turned out not to be one to keep.
#[derive(Debug)]
pub struct Streamed {
    first: Bytes,
    /// Nothing once it has ended.
    rest: Option<AnswerBody>,
    linger: Duration,
}

impl Streamed {
    pub(super) fn new(first: Bytes, rest: AnswerBody, linger: Duration) -> Self {
        Self { first, rest: Some(rest), linger }
    }
}

impl ReplyBody {
    /// No bytes.
    pub const fn empty() -> Self {
        Self::Full(Bytes::new())
    }
}

impl http_body::Body for ReplyBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match &mut *self {
            Self::Full(bytes) if bytes.is_empty() => Poll::Ready(None),
            Self::Full(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Self::Passed(body) => Pin::new(body).poll_frame(cx),
            Self::Alone(body) => {
                let frame = Pin::new(body).poll_frame(cx);
                frame.map(|next| next.map(|frame| frame.map_err(BodyError::from)))
            }
            Self::Streamed(streamed) => streamed.poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Full(bytes) => bytes.is_empty(),
            Self::Passed(body) => body.is_end_stream(),
            Self::Alone(body) => body.is_end_stream(),
            Self::Streamed(streamed) => streamed.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Full(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Self::Passed(body) => body.size_hint(),
            Self::Alone(body) => body.size_hint(),
            Self::Streamed(streamed) => streamed.size_hint(),
        }
    }
}

impl Streamed {
    fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if !self.first.is_empty() {
            return Poll::Ready(Some(Ok(Frame::data(std::mem::take(&mut self.first)))));
        }
        let Some(rest) = &mut self.rest else { return Poll::Ready(None) };
        let frame = Pin::new(rest).poll_frame(cx);
        if matches!(frame, Poll::Ready(None | Some(Err(_)))) {
            self.rest = None;
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.first.is_empty() && self.rest.as_ref().is_none_or(AnswerBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        match &self.rest {
            Some(rest) => after(self.first.len(), &rest.size_hint()),
            None => SizeHint::with_exact(self.first.len() as u64),
        }
    }
}

impl Drop for Streamed {
    /// The upstream must not notice that the caller has left: it may still be at work while it
    /// answers, and give up when it cannot write.
    fn drop(&mut self) {
        let Some(mut rest) = self.rest.take().filter(|rest| !rest.is_end_stream()) else { return };
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let linger = self.linger;
        runtime.spawn(async move {
            let drained = async {
                while let Some(Ok(_)) =
                    std::future::poll_fn(|cx| Pin::new(&mut rest).poll_frame(cx)).await
                {
                }
            };
            // After that time, the connection is closed.
            let _ = tokio::time::timeout(linger, drained).await;
        });
    }
}
