//! The body of an answer that shares its connection with others.

use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::RecvStream;
use http::{HeaderMap, header};
use http_body::{Frame, SizeHint};
use tokio::task::AbortHandle;

use super::session::Ticket;
use crate::message::BodyError;

/// The body of an answer that shares its connection with others.
///
/// Only the end of its stream is its end: a reset before that is a cut, whatever reason it names.
/// Dropped before its end, it resets its stream.
#[derive(Debug)]
pub(in crate::upstream) struct Arriving {
    body: RecvStream,
    /// How much is to come, if that was said.
    left: Option<u64>,
    /// What holds the stream, until the end.
    held: Option<Held>,
}

/// What an answer holds on to that has not come whole.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) ticket: Ticket,
    /// The rest of the request, which is of no use to an exchange that has ended.
    pub(super) _upload: Option<Running>,
}

/// A task that ends with what it is for.
#[derive(Debug)]
pub(super) struct Running(pub(super) AbortHandle);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// An answer says in two ways how long it is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Contradiction;

impl Arriving {
    pub(super) fn new(
        body: RecvStream,
        headers: &HeaderMap,
        held: Held,
    ) -> Result<Self, Contradiction> {
        let left = length(headers)?;
        let mut arriving = Self { body, left, held: Some(held) };
        if arriving.is_end_stream() {
            // An answer without a body may say how long that of another would be.
            arriving.left = Some(0);
            arriving.held = None;
        }
        Ok(arriving)
    }

    pub(in crate::upstream) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let Some(held) = &self.held else { return Poll::Ready(None) };
        let next = loop {
            match ready!(self.body.poll_data(cx)) {
                Some(Ok(piece)) => {
                    held.ticket.hear();
                    let _ = self.body.flow_control().release_capacity(piece.len());
                    if let Some(left) = &mut self.left {
                        *left = left.saturating_sub(piece.len() as u64);
                    }
                    if !piece.is_empty() {
                        break Some(Ok(Frame::data(piece)));
                    }
                }
                Some(Err(error)) => break Some(Err(error)),
                None => {
                    let trailers = ready!(self.body.poll_trailers(cx)).transpose();
                    break trailers.map(|trailers| trailers.map(Frame::trailers));
                }
            }
        };
        if !matches!(next, Some(Ok(_))) || self.body.is_end_stream() {
            self.held = None;
        }
        Poll::Ready(next.map(|frame| frame.map_err(|_| BodyError::Cut)))
    }

    pub(in crate::upstream) fn is_end_stream(&self) -> bool {
        self.held.is_none() || self.body.is_end_stream()
    }

    pub(in crate::upstream) fn size_hint(&self) -> SizeHint {
        match self.left {
            _ if self.is_end_stream() => SizeHint::with_exact(0),
            Some(left) => SizeHint::with_exact(left),
            None => SizeHint::default(),
        }
    }
}

/// How long a body is said to be.
fn length(headers: &HeaderMap) -> Result<Option<u64>, Contradiction> {
    let mut length = None;
    for line in headers.get_all(header::CONTENT_LENGTH) {
        let text = line.to_str().ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
        let said: u64 = text.and_then(|text| text.parse().ok()).ok_or(Contradiction)?;
        if length.is_some_and(|length| length != said) {
            return Err(Contradiction);
        }
        length = Some(said);
    }
    Ok(length)
}
