//! Bodies: one type for what is sent on, and the reading of a whole body within its limits.

use std::collections::VecDeque;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use http_body::{Body as _, Frame, SizeHint};
use hyper::body::Incoming;

use super::budget::{Budget, Reservation};
use super::pace::Pace;

/// A body to be sent.
#[derive(Debug, Default)]
pub enum Body {
    /// Nothing.
    #[default]
    Empty,
    /// Bytes that are all there.
    Full(Bytes),
    /// One that is passed on as it arrives.
    Incoming(Incoming),
    /// One of which a beginning was read already.
    Resumed(VecDeque<Bytes>, Incoming),
}

/// A body broke off, or could not be read.
#[derive(Debug, thiserror::Error)]
#[error("the body broke off")]
pub struct BodyError(#[from] hyper::Error);

/// A body that was read whole, and the memory that it takes.
#[derive(Debug)]
pub struct Read {
    /// All its bytes.
    pub bytes: Bytes,
    /// What it takes of the budget.
    pub reservation: Reservation,
}

/// A body that is larger than the limit, as far as it was read.
#[derive(Debug)]
pub struct Oversize {
    /// The beginning.
    pub first: VecDeque<Bytes>,
    /// The rest, still on its way.
    pub rest: Incoming,
}

/// Why a body was not read whole.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The sender broke off.
    #[error("the body broke off")]
    Broken,
    /// All bodies together would take more memory than allowed.
    #[error("too many bytes are held in memory")]
    OverBudget,
    /// It came more slowly than asked for.
    #[error("the body came too slowly")]
    TooSlow,
    /// It is larger than the limit.
    #[error("the body is larger than the limit")]
    TooLarge(Box<Oversize>),
}

/// Reads a body whole.
///
/// A length that is declared and over `bytes_max` is refused before anything is read, so that a
/// caller who waits for `100 Continue` never sends it. Trailers are dropped.
///
/// # Cancel safety
///
/// Dropping the future drops the body and gives its memory back.
pub async fn read(
    body: Incoming,
    bytes_max: usize,
    budget: &Budget,
    pace: &Pace,
) -> Result<Read, ReadError> {
    let mut reader = Reader {
        body,
        pieces: VecDeque::new(),
        length: 0,
        bytes_max,
        reservation: budget.reserve_none(),
    };
    if reader.body.size_hint().lower() > bytes_max as u64 {
        return Err(reader.too_large());
    }
    // Most bodies have arrived with their header: no timer is set for them.
    let mut deadline = None;
    loop {
        let next = match &mut deadline {
            None => match frame_at_hand(&mut reader.body).await {
                Some(next) => next,
                None => {
                    deadline = Some((Instant::now(), Box::pin(tokio::time::sleep(pace.grace))));
                    continue;
                }
            },
            Some((started, sleep)) => {
                let until = *started + pace.deadline(reader.length);
                sleep.as_mut().reset(until.into());
                tokio::select! {
                    biased;
                    next = next_frame(&mut reader.body) => next,
                    () = sleep => return Err(ReadError::TooSlow),
                }
            }
        };
        match next {
            Some(Ok(frame)) => {
                if let Ok(piece) = frame.into_data() {
                    reader.push(piece)?;
                    if reader.length > reader.bytes_max {
                        return Err(reader.too_large());
                    }
                }
            }
            Some(Err(_)) => return Err(ReadError::Broken),
            None => return Ok(reader.finish()),
        }
    }
}

struct Reader {
    body: Incoming,
    pieces: VecDeque<Bytes>,
    length: usize,
    bytes_max: usize,
    reservation: Reservation,
}

impl Reader {
    fn push(&mut self, piece: Bytes) -> Result<(), ReadError> {
        if !self.reservation.grow(piece.len()) {
            return Err(ReadError::OverBudget);
        }
        self.length += piece.len();
        self.pieces.push_back(piece);
        Ok(())
    }

    fn too_large(self) -> ReadError {
        ReadError::TooLarge(Box::new(Oversize { first: self.pieces, rest: self.body }))
    }

    fn finish(mut self) -> Read {
        let bytes = match self.pieces.len() {
            0 => Bytes::new(),
            1 => self.pieces.pop_front().unwrap_or_default(),
            _ => {
                let mut whole = BytesMut::with_capacity(self.length);
                for piece in &self.pieces {
                    whole.extend_from_slice(piece);
                }
                whole.freeze()
            }
        };
        Read { bytes, reservation: self.reservation }
    }
}

type NextFrame = Option<Result<Frame<Bytes>, hyper::Error>>;

async fn next_frame(body: &mut Incoming) -> NextFrame {
    std::future::poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx)).await
}

/// The next frame if it is there already; the task is not woken for it otherwise.
async fn frame_at_hand(body: &mut Incoming) -> Option<NextFrame> {
    std::future::poll_fn(|cx| match Pin::new(&mut *body).poll_frame(cx) {
        Poll::Ready(next) => Poll::Ready(Some(next)),
        Poll::Pending => Poll::Ready(None),
    })
    .await
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let incoming = match &mut *self {
            Self::Empty => return Poll::Ready(None),
            Self::Full(bytes) => {
                let bytes = std::mem::take(bytes);
                *self = Self::Empty;
                return Poll::Ready(Some(Ok(Frame::data(bytes))));
            }
            Self::Incoming(incoming) => incoming,
            Self::Resumed(first, incoming) => match first.pop_front() {
                Some(piece) => return Poll::Ready(Some(Ok(Frame::data(piece)))),
                None => incoming,
            },
        };
        let next = ready!(pin!(incoming).poll_frame(cx));
        Poll::Ready(next.map(|frame| frame.map_err(BodyError)))
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Full(bytes) => bytes.is_empty(),
            Self::Incoming(incoming) => incoming.is_end_stream(),
            Self::Resumed(first, incoming) => first.is_empty() && incoming.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Full(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Self::Incoming(incoming) => incoming.size_hint(),
            Self::Resumed(first, incoming) => {
                let read = first.iter().map(|piece| piece.len() as u64).sum::<u64>();
                let rest = incoming.size_hint();
                let mut whole = SizeHint::new();
                whole.set_lower(read + rest.lower());
                if let Some(upper) = rest.upper() {
                    whole.set_upper(read + upper);
                }
                whole
            }
        }
    }
}

impl From<Bytes> for Body {
    fn from(bytes: Bytes) -> Self {
        if bytes.is_empty() { Self::Empty } else { Self::Full(bytes) }
    }
}
