//! Bodies as they come in over a connection, of which a cut never looks like an end.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::Version;
use http_body::{Body as _, Frame, SizeHint};
use hyper::body::Incoming;

/// A body that comes in over a connection.
#[derive(Debug)]
pub struct Inbound {
    body: Incoming,
    version: Version,
    end: End,
    /// Whether the end that comes next can't be told from another one.
    is_lost: bool,
}

/// Whether the end of a body was found where its sender means it to be.
///
/// hyper takes a trailer section for one up to the next empty line, also where a line feed alone
/// has ended it before: what it reads then may be the next request on the connection. It reports
/// the trailers that it has understood, so that no section can be told from such a one. A body
/// without any can have its end nowhere else.
#[derive(Clone, Debug)]
pub struct End(Option<Arc<AtomicBool>>);

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
    /// There is a trailer section behind it that has no field.
    #[error("the body does not end well")]
    Unended,
}

/// What comes next of a body.
type Next = Option<Result<Frame<Bytes>, BodyError>>;

impl Inbound {
    /// The body of a message of this version.
    pub fn new(body: Incoming, version: Version) -> Self {
        let is_chunked = version != Version::HTTP_2 && body.size_hint().exact().is_none();
        let end = End(is_chunked.then(Arc::default));
        Self { body, version, end, is_lost: false }
    }

    /// What tells whether its end was found.
    pub fn end(&self) -> End {
        self.end.clone()
    }

    /// Looks at what comes next for the end.
    fn look(&mut self, next: Next) -> Next {
        let Some(is_found) = &self.end.0 else { return next };
        match next {
            None if !self.is_lost => is_found.store(true, Ordering::Relaxed),
            None => {}
            Some(Err(_)) => self.is_lost = true,
            Some(Ok(ref frame)) => {
                if let Some(trailers) = frame.trailers_ref() {
                    self.is_lost = true;
                    if trailers.is_empty() {
                        return Some(Err(BodyError::Unended));
                    }
                }
            }
        }
        next
    }
}

impl End {
    /// Whether it was found: nothing else may be read from the connection otherwise.
    pub fn is_found(&self) -> bool {
        self.0.as_ref().is_none_or(|is_found| is_found.load(Ordering::Relaxed))
    }
}

impl http_body::Body for Inbound {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Next> {
        let next = ready!(Pin::new(&mut self.body).poll_frame(cx));
        // Over HTTP/2, hyper takes RST_STREAM with NO_ERROR for an end, wherever it comes.
        if next.is_none() && self.version == Version::HTTP_2 && !self.body.is_end_stream() {
            return Poll::Ready(Some(Err(BodyError::Cut)));
        }
        Poll::Ready(self.look(next.map(|frame| frame.map_err(BodyError::from))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
