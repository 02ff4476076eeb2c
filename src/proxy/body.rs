//! The bodies of answers.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body as _, Frame, SizeHint};
use hyper::body::Incoming;

use crate::message::{BodyError, after, without_misplaced};
use crate::server::Running;
use crate::upstream::AnswerBody;

/// The body of an answer.
#[derive(Debug)]
pub enum ReplyBody {
    /// Bytes that are all there.
    Full(Bytes),
    /// Bytes that are all there, and what follows them.
    Trailed(Box<Trailed>),
    /// What the upstream sends to a request that was passed on.
    Passed(AnswerBody),
    /// What the upstream sends over a connection of the request's own.
    Alone(Incoming),
    /// What the upstream sends to a guarded request, and is not kept.
    Streamed(Box<Streamed>),
}

/// Bytes that are all there, and the trailers that follow them.
#[derive(Debug)]
pub struct Trailed {
    bytes: Bytes,
    /// Nothing once they have been sent.
    trailers: Option<HeaderMap>,
}

/// An answer of which a beginning was read before it turned out not to be one to keep.
#[derive(Debug)]
pub struct Streamed {
    first: Bytes,
    /// Nothing once it has ended.
    rest: Option<AnswerBody>,
    linger: Duration,
    /// Nothing once nothing is left to be done for it.
    running: Option<Running>,
}

impl Trailed {
    pub(super) fn new(bytes: Bytes, trailers: HeaderMap) -> Self {
        Self { bytes, trailers: Some(trailers) }
    }

    fn next_frame(&mut self) -> Option<Frame<Bytes>> {
        if !self.bytes.is_empty() {
            return Some(Frame::data(std::mem::take(&mut self.bytes)));
        }
        self.trailers.take().map(Frame::trailers)
    }
}

impl Streamed {
    pub(super) fn new(first: Bytes, rest: AnswerBody, linger: Duration, running: Running) -> Self {
        Self { first, rest: Some(rest), linger, running: Some(running) }
    }
}

impl ReplyBody {
    /// No bytes.
    pub const fn empty() -> Self {
        Self::Full(Bytes::new())
    }

    /// Its length, if that is known.
    pub(super) fn known_bytes(&self) -> Option<u64> {
        match self {
            Self::Trailed(trailed) => Some(trailed.bytes.len() as u64),
            Self::Full(_) | Self::Passed(_) | Self::Alone(_) | Self::Streamed(_) => {
                self.size_hint().exact()
            }
        }
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
            Self::Trailed(trailed) => Poll::Ready(trailed.next_frame().map(Ok)),
            Self::Passed(body) => passed(Pin::new(body).poll_frame(cx)),
            Self::Alone(body) => passed(Pin::new(body).poll_frame(cx)),
            Self::Streamed(streamed) => passed(streamed.poll_frame(cx)),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Full(bytes) => bytes.is_empty(),
            Self::Trailed(trailed) => trailed.bytes.is_empty() && trailed.trailers.is_none(),
            Self::Passed(body) => body.is_end_stream(),
            Self::Alone(body) => body.is_end_stream(),
            Self::Streamed(streamed) => streamed.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Full(bytes) => SizeHint::with_exact(bytes.len() as u64),
            // Not exact: an answer that says its length is no place for trailers.
            Self::Trailed(trailed) => after(trailed.bytes.len(), &SizeHint::default()),
            Self::Passed(body) => body.size_hint(),
            Self::Alone(body) => body.size_hint(),
            Self::Streamed(streamed) => streamed.size_hint(),
        }
    }
}

/// A frame that is passed on.
fn passed<E: Into<BodyError>>(
    next: Poll<Option<Result<Frame<Bytes>, E>>>,
) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
    next.map(|next| next.map(|frame| frame.map(without_misplaced).map_err(E::into)))
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
            self.running = None;
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
        let (linger, running) = (self.linger, self.running.take());
        runtime.spawn(async move {
            let drained = async {
                while let Some(Ok(_)) =
                    std::future::poll_fn(|cx| Pin::new(&mut rest).poll_frame(cx)).await
                {
                }
            };
            // After that time, the connection is closed.
            let _ = tokio::time::timeout(linger, drained).await;
            drop(running);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frames(body: &mut ReplyBody) -> Vec<Frame<Bytes>> {
        let mut context = Context::from_waker(std::task::Waker::noop());
        let mut next = || match Pin::new(&mut *body).poll_frame(&mut context) {
            Poll::Ready(next) => next.map(Result::unwrap),
            Poll::Pending => panic!("all of it is here"),
        };
        std::iter::from_fn(&mut next).collect()
    }

    #[test]
    fn trailers_follow_the_bytes() {
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", 0.into());
        for bytes in ["", "abc"] {
            let trailed = Trailed::new(bytes.into(), trailers.clone());
            let mut body = ReplyBody::Trailed(Box::new(trailed));
            assert!(!body.is_end_stream());
            assert_eq!(
                (body.size_hint().lower(), body.size_hint().exact()),
                (bytes.len() as u64, None)
            );
            let mut frames = frames(&mut body);
            assert_eq!(
                frames.pop().and_then(|last| last.into_trailers().ok()),
                Some(trailers.clone())
            );
            let data: Vec<_> = frames.into_iter().map(|frame| frame.into_data().unwrap()).collect();
            assert_eq!(data.concat(), bytes.as_bytes());
            assert!(body.is_end_stream());
        }
    }

    #[test]
    fn trailers_cost_answers_without_them_nothing() {
        assert!(size_of::<ReplyBody>() <= size_of::<AnswerBody>().max(size_of::<Incoming>()) + 8);
    }
}
