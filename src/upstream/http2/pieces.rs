//! A body in pieces that are worth a frame each.
//!
//! Whoever sends a body in many small chunks has it passed on in as many frames otherwise. Servers
//! take that for an attack and close the connection, on which other requests run, too: the `h2`
//! crate does so at some 130 unread frames of a few bytes.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::HeaderMap;
use http_body::Body;

use crate::message::Gathered;

/// The length at which a piece no longer waits for what may have come with it.
const PIECE_BYTES_MIN: usize = 1 << 10;

/// A body whose small pieces are put together, if they come together.
///
/// A small piece waits until the task is woken once more, no longer: as long as its connection
/// reads what has arrived already. What nothing follows goes at once, so that a stream of small
/// messages stays one.
#[derive(Debug)]
pub(super) struct Pieces<B> {
    body: B,
    held: Gathered,
    /// Whether what is held has waited.
    has_waited: bool,
    /// What comes behind what is held, if that is known: the end, or trailers.
    after: Option<Next>,
}

/// What comes next of a body.
#[derive(Debug, PartialEq)]
pub(super) enum Next {
    Piece(Bytes),
    Trailers(HeaderMap),
    End,
    /// It has broken off. What was held is of no use to anybody.
    BrokenOff,
}

impl<B: Body<Data = Bytes> + Unpin> Pieces<B> {
    pub(super) fn new(body: B) -> Self {
        Self { body, held: Gathered::default(), has_waited: false, after: None }
    }

    /// Whether it is known that nothing comes any more.
    pub(super) fn is_end(&self) -> bool {
        self.held.is_empty() && self.after == Some(Next::End)
    }

    pub(super) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Next> {
        loop {
            let is_complete = self.held.len() >= PIECE_BYTES_MIN || self.after.is_some();
            if is_complete && !self.held.is_empty() {
                return Poll::Ready(self.piece());
            }
            if let Some(after) = self.after.take() {
                return Poll::Ready(after);
            }
            let frame = match Pin::new(&mut self.body).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => frame,
                Poll::Ready(Some(Err(_))) => return Poll::Ready(Next::BrokenOff),
                Poll::Ready(None) => {
                    self.after = Some(Next::End);
                    continue;
                }
                Poll::Pending if self.held.is_empty() => return Poll::Pending,
                Poll::Pending if !self.has_waited => {
                    self.has_waited = true;
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                Poll::Pending => return Poll::Ready(self.piece()),
            };
            match frame.into_data() {
                Ok(piece) => {
                    self.held.push(piece);
                    self.has_waited = false;
                    if self.body.is_end_stream() {
                        self.after = Some(Next::End);
                    }
                }
                Err(frame) => self.after = frame.into_trailers().ok().map(Next::Trailers),
            }
        }
    }

    /// All that is held.
    fn piece(&mut self) -> Next {
        Next::Piece(std::mem::take(&mut self.held).into_bytes())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::convert::Infallible;
    use std::task::Waker;

    use http_body::Frame;

    use super::*;

    /// A body whose frames come one at each look, as those of a connection do; nothing is there
    /// where it says so.
    struct Script(VecDeque<Option<Frame<Bytes>>>, bool);

    impl Body for Script {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            self.1 = !self.1;
            if self.1 {
                return Poll::Pending;
            }
            match self.0.pop_front() {
                Some(Some(frame)) => Poll::Ready(Some(Ok(frame))),
                Some(None) => Poll::Pending,
                None => Poll::Ready(None),
            }
        }
    }

    /// How long the pieces are that come of frames of these lengths, where nothing is there for a
    /// while, and how it ends.
    fn pieces(lengths: &[Option<usize>], trailers: Option<&HeaderMap>) -> (Vec<usize>, Next) {
        let data = |length: &Option<usize>| length.map(|length| vec![b'x'; length].into());
        let data = lengths.iter().map(|length| data(length).map(Frame::data));
        let trailers = trailers.map(|trailers| Some(Frame::trailers(trailers.clone())));
        let mut pieces = Pieces::new(Script(data.chain(trailers).collect(), false));
        let mut cx = Context::from_waker(Waker::noop());
        let mut lengths = Vec::new();
        loop {
            match pieces.poll_next(&mut cx) {
                Poll::Ready(Next::Piece(piece)) => lengths.push(piece.len()),
                Poll::Ready(end) => return (lengths, end),
                Poll::Pending => {}
            }
        }
    }

    #[test]
    fn what_comes_together_is_put_together() {
        assert_eq!(pieces(&[Some(4); 500], None), (vec![1024, 976], Next::End));
        let lengths = [4, 9000, 2000].map(Some);
        assert_eq!(pieces(&lengths, None), (vec![9004, 2000], Next::End));
        assert_eq!(pieces(&[Some(0); 2], None), (vec![], Next::End));
        assert_eq!(pieces(&[], None), (vec![], Next::End));
    }

    #[test]
    fn what_nothing_follows_does_not_wait() {
        let lengths = [Some(4), None, None, Some(5), Some(6), None, None, Some(7)];
        assert_eq!(pieces(&lengths, None), (vec![4, 11, 7], Next::End));
    }

    #[test]
    fn trailers_come_behind_what_was_held() {
        let mut trailers = HeaderMap::new();
        trailers.insert("digest", "x".parse().unwrap());
        let end = || Next::Trailers(trailers.clone());
        assert_eq!(pieces(&[Some(4)], Some(&trailers)), (vec![4], end()));
        assert_eq!(pieces(&[], Some(&trailers)), (vec![], end()));
    }
}
