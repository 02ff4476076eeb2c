//! Bodies as they come in over a connection, of which a cut never looks like an end.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::Version;
use http_body::{Frame, SizeHint};
use hyper::body::Incoming;

/// A body that comes in over a connection.
#[derive(Debug)]
pub struct Inbound {
    body: Incoming,
    version: Version,
}

/// A body broke off, or could not be read.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// A body that hyper has read.
    #[error("the body broke off")]
    Broken(#[from] hyper::Error),
    /// Its stream was reset, or its connection closed, before its end.
    ///
    /// It names no reason of a reset: hyper would hand that on, and some reasons are taken for an
    /// end.
    #[error("the body was cut off before its end")]
    Cut,
}

impl Inbound {
    /// The body of a message of this version.
    pub const fn new(body: Incoming, version: Version) -> Self {
        Self { body, version }
    }
}

impl http_body::Body for Inbound {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let next = ready!(Pin::new(&mut self.body).poll_frame(cx));
        // Over HTTP/2, hyper takes RST_STREAM with NO_ERROR for an end, wherever it comes.
        if next.is_none() && self.version == Version::HTTP_2 && !self.body.is_end_stream() {
            return Poll::Ready(Some(Err(BodyError::Cut)));
        }
        Poll::Ready(next.map(|frame| frame.map_err(BodyError::from)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
