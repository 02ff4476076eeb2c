//! Sends the body of a request as it arrives, no faster than the other side takes it.

use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::{Reason, SendStream};
use http::HeaderMap;

use super::pieces::{Next, Pieces};
use crate::message::{Body, clean, scan};

/// How much room is asked for at a time.
const ROOM_BYTES_MAX: usize = 128 << 10;

/// A body that is being sent.
///
/// Nothing is handed to the connection that can't be sent at once: what is dropped before its end
/// takes the request back, and leaves nothing behind that waits for room.
#[derive(Debug)]
pub(super) struct Upload {
    body: Pieces<Body>,
    stream: SendStream<Bytes>,
    /// A piece that waits for room.
    waiting: Option<Bytes>,
}

/// How sending a body ends.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Uploaded {
    /// All of it was sent, or the other side takes no more: its answer says why, or whoever
    /// waits for that is told.
    Done,
    /// The body has broken off, and the request was taken back.
    BrokenOff,
}

impl Upload {
    pub(super) fn new(body: Body, stream: SendStream<Bytes>) -> Self {
        Self { body: Pieces::new(body), stream, waiting: None }
    }

    /// Sends as much as there is and as the other side takes.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Uploaded> {
        loop {
            if self.stream.poll_reset(cx).is_ready() {
                return Poll::Ready(Uploaded::Done);
            }
            let goes_on = match self.waiting.take() {
                Some(piece) => ready!(self.poll_send(piece, cx)),
                None => match ready!(self.body.poll_next(cx)) {
                    Next::Piece(piece) => {
                        self.waiting = Some(piece);
                        true
                    }
                    Next::Trailers(trailers) => {
                        self.send_trailers(trailers);
                        false
                    }
                    Next::BrokenOff => {
                        // An end would make a whole request of what is none.
                        self.stream.send_reset(Reason::CANCEL);
                        return Poll::Ready(Uploaded::BrokenOff);
                    }
                    Next::End => {
                        let _ = self.stream.send_data(Bytes::new(), true);
                        false
                    }
                },
            };
            if !goes_on {
                return Poll::Ready(Uploaded::Done);
            }
        }
    }

    /// Sends a piece as there is room, and says whether more is to be sent.
    fn poll_send(&mut self, mut piece: Bytes, cx: &mut Context<'_>) -> Poll<bool> {
        loop {
            let room = self.stream.capacity();
            if room == 0 {
                self.stream.reserve_capacity(piece.len().min(ROOM_BYTES_MAX));
                match self.stream.poll_capacity(cx) {
                    Poll::Ready(Some(Ok(_))) => continue,
                    Poll::Ready(Some(Err(_)) | None) => return Poll::Ready(false),
                    Poll::Pending => {
                        self.waiting = Some(piece);
                        return Poll::Pending;
                    }
                }
            }
            let part = piece.split_to(room.min(piece.len()));
            let ends = piece.is_empty() && self.body.is_end();
            if self.stream.send_data(part, ends).is_err() {
                return Poll::Ready(false);
            }
            if piece.is_empty() {
                return Poll::Ready(!ends);
            }
        }
    }

    fn send_trailers(&mut self, mut trailers: HeaderMap) {
        let fields = scan(&trailers);
        clean(&mut trailers, fields);
        self.stream.reserve_capacity(0);
        let _ = self.stream.send_trailers(trailers);
    }
}
