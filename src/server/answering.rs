//! The body of an answer on its way to the peer.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::activity::Serving;
use super::streams::Turn;
use crate::message::after;

/// The most bytes that a stream is given at once.
const PIECE_BYTES_MAX: usize = 16 * 1024;

/// The body of an answer: the connection is busy until it is dropped.
pub(super) struct Answering<B> {
    body: B,
    /// Whose turn it is on the stream, over HTTP/2.
    turn: Option<Arc<Turn>>,
    /// What is left of a piece that is larger than a stream is given at once.
    rest: Bytes,
    _serving: Serving,
}

impl<B> Answering<B> {
    pub(super) const fn new(body: B, turn: Option<Arc<Turn>>, serving: Serving) -> Self {
        Self { body, turn, rest: Bytes::new(), _serving: serving }
    }

    /// A piece that is no larger than a stream is given at once: hyper leaves a whole piece to its
    /// stream as soon as there is room for one byte, and nobody waits for the peer after that.
    fn small(&mut self, mut piece: Bytes) -> Bytes {
        if self.turn.is_none() || piece.len() <= PIECE_BYTES_MAX {
            return piece;
        }
        self.rest = piece.split_off(PIECE_BYTES_MAX);
        if self.rest.len() <= PIECE_BYTES_MAX {
            // The last one does not keep all others in memory for as long as the peer likes.
            self.rest = Bytes::copy_from_slice(&self.rest);
        }
        piece
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for Answering<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        if let Some(turn) = &self.turn {
            // hyper asks for more when there is room for it.
            turn.take_back();
        }
        let next = match std::mem::take(&mut self.rest) {
            rest if rest.is_empty() => Pin::new(&mut self.body).poll_frame(cx),
            rest => Poll::Ready(Some(Ok(Frame::data(rest)))),
        };
        if let (Some(turn), Poll::Ready(_)) = (&self.turn, &next) {
            turn.give();
        }
        next.map_ok(|frame| frame.map_data(|piece| self.small(piece)))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        after(self.rest.len(), &self.body.size_hint())
    }
}

#[cfg(test)]
mod tests {
    use super::super::activity::Connections;
    use super::*;

    /// A body in one piece.
    struct Whole(Bytes);

    impl Body for Whole {
        type Data = Bytes;
        type Error = std::convert::Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
            let piece = std::mem::take(&mut self.0);
            Poll::Ready((!piece.is_empty()).then(|| Ok(Frame::data(piece))))
        }

        fn is_end_stream(&self) -> bool {
            self.0.is_empty()
        }

        fn size_hint(&self) -> SizeHint {
            SizeHint::with_exact(self.0.len() as u64)
        }
    }

    fn pieces(length: usize, turn: Option<Arc<Turn>>) -> Vec<usize> {
        let bytes: Bytes = (0..length).map(|at| at.to_le_bytes()[0]).collect::<Vec<_>>().into();
        let serving = Connections::default().add().serve();
        let mut answering = Answering::new(Whole(bytes.clone()), turn, serving);
        let mut cx = Context::from_waker(std::task::Waker::noop());
        let (mut lengths, mut all) = (Vec::new(), Vec::new());
        while !answering.is_end_stream() {
            assert_eq!(answering.size_hint().exact(), Some((length - all.len()) as u64));
            let Poll::Ready(Some(Ok(frame))) = Pin::new(&mut answering).poll_frame(&mut cx) else {
                panic!("a piece comes");
            };
            let piece = frame.into_data().unwrap();
            lengths.push(piece.len());
            all.extend_from_slice(&piece);
        }
        assert_eq!(all, bytes);
        lengths
    }

    #[test]
    fn a_stream_is_given_little_at_once() {
        let turn = || Some(Arc::default());
        assert_eq!(pieces(100, turn()), [100]);
        assert_eq!(pieces(40_000, turn()), [16_384, 16_384, 7232]);
        assert_eq!(pieces(32_768, turn()), [16_384, 16_384]);
        assert_eq!(pieces(40_000, None), [40_000]);
        assert!(pieces(0, turn()).is_empty());
    }
}
