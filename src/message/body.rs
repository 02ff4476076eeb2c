//! Bodies: one type for what is sent on, and the reading of a whole body within its limits.

use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::Instant;

use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::sync::oneshot;

use super::budget::{Budget, Reservation};
use super::gather::Gathered;
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
    rest: Incoming,
    /// Dropped when all has been sent, or the sending has ended.
    sent: Option<oneshot::Sender<()>>,
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

/// A body that was not read whole: what was read, and the rest.
#[derive(Debug)]
pub struct Partly {
    first: Bytes,
    reservation: Reservation,
    rest: Incoming,
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
    /// It came more slowly than asked for.
    #[error("the body came too slowly")]
    TooSlow(Box<Partly>),
    /// It is larger than the limit.
    #[error("the body is larger than the limit")]
    TooLarge(Box<Partly>),
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
    let mut reader =
        Reader { body, gathered: Gathered::default(), reservation: budget.reserve_none() };
    if reader.body.size_hint().lower() > bytes_max as u64 {
        return Err(ReadError::TooLarge(Box::new(reader.into_partly())));
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
                let until = *started + pace.deadline(reader.gathered.len());
                sleep.as_mut().reset(until.into());
                tokio::select! {
                    biased;
                    next = next_frame(&mut reader.body) => next,
                    () = sleep => return Err(ReadError::TooSlow(Box::new(reader.into_partly()))),
                }
            }
        };
        match next {
            Some(Ok(frame)) => {
                if let Ok(piece) = frame.into_data() {
                    let fits = reader.push(piece);
                    if reader.gathered.len() > bytes_max {
                        return Err(ReadError::TooLarge(Box::new(reader.into_partly())));
                    }
                    if !fits {
                        return Err(ReadError::OverBudget(Box::new(reader.into_partly())));
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
    gathered: Gathered,
    reservation: Reservation,
}

impl Reader {
    /// Adds a piece, and says whether the budget has room for it.
    fn push(&mut self, piece: Bytes) -> bool {
        let fits = self.reservation.grow(piece.len());
        if !fits {
            // It is here all the same, until it is passed on or dropped.
            self.reservation.take(piece.len());
        }
        self.gathered.push(piece);
        fits
    }

    fn into_partly(self) -> Partly {
        let Self { body: rest, gathered, reservation } = self;
        Partly { first: gathered.into_bytes(), reservation, rest }
    }

    fn finish(self) -> Read {
        Read { bytes: self.gathered.into_bytes(), reservation: self.reservation }
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
        Poll::Ready(next.map(|frame| frame.map_err(BodyError)))
    }

    fn is_end_stream(&self) -> bool {
        self.first.is_empty() && self.rest.is_end_stream()
    }
}

impl From<Incoming> for Body {
    fn from(rest: Incoming) -> Self {
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
