//! Bodies: one type for what is sent on, and the reading of a whole body within its limits.

use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::Instant;

use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};
use tokio::sync::oneshot;
use tokio::time::Sleep;

use super::budget::{Budget, Reservation};
use super::fields::clean_trailers;
use super::gather::Gathered;
use super::grpc::{END_WAIT, Extent, Style, extent};
use super::inbound::{BodyError, Inbound};
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
    Arriving(Box<Arriving>),
}

/// A body that is passed on as it arrives.
#[derive(Debug)]
pub struct Arriving {
    /// A beginning that was read already, and the memory that it takes.
    first: Bytes,
    _reservation: Option<Reservation>,
    rest: Inbound,
    /// Dropped when all has been sent, or the sending has ended.
    sent: Option<oneshot::Sender<()>>,
}

/// A body that was read whole, and the memory that it takes.
#[derive(Debug)]
pub struct Read {
    /// All its bytes.
    pub bytes: Bytes,
    /// What it takes of the budget.
    pub reservation: Reservation,
}

/// A body that was not read whole: what was read, and the rest.
#[derive(Debug)]
pub struct Partly {
    first: Bytes,
    reservation: Reservation,
    rest: Inbound,
}

/// Why a body was not read whole.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The sender broke off.
    #[error("the body broke off")]
    Broken,
    /// All bodies together would take more memory than allowed.
    #[error("too many bytes are held in memory")]
    OverBudget(Box<Partly>),
    /// It is the beginning of a stream of messages, or of one that may become that.
    #[error("the body is a stream of messages")]
    Streams(Box<Partly>),
    /// It came more slowly than asked for.
    #[error("the body came too slowly")]
    TooSlow(Box<Partly>),
    /// It is larger than the limit.
    #[error("the body is larger than the limit")]
    TooLarge(Box<Partly>),
}

/// Reads a body whole; one of gRPC's only if it is a single message.
///
/// A length that is declared and over `bytes_max` is refused before anything is read, so that a
/// caller who waits for `100 Continue` never sends it. Trailers are dropped.
///
/// # Cancel safety
///
/// Dropping the future drops the body and gives its memory back.
pub async fn read(
    body: Inbound,
    style: Style,
    bytes_max: usize,
    budget: &Budget,
    pace: &Pace,
) -> Result<Read, ReadError> {
    let mut reader = Reader {
        body,
        style,
        gathered: Gathered::default(),
        reservation: budget.reserve_none(),
        timer: None,
        whole_at: None,
    };
    if reader.body.size_hint().lower() > bytes_max as u64 {
        return Err(ReadError::TooLarge(Box::new(reader.into_partly())));
    }
    loop {
        let Some(next) = reader.next(pace).await else { return Err(reader.late()) };
        match next {
            Some(Ok(frame)) => {
                if let Ok(piece) = frame.into_data()
                    && let Err(why) = reader.push(piece, bytes_max)
                {
                    return Err(why(Box::new(reader.into_partly())));
                }
            }
            Some(Err(_)) => return Err(ReadError::Broken),
            None => return Ok(reader.finish()),
        }
    }
}

struct Reader {
    body: Inbound,
    style: Style,
    gathered: Gathered,
    reservation: Reservation,
    /// Since when the body is waited for, and until when.
    timer: Option<(Instant, Pin<Box<Sleep>>)>,
    /// Since when the single message that it may consist of is whole.
    whole_at: Option<Instant>,
}

type NextFrame = Option<Result<Frame<Bytes>, BodyError>>;

impl Reader {
    /// The next frame; nothing if it does not come in time.
    async fn next(&mut self, pace: &Pace) -> Option<NextFrame> {
        // Most bodies have arrived with their header: no timer is set for them.
        if self.timer.is_none()
            && let Some(next) = frame_at_hand(&mut self.body).await
        {
            return Some(next);
        }
        let begin = || (Instant::now(), Box::pin(tokio::time::sleep(pace.grace)));
        let (started, sleep) = self.timer.get_or_insert_with(begin);
        let until = match self.whole_at {
            Some(whole_at) => whole_at + END_WAIT,
            None => *started + pace.deadline(self.gathered.len()),
        };
        sleep.as_mut().reset(until.into());
        tokio::select! {
            biased;
            next = next_frame(&mut self.body) => Some(next),
            () = sleep => None,
        }
    }

    /// Adds a piece, or says why the body is not read whole.
    fn push(&mut self, piece: Bytes, bytes_max: usize) -> Result<(), fn(Box<Partly>) -> ReadError> {
        let fits = self.reservation.grow(piece.len());
        if !fits {
            // It is here all the same, until it is passed on or dropped.
            self.reservation.take(piece.len());
        }
        self.gathered.push(piece);
        let mut length = self.gathered.len() as u64;
        if self.style == Style::Grpc {
            match extent(self.gathered.as_slice()) {
                Extent::Part(whole) => length = whole,
                Extent::One => self.whole_at = self.whole_at.or_else(|| Some(Instant::now())),
                Extent::More => return Err(ReadError::Streams),
                Extent::Opaque => {}
            }
        }
        if length > bytes_max as u64 {
            return Err(ReadError::TooLarge);
        }
        if fits { Ok(()) } else { Err(ReadError::OverBudget) }
    }

    fn late(self) -> ReadError {
        let why = if self.whole_at.is_some() { ReadError::Streams } else { ReadError::TooSlow };
        why(Box::new(self.into_partly()))
    }

    fn into_partly(self) -> Partly {
        let Self { body: rest, gathered, reservation, .. } = self;
        Partly { first: gathered.into_bytes(), reservation, rest }
    }

    fn finish(self) -> Read {
        Read { bytes: self.gathered.into_bytes(), reservation: self.reservation }
    }
}

async fn next_frame(body: &mut Inbound) -> NextFrame {
    std::future::poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx)).await
}

/// The next frame if it is there already; the task is not woken for it otherwise.
async fn frame_at_hand(body: &mut Inbound) -> Option<NextFrame> {
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
        match &mut *self {
            Self::Empty => Poll::Ready(None),
            Self::Full(bytes) => {
                let bytes = std::mem::take(bytes);
                *self = Self::Empty;
                Poll::Ready(Some(Ok(Frame::data(bytes))))
            }
            Self::Arriving(arriving) => arriving.poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Full(bytes) => bytes.is_empty(),
            Self::Arriving(arriving) => arriving.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Full(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Self::Arriving(arriving) => after(arriving.first.len(), &arriving.rest.size_hint()),
        }
    }
}

/// How much there is when some of it was read already.
pub fn after(read: usize, rest: &SizeHint) -> SizeHint {
    let mut whole = SizeHint::new();
    whole.set_lower(read as u64 + rest.lower());
    if let Some(upper) = rest.upper() {
        whole.set_upper(read as u64 + upper);
    }
    whole
}

impl Arriving {
    /// Tells when all has been sent, or the sending has ended, by being closed.
    pub fn sent(&mut self) -> oneshot::Receiver<()> {
        let (sender, receiver) = oneshot::channel();
        self.sent = Some(sender);
        receiver
    }

    fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if !self.first.is_empty() {
            return Poll::Ready(Some(Ok(Frame::data(std::mem::take(&mut self.first)))));
        }
        let next = ready!(pin!(&mut self.rest).poll_frame(cx));
        if self.is_end_stream() || next.is_none() {
            self.sent = None;
        }
        Poll::Ready(next.map(|frame| frame.map(without_misplaced)))
    }

    fn is_end_stream(&self) -> bool {
        self.first.is_empty() && self.rest.is_end_stream()
    }
}

/// The same frame; trailers without what means something only in a header.
pub fn without_misplaced(mut frame: Frame<Bytes>) -> Frame<Bytes> {
    if let Some(trailers) = frame.trailers_mut() {
        clean_trailers(trailers);
    }
    frame
}

impl Partly {
    /// What was read.
    pub const fn first(&self) -> &Bytes {
        &self.first
    }
}

impl From<Inbound> for Body {
    fn from(rest: Inbound) -> Self {
        if rest.is_end_stream() {
            return Self::Empty;
        }
        let arriving = Arriving { first: Bytes::new(), _reservation: None, rest, sent: None };
        Self::Arriving(Box::new(arriving))
    }
}

impl From<Partly> for Body {
    fn from(partly: Partly) -> Self {
        let Partly { first, reservation, rest } = partly;
        let arriving = Arriving { first, _reservation: Some(reservation), rest, sent: None };
        Self::Arriving(Box::new(arriving))
    }
}

impl From<Bytes> for Body {
    fn from(bytes: Bytes) -> Self {
        if bytes.is_empty() { Self::Empty } else { Self::Full(bytes) }
    }
}
