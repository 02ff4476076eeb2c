//! Reads an answer whole, as far as it may be kept.

use std::pin::Pin;

use bytes::Bytes;
use http::header;
use http::response::Parts;
use http_body::Body as _;

use crate::idempotency::{Answer, AnswerBuilder};
use crate::message::{BodyError, Gathered, Reservation};
use crate::upstream::AnswerBody;

/// How reading an answer ended.
pub(super) enum Captured {
    /// It has come whole.
    Whole(Answer),
    /// It is larger than may be kept; this is what was read, and the rest.
    TooLarge(Parts, Bytes, AnswerBody),
}

/// Reads an answer that was cleaned of what belonged to its connection.
///
/// Trailers are dropped: a repeat may have come over a connection that cannot carry them.
pub(super) async fn capture(
    parts: Parts,
    mut body: AnswerBody,
    bytes_max: usize,
    reservation: &mut Reservation,
) -> Result<Captured, BodyError> {
    let mut gathered = Gathered::default();
    while let Some(frame) =
        std::future::poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await.transpose()?
    {
        let Ok(piece) = frame.into_data() else { continue };
        // The operation was executed: its answer is not given up for want of room.
        reservation.take(piece.len());
        gathered.push(piece);
        if gathered.len() > bytes_max {
            return Ok(Captured::TooLarge(parts, gathered.into_bytes(), body));
        }
    }
    let mut builder = AnswerBuilder::new(parts.status.as_u16());
    for (name, value) in &parts.headers {
        // Not what the upstream said of the length, but what has come, is said of it.
        if name != header::CONTENT_LENGTH && name != header::TRAILER {
            builder.line(name.as_str().as_bytes(), value.as_bytes());
        }
    }
    Ok(Captured::Whole(builder.finish(gathered.as_slice())))
}
